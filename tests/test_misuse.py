"""What would lose a gradient, or has none, is refused with a sentence."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from adntn_ref import ad
from adntn_ref.ad.tape import Var
from adntn_ref.errors import ArrayError, DTypeError, TapeError

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])


def on_tape(look: Callable[[Var], Any], x: Any = X) -> Any:
    """Return what ``look`` sees of a variable of value ``x``."""
    seen: list[Any] = []
    ad.vjp(lambda v: (seen.append(look(v)), v)[1], x)
    return seen[0]


# Misuse

REFUSALS: list[tuple[str, Callable[[Any], Any], str]] = [
    ("set an entry", lambda v: v.__setitem__((0, 1), 1.0), "cannot be changed in place; build a new one with ad.where"),
    (
        "array += v",
        lambda v: np.ones((2, 3)).__iadd__(v),
        r"cannot be changed in place by a variable; write a = a \+ v",
    ),
    ("out=", lambda v: np.add(v, 1.0, out=np.ones((2, 3))), "cannot be changed in place by a variable"),
    ("float", float, r"float\(\) of a variable of shape \(2, 3\) would lose its gradient"),
    ("float of one entry", lambda v: float(v[0, 0]), r"float\(\) of a variable of shape \(\) would lose its gradient"),
    ("int", int, r"int\(\) of a variable of shape \(2, 3\) would lose its gradient"),
    ("complex", lambda v: complex(v[0, 0]), r"complex\(\) of a variable of shape \(\) would lose its gradient"),
    ("index", lambda v: [1.0, 2.0][v[0, 0]], r"shape \(\) cannot be an index or a length; use ar.stop_gradient"),
    ("length", lambda v: range(v[0, 0]), "cannot be an index or a length"),
    ("bool", lambda v: 1 if v else 2, r"bool\(\), as in an if statement, needs a single number"),
    ("math", lambda v: math.sin(v[0, 0]), "or a function of Python's math"),
    ("argument by name", lambda v: ad.grad(lambda x: x * v)(x=1.0), "give it by position, not by name"),
    ("sin", np.sin, r"NumPy's sin was called on a tape variable; call adntn_ref.ad.sin"),
    ("abs", np.abs, "call adntn_ref.ad.abs"),
    ("negative", np.negative, "call adntn_ref.ad.negative"),
    ("arctan", np.arctan, "NumPy's arctan was called on a tape variable, and the tape has no rule for it"),
    ("sum", np.sum, "NumPy's sum was called on a tape variable; call adntn_ref.ad.sum"),
    ("max", np.max, "call adntn_ref.ad.max"),
    ("concatenate", lambda v: np.concatenate([np.ones((2, 3)), v]), "call adntn_ref.ad.concatenate"),
    ("einsum", lambda v: np.einsum("ij->j", v), "call adntn_ref.ad.einsum"),
    ("norm", np.linalg.norm, "NumPy's norm was called on a tape variable; call adntn_ref.ad.norm"),
    ("svd", np.linalg.svd, "NumPy's svd was called on a tape variable; call adntn_ref.ad.svd"),
    ("qr", np.linalg.qr, "call adntn_ref.ad.qr"),
    ("eigh", lambda v: np.linalg.eigh(v @ v.T), "NumPy's eigh was called on a tape variable, and the tape has no rule"),
    ("dot", lambda v: np.dot(v, v.T), "NumPy's dot was called on a tape variable; call adntn_ref.ad.matmul"),
    ("clip", lambda v: np.clip(v, 0.0, 1.0), "call adntn_ref.ad.clip"),
    ("where", lambda v: np.where(X > 0, v, 0.0), "call adntn_ref.ad.where"),
    ("cumsum", np.cumsum, "call adntn_ref.ad.cumsum"),
    ("diagonal", np.diagonal, "call adntn_ref.ad.diagonal"),
    ("array of one", lambda v: np.array(v, dtype=float), "cannot become a NumPy array"),
    ("reduce", np.add.reduce, "NumPy's add was called"),
    ("dtype=", lambda v: np.add(v, 1.0, dtype=np.float32), "NumPy's add was called"),
    ("floor", lambda v: np.ones(3) // v, "NumPy's floor_divide was called"),
    ("asarray", np.asarray, "cannot become a NumPy array, its gradient would be lost; use ar.stop_gradient"),
    ("array of", lambda v: np.array([v, v]), "cannot become a NumPy array"),
    ("fill", lambda v: np.zeros((2, 3)).__setitem__(slice(None), v), "cannot become a NumPy array"),
    ("keyword", lambda v: ad.exp(x=v), "NumPy's exp was called on a tape variable"),
]


@pytest.mark.parametrize(("what", "misuse", "phrase"), REFUSALS, ids=[what for what, _, _ in REFUSALS])
def test_misuse_of_a_variable(what: str, misuse: Callable[[Any], Any], phrase: str) -> None:
    with pytest.raises(TapeError, match=phrase):
        on_tape(misuse)


def test_misuse_of_a_variable_without_axes() -> None:
    with pytest.raises(TapeError, match=r"len\(\) of a variable without axes"):
        on_tape(len, 1.0)
    with pytest.raises(TapeError, match=r"len\(\) of a variable without axes"):
        on_tape(list, 1.0)
    with pytest.raises(TypeError, match="unhashable"):
        on_tape(hash, 1.0)


@pytest.mark.parametrize(
    ("x", "error", "phrase"),
    [
        (3, TapeError, r"argument \[0\] is a int; allowed: arrays and floats, in dicts, tuples, lists"),
        (True, TapeError, "is a bool"),
        ("abc", TapeError, "is a str"),
        (None, TapeError, "is a NoneType"),
        ({1.0}, TapeError, "is a set"),
        (np.arange(3), DTypeError, r"argument \[0\] has dtype int64; allowed: float32, float64, complex64, complex128"),
        (np.ones(2, np.float16), DTypeError, "has dtype float16"),
        (np.array(["a"]), DTypeError, "has dtype str"),
        (np.array([None]), DTypeError, "has dtype object"),
        ({"w": (1.0, np.arange(2))}, DTypeError, r"argument \[0\]\['w'\]\[1\] has dtype int64"),
    ],
)
def test_arguments_that_cannot_be_differentiated(x: Any, error: type[Exception], phrase: str) -> None:
    with pytest.raises(error, match=phrase):
        ad.grad(lambda _: 0.0)(x)


@pytest.mark.parametrize(
    ("f", "phrase"),
    [
        (
            lambda x: x,
            r"must return one real number to be differentiated, got a value of dtype float64 and shape \(2, 3\)",
        ),
        (lambda x: x[:1, :1], r"shape \(1, 1\)"),
        (lambda x: ad.sum(1j * x), r"got a value of dtype complex128 and shape \(\)"),
        (lambda _: 1j, "got a complex"),
        (lambda x: (ad.sum(x), 1.0), "got a tuple"),
        (lambda x: {"loss": ad.sum(x)}, "got a dict"),
        (lambda _: None, "got a NoneType"),
        (lambda _: "loss", "got a str"),
        (lambda _: True, "got a bool"),
        (lambda x: (x > 0).sum(), r"got a value of dtype int64 and shape \(\)"),
        (lambda x: ad.sum(x) > 0, r"got a value of dtype bool and shape \(\)"),
    ],
)
def test_functions_that_have_no_gradient(f: Callable[[Any], Any], phrase: str) -> None:
    with pytest.raises(TapeError, match=phrase):
        ad.grad(f)(X)


def test_numbers_may_be_losses() -> None:
    for constant in (2, 2.0, np.float64(2.0), np.array(2.0)):
        value, gradient = ad.value_and_grad(lambda _, c=constant: c)(X)
        assert value == 2
        np.testing.assert_array_equal(gradient, np.zeros_like(X))


@pytest.mark.parametrize(
    ("f", "g", "error", "phrase"),
    [
        (lambda x: x, np.ones((3, 2)), ArrayError, r"the cotangent has shape \(3, 2\), its value \(2, 3\)"),
        (lambda x: x, 1.0, ArrayError, r"the cotangent has shape \(\), its value \(2, 3\)"),
        (lambda x: x, 1j * X, TapeError, "the cotangent is complex, its value real"),
        (lambda x: x, "g", TapeError, "the cotangent holds a str"),
        (lambda x: x, None, TapeError, "the cotangent holds a NoneType"),
        (lambda x: x, [X], TapeError, "the cotangent does not fit: it has a list of 1, where a leaf is needed"),
        (lambda x: (x, x), (X,), TapeError, "it has a tuple of 1, where a tuple of 2 is needed"),
        (lambda x: {"a": x}, {"b": X}, TapeError, "it has a dict of 'b', where a dict of 'a' is needed"),
        (lambda x: {"a": (x, x)}, {"a": X}, TapeError, r"fit at \['a'\]: it has a leaf, where a tuple of 2 is needed"),
        (lambda x: {0: x}, (X,), TapeError, "it has a tuple of 1, where a dict of 0 is needed"),
    ],
)
def test_cotangents_that_do_not_fit(f: Callable[[Any], Any], g: Any, error: type[Exception], phrase: str) -> None:
    _, pullback = ad.vjp(f, X)
    with pytest.raises(error, match=phrase):
        pullback(g)


def test_cotangents_take_the_dtype_of_their_value() -> None:
    _, pullback = ad.vjp(lambda x: x * x, np.float32(3.0))
    assert pullback(1)[0].dtype == np.float32
    assert pullback(np.float64(1.0))[0] == 6.0
    _, pullback = ad.vjp(lambda x: (1 + 2j) * x, 3.0)
    assert pullback(1.0)[0] == 1.0
    assert pullback(1j)[0] == 2.0


def test_storing_a_variable_in_an_array_fails_with_our_reason_as_the_cause() -> None:
    def store(v: Any) -> Any:
        array = np.zeros(2)
        array[0] = v[0, 0]
        return ad.sum(array * v[0, 1])

    with pytest.raises(ValueError, match="array element") as caught:  # NumPy's error, ours is its cause
        ad.grad(store)(X)
    assert isinstance(caught.value.__cause__, TapeError)
    assert "storing it in an array" in str(caught.value.__cause__)

"""Variables behave like the arrays they wrap."""

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from adntn_ref import ad
from adntn_ref.ad.tape import Var
from adntn_ref.errors import ArrayError
from adntn_ref.validation import check_gradient

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
Point = namedtuple("Point", "x y")


def on_tape(look: Callable[[Var], Any], x: Any = X) -> Any:
    """Return what ``look`` sees of a variable of value ``x``."""
    seen: list[Any] = []
    ad.vjp(lambda v: (seen.append(look(v)), v)[1], x)
    return seen[0]


# Behaving like an array

A = np.array([[2.0, 1.0, 3.0], [0.5, 4.0, 1.5]])
OPERATORS: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("add", lambda a, b: a + b),
    ("subtract", lambda a, b: a - b),
    ("multiply", lambda a, b: a * b),
    ("divide", lambda a, b: a / b),
    ("power", lambda a, b: a**b),
]
OTHERS = [A, A[0], np.array(2.5), np.float64(2.5), 2.5, 2, np.float32(2.5), np.array([1, 2, 3])]


@pytest.mark.parametrize(("name", "operator"), OPERATORS, ids=[name for name, _ in OPERATORS])
@pytest.mark.parametrize("other", OTHERS, ids=repr)
@pytest.mark.parametrize("left", [True, False], ids=["array op variable", "variable op array"])
def test_operators(name: str, operator: Callable[[Any, Any], Any], other: Any, left: bool) -> None:
    def f(x: Any) -> Any:
        return operator(other, x) if left else operator(x, other)

    x = np.abs(X) + 0.5
    kind = on_tape(lambda v: type(f(v)), x)
    assert kind is Var
    value, gradient = ad.value_and_grad(lambda v: ad.sum(f(v)))(x)
    assert value == np.sum(f(x))
    assert gradient.shape == x.shape
    check_gradient(lambda v: np.sum(f(v)), ad.grad(lambda v: ad.sum(f(v))), x)


def test_matrix_product_operator() -> None:
    for f in (lambda x: A.T @ x, lambda x: x @ A.T, lambda x: A[:, 0] @ x, lambda x: x @ A[0]):
        assert on_tape(lambda v, f=f: type(f(v))) is Var
        check_gradient(lambda x, f=f: np.sum(f(x)), ad.grad(lambda x, f=f: ad.sum(f(x))), X)


def test_matrix_product_with_a_list() -> None:
    with pytest.raises(ArrayError, match=r"matmul needs arrays with axes, got shapes \(\) and \(2, 3\)"):
        on_tape(lambda v: [1.0, 2.0] @ v)


def test_signs() -> None:
    np.testing.assert_array_equal(ad.grad(lambda x: ad.sum(-x))(X), -np.ones_like(X))
    np.testing.assert_array_equal(ad.grad(lambda x: ad.sum(+x))(X), np.ones_like(X))
    np.testing.assert_array_equal(ad.grad(lambda x: ad.sum(abs(x)))(X), np.sign(X))


COMPARISONS: list[Callable[[Any, Any], Any]] = [
    lambda a, b: a < b,
    lambda a, b: a <= b,
    lambda a, b: a > b,
    lambda a, b: a >= b,
    lambda a, b: a == b,
    lambda a, b: a != b,
]


@pytest.mark.parametrize("compare", COMPARISONS)
@pytest.mark.parametrize("other", [0.5, X.T.reshape(2, 3), np.float64(0.5)], ids=["number", "array", "scalar"])
def test_comparisons_give_raw_arrays(compare: Callable[[Any, Any], Any], other: Any) -> None:
    for f in (lambda x: compare(x, other), lambda x: compare(other, x)):
        seen = on_tape(f)
        assert type(seen) is np.ndarray
        assert seen.dtype == bool
        np.testing.assert_array_equal(seen, f(X))
    np.testing.assert_array_equal(on_tape(lambda v: compare(v, v)), compare(X, X))


def test_what_it_is() -> None:
    assert on_tape(lambda v: (v.shape, v.dtype, v.ndim, v.size, len(v))) == ((2, 3), np.dtype(float), 2, 6, 2)
    assert on_tape(lambda v: (v.shape, v.ndim, v.size), 1.5) == ((), 0, 1)
    assert repr(X) in on_tape(repr)
    assert on_tape(repr).startswith("Var(array(")
    assert not on_tape(lambda v: isinstance(v, np.ndarray))


METHODS: list[Callable[[Any], Any]] = [
    lambda x: x.T,
    lambda x: x.sum(),
    lambda x: x.sum(0),
    lambda x: x.sum(axis=(0, 1), keepdims=True),
    lambda x: x.mean(),
    lambda x: x.mean(axis=1, keepdims=True),
    lambda x: x.max(),
    lambda x: x.max(axis=0),
    lambda x: x.reshape(3, 2),
    lambda x: x.reshape((3, -1)),
    lambda x: x.reshape(-1),
    lambda x: x.transpose(),
    lambda x: x.transpose(1, 0),
    lambda x: x.transpose((1, 0)),
    lambda x: x.conj(),
    lambda x: x.astype(np.float64),
    lambda x: x.astype("float64"),
    lambda x: x.real,
    lambda x: x.imag,
    lambda x: x[0],
    lambda x: x[:, 1:],
    lambda x: x[..., None],
    lambda x: x[x > 0],
    lambda x: x[[1, 1], [0, 2]],
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("x", [X, X + 0.5j * X.T.reshape(2, 3)], ids=["real", "complex"])
def test_methods(method: Callable[[Any], Any], x: np.ndarray) -> None:
    if np.iscomplexobj(x) and method in METHODS[6:8] + METHODS[15:17] + METHODS[22:23]:
        return  # no order, no silent loss of the imaginary part
    value, pullback = ad.vjp(method, x)
    np.testing.assert_allclose(value, method(x), rtol=1e-15)
    assert on_tape(lambda v: type(method(v)), x) is Var
    assert pullback(np.ones(np.shape(value), np.asarray(value).dtype))[0].shape == x.shape


def test_casts_cast_the_cotangent_back() -> None:
    gradient = ad.grad(lambda x: ad.sum(x.astype("float32") * np.float32(3)).astype("float64"))(X)
    np.testing.assert_array_equal(gradient, np.full_like(X, 3.0))
    assert gradient.dtype == np.float64
    assert ad.grad(lambda x: ad.sum(ad.real(x.astype(complex) * (2 + 1j))))(X).dtype == np.float64
    gradient = ad.grad(lambda z: ad.sum(z.astype("float64") ** 2))(X + 1j)
    np.testing.assert_array_equal(gradient, 2 * X + 0j)


def test_iteration_and_unpacking() -> None:
    def f(x: Any) -> Any:
        first, second = x
        return ad.sum(first * second * second)

    check_gradient(f, ad.grad(f), X)


def test_numbers_of_single_entries() -> None:
    assert on_tape(lambda v: float(ad.stop_gradient(v)), np.array(2.5)) == 2.5
    assert on_tape(bool, 0.0) is False
    assert on_tape(lambda v: "yes" if v > 1 else "no", 3.0) == "yes"


def test_positional_axes_and_shapes() -> None:
    by_name = ad.grad(lambda x: ad.sum(ad.sum(ad.reshape(x, shape=(3, 2)), axis=0) ** 2))(X)
    by_place = ad.grad(lambda x: ad.sum(ad.sum(ad.reshape(x, (3, 2)), 0) ** 2))(X)
    np.testing.assert_array_equal(by_name, by_place)
    np.testing.assert_array_equal(ad.grad(lambda x: ad.sum(ad.max(ad.transpose(x, (1, 0)), 1)))(X).sum(), 3.0)

"""The tape: variables that behave like arrays, sentences for misuse, trees, and every transform."""

import gc
import math
import tracemalloc
import weakref
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref.backend
from adntn_ref import ad
from adntn_ref.ad import trees
from adntn_ref.ad.arrays import backend_of, dtype_name, is_array, is_complex, namespace, require_finite, require_inexact
from adntn_ref.ad.ops import PRIMITIVES
from adntn_ref.ad.tape import Node, Primitive, Var, is_raw
from adntn_ref.backend import get_backend
from adntn_ref.errors import ArrayError, BackendUnavailable, DTypeError, NonFiniteError, TapeError
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
    ("norm", np.linalg.norm, "NumPy's norm was called on a tape variable, and the tape has no rule for it"),
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


# Trees


def test_a_tree_of_parameters() -> None:
    tree = {"w": (X, [X[0], Point(1.5, np.array([2.0]))]), "b": 0.5}

    def f(p: Any) -> Any:
        w, (row, point) = p["w"]
        return ad.sum(w @ row) * point.x + ad.sum(point.y**3) * p["b"]

    value, gradient = ad.value_and_grad(f)(tree)
    assert list(gradient) == ["w", "b"]
    assert type(gradient["w"]) is tuple
    assert type(gradient["w"][1]) is list
    assert type(gradient["w"][1][1]) is Point
    assert value == f(tree)
    np.testing.assert_allclose(gradient["w"][0], 1.5 * np.tile(X[0], (2, 1)))
    np.testing.assert_allclose(gradient["w"][1][0], 1.5 * X.sum(axis=0))
    np.testing.assert_allclose(gradient["w"][1][1].x, (X @ X[0]).sum())
    np.testing.assert_allclose(gradient["w"][1][1].y, [6.0])
    assert gradient["b"] == 8.0


def test_argnums() -> None:
    def f(a: Any, b: Any, c: Any) -> Any:
        return a * b**2 * c**3

    assert ad.grad(f)(2.0, 3.0, 1.0) == 9.0
    assert ad.grad(f, argnums=1)(2.0, 3.0, 1.0) == 12.0
    assert ad.grad(f, argnums=(2, 0))(2.0, 3.0, 1.0) == (54.0, 9.0)
    assert ad.grad(f, argnums=-1)(2.0, 3.0, 1.0) == 54.0
    assert ad.grad(lambda x, n, *, scale: scale * x**n)(3.0, 2, scale=5.0) == 30.0
    assert ad.grad(f, argnums=())(2.0, 3.0, 1.0) == ()


def test_aux() -> None:
    def f(x: Any) -> Any:
        y = x * x
        return ad.sum(y), {"y": y, "note": "as it is"}

    (value, aux), gradient = ad.value_and_grad(f, has_aux=True)(X)
    assert value == np.sum(X * X)
    assert type(aux["y"]) is np.ndarray
    np.testing.assert_array_equal(aux["y"], X * X)
    assert aux["note"] == "as it is"
    np.testing.assert_array_equal(gradient, 2 * X)


def test_aux_keeps_the_gradient_of_an_outer_transform() -> None:
    def outer(x: Any) -> Any:
        (_, aux), _ = ad.value_and_grad(lambda y: (y * y, x * y), has_aux=True)(2.0)
        return aux

    assert ad.grad(outer)(3.0) == 2.0


def test_dicts_are_matched_by_key() -> None:
    """A cotangent or direction whose dict has another order of keys."""
    _, pullback = ad.vjp(lambda x: {"a": 2 * x, "b": 3 * x}, 1.0)
    assert pullback({"b": 1.0, "a": 0.0}) == (3.0,)
    found = ad.hvp(lambda p: p["a"] ** 2 + p["b"] ** 3, {"a": 1.0, "b": 2.0}, {"b": 1.0, "a": 0.0})
    assert found == {"a": 0.0, "b": 12.0}
    assert ad.jvp(lambda p: p["a"] * p["b"], {"a": 2.0, "b": 3.0}, {"b": 1.0, "a": 0.0}) == 2.0
    assert trees.map_leaves(lambda a, b: a - b, {"x": 1.0, "y": 2.0}, {"y": 20.0, "x": 10.0}) == {"x": -9.0, "y": -18.0}


def test_trees_that_differ() -> None:
    with pytest.raises(TapeError, match="the other tree does not fit: it has an empty dict, where a dict of 'x' is"):
        trees.map_leaves(lambda a, _: a, {"x": 1.0}, {})
    with pytest.raises(TapeError, match="got 1 leaves for a tree of 2"):
        trees.rebuild((1.0, 2.0), [1.0])


TREES = st.recursive(
    st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.builds(Point, inner, inner)
    ),
    max_leaves=10,
)


@given(TREES)
def test_taking_trees_apart_and_putting_them_together(tree: Any) -> None:
    found = trees.leaves(tree)
    assert trees.rebuild(tree, found) == tree
    assert trees.aligned(tree, tree) == found
    assert [leaf for _, leaf in trees.named_leaves(tree)] == found
    for path, leaf in trees.named_leaves(tree, "tree"):
        assert eval(path, {"tree": tree}) is leaf
    assert trees.map_leaves(lambda x, y: x == y, tree, tree) == trees.map_leaves(lambda _: True, tree)


# vjp and backward


def test_a_pullback_may_be_called_twice() -> None:
    value, pullback = ad.vjp(lambda x, y: ad.sin(x) * y, X, 2.0)
    first, second = pullback(X), pullback(X)
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]
    np.testing.assert_array_equal(value, np.sin(X) * 2)


def test_tree_outputs() -> None:
    def f(x: Any, y: Any) -> Any:
        shared = x * y
        return {"sum": ad.sum(shared), "pair": (shared, x)}, y, 5.0, "text"

    value, pullback = ad.vjp(f, X, A)
    assert value[2:] == (5.0, "text")
    g = {"sum": 2.0, "pair": (X, np.ones_like(X))}, 3 * A, 0.0, "anything"
    gx, gy = pullback(g)
    np.testing.assert_allclose(gx, 2 * A + X * A + 1)
    np.testing.assert_allclose(gy, 2 * X + X * X + 3 * A)
    np.testing.assert_allclose(pullback(g)[0], gx)


def test_unused_inputs_give_zeros() -> None:
    gradient = ad.grad(lambda p: p["used"] ** 2)({"used": 3.0, "unused": np.ones(3, np.float32)})
    assert gradient["used"] == 6.0
    np.testing.assert_array_equal(gradient["unused"], np.zeros(3, np.float32))
    assert gradient["unused"].dtype == np.float32
    assert ad.vjp(lambda x, _: x, 1.0, 1j)[1](1.0) == (1.0, 0j)


def test_one_variable_many_times() -> None:
    def f(x: Any) -> Any:
        total = x
        for _ in range(50):
            total = total + x
        return ad.sum(total * x) + ad.sum(ad.concatenate([x, x, x])) + ad.einsum("ij,ij,ij->", x, x, x)

    check_gradient(f, ad.grad(f), X)
    check_gradient(
        lambda x: ad.sum(ad.grad(f)(x) ** 2), ad.grad(lambda x: ad.sum(ad.grad(f)(x) ** 2)), X, method="central"
    )


def test_accumulation_leaves_the_arrays_of_users_alone() -> None:
    """The same cotangent goes to several places, and is summed with others there: nobody may see that."""
    g, x, y = X.copy(), X.copy(), A.copy()
    for f in (
        lambda x, y: x + y + x + x,
        lambda x, y: (x + y) + (y + x) + (x + x),
        lambda x, y: ad.reshape(x, shape=(3, 2)).reshape(2, 3) + x + x + x + y,
        lambda x, y: x[:] + x[:] + x[:] + x.T.T + y,
        lambda x, y: ad.where(True, x, y) + x + x,
    ):
        expected = [np.asarray(part).copy() for part in ad.vjp(f, x, y)[1](g.copy())]
        _, pullback = ad.vjp(f, x, y)
        once = pullback(g)
        kept = [part.copy() for part in once]
        twice = pullback(g)
        for a, b, c, d in zip(expected, once, kept, twice, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)
            np.testing.assert_array_equal(a, d)
        np.testing.assert_array_equal(g, X)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, A)


def test_the_value_may_be_the_argument_itself() -> None:
    value, pullback = ad.vjp(lambda x: x, X)
    assert value is X
    np.testing.assert_array_equal(pullback(A)[0], A)
    value, gradient = ad.value_and_grad(lambda x: x)(2.0)
    assert (value, gradient) == (2.0, 1.0)


def test_a_freed_node_says_so() -> None:
    with pytest.raises(TapeError, match="freed by an earlier backward pass; call vjp again"):
        Node().pull(1.0)


def test_is_raw() -> None:
    assert is_raw(1.0, X)
    assert on_tape(lambda v: is_raw(X, v)) is False


def test_a_primitive_without_a_rule() -> None:
    ruleless = Primitive(lambda _, x: x)
    with pytest.raises(TapeError, match="has no derivative with respect to its argument 0"):
        ad.grad(lambda x: ruleless(x))(1.0)


def test_a_primitive_with_a_residual() -> None:
    """The residual reaches the rule, at every level, and is dropped with the node."""

    def cube(xp: Any, x: Any) -> Any:
        return x**3, np.asarray(x * 1.0)

    made = Primitive(cube, has_residual=True)
    seen = []

    def rule(needed: Any, g: Any, y: Any, residual: Any, x: Any) -> Any:
        seen.append(residual)
        return {0: g * 3 * x * x}

    made.joint_rule = rule
    assert made(2.0) == 8.0
    assert ad.grad(made)(2.0) == 12.0
    assert ad.grad(ad.grad(made))(2.0) == 12.0
    assert all(residual == 2.0 for residual in seen)


# Nesting


def test_perturbation_confusion() -> None:
    """The inner derivative is by y alone, though x is in its closure."""
    assert ad.grad(lambda x: x * ad.grad(lambda y: x + y)(1.0))(1.0) == 1.0
    assert ad.grad(lambda x: x * ad.grad(lambda y: x * y)(1.0))(3.0) == 6.0
    assert ad.grad(lambda x: ad.grad(lambda y: x * y * y)(x))(3.0) == 12.0
    assert ad.grad(lambda x: ad.grad(lambda y: ad.grad(lambda z: x * y * z)(x))(x))(3.0) == 1.0
    assert ad.grad(lambda x: ad.vjp(lambda y: x * y, 2.0)[1](x)[0])(3.0) == 6.0
    assert ad.grad(lambda x: ad.grad(lambda _: x * x)(1.0))(3.0) == 0.0


def test_third_order() -> None:
    third = ad.grad(ad.grad(ad.grad(lambda x: ad.exp(2 * x) * x)))
    np.testing.assert_allclose(third(0.3), (8 * 0.3 + 12) * np.exp(0.6), rtol=1e-14)
    fifth = ad.grad(ad.grad(ad.grad(ad.grad(ad.grad(ad.sin)))))
    np.testing.assert_allclose(fifth(0.3), np.cos(0.3), rtol=1e-14)


def test_pullback_on_variables_of_a_later_transform() -> None:
    _, pullback = ad.vjp(lambda x: x**3, 2.0)
    assert ad.grad(lambda g: pullback(g)[0] ** 2)(1.0) == 2 * 12.0 * 12.0


def test_a_leaked_variable_is_a_constant_later() -> None:
    leaked: list[Any] = []
    ad.grad(lambda x: (leaked.append(x * x), x)[1])(3.0)
    assert ad.stop_gradient(ad.grad(lambda y: y * leaked[0])(2.0)) == 9.0


def test_hvp_and_jvp() -> None:
    def f(p: Any) -> Any:
        return ad.sum(ad.exp(p["x"]) * p["y"] ** 2)

    p = {"x": X, "y": A}
    v = {"x": A, "y": X}
    found = ad.hvp(f, p, v)
    np.testing.assert_allclose(found["x"], np.exp(X) * A**2 * A + np.exp(X) * 2 * A * X)
    np.testing.assert_allclose(found["y"], np.exp(X) * 2 * A * A + np.exp(X) * 2 * X)

    def pair(p: Any) -> Any:
        return {"product": p["x"] * p["y"], "total": ad.sum(p["x"] ** 2)}

    pushed = ad.jvp(pair, p, v)
    np.testing.assert_allclose(pushed["product"], A * A + X * X)
    np.testing.assert_allclose(pushed["total"], np.sum(2 * X * A))
    np.testing.assert_allclose(ad.grad(lambda x: ad.jvp(ad.sin, x, 2.0))(0.3), -2 * np.sin(0.3))
    np.testing.assert_allclose(ad.jvp(lambda z: z * z, 1 + 2j, 1j), 2 * (1 + 2j) * 1j)
    np.testing.assert_allclose(ad.jvp(ad.conj, 1 + 2j, 1j), -1j)


def test_hvp_of_complex_numbers() -> None:
    """The Hessian by (Re, Im), packed as a complex number: f = |z|^4."""
    z, v = 1.0 + 2.0j, 0.5 - 1.5j
    found = ad.hvp(lambda z: (ad.real(z) ** 2 + ad.imag(z) ** 2) ** 2, z, v)
    r, h = np.array([z.real, z.imag]), np.array([v.real, v.imag])
    expected = 4 * (r @ r) * h + 8 * r * (r @ h)
    np.testing.assert_allclose([found.real, found.imag], expected)


def test_jacobian() -> None:
    found = ad.jacobian(lambda x: x @ A.T, X)
    assert found.shape == (2, 2, 2, 3)
    np.testing.assert_allclose(found, np.einsum("ik,jl->ijkl", np.eye(2), A))
    np.testing.assert_allclose(ad.jacobian(ad.sin, 0.5), np.cos(0.5))
    second = ad.jacobian(ad.grad(lambda x: ad.sum(x**3)), X[0])
    np.testing.assert_allclose(second, np.diag(6 * X[0]))
    np.testing.assert_allclose(ad.grad(lambda x: ad.sum(ad.jacobian(lambda y: y * y, x)))(X[0]), np.full(3, 2.0))
    assert ad.jacobian(lambda x: x[:0], X).shape == (0, 3, 2, 3)
    assert ad.jacobian(lambda _: np.ones(2), X).shape == (2, 2, 3)
    assert ad.jacobian(lambda x: x * x, X[0].astype(np.float32)).dtype == np.float32


def test_jacobian_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TapeError, match="jacobian takes real arrays; use vjp for complex ones"):
        ad.jacobian(lambda x: x, X + 1j)
    with pytest.raises(TapeError, match="jacobian takes real arrays"):
        ad.jacobian(lambda x: 1j * x, X)
    with pytest.raises(TapeError, match="jacobian takes functions that return one array, got a tuple"):
        ad.jacobian(lambda x: (x, x), X)
    with pytest.raises(TapeError, match="return one array, got a float"):
        ad.jacobian(lambda _: 3.0, X)
    with pytest.raises(TapeError, match="a Jacobian of 4000 x 4000 entries is over the limit of 10000000; use vjp"):
        ad.jacobian(lambda x: x, np.ones(4000))
    monkeypatch.setattr("adntn_ref.ad.transforms.JACOBIAN_LIMIT", 36)
    assert ad.jacobian(lambda x: x, X).shape == (2, 3, 2, 3)
    with pytest.raises(TapeError, match="7 x 6 entries is over the limit of 36"):
        ad.jacobian(lambda x: ad.concatenate([x.reshape(-1), x[0, :1]]), X)


def test_stop_gradient() -> None:
    assert ad.grad(lambda x: x * ad.stop_gradient(x * x))(3.0) == 9.0
    assert ad.grad(ad.grad(lambda x: ad.stop_gradient(x) * x * x))(3.0) == 6.0
    assert ad.stop_gradient("anything") == "anything"
    assert on_tape(lambda v: ad.stop_gradient(v)) is X


# Checkpoints


def layer(w: Any, x: Any) -> Any:
    return ad.tanh(w @ x) * ad.exp(-w[:, :1])


def test_a_checkpoint_changes_no_gradient() -> None:
    w, x = X[:, :2], A[:2, :2]

    def loss(inside: Callable[..., Any]) -> Callable[..., Any]:
        return lambda w, x: ad.sum(inside(w, inside(w, x)) ** 2)

    plain, saved = loss(layer), loss(ad.checkpoint(layer))
    assert plain(w, x) == saved(w, x)
    for a, b in zip(ad.grad(plain, (0, 1))(w, x), ad.grad(saved, (0, 1))(w, x), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(ad.grad(plain, 1)(w, x), ad.grad(saved, 1)(w, x))
    second = [ad.hvp(lambda w, f=f: f(w, x), w, w[::-1]) for f in (plain, saved)]
    np.testing.assert_allclose(*second, rtol=1e-13)
    third = [ad.grad(lambda w, f=f: ad.sum(ad.hvp(lambda u: f(u, x), w, w) * w))(w) for f in (plain, saved)]
    np.testing.assert_allclose(*third, rtol=1e-12)
    nested = ad.checkpoint(lambda w, x: ad.checkpoint(layer)(w, ad.checkpoint(layer)(w, x)))
    np.testing.assert_allclose(ad.grad(lambda w: ad.sum(nested(w, x) ** 2))(w), ad.grad(plain)(w, x), rtol=1e-13)


def test_a_checkpoint_holds_no_intermediates() -> None:
    dead: list[weakref.ref[Any]] = []

    def inside(x: Any) -> Any:
        middle = x * 2.0
        dead.append(weakref.ref(ad.stop_gradient(middle)))
        return middle * middle

    def f(x: Any) -> Any:
        y = ad.checkpoint(inside)(x)
        assert dead[0]() is None
        return ad.sum(y)

    np.testing.assert_array_equal(ad.grad(f)(X), 8 * X)
    assert len(dead) == 2


def test_a_checkpoint_refuses_what_it_would_lose() -> None:
    with pytest.raises(TapeError, match="uses a tape variable that is not among its arguments; pass it in"):
        ad.grad(lambda w: ad.sum(ad.checkpoint(lambda x: w * x)(X)))(2.0)
    with pytest.raises(TapeError, match="not among its arguments"):
        ad.grad(lambda w: ad.sum(ad.checkpoint(lambda x: w * x)(w)))(2.0)
    with pytest.raises(TapeError, match="must return one array, got a tuple"):
        ad.grad(lambda x: ad.checkpoint(lambda y: (y, y))(x)[0])(2.0)
    assert repr(ad.checkpoint(layer)) == "<primitive checkpoint of layer>"


# Depth and memory

DEPTH = 100_000


def test_a_chain_of_a_hundred_thousand() -> None:
    def f(x: Any) -> Any:
        for _ in range(DEPTH):
            x = x + 1e-5
        return x * x

    value, gradient = ad.value_and_grad(f)(1.0)
    np.testing.assert_allclose(value, 4.0, rtol=1e-9)
    np.testing.assert_allclose(gradient, 4.0, rtol=1e-9)


def test_a_long_chain_that_is_only_recorded() -> None:
    def f(x: Any) -> Any:
        y = x
        for _ in range(DEPTH):
            y = -y
        return y, x

    value, pullback = ad.vjp(f, 1.0)
    assert value == (1.0, 1.0)
    del pullback
    gc.collect()
    assert ad.grad(lambda x: f(x)[1])(1.0) == 1.0


def test_memory_falls_during_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of n arrays peaks at n arrays and a few, and gives back one a step as it is walked."""
    n, size = 40, 1 << 20
    x = np.full(size // 8, 0.5)
    seen: list[int] = []
    original = PRIMITIVES["tanh"].rules[0]

    def watching(g: Any, y: Any, x: Any) -> Any:
        seen.append(tracemalloc.get_traced_memory()[0])
        return original(g, y, x)

    monkeypatch.setattr(PRIMITIVES["tanh"], "rules", (watching,))

    def f(x: Any) -> Any:
        for _ in range(n):
            x = ad.tanh(x)
        return ad.sum(x)

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        ad.value_and_grad(f)(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(seen) == n
    assert (n - 1) * size < peak - before < (n + 6) * size
    drops = np.diff(seen) / size
    assert seen[0] - seen[-1] > (n - 5) * size
    assert (drops[3:] < -0.9).all(), drops


def test_residuals_die_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Any]] = []
    counts: list[int] = []
    original = PRIMITIVES["exp"].rules[0]

    def watching(g: Any, y: Any, x: Any) -> Any:
        counts.append(sum(ref() is not None for ref in alive))
        return original(g, y, x)

    monkeypatch.setattr(PRIMITIVES["exp"], "rules", (watching,))

    def f(x: Any) -> Any:
        for _ in range(6):
            x = ad.exp(-x)
            alive.append(weakref.ref(ad.stop_gradient(x)))
        return ad.sum(x)

    gc.disable()
    try:
        ad.grad(f)(X)
        assert all(ref() is None for ref in alive), "something still holds the tape, or a cycle does"
    finally:
        gc.enable()
    assert counts[0] == 6
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] <= 2


# Raw arrays and backends


def test_raw_arrays() -> None:
    assert namespace(1.0) is np
    assert namespace(X) is np
    assert is_array(X)
    assert is_array(np.float64(1.0))
    assert not any(is_array(x) for x in (1.0, 1, "a", None, [1.0], (1.0,), {}, object()))
    assert dtype_name(1.0) == "float64"
    assert dtype_name(X.astype(np.complex64)) == "complex64"
    assert is_complex(1j)
    assert not is_complex(1.0)
    assert is_complex(np.complex64(1))
    require_inexact(X, "X")
    with pytest.raises(DTypeError, match="X has dtype float64; allowed: float32"):
        require_inexact(X, "X", ("float32",))


def test_arrays_of_another_library() -> None:
    """Anything with a shape and a dtype is an array; its namespace and backend are looked up by name."""
    autoray_numpy = namespace(FakeArray())
    assert autoray_numpy is not np
    assert is_array(FakeArray())
    with pytest.raises(BackendUnavailable, match="no array backend is called"):
        backend_of(FakeArray())


class FakeArray:
    shape = (2,)
    dtype = np.dtype(float)


def test_require_finite() -> None:
    require_finite(X, "X")
    bad = X.copy()
    bad[1, 0] = np.nan
    bad[1, 2] = np.inf
    with pytest.raises(NonFiniteError, match=r"X holds 2 entries that are not finite; the first is at index \(1, 0\)"):
        require_finite(bad, "X")


def test_the_numpy_backend() -> None:
    backend = get_backend("numpy")
    assert backend is backend_of(1.0) is backend_of(X)
    for copy in (backend.asarray, backend.to_host):
        found = copy(X.T)
        assert found.flags.c_contiguous
        assert not np.shares_memory(found, X)
        np.testing.assert_array_equal(found, X.T)


def test_backends_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "fake"

        def load(self) -> str:
            return "the fake backend"

    monkeypatch.setattr(adntn_ref.backend, "entry_points", lambda **_: [Entry()])
    get_backend.cache_clear()
    assert get_backend("fake") == "the fake backend"
    with pytest.raises(BackendUnavailable, match="no array backend is called 'none'; installed: fake, numpy"):
        get_backend("none")
    get_backend.cache_clear()


def test_positional_axes_and_shapes() -> None:
    by_name = ad.grad(lambda x: ad.sum(ad.sum(ad.reshape(x, shape=(3, 2)), axis=0) ** 2))(X)
    by_place = ad.grad(lambda x: ad.sum(ad.sum(ad.reshape(x, (3, 2)), 0) ** 2))(X)
    np.testing.assert_array_equal(by_name, by_place)
    np.testing.assert_array_equal(ad.grad(lambda x: ad.sum(ad.max(ad.transpose(x, (1, 0)), 1)))(X).sum(), 3.0)


def test_storing_a_variable_in_an_array_fails_with_our_reason_as_the_cause() -> None:
    def store(v: Any) -> Any:
        array = np.zeros(2)
        array[0] = v[0, 0]
        return ad.sum(array * v[0, 1])

    with pytest.raises(ValueError, match="array element") as caught:  # NumPy's error, ours is its cause
        ad.grad(store)(X)
    assert isinstance(caught.value.__cause__, TapeError)
    assert "storing it in an array" in str(caught.value.__cause__)

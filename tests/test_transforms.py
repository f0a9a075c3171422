"""The transforms: trees, argnums, nesting to any order, Jacobians, checkpoints."""

import weakref
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from elsewhere import place, there
from hypothesis import given
from hypothesis import strategies as st

from adntn_ref import ad
from adntn_ref.ad import trees
from adntn_ref.ad.tape import Var
from adntn_ref.errors import TapeError

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
A = np.array([[2.0, 1.0, 3.0], [0.5, 4.0, 1.5]])
Point = namedtuple("Point", "x y")


def on_tape(look: Callable[[Var], Any], x: Any = X) -> Any:
    """Return what ``look`` sees of a variable of value ``x``."""
    seen: list[Any] = []
    ad.vjp(lambda v: (seen.append(look(v)), v)[1], x)
    return seen[0]


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
    found = there(ad.hvp)(f, p, v)
    np.testing.assert_allclose(found["x"], np.exp(X) * A**2 * A + np.exp(X) * 2 * A * X)
    np.testing.assert_allclose(found["y"], np.exp(X) * 2 * A * A + np.exp(X) * 2 * X)

    def pair(p: Any) -> Any:
        return {"product": p["x"] * p["y"], "total": ad.sum(p["x"] ** 2)}

    pushed = there(ad.jvp)(pair, p, v)
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
    found = there(ad.jacobian)(lambda x: x @ place(A).T, X)
    assert found.shape == (2, 2, 2, 3)
    np.testing.assert_allclose(found, np.einsum("ik,jl->ijkl", np.eye(2), A))
    np.testing.assert_allclose(ad.jacobian(ad.sin, 0.5), np.cos(0.5))
    second = there(ad.jacobian)(ad.grad(lambda x: ad.sum(x**3)), X[0])
    np.testing.assert_allclose(second, np.diag(6 * X[0]))
    np.testing.assert_allclose(there(ad.grad(lambda x: ad.sum(ad.jacobian(lambda y: y * y, x))))(X[0]), np.full(3, 2.0))
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

"""The backward pass: pullbacks, accumulation, depth and memory."""

import gc
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from elsewhere import there

from adntn_ref import ad
from adntn_ref.ad.ops import PRIMITIVES
from adntn_ref.ad.tape import Node, Primitive, Var, is_raw
from adntn_ref.errors import TapeError
from adntn_ref.validation import check_gradient

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
A = np.array([[2.0, 1.0, 3.0], [0.5, 4.0, 1.5]])


def on_tape(look: Callable[[Var], Any], x: Any = X) -> Any:
    """Return what ``look`` sees of a variable of value ``x``."""
    seen: list[Any] = []
    ad.vjp(lambda v: (seen.append(look(v)), v)[1], x)
    return seen[0]


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

    value, pullback = there(ad.vjp)(f, X, A)
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

    check_gradient(there(f), there(ad.grad(f)), X)

    def squares(x: Any) -> Any:
        return ad.sum(ad.grad(f)(x) ** 2)

    check_gradient(there(squares), there(ad.grad(squares)), X, method="central")


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

"""Planted mistakes in pullbacks, and right ones that pass."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adntn_ref import ad
from adntn_ref.validation import GradientMismatch, check_vjp

RNG = np.random.default_rng(0)
A = RNG.normal(size=(5, 7))
B = RNG.normal(size=(5, 7)) + 1j * RNG.normal(size=(5, 7))
X = RNG.normal(size=7)


def f(x: Any) -> Any:
    return np.sin(A @ x)


def pull(v: Any, x: Any = X) -> Any:
    return (v * np.cos(A @ x)) @ A


def jacobian() -> Any:
    return np.cos(A @ X)[:, None] * A


@pytest.mark.parametrize("method", ["auto", "central"])
def test_a_right_pullback_passes(method: str) -> None:
    report = check_vjp(f, pull, X, method=method, jvp=lambda u: jacobian() @ u)
    assert report.compared == 35 + 3
    assert report.left_out == []


@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (4, 6), (2, 3)])
def test_one_wrong_entry_of_the_jacobian_is_named(row: int, column: int, method: str) -> None:
    wrong = jacobian()
    wrong[row, column] += 1e-5
    with pytest.raises(GradientMismatch) as caught:
        check_vjp(f, lambda v: v @ wrong, X, rng=4, method=method)
    first, second = str(caught.value).split("\n")
    assert first.startswith("<v, J u> for x, pair ")
    place = f"the Jacobian at cotangent index ({row},) and index ({column},) of x; to repeat: rng=4: "
    assert second.startswith(f"{place}got {wrong[row, column]:.10f}"[:-1])
    for phrase in ("expected ", "absolute error 1e-05", "relative error", "allowed"):
        assert phrase in second


def test_right_for_the_pairs_and_wrong_across_them() -> None:
    """The mistake stands at right angles to every pair drawn: only the whole Jacobian shows it."""
    source = np.random.default_rng(0)
    vs = [source.normal(size=5) for _ in range(3)]
    v0 = np.linalg.svd(np.array(vs))[2][-1]
    wrong = jacobian() + 1e-3 * np.outer(v0, np.ones(7))
    with pytest.raises(GradientMismatch, match=r"^the Jacobian at cotangent index"):
        check_vjp(f, lambda v: v @ wrong, X)


def test_stale_and_destructive_pullbacks() -> None:
    kept: list[Any] = []

    def adding(v: Any) -> Any:
        kept.append(pull(v))
        return np.sum(kept, axis=0)

    with pytest.raises(GradientMismatch, match="<v, J u> for x, pair 1"):
        check_vjp(f, adding, X)

    def destructive(v: Any) -> Any:
        v *= np.cos(A @ X)
        return v @ A

    with pytest.raises(GradientMismatch, match="changes the cotangent that it is given, in place"):
        check_vjp(f, destructive, X)


@pytest.mark.parametrize(
    ("pullback", "phrase"),
    [
        (lambda v: pull(v)[:3], r"the cotangent of x has shape \(3,\), its input \(7,\)"),
        (lambda v: [pull(v)], r"the pullback gives parts \['x\[0\]'\], the input has \['x'\]"),
        (lambda v: pull(v) + 0j, "the cotangent of x is complex"),
        (lambda v: pull(v) * np.nan, "got nan"),
        (lambda v: pull(v[::-1]), "got"),
        (lambda v: pull(np.abs(v)), "got"),
    ],
)
def test_pullbacks_of_a_wrong_kind(pullback: Any, phrase: str) -> None:
    with pytest.raises(GradientMismatch, match=phrase):
        check_vjp(f, pullback, X)


def test_a_wrong_jvp_is_found_beside_a_right_pullback() -> None:
    with pytest.raises(GradientMismatch) as caught:
        check_vjp(f, pull, X, jvp=lambda u: jacobian() @ u * (1 + 1e-10), rng=6)
    assert "<J^H v, u> = <v, jvp(u)> for x, pair 0; to repeat: rng=6: got " in str(caught.value)
    assert "by the jvp given" in str(caught.value)
    with pytest.raises(GradientMismatch, match=r"jvp gives shape \(7,\), the value has \(5,\)"):
        check_vjp(f, pull, X, jvp=lambda u: u)


@pytest.mark.parametrize("real_input", [True, False])
def test_complex_pullbacks(real_input: bool) -> None:
    z = X if real_input else X + 1j * RNG.normal(size=7)

    def g(z: Any) -> Any:
        return B @ z + 0.5 * (B @ np.conj(z)) ** 2

    def right(v: Any) -> Any:
        back = v @ np.conj(B) + np.conj(np.conj(v) * (B @ np.conj(z)) @ B).conj() * 0
        back = back + np.conj((v * np.conj(B @ np.conj(z))) @ np.conj(B))
        return back.real if real_input else back

    count = 10 * 7 if real_input else 10 * 14
    assert check_vjp(g, right, z).compared == count + 3
    wrongs = [lambda v: right(v) * (1 + 1e-5), lambda v: right(np.conj(v))]
    if not real_input:
        wrongs.append(lambda v: np.conj(right(v)))
    for wrong in wrongs:
        with pytest.raises(GradientMismatch, match=r"the Jacobian at cotangent index \(\d,\)(, imaginary part,)? and"):
            check_vjp(g, wrong, z)


def test_several_inputs_and_the_wrong_one_is_named() -> None:
    x = {"a": RNG.normal(size=(2, 3)), "b": RNG.normal(size=(3, 4))}

    def product(p: Any) -> Any:
        return p["a"] @ p["b"]

    def right(v: Any) -> Any:
        return {"a": v @ x["b"].T, "b": x["a"].T @ v}

    assert check_vjp(product, right, x).compared == 8 * 6 + 8 * 12 + 6
    with pytest.raises(GradientMismatch, match=r"and index \(1, 2\) of x\['b'\]"):
        check_vjp(
            product, lambda v: right(v) | {"b": right(v)["b"] * np.where(np.arange(12).reshape(3, 4) == 6, 2, 1)}, x
        )
    with pytest.raises(GradientMismatch, match=r"x\['b'\]"):
        check_vjp(product, lambda v: right(v) | {"b": (right(v)["b"].T).reshape(3, 4)}, x)


def test_large_ones_are_sampled_by_row_and_column() -> None:
    big = np.random.default_rng(5).normal(size=(500, 450)) / 20
    x = np.random.default_rng(6).normal(size=450)
    report = check_vjp(lambda x: np.tanh(big @ x), lambda v: (v * (1 - np.tanh(big @ x) ** 2)) @ big, x)
    assert report.compared == 3 + 40 + 40

    def wrong(v: Any) -> Any:
        g = (v * (1 - np.tanh(big @ x) ** 2)) @ big
        g[7] *= 1 + 1e-4
        return g

    with pytest.raises(GradientMismatch, match="<v, J u> for x, pair 0"):
        check_vjp(lambda x: np.tanh(big @ x), wrong, x)


def test_the_tape_gives_the_pullback_that_is_left_out() -> None:
    assert check_vjp(lambda x: ad.sin(A @ x), X).compared == 38
    assert check_vjp(lambda p: p["a"] @ p["b"], {"a": A, "b": X}, framework="tape").compared == 5 * 42 + 6
    with pytest.raises(TypeError, match=r"x is missing: check_vjp\(f, pullback, x\)"):
        check_vjp(f)


@given(st.integers(0, 10**6), st.sampled_from(["float32", "float64", "complex64", "complex128"]))
def test_random_bilinear_pullbacks_pass(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Any:
        return (rng.normal(size=shape) + (1j * rng.normal(size=shape) if dtype[0] == "c" else 0)).astype(dtype)

    core, x = draw(3, 2, 2), draw(2)
    f = lambda x: np.einsum("abc,b,c->a", core, x, x)

    def right(v: Any) -> Any:
        c = np.conj(core)
        both = np.einsum("abc,a,c->b", c, v, np.conj(x)) + np.einsum("abc,a,b->c", c, v, np.conj(x))
        return both.astype(dtype)

    check_vjp(f, right, x)
    with pytest.raises(GradientMismatch):
        check_vjp(f, lambda v: right(v) * np.float32(1.01), x)

"""Planted mistakes in Hessian-vector products: symmetry, single entries, blocks between two inputs."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adntn_ref import ad
from adntn_ref.validation import GradientMismatch, check_hvp

RNG = np.random.default_rng(0)
S = RNG.normal(size=(6, 6))
X = RNG.normal(size=6)


def f(x: Any) -> Any:
    return np.sum(np.exp(0.3 * x)) + x @ S @ x


def slope(x: Any) -> Any:
    return 0.3 * np.exp(0.3 * x) + (S + S.T) @ x


H = np.diag(0.09 * np.exp(0.3 * X)) + S + S.T


@pytest.mark.parametrize("method", ["auto", "central"])
def test_a_right_product_passes(method: str) -> None:
    report = check_hvp(f, lambda v: H @ v, X, gradient=slope, method=method)
    assert report.compared == 6 + 18 + 6 * (6 + 3)
    assert set(report.methods) == {"x", "Hessian, x"}


def test_a_hessian_that_is_not_symmetric_is_called_so() -> None:
    wrong = H.copy()
    wrong[1, 4] += 1e-6
    with pytest.raises(GradientMismatch) as caught:
        check_hvp(f, lambda v: wrong @ v, X, gradient=slope, rng=2)
    message = str(caught.value)
    assert message.startswith("the Hessian is not symmetric: <u, H v> and <v, H u> for u = index (")
    assert {"index (1,) of x", "index (4,) of x"} == {
        part.split(" = ")[1] for part in message.split(";")[0].split("for ")[1].split(", v")[:1]
    } | {message.split("v = ")[1].split(";")[0]}
    for phrase in ("to repeat: rng=2: got ", "expected ", "by symmetry", "absolute error 1e-06", "allowed"):
        assert phrase in message


@pytest.mark.parametrize("method", ["auto", "central"])
def test_a_symmetric_mistake_is_found_in_its_entry(method: str) -> None:
    for i, j in [(0, 0), (2, 5)]:
        wrong = H.copy()
        wrong[i, j] += 1e-5
        wrong[j, i] = wrong[i, j]
        with pytest.raises(
            GradientMismatch, match=rf"the Hessian at index \(({i}|{j}),\) of x along index \(({i}|{j}),\)"
        ):
            check_hvp(f, lambda v, w=wrong: w @ v, X, gradient=slope, method=method)


@pytest.mark.parametrize(
    ("product", "phrase"),
    [
        (lambda v: 0.5 * (H @ v), "the Hessian at index"),
        (lambda v: H @ v * (1 + 1e-7), "the Hessian at index"),
        (lambda v: np.diag(H) * v, "the Hessian at index"),
        (lambda v: (S + S.T) @ v, r"the Hessian at index \((\d),\) of x along index \(\1,\)"),
        (lambda v: H @ v + 0.1 * (v @ v - np.abs(v).max() ** 2), "along random direction"),
        (lambda v: (H @ v)[:2], r"the Hessian product of x has shape \(2,\), its input \(6,\)"),
        (lambda v: {"x": H @ v}, "the Hessian product has parts"),
        (lambda v: H @ v * np.nan, "got nan"),
        (lambda v: np.multiply(v, 2, out=v), "changes the direction that it is given, in place"),
    ],
)
def test_wrong_products(product: Any, phrase: str) -> None:
    with pytest.raises(GradientMismatch, match=phrase):
        check_hvp(f, product, X, gradient=slope)


def test_the_gradient_is_checked_first() -> None:
    with pytest.raises(GradientMismatch, match=r"^at index \(\d,\) of x; to repeat: rng=0"):
        check_hvp(f, lambda v: 2 * (H @ v), X, gradient=lambda x: 2 * slope(x))


def test_the_blocks_between_two_inputs() -> None:
    x = {"a": RNG.normal(size=3), "b": RNG.normal(size=(2, 3))}

    def g(p: Any) -> Any:
        return np.sum(np.sin(p["b"] @ p["a"]))

    def gradient(p: Any) -> Any:
        c = np.cos(p["b"] @ p["a"])
        return {"a": c @ p["b"], "b": np.outer(c, p["a"])}

    def right(v: Any) -> Any:
        inside = x["b"] @ x["a"]
        s, c = -np.sin(inside) * (v["b"] @ x["a"] + x["b"] @ v["a"]), np.cos(inside)
        return {"a": s @ x["b"] + c @ v["b"], "b": np.outer(s, x["a"]) + np.outer(c, v["a"])}

    assert check_hvp(g, right, x, gradient=gradient).compared == 9 + 81 // 2 + 81 + 6 * 9

    def blocks_only(v: Any) -> Any:
        zero = {name: np.zeros_like(part) for name, part in x.items()}
        return {name: right(zero | {name: v[name]})[name] for name in x}

    with pytest.raises(GradientMismatch, match=r"of x\['(a|b)'\] along index .* of x\['(?!\1)(a|b)'\]"):
        check_hvp(g, blocks_only, x, gradient=gradient)

    def one_way(v: Any) -> Any:
        return right(v) | {"a": blocks_only(v)["a"]}

    with pytest.raises(GradientMismatch, match="the Hessian is not symmetric"):
        check_hvp(g, one_way, x, gradient=gradient)


def test_large_ones_are_sampled() -> None:
    x = np.random.default_rng(1).normal(size=500)
    gradient = lambda x: np.cos(x) + 2 * x.sum()
    g = lambda x: np.sum(np.sin(x)) + x.sum() ** 2
    right = lambda v: -np.sin(x) * v + 2 * v.sum()
    check_hvp(g, right, x, gradient=gradient)
    with pytest.raises(
        GradientMismatch, match=r"not symmetric: .* for u = random direction \d, v = random direction \d"
    ):
        check_hvp(g, lambda v: right(v) + 1e-3 * np.roll(v, 1), x, gradient=gradient)
    with pytest.raises(GradientMismatch, match="the Hessian at index"):
        check_hvp(g, lambda v: right(v) * 1.001, x, gradient=gradient)


def test_complex_inputs_and_single_precision() -> None:
    z = (RNG.normal(size=4) + 1j * RNG.normal(size=4)) / 2
    quartic = lambda z: np.sum(np.abs(z) ** 4)
    gradient = lambda z: 4 * np.abs(z) ** 2 * z

    def right(v: Any) -> Any:
        return 4 * np.abs(z) ** 2 * v + 8 * np.real(np.conj(z) * v) * z

    check_hvp(quartic, right, z, gradient=gradient)
    with pytest.raises(GradientMismatch, match="imaginary part"):
        check_hvp(quartic, lambda v: right(v) + 1e-3j * v.imag, z, gradient=gradient)
    with pytest.raises(GradientMismatch):
        check_hvp(quartic, lambda v: np.conj(right(v)), z, gradient=gradient)
    x = X.astype(np.float32)
    check_hvp(lambda x: np.sum(x**3), lambda v: 6 * x * v, x, gradient=lambda x: 3 * x**2)
    with pytest.raises(GradientMismatch):
        check_hvp(lambda x: np.sum(x**3), lambda v: 6.01 * x * v, x, gradient=lambda x: 3 * x**2)


def test_the_tape_gives_what_is_left_out() -> None:
    tape = lambda x: ad.sum(ad.exp(0.3 * x)) + x @ S @ x
    assert check_hvp(tape, X).compared == check_hvp(tape, lambda v: H @ v, X).compared == 78
    with pytest.raises(GradientMismatch, match="not symmetric"):
        check_hvp(tape, lambda v: S @ v, X)
    with pytest.raises(TypeError, match=r"x is missing: check_hvp\(f, hvp, x\)"):
        check_hvp(tape)


@given(st.integers(0, 10**6), st.sampled_from([np.float64, np.float32]))
def test_random_quartic_forms_pass(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    m, x = rng.normal(size=(5, 5)).astype(dtype), rng.normal(size=5).astype(dtype)
    g = lambda x: np.sum((m @ x) ** 4)
    gradient = lambda x: 4 * (m @ x) ** 3 @ m
    right = lambda v: 12 * ((m @ x) ** 2 * (m @ v)) @ m
    check_hvp(g, right, x, gradient=gradient)
    with pytest.raises(GradientMismatch):
        check_hvp(g, lambda v: right(v) * dtype(1.001), x, gradient=gradient)


@pytest.mark.parametrize("size", [10.0, 30.0])
def test_a_hessian_whose_terms_cancel_is_not_called_unsymmetric(size: float) -> None:
    m, x = RNG.normal(size=(5, 5)), size * RNG.normal(size=5)  # a saturated softmax

    def shares(x: Any) -> Any:
        e = np.exp(m @ x - (m @ x).max())
        return e / e.sum()

    def right(v: Any) -> Any:
        p, u = shares(x), m @ v
        return m.T @ (p * u - p * (p @ u))

    energy = lambda x: np.log(np.exp(m @ x - (m @ x).max()).sum()) + (m @ x).max()
    gradient = lambda x: m.T @ shares(x)
    lopsided = np.array([[right(u)[i] for u in np.eye(5)] for i in range(5)])
    asymmetry = np.abs(lopsided - lopsided.T).max()
    assert asymmetry > 1e-12 * np.abs(lopsided).max()  # what was called a mistake once
    check_hvp(energy, right, x, gradient=gradient)
    with pytest.raises(GradientMismatch, match="not symmetric"):
        check_hvp(energy, lambda v: right(v) + 1e-9 * np.triu(np.ones((5, 5))) @ v, x, gradient=gradient)

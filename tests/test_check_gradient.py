"""Planted mistakes that check_gradient finds and names, and right gradients that it lets pass."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adntn_ref import ad
from adntn_ref.validation import GradientMismatch, check_gradient

A = np.random.default_rng(0).normal(size=(15, 20))


def f(x: Any) -> Any:
    return np.sum(A * np.sin(x)) + np.sum(x[0] * x[1] * x[2])


def slope(x: Any) -> Any:
    g = A * np.cos(x)
    for i in range(3):
        g[i] += x[(i + 1) % 3] * x[(i + 2) % 3]
    return g


X = np.random.default_rng(1).normal(size=(15, 20))


def change(index: Any, factor: float = 1.0, more: float = 0.0) -> Any:
    wrong = slope(X)
    wrong[index] = wrong[index] * factor + more
    return lambda _: wrong


@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize(
    ("index", "factor", "more"),
    [
        ((7, 13), 1.0, 1e-5),  # a single entry of 300
        ((14, 19), 1 + 1e-6, 0.0),
        ((3, 3), -1.0, 0.0),
        ((0, 0), 0.0, 0.0),
        ((2, 5), np.nan, 0.0),
        ((2, 5), np.inf, 0.0),
    ],
)
def test_one_wrong_entry_of_300_is_found(index: Any, factor: float, more: float, method: str) -> None:
    with pytest.raises(GradientMismatch) as caught:
        check_gradient(f, change(index, factor, more), X, method=method, rng=7)
    message = str(caught.value)
    assert f"at index {index} of x; to repeat: rng=7: got {float(change(index, factor, more)(X)[index])!r}" in message
    assert f"expected {slope(X)[index]:.7f}"[:-2] in message
    for phrase in ("absolute error ", "relative error ", "allowed ", {"auto": "complex step"}.get(method, "central")):
        assert phrase in message


@pytest.mark.parametrize("factor", [1 + 1e-6, 1 - 1e-8, 2.0, -1.0, 1 / 300])
def test_a_wrong_scale_is_found(factor: float) -> None:
    with pytest.raises(GradientMismatch, match=r"; 2\d\d more differ by more than is allowed"):
        check_gradient(f, lambda x: factor * slope(x), X)


def test_a_small_entry_beside_large_ones_is_found_without_the_complex_step() -> None:
    """Differences know their own error, so what is allowed is not a share of the largest entry alone."""
    scales = np.logspace(0, 4, 5)

    def real(x: Any) -> float:
        return float(np.sum(scales * np.sin(x)))

    def wrong(x: Any) -> Any:
        g = scales * np.cos(x)
        g[0] *= 1 + 1e-3  # a tenth of the millionth of the largest
        return g

    x = np.linspace(0.1, 0.5, 5)
    check_gradient(real, lambda x: scales * np.cos(x), x)
    with pytest.raises(GradientMismatch, match=r"at index \(0,\).* by central differences"):
        check_gradient(real, wrong, x)
    check_gradient(real, wrong, x, rtol=1e-6)  # as loose as one asks


def test_transposed_and_conjugated_and_halved() -> None:
    w = np.array([[1.0, 2.0], [3.0, -1.0]])
    m = np.array([[0.5, 1.5], [-2.0, 0.3]])
    with pytest.raises(GradientMismatch, match=r"at index \((0, 1|1, 0)\) of x"):
        check_gradient(lambda w: np.sum((w @ m) ** 2), lambda w: (2 * w @ m @ m.T).T, w)
    z = w + 1j * m

    def quartic(z: Any) -> Any:
        return np.sum(np.abs(z) ** 4)

    right = lambda z: 4 * np.abs(z) ** 2 * z
    assert check_gradient(quartic, right, z).compared == 8
    with pytest.raises(
        GradientMismatch, match=r"at index \(1,\), imaginary part, of x; .*: got 8\.0*\d*, expected -[78]\."
    ):
        check_gradient(quartic, lambda z: np.conj(right(z)), np.array([1.0, 1 - 1j]))
    for wrong in (lambda z: np.conj(right(z)), lambda z: right(z) / 2, lambda z: right(z).real + 0j):
        with pytest.raises(GradientMismatch):
            check_gradient(quartic, wrong, z)


def test_wrong_in_the_second_input_only() -> None:
    x = {"a": np.array([1.0, 2.0]), "b": np.array([[3.0], [4.0]])}

    def both(p: Any) -> Any:
        return np.sum(p["a"] * p["b"][:, 0] ** 2)

    def gradient(p: Any) -> Any:
        return {"a": p["b"][:, 0] ** 2, "b": (2 * p["a"] * p["b"][:, 0])[:, None]}

    assert check_gradient(both, gradient, x).compared == 4
    with pytest.raises(GradientMismatch, match=r"at index \(1, 0\) of x\['b'\]; to repeat: rng=3: got 16\.5"):
        check_gradient(both, lambda p: gradient(p) | {"b": np.array([[6.0], [16.5]])}, x, rng=3)
    with pytest.raises(GradientMismatch, match=r"at index \(2,\) of x\[1\]"):
        check_gradient(
            lambda p: p[0].sum() * p[1].sum(), lambda p: [3 + 0 * p[0], np.array([2, 2, 1])], [np.ones(2), np.ones(3)]
        )


def test_what_random_directions_cannot_see() -> None:
    """A gradient right along any direction that a seed draws, and wrong across them all."""
    x = np.linspace(0.1, 1.0, 60)
    seen = np.random.default_rng(0).normal(size=(40, 60))
    null = np.linalg.svd(seen)[2][-1]

    def wrong(x: Any) -> Any:
        return np.cos(x) + 1e-3 * null

    g = wrong(x)
    assert np.abs(seen @ (g - np.cos(x))).max() < 1e-15
    with pytest.raises(GradientMismatch, match=r"at index \(\d+,\) of x"):
        check_gradient(lambda x: np.sum(np.sin(x)), wrong, x)


@pytest.mark.parametrize("index", [(3, 4), (29, 39), (0, 0)])
def test_in_a_large_input_the_entry_is_found_by_halving(index: Any) -> None:
    x = np.random.default_rng(0).normal(size=(30, 40))
    wrong = np.cos(x)
    wrong[index] += 1e-3
    for method in ("auto", "central"):
        with pytest.raises(GradientMismatch) as caught:
            check_gradient(lambda x: np.sum(np.sin(x)), lambda _: wrong, x, method=method)
        first, second = str(caught.value).split("\n")
        assert first.startswith("along random direction ")
        assert second.startswith(f"at index {index} of x; to repeat: rng=0: got ")
    with pytest.raises(GradientMismatch, match=r"^at index"):
        check_gradient(lambda x: np.sum(np.sin(x)), lambda _: wrong, x, full=1200)


def test_code_that_conjugates_is_not_trusted_with_the_complex_step() -> None:
    """It keeps complex arrays and drops the derivative; a gradient of zero must not agree with it."""

    def conjugating(x: Any) -> Any:
        return np.sum(x * np.conj(x))

    def partly(x: Any) -> Any:
        return np.sum(np.sin(x)) + 1e-9 * np.sum(x * np.conj(x))

    x = np.array([0.5, -1.0, 2.0])
    assert check_gradient(conjugating, lambda x: 2 * x, x).methods == {"x": "central differences"}
    with pytest.raises(GradientMismatch, match="by central differences"):
        check_gradient(conjugating, lambda x: 0 * x, x)
    check_gradient(lambda x: np.sum(np.sin(x)) + np.sum(x[:1].real), lambda x: np.cos(x) + np.eye(3)[0], x)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_single_precision_is_checked_in_double_where_that_can_be(dtype: str) -> None:
    x = (X + 1j * A if dtype == "complex64" else X).astype(dtype)
    seen = []

    def cubic(x: Any) -> Any:
        seen.append(x.dtype.name)
        return np.sum(np.abs(x) ** 3)

    def gradient(x: Any) -> Any:
        assert x.dtype == dtype
        return 3 * np.abs(x) * x

    check_gradient(cubic, gradient, x)
    assert {"float32": "float64", "complex64": "complex128"}[dtype] in seen
    with pytest.raises(GradientMismatch):  # 30 times finer than differences in single precision
        check_gradient(cubic, lambda x: gradient(x) * np.float32(1.0003), x)
    seen.clear()
    check_gradient(cubic, gradient, x[:2, :2], widen=False)
    assert set(seen) == {dtype}


def test_single_precision_inside_is_noticed() -> None:
    w = np.array([1.0, -2.0, 3.0], np.float32)

    def inside(x: Any) -> Any:
        return np.sum(np.sin(x.astype(np.float32)) * w).astype(x.dtype)

    def refuses(x: Any) -> Any:
        if x.dtype != np.float32:
            raise RuntimeError("expected scalar type Float but found Double")
        return np.sum(np.sin(x) * w)

    x = np.array([0.3, 0.4, -0.5], np.float32)
    for g in (inside, refuses):
        check_gradient(g, lambda x: np.cos(x) * w, x)
        with pytest.raises(GradientMismatch, match=r"at index \(1,\)"):
            check_gradient(g, lambda x: np.cos(x) * w * np.float32([1, 1.05, 1]), x)


def test_the_tape_gives_the_gradient_that_is_left_out() -> None:
    assert check_gradient(lambda x: ad.sum(ad.sin(x) * A), X).compared == 300
    report = check_gradient(lambda p: ad.sum(p["a"] * p["b"]), x={"a": X, "b": A}, framework="tape")
    assert report.methods == {"x['a']": "complex step", "x['b']": "complex step"}
    assert report.worst[0] < 1
    with pytest.raises(TypeError, match="the tape cannot differentiate this function"):
        check_gradient(lambda x: np.sum(np.sin(x)), X)


@pytest.mark.parametrize(
    ("call", "error", "phrase"),
    [
        (lambda: check_gradient(f), TypeError, r"x is missing: check_gradient\(f, gradient, x\)"),
        (lambda: check_gradient(f, slope), TypeError, "x is missing"),
        (lambda: check_gradient(f, X, X), TypeError, "the gradient must be a function, got ndarray"),
        (lambda: check_gradient(f, slope, X, framework="keras"), ValueError, "allowed: numpy, tape, torch, jax"),
        (lambda: check_gradient(f, X, framework="numpy"), TypeError, "no derivative of its own: give the claimed one"),
        (lambda: check_gradient(np.sin, np.cos, X), TypeError, r"returns an array of shape \(15, 20\), not a scalar"),
        (lambda: check_gradient(f, slope, X.astype(np.float16)), TypeError, "x has dtype float16"),
        (
            lambda: check_gradient(f, lambda x: 1j * x, X),
            GradientMismatch,
            r"is complex \(complex128\), its input is real",
        ),
        (
            lambda: check_gradient(f, lambda x: x.astype(object), X),
            GradientMismatch,
            "the gradient of x has dtype object",
        ),
        (
            lambda: check_gradient(lambda a, b: np.sum(a * b), lambda a, b: (b, a), (X, X)),
            TypeError,
            "with one argument",
        ),
        (lambda: check_gradient(lambda x: np.sum(np.sin(x)), np.cos, [1.0, 2.0]), GradientMismatch, "np.array"),
    ],
)
def test_calls_that_make_no_sense(call: Any, error: type[Exception], phrase: str) -> None:
    with pytest.raises(error, match=phrase):
        call()


@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from(["float32", "float64", "complex128"]), st.booleans())
def test_random_polynomials_pass(seed: int, degree: int, dtype: str, differences: bool) -> None:
    rng = np.random.default_rng(seed)
    coefficients = rng.normal(size=(degree + 1, 6))
    x = (rng.normal(size=6) + (1j * rng.normal(size=6) if dtype == "complex128" else 0)).astype(dtype)

    def polynomial(x: Any) -> Any:
        y = sum(c.astype(x.real.dtype) * x**k for k, c in enumerate(coefficients))
        return np.sum(y.real if dtype == "complex128" else y)

    def gradient(x: Any) -> Any:
        y = sum(k * c.astype(x.real.dtype) * x ** (k - 1) for k, c in enumerate(coefficients) if k)
        return np.conj(y).astype(x.dtype)

    method = "central" if differences else "auto"
    report = check_gradient(polynomial, gradient, x, method=method)
    assert report.left_out == []
    factor = 1 + (1e-2 if dtype == "float32" else 1e-6)
    with pytest.raises(GradientMismatch):
        check_gradient(polynomial, lambda x: (gradient(x) * factor).astype(dtype), x, method=method)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_found_in_large_inputs_and_at_kinks(bad: float) -> None:
    x = np.random.default_rng(0).normal(size=600)
    wrong = np.cos(x)
    wrong[123] = bad
    with pytest.raises(GradientMismatch, match=rf"at index \(123,\) of x; to repeat: rng=0: got {bad}"):
        check_gradient(lambda x: np.sum(np.sin(x)), lambda _: wrong, x)
    with pytest.raises(GradientMismatch, match=rf"at index \(1,\) of x; to repeat: rng=0: got {bad}"):
        check_gradient(lambda x: float(np.abs(x).sum()), lambda x: np.array([1.0, bad]), np.array([1.0, 0.0]))

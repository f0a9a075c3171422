"""The numerical derivatives of the validation package: right where they can be, loud where a gradient is wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from adntn_ref.validation import (
    GradientMismatch,
    central_directional,
    central_gradient,
    check_gradient,
    check_vjp,
    complex_step_directional,
    complex_step_gradient,
)

X = np.array([[0.3, -1.2], [2.0, 0.7]])


def f(x: Any) -> Any:
    return np.sum(np.exp(x) * np.sin(x))


def slope(x: Any) -> Any:
    return np.exp(x) * (np.sin(x) + np.cos(x))


def test_complex_step() -> None:
    np.testing.assert_allclose(complex_step_gradient(f, X), slope(X), rtol=1e-15)
    u = X[::-1]
    np.testing.assert_allclose(complex_step_directional(f, X, u), np.sum(slope(X) * u), rtol=1e-15)
    np.testing.assert_allclose(complex_step_directional(np.sin, X, u), np.cos(X) * u, rtol=1e-15)


def test_complex_step_refuses_what_it_cannot_see() -> None:
    with pytest.raises(TypeError, match="needs real arrays"):
        complex_step_gradient(f, X + 1j)
    with pytest.raises(TypeError, match="dropped the imaginary part"):
        complex_step_gradient(lambda x: np.abs(x).sum(), X)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_central_differences_know_their_error(dtype: str) -> None:
    x = (X * 3).astype(dtype)
    gradient, error = central_gradient(f, x)
    assert gradient.dtype == np.float64
    off = np.abs(gradient - slope(x.astype(np.float64)))
    assert (off <= error + 1e-16).all()
    assert (error < {"float32": 1.0, "float64": 1e-6}[dtype]).all()


def test_central_differences_of_complex_arrays() -> None:
    z = X + 0.5j
    gradient, error = central_gradient(lambda z: float(np.sum(np.abs(z) ** 4)), z)
    np.testing.assert_allclose(gradient, 4 * np.abs(z) ** 2 * z, rtol=1e-9)
    assert (error < 1e-7).all()


def test_central_directional_and_chosen_entries_and_steps() -> None:
    value, error = central_directional(np.sin, X, 10 * X)
    np.testing.assert_allclose(value, np.cos(X) * 10 * X, rtol=1e-9)
    assert error.shape == X.shape
    gradient, _ = central_gradient(f, X, step=1e-3, only=[(0, 1)])
    np.testing.assert_allclose(gradient, np.where([[0, 1], [0, 0]], slope(X), 0.0), rtol=1e-6)


@pytest.mark.parametrize("method", ["auto", "complex", "central"])
def test_a_right_gradient_passes(method: str) -> None:
    check_gradient(f, slope, X, method=method)
    check_vjp(np.sin, lambda v: v * np.cos(X), X, method=method)


@pytest.mark.parametrize(
    ("method", "size", "name"),
    [("auto", 1e-11, "complex"), ("complex", 1e-11, "complex"), ("central", 1e-5, "central")],
)
def test_a_wrong_gradient_is_named(method: str, size: float, name: str) -> None:
    wrong = slope(X)
    wrong[1, 0] *= 1 + size
    with pytest.raises(GradientMismatch) as caught:
        check_gradient(
            lambda p: f(p["w"]) + p["b"], lambda _: {"w": wrong, "b": 1.0}, {"w": X, "b": 2.0}, method=method, rng=5
        )
    message = str(caught.value)
    assert isinstance(caught.value, AssertionError)
    for phrase in (
        "at index (1, 0) of x['w']",
        "rng=5",
        "got ",
        "expected ",
        f"by {name}",
        "absolute error",
        "relative error",
    ):
        assert phrase in message


def test_the_input_is_named_in_a_tuple() -> None:
    with pytest.raises(GradientMismatch, match=r"at index \(0,\) of x\[1\]; to repeat: rng=0"):
        check_gradient(lambda p: f(p[0]) + np.sum(p[1]), lambda p: (slope(X), 2 * p[1]), (X, np.ones(3)))


def test_auto_falls_back_to_differences() -> None:
    check_gradient(lambda x: float(np.sum(np.abs(x) ** 3)), lambda x: 3 * np.abs(x) * x, X)

    def refusing(x: Any) -> Any:
        if np.iscomplexobj(x):
            raise TypeError("only real")
        return np.sum(x**2)

    check_gradient(refusing, lambda x: 2 * x, X)
    check_gradient(lambda x: np.sum(x**2), lambda x: 2 * x, X.astype(np.float32))
    check_gradient(lambda z: np.sum(np.abs(z) ** 2), lambda z: 2 * z, X + 1j)
    check_vjp(lambda x: (1 + 2j) * x, lambda v: np.real((1 - 2j) * v), X)
    check_vjp(lambda _: np.array([]), lambda _: np.zeros_like(X), X)


def test_large_inputs_are_sampled() -> None:
    x = np.random.default_rng(0).normal(size=(30, 40))
    calls: list[int] = []

    def counted(x: Any) -> Any:
        calls.append(1)
        return f(x)

    check_gradient(counted, slope, x)
    assert len(calls) < 60
    wrong = slope(x)
    wrong[3, 4] += 1e-3  # the sample of entries may miss it, a random direction does not
    with pytest.raises(GradientMismatch, match="along random direction 0 of x"):
        check_gradient(f, lambda _: wrong, x)


def relu_loss(x: Any) -> Any:
    return np.sum(np.maximum(x, 0.0))


@pytest.mark.parametrize("kinks", [(0.0,), lambda x: x])
def test_entries_near_a_kink_are_left_out(kinks: Any) -> None:
    x = np.array([1.0, -2.0, 1e-9])
    check_gradient(relu_loss, lambda x: (x > 0.5) * 1.0, x, kinks=kinks)
    with pytest.raises(GradientMismatch, match=r"at index \(0,\)"):
        check_gradient(relu_loss, lambda x: (x < 0) * 1.0, x, kinks=kinks)
    with pytest.raises(GradientMismatch, match=r"every entry of x; .* lies too near a kink; nothing was compared"):
        check_gradient(relu_loss, lambda x: x * 0, x * 1e-9, kinks=kinks)
    check_gradient(relu_loss, lambda x: (x > 0) * 1.0, np.full(500, 0.5), kinks=kinks)
    with pytest.raises(GradientMismatch, match="nothing was compared"):
        check_gradient(relu_loss, lambda x: (x > 0) * 1.0, np.full(500, 1e-9), kinks=kinks)


@pytest.mark.parametrize(
    ("gradient", "phrase"),
    [
        (lambda x: slope(x)[0], r"the gradient of x has shape \(2,\), its input \(2, 2\)"),
        (lambda x: (slope(x),), r"the gradient has parts \['x\[0\]'\], the input \['x'\]"),
        (lambda x: slope(x) * np.nan, "got nan"),
    ],
)
def test_gradients_of_a_wrong_kind(gradient: Callable[[Any], Any], phrase: str) -> None:
    with pytest.raises(GradientMismatch, match=phrase):
        check_gradient(f, gradient, X)


def test_a_wrong_pullback_is_named() -> None:
    with pytest.raises(GradientMismatch, match=r"<v, J u> for x, pair 0; to repeat: rng=9: got"):
        check_vjp(np.sin, lambda v: v * np.cos(X) * 1.00001, X, rng=9)
    with pytest.raises(GradientMismatch, match=r"the cotangent of x has shape \(2,\), its input \(2, 2\)"):
        check_vjp(np.sin, lambda v: v[0], X)


def test_differences_that_cannot_judge_say_so() -> None:
    def rounded(x: Any) -> Any:
        return 1e9 + np.sum(np.sin(x))

    with pytest.raises(GradientMismatch, match=r"the difference is only known to .*, too coarse to judge by"):
        check_gradient(rounded, np.cos, X, method="central")


def test_unknown_method() -> None:
    with pytest.raises(ValueError, match="method is 'exact'; allowed: auto, complex, central"):
        check_gradient(f, slope, X, method="exact")

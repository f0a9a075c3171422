"""Kinks: found without being told, kept at a distance by smaller steps, never an excuse for a wrong gradient."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adntn_ref.validation import GradientMismatch, central_gradient, check_gradient, check_hvp, check_vjp
from adntn_ref.validation.checks import stencils

C = np.random.default_rng(3).normal(size=12) + 3.0


def relu(x: Any) -> Any:
    return np.maximum(x, 0.0)


def loss(x: Any) -> float:
    """Takes no complex arrays: differences only."""
    return float(np.sum(C * relu(x)) + np.sum(np.sin(x)))


def slope(x: Any) -> Any:
    return C * (x > 0) + np.cos(x)


def points(*near: float) -> Any:
    x = np.linspace(-2.0, 2.0, 12)
    x[: len(near)] = near
    return x


@pytest.mark.parametrize("method", ["auto", "central"])
@pytest.mark.parametrize("distance", [3e-3, 1.1e-5, 8e-6, 4.0368e-6, 3e-6, 1e-6, 1e-7, -1e-7, -3e-6, -9e-6])
def test_a_kink_nearby_is_kept_at_a_distance(distance: float, method: str) -> None:
    x = points(distance)
    report = check_gradient(loss, slope, x, method=method)
    assert report.left_out == []
    assert report.compared == 12
    for wrong in (1 + 1e-4, 1 - 1e-4, 0.5):
        with pytest.raises(GradientMismatch, match=r"at index \(0,\) of x"):
            check_gradient(loss, lambda x, w=wrong: slope(x) * np.where(np.arange(12) == 0, w, 1.0), x)


@pytest.mark.parametrize("distance", [0.0, 1e-12, -1e-12, 1e-14])
def test_a_kink_at_the_point_is_left_out_and_counted(distance: float) -> None:
    x = points(distance)
    report = check_gradient(loss, slope, x)
    assert report.left_out == ["at index (0,) of x; to repeat: rng=0"]
    assert report.compared == 11
    wrong = slope(x)
    wrong[5] *= 1 + 1e-4  # and its neighbours are not excused
    with pytest.raises(GradientMismatch, match=r"at index \(5,\) of x"):
        check_gradient(loss, lambda _: wrong, x)


def test_the_share_left_out_is_limited() -> None:
    x = points(0.0, 0.0)
    assert len(check_gradient(loss, slope, x).left_out) == 2
    with pytest.raises(GradientMismatch, match=r"3 of 12 derivatives of x; .*near_kinks=") as caught:
        check_gradient(loss, slope, points(0.0, 0.0, 0.0))
    assert "at index (2,) of x" in str(caught.value)
    assert "allowed is a share of 0.2" in str(caught.value)
    assert len(check_gradient(loss, slope, points(0.0, 0.0, 0.0), near_kinks=0.5).left_out) == 3
    with pytest.raises(GradientMismatch, match=r"every entry of x; .* nothing was compared"):
        check_gradient(loss, slope, np.zeros(12), near_kinks=1.0)


def test_the_complex_step_meets_a_kink_only_at_the_point_itself() -> None:
    def analytic(x: Any) -> Any:
        return np.sum(C * np.where(x.real > 0, x, 0.0)) + np.sum(np.sin(x))

    report = check_gradient(analytic, slope, points(1e-12))
    assert report.methods == {"x": "complex step"}
    assert report.left_out == []

    def other(x: Any) -> Any:  # takes the other side at 0
        return np.sum(C * np.where(x.real >= 0, x, 0.0)) + np.sum(np.sin(x))

    for method in ("auto", "complex"):
        assert check_gradient(other, slope, points(0.0), method=method).left_out == [
            "at index (0,) of x; to repeat: rng=0"
        ]
        for wrong in (1 + 1e-9, 2.0):
            scaled = slope(points(1e-12)) * np.where(np.arange(12) == 0, wrong, 1.0)
            with pytest.raises(GradientMismatch, match=r"at index \(0,\).* by complex step"):
                check_gradient(analytic, lambda _, g=scaled: g, points(1e-12), method=method)


@pytest.mark.parametrize("curvature", [1e2, 1e4, 1e6])
def test_curvature_is_not_mistaken_for_a_kink(curvature: float) -> None:
    """A slope that changes fast, also at the very point where it is zero."""
    x = np.array([0.0, 0.3, 1e-7, -2e-8])

    def f(x: Any) -> float:
        return float(np.sum(np.cos(curvature * x)) / curvature + x.sum())

    def right(x: Any) -> Any:
        return 1 - np.sin(curvature * x)

    assert check_gradient(f, right, x).left_out == []
    for index in range(4):
        wrong = right(x)
        wrong[index] += 1e-4
        with pytest.raises(GradientMismatch, match=rf"at index \({index},\)"):
            check_gradient(f, lambda _, w=wrong: w, x)
        with pytest.raises(GradientMismatch, match=rf"at index \({index},\)"):
            check_gradient(lambda x: np.sum(np.cos(curvature * x)) / curvature + x.sum(), lambda _, w=wrong: w, x)


@pytest.mark.parametrize("shape", [lambda t: np.abs(t), lambda t: np.maximum(t, 0.1 * t), lambda t: np.abs(np.sin(t))])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_kinks_of_any_height(shape: Any, size: float) -> None:
    def f(x: Any) -> float:
        return float(size * shape(x[0]) + size * np.sum(x**2))

    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])

    def gradient(x: Any) -> Any:
        g = 2 * x * size
        g[0] += 0.05 * size
        return g

    assert check_gradient(f, gradient, x).left_out == ["at index (0,) of x; to repeat: rng=0"]


def network(x: Any, dtype: Any = None) -> Any:
    """A relu network of three layers; every loss of it has many kinks."""
    rng = np.random.default_rng(8)
    h = x
    for _ in range(3):
        h = relu(h @ rng.normal(size=(16, 16)).astype(dtype or x.dtype) / 2)
    return h


def backward(x: Any, v: Any) -> Any:
    rng, states = np.random.default_rng(8), [x]
    weights = [rng.normal(size=(16, 16)).astype(x.dtype) / 2 for _ in range(3)]
    for w in weights:
        states.append(relu(states[-1] @ w))
    for w, y in zip(weights[::-1], states[:0:-1], strict=True):
        v = (v * (y > 0)) @ w.T
    return v


@given(st.integers(0, 10**6), st.sampled_from(["float64", "float32"]), st.booleans())
def test_relu_networks_pass_and_wrong_ones_do_not(seed: int, dtype: str, widen: bool) -> None:
    x = np.random.default_rng(seed).normal(size=(2, 16)).astype(dtype)
    f = lambda x: np.sum(network(x).real ** 2)
    gradient = lambda x: backward(x, 2 * network(x))
    report = check_gradient(f, gradient, x, method="central", widen=widen, near_kinks=0.3)
    assert report.compared >= 22
    if dtype == "float64" or widen:
        assert report.compared >= 31
        relative = 1e-4 if dtype == "float64" else 1e-2
        wrong = gradient(x)
        k = int(np.argmax(np.abs(wrong)))
        wrong.reshape(-1)[k] *= 1 + relative
        with pytest.raises(GradientMismatch, match=rf"at index \({k // 16}, {k % 16}\) of x"):
            check_gradient(f, lambda _: wrong, x, method="central", widen=widen)


@given(st.integers(0, 10**6))
def test_pullbacks_of_relu_networks(seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=16)
    report = check_vjp(lambda x: network(x).real, lambda v: backward(x, v), x, method="central")
    assert report.compared >= 0.95 * (16 * 16 + 3)
    with pytest.raises(GradientMismatch):
        check_vjp(lambda x: network(x).real, lambda v: backward(x, v) * (1 + 1e-4), x, method="central")


def test_a_jump_of_the_second_derivative_is_a_kink_of_the_gradient() -> None:
    x = np.array([0.0, 1.0, -1.0, 2.0, 3.0])

    def f(x: Any) -> float:
        return float(np.sum(relu(x) ** 2))

    report = check_hvp(f, lambda v: 2 * (x > 0) * v, x, gradient=lambda x: 2 * relu(x))
    assert any("index (0,) of x" in where for where in report.left_out)
    with pytest.raises(GradientMismatch, match=r"the Hessian at index \(3,\) of x along index \(3,\) of x"):
        check_hvp(
            f,
            lambda v: 2 * (x > 0) * v * (1 + 1e-4 * (np.arange(5) == 3)),
            x,
            gradient=lambda x: 2 * relu(x),
        )


def test_a_step_function_is_not_excused() -> None:
    """A value that jumps is no kink: the differences cannot judge, and that is a failure."""
    with pytest.raises(GradientMismatch, match="too coarse to judge by"):
        check_gradient(lambda x: float(np.sum(np.floor(x))), lambda x: np.zeros_like(x), np.array([1.0, 0.5, 0.25]))


def test_kinks_at_random_distances_from_a_network() -> None:
    """Every entry feels the kink of a hidden unit: no false alarm, nothing left out, no scaled entry let through."""
    left_out = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        weights = [rng.normal(size=(8, 8)) for _ in range(3)]
        x = np.abs(rng.normal(size=8))
        unit, distance = rng.integers(8), 10 ** rng.uniform(-8, -4) * rng.choice([-1, 1])
        column = weights[0][:, unit]
        x = x - (x @ column - distance) * column / (column @ column)

        def f(x: Any, weights: Any = weights) -> float:
            for w in weights:
                x = relu(x @ w)
            return float(1 + np.sum(x**2) / 8 + np.sum(x))

        def gradient(x: Any, weights: Any = weights) -> Any:
            states = [x]
            for w in weights:
                states.append(relu(states[-1] @ w))
            v = states[-1] / 4 + 1
            for w, y in zip(weights[::-1], states[:0:-1], strict=True):
                v = (v * (y > 0)) @ w.T
            return v

        right = gradient(x)
        if not np.abs(right).max():
            continue
        left_out += len(check_gradient(f, gradient, x).left_out)
        wrong = right.copy()
        index = int(np.argmax(np.abs(right)))
        wrong[index] *= 1 + 1e-4
        with pytest.raises(GradientMismatch):
            check_gradient(f, lambda _, w=wrong: w, x)
    assert left_out == 0


def test_a_claim_that_equals_a_difference_across_a_kink_is_not_believed() -> None:
    x = np.array([1e-7, 1.0, -1.0])
    f = lambda x: float(relu(x).sum())
    across = central_gradient(f, x)[0]
    assert abs(across[0] - 0.5) < 0.05
    with pytest.raises(
        GradientMismatch, match=r"at index \(0,\) of x; to repeat: rng=0: got .*, expected (1\.|0\.9999)"
    ):
        check_gradient(f, lambda _: across, x)
    at = check_gradient(lambda x: float(np.abs(x).sum()), np.sign, np.array([0.0, 1.0, -1.0]))
    assert at.left_out == ["at index (0,) of x; to repeat: rng=0"]  # where the difference is 0, as is the claim


def test_what_persists_is_a_kink_and_what_falls_with_the_step_is_not() -> None:
    noise = np.full(9, 1e-6)
    falling = 4.0 ** -np.arange(9)
    for factor in (0.25, 0.3, 0.45):  # curvature, also where higher derivatives bend the ratio
        assert not stencils._persists(factor ** np.arange(9), noise)
    assert stencils._persists(np.ones(9), noise)
    assert stencils._persists(1 + falling, noise)
    assert stencils._persists(np.where(np.arange(9) < 4, 1.0, 1e-9), noise)  # nearby: the smaller steps do not reach
    assert not stencils._persists(np.where(np.arange(9) < 3, 1.0, falling), noise)  # unresolved, then smooth
    assert not stencils._persists(np.ones(9), np.ones(9))  # nothing but rounding
    assert not stencils._persists(4.0 ** np.arange(9), noise)  # a value that jumps

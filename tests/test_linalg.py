"""QR, singular values, solutions and diagonals: what the factors are, and where they have no derivative."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from elsewhere import place, there

from adntn_ref import ad
from adntn_ref.errors import ArrayError, TapeError

SHAPES = [(3, 3), (4, 2), (2, 4), (2, 3, 2), (1, 1)]


def drawn(shape: tuple[int, ...], dtype: str = "float64", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if dtype.startswith("complex") else x).astype(dtype)


def with_values(values: list[float], m: int, n: int, dtype: str = "float64") -> np.ndarray:
    """A matrix with the given singular values."""
    u, v = (np.linalg.qr(drawn((size, size), dtype, seed=k))[0] for k, size in enumerate((m, n)))
    k = min(m, n)
    return (u[:, :k] * np.array(values)) @ v[:, :k].conj().T


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_factors_are_numpys(shape: tuple[int, ...], dtype: str) -> None:
    x = drawn(shape, dtype)
    for ours, theirs in (
        (there(ad.qr)(x), np.linalg.qr(x)),
        (there(ad.svd)(x), np.linalg.svd(x, full_matrices=False)),
    ):
        for got, expected in zip(ours, theirs, strict=True):
            assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 if dtype in ("float32", "complex64") else 1e-12)


@pytest.mark.parametrize("offset", range(-4, 5))
@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (-1, 0), (1, 2)], ids=str)
def test_diagonals_are_numpys(offset: int, axes: tuple[int, int]) -> None:
    x = drawn((3, 2, 4))
    np.testing.assert_array_equal(there(lambda x: ad.diagonal(x, offset, *axes))(x), np.diagonal(x, offset, *axes))


def test_half_of_a_cotangent_passes_at_a_bound() -> None:
    x = np.array([-2.0, -1.0, 0.5, 1.0, 3.0])
    gradient = there(ad.grad(lambda x: ad.sum(ad.clip(x, -1.0, 1.0))))(x)
    np.testing.assert_array_equal(gradient, [0.0, 0.5, 1.0, 0.5, 0.0])


# Singular values that agree


def nuclear(x: Any) -> Any:
    return ad.sum(ad.svd(x)[1])


def rank_one(x: Any) -> Any:
    """The squared distance from a fixed matrix to the best approximation of rank 1."""
    u, s, vh = ad.svd(x)
    return ad.sum(ad.abs(ad.matmul(u[:, :1] * s[:1], vh[:1]) - 1.0) ** 2)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("values", [[2.0, 2.0, 1.0], [1.0, 1.0, 1.0], [3.0, 2.0, 1.0]], ids=str)
@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 5)], ids=str)
def test_a_loss_of_the_values_alone(values: list[float], shape: tuple[int, int], dtype: str) -> None:
    """The nuclear norm has the gradient U V^H, whether values agree or not."""
    x = with_values(values, *shape, dtype)
    u, _, vh = np.linalg.svd(x, full_matrices=False)
    np.testing.assert_allclose(there(ad.grad(nuclear))(x), u @ vh, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("gap", [0.0, 1e-16])
def test_vectors_of_values_that_agree_have_no_derivative(gap: float, dtype: str) -> None:
    x = with_values([2.0 + gap, 2.0, 1.0], 4, 3, dtype)
    with pytest.raises(TapeError, match=r"no derivative where two singular values agree, got \[2\. +2\. +1\. *\]"):
        there(ad.grad(rank_one))(x)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_vectors_of_values_that_nearly_agree_have_one(dtype: str) -> None:
    x, d = with_values([2.001, 2.0, 1.0], 4, 3, dtype), drawn((4, 3), dtype, 7)
    h = 2.0**-24
    numeric = (rank_one(x + h * d) - rank_one(x - h * d)) / (2 * h)
    found = np.sum(there(ad.grad(rank_one))(x).conj() * d).real
    np.testing.assert_allclose(found, numeric, rtol=1e-4)


def test_a_curvature_of_values_that_agree_is_refused() -> None:
    x = with_values([2.0, 2.0, 1.0], 3, 3)
    with pytest.raises(TapeError, match="two singular values agree"):
        there(lambda x: ad.hvp(nuclear, x, x))(x)


@pytest.mark.parametrize(("dtype", "shape"), [("float64", (4, 3)), ("float64", (3, 4)), ("complex128", (3, 3))])
def test_vectors_of_a_value_of_0_have_no_derivative(dtype: str, shape: tuple[int, int]) -> None:
    x = with_values([2.0, 1.0, 0.0], *shape, dtype)
    with pytest.raises(TapeError, match="no derivative where a singular value is 0"):
        there(ad.grad(rank_one))(x)


def test_a_real_square_matrix_may_have_a_value_of_0() -> None:
    x, d = with_values([2.0, 1.0, 0.0], 3, 3), drawn((3, 3))
    h = 2.0**-17
    numeric = (rank_one(x + h * d) - rank_one(x - h * d)) / (2 * h)
    np.testing.assert_allclose(np.sum(there(ad.grad(rank_one))(x) * d), numeric, rtol=1e-7)


def test_a_loss_of_phases_has_no_derivative() -> None:
    x = drawn((3, 2), "complex128")
    with pytest.raises(TapeError, match="depends on the phases of singular vectors, which nothing fixes"):
        there(ad.grad(lambda x: ad.sum(ad.real(ad.svd(x)[0]))))(x)


def test_a_minimum_keeps_its_curvature() -> None:
    """At the minimum the vectors' cotangents are zero: the rule must not take that for a loss of the values alone."""
    x, d = drawn((3, 3)), drawn((3, 3), seed=1)
    aim = place(np.linalg.svd(x)[0])

    def loss(x: Any) -> Any:
        return ad.sum((ad.svd(x)[0] - aim) ** 2)

    assert np.abs(there(ad.grad(loss))(x)).max() == 0.0
    h = 1e-4
    numeric = (ad.svd(x + h * d)[0] - ad.svd(x - h * d)[0]) / (2 * h)
    curved = np.sum(there(lambda x, d: ad.hvp(loss, x, d))(x, d) * d)
    np.testing.assert_allclose(curved, 2 * np.sum(numeric**2), rtol=1e-6)


# QR and solve


def test_dependent_columns_have_no_derivative() -> None:
    x = np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 2.0]])
    with pytest.raises(
        TapeError, match="qr has no derivative where columns are linearly dependent: R has the diagonal"
    ):
        there(ad.grad(lambda x: ad.sum(ad.qr(x)[1])))(x)
    gradient = there(ad.grad(lambda x: ad.sum(ad.qr(x)[1])))(x[:2, ::2].copy())
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("call", "phrase"),
    [
        (lambda: ad.qr(np.ones(3)), r"qr takes matrices \(..., m, n\) that are not empty, got shape \(3,\)"),
        (lambda: ad.svd(np.ones((0, 3))), r"svd takes matrices .* got shape \(0, 3\)"),
        (lambda: ad.svd(np.full((2, 2), np.nan)), "svd of a matrix of shape .* did not converge"),
        (
            lambda: ad.solve(np.ones((2, 3)), np.ones(2)),
            r"solve takes a \(..., n, n\) and b .* got \(2, 3\) and \(2,\)",
        ),
        (lambda: ad.solve(np.eye(2), np.ones(3)), r"got \(2, 2\) and \(3,\)"),
        (lambda: ad.solve(np.eye(2), 1.0), r"got \(2, 2\) and \(\)"),
        (lambda: ad.solve(np.ones((2, 2)), np.ones(2)), r"solve with a singular matrix of shape \(2, 2\)"),
        (lambda: ad.diagonal(np.ones((2, 3)), 0, 1, -1), r"two different axes, got 1 and -1 of shape \(2, 3\)"),
        (lambda: ad.diagonal(np.ones((2, 3)), 0, 0, 2), r"two different axes, got 0 and 2"),
    ],
)
def test_refusals(call: Callable[[], object], phrase: str) -> None:
    with pytest.raises(ArrayError, match=phrase):
        call()

"""Rules at the points where two limits meet: values that only a convention fixes."""

import numpy as np

import adntn_ref as ar
from adntn_ref import ad
from adntn_ref.ad.ops import PRIMITIVES


def test_the_exponent_of_a_base_of_zero_has_no_gradient() -> None:
    """0^b is 0 or 1, and the rule takes 0, the limit for b > 0, at b = 0 too."""
    for b in (0.0, 1.0, 2.5):
        gradient = ar.grad(lambda x: ad.sum(ad.power(np.zeros(2), x)))(np.full(2, b))
        np.testing.assert_array_equal(gradient, [0.0, 0.0])


def test_a_base_to_the_exponent_zero_has_no_gradient() -> None:
    for a in (0.0, 2.0):
        gradient = ar.grad(lambda x: ad.sum(ad.power(x, np.zeros(2))))(np.full(2, a))
        np.testing.assert_array_equal(gradient, [0.0, 0.0])
        np.testing.assert_array_equal(ar.grad(lambda x: ad.sum(x**0))(np.full(2, a)), [0.0, 0.0])


def test_reductions_drop_their_axis_unless_told_otherwise() -> None:
    """A cotangent that differs along what is left, for two shapes where a dropped axis could be taken for another."""
    x = np.random.default_rng(0).standard_normal((3, 3))
    weights = np.array([1.0, 10.0, 100.0])
    share = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
    cases = {"sum": np.ones((3, 3)), "logsumexp": share, "max": (x == x.max(axis=-1, keepdims=True)).astype(float)}
    for name, expected in cases.items():
        gradient = ar.grad(lambda v, name=name: ad.sum(getattr(ad, name)(v, axis=-1) * weights))(x)
        np.testing.assert_allclose(gradient, weights[:, None] * expected, rtol=1e-12)


def test_arrays_are_joined_along_their_first_axis_unless_told_otherwise() -> None:
    rng = np.random.default_rng(0)
    a, b, g = rng.standard_normal((2, 2)), rng.standard_normal((2, 2)), rng.standard_normal((4, 2))
    first, second = ar.grad(lambda p: ad.sum(PRIMITIVES["join"](p[0], p[1]) * g))((a, b))
    np.testing.assert_array_equal(first, g[:2])
    np.testing.assert_array_equal(second, g[2:])

"""Powers at the exponent 0, where a rule that is right to first order may be wrong to second."""

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref import ad


@pytest.mark.parametrize("a", [2.0, 0.5])
def test_mixed_second_derivative_at_exponent_zero(a: float) -> None:
    """d/db d/da a^b = a^(b-1) (1 + b log a), which at b = 0 is 1/a."""

    def by_base(b: np.ndarray) -> np.ndarray:
        return ar.grad(lambda x: ad.sum(ad.power(x, b)))(np.array([a]))

    assert ar.grad(lambda b: ad.sum(by_base(b)))(np.array([0.0])) == pytest.approx(1 / a, rel=1e-15)


def test_zero_to_the_zero_stays_finite() -> None:
    for a, b, expected in ((0.0, 0.0, 0.0), (0.0, 1.0, 1.0), (0.0, 2.0, 0.0), (3.0, 0.0, 0.0)):
        found = ar.grad(lambda x, b=b: ad.sum(ad.power(x, np.array([b]))))(np.array([a]))
        assert found == expected

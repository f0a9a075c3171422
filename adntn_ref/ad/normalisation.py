r"""Normalisation as plain array functions: mean, variance and the standardised array; nothing here knows a tape.

Batch norm (Ioffe, Szegedy, arXiv 1502.03167) takes them over batch, rows and columns of each channel, layer norm (Ba,
Kiros, Hinton, arXiv 1607.06450) over the features of each vector. Both divide by n, not n - 1.
"""

from math import prod
from typing import Any

from adntn_ref.errors import ArrayError, SpecError

Array = Any
Axes = tuple[int, ...]


def moments(xp: Any, x: Array, axes: Axes) -> tuple[Array, Array]:
    r"""Return mean :math:`\mu` and variance :math:`\frac1n \sum (x - \mu)^2` over ``axes``, which stay with length 1.

    For complex x the square is not that of the modulus: the function stays analytic.
    """
    mean = x.mean(axis=axes, keepdims=True)
    centred = x - mean
    centred *= centred
    return mean, centred.mean(axis=axes, keepdims=True)


def standardise(
    xp: Any, x: Array, axes: Axes, eps: float, known: tuple[Array, Array] | None = None
) -> tuple[Array, Array]:
    r"""Return :math:`\hat x = (x - \mu) r` and :math:`r = 1 / \sqrt{\sigma^2 + \epsilon}`.

    Parameters
    ----------
    xp : array namespace
    x : array, real or complex
    axes : over which mean and variance are taken
    eps : added to the variance, > 0
    known : the moments, where the caller has them already
    """
    mean, variance = moments(xp, x, axes) if known is None else known
    inverse = 1.0 / xp.sqrt(variance + eps)
    standard = x - mean
    standard *= inverse
    return standard, inverse


def check(shape: tuple[int, ...], axes: Axes, eps: float) -> None:
    """Refuse axes that the array does not have or that hold nothing, and an eps that is not positive.

    Raises
    ------
    ArrayError, SpecError
    """
    if not axes or any(not -len(shape) <= a < len(shape) for a in axes):
        raise ArrayError(f"normalisation over the axes {axes} of an array of shape {tuple(shape)}")
    if prod(shape[a] for a in axes) == 0:
        raise ArrayError(f"normalisation over no entries: axes {axes} of an array of shape {tuple(shape)}")
    if not eps > 0:
        raise SpecError(f"eps must be positive, got {eps}")

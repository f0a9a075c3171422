"""The losses, and the softmax they are made of."""

from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array, backend_of, namespace
from adntn_ref.ad.ops import exp, function, getitem, mean, multiply, negative, primitive, subtract, sum, where
from adntn_ref.ad.tape import stop_gradient
from adntn_ref.errors import ArrayError, DTypeError


@primitive
def logsumexp(xp: Any, x: Array, axis: int = -1, keepdims: bool = False) -> Array:
    """Log sum_i e^{x_i} along ``axis``, shifted by the maximum so that nothing overflows."""
    top = xp.max(x, axis=axis, keepdims=True)
    total = xp.log(xp.sum(xp.exp(x - top), axis=axis, keepdims=True)) + top
    return total if keepdims else xp.squeeze(total, axis=axis)


@function
def log_softmax(x: Array, axis: int = -1) -> Array:
    """x_i - log sum_j e^{x_j} along ``axis``."""
    return subtract(x, logsumexp(x, axis=axis, keepdims=True))


@function
def softmax(x: Array, axis: int = -1) -> Array:
    """e^{x_i} / sum_j e^{x_j} along ``axis``."""
    return exp(log_softmax(x, axis=axis))


@function
def cross_entropy(logits: Array, labels: Array) -> Array:
    """Mean over the batch of -log softmax(logits)[label]; natural logarithm.

    Parameters
    ----------
    logits : array, shape (batch, classes), float
    labels : array, shape (batch,), integer in 0 .. classes - 1

    Raises
    ------
    ArrayError, DTypeError
        For other shapes, labels out of range, or labels that are not integers. On a device, where looking at the
        labels would mean waiting for it, one out of range makes the loss NaN instead.
    """
    raw = stop_gradient(labels)
    shape = tuple(stop_gradient(logits).shape)
    if len(shape) != 2 or tuple(raw.shape) != shape[:1] or shape[0] == 0:
        raise ArrayError(
            f"cross_entropy needs logits (batch, classes) and labels (batch,), got {shape} and {raw.shape}"
        )
    if np.dtype(raw.dtype.name).kind not in "iu":
        raise DTypeError(f"labels have dtype {raw.dtype}; allowed: integers")
    xp = namespace(raw)
    if backend_of(raw).on_host:
        if int(raw.min()) < 0 or int(raw.max()) >= shape[1]:
            raise ArrayError(f"labels run from {raw.min()} to {raw.max()}; allowed: 0 .. {shape[1] - 1}")
        return negative(mean(getitem(log_softmax(logits, axis=1), index=(xp.arange(shape[0]), raw))))
    # By a comparison with every class: the adjoint of an index would sort, and wait for the device.
    picked = where(raw.reshape(-1, 1) == xp.arange(shape[1]), log_softmax(logits, axis=1), 0.0)
    return negative(mean(where((raw >= 0) & (raw < shape[1]), sum(picked, axis=1), float("nan"))))


@function
def soft_cross_entropy(logits: Array, probabilities: Array) -> Array:
    """Mean over the batch of -sum_k p_k log softmax(logits)_k; natural logarithm.

    With p another model's softmax this is the loss of distillation (Hinton, Vinyals, Dean, arXiv 1503.02531, at
    temperature 1): the divergence KL(p | softmax(logits)) plus the entropy of p, which no logit changes.

    Parameters
    ----------
    logits, probabilities : arrays, shape (batch, classes), float; each row of the latter sums to 1

    Raises
    ------
    ArrayError
        For other shapes.
    """
    shape, other = tuple(stop_gradient(logits).shape), tuple(stop_gradient(probabilities).shape)
    if len(shape) != 2 or shape != other or 0 in shape:
        raise ArrayError(f"soft_cross_entropy needs two arrays (batch, classes), got {shape} and {other}")
    return negative(mean(sum(multiply(probabilities, log_softmax(logits, axis=1)), axis=1)))

"""Convolution, pooling and normalisation as differentiable functions.

The arithmetic is in :mod:`~adntn_ref.ad.convolution`, :mod:`~adntn_ref.ad.pooling` and
:mod:`~adntn_ref.ad.normalisation`. Convolution is bilinear, and so are its two adjoints: three primitives that are each
other's derivatives, closed under differentiation to any order. Pooling by maximum is picking at fixed positions once
the winners are known.
"""

from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np

from adntn_ref.ad import convolution, normalisation, ops, pooling
from adntn_ref.ad.arrays import Array, backend_of, namespace
from adntn_ref.ad.convolution import Pair
from adntn_ref.ad.normalisation import Axes
from adntn_ref.ad.ops import function, primitive, register
from adntn_ref.ad.tape import Primitive, stop_gradient
from adntn_ref.errors import ArrayError, SpecError

ONE: Pair = (1, 1)
NONE: Pair = (0, 0)


@primitive
def conv2d(
    xp: Any, x: Array, w: Array, *, stride: Pair = ONE, padding: Pair = NONE, dilation: Pair = ONE, groups: int = 1
) -> Array:
    """Cross-correlate images x (N, C, H, W) with filters w (O, C/groups, kh, kw): y (N, O, Ho, Wo)."""
    return convolution.conv2d(xp, x, w, stride, padding, dilation, groups)


@primitive
def conv2d_input_adjoint(
    xp: Any, g: Array, w: Array, *, x_shape: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """Carry g (N, O, Ho, Wo) to the images: the transpose of ``conv2d`` in x."""
    return convolution.conv2d_input_adjoint(xp, g, w, x_shape, stride, padding, dilation, groups)


@primitive
def conv2d_weight_adjoint(
    xp: Any, x: Array, g: Array, *, w_shape: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """Carry g (N, O, Ho, Wo) to the filters: the transpose of ``conv2d`` in w."""
    return convolution.conv2d_weight_adjoint(xp, x, g, w_shape, stride, padding, dilation, groups)


@primitive
def pool_gather(xp: Any, x: Array, *, winner: Array, apart: Pair | None = None) -> Array:
    """Pick from each plane of x (N, C, H, W) the entries at the flat positions ``winner`` (N, C, Ho, Wo).

    ``apart``: how many windows further (rows, columns) the next one is that does not overlap, where that is known.
    """
    return pooling.max_pool2d_gather(xp, x, winner)


@primitive
def pool_scatter(xp: Any, g: Array, *, winner: Array, x_shape: Any, apart: Pair | None = None) -> Array:
    """Add g (N, C, Ho, Wo) into zeros (N, C, H, W) at the positions ``winner``: the transpose of ``pool_gather``.

    On a device, windows that do not overlap are put down at once, and what comes of the others is added to that: always
    in the same order, and without sorting.
    """
    backend = backend_of(g)
    if backend.on_host or apart is None:
        return pooling.max_pool2d_adjoint(xp, g, winner, x_shape, backend.scatter_add)
    put, total = partial(backend.scatter_add, distinct=True), xp.zeros(x_shape, dtype=g.dtype)
    for i, j in product(range(apart[0]), range(apart[1])):
        some = (slice(None), slice(None), slice(i, None, apart[0]), slice(j, None, apart[1]))
        total += pooling.max_pool2d_adjoint(xp, g[some], winner[some], x_shape, put)
    return total


@primitive
def avg_pool2d(xp: Any, x: Array, *, kernel: Pair, stride: Pair | None = None, padding: Pair = NONE) -> Array:
    """Mean over windows; padding counts as zeros. The stride is the kernel by default."""
    return pooling.avg_pool2d(xp, x, kernel, stride or kernel, padding)


@primitive
def avg_pool2d_adjoint(
    xp: Any, g: Array, *, x_shape: Any, kernel: Pair, stride: Pair | None = None, padding: Pair = NONE
) -> Array:
    """Spread g (N, C, Ho, Wo) evenly over the windows: the transpose of ``avg_pool2d``."""
    return pooling.avg_pool2d_adjoint(xp, g, x_shape, kernel, stride or kernel, padding)


@function
def max_pool2d(x: Array, kernel: Pair, stride: Pair | None = None, padding: Pair = NONE) -> Array:
    """Maximum over windows of x (N, C, H, W); the first wins a tie. The stride is the kernel by default."""
    raw = stop_gradient(x)
    steps = stride or kernel
    y, winner = pooling.max_pool2d(namespace(raw), raw, kernel, steps, padding)
    apart = (-(-kernel[0] // steps[0]), -(-kernel[1] // steps[1]))
    return y if raw is x else pool_gather(x, winner=winner, apart=apart)


def _normalise(
    xp: Any,
    x: Array,
    w: Array,
    b: Array,
    *,
    axes: Axes,
    eps: float = 1e-5,
    known: tuple[Array, Array] | None = None,
) -> tuple[Array, tuple[Array, Array]]:
    r"""Standardise x over ``axes``, then scale and shift: :math:`y = w (x - \mu) / \sqrt{\sigma^2 + \epsilon} + b`.

    w and b broadcast against x. ``known`` are raw mean and variance of this x, where the caller has them already: they
    save time and change no value and no derivative. The residual is the standardised x and the inverse deviation.
    """
    normalisation.check(x.shape, axes, eps)
    standard, inverse = normalisation.standardise(xp, x, axes, eps, known)
    return standard * w + b, (standard, inverse)


_normalise.__name__ = "normalise"
normalise = register(Primitive(_normalise, has_residual=True))


def standardised(x: Array, axes: Axes, eps: float) -> tuple[Array, Array]:
    """Return the standardised x and the inverse deviation, recorded step by step: what ``normalise`` does in one."""
    centred = ops.subtract(x, ops.mean(x, axis=axes, keepdims=True))
    variance = ops.mean(ops.square(centred), axis=axes, keepdims=True)
    inverse = ops.divide(1.0, ops.sqrt(ops.add(variance, eps)))
    return ops.multiply(centred, inverse), inverse


@function
def local_response_norm(x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Array:
    r"""Divide by a power of the neighbouring channels' mean square (Krizhevsky et al. 2012, as PyTorch defines it).

    .. math:: y_c = x_c \Big/ \Big(k + \frac{\alpha}{n} \sum_{c' = c - \lfloor n/2 \rfloor}^{c + \lfloor (n-1)/2
       \rfloor} x_{c'}^2\Big)^{\beta}

    x is (N, C, ...) and n is ``size``; channels that do not exist count as zeros. The paper's alpha is alpha / n here.

    Raises
    ------
    ArrayError, SpecError
        For an x without channels, or a size below 1.
    """
    shape = tuple(stop_gradient(x).shape)
    if len(shape) < 2:
        raise ArrayError(f"local response normalisation needs channels (N, C, ...), got shape {shape}")
    if size < 1:
        raise SpecError(f"size must be at least 1, got {size}")
    squares = ops.reshape(ops.square(x), shape=(shape[0], shape[1], prod(shape[2:])))
    summed = ops.reshape(ops.matrix_product(_band(shape[1], size, x), squares), shape=shape)
    return ops.divide(x, ops.power(ops.add(ops.multiply(summed, alpha / size), k), beta))


def _band(channels: int, size: int, like: Array) -> Array:
    """Return the matrix of zeros and ones that sums each channel's window, raw, in the dtype of ``like``."""
    raw = stop_gradient(like)
    ahead = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    window = (ahead >= -(size // 2)) & (ahead <= (size - 1) // 2)
    return backend_of(raw).asarray(window.astype(raw.dtype.name))

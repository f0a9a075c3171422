"""Convolution and pooling as differentiable functions; the arithmetic is in :mod:`adntn_ref.ad.convolution`.

Convolution is bilinear, and so are its two adjoints: three primitives that are each other's derivatives, closed under
differentiation to any order. Pooling by maximum is picking at fixed positions once the winners are known.
"""

from functools import partial
from itertools import product
from typing import Any

from adntn_ref.ad import convolution
from adntn_ref.ad.arrays import Array, backend_of, namespace
from adntn_ref.ad.convolution import Pair
from adntn_ref.ad.ops import function, primitive
from adntn_ref.ad.tape import stop_gradient

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
    return convolution.max_pool2d_gather(xp, x, winner)


@primitive
def pool_scatter(xp: Any, g: Array, *, winner: Array, x_shape: Any, apart: Pair | None = None) -> Array:
    """Add g (N, C, Ho, Wo) into zeros (N, C, H, W) at the positions ``winner``: the transpose of ``pool_gather``.

    On a device, windows that do not overlap are put down at once, and what comes of the others is added to that: always
    in the same order, and without sorting.
    """
    backend = backend_of(g)
    if backend.on_host or apart is None:
        return convolution.max_pool2d_adjoint(xp, g, winner, x_shape, backend.scatter_add)
    put, total = partial(backend.scatter_add, distinct=True), xp.zeros(x_shape, dtype=g.dtype)
    for i, j in product(range(apart[0]), range(apart[1])):
        some = (slice(None), slice(None), slice(i, None, apart[0]), slice(j, None, apart[1]))
        total += convolution.max_pool2d_adjoint(xp, g[some], winner[some], x_shape, put)
    return total


@primitive
def avg_pool2d(xp: Any, x: Array, *, kernel: Pair, stride: Pair | None = None, padding: Pair = NONE) -> Array:
    """Mean over windows; padding counts as zeros. The stride is the kernel by default."""
    return convolution.avg_pool2d(xp, x, kernel, stride or kernel, padding)


@primitive
def avg_pool2d_adjoint(
    xp: Any, g: Array, *, x_shape: Any, kernel: Pair, stride: Pair | None = None, padding: Pair = NONE
) -> Array:
    """Spread g (N, C, Ho, Wo) evenly over the windows: the transpose of ``avg_pool2d``."""
    return convolution.avg_pool2d_adjoint(xp, g, x_shape, kernel, stride or kernel, padding)


@function
def max_pool2d(x: Array, kernel: Pair, stride: Pair | None = None, padding: Pair = NONE) -> Array:
    """Maximum over windows of x (N, C, H, W); the first wins a tie. The stride is the kernel by default."""
    raw = stop_gradient(x)
    steps = stride or kernel
    y, winner = convolution.max_pool2d(namespace(raw), raw, kernel, steps, padding)
    apart = (-(-kernel[0] // steps[0]), -(-kernel[1] // steps[1]))
    return y if raw is x else pool_gather(x, winner=winner, apart=apart)

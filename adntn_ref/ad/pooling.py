"""Pooling in two dimensions as plain array functions, with their transposes; nothing here knows a tape.

Images are ``(N, C, H, W)``; ``kernel``, ``stride`` and ``padding`` are pairs (rows, columns). Taking the maximum is
picking at fixed positions once the winners are known, which is linear and has a transpose.
"""

import math
from typing import Any

from adntn_ref.ad.convolution import Pair, Shape, output_size, require_rank, require_shape, steps
from adntn_ref.errors import ArrayError, DTypeError

Array = Any


def max_pool2d(xp: Any, x: Array, kernel: Pair, stride: Pair, padding: Pair = (0, 0)) -> tuple[Array, Array]:
    r"""Take the maximum of each window and say where it was; the padding counts as :math:`-\infty`.

    .. math:: y[n,c,h,w] = \max_{i,j}\; \tilde x[n,c,\, h s_h + i,\, w s_w + j]

    A NaN in a window makes its y NaN.

    x is ``(N, C, H, W)`` and real; y is ``(N, C, Ho, Wo)``. Returned with it is the winner of each window: the index
    ``h·W + w`` in the plane of x without padding, the first in that order on ties.

    Raises
    ------
    ArrayError
        On a wrong rank, a window larger than the padded image, or a padding of more than half a window.
    DTypeError
        If x is complex: complex numbers have no order.
    """
    rows, columns = _pooled_size(x.shape, kernel, stride, padding)
    if x.dtype.kind == "c":
        raise DTypeError(f"images of dtype {x.dtype} have no maximum; they must be real")
    width, (top, left) = x.shape[3], padding
    padded = _pad(xp, x, padding, -math.inf)
    offsets = [(i, j) for i in range(kernel[0]) for j in range(kernel[1])]
    y = padded[:, :, steps(0, rows, stride[0]), steps(0, columns, stride[1])].copy()
    code_type = xp.uint8 if len(offsets) <= 256 else xp.int64
    code = xp.zeros(y.shape, dtype=code_type)  # which of the offsets has won
    for t, (i, j) in enumerate(offsets[1:], start=1):
        value = xp.ascontiguousarray(padded[:, :, steps(i, rows, stride[0]), steps(j, columns, stride[1])])
        # t only grows, so the maximum overwrites the codes where the value beats all before it; `where` is much slower.
        xp.maximum(code, (value > y) * code_type(t), out=code)
        xp.maximum(y, value, out=y)
    # By arange: a list would be copied to a device, and that may wait for it.
    shift = (xp.arange(kernel[0])[:, None] * width + xp.arange(kernel[1])).reshape(-1)
    row, column = xp.arange(rows)[:, None] * stride[0] - top, xp.arange(columns) * stride[1] - left
    winner = shift.take(code) + (row * width + column)
    if top or left:
        # Padding can only have won with code 0, in a window of -inf alone: then its first pixel is the winner.
        winner = xp.where(code == 0, xp.maximum(row, 0) * width + xp.maximum(column, 0), winner)
    return y, winner


def max_pool2d_adjoint(xp: Any, g: Array, winner: Array, x_shape: Shape, scatter_add: Any = None) -> Array:
    """Add every g to the pixel that won: the transpose of :func:`max_pool2d_gather`.

    ``dx[n, c].flat[winner[n, c, h, w]] += g[n, c, h, w]``, of shape ``x_shape``; ``scatter_add`` is a backend's.

    Raises
    ------
    ArrayError
        If the shapes do not fit one another.
    """
    require_shape("the cotangent of max_pool2d", g.shape, winner.shape)
    index, size = _winner_index(xp, winner, x_shape), math.prod(x_shape)
    if scatter_add is not None:
        return scatter_add(g.reshape(-1), index, (size,)).reshape(x_shape)
    dx = xp.zeros(size, dtype=g.dtype)
    xp.add.at(dx, index, g.reshape(-1))
    return dx.reshape(x_shape)


def max_pool2d_gather(xp: Any, x: Array, winner: Array) -> Array:
    """Pick x where the winners are: ``y[n, c, h, w] = x[n, c].flat[winner[n, c, h, w]]``, of the shape of winner.

    Raises :class:`~adntn_ref.errors.ArrayError` if the shapes do not fit one another.
    """
    return x.reshape(-1)[_winner_index(xp, winner, x.shape)].reshape(winner.shape)


def avg_pool2d(xp: Any, x: Array, kernel: Pair, stride: Pair, padding: Pair = (0, 0)) -> Array:
    r"""Average each window; the zeros of the padding count.

    .. math:: y[n,c,h,w] = \frac{1}{k_h k_w} \sum_{i,j} \tilde x[n,c,\, h s_h + i,\, w s_w + j]

    x is ``(N, C, H, W)`` and y ``(N, C, Ho, Wo)``; kernel, stride and padding are pairs (rows, columns).

    Raises
    ------
    ArrayError
        On a wrong rank, a window larger than the padded image, or a padding of more than half a window.
    """
    rows, columns = _pooled_size(x.shape, kernel, stride, padding)
    padded = _pad(xp, x, padding, 0)
    # Rows before columns: kh + kw slices instead of kh·kw, and the sums over rows run along memory.
    summed = padded[:, :, steps(0, rows, stride[0])].copy()
    for i in range(1, kernel[0]):
        summed += padded[:, :, steps(i, rows, stride[0])]
    y = summed[..., steps(0, columns, stride[1])].copy()
    for j in range(1, kernel[1]):
        y += summed[..., steps(j, columns, stride[1])]
    y /= kernel[0] * kernel[1]
    return y


def avg_pool2d_adjoint(xp: Any, g: Array, x_shape: Shape, kernel: Pair, stride: Pair, padding: Pair = (0, 0)) -> Array:
    """Spread every g evenly over its window: the transpose of :func:`avg_pool2d`, of shape ``x_shape``.

    Raises
    ------
    ArrayError
        As :func:`avg_pool2d`, and if g has not the shape ``(N, C, Ho, Wo)``.
    """
    rows, columns = _pooled_size(x_shape, kernel, stride, padding)
    require_shape("the cotangent of avg_pool2d", g.shape, (*x_shape[:2], rows, columns))
    (n, channels, height, width), (top, left) = x_shape, padding
    share = g / (kernel[0] * kernel[1])
    spread = xp.zeros((n, channels, rows, width + 2 * left), dtype=g.dtype)
    for j in range(kernel[1]):
        spread[..., steps(j, columns, stride[1])] += share
    padded = xp.zeros((n, channels, height + 2 * top, width), dtype=g.dtype)
    for i in range(kernel[0]):
        padded[:, :, steps(i, rows, stride[0])] += spread[..., left : left + width]
    return xp.ascontiguousarray(padded[:, :, top : top + height])


def _winner_index(xp: Any, winner: Array, x_shape: Shape) -> Array:
    """Turn indices in a plane into indices in the flattened images."""
    require_rank("the images", x_shape, "(N, C, H, W)")
    n, channels, height, width = x_shape
    require_shape("the winners' batch and channels", winner.shape[:2], (n, channels))
    planes = xp.arange(n * channels).reshape(n, channels, 1, 1) * (height * width)
    return (winner + planes).reshape(-1)


def _pooled_size(x_shape: Shape, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """Check everything that pooling needs of its shapes; return (Ho, Wo)."""
    require_rank("the images", x_shape, "(N, C, H, W)")
    if 2 * padding[0] > kernel[0] or 2 * padding[1] > kernel[1]:
        raise ArrayError(f"a padding of {padding} was got; at most half of the kernel {kernel} is allowed")
    rows = output_size(x_shape[2], kernel[0], stride[0], padding[0])
    return rows, output_size(x_shape[3], kernel[1], stride[1], padding[1])


def _pad(xp: Any, x: Array, padding: Pair, value: float) -> Array:
    """Surround each plane with ``value``; x itself if there is nothing to add."""
    (n, channels, height, width), (top, left) = x.shape, padding
    if not (top or left):
        return x
    padded = xp.full((n, channels, height + 2 * top, width + 2 * left), value, dtype=x.dtype)
    padded[:, :, top : top + height, left : left + width] = x
    return padded

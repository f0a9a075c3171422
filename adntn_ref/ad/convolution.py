r"""Two-dimensional convolution as plain array functions, with its transposes; nothing here knows a tape.

Images are ``(N, C, H, W)`` and weights ``(O, C/groups, kh, kw)``, as in PyTorch; ``stride``, ``padding``, ``dilation``
and ``kernel`` are pairs (rows, columns). In the formulas, :math:`\tilde x` is the padded image. Convolution is linear
in x and in W, so it has two transposes; both are plain (not conjugated): the caller conjugates.

How it is computed. Im2col copies every pixel kh·kw times, in runs as short as an image row. Here only the *columns* are
unrolled, with the batch as the last axis, into ``lowered[group, row, channel, j, w, n]``. In that order

- each copy moves whole runs of Wo·N numbers, whatever the image size, and only kw copies of the image exist;
- the kh rows under output row h are adjacent in memory, so the matrix of that window is a strided view, not a copy,

and y is one GEMM per output row: ``W (O, kh·C·kw) @ window[h] (kh·C·kw, Wo·N)``; on LeNet-5's layers up to twice as
fast as im2col. Large batches go in chunks, which bounds the scratch memory. For a 1×1 kernel nothing is unrolled.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from adntn_ref.errors import ArrayError

Array = Any
Pair = tuple[int, int]
Shape = tuple[int, ...]

CHUNK_ELEMENTS = 2**21
"""About how many scratch numbers a chunk of the batch may need: 8 MiB in float32, which a shared cache still holds."""

DEVICE_CHUNK_ELEMENTS = 2**27
"""The same on a device, where each operation costs a launch, which small chunks do not repay."""


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    r"""Count the positions of a window along one axis: :math:`\lfloor (size + 2p - d(k-1) - 1)/s \rfloor + 1`.

    Raises
    ------
    ArrayError
        If kernel, stride or dilation is not positive, padding is negative, or the window exceeds the padded input.
    """
    if kernel < 1 or stride < 1 or dilation < 1 or padding < 0:
        raise ArrayError(
            f"kernel {kernel}, stride {stride}, dilation {dilation}, padding {padding} were got; "
            "the first three must be at least 1 and the padding at least 0"
        )
    span = dilation * (kernel - 1) + 1
    if span > size + 2 * padding:
        raise ArrayError(f"a window of {span} does not fit an axis of {size} padded by {padding} on both sides")
    return (size + 2 * padding - span) // stride + 1


def conv2d(
    xp: Any,
    x: Array,
    w: Array,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    r"""Cross-correlate images with a bank of filters.

    .. math:: y[n,o,h,w] = \sum_{c,i,j} W[o,c,i,j]\; \tilde x[n,c,\, h s_h + i d_h,\, w s_w + j d_w]

    Parameters
    ----------
    xp
        Array namespace, for example ``numpy``.
    x, w
        Images ``(N, C, H, W)`` and filters ``(O, C/groups, kh, kw)``.
    stride, padding, dilation
        Pairs (rows, columns); the padding is with zeros.
    groups
        Number of blocks of channels, a divisor of C and O: the b-th block of outputs sees the b-th of inputs only.

    Returns
    -------
    Array
        y, ``(N, O, Ho, Wo)``, sizes by :func:`output_size`.

    Raises
    ------
    ArrayError
        On a wrong rank, channels that do not match the groups, or what :func:`output_size` refuses.
    """
    n, out, rows, columns = _output_shape(x.shape, w.shape, stride, padding, dilation, groups)
    if _is_pointwise(w.shape, stride, padding):
        return _pointwise(xp, w.reshape(groups, out // groups, -1), x)
    matrix = w.reshape(groups, out // groups, *w.shape[1:]).swapaxes(2, 3).reshape(groups, 1, out // groups, -1)
    y = xp.empty((n, out, rows, columns), dtype=xp.result_type(x, w))
    for part in _chunks(xp, x.shape, w.shape, columns, padding):
        window = _windows(xp, x[part], w.shape, stride, padding, dilation, groups)
        y[part] = _batch_first(_by_row(xp, matrix, window).reshape(groups, rows, out // groups, columns, -1))
    return y


def conv2d_input_adjoint(
    xp: Any, g: Array, w: Array, x_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    r"""Transpose of ``x -> conv2d(x, w)``: every g goes back to the pixels that it came from.

    .. math:: \partial\tilde x[n,c,\, h s_h + i d_h,\, w s_w + j d_w] \mathrel{+}= W[o,c,i,j]\; g[n,o,h,w]

    g, ``(N, O, Ho, Wo)``, is the cotangent of y; dx has ``x_shape``; the rest is as in :func:`conv2d`.

    Raises
    ------
    ArrayError
        As :func:`conv2d`, and if g has not the shape of y.
    """
    shape = _output_shape(x_shape, w.shape, stride, padding, dilation, groups)
    require_shape("the cotangent of conv2d", g.shape, shape)
    (_, out, rows, columns), (_, channels, kh, kw) = shape, w.shape
    (height, width), (top, left) = x_shape[2:], padding
    if _is_pointwise(w.shape, stride, padding):
        return _pointwise(xp, w.reshape(groups, out // groups, channels).swapaxes(1, 2), g)
    # One matrix (C·kw, O) for each kernel row i, so that the rows of the lowered image are summed before its columns.
    matrix = w.reshape(groups, out // groups, channels, kh, kw).transpose(3, 0, 2, 4, 1)
    matrix = matrix.reshape(kh, groups, 1, channels * kw, out // groups)
    dtype = xp.result_type(g, w)
    dx = xp.empty(x_shape, dtype=dtype)
    for part in _chunks(xp, x_shape, w.shape, columns, padding):
        cotangent = _batch_last(xp, g[part], groups).reshape(groups, rows, out // groups, -1)
        lowered = xp.zeros((groups, height + 2 * top, channels * kw, cotangent.shape[-1]), dtype=dtype)
        for i in range(kh):
            lowered[:, steps(i * dilation[0], rows, stride[0])] += _by_row(xp, matrix[i], cotangent)
        lowered = lowered[:, top : top + height].reshape(groups, height, channels, kw, columns, -1)
        image = xp.zeros((groups, height, channels, width + 2 * left, lowered.shape[-1]), dtype=dtype)
        for j in range(kw):
            image[:, :, :, steps(j * dilation[1], columns, stride[1])] += lowered[:, :, :, j]
        dx[part] = _batch_first(image[:, :, :, left : left + width])
    return dx


def conv2d_weight_adjoint(
    xp: Any, x: Array, g: Array, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    r"""Transpose of ``w -> conv2d(x, w)``: correlate the images with the cotangent.

    .. math:: \partial W[o,c,i,j] = \sum_{n,h,w} g[n,o,h,w]\; \tilde x[n,c,\, h s_h + i d_h,\, w s_w + j d_w]

    g, ``(N, O, Ho, Wo)``, is the cotangent of y; dw has ``w_shape``; the rest is as in :func:`conv2d`.

    Raises
    ------
    ArrayError
        As :func:`conv2d`, and if g has not the shape of y.
    """
    shape = _output_shape(x.shape, w_shape, stride, padding, dilation, groups)
    require_shape("the cotangent of conv2d", g.shape, shape)
    (_, out, rows, columns), (_, channels, kh, kw) = shape, w_shape
    if _is_pointwise(w_shape, stride, padding):
        return _pointwise_weight_adjoint(xp, x, g, groups).reshape(w_shape)
    total = xp.zeros((groups, out // groups, kh * channels * kw), dtype=xp.result_type(x, g))
    for part in _chunks(xp, x.shape, w_shape, columns, padding):
        window = _windows(xp, x[part], w_shape, stride, padding, dilation, groups)
        cotangent = _batch_last(xp, g[part], groups).reshape(groups, rows, out // groups, -1)
        # Few pixels: unrolling all rows is less work than adding up a dw for each. Many: never one dw for every row.
        together = rows if window.shape[-1] < out // groups or not _on_host(xp) else 1
        for h in range(0, rows, together):
            a, b = (some[:, h : h + together].swapaxes(1, 2) for some in (cotangent, window))
            a, b = a.reshape(*total.shape[:2], -1), b.reshape(groups, total.shape[2], -1)
            for k in range(groups):
                total[k] += a[k] @ b[k].T
    return xp.ascontiguousarray(total.reshape(groups, -1, kh, channels, kw).swapaxes(2, 3)).reshape(w_shape)


def _by_row(xp: Any, matrix: Array, rows: Array) -> Array:
    """Multiply each row's matrix ``rows (groups, H, K, L)`` by ``matrix (groups, 1, O, K)``: ``(groups, H, O, L)``.

    NumPy takes strided rows as they lie. A device's batched product would copy them anyway: there they are copied such
    that it is one large product a group.
    """
    if _on_host(xp):
        return xp.matmul(matrix, rows)
    groups, height, inner, length = rows.shape
    lying = rows.swapaxes(1, 2).reshape(groups, inner, height * length)
    return xp.matmul(matrix[:, 0], lying).reshape(groups, -1, height, length).swapaxes(1, 2)


def _is_pointwise(w_shape: Shape, stride: Pair, padding: Pair) -> bool:
    return tuple(w_shape[2:]) == tuple(stride) == (1, 1) and tuple(padding) == (0, 0)


def _pointwise(xp: Any, matrix: Array, images: Array) -> Array:
    """Multiply every pixel's channels by ``matrix (groups, out, in)``."""
    (n, _, height, width), (groups, out, channels) = images.shape, matrix.shape
    pixels = images.reshape(n, groups, channels, height * width)
    return xp.matmul(matrix, pixels).reshape(n, groups * out, height, width)


def _pointwise_weight_adjoint(xp: Any, x: Array, g: Array, groups: int) -> Array:
    """Sum g xᵀ over pixels and images, ``(groups, O/groups, C/groups)``."""
    n, channels, height, width = x.shape
    pixels = x.reshape(n, groups, channels // groups, height * width)
    cotangent = g.reshape(n, groups, g.shape[1] // groups, height * width)
    total = xp.zeros((groups, cotangent.shape[2], pixels.shape[2]), dtype=xp.result_type(x, g))
    for part in _slices(xp, n, total.size):
        total += xp.matmul(cotangent[part], pixels[part].swapaxes(-1, -2)).sum(axis=0)
    return total


def _windows(xp: Any, x: Array, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Array:
    """Lower the columns of x; return the matrix under each output row, ``(groups, Ho, kh·C/groups·kw, Wo·N)``."""
    _, channels, kh, kw = w_shape
    n, _, height, width = x.shape
    top, left = padding
    image = _batch_last(xp, x, groups)
    if top or left:
        padded = xp.zeros((groups, height + 2 * top, channels, width + 2 * left, n), dtype=x.dtype)
        padded[:, top : top + height, :, left : left + width] = image
        image = padded
    columns = output_size(width, kw, stride[1], left, dilation[1])
    lowered = xp.empty((groups, height + 2 * top, channels, kw, columns, n), dtype=x.dtype)
    for j in range(kw):
        lowered[:, :, :, j] = image[:, :, :, steps(j * dilation[1], columns, stride[1])]
    span = dilation[0] * (kh - 1) + 1
    window = xp.lib.stride_tricks.sliding_window_view(lowered, span, axis=1)[:, :: stride[0], ..., :: dilation[0]]
    # The kernel row comes before (channel, j): without row dilation these three have one stride, and nothing is copied.
    return xp.moveaxis(window, -1, 2).reshape(groups, -1, kh * channels * kw, columns * n)


def _batch_last(xp: Any, a: Array, groups: int) -> Array:
    """Order ``(N, C, H, W)`` as contiguous ``(groups, H, C/groups, W, N)``."""
    n, channels, height, width = a.shape
    grouped = a.reshape(n, groups, channels // groups, height, width)
    return xp.ascontiguousarray(grouped.transpose(1, 3, 2, 4, 0))


def _batch_first(a: Array) -> Array:
    """Order ``(groups, H, C/groups, W, N)`` as ``(N, C, H, W)``."""
    groups, height, channels, width, n = a.shape
    return a.transpose(4, 0, 2, 1, 3).reshape(n, groups * channels, height, width)


def _chunks(xp: Any, x_shape: Shape, w_shape: Shape, columns: int, padding: Pair) -> Iterator[slice]:
    """Split the batch so that each lowered part holds about as many numbers as a chunk should."""
    n, channels, height, _ = x_shape
    return _slices(xp, n, channels * w_shape[3] * (height + 2 * padding[0]) * columns)


def _slices(xp: Any, count: int, size: int) -> Iterator[slice]:
    """Split ``count`` things that need ``size`` numbers each."""
    step = max(1, (CHUNK_ELEMENTS if _on_host(xp) else DEVICE_CHUNK_ELEMENTS) // size)
    return (slice(start, start + step) for start in range(0, count, step))


def _on_host(xp: Any) -> bool:
    return xp is np


def _output_shape(
    x_shape: Shape, w_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> tuple[int, int, int, int]:
    """Check everything that a convolution needs of its shapes; return the shape of y."""
    require_rank("the images", x_shape, "(N, C, H, W)")
    require_rank("the filters", w_shape, "(O, C/groups, kh, kw)")
    (n, channels, height, width), (out, per_group, kh, kw) = x_shape, w_shape
    if groups < 1 or min(out, per_group) < 1 or channels != groups * per_group or out % groups:
        raise ArrayError(
            f"{channels} channels and filters of shape {tuple(w_shape)} do not fit {groups} groups; "
            "C must be groups times the filters' second size, and groups must divide their first"
        )
    rows = output_size(height, kh, stride[0], padding[0], dilation[0])
    return n, out, rows, output_size(width, kw, stride[1], padding[1], dilation[1])


def steps(start: int, count: int, stride: int) -> slice:
    """``count`` positions from ``start``, ``stride`` apart."""
    return slice(start, start + (count - 1) * stride + 1, stride)


def require_rank(what: str, shape: tuple[int, ...], layout: str) -> None:
    """Refuse a shape without four axes."""
    if len(shape) != 4:
        raise ArrayError(f"{what} have shape {tuple(shape)}; they must have four axes {layout}")


def require_shape(what: str, got: tuple[int, ...], allowed: tuple[int, ...]) -> None:
    """Refuse another shape than the one that is allowed."""
    if tuple(got) != tuple(allowed):
        raise ArrayError(f"{what} has shape {tuple(got)}; it must have {tuple(allowed)}")

"""Sized arrays: shapes without entries, on which a computation runs to say what it takes, before it runs on numbers.

A sized array has a shape, strides and a dtype, and goes through the tape as any other array does. A view shares its
buffer, a copy takes a new one; the meter adds up the buffers that are alive, remembers the most, and counts operations
and entries moved. Strides decide, as in NumPy, whether a reshape is a view. Sizes are Python integers, so nothing is
too large to be counted.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from adntn_ref.errors import ArrayError

Shape = tuple[int, ...]


class Meter:
    """What is alive, and the most that was, in entries; operations, and entries moved."""

    def __init__(self) -> None:
        self.live = self.peak = self.kept = self.flops = self.moved = 0

    def take(self, entries: int) -> None:
        """Hold so many entries more."""
        self.live += entries
        self.peak = max(self.peak, self.live)

    def keep(self, entries: int) -> None:
        """Hold scratch memory of so many entries from now on; what was kept before is part of it."""
        if entries > self.kept:
            self.kept, more = entries, entries - self.kept
            self.take(more)


class Buffer:
    """So many entries of memory, alive as long as an array is that looks at them."""

    __slots__ = ("entries", "meter")

    def __init__(self, meter: Meter, entries: int) -> None:
        self.meter, self.entries = meter, entries
        meter.take(entries)

    def __del__(self) -> None:
        self.meter.live -= self.entries


def row_strides(shape: Shape) -> Shape:
    """Return the strides of an array of ``shape`` in C order, in entries.

    Examples
    --------
    >>> row_strides((2, 3, 4))
    (12, 4, 1)
    """
    return tuple(prod(shape[k + 1 :]) for k in range(len(shape)))


def strides_of_view(shape: Shape, strides: Shape, wanted: Shape) -> Shape | None:
    """Return the strides of a reshaped view, or None where the entries have to be copied.

    Neighbouring axes that lie one after another in memory are one run; each run has to be cut into wanted axes.

    Examples
    --------
    >>> strides_of_view((2, 3, 4), (12, 4, 1), (6, 2, 2)), strides_of_view((3, 2), (1, 3), (6,))
    ((4, 2, 1), None)
    """
    runs: list[tuple[int, int]] = []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if runs and runs[-1][1] == stride * size:
            runs[-1] = (runs[-1][0] * size, stride)
        else:
            runs.append((size, stride))
    found, k, left = [], 0, runs[0][0] if runs else 1
    for size in wanted:
        if left == 1 and size > 1:
            k += 1
            left = runs[k][0]
        if left % size:
            return None
        left //= size
        found.append(runs[k][1] * left if runs else 1)
    return tuple(found)


def broadcast_shape(*shapes: Shape) -> Shape:
    """Return the shape that all of them broadcast to; NumPy's own function refuses 2^63 entries and more.

    Examples
    --------
    >>> broadcast_shape((3, 1), (4,), ())
    (3, 4)
    """
    most = max(map(len, shapes))
    columns = zip(*((1,) * (most - len(shape)) + shape for shape in shapes), strict=True)
    sizes = [set(column) - {1} or {1} for column in columns]
    if any(len(found) > 1 for found in sizes):
        raise ArrayError(f"shapes {', '.join(map(str, shapes))} do not broadcast together")
    return tuple(found.pop() for found in sizes)


class Sized:
    """An array without entries; see the module.

    Parameters
    ----------
    library : its namespace, with the meter
    shape, dtype : as of an array
    strides : in entries; C order by default
    buffer : the memory it looks at; None for memory of its own, False for memory that does not count (the caller's)
    """

    __slots__ = ("__weakref__", "buffer", "dtype", "library", "shape", "strides")
    __array_ufunc__ = None

    def __init__(
        self, library: "Library", shape: Shape, dtype: Any, strides: Shape | None = None, buffer: Any = None
    ) -> None:
        self.library, self.shape, self.dtype = library, tuple(shape), np.dtype(dtype)
        self.strides = row_strides(self.shape) if strides is None else strides
        if buffer is None:
            held = prod(self.shape)  # booleans take a byte, not an entry
            held = held if self.dtype.kind != "b" else -(-held // library.item)
            buffer = Buffer(library.meter, held)
        self.buffer = buffer

    @property
    def array_library(self) -> "Library":
        """The namespace and backend of this array, as :mod:`adntn_ref.ad.arrays` asks for it."""
        return self.library

    @property
    def size(self) -> int:
        """The number of entries."""
        return prod(self.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def T(self) -> "Sized":
        """All axes reversed."""
        return self.transpose()

    @property
    def real(self) -> "Sized":
        """The real part, a view."""
        return self

    def _view(self, shape: Shape, strides: Shape) -> "Sized":
        return Sized(self.library, shape, self.dtype, strides, self.buffer)

    def reshape(self, *shape: Any) -> "Sized":
        """Return a view where the strides allow it, else a copy."""
        given = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        known = prod(n for n in given if n != -1)
        wanted = tuple(self.size // known if n == -1 else n for n in given)
        if prod(wanted) != self.size:
            raise ArrayError(f"an array of shape {self.shape} has no shape {given}")
        strides = strides_of_view(self.shape, self.strides, wanted)
        return self._copy().reshape(wanted) if strides is None else self._view(wanted, strides)

    def _copy(self) -> "Sized":
        self.library.meter.moved += 2 * self.size
        return Sized(self.library, self.shape, self.dtype)

    def transpose(self, *axes: Any) -> "Sized":
        """Permute the axes, a view."""
        given = axes[0] if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))) else axes
        order = tuple(given) if given else tuple(range(self.ndim))[::-1]
        return self._view(tuple(self.shape[i] for i in order), tuple(self.strides[i] for i in order))

    def __getitem__(self, index: Any) -> "Sized":
        """Take slices, a view."""
        parts: tuple[slice, ...] = index if isinstance(index, tuple) else (index,)
        shape, strides = [], []
        for k, (size, stride) in enumerate(zip(self.shape, self.strides, strict=True)):
            span: range = range(size)[parts[k]] if k < len(parts) else range(size)
            shape.append(len(span))
            strides.append(stride * span.step)
        return self._view(tuple(shape), tuple(strides))

    def astype(self, dtype: Any, copy: bool = True) -> "Sized":
        """Return a copy in another dtype."""
        self.library.meter.moved += 2 * self.size
        return Sized(self.library, self.shape, dtype)

    def sum(self, axis: Any = None, keepdims: bool = False) -> "Sized":
        """Sum over axes."""
        return self.library.sum(self, axis, keepdims)

    def __matmul__(self, other: "Sized") -> "Sized":
        return self.library.matmul(self, other)

    def _with(self, *others: Any) -> "Sized":
        return self.library.elementwise(self, *others)

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __pow__ = _with
    __neg__ = _with

    def __gt__(self, other: Any) -> "Sized":
        return self.library.elementwise(self, dtype="bool")


ELEMENTWISE = ("exp", "log", "sqrt", "sin", "cos", "tanh", "abs", "maximum", "minimum", "where", "isfinite", "conj")


class Library:
    """NumPy's namespace and a backend for sized arrays that share a meter.

    Parameters
    ----------
    dtype : of the arrays
    program_run : function of a program and its cores that returns how it is run, or None where the steps themselves run
    """

    name = "sized"
    on_host = True

    def __init__(self, dtype: str, program_run: Callable[[Any, Any], Any] | None = None) -> None:
        self.meter, self.dtype, self.program_run = Meter(), np.dtype(dtype), program_run

    @property
    def item(self) -> int:
        """Bytes of an entry."""
        return int(self.dtype.itemsize)

    def __getattr__(self, name: str) -> Any:
        if name in ELEMENTWISE:
            return self.elementwise
        raise AttributeError(f"sized arrays have no {name}")

    def given(self, shape: Shape) -> Sized:
        """Return an array that the caller holds already: it does not count."""
        return Sized(self, shape, self.dtype, buffer=False)

    def new(self, shape: Shape) -> Sized:
        """Return an array with memory of its own."""
        return Sized(self, shape, self.dtype)

    def elementwise(self, *operands: Any, dtype: Any = None) -> Sized:
        """Return the result of a function of entries: one operation each, in the order of a single operand."""
        arrays = [x for x in operands if isinstance(x, Sized)]
        shape = broadcast_shape(*(x.shape for x in arrays))
        like = next((x for x in arrays if x.shape == shape), None)
        out = Sized(self, shape, dtype or next((x.dtype for x in arrays if x.dtype.kind != "b"), self.dtype))
        if like is not None and len(arrays) == 1:
            out.strides = _same_order(like)
        self.meter.flops += out.size
        self.meter.moved += out.size + sum(x.size for x in arrays)
        return out

    erf = elementwise

    def matmul(self, a: Sized, b: Sized) -> Sized:
        """Return a product of matrices, or of stacks of them: two operations a term of each sum."""
        if a.shape[-1] != b.shape[-2]:
            raise ArrayError(f"matrices of shapes {a.shape} and {b.shape} have no product")
        out = self.new((*broadcast_shape(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))
        self.meter.flops += 2 * a.shape[-1] * out.size
        self.meter.moved += a.size + b.size + out.size
        return out

    def sum(self, x: Sized, axis: Any = None, keepdims: bool = False) -> Sized:
        """Return a sum over axes: one operation an entry that goes in."""
        axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
        gone = {i % x.ndim for i in axes}
        shape = tuple(1 if i in gone else n for i, n in enumerate(x.shape) if keepdims or i not in gone)
        self.meter.flops += x.size
        out = self.new(shape)
        self.meter.moved += x.size + out.size
        return out

    def concatenate(self, arrays: Sequence[Sized], axis: int = 0) -> Sized:
        """Lay arrays end to end, a copy."""
        shape = list(arrays[0].shape)
        shape[axis] = sum(x.shape[axis] for x in arrays)
        out = self.new(tuple(shape))
        self.meter.moved += 2 * out.size
        return out

    def reshape(self, x: Sized, shape: Shape) -> Sized:
        """Reshape."""
        return x.reshape(shape)

    def transpose(self, x: Sized, axes: Shape | None = None) -> Sized:
        """Permute the axes."""
        return x.transpose(axes)

    def broadcast_to(self, x: Sized, shape: Shape) -> Sized:
        """Repeat along axes of length 1 and new ones, a view."""
        old = (1,) * (len(shape) - x.ndim) + x.shape
        before = (0,) * (len(shape) - x.ndim) + x.strides
        return x._view(tuple(shape), tuple(s if n == m else 0 for s, n, m in zip(before, old, shape, strict=True)))

    def ascontiguousarray(self, x: Sized) -> Sized:
        """Return the array itself where it lies in C order, else a copy."""
        return x if strides_of_view(x.shape, x.strides, (x.size,)) == (1,) or x.size == 1 else x._copy()

    def ones_like(self, x: Sized) -> Sized:
        """Return an array of the same shape."""
        return Sized(self, x.shape, x.dtype)

    zeros_like = ones_like

    def asarray(self, host: Any) -> Sized:
        """Return an array of the shape and dtype of one on the host."""
        return Sized(self, host.shape, host.dtype)

    def scatter_add(self, values: Sized, index: Any, shape: Shape) -> Sized:
        """Return zeros with values added: the zeros and the values are written."""
        out = self.new(shape)
        self.meter.moved += out.size + 2 * values.size
        return out


def _same_order(x: Sized) -> Shape:
    """Return the strides of a new array whose axes lie in memory as those of x do."""
    order = sorted(range(x.ndim), key=lambda i: -x.strides[i])
    packed = row_strides(tuple(x.shape[i] for i in order))
    strides = [0] * x.ndim
    for place, i in enumerate(order):
        strides[i] = packed[place]
    return tuple(strides)

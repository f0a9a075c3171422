"""A small reverse-mode tape whose arithmetic can be exchanged: for noise, or for one rounding after every operation.

Every array has a leading axis of *rows*: so many runs of the same program side by side. An :class:`Arithmetic` says
what a product, a sum and an activation are; moving numbers about is exact everywhere. A gradient is made of the same
operations, so whatever the arithmetic does forward it does backward too.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adntn_ref.ad.activations import Activation

Array = NDArray[Any]


class Arithmetic(Protocol):
    """The operations that round. Arrays have the axis of rows in front."""

    def matmul(self, a: Array, b: Array) -> Array:
        """Return the products of matrices (.., m, n) and (.., n, k)."""

    def add(self, a: Array, b: Array) -> Array:
        """Return a + b."""

    def multiply(self, a: Array, b: Array) -> Array:
        """Return a b, elementwise."""

    def activate(self, z: Array, activation: Activation) -> tuple[Array, Array]:
        """Return sigma(z) and sigma'(z)."""

    def leaf(self, array: Array, core: bool) -> Array:
        """Return a number given from outside, with rows; ``core`` says that it is a core, else cotangent or W0."""


class Slot:
    """Where the cotangent of a tensor arrives; every tensor of these programs is used once."""

    value: Array | None = None

    def put(self, g: Array) -> None:
        """Keep the cotangent.

        Raises
        ------
        AssertionError
            If there is one already: a sum of cotangents would need an operation of the arithmetic.
        """
        assert self.value is None, "a tensor was used twice"
        self.value = g

    def get(self) -> Array:
        """Return the cotangent."""
        assert self.value is not None, "a tensor was not used"
        return self.value


class Tensor:
    """A value and the slot of its cotangent."""

    def __init__(self, value: Array, slot: Slot | None = None) -> None:
        self.value, self.slot = value, slot or Slot()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape without the rows."""
        return self.value.shape[1:]


class Tape:
    """Records operations on tensors, and carries cotangents back.

    Parameters
    ----------
    arithmetic : what the operations are
    """

    def __init__(self, arithmetic: Arithmetic) -> None:
        self.arithmetic = arithmetic
        self.marked: dict[str, Tensor] = {}
        self.cores: dict[str, Tensor] = {}
        self._back: list[Callable[[], None]] = []

    def core(self, name: str, array: Array) -> Tensor:
        """Return a core; its gradient is read from ``cores`` by its name."""
        self.cores[name] = Tensor(self.arithmetic.leaf(array, core=True))
        return self.cores[name]

    def constant(self, array: Array) -> Tensor:
        """Return an exact number: no core, and the same in every row."""
        return Tensor(np.asarray(array)[None])

    def given(self, array: Array) -> Tensor:
        """Return a number from outside that is no core, a frozen weight."""
        return Tensor(self.arithmetic.leaf(array, core=False))

    def mark(self, name: str, x: Tensor) -> Tensor:
        """Note a state under a name."""
        self.marked[name] = x
        return x

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the matrix product, stack by stack where there are axes in front."""
        av, bv = a.value, b.value
        y = Tensor(self.arithmetic.matmul(av, bv))
        out, sa, sb, multiply = y.slot, a.slot, b.slot, self.arithmetic.matmul

        def back() -> None:
            g = out.get()
            sa.put(multiply(g, np.conj(np.swapaxes(bv, -1, -2))))
            sb.put(multiply(np.conj(np.swapaxes(av, -1, -2)), g))

        self._back.append(back)
        return y

    def activate(self, z: Tensor, activation: Activation) -> Tensor:
        """Return sigma(z)."""
        x, slope = self.arithmetic.activate(z.value, activation)
        y = Tensor(x)
        out, into = y.slot, z.slot
        self._back.append(lambda: into.put(self.arithmetic.multiply(out.get(), slope)))
        return y

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a + b, of one shape."""
        y = Tensor(self.arithmetic.add(a.value, b.value))
        out, sa, sb = y.slot, a.slot, b.slot

        def back() -> None:
            sa.put(out.get())
            sb.put(out.get())

        self._back.append(back)
        return y

    def scale(self, a: Tensor, number: float) -> Tensor:
        """Return a number times a tensor."""
        factor = np.full((1,) * a.value.ndim, number, a.value.dtype)
        y = Tensor(self.arithmetic.multiply(a.value, factor))
        out, into = y.slot, a.slot
        self._back.append(lambda: into.put(self.arithmetic.multiply(out.get(), factor)))
        return y

    def reshape(self, a: Tensor, shape: Sequence[int]) -> Tensor:
        """Return the same numbers in another shape."""
        before = a.value.shape[1:]
        y = Tensor(a.value.reshape(len(a.value), *shape))
        out, into = y.slot, a.slot
        self._back.append(lambda: into.put(out.get().reshape(-1, *before)))
        return y

    def transpose(self, a: Tensor, axes: Sequence[int]) -> Tensor:
        """Return a tensor with its axes in another order."""
        inverse = np.argsort(axes)
        y = Tensor(a.value.transpose(0, *(k + 1 for k in axes)))
        out, into = y.slot, a.slot
        self._back.append(lambda: into.put(out.get().transpose(0, *(k + 1 for k in inverse))))
        return y

    def take(self, a: Tensor, index: Array) -> Tensor:
        """Return the entries of a vector at different places, in the shape of ``index``."""
        size = a.value.shape[1]
        y = Tensor(a.value[:, index])
        out, into = y.slot, a.slot

        def back() -> None:
            g = out.get()
            whole = np.zeros((len(g), size), g.dtype)
            whole[:, index] = g
            into.put(whole)

        self._back.append(back)
        return y

    def concatenate(self, parts: Sequence[Tensor]) -> Tensor:
        """Return vectors one after another."""
        ends = np.cumsum([prod(part.shape) for part in parts])
        rows = max(len(part.value) for part in parts)
        y = Tensor(np.concatenate([np.broadcast_to(p.value, (rows, *p.shape)) for p in parts], axis=1))
        out, slots = y.slot, [part.slot for part in parts]

        def back() -> None:
            for slot, g in zip(slots, np.split(out.get(), ends[:-1], axis=1), strict=True):
                slot.put(g)

        self._back.append(back)
        return y

    def backward(self, outputs: Sequence[tuple[Tensor, Array]]) -> None:
        """Carry the cotangents of the outputs back to every tensor."""
        for tensor, g in outputs:
            tensor.slot.put(self.arithmetic.leaf(g, core=False))
        while self._back:
            self._back.pop()()

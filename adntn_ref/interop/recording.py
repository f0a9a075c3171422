"""A network as a list of array operations, recorded once, to be run by any array library.

A network's forward pass and its closed-form adjoint are run on arrays that have a shape and a dtype and no entries
(:mod:`adntn_ref.ad.sized`); each operation is written down. What comes out has no networks, schedules or tape in it any
more: some hundred reshapes, products and activations one after another, forward and backward, which another framework
runs, compiles and differentiates as its own. So every network runs there by the one definition that there is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from adntn_ref.ad.sized import ELEMENTWISE, Library, Shape, Sized
from adntn_ref.networks.base import Network
from adntn_ref.networks.combination import Combination

Arrays = dict[int, Any]
"""Values by their number."""


@dataclass(frozen=True)
class Slot:
    """An operand that is a value, by its number."""

    number: int


@dataclass(frozen=True)
class Step:
    """One operation: ``values[out] = function(*operands, **options)``; ``drop`` are read here for the last time."""

    function: str
    operands: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...]
    out: int
    drop: tuple[int, ...] = ()

    @property
    def reads(self) -> tuple[int, ...]:
        """The numbers of the values it reads."""
        return tuple(x.number for x in self.operands if isinstance(x, Slot))


@dataclass(frozen=True, eq=False)
class Recording:
    """What a network computes, in operations; compared by identity, for there is one a network and dtype.

    ``cores`` are the numbers of the parameters, in the network's order; ``weights`` those of what is generated, under
    its name for a stack, else under "". ``alone`` makes the weights and nothing else; ``forward`` makes the values
    ``kept`` too, from which, with the parameters and the ``cotangents``, ``backward`` makes the ``gradients``.
    ``constants`` are frozen weights. ``peak_entries``: alive at the worst moment of forward and backward.
    """

    cores: tuple[int, ...]
    weights: tuple[tuple[str, int], ...]
    cotangents: tuple[int, ...]
    gradients: tuple[int, ...]
    kept: tuple[int, ...]
    alone: tuple[Step, ...]
    forward: tuple[Step, ...]
    backward: tuple[Step, ...]
    constants: tuple[Any, ...]
    peak_entries: int


def play(steps: Sequence[Step], functions: Mapping[str, Callable[..., Any]], values: Arrays) -> Arrays:
    """Run recorded steps by an array library's ``functions``, and return what was made and not dropped."""
    found = dict(values)
    for step in steps:
        operands = [found[x.number] if isinstance(x, Slot) else x for x in step.operands]
        found[step.out] = functions[step.function](*operands, **dict(step.options))
        for number in step.drop:
            del found[number]
    return found


@lru_cache(maxsize=128)
def record(network: Network, dtype: str) -> Recording:
    """Record a network for parameters of a dtype: its weight, and its closed-form adjoint.

    Parameters
    ----------
    network : any
    dtype : float32 or float64; complex64 or complex128 for a linear network

    Examples
    --------
    >>> from adntn_ref.networks import LowRank
    >>> [step.function for step in record(LowRank((4, 3), rank=2), "float64").alone]
    ['matmul']
    """
    recorder = Recorder(dtype)
    params = {name: recorder.given(shape) for name, shape in network.core_shapes.items()}
    cores = tuple(core.number for core in params.values())
    made, pull = network._vjp(params, "keep")
    several = made if isinstance(made, dict) else {"": made}
    weights = tuple((name, recorder.own(weight).number) for name, weight in several.items())
    ahead = len(recorder.steps)
    given = {name: recorder.given(weight.shape) for name, weight in several.items()}
    cotangents = tuple(g.number for g in given.values())
    found = pull(given if isinstance(network, Combination) and network.several else given[""])
    gradients = tuple(found[name].number for name in network.core_shapes)
    steps, wanted = recorder.steps, tuple(number for _, number in weights)
    backward = _pruned(steps[ahead:], gradients)
    before = {step.out for step in steps[:ahead]}
    kept = tuple(sorted({n for step in backward for n in step.reads} & before | set(gradients) & before))
    return Recording(
        cores,
        weights,
        cotangents,
        gradients,
        kept,
        _pruned(steps[:ahead], wanted),
        _pruned(steps[:ahead], (*wanted, *kept)),
        backward,
        tuple(recorder.constants),
        recorder.meter.peak,
    )


def _pruned(steps: Sequence[Step], wanted: tuple[int, ...]) -> tuple[Step, ...]:
    """Leave out what nothing wanted depends on, and say after which step a value is not needed any more."""
    made, alive, found = {step.out for step in steps}, set(wanted), []
    for step in reversed(steps):
        if step.out in alive:
            last = tuple(sorted(n for n in set(step.reads) - alive if n in made))
            alive |= set(step.reads)
            found.append(Step(step.function, step.operands, step.options, step.out, last))
    return tuple(reversed(found))


class Recorded:
    """An array without entries whose operations are written down; see :class:`Recorder`."""

    __slots__ = ("number", "recorder", "sized", "source")
    __array_ufunc__ = None

    def __init__(self, recorder: "Recorder", sized: Sized, number: int) -> None:
        self.recorder, self.sized, self.number = recorder, sized, number
        self.source: Recorded | None = None
        """The array that this is a reshape of."""

    shape = property(lambda self: self.sized.shape)
    dtype = property(lambda self: self.sized.dtype)
    ndim = property(lambda self: self.sized.ndim)
    size = property(lambda self: self.sized.size)

    @property
    def array_library(self) -> "Recorder":
        """The namespace and backend of this array, as :mod:`adntn_ref.ad.arrays` asks for it."""
        return self.recorder

    @property
    def T(self) -> "Recorded":
        """All axes reversed."""
        return self.transpose()

    @property
    def real(self) -> "Recorded":
        """The real part."""
        return self.recorder.real(self)

    def reshape(self, *shape: Any) -> "Recorded":
        """Return the same entries in C order under another shape."""
        made, source = self.sized.reshape(*shape), self.source or self
        if made.shape in (self.shape, source.shape):
            return self if made.shape == self.shape else source
        out = self.recorder.note("reshape", made, source, shape=made.shape)
        out.source = source
        return out

    def transpose(self, *axes: Any) -> "Recorded":
        """Permute the axes; reverse them by default."""
        given = axes[0] if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))) else axes
        order = tuple(int(i) % self.ndim for i in given) if given else tuple(range(self.ndim))[::-1]
        return self.recorder.note("transpose", self.sized.transpose(order), self, axes=order)

    def __getitem__(self, index: Any) -> "Recorded":
        if isinstance(index, int):  # a row
            return self[index : index + 1].reshape(self.shape[1:])
        parts = index if isinstance(index, tuple) else (index,)
        return self.recorder.note("getitem", self.sized[parts], self, index=parts)

    def astype(self, dtype: Any, copy: bool = True) -> "Recorded":
        """Cast to another dtype."""
        return self.recorder.note("astype", self.sized.astype(dtype), self, dtype=np.dtype(dtype).name)

    def sum(self, axis: Any = None, keepdims: bool = False) -> "Recorded":
        """Sum over axes."""
        return self.recorder.sum(self, axis, keepdims)

    def conj(self) -> "Recorded":
        """Complex conjugate."""
        return self.recorder.elementwise("conj", self)

    def __matmul__(self, other: "Recorded") -> "Recorded":
        return self.recorder.matmul(self, other)

    def __gt__(self, other: Any) -> "Recorded":
        return self.recorder.note("greater", self.recorder.sizes.elementwise(self.sized, dtype="bool"), self, other)

    def __neg__(self) -> "Recorded":
        return self.recorder.elementwise("negative", self)


def _operator(name: str, swapped: bool = False) -> Callable[[Recorded, Any], Recorded]:
    def call(self: Recorded, other: Any) -> Recorded:
        return self.recorder.elementwise(name, *((other, self) if swapped else (self, other)))

    return call


for _name, _function in (("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("truediv", "divide")):
    setattr(Recorded, f"__{_name}__", _operator(_function))
    setattr(Recorded, f"__r{_name}__", _operator(_function, swapped=True))


class Recorder:
    """NumPy's namespace and a backend for arrays without entries: it writes down what is asked of it.

    The list :attr:`FUNCTIONS` is all that a library has to offer to run a recording.
    """

    name = "recorded"
    on_host = True

    def __init__(self, dtype: str) -> None:
        self.sizes = Library(dtype)
        self.steps: list[Step] = []
        self.constants: list[Any] = []
        self._units: dict[Shape, Recorded] = {}
        self._numbers = 0

    FUNCTIONS = (
        *("add", "subtract", "multiply", "divide", "negative", "greater", "maximum"),
        *("exp", "sin", "cos", "tanh", "erf", "conj", "real", "astype"),
        *("matmul", "sum", "reshape", "transpose", "broadcast_to", "concatenate", "getitem", "scatter"),
        *("eye", "constant", "contiguous", "copy"),
    )
    """The functions that recordings call."""

    @property
    def meter(self) -> Any:
        """What is alive, and the most that was, in entries."""
        return self.sizes.meter

    def program_run(self, program: Any, cores: Any) -> Any:
        """Run a program by a few large products a step, as on a device: fewer operations, all of them on matrices."""
        return import_module("adntn_ref.backends.rotation").rotating_run(program, cores)

    def given(self, shape: Shape) -> Recorded:
        """Return an array that is handed to the recording."""
        return self._numbered(self.sizes.given(shape))

    def _numbered(self, sized: Sized) -> Recorded:
        self._numbers += 1
        return Recorded(self, sized, self._numbers - 1)

    def note(self, function: str, made: Sized, *operands: Any, **options: Any) -> Recorded:
        """Write down an operation and return its result."""
        assert function in self.FUNCTIONS, function
        slots = tuple(Slot(x.number) if isinstance(x, Recorded) else x for x in operands)
        out = self._numbered(made)
        self.steps.append(Step(function, slots, tuple(options.items()), out.number))
        return out

    def own(self, x: Recorded) -> Recorded:
        """Return the array, or a copy where it is a view of what was handed in."""
        return self.note("copy", self.sizes.new(x.shape), x) if x.sized.buffer is False else x

    def elementwise(self, name: str, *operands: Any) -> Recorded:
        """Write down a function of entries."""
        sizes = [x.sized if isinstance(x, Recorded) else x for x in operands]
        return self.note(name, self.sizes.elementwise(*sizes), *operands)

    def __getattr__(self, name: str) -> Any:
        if name in ELEMENTWISE or name == "erf":
            return lambda *operands: self.elementwise(name, *operands)
        raise AttributeError(f"recorded arrays have no {name}")

    def real(self, x: Recorded) -> Recorded:
        """Return the real part."""
        narrow = {"complex64": "float32", "complex128": "float64"}.get(x.dtype.name, x.dtype.name)
        return self.note("real", self.sizes.elementwise(x.sized, dtype=narrow), x)

    def matmul(self, a: Recorded, b: Recorded) -> Recorded:
        """Write down a product of matrices, or of stacks of them; a vector is a matrix of one row or column."""
        if a.ndim == 1:
            return self.matmul(a.reshape(1, -1), b).reshape(b.shape[:-2] + b.shape[-1:])
        if b.ndim == 1:
            return self.matmul(a, b.reshape(-1, 1)).reshape(a.shape[:-1])
        return self.note("matmul", self.sizes.matmul(a.sized, b.sized), a, b)

    def sum(self, x: Recorded, axis: Any = None, keepdims: bool = False) -> Recorded:
        """Write down a sum over axes."""
        axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
        gone = tuple(sorted(int(i) % x.ndim for i in axes))
        return self.note("sum", self.sizes.sum(x.sized, gone, keepdims), x, axis=gone, keepdims=keepdims)

    def concatenate(self, arrays: Sequence[Recorded], axis: int = 0) -> Recorded:
        """Write down arrays laid end to end."""
        made = self.sizes.concatenate([x.sized for x in arrays], axis)
        return self.note("concatenate", made, *arrays, axis=axis)

    def reshape(self, x: Recorded, shape: Shape) -> Recorded:
        """Write down a reshape."""
        return x.reshape(shape)

    def transpose(self, x: Recorded, axes: Shape | None = None) -> Recorded:
        """Write down a permutation of the axes."""
        return x.transpose(axes)

    def broadcast_to(self, x: Recorded, shape: Shape) -> Recorded:
        """Write down a repetition along axes of length 1 and new ones."""
        return self.note("broadcast_to", self.sizes.broadcast_to(x.sized, shape), x, shape=tuple(shape))

    def ascontiguousarray(self, x: Recorded) -> Recorded:
        """Write down that entries are wanted in C order."""
        made = self.sizes.ascontiguousarray(x.sized)
        return x if made is x.sized else self.note("contiguous", made, x)

    def scatter_add(self, values: Recorded, index: Any, shape: Shape, distinct: bool = False) -> Recorded:
        """Write down zeros with values put at slices, which name no entry twice."""
        parts = index if isinstance(index, tuple) else (index,)
        assert all(isinstance(part, slice) for part in parts), "networks cut their weight by slices"
        return self.note(
            "scatter", self.sizes.scatter_add(values.sized, parts, shape), values, index=parts, shape=tuple(shape)
        )

    def eye(self, rows: int, columns: int | None = None, dtype: Any = None) -> Recorded:
        """Write down a unit matrix."""
        shape = (rows, rows if columns is None else columns)
        if shape not in self._units:
            self._units[shape] = self.note("eye", Sized(self.sizes, shape, dtype or self.sizes.dtype), shape=shape)
        return self._units[shape]

    def asarray(self, host: Any) -> Recorded:
        """Write down a constant."""
        self.constants.append(np.ascontiguousarray(host))
        return self.note("constant", self.sizes.asarray(host), number=len(self.constants) - 1)

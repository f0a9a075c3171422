"""The most memory a network holds at once, found by running its own code on sizes instead of arrays.

:mod:`adntn_ref.ad.sized` has the arrays without entries. What runs is what :meth:`Network.generate` and
:meth:`Network.vjp` run, copies for the order of the modes and the padding included; programs of steps run by their
numbers, for those work inside of scratch memory of their own.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

from adntn_ref.ad.arrays import Array
from adntn_ref.ad.sized import Library, Sized
from adntn_ref.ad.tape import Primitive
from adntn_ref.ad.transforms import value_and_grad
from adntn_ref.program.cost import ghost_run
from adntn_ref.program.frames import Frames
from adntn_ref.program.runs import FramesRun


def library_of(dtype: str, fused: bool = True) -> Library:
    """Return a library of sized arrays on which networks run; programs by their numbers, ``fused`` where possible."""

    def bind(program: Any, cores: dict[str, Sized]) -> Any:
        if isinstance(program, Frames):
            return FramesRun(program, cores)
        return ghost_run(program, {name: core.shape for name, core in cores.items()}, library, fused)

    library = Library(dtype, bind)
    return library


def given(network: Any, library: Library) -> dict[str, Sized]:
    """Return cores that the caller holds already."""
    return {name: library.given(shape) for name, shape in network.core_shapes.items()}


def peak_bytes(network: Any, dtype: str, schedule: str, fused: bool = True) -> tuple[int, int]:
    """Return the bytes alive at the worst moment of generating the weight, and of that and its adjoint.

    The cores are the caller's and do not count; the weight, its cotangent and the cores' gradients do.
    """
    ahead, both = library_of(dtype, fused), library_of(dtype, fused)
    _ = network._made(given(network, ahead))
    weight, pullback = network._vjp(given(network, both), schedule)
    gradients = pullback(_like(weight))
    del gradients
    return ahead.meter.peak * ahead.item, both.meter.peak * both.item


def _like(weight: Any) -> Any:
    """Return the cotangent of a weight, or of several."""
    if isinstance(weight, dict):
        return {name: _like(piece) for name, piece in weight.items()}
    return weight.library.new(weight.shape)


@dataclass(frozen=True)
class Work:
    """Operations, bytes moved, and bytes alive at the worst moment, parameters and inputs included."""

    flops: int
    bytes_moved: int
    peak_bytes: int


def _forward(xp: Any, y: Array) -> Array:
    return Sized(y.library, (), "float64", buffer=False)


some_loss = Primitive(_forward)
"""A loss of which is known that it makes a cotangent of the outputs."""
some_loss.rules = (lambda g, loss, y: y.library.new(y.shape),)


def work_of(f: Any, library_for: Any, *shapes: Any) -> tuple[Work, Work]:
    """Return the work of ``f(params, x)``, and that of f and the gradients of a loss of its outputs.

    ``library_for()`` makes a library of sized arrays, ``shapes`` are those of the parameters (a dict) and of x.
    """

    def run(training: bool) -> Work:
        library = library_for()
        params, x = {name: library.given(shape) for name, shape in shapes[0].items()}, library.given(shapes[1])
        if training:
            _ = value_and_grad(lambda p, z: some_loss(f(p, z)), argnums=(0, 1))(params, x)
        else:
            _ = f(params, x)
        held = prod(shapes[1]) + sum(prod(shape) for shape in shapes[0].values())
        meter, item = library.meter, library.item
        return Work(meter.flops, meter.moved * item, (meter.peak + held) * item)

    return run(False), run(True)


@lru_cache(maxsize=1024)
def applied(network: Any, dtype: str, batch: int) -> tuple[Work, Work]:
    """Return the work of :meth:`Network.apply` and, second, of that and its adjoint."""
    shape = network.placement.shape
    return work_of(network._outputs, lambda: library_of(dtype), network.core_shapes, (batch, prod(shape[1:])))

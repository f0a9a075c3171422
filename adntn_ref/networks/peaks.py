"""The most memory a network holds at once, found by running its own code on sizes instead of arrays.

:mod:`adntn_ref.ad.sized` has the arrays without entries. What runs is what :meth:`Network.generate` and
:meth:`Network.vjp` run, copies for the order of the modes and the padding included; programs of steps run by their
numbers, for those work inside of scratch memory of their own.
"""

from typing import Any

from adntn_ref.ad.sized import Library, Sized
from adntn_ref.networks.base import Network, Params
from adntn_ref.program.cost import ghost_run
from adntn_ref.program.frames import Frames
from adntn_ref.program.runs import FramesRun


def library_of(dtype: str, fused: bool = True) -> Library:
    """Return a library of sized arrays on which networks run; programs by their numbers, ``fused`` where they can be."""

    def bind(program: Any, cores: Params) -> Any:
        if isinstance(program, Frames):
            return FramesRun(program, cores)
        return ghost_run(program, {name: core.shape for name, core in cores.items()}, library, fused)

    library = Library(dtype, bind)
    return library


def given(network: Network, library: Library) -> dict[str, Sized]:
    """Return cores that the caller holds already."""
    return {name: library.given(shape) for name, shape in network.core_shapes.items()}


def peak_bytes(network: Network, dtype: str, schedule: str, fused: bool = True) -> tuple[int, int]:
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

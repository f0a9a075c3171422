"""Every network on CuPy arrays, and for brick-walls and trees the closed-form gradients, on the first CUDA device.

CuPy has no gradients, so they are those of :mod:`~adntn_ref.validation.adapters.closed_form`; other networks' gradients
raise NotImplementedError. Where no CUDA device is found every call does, which a comparison reports as "supports
nothing" and never as a pass.

Not run on a GPU: this adapter was written and tested with NumPy in CuPy's place.
"""

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from adntn_ref.extras import need

from . import plain
from .closed_form import ClosedForm
from .plain import Spec

cupy: Any = need("cupy", "cuda")

Array = NDArray[Any]


def generate(spec: Spec, params: Mapping[str, Array]) -> Any:
    """Return the weight (a dict of them for a stack), computed on the device."""
    return to_host(networks().weight(spec, to_device(params)))


def vjp(spec: Spec, params: Mapping[str, Array], cotangent: Array) -> dict[str, Array]:
    """Return the gradient of ``<cotangent, weight>`` with respect to every core, computed on the device."""
    found: dict[str, Array] = to_host(networks().vjp(spec, to_device(params), to_device(cotangent)))
    return found


def states(spec: Spec, params: Mapping[str, Array]) -> dict[str, Array]:
    """Return the state after every step, by the step's name; nothing for networks that are no programs of steps."""
    run = networks()
    run.weight(spec, to_device(params))
    return to_host(run.seen) if spec["network"] in plain.STEPWISE else {}


def networks() -> ClosedForm:
    """Return the networks on CuPy arrays.

    Raises
    ------
    NotImplementedError
        Without a CUDA device.
    """
    if not cupy.cuda.is_available():
        raise NotImplementedError("no CUDA device or driver was found")
    return ClosedForm(cupy, need("cupyx.scipy.special", "cuda").erf)


def to_device(arrays: Any) -> Any:
    """Return a NumPy array, or a dict of them, on the device."""
    return _each(cupy.asarray, arrays)


def to_host(arrays: Any) -> Any:
    """Return a CuPy array, or a dict of them, as NumPy arrays."""
    return _each(cupy.asnumpy, arrays)


def _each(function: Callable[[Any], Any], arrays: Any) -> Any:
    if isinstance(arrays, Mapping):
        return {name: function(x) for name, x in arrays.items()}
    return function(arrays)

"""The order of a weight's axes in a file, and ours: (outputs, inputs, height, width), (outputs, inputs).

Keras stores convolutions as (height, width, inputs, outputs), HWIO, and dense kernels as (inputs, outputs); PyTorch
stores both as we do, OIHW and (outputs, inputs). *Axes* are a tuple: axis k of the turned weight is axis ``axes[k]`` of
the stored one.
"""

from collections.abc import Sequence

import numpy as np

from adntn_ref.ad.arrays import Array, namespace
from adntn_ref.errors import SpecError

AXES: dict[str, dict[int, tuple[int, ...]]] = {"oihw": {}, "hwio": {2: (1, 0), 4: (3, 2, 0, 1)}}
"""Order by name -> number of dimensions -> axes, where they are not as they should be."""

ORDERS = tuple(AXES)


def axes_of(order: str, ndim: int) -> tuple[int, ...] | None:
    """Return what turns a stored weight of ``ndim`` dimensions into ours; None where it is in our order already.

    Raises
    ------
    SpecError
        For an unknown order.

    Examples
    --------
    >>> axes_of("hwio", 4), axes_of("hwio", 2), axes_of("oihw", 4)
    ((3, 2, 0, 1), (1, 0), None)
    """
    if order not in AXES:
        raise SpecError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
    return AXES[order].get(ndim)


def turned_shape(shape: Sequence[int], axes: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the shape of a stored weight after turning.

    Examples
    --------
    >>> turned_shape((3, 3, 64, 128), (3, 2, 0, 1))
    (128, 64, 3, 3)
    """
    return tuple(shape) if axes is None else tuple(shape[axis] for axis in axes)


def inverse(axes: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return the axes that turn back."""
    return None if axes is None else tuple(int(k) for k in np.argsort(axes))


def turned(weight: Array, axes: tuple[int, ...] | None) -> Array:
    """Return a weight with its axes turned, the same entries in C order; no arithmetic."""
    return namespace(weight).ascontiguousarray(weight if axes is None else weight.transpose(axes))


def check_axes(axes: object, ndim: int) -> tuple[int, ...] | None:
    """Refuse axes that are no permutation of 0 ... ndim - 1; None passes.

    Raises
    ------
    SpecError
    """
    if axes is None:
        return None
    found = tuple(axes) if isinstance(axes, list | tuple) else ()
    if any(type(axis) is not int for axis in found) or sorted(found) != list(range(ndim)):
        raise SpecError(f"axes must be a permutation of 0 to {ndim - 1}, got {axes!r}")
    return found

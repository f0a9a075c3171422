"""One door to the dense oracles: explicit matrices and sums written out, which share no code with the package's core.

Three modules stand behind it: :mod:`.dense` (brick-wall, matrix product operator), :mod:`.dense_tree` (TTN, aTTN, MERA)
and :mod:`.dense_shallow` (low rank, tensor train, CP, Tucker; sum, split, stack, delta). Slow, obvious, and limited to
4096 generated entries.

A delta's frozen weight travels among the parameters, as ``"frozen/" + sha256``, and has no gradient.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import dense, dense_shallow, dense_tree

Array = NDArray[Any]
Spec = Mapping[str, Any]
Params = Mapping[str, Array]
FROZEN = "frozen/"
_COLUMN = re.compile(r"layer(\d+)\.column([01])(\.activation)?")
_DEPTH = re.compile(r"(root|expand|mix|activation)(\d*)")


def generate(spec: Spec, params: Params) -> Any:
    """Return the weight that a network generates; of a stack the weights by name.

    Parameters
    ----------
    spec : specification, as ``net.to_spec()`` gives it
    params : core name -> array, and ``"frozen/" + sha256`` -> frozen weight of a delta

    Returns
    -------
    array, float64 or complex128, or a dict of them

    Raises
    ------
    ValueError
        If the network is unknown, or generates more than 4096 numbers.

    Examples
    --------
    >>> spec = {"network": "lowrank", "shape": [2, 2], "rank": 1}
    >>> generate(spec, {"left": np.array([[1.0], [2.0]]), "right": np.array([[3.0, 4.0]])})
    array([[3., 4.],
           [6., 8.]])
    """
    cores, bases = _parted(params)
    return dense_shallow.generate(spec, cores, bases)


def vjp(spec: Spec, params: Params, cotangent: Any) -> dict[str, Array]:
    """Return the gradient of ``Re <cotangent, W>`` with respect to every core.

    Parameters
    ----------
    spec, params : as for :func:`generate`
    cotangent : array of the shape of the weight; of a stack a dict of them

    Returns
    -------
    dict
        Core name -> array of the core's shape, float64 or complex128; nothing for frozen weights.

    Raises
    ------
    ValueError
        As :func:`generate`.
    """
    return dense_shallow.vjp(spec, _parted(params)[0], cotangent)


def states(spec: Spec, params: Params) -> dict[str, Array]:
    """Return the state after every step as a vector, under the step's name.

    Names are those of ``net.forward_states``: ``start``, ``layer0.even``, ``layer0.activation``, ..., ``depth1``,
    ``depth1.activation``, ``depth2.expand``, ``depth2.mix``, ...

    Raises
    ------
    NotImplementedError
        For networks of which the oracles know no states: those that are not brick-walls or trees, and trees with the
        activation at the nodes.
    """
    kind = spec["network"]
    if kind == "brickwall":
        return _wall_states(spec, params)
    if kind in dense_shallow.TREES and spec.get("activation_site", "level") == "level":
        return {_tree_step(label): x for label, x in dense_tree.states(spec, params)}
    raise NotImplementedError(f"the oracles know no states of {kind} with these options")


def _parted(params: Params) -> tuple[dict[str, Array], dict[Any, Array]]:
    """Return the cores, and the frozen weights by (shape, dtype, sha256)."""
    cores, bases = {}, {}
    for name, array in params.items():
        if name.startswith(FROZEN):
            bases[np.shape(array), np.asarray(array).dtype.name, name.removeprefix(FROZEN)] = array
        else:
            cores[name] = array
    return cores, bases


def _wall_states(spec: Spec, params: Params) -> dict[str, Array]:
    """Name the states of a brick-wall; without trainable start vectors the first column makes the first state."""
    every_column = spec.get("activation_every") == "column"
    found = {}
    for label, x in dense.states(spec, params):
        match = _COLUMN.fullmatch(label)
        if match is None:
            if spec.get("boundary", "constant") == "trainable":
                found["start"] = x
            continue
        layer, parity, activation = match.groups()
        side = "odd" if parity == "1" else "even"
        column = f"layer{layer}.{side}"
        if activation:
            column = f"{column}.activation" if every_column else f"layer{layer}.activation"
        found[column] = x
    return found


def _tree_step(label: str) -> str:
    match = _DEPTH.fullmatch(label)
    assert match is not None
    kind, depth = match.groups()
    return "depth1" if kind == "root" else f"depth{depth}.{kind}"

r"""A dense oracle for the shallow networks and the combinations: entry by entry, slow and obvious.

Nothing here comes from the package. Every entry of a weight is a sum of products, written as it stands in the
definition; the weight of each network is linear in each core, so the gradient of a core is found by putting unit arrays
in its place: :math:`\partial \mathrm{Re} \langle G, W \rangle / \partial A_e = \sum G\, \overline{W(A \to e)}`.

- low rank: :math:`W_{ij} = \sum_r L_{ir} R_{rj}`
- tensor train: :math:`X_{i_0 i_1 \dots} = A_0[:, i_0, :]\, A_1[:, i_1, :] \cdots`
- CP: :math:`X_{i_0 i_1 \dots} = \sum_r \prod_q F_q[i_q, r]`
- Tucker: :math:`X_{i_0 i_1 \dots} = \sum_{p_0 p_1 \dots} C[p_0, p_1, \dots] \prod_q F_q[i_q, p_q]`

Combinations of these, of each other, and of whatever :mod:`.dense` and :mod:`.dense_tree` know: sum, split, stack and
delta. Sizes are limited to P <= 4096.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import dense, dense_tree
from .dense import LARGEST, Array, Params, Spec, _digits, _double, _modes, _positions, _product, _size, _wide

SHALLOW = ("lowrank", "tt", "cp", "tucker")
TREES = ("ttn", "attn", "mera")
COMBINED = ("sum", "split", "stack", "delta")
Weights = Mapping[str, Array]


def generate(spec: Spec, params: Params, bases: Mapping[Any, Array] | None = None) -> Any:
    """Return the weight that a network generates; of a stack, the weights by name.

    Parameters
    ----------
    spec : dictionary, the specification
    params : core arrays by name
    bases : frozen weights of the deltas in it, by (shape, dtype, sha256) as in the specification

    Returns
    -------
    array, float64 or complex128, or a dictionary of them

    Raises
    ------
    ValueError
        If the network is unknown, or generates more than 4096 numbers.
    """
    kind = str(spec["network"])
    if kind in SHALLOW:
        return _weight(spec, params)
    if kind not in COMBINED:
        return (dense_tree if kind in TREES else dense).generate(spec, params)
    weights = [generate(part, cores, bases) for part, cores in _parts(spec, params)]
    if kind == "sum":
        return np.sum(weights, axis=0)
    if kind == "split":
        return np.array([entry for weight in weights for entry in weight.flat]).reshape(spec["shape"])
    if kind == "delta":
        said = spec["base"]
        base = (bases or {})[tuple(said["shape"]), said["dtype"], said["sha256"]]
        return _double(base) + spec["alpha"] * weights[0]
    entries = iter(weights[0].flat)
    return {name: np.array([next(entries) for _ in range(math.prod(s))]).reshape(s) for name, s in spec["shapes"]}


def vjp(spec: Spec, params: Params, cotangent: Any) -> dict[str, Array]:
    r"""Return the gradient of ``Re <cotangent, W>`` with respect to every core.

    Parameters
    ----------
    spec, params : as for :func:`generate`; the frozen weight of a delta has no part in it
    cotangent : array of the shape of the weight; of a stack, a dictionary of them

    Returns
    -------
    dictionary with the names and shapes of ``params``, float64 or complex128

    Raises
    ------
    ValueError
        As :func:`generate`.
    """
    kind = str(spec["network"])
    if kind in SHALLOW:
        return _by_units(spec, params, cotangent)
    if kind not in COMBINED:
        found: dict[str, Array] = (dense_tree if kind in TREES else dense).vjp(spec, params, cotangent)
        return found
    if kind == "delta":
        return vjp(spec["net"], params, spec["alpha"] * cotangent)
    if kind == "stack":
        flat = np.array([entry for name, _ in spec["shapes"] for entry in cotangent[name].flat])
        return vjp(spec["net"], params, flat.reshape(_shape(spec["net"])))
    gradient: dict[str, Array] = {}
    first = 0
    for k, (part, cores) in enumerate(_parts(spec, params)):
        share = cotangent
        if kind == "split":
            shape = _shape(part)
            share = np.reshape(list(cotangent.flat)[first : first + math.prod(shape)], shape)
            first += math.prod(shape)
        gradient.update({f"{k}.{name}": g for name, g in vjp(part, cores, share).items()})
    return gradient


def _parts(spec: Spec, params: Params) -> list[tuple[Spec, Params]]:
    """Return the specification and the cores of every part of a combination."""
    if "net" in spec:
        return [(spec["net"], params)]
    cores: list[dict[str, Array]] = [{} for _ in spec["parts"]]
    for name, core in params.items():
        number, _, rest = name.partition(".")
        cores[int(number)][rest] = core
    return list(zip(spec["parts"], cores, strict=True))


def _shape(spec: Spec) -> tuple[int, ...]:
    """Return the shape of the weight."""
    if "shape" in spec:
        return tuple(spec["shape"])
    return _shape(spec["net"] if "net" in spec else spec["parts"][0])


# ---- The shallow networks


def _weight(spec: Spec, params: Params) -> Array:
    cores = {name: _double(core) for name, core in params.items()}
    if spec["network"] == "lowrank":
        left, right = cores["left"], cores["right"]
        rows, columns, terms = left.shape[0], right.shape[1], range(left.shape[1])
        entries = [sum(left[i, r] * right[r, j] for r in terms) for i in range(rows) for j in range(columns)]
        return np.array(entries).reshape(spec["shape"])
    if _size(spec) > LARGEST:
        raise ValueError(f"the dense oracle is limited to {LARGEST} entries, this network generates {_size(spec)}")
    places = _positions(spec)
    modes = _modes(spec)
    entry = {"tt": _train_entry, "cp": _cp_entry, "tucker": _tucker_entry}[spec["network"]]
    weight = np.zeros(places.shape, _wide(params))
    for index, place in np.ndenumerate(places):
        weight[index] = entry(cores, _digits(int(place), modes))
    return weight


def _train_entry(cores: Weights, digits: Sequence[int]) -> Any:
    return _product([cores[f"core{k}"][:, i, :] for k, i in enumerate(digits)])[0, 0]


def _cp_entry(cores: Weights, digits: Sequence[int]) -> Any:
    rows = [cores[f"factor{q}"][i] for q, i in enumerate(digits)]
    return sum(math.prod(term) for term in zip(*rows, strict=True))


def _tucker_entry(cores: Weights, digits: Sequence[int]) -> Any:
    """Return the core contracted with one row of each factor, the last index first."""
    left = cores["core"]
    for q in reversed(range(len(digits))):
        left = left @ cores[f"factor{q}"][digits[q]]
    return left


def _by_units(spec: Spec, params: Params, cotangent: Array) -> dict[str, Array]:
    """Return the gradients, entry of a core by entry: the weight with a unit array in the place of the core."""
    gradient = {}
    for name, core in params.items():
        found = np.zeros(np.shape(core), _wide(params, cotangent))
        for index in _indices(np.shape(core)):
            unit = np.zeros(np.shape(core))
            unit[index] = 1.0
            found[index] = np.sum(cotangent * np.conj(_weight(spec, {**params, name: unit})))
        gradient[name] = found
    return gradient


def _indices(shape: tuple[int, ...]) -> Iterable[tuple[int, ...]]:
    return np.ndindex(*shape)

"""What a network computes, in decimals: weight, gradients, states and cotangents, as exact as 100 digits are."""

from collections.abc import Callable, Mapping
from itertools import chain as chained
from itertools import zip_longest
from math import prod
from typing import Any

import numpy as np

from adntn_ref.networks import Delta, Network, Split, Stack, Sum
from adntn_ref.networks.programmed import ProgramNetwork

from .chains import canonical, chain, low_rank, tucker
from .decimals import ZERO, Array, exact
from .programs import Run, run_of

Cores = dict[str, Array]
Pull = Callable[[Any], Cores]
_CHAINS = {"lowrank": low_rank, "mpo": chain, "tt": chain, "cp": canonical, "tucker": tucker}


def vjp(network: Network, cores: Cores) -> tuple[Any, Pull]:
    """Return the weight (of a stack the weights, by name) and the function from its cotangent to the gradients.

    All arrays are of decimals; see :func:`~adntn_ref.validation.vectors.decimals.exact`.
    """
    if isinstance(network, Sum | Split):
        return _several(network, cores)
    if isinstance(network, Delta):
        change, pull = vjp(network.net, cores)
        alpha = exact(network.alpha)[()]
        return exact(network.base) + alpha * change, lambda g: pull(alpha * g)
    if isinstance(network, Stack):
        flat, pull = vjp(network.net, cores)
        weights = dict(zip(dict(network.shapes), _cut(flat, [shape for _, shape in network.shapes]), strict=True))
        whole = network.net.placement.shape
        return weights, lambda g: pull(np.concatenate([g[n].reshape(-1) for n in weights]).reshape(whole))
    if isinstance(network, ProgramNetwork):
        run = run_of(network.program, cores, network.activation)
        return take(network, run.last), lambda g: run.back(put(network, g, run.last.shape))[1]
    tensor, back = _CHAINS[network.to_spec()["network"]](cores)
    return take(network, tensor), lambda g: back(put(network, g, tensor.shape))


def quantities(network: Network, cores: Cores, cotangent: Any) -> dict[str, Array]:
    """Return every quantity of a network: ``weight``, ``gradient/CORE``, ``state/STEP``, ``adjoint/STEP``."""
    if isinstance(network, ProgramNetwork):
        run = run_of(network.program, cores, network.activation)
        adjoints, gradients = run.back(put(network, cotangent, run.last.shape))
        shapes = {step.name: step.out_dims for step in network.program.all_steps}
        found = {"weight": take(network, run.last)}
        found |= {f"gradient/{name}": gradients[name] for name in network.core_shapes}
        found |= {f"state/{name}": x.reshape(shapes[name]) for name, x in run.states.items()}
        return found | {f"adjoint/{name}": g.reshape(shapes[name]) for name, g in adjoints.items()}
    weight, pull = vjp(network, cores)
    found = {f"weight/{k}": w for k, w in weight.items()} if isinstance(weight, dict) else {"weight": weight}
    gradients = pull(cotangent)
    return found | {f"gradient/{name}": gradients[name] for name in network.core_shapes}


def weight_from(network: ProgramNetwork, run: Run, place: int, state: Array) -> Array:
    """Return the weight that a program makes when the state after its step ``place`` (0 the start) is ``state``."""
    return take(network, [state, *(after for _, after in run.onward(place, state))][-1])


def _several(network: Sum | Split, cores: Cores) -> tuple[Array, Pull]:
    nets = network.nets if isinstance(network, Sum) else network.parts
    made = []
    for k, net in enumerate(nets):
        made.append(vjp(net, {name: cores[f"{k}.{name}"] for name in net.core_shapes}))
    weights = [weight for weight, _ in made]
    if isinstance(network, Sum):
        whole = sum(weights[1:], start=weights[0])
    else:
        whole = np.concatenate([weight.reshape(-1) for weight in weights]).reshape(network.shape)

    def pull(g: Array) -> Cores:
        shares = [g] * len(nets) if isinstance(network, Sum) else _cut(g, [net.placement.shape for net in nets])
        pulled = [back(share) for (_, back), share in zip(made, shares, strict=True)]
        return {f"{k}.{name}": core for k, found in enumerate(pulled) for name, core in found.items()}

    return whole, pull


def _cut(weight: Array, shapes: list[tuple[int, ...]]) -> list[Array]:
    ends = np.cumsum([prod(shape) for shape in shapes])
    flat = weight.reshape(-1)
    return [flat[end - prod(shape) : end].reshape(shape) for end, shape in zip(ends, shapes, strict=True)]


def places(spec: Mapping[str, Any]) -> Array:
    """Return where each entry of a weight stands in the generated tensor read in C order, shaped like the weight.

    Examples
    --------
    >>> places({"network": "tt", "shape": [2, 3], "layout": "axes", "row_modes": [2], "col_modes": [2, 2], "chi": 1})
    array([[0, 1, 2],
           [4, 5, 6]])
    """
    shape = tuple(spec["shape"])
    count = np.arange(prod(shape)).reshape(shape)
    if "row_modes" not in spec or spec["row_modes"] is None:
        return count
    rows, columns = list(spec["row_modes"]), list(spec["col_modes"])
    row, column = np.divmod(count, prod(shape[1:]))
    digits = [*np.unravel_index(row, rows), *np.unravel_index(column, columns)]
    order = list(range(len(digits)))
    if spec["network"] == "mpo" or spec.get("layout") == "interleaved":
        split = [order[: len(rows)], order[len(rows) :]]
        order = [k for k in chained(*zip_longest(*split)) if k is not None]
    sizes = rows + columns
    return np.asarray(np.ravel_multi_index([digits[k] for k in order], [sizes[k] for k in order]))


def take(network: Network, tensor: Array) -> Array:
    """Take the weight out of the generated tensor."""
    spec = network.to_spec()
    if spec["network"] == "lowrank":
        return tensor.reshape(spec["shape"])
    return np.asarray(tensor.reshape(-1)[places(spec)])


def put(network: Network, cotangent: Array, shape: tuple[int, ...]) -> Array:
    """Put the cotangent of the weight into the generated tensor, zeros into the padding."""
    spec = network.to_spec()
    if spec["network"] == "lowrank":
        return cotangent.reshape(shape)
    flat = np.full(prod(shape), ZERO, object)
    flat[places(spec)] = cotangent
    return flat.reshape(shape)

"""The package itself as a candidate: the shortest example, and what a comparison with itself must pass."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

import adntn_ref as ar

from . import plain
from .plain import Spec

Array = NDArray[Any]


def network(spec: Spec, params: Mapping[str, Array]) -> tuple[Any, dict[str, Array]]:
    """Return the network, its deltas with the frozen weights among the parameters, and the other parameters."""
    frozen = [array for name, array in params.items() if name.startswith(plain.FROZEN)]
    return ar.from_spec(dict(spec), base=frozen), {name: params[name] for name in plain.trained(params)}


def generate(spec: Spec, params: Mapping[str, Array]) -> Any:
    """Return the weight (a dict of them for a stack)."""
    net, cores = network(spec, params)
    return net.generate(cores)


def vjp(spec: Spec, params: Mapping[str, Array], cotangent: Any) -> dict[str, Array]:
    """Return the gradient of ``<cotangent, weight>`` with respect to every parameter but frozen weights."""
    net, cores = network(spec, params)
    _, pullback = net.vjp(cores)
    gradients: dict[str, Array] = pullback(cotangent)
    return gradients


def states(spec: Spec, params: Mapping[str, Array]) -> dict[str, Array]:
    """Return the state after every step, by the step's name; nothing for networks that are no programs of steps."""
    if spec["network"] not in plain.STEPWISE:
        return {}
    net, cores = network(spec, params)
    found: dict[str, Array] = net.forward_states(cores)
    return found


def adjoint_states(spec: Spec, params: Mapping[str, Array], cotangent: Array) -> dict[str, Array]:
    """Return the cotangent of every state, by the step's name."""
    if spec["network"] not in plain.STEPWISE:
        return {}
    net, cores = network(spec, params)
    found: dict[str, Array] = net.adjoint_states(cores, cotangent)
    return found

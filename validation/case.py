"""One case of the conformance kit: a specification, parameters and a cotangent, and what the package makes of them.

A case holds everything that the two functions of an implementation take. ``delta`` networks have a frozen weight that
their specification names by its sha256 alone; it travels among the parameters, as ``"frozen/" + sha256``, and has no
gradient.

Quantities are named alike everywhere: ``weight`` (``weight/NAME`` for each weight of a stack), ``gradient/CORE``, and
for networks that are programs of steps ``state/STEP`` and ``adjoint/STEP``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adntn_ref.networks import Network, from_spec
from adntn_ref.networks.programmed import ProgramNetwork

Array = NDArray[Any]
FROZEN = "frozen/"


@dataclass(frozen=True, eq=False)
class Case:
    """A specification with numbers.

    ``cotangent`` has the shape of the weight; for a stack it is a dict of arrays, like the weights. ``note`` says in a
    sentence what the case is for.
    """

    name: str
    spec: dict[str, Any]
    params: dict[str, Array]
    cotangent: Array | dict[str, Array]
    note: str = ""

    @property
    def dtype(self) -> str:
        """The dtype of the parameters, by name."""
        return str(next(iter(cores_of(self.params).values())).dtype.name)

    @property
    def network(self) -> Network:
        """The network that the specification describes, with its frozen weights."""
        return network_of(self.spec, self.params)


def cores_of(params: Mapping[str, Array]) -> dict[str, Array]:
    """Return the trainable arrays: all but the frozen weights."""
    return {name: array for name, array in params.items() if not name.startswith(FROZEN)}


def network_of(spec: Case | Mapping[str, Any], params: Mapping[str, Array] | None = None) -> Network:
    """Return the network of a case, or of a specification with its frozen weights taken from ``params``."""
    if isinstance(spec, Case):
        return network_of(spec.spec, spec.params)
    bases = [array for name, array in (params or {}).items() if name.startswith(FROZEN)]
    return from_spec(dict(spec), base=bases or None)


def with_frozen(network: Network, params: Mapping[str, Array]) -> dict[str, Array]:
    """Return ``params`` with the frozen weights of a network's deltas beside them, each by its sha256."""
    found = dict(params)
    for delta in _deltas(network):
        found[FROZEN + delta.identity[2]] = np.asarray(delta.base)
    return found


def _deltas(network: Any) -> list[Any]:
    inner = [delta for part in getattr(network, "_parts", ()) for delta in _deltas(part)]
    return [network, *inner] if hasattr(network, "base") else inner


def reference(case: Case) -> dict[str, Array]:
    """Return every quantity of a case by the package's closed form, computed in double precision.

    The numbers given are taken as exact: parameters in single precision are cast to double first.

    Returns
    -------
    dict
        Quantity -> array: ``weight`` or ``weight/NAME``, ``gradient/CORE``; for programs of steps also ``state/STEP``
        and ``adjoint/STEP``, each shaped by its indices.
    """
    network = case.network
    params = {name: _double(array) for name, array in cores_of(case.params).items()}
    cotangent = _doubled(case.cotangent)
    weight, pullback = network.vjp(params)
    found: dict[str, Array] = {}
    if isinstance(weight, dict):
        found.update({f"weight/{name}": np.asarray(part) for name, part in weight.items()})
    else:
        found["weight"] = np.asarray(weight)
    found.update({f"gradient/{name}": np.asarray(g) for name, g in pullback(cotangent).items()})
    if isinstance(network, ProgramNetwork):
        states = network.forward_states(params)
        adjoints = network.adjoint_states(params, cotangent)
        found.update({f"state/{name}": np.asarray(x) for name, x in states.items()})
        found.update({f"adjoint/{name}": np.asarray(g) for name, g in adjoints.items()})
    return found


def _double(array: Array) -> Array:
    return np.asarray(array, np.complex128 if np.iscomplexobj(array) else np.float64)


def _doubled(value: Any) -> Any:
    return {name: _double(part) for name, part in value.items()} if isinstance(value, dict) else _double(value)

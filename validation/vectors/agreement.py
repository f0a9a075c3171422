"""Where the numbers come from: each is compared, when it is made, with other derivations.

All run other formulas than the decimals; the list of steps and the shapes, which the decimals take from the package,
are the dense oracle's own.

The shipped number is the one in 100 digits. A derivation must come within its limit of it, relative to the largest
entry of the array; if one does not, nothing is written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

import adntn_ref as ar
from adntn_ref.ad.activations import get_activation
from adntn_ref.networks import Network
from adntn_ref.networks.combination import Combination
from adntn_ref.networks.programmed import ProgramNetwork

from .. import oracle
from ..case import Case, cores_of, reference
from . import exact as ex
from .cases import Numbers
from .decimals import ZERO, Array, Complex, exact, inner
from .programs import Run, run_of

Quantities = Mapping[str, Array]
WITHIN: dict[str, float] = {
    "closed form": 1e-13,
    "tape": 1e-13,
    "dense oracle": 1e-13,
    "differences": 1e-20,
    "package": 1e-13,
}
"""Derivation -> largest difference allowed, relative to the largest entry of the array."""
MEANING = {
    "closed form": "the package's adjoint formulas, run in double precision",
    "tape": "the package's tape, every operation recorded, in double precision",
    "dense oracle": "explicit matrices and sums written out, in double precision, without any code of the package",
    "differences": "central differences of the value along two directions an array, in 100 digits with step 1e-16",
    "package": "the package's own function, in double precision",
}
STEP = Decimal("1e-16")
DIRECTIONS = 2


class VectorsDisagree(AssertionError):
    """Two derivations of a vector differ by more than rounding: there is a bug in one of them."""


@dataclass
class Agreement:
    """What was compared, and the worst difference found: derivation -> (difference, where)."""

    worst: dict[str, tuple[float, str]] = field(default_factory=dict)

    def compare(self, name: str, derivation: str, got: Quantities, expected: Quantities) -> dict[str, list[str]]:
        """Compare arrays by name with the rounded numbers; return {derivation: groups of names}.

        Raises
        ------
        VectorsDisagree
        """
        for key, array in got.items():
            off = np.max(np.abs(np.asarray(array) - expected[key]), initial=0.0)
            size = np.max(np.abs(expected[key]), initial=0.0)
            self.note(derivation, float(off / size) if size else float(off), f"{name}/{key}")
        return {derivation: list(dict.fromkeys(key.split("/")[0] for key in got))}

    def note(self, derivation: str, difference: float, where: str) -> None:
        """Take up one difference."""
        if not difference <= WITHIN[derivation]:
            raise VectorsDisagree(
                f"{where}: {derivation} is off by {difference:.3g} of the largest entry, allowed {WITHIN[derivation]:g}"
            )
        if derivation not in self.worst or difference > self.worst[derivation][0]:
            self.worst[derivation] = (difference, where)

    def check_case(self, case: Case, decimals: Quantities, rounded: Quantities) -> dict[str, list[str]]:
        """Compare a case with every derivation there is for it; return {derivation: groups of quantities}."""
        network = case.network
        cores = {name: _double(core) for name, core in cores_of(case.params).items()}
        cotangent = _map(_double, case.cotangent)
        found: dict[str, list[str]] = {}
        if _has_closed_form(network):
            found |= self.compare(case.name, "closed form", reference(case), rounded)
        weight, pull = ar.vjp(network._generate, cores)
        taped = named(weight, pull(cotangent)[0])
        found |= self.compare(case.name, "tape", taped, rounded)
        frozen = {name: array for name, array in case.params.items() if name not in cores}
        dense = named(oracle.generate(case.spec, cores | frozen), oracle.vjp(case.spec, cores | frozen, cotangent))
        try:
            states = oracle.states(case.spec, cores | frozen)
        except NotImplementedError:
            states = {}
        dense |= {f"state/{name}": x.reshape(rounded[f"state/{name}"].shape) for name, x in states.items()}
        found |= self.compare(case.name, "dense oracle", dense, rounded)
        if compared := self._differences(case, decimals):
            found["differences"] = compared
        return found

    def _differences(self, case: Case, decimals: Quantities) -> list[str]:
        """Compare gradients, and where no kink is met cotangents of states, with differences in 100 digits."""
        network = case.network
        kinks, zeros = _kinks(network), _meets_zero(network, decimals)
        if kinks and zeros and all(float(x).is_integer() for x in next(iter(cores_of(case.params).values())).flat):
            return []  # a kink is met by chance, not by structure: there is no derivative to compare with
        cores = {name: exact(core) for name, core in cores_of(case.params).items()}
        cotangent = _map(exact, case.cotangent)
        for name, core in cores.items():

            def value(x: Array, name: str = name) -> Decimal:
                weight = ex.vjp(network, cores | {name: x})[0]
                return sum((inner(g, w) for g, w in zip(_parts(cotangent), _parts(weight), strict=True)), ZERO)

            self.along(f"{case.name}/gradient/{name}", value, core, decimals[f"gradient/{name}"])
        if not isinstance(network, ProgramNetwork) or (kinks and zeros):
            return ["gradient"]
        run = run_of(network.program, cores, network.activation)
        if not isinstance(run, Run):
            return ["gradient"]
        for place, (name, state) in enumerate(run.states.items()):

            def below(x: Array, place: int = place) -> Decimal:
                return inner(cotangent, ex.weight_from(network, run, place, x))

            self.along(f"{case.name}/adjoint/{name}", below, state, decimals[f"adjoint/{name}"])
        return ["gradient", "adjoint"]

    def along(self, where: str, value: Callable[[Array], Decimal], x: Array, gradient: Array) -> None:
        """Compare ``<gradient, u>`` with the slope of ``value`` along random directions u."""
        several = any(isinstance(entry, Complex) for entry in x.flat)
        numbers = Numbers(DIRECTIONS + x.size)
        for _ in range(DIRECTIONS):
            u = exact(numbers.draw(x.shape, dtype="complex128" if several else "float64"))
            slope = (value(x + u * STEP) - value(x + u * -STEP)) / (2 * STEP)
            size = max((abs(entry) for part in _reals(gradient) for entry in part.flat), default=ZERO)
            off = abs(slope - inner(gradient, u))
            self.note("differences", float(off / size) if size else float(off), where)


def named(weight: Any, gradients: Mapping[str, Array]) -> dict[str, Array]:
    """Return weight (or weights) and gradients under the names of quantities."""
    parts = {f"weight/{k}": w for k, w in weight.items()} if isinstance(weight, dict) else {"weight": weight}
    return parts | {f"gradient/{name}": g for name, g in gradients.items()}


def _double(array: Array) -> Array:
    return np.asarray(array, np.complex128 if np.iscomplexobj(array) else np.float64)


def _map(function: Callable[[Array], Array], value: Any) -> Any:
    return {name: function(part) for name, part in value.items()} if isinstance(value, dict) else function(value)


def _parts(value: Any) -> list[Array]:
    return list(value.values()) if isinstance(value, dict) else [value]


def _reals(array: Array) -> list[Array]:
    flat = array.reshape(-1)
    return [np.array([x.real for x in flat], object), np.array([x.imag for x in flat], object)]


def _leaves(network: Network) -> list[Network]:
    parts = network._parts if isinstance(network, Combination) else ()
    return [leaf for part in parts for leaf in _leaves(part)] or [network]


def _has_closed_form(network: Network) -> bool:
    return any(isinstance(leaf, ProgramNetwork) for leaf in _leaves(network))


def _kinks(network: Network) -> bool:
    leaves = [leaf for leaf in _leaves(network) if isinstance(leaf, ProgramNetwork)]
    return any(get_activation(leaf.activation).kinks for leaf in leaves)


def _meets_zero(network: Network, decimals: Quantities) -> bool:
    return any(not x for name, state in decimals.items() if name.startswith("state/") for x in state.flat)

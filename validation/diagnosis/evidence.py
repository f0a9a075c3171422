"""What a candidate gave, made ready for comparison with what a mistake would give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..case import Case
from .model import mistaken
from .parts import Array

LARGEST = 2**12
"""Cases of more generated entries or of larger weights are left out of the search."""

SLACK = 4.0
"""A wrong program rounds otherwise than the right one: this many times the allowed error is granted."""

AGREES, EXPLAINS, CONTRADICTS, SILENT = "agrees", "explains", "contradicts", "silent"


@dataclass(frozen=True)
class Observation:
    """One case and what a candidate gave for it.

    Attributes
    ----------
    case : the case
    got : quantity -> array, as the candidate gave it
    expected : quantity -> array, the reference
    allowed : quantity -> array, the largest honest error of each entry
    """

    case: Case
    got: Mapping[str, Array]
    expected: Mapping[str, Array]
    allowed: Mapping[str, Array]


@dataclass(frozen=True)
class Evidence:
    """An observation's weight and gradients, where they have the right shape and are finite."""

    case: Case
    got: dict[str, Array]
    expected: dict[str, Array]
    share: dict[str, float]
    """The allowed error over the largest entry, quantity by quantity."""

    asked: dict[str, Array]
    """Entries whose allowed error is finite: where it is not, nothing is asked."""

    wrong: tuple[str, ...]
    """The quantities that differ from the reference."""

    made: dict[tuple[str, ...], dict[str, Array] | None] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        """Entries of the weight."""
        return sum(x.size for name, x in self.expected.items() if name.startswith("weight"))

    def with_mistakes(self, names: tuple[str, ...]) -> dict[str, Array] | None:
        """Return what an implementation with these mistakes gives; remembered."""
        if names not in self.made:
            self.made[names] = mistaken(self.case.spec, self.case.params, self.case.cotangent, names)
        return self.made[names]

    def effective(self, name: str) -> bool:
        """Return whether a mistake changes anything here."""
        found = self.with_mistakes((name,))
        return found is not None and not all(self._near(q, found[q], self.expected[q]) for q in self._both(found))

    def verdict(self, names: tuple[str, ...]) -> str:
        """Say whether mistakes explain a wrong output, agree with a right one, contradict it, or say nothing."""
        found = self.with_mistakes(names)
        if found is None:
            return SILENT
        both = self._both(found)
        if not all(self._near(q, found[q], self.got[q]) for q in both):
            return CONTRADICTS
        if self.wrong:
            return EXPLAINS if set(self.wrong) & set(both) else SILENT
        return AGREES

    def _both(self, found: dict[str, Array]) -> list[str]:
        """Return the quantities to compare; those that differ from the reference come first and tell soonest."""
        return sorted(self.got.keys() & found.keys(), key=lambda q: (q not in self.wrong, q))

    def _near(self, quantity: str, made: Array, other: Array) -> bool:
        size = max(float(np.abs(made).max(initial=0)), float(np.abs(self.expected[quantity]).max(initial=0)))
        off = np.abs(made - other)[self.asked[quantity]]
        return bool(np.all(off <= SLACK * self.share[quantity] * size))


def evidence_of(observation: Observation) -> Evidence | None:
    """Return what of an observation can be compared: None where it is too large or nothing is."""
    got, expected, share, asked, wrong = {}, {}, {}, {}, []
    for name, right in observation.expected.items():
        if not name.startswith(("weight", "gradient/")) or observation.case.spec.get("network") is None:
            continue
        given = observation.got.get(name)
        if given is None or not comparable(given, right):
            continue
        got[name], expected[name] = np.asarray(given), np.asarray(right)
        share[name] = _share(observation, name)
        asked[name] = np.isfinite(_allowed(observation, name))
        if differs(observation, name):
            wrong.append(name)
    if not got or _generated(observation.case.spec) > LARGEST or max(x.size for x in expected.values()) > LARGEST:
        return None
    return Evidence(observation.case, got, expected, share, asked, tuple(wrong))


def comparable(given: Any, right: Any) -> bool:
    """Return whether an array has the right shape, and finite numbers."""
    array = np.asarray(given)
    return bool(array.shape == np.shape(right) and array.dtype.kind in "fciub" and np.isfinite(array).all())


def differs(observation: Observation, name: str) -> bool:
    """Return whether a quantity of the right shape differs from the reference by more than is allowed."""
    right = np.asarray(observation.expected[name])
    off = np.abs(np.asarray(observation.got[name]).reshape(right.shape) - right)
    return bool(np.any(~(off <= _allowed(observation, name))))


def _allowed(observation: Observation, name: str) -> Array:
    if name in observation.allowed:
        return np.asarray(observation.allowed[name], dtype=np.float64)
    right = np.asarray(observation.expected[name])
    return np.full(right.shape, 1000 * _rounding(observation) * float(np.abs(right).max(initial=0)))


def _share(observation: Observation, name: str) -> float:
    """Return the allowed error over the largest entry."""
    size = float(np.abs(observation.expected[name]).max(initial=0))
    least = 8 * _rounding(observation)
    if size == 0:
        return 1000 * _rounding(observation)
    allowed = _allowed(observation, name)
    return max(least, float(allowed[np.isfinite(allowed)].max(initial=0)) / size)


def _rounding(observation: Observation) -> float:
    dtypes = [np.asarray(x).dtype for x in observation.got.values() if np.asarray(x).dtype.kind in "fc"]
    return max((float(np.finfo(dtype).eps) for dtype in dtypes), default=float(np.finfo(np.float64).eps))


def _generated(spec: Mapping[str, Any]) -> int:
    """Return the entries that a network generates, padding included, of the largest of its parts."""
    parts: Sequence[Mapping[str, Any]] = [*spec.get("parts", []), *([spec["net"]] if "net" in spec else [])]
    sizes = [*spec.get("modes", []), *spec.get("row_modes", []), *spec.get("col_modes", [])]
    product = 1
    for size in sizes:
        product *= int(size)
    return max([product, *map(_generated, parts)])

"""What sets the wrong cases apart from the right ones, where no known mistake explains them."""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import ceil, log2, prod
from typing import Any

import numpy as np

from ..case import Case
from .evidence import Observation, comparable, differs

SHOWN = 4
"""So many cases are named with their factor."""


def _modes(case: Case) -> list[int]:
    spec = case.spec
    return [*spec.get("modes", []), *spec.get("row_modes", []), *spec.get("col_modes", [])]


def _own_modes(case: Case) -> bool:
    """Return whether the flat layout's modes are others than the twos that it takes by itself."""
    count = prod(case.spec.get("shape", [1]))
    return "modes" in case.spec and _modes(case) != [2] * max(2, ceil(log2(count)))


FEATURES: dict[str, Callable[[Case], bool]] = {
    "trainable start vectors (boundary)": lambda case: case.spec.get("boundary") == "trainable",
    "an activation after every column (activation_every)": lambda case: case.spec.get("activation_every") == "column",
    "another layout than flat": lambda case: case.spec.get("layout", "flat") != "flat",
    "activations at the nodes (activation_site)": lambda case: case.spec.get("activation_site") == "node",
    "a periodic pair": lambda case: bool(case.spec.get("periodic", False)),
    "complex numbers": lambda case: case.dtype.startswith("complex"),
    "single precision": lambda case: case.dtype in ("float32", "complex64"),
    "modes other than 2": lambda case: any(mode != 2 for mode in _modes(case)),
    "modes of their own, not the default ones": _own_modes,
    "more than one layer": lambda case: case.spec.get("layers", 1) > 1,
    "three modes or more": lambda case: len(_modes(case)) > 2,
    "four modes or more": lambda case: len(_modes(case)) > 3,
    "an odd number of modes": lambda case: len(_modes(case)) % 2 == 1,
}
"""What may be true of a case, by the words for it; what a program does not read of a specification comes first."""


def contrast(observations: Sequence[Observation]) -> str:
    """Return a sentence on what all wrong cases have and no right one has; empty where nothing is found.

    One feature is looked for first, then two of which each wrong case has one.
    """
    wrong = [o.case for o in observations if _is_wrong(o)]
    kinds = {case.spec["network"] for case in wrong}
    right = [o.case for o in observations if not _is_wrong(o) and o.case.spec["network"] in kinds]
    if not wrong or not right:
        return ""
    none_right = [words for words, holds in FEATURES.items() if not any(map(holds, right))]
    for several in (1, 2):
        for words in combinations(none_right, several):
            if all(any(FEATURES[word](case) for word in words) for case in wrong):
                return f"All cases that differ have {' or '.join(words)}, and none that agrees has."
    return ""


def multiples(observations: Sequence[Observation]) -> str:
    """Return a sentence where every wrong weight is a multiple of the reference by a factor of its own."""
    told: dict[str, str] = {}
    for one in sorted(observations, key=lambda o: sum(np.size(x) for x in o.expected.values())):
        right, given = one.expected.get("weight"), one.got.get("weight")
        if right is None or given is None or not comparable(given, right) or not differs(one, "weight"):
            continue
        factor = _factor(given, right)
        if factor is None:
            return ""
        told[f"{np.shape(right)}"] = f"{factor:.6g}"
    if len(set(told.values())) < 2:
        return ""
    pairs = ", ".join(f"{factor} for shape {shape}" for shape, factor in list(told.items())[:SHOWN])
    return f"Every wrong weight is the reference times a factor: {pairs}."


def _factor(given: Any, right: Any) -> float | None:
    if np.iscomplexobj(given):
        return None
    size = float(np.vdot(right, right))
    factor = float(np.vdot(right, given)) / size if size else 0.0
    near = np.abs(np.asarray(given) - factor * np.asarray(right)).max(initial=0.0)
    return factor if factor and near <= 1e-4 * abs(factor) * float(np.abs(right).max(initial=0.0)) else None


def _is_wrong(observation: Observation) -> bool:
    """Return whether a weight or gradient differs, is missing or cannot be compared."""
    for name, right in observation.expected.items():
        if name.startswith(("weight", "gradient/")):
            given = observation.got.get(name)
            if given is None or not comparable(given, right) or differs(observation, name):
                return True
    return False

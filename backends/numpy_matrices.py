"""The matrices of a plan's windows, made from the bricks all at once, and environments taken apart all at once.

Which brick goes where is worked out once a plan (:func:`wiring_of`): all bricks lie end to end in one array, and for
each pattern of windows one array of positions picks what it needs. A leading axis counts networks of the same plan.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adntn_ref.program.plan import Plan
from adntn_ref.program.stairs import stair_environments, stair_matrices

Array = NDArray[Any]
Cores = dict[str, Array]


@dataclass(frozen=True)
class Wiring:
    """``names``: the bricks in their order; ``ends``: where each ends; ``places``: positions by pattern and gate."""

    names: tuple[str, ...]
    ends: tuple[int, ...]
    places: tuple[tuple[Array, ...], ...]


@lru_cache(maxsize=256)
def wiring_of(plan: Plan) -> Wiring:
    """Return where the bricks of a plan lie in the array of all bricks."""
    sizes = {
        names[k]: gate.size**2
        for pattern in plan.patterns
        for names in pattern.names
        for k, gate in enumerate(pattern.gates)
    }
    ends = tuple(accumulate(sizes.values()))
    begins = {name: end - size for (name, size), end in zip(sizes.items(), ends, strict=True)}
    places = tuple(
        tuple(
            np.stack([begins[names[k]] + np.arange(gate.size**2) for names in pattern.names])
            for k, gate in enumerate(pattern.gates)
        )
        for pattern in plan.patterns
    )
    return Wiring(tuple(sizes), ends, places)


class Matrices:
    """The matrix of every window: ``whole[number]`` of shape (networks, side, side)."""

    def __init__(self, plan: Plan, cores: Cores, networks: int) -> None:
        self.plan, self.networks, self.wiring = plan, networks, wiring_of(plan)
        self.shapes = [cores[name].shape for name in self.wiring.names]
        bricks = np.concatenate([cores[name].reshape(networks, -1) for name in self.wiring.names], axis=1)
        self.bricks: list[list[Array]] = []
        self.partial: list[list[Array]] = []
        self.whole: dict[int, Array] = {}
        for pattern, places in zip(plan.patterns, self.wiring.places, strict=True):
            n, side = len(pattern.numbers), pattern.side
            picked = [
                bricks[:, place].reshape(networks * n, gate.size, gate.size)
                for place, gate in zip(places, pattern.gates, strict=True)
            ]
            unit = np.broadcast_to(np.eye(side, dtype=bricks.dtype), (networks * n, side, side))
            partial = stair_matrices(pattern.gates, side, picked, unit)
            self.bricks.append(picked)
            self.partial.append(partial)
            last = partial[-1].reshape(networks, n, side, side)
            self.whole.update({number: last[:, k] for k, number in enumerate(pattern.numbers)})

    def split(self, found: dict[int, Array]) -> Cores:
        """Return the environment of every brick, given that of every window, shape (networks, side, side)."""
        wiring, parts = self.wiring, zip(self.plan.patterns, self.wiring.places, self.bricks, self.partial, strict=True)
        flat = np.empty((self.networks, wiring.ends[-1]), next(iter(found.values())).dtype)
        for pattern, places, bricks, partial in parts:
            e = np.stack([found[number] for number in pattern.numbers], axis=1)
            e = e.reshape(-1, pattern.side, pattern.side)
            split = stair_environments(pattern.gates, bricks, partial, e)
            for place, gate, mine in zip(places, pattern.gates, split, strict=True):
                flat[:, place] = mine.reshape(self.networks, -1, gate.size**2)
        begins = (0, *wiring.ends[:-1])
        return {
            name: flat[:, begin:end].reshape(shape)
            for name, begin, end, shape in zip(wiring.names, begins, wiring.ends, self.shapes, strict=True)
        }

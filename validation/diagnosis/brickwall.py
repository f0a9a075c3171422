"""The brick-wall as a list of steps, right and wrong."""

from typing import Any

import numpy as np

from .parts import Activate, Apply, Core, Fixed, Impossible, Positions, Program, Read, Wrong, numbers
from .places import places_of
from .sigma import sigma_of

LEGS = {
    "legs-in-out": (2, 3, 0, 1),
    "inputs-swapped": (0, 1, 3, 2),
    "outputs-swapped": (1, 0, 2, 3),
    "legs-reversed": (3, 2, 1, 0),
}
"""Wrong orders of the legs (a, b, c, e) of a brick or mixing core."""


def mixing(name: str, pair: tuple[int, int], dims: tuple[int, int], wrong: Wrong) -> Apply:
    """Return the step that mixes the indices ``pair`` of sizes ``dims`` by a core of shape (m, n, m, n)."""
    where = numbers(dims * 2)
    for mistake in wrong:
        if mistake in LEGS:
            where = where.transpose(LEGS[mistake])
    return Apply(Core(name, where), pair, () if "axes-left-in-front" in wrong else pair)


def brickwall(spec: dict[str, Any], wrong: Wrong) -> Program:
    """Return the program of a brick-wall with the given mistakes."""
    modes, layers = tuple(spec["modes"]), spec["layers"]
    constant = spec["boundary"] == "constant"
    if "layers-reversed" in wrong and constant and layers > 1:
        raise Impossible("the bricks of the first column are stored as slices")
    start = _slices(modes, wrong) if constant else tuple(Core(f"start{q}", numbers((d,))) for q, d in enumerate(modes))
    sigma = Activate(sigma_of(spec["activation"], wrong))
    steps: list[Apply | Activate] = []
    if "activation-on-start" in wrong and not constant:
        steps.append(sigma)
    order = [(m, side) for m in range(layers) for side in _sides(m, modes, constant, wrong)]
    for place, (m, side) in enumerate(order):
        if not (constant and place == 0):  # there the first column is the start
            steps += _column(layers - 1 - m if "layers-reversed" in wrong else m, side, modes, wrong)
        last = place == len(order) - 1
        ends_layer = last or order[place + 1][0] != m
        if _activated(spec, m, ends_layer, last, wrong):
            steps.append(sigma)
    return Program(tuple(start), tuple(steps), places_of(spec, modes, wrong))


def _sides(m: int, modes: tuple[int, ...], constant: bool, wrong: Wrong) -> list[int]:
    """Return the columns of a layer in order: 0 for the pairs (0,1), (2,3), ..., 1 for (1,2), (3,4), ..."""
    sides = [0, 1] if len(modes) > 2 else [0]
    if "columns-swapped" in wrong and not (constant and m == 0):
        sides.reverse()
    return sides[:1] if "odd-column-missing" in wrong else sides


def _activated(spec: dict[str, Any], m: int, ends_layer: bool, last: bool, wrong: Wrong) -> bool:
    """Return whether sigma acts after a column."""
    every_column = spec.get("activation_every", "layer") == "column"
    if "activation-every-column" in wrong:
        every_column = True
    if "activation-every-layer" in wrong:
        every_column = False
    if "activation-missing" in wrong:
        return False
    if last:
        return "activation-after-last" in wrong
    if "activation-before-mixing" in wrong and not every_column and len(spec["modes"]) > 2:
        return m < spec["layers"] - 1 and not ends_layer  # in front of the layer's second column
    return every_column or ends_layer


def _column(m: int, side: int, modes: tuple[int, ...], wrong: Wrong) -> list[Apply | Activate]:
    names = _names(m, side, modes, wrong)
    return [mixing(name, (q, q + 1), (modes[q], modes[q + 1]), wrong) for q, name in names]


def _names(m: int, side: int, modes: tuple[int, ...], wrong: Wrong) -> list[tuple[int, str]]:
    """Return the pairs of a column and the names of their bricks."""
    left = range(side, len(modes) - 1, 2)
    if "brick-shared" not in wrong:
        return [(q, f"layer{m}.brick{q}") for q in left]
    if len({(modes[q], modes[q + 1]) for q in left}) > 1:
        raise Impossible("the bricks of a column differ in shape")
    return [(q, f"layer{m}.brick{side}") for q in left]


def _slices(modes: tuple[int, ...], wrong: Wrong) -> tuple[Read, ...]:
    """Return the start of the constant boundary: the first column's slices, for odd Q the last site's vector."""
    factors: list[Read] = []
    for q, name in _names(0, 0, modes, wrong):
        where: Positions = numbers((modes[q], modes[q + 1]))
        for mistake in wrong:
            if mistake in ("slices-transposed", "outputs-swapped", "legs-reversed"):
                where = where.transpose()
        factors.append(Core(name, where))
    if len(modes) % 2:
        unit = np.zeros(modes[-1])
        unit[-1 if "start-last-unit" in wrong else 0] = 1.0
        factors.append(Fixed(np.ones(modes[-1]) if "start-ones" in wrong else unit))
    return tuple(factors)

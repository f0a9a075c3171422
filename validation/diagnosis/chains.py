"""The multilinear formats as lists of steps, right and wrong: low rank, tensor train, MPO, CP, Tucker."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from .parts import Apply, Core, Fixed, Positions, Program, Wrong, numbers
from .places import places_of

MULTILINEAR = ("lowrank", "tt", "mpo", "cp", "tucker")


def multilinear(spec: dict[str, Any], wrong: Wrong) -> Program:
    """Return the program of a multilinear network with the given mistakes."""
    return {"lowrank": _low_rank, "tt": _chain, "mpo": _chain, "cp": _cp, "tucker": _tucker}[spec["network"]](
        spec, wrong
    )


def _low_rank(spec: dict[str, Any], wrong: Wrong) -> Program:
    rows, columns, rank = spec["shape"][0], prod(spec["shape"][1:]), spec["rank"]
    right = numbers((columns, rank)) if "right-transposed" in wrong else numbers((rank, columns)).T
    steps = (Apply(Core("right", right), (1,), (1,), "format"),)
    return Program((Core("left", numbers((rows, rank))),), steps, numbers(spec["shape"]), format=True)


def _chain(spec: dict[str, Any], wrong: Wrong) -> Program:
    """Start with the first core and expand the last index, the open bond, by each of the others."""
    if spec["network"] == "mpo":
        pairs = list(zip(spec["row_modes"], spec["col_modes"], strict=True))
    else:
        pairs = [(d, 1) for d in spec["modes"]]
    sizes = [r * c for r, c in pairs]
    bonds = [min(spec["chi"], prod(sizes[:k]), prod(sizes[k:])) for k in range(len(sizes) + 1)]
    cores = [_chain_core(k, bonds, pair, wrong) for k, pair in enumerate(pairs)]
    steps = [
        Apply(Core(f"core{k}", where.transpose(1, 2, 0)), (k,), (k, k + 1), "format")
        for k, where in enumerate(cores)
        if k > 0
    ]
    return Program((Core("core0", cores[0][0]),), tuple(steps), places_of(spec, sizes, wrong), format=True)


def _chain_core(k: int, bonds: Sequence[int], pair: tuple[int, int], wrong: Wrong) -> Positions:
    """Return core k as it is read, (bond, row and column together, bond)."""
    b, (r, c), after = bonds[k], pair, bonds[k + 1]
    where: Positions = numbers((b, r, c, after))
    for mistake in wrong:
        if mistake == "core-mode-first":
            where = where.reshape(r, c, b, after).transpose(2, 0, 1, 3)
        if mistake == "row-column-swapped":
            # the core is read as (b, c, r, b'): its numbers stay where they are
            where = where.reshape(b, c, r, after).transpose(0, 2, 1, 3)
        if mistake == "bonds-transposed" and b == after:
            where = where.transpose(3, 1, 2, 0)
    return where.reshape(b, r * c, after)


def _factor(q: int, mode: int, rank: int, wrong: Wrong) -> Positions:
    """Return factor q as it is read, (mode, rank)."""
    return numbers((rank, mode)).T if "factors-transposed" in wrong else numbers((mode, rank))


def _tucker(spec: dict[str, Any], wrong: Wrong) -> Program:
    sizes = list(zip(spec["modes"], spec["ranks"], strict=True))
    steps = tuple(
        Apply(Core(f"factor{q}", _factor(q, *pair, wrong)), (q,), (q,), "format") for q, pair in enumerate(sizes)
    )
    return Program((Core("core", numbers(spec["ranks"])),), steps, places_of(spec, spec["modes"], wrong), format=True)


def _cp(spec: dict[str, Any], wrong: Wrong) -> Program:
    """Carry the rank as the last index: each factor expands it by a mode and keeps it, the end sums over it."""
    modes, rank = spec["modes"], spec["rank"]
    factors = [_factor(q, d, rank, wrong) for q, d in enumerate(modes)]
    steps = []
    for q, factor in enumerate(factors[1:], start=1):
        where = np.full((*factor.shape, rank), -1)  # (mode, rank out, rank in): factor[mode, r] where both are r
        for r in range(rank):
            where[:, r, r] = factor[:, r]
        steps.append(Apply(Core(f"factor{q}", where), (q,), (q, q + 1), "format"))
    end = Apply(Fixed(np.ones((1, rank))), (len(modes),), (len(modes),), "format")
    return Program((Core("factor0", factors[0]),), (*steps, end), places_of(spec, (*modes, 1), wrong), format=True)

"""Shapes of weights and their modes: every layout, with padding where it so happens."""

from math import prod
from typing import Any

from hypothesis import strategies as st

LARGEST = 512
"""Most entries of a generated tensor, unless a strategy is told otherwise."""


def modes(least: int = 2, most: int = 8, limit: int = LARGEST) -> st.SearchStrategy[tuple[int, ...]]:
    """Return mode sizes 1..4 (mostly 2) whose product is at most ``limit``.

    Parameters
    ----------
    least, most : smallest and largest number of modes
    limit : largest product
    """
    sizes = st.lists(st.sampled_from([2, 2, 2, 3, 1, 4]), min_size=least, max_size=most)
    return sizes.map(lambda chosen: _shortened(chosen, least, limit))


def _shortened(sizes: list[int], least: int, limit: int) -> tuple[int, ...]:
    """Drop the last modes, and then shrink the largest, until the product is within the limit."""
    kept = list(sizes)
    while prod(kept) > limit:
        if len(kept) > least:
            kept.pop()
        else:
            kept[kept.index(max(kept))] -= 1
    return tuple(kept)


@st.composite
def flat(draw: st.DrawFn, limit: int) -> dict[str, Any]:
    """Draw shape and modes of the layout "flat", with padding where it so happens."""
    chosen = draw(modes(limit=limit))
    full = prod(chosen)
    rows = draw(st.integers(1, full))
    ways = [(rows,), (rows, full // rows), (1, rows), (max(1, full // 2), 1, 2 if full > 1 else 1)]
    shape = draw(st.sampled_from([(full,), *ways]))
    if draw(st.booleans()):
        return {"shape": shape, "modes": chosen}
    return {"shape": shape} if 2 ** max(2, (prod(shape) - 1).bit_length()) <= limit else {"shape": (5,)}


@st.composite
def matrix(draw: st.DrawFn, limit: int) -> dict[str, Any]:
    """Draw shape, row and column modes of a matrix, with padding where it so happens."""
    side = int(limit**0.5)
    shape: tuple[int, ...]
    row, column = draw(modes(1, 4, side)), draw(modes(1, 5, side))
    shape = (draw(st.integers(1, prod(row))), draw(st.integers(1, prod(column))))
    if draw(st.booleans()) and shape[1] % 2 == 0:
        shape = (shape[0], 2, shape[1] // 2)
    if draw(st.integers(0, 3)):
        return {"shape": shape, "row_modes": row, "col_modes": column}
    small = (min(shape[0], 12), min(prod(shape[1:]), 15))
    return {"shape": small}


@st.composite
def placed(draw: st.DrawFn, limit: int) -> dict[str, Any]:
    """Draw shape, layout and modes: every layout, "flat" half of the time."""
    layout = draw(st.sampled_from(["flat", "flat", "axes", "interleaved"]))
    return {**draw(flat(limit) if layout == "flat" else matrix(limit)), "layout": layout}

"""Index arithmetic of the kernels, by their own functions called from the host; no state is ever made."""

import random

import numpy as np
import pytest
from kernel_cases import needs_compiler
from shim.launcher import library, text_of
from test_kernel_plan import layers_of

from adntn_ref.backends.kernel_plan import Limits, passes_of
from adntn_ref.networks.brickwall import MAX_BRICKS

pytestmark = needs_compiler


def tiles() -> list[tuple[int, int, int, int]]:
    """(bits, low, high, shift) of all tiles that plans use, up to 60 bits."""
    found = set()
    for itemsize in (4, 8):
        for bits in (4, 5, 8, 13, 16, 20, 24, 26, 30, 31, 32, 33, 34, 40, 48, 60):
            for one in passes_of(bits, layers_of(bits, 2), Limits(227 * 1024, itemsize)):
                if one.tile.bits <= bits:
                    found.add((bits, one.tile.low, one.tile.high, one.tile.shift))
    return sorted(found)


def test_places_are_a_permutation_of_the_state() -> None:
    """Every bit of (entry, block) moves one bit of the place, each another one, and a place is the sum of its bits'."""
    place = library(text_of("tiles", "float64")).shim_place
    rng = random.Random(0)
    seen_large = False
    for bits, low, high, shift in tiles():
        inside = [place(1 << k, 0, low, high, shift) for k in range(low + high)]
        outside = [place(0, 1 << k, low, high, shift) for k in range(bits - low - high)]
        assert sorted(inside + outside) == [1 << k for k in range(bits)]
        assert place(0, 0, low, high, shift) == 0
        for _ in range(50):
            entry, block = rng.randrange(1 << (low + high)), rng.randrange(1 << (bits - low - high))
            parts = [inside[k] for k in range(low + high) if entry >> k & 1]
            parts += [outside[k] for k in range(bits - low - high) if block >> k & 1]
            assert place(entry, block, low, high, shift) == sum(parts)
        top = place((1 << (low + high)) - 1, (1 << (bits - low - high)) - 1, low, high, shift)
        assert top == (1 << bits) - 1
        seen_large = seen_large or top >= 1 << 32
    assert seen_large
    assert MAX_BRICKS * 16 < 2**31, "numbers of bricks and their entries are ints"


@pytest.mark.parametrize("bits", range(4, 16))
def test_entries_of_a_tile_have_places_of_their_own_in_shared_memory(bits: int) -> None:
    bank = library(text_of("tiles", "float64")).shim_bank
    assert sorted(bank(i) for i in range(1 << bits)) == list(range(1 << bits))


@pytest.mark.parametrize(("dtype", "window", "lanes"), [("float32", 5, 32), ("float64", 4, 16)])
def test_groups_share_the_tile_and_meet_few_in_a_bank(dtype: str, window: int, lanes: int) -> None:
    """Every entry is in one group; of the lanes served at once at most two meet in one of the 32 banks of 4 bytes.

    Those are 32 lanes of float32, and 16 of float64, which take two banks each.
    """
    found = library(text_of("tiles", dtype))
    for bits in (10, 14):
        for at in range(bits - window + 1):
            groups = [found.shim_group(j, at) for j in range(1 << (bits - window))]
            entries = np.add.outer(groups, [r << at for r in range(1 << window)])
            assert sorted(entries.reshape(-1)) == list(range(1 << bits))
            for r in range(1 << window):
                banks = [found.shim_bank(int(entries[j, r])) % lanes for j in range(lanes)]
                assert max(banks.count(b) for b in set(banks)) <= 2, (bits, at, r)


def test_columns_of_windows_are_a_permutation_of_the_state() -> None:
    """(L, c, R) as the kernels compute it from the column's number, for states of more than 2^32 entries too."""
    column = library(text_of("windows", "float64")).shim_column
    for left, side, right in ((5, 3, 7), (1, 4, 6), (6, 4, 1)):
        found = [column(pair, side, right) + c * right for pair in range(left * right) for c in range(side)]
        assert sorted(found) == list(range(left * side * right))
    rng = random.Random(0)
    for left, side, right in ((2**20, 32, 2**20), (2**35, 16, 1), (1, 16, 2**35), (3**15, 27, 3**9)):
        for _ in range(200):
            number, c = rng.randrange(left * right), rng.randrange(side)
            l, r = divmod(number, right)
            assert column(number, side, right) + c * right == (l * side + c) * right + r


def test_factors_of_large_starts() -> None:
    """The bits of a factor far up in the index."""
    factor = library(text_of("vectors", "float64")).shim_factor
    start = np.arange(1.0, 9.0)
    for shift in (0, 20, 31, 32, 40, 60):
        for bits, at in ((1, 0), (2, 4)):
            table = np.array([at, shift, bits], dtype=np.int32)
            unit = np.array([-1, shift, bits], dtype=np.int32)
            for e in range(1 << bits):
                index = (e << shift) | ((1 << shift) - 1)
                assert factor(start.ctypes.data, table.ctypes.data, index) == start[at + e]
                assert factor(start.ctypes.data, unit.ctypes.data, index) == (e == 0)

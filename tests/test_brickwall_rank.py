"""The rank of a brick-wall's matrix: in flat modes one brick a layer crosses the border of rows and columns."""

import json
import math
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.cli import main


def _rank(shape: tuple[int, ...], **options: Any) -> int:
    """Return the rank of a random network's matrix, having asserted that ``rank_at_most`` says the same."""
    net = ar.BrickWall(shape, activation="identity", **options)
    found = int(np.linalg.matrix_rank(np.reshape(net.generate(net.init(rng=5)), (shape[0], -1))))
    assert net.rank_at_most == found
    return found


@pytest.mark.parametrize(
    ("shape", "layers", "boundary", "most"),
    [
        ((32, 64), 1, "constant", 2),  # an even brick at the border: it acts on a product state
        ((64, 64), 1, "constant", 4),  # an odd one
        ((64, 16), 1, "constant", 4),
        ((64, 64), 2, "constant", 16),
        ((32, 128), 2, "constant", 8),
        ((32, 64), 1, "trainable", 2),
        ((16, 8, 3, 3), 1, "constant", 16),  # rows end within a mode
        ((8, 8, 2, 2), 1, "constant", 2),
    ],
)
def test_rank_in_flat_modes(shape: tuple[int, ...], layers: int, boundary: str, most: int) -> None:
    assert _rank(shape, layers=layers, boundary=boundary) == most


@pytest.mark.parametrize("shape", [(32, 64), (64, 64), (64, 16)])
def test_interleaved_modes_have_full_rank(shape: tuple[int, int]) -> None:
    assert _rank(shape, layers=1, layout="interleaved") == min(shape)


@pytest.mark.parametrize(
    ("rows", "columns", "layers", "rank"),
    [((3, 3, 3), (4, 4), 1, 3), ((3, 3), (4, 4, 4), 1, 9), ((2, 2, 2, 2), (5, 5, 5), 2, 16), ((6, 6), (2, 18), 1, 4)],
)
def test_rank_of_axes(rows: tuple[int, ...], columns: tuple[int, ...], layers: int, rank: int) -> None:
    options = {"layout": "axes", "row_modes": rows, "col_modes": columns}
    assert _rank((math.prod(rows), math.prod(columns)), layers=layers, **options) == rank


def test_activations_know_no_such_limit() -> None:
    net = ar.BrickWall((64, 64), layers=2)
    assert np.linalg.matrix_rank(net.generate(net.init(rng=5))) > 16
    assert net.rank_at_most == 64
    assert ar.BrickWall((64, 64), layers=1, activation_every="column").rank_at_most == 64
    assert ar.BrickWall((64, 64), layers=5_000, activation="identity").rank_at_most == 64


def test_the_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["cost", "--shape", "4096", "4096", "--layers", "1"]
    assert main(wanted) == 0
    assert "its matrix has rank 4 at most: --layout interleaved has no such limit" in capsys.readouterr().out
    assert main([*wanted, "--layout", "interleaved"]) == 0
    assert "rank" not in capsys.readouterr().out
    assert main([*wanted, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rank_at_most"] == 4


def test_the_table_of_ranks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["ranks.py", "64"])
    runpy.run_path(str(Path(__file__).parents[1] / "docs/examples/ranks.py"), run_name="__main__")
    lines = {line[:32].strip(): line[32:].split() for line in capsys.readouterr().out.splitlines()}
    assert lines["brick-wall, 1 layer, flat"][1] == "4"
    assert lines["MPO, bond 2"][1] == "64"
    assert float(lines["low rank, 1"][2]) == 1


def test_modes_that_cross_the_border_are_not_bound_by_it() -> None:
    assert _rank((3, 21), layers=1) == 3  # 2 x 2 x ... modes, so that rows do not end at a mode

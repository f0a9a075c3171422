"""Compression scaling: counts follow their formulas, linear in Q, so that ratios grow exponentially."""

import itertools
import json
from pathlib import Path

import pytest

import adntn_ref as ar
from adntn_ref.validation import scaling

ROWS = scaling.table(least=2, most=30)


def test_counts_follow_their_formulas() -> None:
    compared = [row for row in ROWS if row["formula"] is not None]
    assert len(compared) > 100
    assert all(row["parameters"] == row["formula"] for row in compared)
    assert {row["family"] for row in compared} == {row["family"] for row in ROWS}


@pytest.mark.parametrize("family", sorted({row["family"] for row in ROWS}))
def test_parameters_are_linear_and_ratios_exponential_in_q(family: str) -> None:
    by_modes = {row["modes"]: row for row in ROWS if row["family"] == family}
    counts = [by_modes[q]["parameters"] for q in range(2, 31)]
    assert counts == sorted(counts)
    steps = [b - a for a, b in itertools.pairwise(counts[14:])]
    assert max(steps) <= 5 * 4**4  # a mode more adds a bounded number, whatever Q
    assert by_modes[30]["ratio"] > 2**12 * by_modes[15]["ratio"]


@pytest.mark.parametrize("kind", [ar.TTN, ar.ATTN, ar.MERA])
def test_parameters_grow_with_the_bond_as_its_third_or_fourth_power(kind: type[ar.TTN]) -> None:
    counts = [kind((2**12, 2**12), chi).parameter_count for chi in (1, 2, 4, 8, 16)]
    assert counts == sorted(counts)
    power = 4 if kind is ar.MERA else 3
    assert counts[4] / counts[3] <= 2**power


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert scaling.main(["--out", str(tmp_path), "--most", "6"]) == 0
    assert "0 counts differ" in capsys.readouterr().out
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")
    assert scaling.main(["--json", "--most", "4"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(scaling.families())


def test_a_wrong_count_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "train_formula", lambda count, chi: 1)
    assert scaling.main(["--json", "--most", "4"]) == 1

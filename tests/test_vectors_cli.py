"""The command line of the vectors: what is checked, written, listed and shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vector_cases import ENTRIES, VECTORS

from adntn_ref.validation.vectors import build, cli, fit_case, generate, load, store


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Vectors of a few cases, in a folder; building makes these alone."""
    some = {name: ENTRIES[name] for name in ("lowrank/rank1", "cp/rank1-modes")}
    fits = fit_case.fit_cases()[1:]
    monkeypatch.setattr(build, "entries", lambda: list(some.values()))
    monkeypatch.setattr(fit_case, "fit_cases", lambda: fits)
    vectors = generate(str(tmp_path))
    assert [record.name for record in vectors.cases] == list(some)
    return tmp_path


def test_check_finds_nothing(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--folder", str(few)]) == 0
    said = capsys.readouterr().out
    assert "all equal bit for bit" in said
    assert "dense oracle" in said


WEIGHT = "cp/rank1-modes/weight"


def one_bit(arrays: dict[str, Any]) -> None:
    arrays[WEIGHT][2, 1] *= 1 + 2**-50


def single(arrays: dict[str, Any]) -> None:
    arrays[WEIGHT] = arrays[WEIGHT].astype("float32")


def every(arrays: dict[str, Any]) -> None:
    arrays.update({name: array + 1 for name, array in arrays.items()})


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], list[str]]] = {
    "one bit": (one_bit, [f"{WEIGHT}: differs by", "at (2, 1):", "differences: 1"]),
    "dtype": (single, [f"{WEIGHT}: float32 (5, 3) in the file, float64 (5, 3) now"]),
    "lacking": (lambda arrays: arrays.pop(WEIGHT), [f"{WEIGHT}: in one of the two only"]),
    "every array": (every, ["and ", " more"]),
    "the index alone": (lambda arrays: None, ["the arrays are equal, the other entries are not"]),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=list(CHANGES))
def test_check_says_what_differs(
    few: Path, capsys: pytest.CaptureFixture[str], change: Callable[[dict[str, Any]], Any], expected: list[str]
) -> None:
    vectors = load(few)
    arrays = {f"{r.name}/{name}": array for r in vectors.records for name, array in r.arrays.items()}
    change(arrays)
    for section in ("cases", "starts", "losses", "fits"):
        for facts in vectors.index[section]:
            own = {name: arrays.get(f"{facts['name']}/{name}") for name in facts["arrays"]}
            facts["arrays"] = {name: store.describe(array) for name, array in own.items() if array is not None}
    vectors.index["cases"][0]["note"] = "another note"
    store.write(few, vectors.index, arrays)
    assert cli.main(["check", "--folder", str(few)]) == 1
    said = capsys.readouterr().out
    for words in expected:
        assert words in said


def test_generate_writes_what_check_accepts(few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = [(few / name).read_bytes() for name in ("index.json", "arrays.npz")]
    assert cli.main(["generate", "--out", str(few)]) == 0
    assert "2 cases" in capsys.readouterr().out
    assert before == [(few / name).read_bytes() for name in ("index.json", "arrays.npz")]


def test_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(VECTORS.records)
    assert any(line.startswith("fit/two-stages") for line in lines)
    assert cli.main(["show", "brickwall/one-brick", "--numbers"]) == 0
    said = capsys.readouterr().out
    assert "params/layer0.brick0  float64 (2, 2)" in said
    assert str(VECTORS["brickwall/one-brick"].arrays["weight"]) in said
    assert cli.main(["show", "nothing"]) == 2
    assert "there is no vector 'nothing'" in capsys.readouterr().err
    assert cli.main(["list", "--folder", "/nowhere"]) == 2

"""Verify with programs and with files made before."""

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from verify_cases import CANDIDATES, DELTA, RANK, STACK, WALL, known

from adntn_ref.errors import CandidateError, FileFormatError
from adntn_ref.validation.case import Case, reference
from adntn_ref.validation.verify import CommandCandidate, Report, ResultsCandidate, Verdict, verify
from adntn_ref.validation.verify.files import (
    file_of,
    folder_of,
    load_case,
    read_request,
    save_case,
    write_request,
)
from adntn_ref.validation.verify.prepare import Prepared

PROGRAM = CANDIDATES / "program.py"


def ask(kind: str, *cases: Case, case_limit: float = 60.0) -> Report:
    command = shlex.join([sys.executable, str(PROGRAM), kind])
    return verify(CommandCandidate(command), cases=known(*(cases or (RANK,))), random=0, case_limit=case_limit)


def failures(report: Report) -> list[tuple[str, Verdict]]:
    return [(row.quantity, row.verdict) for row in report.failed]


def test_an_honest_program_agrees() -> None:
    report = ask("honest", WALL, STACK, DELTA)
    assert failures(report) == []
    assert report.judged == ["brickwall/small", "stack/two", "delta/low"]
    assert {row.group for row in report.rows if row.case == "brickwall/small"} == {
        "weight",
        "gradient",
        "state",
        "adjoint",
    }


BAD = {
    "refuses": [],
    "signal": [("call", Verdict.CRASHED)],
    "missing": [("gradient/left", Verdict.MISSING)],
    "changes": [("call", Verdict.CHANGED)],
    "link": [("weight", Verdict.VIEW)],
    "garbage": [("weight", Verdict.GARBAGE)],
    "fails": [("call", Verdict.RAISED)],
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_programs(kind: str) -> None:
    report = ask(kind)
    assert failures(report) == BAD[kind]
    if kind == "refuses":
        assert (report.unsupported, report.exit_code) == (["lowrank/small"], 2)
    if kind == "fails":
        assert report.failed[0].detail == "exit code 1: no gradient today"
        assert "weight" in {row.quantity for row in report.rows if row.verdict is Verdict.AGREES}


def test_a_program_that_hangs_is_cut_off() -> None:
    assert failures(ask("hangs", case_limit=2.0)) == [("call", Verdict.TIMED_OUT)]


@pytest.mark.parametrize("command", ["", "no-such-program-anywhere", "'unclosed", "./missing --flag"])
def test_a_command_that_is_not_there(command: str) -> None:
    with pytest.raises(CandidateError):
        CommandCandidate(command)


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x00\x01")
    program.chmod(0o755)
    report = verify(CommandCandidate(str(program)), cases=known(RANK), random=0)
    assert failures(report) == [("call", Verdict.CRASHED)]


def write_results(root: Path, *cases: Case) -> None:
    for case in cases:
        for quantity, array in reference(case).items():
            file = folder_of(root, case.name) / file_of(quantity)
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, array)


def judge_files(root: Path, *cases: Case) -> Report:
    return verify(ResultsCandidate(root), cases=known(*cases))


def test_results_made_before(tmp_path: Path) -> None:
    write_results(tmp_path, WALL, STACK)
    report = judge_files(tmp_path, WALL, RANK, STACK)
    assert (report.exit_code, report.failed, report.unsupported) == (0, [], ["lowrank/small"])
    assert report.random is None
    assert {row.group for row in report.rows if row.case == WALL.name} == {"weight", "gradient", "state", "adjoint"}


@pytest.mark.parametrize(
    ("file", "content", "verdict"),
    [
        ("weight.npy", b"", Verdict.GARBAGE),
        ("weight.npy", b"\x93NUMPY\x01\x00\xff\xff{'descr'", Verdict.GARBAGE),
        ("gradient/left.npy", None, Verdict.MISSING),
        ("gradient/middle.npy", np.ones(3), Verdict.EXTRA),
        ("weight.npy", np.ones((2, 3)), Verdict.WRONG_SHAPE),
        ("weight.npy", np.full((3, 2), np.nan), Verdict.NOT_FINITE),
        ("weight.npy", np.ones((3, 2), np.float32), Verdict.WRONG_DTYPE),
        ("weight.npy", np.full((3, 2), "text"), Verdict.WRONG_DTYPE),
    ],
)
def test_bad_results(tmp_path: Path, file: str, content: object, verdict: Verdict) -> None:
    write_results(tmp_path, RANK)
    path = folder_of(tmp_path, RANK.name) / file
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is None:
        path.unlink()
    else:
        np.save(path, content)
    report = judge_files(tmp_path, RANK)
    assert failures(report) == [(file.removesuffix(".npy"), verdict)]


def test_objects_in_an_npy_file_are_not_unpickled(tmp_path: Path) -> None:
    write_results(tmp_path, RANK)
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    path = folder_of(tmp_path, RANK.name) / "weight.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"cos\nsystem\n")
    assert failures(judge_files(tmp_path, RANK)) == [("weight", Verdict.GARBAGE)]


@pytest.mark.parametrize("kind", ["missing", "empty", "other files"])
def test_a_folder_without_results(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "results"
    if kind != "missing":
        folder.mkdir()
    if kind == "other files":
        (folder / "notes.txt").touch()
        (folder / "weight.txt").touch()
    with pytest.raises(CandidateError, match="results"):
        ResultsCandidate(folder)


def prepared(case: Case) -> Prepared:
    return Prepared(case, case.dtype, reference(case))


@pytest.mark.parametrize("case", [WALL, STACK, DELTA], ids=lambda case: case.name)
def test_a_request_holds_the_case(tmp_path: Path, case: Case) -> None:
    path = write_request(tmp_path / "a", prepared(case).request)
    assert same(read_request(path), case)
    facts = json.loads(path.read_text(encoding="utf8"))
    assert facts["protocol"] == 1
    assert set(facts["gradient"]) == {name for name in case.params if not name.startswith("frozen/")}
    files = [facts["weight"]] if isinstance(facts["weight"], str) else facts["weight"].values()
    for file in (*files, *facts["gradient"].values()):
        assert (path.parent / file).parent.is_dir()
        assert "\\" not in file


@pytest.mark.parametrize("case", [WALL, STACK, DELTA], ids=lambda case: case.name)
def test_a_case_is_kept_in_files(tmp_path: Path, case: Case) -> None:
    path = save_case(tmp_path / "new" / "folder", case)
    assert same(load_case(path), case)
    assert {file.suffix for file in path.parent.iterdir()} == {".json", ".npz"}


def same(a: Case, b: Case) -> bool:
    def arrays(case: Case) -> dict[str, object]:
        given = case.cotangent if isinstance(case.cotangent, dict) else {"": case.cotangent}
        return {**case.params, **{f"cotangent {name}": g for name, g in given.items()}}

    x, y = arrays(a), arrays(b)
    assert list(x) == list(y)
    for name in x:
        np.testing.assert_array_equal(x[name], y[name], strict=True)
    return (a.name, a.spec) == (b.name, b.spec)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"adntn_ref_case": 2}', '{"adntn_ref_case": 1, "arrays": "none.npz"}', "{" * 5000],
)
def test_a_file_that_holds_no_case(tmp_path: Path, text: str) -> None:
    for name in ("case.json", "request.json"):
        (tmp_path / name).write_text(text, encoding="utf8")
        with pytest.raises(FileFormatError):
            load_case(tmp_path / name)
    with pytest.raises(FileFormatError):
        load_case(tmp_path / "missing.json")


def test_results_for_other_inputs_are_told(tmp_path: Path) -> None:
    write_results(tmp_path, RANK)
    other = Case(RANK.name, RANK.spec, {name: 2 * x for name, x in RANK.params.items()}, RANK.cotangent)
    write_request(folder_of(tmp_path, RANK.name), prepared(other).request)
    assert ("call", Verdict.CHANGED) in failures(judge_files(tmp_path, RANK))


def test_names_become_files() -> None:
    assert file_of("gradient/../../etc") == "gradient/..%2F..%2Fetc.npy"
    assert folder_of(Path("root"), "a/b:c") == Path("root/a/b%3Ac")

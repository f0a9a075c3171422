"""Verify survives its candidates: crashes, hangs, noise, and what cannot be imported."""

import sys
from pathlib import Path

import pytest
from verify_cases import CANDIDATES, RANK, STACK, WALL, known

from adntn_ref.errors import CandidateError
from adntn_ref.validation.verify import ModuleCandidate, Report, Verdict, process, verify

LIMIT = 60.0
"""Seconds a case: far more than any takes, on however busy a machine, but for those that hang."""


def ask(name: str, *, case_limit: float = LIMIT, time_limit: float = 300.0) -> Report:
    cases = known(WALL, RANK, STACK)
    module = str(CANDIDATES / f"{name}.py")
    return verify(module, cases=cases, random=0, case_limit=case_limit, time_limit=time_limit)


def failures(report: Report) -> list[tuple[str, str, Verdict]]:
    return [(row.case, row.quantity, row.verdict) for row in report.failed]


@pytest.mark.parametrize("name", ["honest", "noisy"])
def test_right_ones_agree_whatever_they_print(name: str) -> None:
    report = ask(name)
    assert failures(report) == []
    assert report.judged == ["brickwall/small", "lowrank/small", "stack/two"]
    assert ("state" in {row.group for row in report.rows}) == (name == "honest")


def test_raised_names_the_line() -> None:
    report = ask("raises")
    assert [verdict for *_, verdict in failures(report)] == 3 * [Verdict.RAISED]
    assert "IndexError: core 7 of 3 [" in report.failed[0].detail
    assert "raises.py:9 in vjp: raise IndexError" in report.failed[0].detail


def test_an_exit_ends_one_case_and_the_next_is_asked() -> None:
    report = ask("exits")
    assert failures(report) == [("lowrank/small", "vjp", Verdict.CRASHED)]
    assert report.failed[0].detail == "exit code 7; it printed last: about to end"
    agreeing = {(row.case, row.group) for row in report.rows if row.verdict is Verdict.AGREES}
    assert {("lowrank/small", "weight"), ("stack/two", "weight"), ("stack/two", "gradient")} <= agreeing


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_segmentation_fault_is_named() -> None:
    report = ask("segfaults")
    assert [verdict for *_, verdict in failures(report)] == 3 * [Verdict.CRASHED]
    assert "SIGSEGV" in report.failed[0].detail


def test_a_hang_is_cut_off() -> None:
    report = ask("hangs", case_limit=3.0)
    assert ("lowrank/small", "generate", Verdict.TIMED_OUT) in failures(report)
    last = [row for row in report.rows if row.case == "stack/two"]
    assert {row.verdict for row in last} == {Verdict.AGREES}


def test_the_time_limit_of_all_is_not_the_candidates_fault() -> None:
    report = verify(str(CANDIDATES / "hangs.py"), cases=known(RANK, WALL), random=0, time_limit=6.0, case_limit=600.0)
    assert report.not_run == ["lowrank/small", "brickwall/small"]
    assert report.failed == []
    assert report.exit_code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="finds the pipes as POSIX does")
def test_writing_on_the_answers_is_garbage() -> None:
    report = ask("rude")
    assert {verdict for *_, verdict in failures(report)} == {Verdict.GARBAGE}
    assert {case for case, *_ in failures(report)} == {"brickwall/small", "lowrank/small", "stack/two"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("import_fails", r"failed: ValueError: no such device \[.*import_fails.py:3\]"),
        ("import_ends", "ended the process: exit code 5"),
        ("half", "half.py has no function vjp"),
    ],
)
def test_what_cannot_be_started(name: str, words: str) -> None:
    with pytest.raises(CandidateError, match=words):
        ask(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_package.module", "there is no module no_such_package.module"),
        ("adntn_ref.no_such_module", "there is no module adntn_ref.no_such_module"),
        ("no/such/file.py", "there is no file no/such/file.py"),
        ("json", "json has no function generate and no function vjp"),
    ],
)
def test_what_is_not_there(name: str, words: str) -> None:
    with pytest.raises(CandidateError, match=words):
        verify(name, cases=known(WALL), random=0)


def test_a_missing_import_of_the_candidates_own_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("import no_such_library\n", encoding="utf8")
    with pytest.raises(CandidateError, match=r"importing .*needy.py failed: No module named 'no_such_library'"):
        verify(str(tmp_path / "needy.py"), cases=known(WALL), random=0)


def test_a_slow_import_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(1000)\n", encoding="utf8")
    with pytest.raises(CandidateError, match="took more than 1 s"):
        ModuleCandidate(str(tmp_path / "slow.py")).start(1.0)


def test_a_ctrl_c_while_it_is_imported_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(1000)\n", encoding="utf8")

    def interrupted(self: process._Worker, limit: float) -> process.Message:
        begun.append(self._process)
        raise KeyboardInterrupt

    monkeypatch.setattr(process._Worker, "receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ModuleCandidate(str(tmp_path / "slow.py")).start()
    assert begun[0].poll() is not None


def test_modules_are_found_where_the_caller_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "my_pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "my_module.py").write_text("from honest import generate, vjp\n", encoding="utf8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(CANDIDATES))
    assert verify("my_pkg.my_module", cases=known(WALL), random=0).exit_code == 0

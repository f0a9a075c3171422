"""The command line of verify: exit codes, files, and one line for what cannot be used."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from verify_cases import CANDIDATES, RANK, STACK, WALL, known

import adntn_ref.validation.verify.report as report_module
import adntn_ref.validation.verify.run as run
from adntn_ref.errors import MissingExtra
from adntn_ref.validation.verify import cli
from adntn_ref.validation.verify.junit import to_junit
from adntn_ref.validation.verify.report import show
from adntn_ref.validation.verify.run import Report
from adntn_ref.validation.verify.verdicts import Row, Verdict

HONEST = str(CANDIDATES / "honest.py")


@pytest.fixture(autouse=True)
def few_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = known(WALL, RANK, STACK)
    monkeypatch.setattr(run, "shipped_cases", lambda: cases)
    monkeypatch.setattr(cli, "shipped_cases", lambda: cases)


def command(*arguments: str) -> int:
    return cli.main([*arguments, "--time-limit", "600", "--case-limit", "100"])


def test_agrees(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "r.json"), "--junit", str(tmp_path / "r.xml")]
    assert command("--against", HONEST, "--cases", "5", *files) == 0
    out = capsys.readouterr().out
    assert "honest.py agrees: 3 shipped and 5 random cases in float64" in out
    assert "differs" not in out
    facts = json.loads((tmp_path / "r.json").read_text(encoding="utf8"))
    assert (facts["format"], facts["exit_code"], facts["seed"], facts["random"]["judged"]) == (1, 0, 0, 5)
    assert set(facts["environment"]) == {"adntn_ref", "numpy", "python", "platform"}
    assert facts["summary"]["verdicts"] == {"agrees": len(facts["rows"])}
    root = ET.fromstring((tmp_path / "r.xml").read_bytes())
    assert (root.tag, root.get("failures"), root.get("errors")) == ("testsuites", "0", "0")
    assert [suite.get("name") for suite in root] == ["brickwall", "lowrank", "stack", "random"]


def test_disagrees(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["--against", str(CANDIDATES / "wrong.py"), "--out", str(tmp_path / "out"), "--cases", "30"]
    assert command(*arguments) == 1
    out = capsys.readouterr().out
    assert "DISAGREES: 1 of " in out
    assert "'layers': 3" in out
    (written,) = (tmp_path / "out").glob("*.json")
    assert f"--case {written}" in out
    assert command("--against", str(CANDIDATES / "wrong.py"), "--case", str(written)) == 1
    assert command("--against", HONEST, "--case", str(written), "--quiet") == 0


def test_supports_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--against", str(CANDIDATES / "refuses.py")) == 2
    out = capsys.readouterr().out
    assert "could not be verified: it supports none of the cases" in out
    assert "not supported, wholly or in part: 3 cases: brickwall/small, lowrank/small, stack/two" in out


def test_list_and_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--list", "--only", "*/small"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["brickwall/small", "lowrank/small"]
    assert command("--against", HONEST, "--only", "low*") == 0
    assert "1 shipped and 0 random cases" in capsys.readouterr().out


def test_requests_for_another_machine(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = tmp_path / "cases"
    assert cli.main(["--write-requests", str(root), "--cases", "3", "--seed", "5"]) == 0
    assert "6 requests" in capsys.readouterr().out
    requests = sorted(root.rglob("request.json"))
    for path in requests:
        subprocess.run([sys.executable, str(CANDIDATES / "program.py"), "honest", str(path)], check=True)
    assert cli.main(["--results", str(root)]) == 0
    assert "agrees: 3 shipped and" in capsys.readouterr().out
    weights = [path for path in root.rglob("weight.npy") if "random" in path.parts]
    np.save(weights[0], np.load(weights[0]) + 1)  # the random cases are judged too
    assert cli.main(["--results", str(root)]) == 1


MISTAKES: list[tuple[list[str], str]] = [
    (["--against", "no.such.module"], "there is no module no.such.module"),
    (["--against", "json"], "json has no function generate"),
    (["--command", "no-such-program"], "there is no program 'no-such-program'"),
    (["--results", "no/such/folder"], "there is no folder no/such/folder"),
    (["--results", "."], "holds no results"),
    (["--against", HONEST, "--only", "nothing*"], "no case is called 'nothing*'"),
    (["--against", HONEST, "--case", "none.json"], "none.json is no case that can be read"),
    (["--against", HONEST, "--json", "no/folder/r.json"], "there is no folder no/folder"),
    (["--list", "--only", "x"], "no case is called 'x'"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES)
def test_what_cannot_be_used_is_one_line(
    arguments: Sequence[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert told.err.startswith("adntn_ref.validation: ")
    assert words in told.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--against", "a", "--command", "b"],
        ["--against", "a", "--cases", "-1"],
        ["--against", "a", "--cases", "many"],
        ["--against", "a", "--seed", "1.5"],
        ["--against", "a", "--time-limit", "0"],
        ["--against", "a", "--time-limit", "nan"],
        ["--against", "a", "--case-limit", "inf"],
        ["--against", "a", "--dtype", "float8"],
    ],
)
def test_bad_options(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(arguments)
    assert done.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_folder_of_requests_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").touch()
    assert cli.main(["--write-requests", str(tmp_path)]) == 2
    assert "is not an empty folder" in capsys.readouterr().err


def a_report() -> Report:
    rows = [
        Row("a/one", "weight", Verdict.AGREES, 0.0, float("inf"), (0,)),
        Row("a/one", "vjp", Verdict.RAISED, detail="ValueError: \x00\x1b[31m<bad> & \ud800"),
        Row("b/two", "weight", Verdict.DIFFERS, 1e-3, 1e-9, (0, 1), "got 1"),
        Row("b/two", "gradient/x", Verdict.DIFFERS, 2e-3, 0.0, (0,), "got 2"),
        Row("b/two", "gradient/y", Verdict.DIFFERS, 1e-3, 1e-9, (0,), "got 3"),
        Row("c/three", "generate", Verdict.NOT_SUPPORTED, detail="later"),
        Row("d/four", "call", Verdict.NOT_RUN),
    ]
    return Report("mine \x07", "float32", 3, rows)


def test_junit_holds_every_row_and_can_be_read() -> None:
    root = ET.fromstring(to_junit(a_report()))
    assert set(root.attrib) == {"name", "time", "tests", "failures", "errors"}
    assert [root.get(name) for name in ("tests", "failures", "errors")] == ["7", "3", "1"]
    for suite in root:
        assert suite.tag == "testsuite"
        assert [child.tag for child in suite][:1] == ["properties"]
        cases = suite.findall("testcase")
        assert str(len(cases)) == suite.get("tests")
        for kind, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert str(len(suite.findall(f"testcase/{kind}"))) == suite.get(name)
        assert all({"classname", "name", "time"} == set(case.attrib) for case in cases)
    error = root.find("testsuite/testcase/error")
    assert error is not None
    assert error.get("message") == "raised: ValueError: \ufffd\ufffd[31m<bad> & \ufffd"


def test_json_has_no_infinite_number() -> None:
    facts = json.loads(json.dumps(a_report().to_json(), allow_nan=False))
    assert facts["rows"][0]["allowed"] == "inf"
    assert facts["exit_code"] == 1
    assert facts["not_run"] == ["d/four"]
    assert facts["unsupported"] == ["c/three"]


class Screen:
    """A stream that is a terminal."""

    encoding = "utf8"

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("installed", [True, False])
def test_the_table_shows_the_worst_of_a_case(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not installed:

        def missing(name: str, extra: str) -> Any:
            raise MissingExtra(name)

        monkeypatch.setattr(report_module, "need", missing)
    monkeypatch.setenv("COLUMNS", "120")
    screen: Any = Screen()
    report = a_report()
    report.rows[1] = Row("a/one", "vjp", Verdict.RAISED, detail="ValueError")
    show(report, screen)
    assert "gradient/x" in screen.text
    assert "gradient/y" not in screen.text
    assert "got 2 (and 1 more of this case)" in screen.text
    assert ("\u2502" in screen.text) == installed  # a line that rich draws
    show(report, screen, every=True)
    assert "gradient/y" in screen.text


def test_it_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HYPOTHESIS_STORAGE_DIRECTORY"}
    command = [sys.executable, "-m", "adntn_ref.validation", "--against", HONEST, "--cases", "3"]
    subprocess.run([*command, "--time-limit", "600"], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert list(tmp_path.iterdir()) == []


def test_it_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "adntn_ref.validation", "--against", "no.such.module"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "adntn_ref.validation: there is no module no.such.module\n"

"""The pytest plugin: every case a test, in a pytest of its own with the project's settings left aside."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from verify_cases import CANDIDATES

ROOT = Path(__file__).parents[1]
ONLY = ["--adntn-only", "tt/*"]


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run pytest in an empty folder; the plugin may be installed by its entry point too, or not yet."""
    command = [sys.executable, "-m", "pytest", "-p", "no:adntn_ref", "-p", "adntn_ref.validation.pytest_plugin"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf8")
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", *arguments], cwd=folder, capture_output=True, text=True, env=environment
    )
    return done.returncode, done.stdout + done.stderr


def against(name: str) -> list[str]:
    return ["--adntn-against", str(CANDIDATES / f"{name}.py"), "--adntn-case-limit", "100"]


def test_an_honest_candidate_passes(tmp_path: Path) -> None:
    code, out = run(tmp_path, *against("honest"), *ONLY, "-v")
    assert code == 0, out
    assert "failed" not in out
    assert "passed" in out


def test_names_can_be_chosen_and_run_beside_other_tests(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("def test_mine():\n    assert True\n", encoding="utf8")
    code, out = run(tmp_path, *against("honest"), *ONLY, "--collect-only", "-v")
    assert code == 0, out
    assert "test_mine" in out
    names = sorted(set(re.findall(r"adntn::([^\s>]+)", out)))  # however the list is shown
    assert {name.partition("/")[0] for name in names} == {"tt"}
    assert {name.rpartition("::")[2] for name in names} == {"weight", "gradient"}
    code, out = run(tmp_path, *against("honest"), *ONLY, "-k", "test_mine or (weight and not gradient)")
    assert code == 0, out
    assert f"{1 + len(names) // 2} passed, {len(names) // 2} deselected" in out


def test_a_disagreement_is_shown_in_words(tmp_path: Path) -> None:
    code, out = run(tmp_path, *against("raises"), *ONLY)
    assert code == 1
    assert "vjp: raised: IndexError: core 7 of 3" in out
    assert "runtest" not in out  # no traceback of ours


def test_what_is_not_supported_is_skipped(tmp_path: Path) -> None:
    code, out = run(tmp_path, *against("refuses"), *ONLY, "-rs")
    assert code == 0
    assert "passed" not in out
    assert "not supported: later" in out


def test_random_cases_are_a_test(tmp_path: Path) -> None:
    code, out = run(tmp_path, *against("wrong"), "--adntn-cases", "20", "-k", "random")
    assert code == 1
    assert "adntn::random" in out
    assert "'layers': 3" in out
    assert "weight: differs" in out
    code, out = run(tmp_path, *against("honest"), "--adntn-cases", "5", "-k", "random")
    assert (code, "1 passed" in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--adntn-against", "no.such.module"], "there is no module no.such.module"),
        ([*against("honest"), "--adntn-only", "none/*"], "no case is called 'none/\\*'"),
        ([*against("honest"), "--adntn-dtype", "float8"], "--adntn-dtype must be one of float64"),
        ([*against("honest"), "--adntn-cases", "many"], "invalid int value"),
    ],
)
def test_what_cannot_be_used_is_a_usage_error(tmp_path: Path, arguments: list[str], words: str) -> None:
    code, out = run(tmp_path, *arguments)
    assert code == pytest.ExitCode.USAGE_ERROR
    assert words.replace("\\", "") in out


def test_without_the_option_nothing_happens(tmp_path: Path) -> None:
    code, out = run(tmp_path)
    assert code == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "adntn" not in out


def test_loading_imports_nothing_heavy() -> None:
    names = (
        "hypothesis",
        "scipy",
        "rich",
        "adntn_ref.validation.verify",
        "adntn_ref.validation.vectors",
        "torch",
        "jax",
    )
    code = f"import sys, adntn_ref.validation.pytest_plugin; print([m for m in {names!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_entry_point_names_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    name = project["entry-points"]["pytest11"]["adntn_ref"]
    plugin = importlib.metadata.EntryPoint("adntn_ref", name, "pytest11").load()
    assert callable(plugin.pytest_addoption)

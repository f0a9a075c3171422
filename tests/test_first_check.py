"""The page "Check your implementation", walked from end to end: a wrong program, its diagnosis, and the mended one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "first-check.md").read_text(encoding="utf8")


def verify(path: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "adntn_ref.validation", "--against", path.name, "--cases", "40", *more]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=path.parent, env=environment, capture_output=True, text=True, timeout=500)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("newcomer")


def test_the_wrong_program_is_told_what_is_wrong(folder: Path) -> None:
    path = folder / "my_brickwall.py"
    path.write_text((DOCS / "examples" / "my_brickwall.py").read_text(encoding="utf8"), encoding="utf8")
    found = verify(path)
    assert found.returncode == 1, found.stderr
    (said,) = re.findall(r"```text\n(diagnosis: .*)\n```", PAGE)
    assert said in found.stdout
    anchor = re.search(r"known-mistakes\.md#([\w-]+)", found.stdout)
    assert anchor is not None
    catalogue = (DOCS / "known-mistakes.md").read_text(encoding="utf8")
    assert anchor[1] in catalogue


def test_the_mended_program_agrees(folder: Path) -> None:
    wrong = (DOCS / "examples" / "my_brickwall.py").read_text(encoding="utf8")
    (mended,) = re.findall(r"```python\n( +if layer.*?)```", PAGE, re.DOTALL)
    lines = [line[4:] for line in mended.splitlines()[1:]]
    assert "\n".join(lines) in wrong
    path = folder / "mended.py"
    path.write_text(wrong.replace("\n".join(lines), mended.rstrip("\n")), encoding="utf8")
    found = verify(path)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "brickwall" in found.stdout

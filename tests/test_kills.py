"""A kill or two of those of ``python tests/slow/kills.py``, which makes two hundred of each command."""

from pathlib import Path

import pytest
from slow.kills import Limits, Tally, compare, kill_command, shown, start
from slow.victims import VICTIMS, contents, half_written, prepare

from adntn_ref.compression.tensorfile import write_tensors

BY_NAME = {victim.name: victim for victim in VICTIMS}


@pytest.mark.parametrize("name", ["compress", "fit"])
def test_killed_again_and_again(name: str, tmp_path: Path) -> None:
    prepare(tmp_path)
    tally = kill_command(BY_NAME[name], tmp_path, Limits(1, 900), seed=1)
    assert tally.faults == []
    assert tally.kills == 1
    assert f"{name:<10}".strip() in shown([tally])


def test_faults_are_found(tmp_path: Path) -> None:
    """Bytes that differ, files that should not be there, and files that are not whole."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder in (good, bad):
        folder.mkdir()
        write_tensors(folder / "small.safetensors", {}, {"in": folder.name})
    (bad / ".small.safetensors.0123.part").touch()
    (bad / "a.json").write_text("{")
    (bad / "b.npz").write_bytes(b"PK")
    (bad / "c.safetensors").write_bytes(b"")
    (bad / "d.jsonl").write_text('{"a": 1}\n{"torn')
    tally = Tally("compress")
    compare(BY_NAME["compress"], contents(BY_NAME["compress"], good), bad, tally)
    assert len(tally.different) == 1
    assert len(tally.left) == 5
    assert half_written(bad) == ["a.json", "b.npz", "c.safetensors"]
    assert len(tally.faults) == 6


def test_what_is_killed_is_the_command(tmp_path: Path) -> None:
    process = start(["python3", "-c", "import sys; sys.exit(3)"])
    process.communicate()
    assert process.returncode == 3

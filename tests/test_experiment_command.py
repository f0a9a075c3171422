"""The command ``experiment``: run, list, show, compare, interrupted."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adntn_ref.cli import main
from adntn_ref.cli.experiment import setting
from adntn_ref.experiments.record import append_line, read_record


def call(*arguments: str) -> int:
    return main(["experiment", *arguments])


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "r")
    more = ["--quick", "--seeds", "1", "--set", "stage2.epochs=1", "--set", "dense.epochs=1", "--set", "stage1.steps=3"]
    assert call("run", "digits-fc2-ttn", "--out", out, *more) == 0
    shown = capsys.readouterr().out
    assert "seed1/dense: 5 steps to go" in shown
    assert "test accuracy, %" in shown
    assert call("run", "digits-fc2-ttn", "--out", out, *more, "--json") == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert captured.err == ""
    assert (result["seeds"], result["out"]) == ([1], out)
    assert result["timing"]["rows"]["ttn"]["seconds"] > 0
    assert call("show", out) == 0
    assert "ttn 4" in capsys.readouterr().out
    assert call("show", out, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["result"], facts["mixed_versions"]) == (read_record(out).result, {})
    append_line(tmp_path / "r/starts.jsonl", {"versions": {"numpy": "1.0"}})
    assert call("show", out) == 0
    assert f"several versions of numpy took part: 1.0, {np.__version__}" in capsys.readouterr().out
    assert call("compare", out, out, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 8
    assert call("compare", out, out) == 0
    assert "against frozen" in capsys.readouterr().out
    (tmp_path / "r/result.json").unlink()
    assert call("show", out) == 0
    assert "under way; done: seed1/dense, seed1/dense_stage2" in capsys.readouterr().out
    assert call("compare", out) == 2
    assert "is not finished; run it again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("entry", "meant"),
    [
        ("stage1.objective=logits", {"stage1": {"objective": "logits"}}),  # as shells leave it
        ("model.name = lenet5_mpo ", {"model": {"name": "lenet5_mpo"}}),
        ('stage1.objective="logits"', {"stage1": {"objective": "logits"}}),
        ("stage2.epochs=3", {"stage2": {"epochs": 3}}),
        ("model.options.lrn=true", {"model": {"options": {"lrn": True}}}),
    ],
)
def test_settings(entry: str, meant: dict[str, Any]) -> None:
    assert setting(entry) == meant


def test_list_and_show(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert call("list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["experiments"]
    assert "p1-fc2-mnist" in [row["name"] for row in listed]
    assert call("list") == 0
    shown = capsys.readouterr().out
    assert [row["name"] for row in listed if f" {row['name']} " not in shown] == []
    assert call("show", "p1-fc2-mnist", "--json") == 0
    assert json.loads(capsys.readouterr().out)["parameters"]["brickwall"] == 268
    (tmp_path / "x.toml").write_text('title = "mine"\n[model]\nname="fc2"\n[data]\nname="digits"\n[compress]\n'
                                     'layers=["fc1.weight"]\n[network]\nname="mpo"\nchi=2\nrow="m"\n')  # fmt: skip
    assert call("show", str(tmp_path / "x.toml")) == 0
    assert 'title = "mine"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nope", "--out", "x"], "no file and no shipped experiment is called 'nope'"),
        (["run", "p1-fc2-mnist", "--out", "x"], "say where it is with data.folder, or --data FOLDER"),
        (["run", "digits-fc2-ttn", "--out", "x", "--set", "stage2.epoch=1"], "stage2 has no epoch"),
        (["run", "digits-fc2-ttn", "--out", "x", "--set", "epochs"], "--set takes KEY=VALUE as in TOML, got 'epochs'"),
        (["run", "digits-fc2-ttn", "--out", "x", "--seeds=-1"], "seeds must be a list of integers >= 0"),
        (["run", "digits", "--out", "x"], "did you mean digits-fc2-attn, digits-fc2-brickwall, digits-fc2-mera?"),
        (["show", "nope"], "no file and no shipped experiment is called 'nope'"),
        (["compare", "nope"], "nope holds no experiment"),
    ],
)
def test_refused(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "terminated\n")]
)
def test_interrupted(number: int, code: int, word: str, tmp_path: Path) -> None:
    """Ctrl-C ends with 130, SIGTERM with 143, and the same command goes on."""
    command = [sys.executable, "-m", "adntn_ref", "experiment", "run", "digits-fc2-mera", "--out", str(tmp_path / "r")]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is inherited as ignored
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(number)
    said, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (code, word)
    assert "the same command goes on" in said
    assert (tmp_path / "r/config.json").is_file()

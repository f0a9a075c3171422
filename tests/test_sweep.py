"""Sweeps: what is run, recorded and shown; on any executor the same results."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sweep_cases import TASKS

from adntn_ref.cli import main
from adntn_ref.errors import SweepError
from adntn_ref.experiments.config import config_of
from adntn_ref.experiments.engine import run_sweep
from adntn_ref.experiments.locking import locked
from adntn_ref.experiments.record import read_json
from adntn_ref.experiments.run import run_experiment
from adntn_ref.experiments.sweep import Sweep

pytest_plugins = ["sweep_fixtures"]


def test_points(sweep: Sweep, reference: dict[str, Any], home: Path) -> None:
    summary = read_json(home / "reference/summary.json")
    assert summary["failed"] == {}
    rows = ["dense", "brickwall-1", "brickwall-2", "mpo-p100", "frozen_random"]
    assert [point["row"] for point in summary["points"]] == rows * 2
    for point in summary["points"]:
        assert point["seeds"] == 2
        assert point["interval"][0] < point["accuracy"] < point["interval"][1]
        assert point["seconds"] > 0 or point["row"] == "frozen_random"  # of FC-2 nothing else is left
    assert summary["points"][3]["parameters"] <= 100
    assert summary["points"][8]["weights"] == 64 * 256 + 2560


def test_a_task_is_an_experiments_row(sweep: Sweep, reference: dict[str, Any], home: Path, tmp_path: Path) -> None:
    """The same settings, by ``experiment run``, give the same accuracies."""
    config = config_of({**sweep.base.to_dict(), "seeds": [0, 3], "compress": {"layers": ["fc1.weight"]}, "rivals": []})
    result = run_experiment(config, tmp_path / "experiment")
    points = read_json(home / "reference/summary.json")["points"]
    for row, point in ((0, 0), (1, 1), (2, 4)):
        assert result["rows"][row]["accuracies"] == points[point]["accuracies"]
        assert result["rows"][row]["stage1_accuracy"] == points[point].get("stage1_accuracy")


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_run_that_diverges_is_recorded(
    sweep: Sweep, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its error stands in the record, it is not run again, and the command's exit code tells."""
    wild = sweep.with_seeds([0]).with_base({"stage1": {"rate": 1e30}})
    with ThreadPoolExecutor(1) as threads:
        summary = run_sweep(wild, tmp_path / "p", threads)
        again: list[str] = []
        run_sweep(wild, tmp_path / "p", threads, tell=again.append)
    assert again == []
    assert all("DivergedError" in error for error in summary["failed"].values())
    assert summary["points"][1]["accuracy"] is None
    assert summary["points"][0]["accuracy"] is not None
    arguments = ["sweep", str(home / "sweep.toml"), "--out", str(tmp_path / "p"), "--seeds", "0"]
    assert main([*arguments, "--set", "stage1.rate=1e30"]) == 1
    assert "failed: " in capsys.readouterr().out
    with ThreadPoolExecutor(1) as threads, pytest.raises(SweepError, match="seed 0: dense: DivergedError"):
        run_sweep(sweep.with_base({"dense": {"rate": 1e30}}), tmp_path / "q", threads)


def test_command_line(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "c")
    arguments = ["sweep", str(home / "sweep.toml"), "--out", out, "--quick", "--workers", "1"]
    more = ["--set", "dense.epochs=1", "--set", "stage2.epochs=1", "--set", "stage1.steps=2"]
    assert main([*arguments, *more]) == 0
    shown = capsys.readouterr().out
    assert f"10 of {TASKS // 2}: seed 0" in shown
    assert "brickwall 2" in shown
    assert main([*arguments, *more, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["points"]) == 10
    for wrong, message in (
        (["--workers", "0"], "--workers must be at least 1"),
        (["--scheduler", "tcp://a:1"], "leave one out"),
        (["--set", "x"], "--set takes KEY=VALUE"),
    ):
        assert main([*arguments, *wrong]) == 2
        assert message in capsys.readouterr().err


def test_the_dense_row_of_frozen_models(sweep: Sweep, tmp_path: Path) -> None:
    """Where stage 2 freezes parameters, the dense row trains the compressed ones: one row a set of layers."""
    small = sweep.with_seeds([0]).with_base({"stage2": {"frozen": ["fc1.weight"]}})
    kinds = [task.kind for task in small.tasks()]
    assert (kinds.count("dense_stage2"), kinds.count("dense")) == (2, 1)
    with ThreadPoolExecutor(1) as threads:
        points = run_sweep(small, tmp_path / "p", threads)["points"]
    config = config_of({**small.base.to_dict(), "compress": {"layers": ["fc1.weight", "fc2.weight"]}, "rivals": []})
    assert points[5]["accuracies"] == run_experiment(config, tmp_path / "e")["rows"][0]["accuracies"]


def test_a_folder_in_use(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(tmp_path / "c"):
        assert main(["sweep", str(home / "sweep.toml"), "--out", str(tmp_path / "c"), "--workers", "1"]) == 2
    assert f"{tmp_path}/c is in use by another process" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["lock"]

"""An experiment that was killed, at any moment and at any write, goes on to the same bits."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from experiment_cases import FACTS, config, content

import adntn_ref as ar
from adntn_ref.experiments import run
from adntn_ref.experiments.config import config_of
from adntn_ref.experiments.record import append_line
from adntn_ref.experiments.run import run_experiment

pytest_plugins = ["experiment_fixtures"]


SCRIPT = """
import json, sys
from adntn_ref.experiments.config import config_of
from adntn_ref.experiments.run import run_experiment
run_experiment(config_of(json.loads(sys.argv[1])), sys.argv[2], tell=lambda line: print(line, flush=True))
"""


def start(facts: dict[str, Any], folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, json.dumps(facts), str(folder)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_killed_at_any_moment(finished: Path, tmp_path: Path) -> None:
    """SIGKILL after random spans, again and again, until a start gets through: the same bits, model files included."""
    facts, folder = config().to_dict(), tmp_path / "killed"
    rng, kills = random.Random(5), 0
    while True:
        process = start(facts, folder)
        assert process.stdout is not None
        process.stdout.readline()  # the imports are behind it
        try:
            process.wait(rng.uniform(0.02, 0.5) if kills < 8 else 100)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        finally:
            process.wait()
            process.stdout.close()
    assert process.returncode == 0
    assert kills >= 3
    assert content(folder) == content(finished)
    assert len((folder / "starts.jsonl").read_text().splitlines()) == kills + 1


@pytest.mark.parametrize("moment", ["checkpoint", "model", "stage1", "timing", "json", "test", "result"])
def test_stopped_at_every_kind_of_write(
    moment: str, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An end before or after each kind of file is written, the write itself being one move."""
    small = config(seeds=[0], stage2={"cores_rates": [0.01], "order": "together"})
    run_experiment(small, tmp_path / "whole")

    class Killed(BaseException):
        pass

    places = {
        "checkpoint": ("adntn_ref.compression.training.save_checkpoint", 9),
        "model": ("adntn_ref.experiments.run.save_model", 4),
        "stage1": ("adntn_ref.experiments.run.after_stage1", 1),
        "timing": ("adntn_ref.experiments.record.write_json", 7),
        "json": ("adntn_ref.experiments.record.write_json", 10),
        "test": ("adntn_ref.experiments.run.right_answers", 3),
        "result": ("adntn_ref.experiments.run.summarise_timing", 1),
    }
    name, at = places[moment]
    module, _, attribute = name.rpartition(".")
    real, calls = getattr(sys.modules[module], attribute), [0]

    def dying(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == at:
            raise Killed
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(name, dying)
        with pytest.raises(Killed):
            run_experiment(small, tmp_path / "stopped")
    (tmp_path / "stopped/seed0/.dense.json.0123.part").write_text("{")
    run_experiment(small, tmp_path / "stopped")
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")


def test_a_model_with_buffers_and_dropout_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = config_of(
        {
            **FACTS,
            "seeds": [0],
            "model": {"name": "vgg16_bn", "options": {"narrow": 32}},
            "data": {"name": "mnist5k", "train": 80, "validation": 20, "test": 20},
            "compress": {"layers": ["classifier.3.weight"]},
            "stage2": {"epochs": 2, "cores_rates": [0.01]},
            "rivals": [],
        }
    )
    run_experiment(small, tmp_path / "whole")
    real, calls = run.save_model, [0]

    def dying(*arguments: Any) -> None:
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(run, "save_model", dying)
        with pytest.raises(KeyboardInterrupt):
            run_experiment(small, tmp_path / "stopped")
    assert list(tmp_path.rglob("stage2-classifier.3.weight.npz"))
    run_experiment(small, tmp_path / "stopped")
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")
    read = ar.load_compressed(tmp_path / "whole/seed0/brickwall.safetensors")
    assert read.dense["features.1.num_batches_tracked"] > 0


def test_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_line(path, {"a": 1})
    with path.open("ab") as stream:
        stream.write(b'{"a": 2')
    append_line(path, {"a": 3})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"a": 1}, {"a": 3}]

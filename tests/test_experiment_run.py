"""Running experiments: what is recorded, that a killed run goes on to the same bits, the test part opened once."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import hide

import adntn_ref as ar
from adntn_ref.cli import main
from adntn_ref.errors import OutputError, RecordError
from adntn_ref.experiments import catalogue, run, steps
from adntn_ref.experiments.compare import compare
from adntn_ref.experiments.config import Config, config_of
from adntn_ref.experiments.locking import locked
from adntn_ref.experiments.record import append_line, read_record, wilson
from adntn_ref.experiments.run import run_experiment, spoken
from adntn_ref.nn.data import Split

FACTS: dict[str, Any] = {
    "title": "small",
    "seeds": [0, 4],
    "model": {"name": "fc2"},
    "data": {"name": "digits", "train": 200, "validation": 50, "test": 40},
    "compress": {"layers": ["fc1.weight", "fc2.weight"]},
    "network": {"name": "brickwall", "layers": 2},
    "dense": {"epochs": 3},
    "stage1": {"steps": 20},
    "stage2": {"epochs": 2, "epochs_between": 1, "cores_rates": [0.002, 0.01]},
}
VOLATILE = ("timing.json", "environment.json", "starts.jsonl", "lock")


def config(**changes: Any) -> Config:
    return config_of(FACTS).with_changes(changes)


def content(folder: Path) -> dict[str, bytes]:
    """The record's files that must come out the same to the bit."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(VOLATILE))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    run_experiment(config(), folder)
    return folder


def test_record(finished: Path) -> None:
    record = read_record(finished)
    result = record.result
    assert result is not None
    assert result["identity"] == config().identity
    assert [row["row"] for row in result["rows"]] == ["dense", "brickwall", "mpo", "frozen_random"]
    assert result["weights"] == 64 * 256 + 2560
    rows = {row["row"]: row for row in result["rows"]}
    for row in rows.values():
        right = [round(40 * share) for share in row["accuracies"]]
        assert row["accuracy"] == sum(right) / 80
        assert row["interval"] == list(wilson(sum(right), 80))
        assert row["interval_one_seed"][0] <= row["interval"][0] <= row["accuracy"] <= row["interval"][1]
        assert row["spread"] == pytest.approx(np.std(row["accuracies"], ddof=1))
        assert row["retention"] == row["accuracy"] / rows["dense"]["accuracy"]
    assert rows["mpo"]["parameters"] <= rows["brickwall"]["parameters"]
    assert rows["brickwall"]["model_parameters"] == rows["brickwall"]["parameters"]  # FC-2 has nothing else
    assert rows["brickwall"]["stage1_accuracy"] is None  # layer by layer there is no model of all fits
    step = record.read("seed4/brickwall")
    assert len(step["stage2"]) == len(step["stage1_validation_accuracies"]) == 2
    for name, layer in step["layers"].items():
        net = ar.from_spec(layer["spec"])
        assert (layer["parameters"], layer["ratio"]) == (net.parameter_count, net.compression_ratio)
        assert len(layer["stage1"]["loss"]) == 20
        assert list(layer["dead_share_stage2"]) == ["layer0.activation"]
        assert rows["brickwall"]["layers"][name]["relative_error"] == pytest.approx(
            np.mean([record.read(s)["layers"][name]["relative_error"] for s in (chosen(result), "seed4/brickwall")])
        )
    timing = record.timing("seed4/brickwall")
    assert timing["seconds"] == pytest.approx(timing["stage1_seconds"] + timing["stage2_seconds"])
    assert timing["peak_memory_bytes"] > 2**24
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["versions"]["numpy"] == np.__version__
    assert not list(finished.rglob("*.checkpoints"))


def chosen(result: dict[str, Any]) -> str:
    return f"seed0/brickwall-rate{result['chosen_cores_rates']['brickwall']:g}"


def test_the_validation_part_chooses_the_rate(finished: Path) -> None:
    record = read_record(finished)
    assert record.result is not None
    for row, rate in record.result["chosen_cores_rates"].items():
        scores = {r: record.read(f"seed0/{row}-rate{r:g}")["validation_accuracy"] for r in (0.002, 0.01)}
        assert scores[rate] == max(scores.values())
        assert record.read(f"seed4/{row}")["cores_rate"] == rate
        assert not record.done(f"seed4/{row}-rate{rate:g}")


def test_model_files_hold_what_was_tested(finished: Path) -> None:
    record, model = read_record(finished), ar.fc2(64)
    assert record.result is not None
    test = catalogue.load_data("digits", None, 4, "float32").open_test()
    for position, row in enumerate(record.result["rows"]):
        name = "dense_stage2" if row["row"] == "dense" else row["row"]
        params = steps.load_model(model, finished / f"seed4/{name}.safetensors")
        right = (np.asarray(model(params, test.images[:40])).argmax(1) == test.labels[:40]).sum()
        assert right / 40 == record.result["rows"][position]["accuracies"][1]
    wall = ar.load_compressed(finished / "seed4/brickwall.safetensors")
    assert {name: entry.network.to_spec()["layers"] for name, entry in wall.entries.items()} == {
        "fc1.weight": 2,
        "fc2.weight": 2,
    }


def test_rows_are_what_compress_makes(tmp_path: Path) -> None:
    """The record of a row is the library's own result, from the dense model in the record."""
    small = config(seeds=[3], compress={"layers": ["fc1.weight"]}, stage2={"cores_rates": [0.01], "order": "together"})
    result = run_experiment(small, tmp_path / "r")
    plan = run.make_plan(small)
    dense = steps.load_model(plan.model, tmp_path / "r/seed3/dense.safetensors")
    data = steps.data_of(plan, 3)
    made = ar.compress(
        plan.model, plan.networks["mpo"], data, dense, stage1_steps=20, epochs=2, epochs_between=1, order="together",
        rates=ar.Rates(0.01, 1e-3), warmup_epochs=1.0, seed=4,
    )  # fmt: skip
    record = read_record(tmp_path / "r").read("seed3/mpo")
    assert record["validation_accuracy"] == made.validation_accuracy
    assert record["stage2"][0]["loss"] == made.trainings[0].history.loss
    read = ar.load_compressed(tmp_path / "r/seed3/mpo.safetensors").entries["fc1.weight"].params
    assert all(np.array_equal(read[name], core) for name, core in made.params["fc1.weight"].items())
    test = data.open_test()
    fitted = {**dense, "fc1.weight": made.fits["fc1.weight"].generate()}
    stage1 = next(row for row in result["rows"] if row["row"] == "mpo")["stage1_accuracy"]
    assert stage1 == pytest.approx(ar.accuracy(plan.model, fitted, test))
    random_weight = steps.load_model(plan.model, tmp_path / "r/seed3/frozen_random.safetensors")["fc1.weight"]
    assert np.array_equal(random_weight, plan.model.init(1003)["fc1.weight"])


def test_the_test_part_is_opened_once_after_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    events: list[str] = []
    real_open, real_finish = Split.open_test, run.Record.finish

    def opening(self: Split, again: bool = False) -> Any:
        events.append("open")
        return real_open(self, again)

    def finishing(self: Any, step: str, *rest: Any) -> None:
        events.append(step)
        real_finish(self, step, *rest)

    monkeypatch.setattr(Split, "open_test", opening)
    monkeypatch.setattr(run.Record, "finish", finishing)
    small = config(stage2={"cores_rates": [0.01]}, stage1={"steps": 2}, dense={"epochs": 1})
    first = run_experiment(small, tmp_path)
    assert events.count("open") == 2
    assert events[-2:] == ["open", "open"]
    assert len(events) == 2 * 5 + 2
    assert run_experiment(small, tmp_path) == first
    assert len(events) == 2 * 5 + 2  # a finished experiment is shown, nothing is run or opened


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


def test_another_experiment_is_refused(finished: Path) -> None:
    before = content(finished)
    with pytest.raises(RecordError, match=r"holds another experiment \(stage2: .*\"epochs\": 2.* there"):
        run_experiment(config(stage2={"epochs": 3}), finished)
    assert run_experiment(config(title="renamed"), finished)["title"] == "small"
    assert content(finished) == before


def test_other_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = config(seeds=[0], rivals=[], dense={"epochs": 1}, stage2={"cores_rates": [0.01]}, stage1={"steps": 2})
    with monkeypatch.context() as patch:
        patch.setattr("adntn_ref.experiments.run.compressed_row", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_experiment(small, tmp_path)
    real = steps.load_data
    monkeypatch.setattr(steps, "load_data", lambda name, folder, seed, dtype: real(name, folder, seed + 1, dtype))
    with pytest.raises(RecordError, match="was begun with other images for seed 0"):
        run_experiment(small, tmp_path)


def test_folders_in_use_or_of_others(tmp_path: Path) -> None:
    with locked(tmp_path / "busy"), pytest.raises(RecordError, match="is in use by another process"):
        run_experiment(config(), tmp_path / "busy")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/a.txt").write_text("dear")
    with pytest.raises(OutputError, match=r"holds a\.txt and no experiment"):
        run_experiment(config(), tmp_path / "letters")
    assert sorted(path.name for path in (tmp_path / "letters").iterdir()) == ["a.txt"]
    (tmp_path / "file").write_text("")
    for path in ("file", "file/x"):
        with pytest.raises(OutputError, match=r"is a file|cannot be written"):
            run_experiment(config(), tmp_path / path)
    with pytest.raises(RecordError, match=r"holds no experiment: there is no config\.json"):
        read_record(tmp_path)
    for broken in ("{", '{"format": 2}', "[]"):
        (tmp_path / "busy/config.json").write_text(broken)
        with pytest.raises(RecordError, match=r"config\.json (cannot be read|has format)"):
            read_record(tmp_path / "busy")


def test_nothing_left_to_train(tmp_path: Path) -> None:
    """With all else frozen the control is evaluated as it is, and the dense row is trained in the weights alone."""
    small = config(seeds=[0], stage2={"frozen": ["fc2.weight"], "cores_rates": [0.01]}, rivals=[])
    result = run_experiment(small.with_changes({"compress": {"layers": ["fc1.weight"]}}), tmp_path)
    record = read_record(tmp_path)
    assert record.read("seed0/frozen_random")["stage2"][0]["stopped_by"] == "nothing to train"
    assert len(record.read("seed0/dense_stage2")["stage2"][0]["loss"]) == 8
    assert [row["row"] for row in result["rows"]] == ["dense", "brickwall", "frozen_random"]


def test_systems_without_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "fcntl")
    with pytest.raises(OutputError, match="this system has no flock"):
        run_experiment(config(), tmp_path)


def test_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_line(path, {"a": 1})
    with path.open("ab") as stream:
        stream.write(b'{"a": 2')
    append_line(path, {"a": 3})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"a": 1}, {"a": 3}]


@pytest.mark.parametrize(("right", "images"), [(0, 10), (10, 10), (7, 10), (951, 1000)])
def test_wilson_solves_its_equation(right: int, images: int) -> None:
    """The ends are the shares p at which (right/n - p)^2 = z^2 p (1 - p) / n."""
    for p in wilson(right, images):
        assert (right / images - p) ** 2 == pytest.approx(1.959963984540054**2 * p * (1 - p) / images, abs=1e-12)


def test_spoken() -> None:
    assert [spoken(s) for s in (12, 200, 9000)] == ["12 s", "3 min", "2.5 h"]


def test_compare(finished: Path, tmp_path: Path) -> None:
    one = config(seeds=[0], stage2={"cores_rates": [0.01]}, dense={"epochs": 1}, stage1={"steps": 2})
    run_experiment(one, tmp_path / "one")
    facts = compare([finished, tmp_path / "one"])
    assert [row["experiment"] for row in facts["rows"]] == [str(finished)] * 4 + [str(tmp_path / "one")] * 4
    for row in facts["rows"]:
        if row["row"] == "dense":
            assert row["above_dense"] == 0
        if row["row"] == "frozen_random":
            assert row["above_frozen_random"] == 0
    assert facts["notes"] == ["careful: the experiments have different seeds: [0, 4]; [0]"]


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


def test_list_and_show(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert call("list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["experiments"]
    assert "p1-fc2-mnist" in [row["name"] for row in listed]
    assert call("list") == 0
    assert "p1-fc2-mnist" in capsys.readouterr().out
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


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C ends with 130, and the same command goes on."""
    command = [sys.executable, "-m", "adntn_ref", "experiment", "run", "digits-fc2-mera", "--out", str(tmp_path / "r")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (130, "interrupted\n")
    assert (tmp_path / "r/config.json").is_file()

"""Running experiments: what is recorded, what it means, the test part opened once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from experiment_cases import config

import adntn_ref as ar
from adntn_ref.experiments import catalogue, run, steps
from adntn_ref.experiments.compare import compare
from adntn_ref.experiments.record import read_record, wilson
from adntn_ref.experiments.run import run_experiment, spoken
from adntn_ref.nn.data import Split

pytest_plugins = ["experiment_fixtures"]


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
            objective="euclidean",
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


def test_nothing_left_to_train(tmp_path: Path) -> None:
    """With all else frozen the control is evaluated as it is, and the dense row is trained in the weights alone."""
    small = config(seeds=[0], stage2={"frozen": ["fc2.weight"], "cores_rates": [0.01]}, rivals=[])
    result = run_experiment(small.with_changes({"compress": {"layers": ["fc1.weight"]}}), tmp_path)
    record = read_record(tmp_path)
    assert record.read("seed0/frozen_random")["stage2"][0]["stopped_by"] == "nothing to train"
    assert len(record.read("seed0/dense_stage2")["stage2"][0]["loss"]) == 8
    assert [row["row"] for row in result["rows"]] == ["dense", "brickwall", "frozen_random"]


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

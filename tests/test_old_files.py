"""Files of older releases are read, and hold the numbers that they were written with; see fixtures/README.md."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import same

import adntn_ref as ar
from adntn_ref.compression import checkpoints, files, pretrained
from adntn_ref.compression.sources import open_tensors
from adntn_ref.compression.training import minimise
from adntn_ref.experiments import record, tasks
from adntn_ref.experiments.config import config_of
from adntn_ref.experiments.record import read_record
from adntn_ref.experiments.results import Results
from adntn_ref.validation.vectors import load, store
from adntn_ref.validation.verify import files as protocol

FIXTURES = Path(__file__).parent / "fixtures"
sys.path.insert(0, str(FIXTURES))
import make  # noqa: E402

FIRST_ROW = [0.75, 0.25, 0.0, -0.5]
"""Of fc1.weight, written out: not from the function that made it."""

ACCURACIES = {"dense": [0.325], "brickwall": [0.075], "mpo": [0.175], "frozen_random": [0.125]}
CORES = make.exact(dict(make.NETWORK.core_shapes))
VERSIONS: list[tuple[str, int, list[str]]] = [
    (
        "compressed files",
        files.FORMAT_VERSION,
        [f"format{version}{suffix}" for version in (1, 2, 3) for suffix in (".npz", ".safetensors")],
    ),
    ("configs", pretrained.CONFIG_VERSION, ["pretrained1"]),
    ("checkpoints", checkpoints.VERSION, ["checkpoint1.npz"]),
    ("vectors", store.VERSION, ["vectors1"]),
    ("protocol", protocol.PROTOCOL, ["request1", "case1"]),
    ("experiments", record.FORMAT, ["experiment1"]),
    ("sweeps", tasks.FORMAT, ["sweep1"]),
]


@pytest.mark.parametrize(("what", "version", "fixtures"), VERSIONS, ids=[what for what, *_ in VERSIONS])
def test_every_version_has_a_fixture(what: str, version: int, fixtures: list[str]) -> None:
    """Whoever raises a version adds a fixture; the old ones stay."""
    assert {int(name.partition(".")[0][-1]) for name in fixtures} == set(range(1, version + 1))
    assert all((FIXTURES / name).exists() for name in fixtures)


def test_folders_with_cores() -> None:
    model, params = ar.load_pretrained(FIXTURES / "pretrained1" / "cores")
    assert model == ar.Generated(make.model(), {"fc1.weight": make.NETWORK})
    dense = make.exact(make.model().param_shapes, "float32")
    cores = {name: core.astype("float32") for name, core in CORES.items()}
    assert same(params, {**dense, "fc1.weight": cores})
    np.testing.assert_array_equal(
        model.expand(params)["fc1.weight"][0], make.NETWORK.generate(CORES)[0].astype("float32")
    )


def test_folders_of_shards() -> None:
    folder = FIXTURES / "pretrained1" / "shards"
    model, params = ar.load_pretrained(folder)
    assert model == make.model()
    assert same(params, make.exact(make.model().param_shapes, "float32"))
    np.testing.assert_array_equal(params["fc2.bias"], open_tensors(folder / "model-*.safetensors").load("fc2.bias"))
    assert params["fc1.weight"][0].tolist() == FIRST_ROW


def test_a_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    shutil.copyfile(FIXTURES / "checkpoint1.npz", path)
    steps: list[int] = []

    def counted(step: int, params: Any) -> Any:
        steps.append(step)
        return make.quadratic(step, params)

    start = {"x": np.zeros(2)}
    resumed = minimise(counted, start, make.TRAINING, checkpoint=path, checkpoint_every=3, label="fixture")
    whole = minimise(make.quadratic, start, make.TRAINING, label="fixture")
    assert steps == [6, 7, 8]  # the last one is evaluated only
    np.testing.assert_allclose(resumed.params["x"], whole.params["x"], rtol=1e-12)
    np.testing.assert_allclose(resumed.history.loss, whole.history.loss, rtol=1e-12)


def test_vectors() -> None:
    vectors = load(FIXTURES / "vectors1")
    assert [case.name for case, _ in vectors] == ["brickwall/one-brick", "mpo/chi1"]
    for case, expected in vectors:
        weight, pullback = ar.from_spec(case.spec).vjp(case.params)
        np.testing.assert_allclose(weight, expected["weight"], rtol=0, atol=1e-12 * np.abs(expected["weight"]).max())
        for name, g in pullback(case.cotangent).items():
            np.testing.assert_allclose(g, expected[f"gradient/{name}"], rtol=0, atol=1e-12 * np.abs(g).max())
    assert [len(part) for part in (vectors.starts, vectors.losses, vectors.fits)] == [1, 1, 1]


@pytest.mark.parametrize("path", ["request1/request.json", "case1/fixture.json"])
def test_requests_and_cases(path: str) -> None:
    case = protocol.load_case(FIXTURES / path)
    assert (case.name, ar.from_spec(case.spec)) == ("fixture", make.NETWORK)
    assert same(dict(case.params), CORES)
    assert same(case.cotangent, make.exact({"g": (4, 4)})["g"])


def test_records_of_experiments() -> None:
    old = read_record(FIXTURES / "experiment1")
    assert old.config.identity == config_of(make.EXPERIMENT).identity
    result = old.result
    assert result is not None
    assert {row["row"]: row["accuracies"] for row in result["rows"]} == ACCURACIES
    assert old.read("seed0/brickwall")["layers"]["fc2.weight"]["spec"]["network"] == "brickwall"


def test_records_of_sweeps() -> None:
    """What an older release has run is not run again: its keys are those of the same tasks now."""
    found = Results(FIXTURES / "sweep1" / "results.jsonl", read_only=True).found
    named = json.loads((FIXTURES / "sweep1" / "sweep.json").read_text())["tasks"]
    assert set(found) == set(named)
    assert set(found) == {task.key for task in make.sweep().tasks()}

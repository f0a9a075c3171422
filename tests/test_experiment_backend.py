"""Experiments on another array backend, and on images of another size."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adntn_ref.compression.tensorfile import TensorFile
from adntn_ref.errors import BackendUnavailable, ConfigError
from adntn_ref.experiments.config import config_of
from adntn_ref.experiments.plan import make_plan
from adntn_ref.experiments.run import run_experiment

FACTS: dict[str, Any] = {
    "title": "small",
    "model": {"name": "lenet5"},
    "data": {"name": "digits", "size": 28, "train": 64, "validation": 20, "test": 20},
    "compress": {"layers": ["conv2.weight", "fc1.weight"]},
    "network": {"name": "brickwall", "layers": 1},
    "dense": {"epochs": 1},
    "stage1": {"steps": 10, "objective": "outputs"},
    "stage2": {"epochs": 2, "order": "together"},
}


def test_the_same_experiment_elsewhere(backend: Any, tmp_path: Path) -> None:
    config = config_of(FACTS)
    here = run_experiment(config, tmp_path / "here")
    there = run_experiment(config, tmp_path / "there", backend=backend.name)
    assert [row["row"] for row in here["rows"]] == [row["row"] for row in there["rows"]]
    for a, b in zip(here["rows"], there["rows"], strict=True):
        assert abs(a["accuracy"] - b["accuracy"]) <= 0.05  # an image or none
    for path in sorted((tmp_path / "here").rglob("*.safetensors")):
        one, other = TensorFile(path), TensorFile(tmp_path / "there" / path.relative_to(tmp_path / "here"))
        assert one.names == other.names
        for name in one.names:
            np.testing.assert_allclose(other.load(name), one.load(name), rtol=1e-3, atol=1e-4, err_msg=name)
    starts = [json.loads((tmp_path / where / "starts.jsonl").read_text()) for where in ("here", "there")]
    assert [start["backend"] for start in starts] == ["numpy", backend.name]


def test_a_backend_that_is_missing_is_refused_before_work(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="abacus"):
        run_experiment(config_of(FACTS), tmp_path / "run", backend="abacus")
    assert not (tmp_path / "run").exists()


def test_size() -> None:
    model = make_plan(config_of(FACTS)).model
    assert model.in_shape == (1, 28, 28)
    with pytest.raises(ConfigError, match="lenet5"):
        make_plan(config_of({**FACTS, "data": {"name": "digits"}}))  # 8x8
    wide = make_plan(config_of({**FACTS, "model": {"name": "fc2"}, "compress": {"layers": ["fc1.weight"]}}))
    assert wide.model.param_shapes["fc1.weight"] == (256, 784)
    assert config_of(FACTS).identity != config_of({**FACTS, "data": {**FACTS["data"], "size": 32}}).identity

"""The small experiment that the tests run, and its record as the bytes that must come out the same."""

from pathlib import Path
from typing import Any

from adntn_ref.experiments.config import Config, config_of

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

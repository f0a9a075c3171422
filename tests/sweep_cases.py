"""The small sweep that the tests run, and its results by key."""

import json
from pathlib import Path
from typing import Any

BASE = """
title = "base"
seeds = [0]
[model]
name = "fc2"
[data]
name = "digits"
train = 200
validation = 50
test = 40
[compress]
layers = ["fc1.weight"]
[network]
name = "brickwall"
layers = 1
[dense]
epochs = 2
[stage1]
steps = 10
[stage2]
epochs = 2
cores_rates = [0.01]
"""
SWEEP = """
title = "small"
base = "base.toml"
layers = [["fc1.weight"], ["fc1.weight", "fc2.weight"]]
seeds = [0, 3]
[[networks]]
name = "brickwall"
sizes = [1, 2]
[[networks]]
name = "mpo"
parameters = [100]
"""
TASKS = 2 * (1 + 1 + 2 * (1 + 3))


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    """The results by key, each there once, without what depends on the machine's speed."""
    found = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    by_key = {line["key"]: {k: v for k, v in line.items() if k != "timing"} for line in found}
    assert len(by_key) == len(found)
    return by_key

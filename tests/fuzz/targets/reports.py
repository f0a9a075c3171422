"""Pages of sweeps: the summary, and what is said of the machine. Pictures are left out: matplotlib takes its second."""

import json
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from adntn_ref.experiments import report
from adntn_ref.experiments.engine import SUMMARY
from adntn_ref.experiments.record import ENVIRONMENT, unbroken
from fuzz.harness import Target
from fuzz.mutate import of_json
from fuzz.targets.records import place

MACHINE = {"processor": "a", "cores": 2, "system": "b", "versions": {"numpy": "2.0"}}
POINT: dict[str, Any] = {
    "row": "mpo-2",
    "network": "mpo",
    "label": "MPO, bond 2",
    "variant": "",
    "layers": ["fc1.weight"],
    "weights": 100,
    "parameters": 40,
    "ratio": 2.5,
    "seeds": 2,
    "cores_rate": 0.01,
    "spec": {"network": "lowrank", "shape": [2, 3], "rank": 1},
    "accuracy": 0.9,
    "validation_accuracy": 0.9,
    "interval": [0.8, 0.95],
    "seconds": 1.5,
}
BARE = {**POINT, "row": "dense", "network": "dense", "ratio": None, "cores_rate": None, "spec": None, "accuracy": None}
FOUND = {
    "title": "a",
    "model": "fc2",
    "data": "digits",
    "seeds": [0, 1],
    "rates": [0.01],
    "points": [BARE, POINT],
    "failed": {"a1": "no"},
}
UNDRAWN = SimpleNamespace(draw_pareto=lambda *given, **more: None, draw_time_against_accuracy=lambda *given: None)


def summary(data: bytes) -> None:
    _page({SUMMARY: data, ENVIRONMENT: _text(MACHINE)}, "summary")


def machine(data: bytes) -> None:
    _page({SUMMARY: _text(FOUND), ENVIRONMENT: data}, "machine")


def _page(files: dict[str, bytes], name: str) -> None:
    with (
        patch.object(report, "figures", UNDRAWN),
        patch.object(report, "network_figure", UNDRAWN.draw_pareto),
        patch.object(report.Page, "figure", UNDRAWN.draw_pareto),
    ):
        where = place(name, files)
        with unbroken(where):  # as write_report does
            made, _ = report._sweep(where)
        assert "<html" in str(made)


def _text(facts: object) -> bytes:
    return json.dumps(facts).encode()


COVERED = ("adntn_ref.experiments.report", "adntn_ref.experiments.page", "adntn_ref.compression.jsontext")
TARGETS = [
    Target("summary", summary, lambda: [_text(FOUND), _text({**FOUND, "points": []})], mutate=of_json, covered=COVERED),
    Target("machine", machine, lambda: [_text(MACHINE)], mutate=of_json, covered=COVERED),
]

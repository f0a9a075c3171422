"""Records of experiments, sweeps and comparisons; vectors; cases of the conformance kit."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np

import adntn_ref.validation.vectors.records as vectors
from adntn_ref.experiments.compare import compare
from adntn_ref.experiments.config import read_config
from adntn_ref.experiments.engine import require_tasks
from adntn_ref.experiments.record import CONFIG, RESULT, STARTS, TIMING, read_record
from adntn_ref.experiments.results import Results
from adntn_ref.validation.case import Case
from adntn_ref.validation.equal_count import once, read_rows
from adntn_ref.validation.vectors.store import ARRAYS_FILE, INDEX_FILE, describe, read
from adntn_ref.validation.verify.files import REQUEST, load_case, read_answer, read_request
from adntn_ref.validation.verify.verdicts import Request
from fuzz.harness import Target, file_of, folder, parts_of
from fuzz.mutate import of_json, of_npy
from fuzz.targets.config import SMALL
from fuzz.targets.npz import npy, npz


@functools.cache
def _made_folder(name: str) -> Path:
    where = folder() / name
    where.mkdir(parents=True, exist_ok=True)
    return where


_written: dict[Path, bytes] = {}


def place(name: str, files: dict[str, bytes]) -> Path:
    """Return a folder of these files; what already lies there as it is, is left, for writing is what takes longest."""
    where = _made_folder(name)
    for file, data in files.items():
        path = where / file
        if _written.get(path) != data:
            path.write_bytes(data)
            _written[path] = data
    return where


def config(data: bytes) -> None:
    read_record(place("record", {CONFIG: data}))


def result(data: bytes) -> None:
    compare([place("result", {CONFIG: _short(), RESULT: data})])


def times(data: bytes) -> None:
    assert read_record(place("times", {CONFIG: _short(), TIMING: data})).times


def starts(data: bytes) -> None:
    read_record(place("starts", {CONFIG: _short(), STARTS: data})).mixed_versions()


def lines(data: bytes) -> None:
    found = Results(file_of(data, "results.jsonl"))
    require_tasks(found)
    for line in found.found.values():
        assert "error" in line or line["kind"] == "dense" or line["facts"]["right"] / line["facts"]["test_images"] <= 1


def rows(data: bytes) -> None:
    once(read_rows(file_of(data, "rows.jsonl")))


def index(data: bytes) -> None:
    found = vectors.Vectors(*read(place("vectors", {INDEX_FILE: data, ARRAYS_FILE: ARCHIVE})))
    for record in found.cases:
        assert isinstance(record.case, Case)


def arrays(data: bytes) -> None:
    read(place("arrays", {INDEX_FILE: _index(), ARRAYS_FILE: data}))


def case(data: bytes) -> None:
    load_case(place("case", {"case.json": data, "case.npz": CASE}) / "case.json")


def request(data: bytes) -> None:
    read_request(place("asked", {REQUEST: data, "a.npy": TWO, "b.npy": THREE}) / REQUEST)


def answers(data: bytes) -> None:
    """Two files of an answer; faults are found, nothing is raised."""
    weight, gradient = parts_of(data, 2) if data[:1] == b"\0" else (data, data)
    place("answer/gradient", {"a.npy": gradient})
    where = place("answer", {"weight.npy": weight})
    asked = Request("x", {}, {"a": np.ones(2)}, np.ones(2), {"weight": (2,), "gradient/a": (2,)})
    assert set(read_answer(where, asked)) == {"weight", "gradient"}


def _config() -> bytes:
    global _made
    if not _made:
        found = read_config(file_of(SMALL.encode(), "row.toml"))
        _made = json.dumps({"format": 1, "identity": found.identity, "config": found.to_dict()}).encode()
    return _made


_made = b""


@functools.cache
def _short() -> bytes:
    """The same with nothing but what an experiment must have, for targets that are about another file."""
    facts = json.loads(_config())
    kept = {key: facts["config"][key] for key in ("title", "model", "data", "compress", "network")}
    return json.dumps({**facts, "config": kept}).encode()


ROW = {"ratio": 2.5, "accuracy": 0.9, "accuracies": [0.9], "interval": [0.8, 0.95], "interval_one_seed": [0.8, 0.95]}
ROW |= {
    "parameters": 40,
    "model_parameters": 90,
    "spread": None,
    "retention": 1.0,
    "stage1_accuracy": None,
    "layers": {},
}
LAYER = {"weights": 100, "parameters": 40, "ratio": 2.5, "relative_error": 0.5, "relative_error_after_stage2": 1.5}
NAMES = ("dense", "brickwall", "b", "frozen_random")
FOUND: dict[str, Any] = {
    "title": "a",
    "model": "fc2",
    "data": "digits",
    "layers": ["fc1.weight"],
    "weights": 100,
    "seeds": [0, 1],
    "test_images": 50,
    "chosen_cores_rates": {"brickwall": 0.005},
    "published": {"source": "b", "accuracy": 90.5},
    "rows": [{**ROW, "row": name, "label": name, "layers": {"fc1.weight": LAYER}} for name in NAMES],
}
MEASURED = {"seconds": 1.5, "peak_memory_bytes": 10**8}
LINE: dict[str, Any] = {
    "key": "a1",
    "kind": "row",
    "label": "seed 0: mpo",
    "config": {"data": {"name": "digits"}, "seeds": [0]},
}
DONE = {
    "facts": {"right": 9, "test_images": 10, "validation_accuracy": 0.9, "images": "ab"},
    "timing": {"seconds": 1.0},
}
FIT = {
    "file": "a",
    "layer": "b",
    "order": "oihw",
    "share": 0.1,
    "family": "mpo",
    "steps": 3,
    "start_share": 0.1,
    "seed": None,
}
FIT |= {"relative_error": 0.5, "shape": [2, 3], "parameters": 4, "seconds": 1.0, "how": "decomposition"}
ARRAYS = {"c/params/left": np.ones((2, 1)), "c/params/right": np.ones((1, 3)), "c/cotangent": np.ones((2, 3))}
ARCHIVE = npz({**ARRAYS})
TWO, THREE = npy(np.ones(2)), npy(np.ones(3))
CASE = npz({name.removeprefix("c/"): array for name, array in ARRAYS.items()})
SPEC = {"network": "lowrank", "shape": [2, 3], "rank": 1}


def _index() -> bytes:
    named = {name.removeprefix("c/"): describe(array) for name, array in ARRAYS.items()}
    entry = {"name": "c", "note": "", "spec": SPEC, "dtype": "float64", "seed": 1, "provenance": {}, "arrays": named}
    facts = {
        "format": "adntn_ref vectors",
        "format_version": 1,
        "cases": [entry],
        "starts": [],
        "losses": [],
        "fits": [],
    }
    return json.dumps(facts).encode()


def _case() -> list[bytes]:
    facts = {"adntn_ref_case": 1, "name": "c", "note": "", "spec": SPEC, "arrays": "case.npz"}
    return [json.dumps(facts).encode(), json.dumps({**facts, "arrays": "../case.npz"}).encode()]


def _request() -> list[bytes]:
    facts = {
        "protocol": 1,
        "case": "c",
        "dtype": "float64",
        "spec": SPEC,
        "params": {"a": "a.npy"},
        "cotangent": "b.npy",
    }
    return [json.dumps(found).encode() for found in (facts, {**facts, "cotangent": {"x": "b.npy"}})]


def _of_lines(*facts: dict[str, Any]) -> list[bytes]:
    return [b"".join(json.dumps(fact).encode() + b"\n" for fact in facts[:k]) for k in range(1, len(facts) + 1)]


VERSIONS = {"time": 1.5, "pid": 3, "versions": {"numpy": "2.0", "python": "3.11"}}
READ = ("adntn_ref.experiments.record", "adntn_ref.experiments.shapes", "adntn_ref.experiments.compare")
READ += ("adntn_ref.compression.jsontext",)
TARGETS = [
    Target("record", config, lambda: [_config()], mutate=of_json),
    Target("result", result, lambda: [json.dumps(FOUND).encode()], mutate=of_json, covered=READ),
    Target(
        "times",
        times,
        lambda: [json.dumps({**MEASURED, "how": "", "rows": dict.fromkeys(NAMES, MEASURED)}).encode()],
        mutate=of_json,
        covered=READ,
    ),
    Target(
        "starts",
        starts,
        lambda: _of_lines(VERSIONS, {**VERSIONS, "versions": {"numpy": "2.1"}}),
        mutate=of_json,
        covered=READ,
    ),
    Target(
        "results",
        lines,
        lambda: _of_lines({**LINE, **DONE}, {**LINE, "key": "b", "error": "StartError"}),
        mutate=of_json,
    ),
    Target("equal-count", rows, lambda: _of_lines(FIT, {**FIT, "seed": 1}), mutate=of_json),
    Target("vectors-index", index, lambda: [_index()], mutate=of_json),
    Target("vectors-arrays", arrays, lambda: [ARCHIVE], unpacked=1032),
    Target("case", case, _case, mutate=of_json),
    Target("verify-request", request, _request, mutate=of_json),
    Target(
        "verify-answer",
        answers,
        lambda: [npy(np.ones(2)), npy(np.ones(2, "f4")), npy(np.array(["a"]))],
        words=("descr", "shape"),
        mutate=of_npy,
    ),
]

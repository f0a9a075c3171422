"""The shape of what a record holds, checked where others may have written it: tables, lists, numbers, texts."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from adntn_ref.errors import RecordError
from adntn_ref.program.modes import MAX_ENTRIES, shown

Shape = Any
"""A kind (``str``, ``int``, ``float`` for any finite number, ``bool``), a list of one shape (any number of them), a
tuple of shapes (so many), a dict of shapes (at least these keys; ``"*"`` for every one), or :class:`Maybe`."""


class Maybe:
    """A shape, or nothing (None)."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape


PAIR = (float, float)
LAYER = {"weights": int, "parameters": int, "ratio": float}
ROW = {
    "row": str,
    "label": str,
    "parameters": int,
    "ratio": Maybe(float),
    "model_parameters": int,
    "accuracy": float,
    "accuracies": [float],
    "interval": PAIR,
    "interval_one_seed": PAIR,
    "spread": Maybe(float),
    "retention": Maybe(float),
    "stage1_accuracy": Maybe(float),
    "layers": {"*": LAYER},
}
RESULT = {
    "title": str,
    "model": str,
    "data": str,
    "layers": [str],
    "weights": int,
    "seeds": [int],
    "test_images": int,
    "rows": [ROW],
    "chosen_cores_rates": {"*": float},
    "published": Maybe({}),
}
MEASURED = {"seconds": float, "peak_memory_bytes": int}
TIMES = {**MEASURED, "how": str, "rows": {"dense": MEASURED, "frozen_random": MEASURED, "*": MEASURED}}
TASK = {
    "key": str,
    "kind": str,
    "label": str,
    "config": {"data": {"name": str}, "seeds": [int]},
}
DONE = {"facts": {"validation_accuracy": float}, "timing": {"seconds": float}}
TESTED = {"right": int, "test_images": int}


def require_shape(place: str, value: Any, shape: Shape) -> None:
    """Refuse a value of another shape.

    Raises
    ------
    RecordError
        Naming the place.
    """
    if isinstance(shape, Maybe):
        if value is not None:
            require_shape(place, value, shape.shape)
    elif isinstance(shape, dict):
        _require_table(place, value, shape)
    elif isinstance(shape, list | tuple):
        if not isinstance(value, list) or (isinstance(shape, tuple) and len(value) != len(shape)):
            raise RecordError(f"{place} must be a list, got {shown(value)}")
        for k, entry in enumerate(value):
            require_shape(f"{place}[{k}]", entry, shape[k if isinstance(shape, tuple) else 0])
    elif not _is(value, shape):
        raise RecordError(f"{place} must be a {KINDS[shape]}, got {shown(value)}")


def _require_table(place: str, value: Any, shape: Mapping[str, Shape]) -> None:
    if not isinstance(value, dict):
        raise RecordError(f"{place} must be a table, got {shown(value)}")
    for key, inner in shape.items():
        if key != "*" and key not in value:
            raise RecordError(f"{place} lacks {key}")
        for name in value if key == "*" else (key,):
            require_shape(f"{place}.{name}", value[name], inner)


KINDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def _is(value: Any, kind: type) -> bool:
    if kind is str or kind is bool:
        return isinstance(value, kind)
    number = isinstance(value, int) or (kind is float and isinstance(value, float))
    # Whole numbers of any length are JSON; beyond 2^64 they are none of ours, and no float holds them.
    if not number or isinstance(value, bool):
        return False
    return isfinite(value) if isinstance(value, float) else abs(value) <= MAX_ENTRIES


def require_result(path: Path, result: Any) -> None:
    """Refuse a result without the rows that every experiment has; RecordError."""
    require_shape(str(path), result, RESULT)
    rows = [row["row"] for row in result["rows"]]
    if missing := {"dense", "frozen_random"} - set(rows):
        raise RecordError(f"{path} has no row {', '.join(sorted(missing))}")
    if len(set(rows)) < len(rows):
        raise RecordError(f"{path} has two rows of one name")


def require_task(place: str, line: Any) -> None:
    """Refuse what is no result of a sweep's task, done or failed; RecordError."""
    require_shape(place, line, TASK)
    if "error" in line:
        require_shape(f"{place}.error", line["error"], str)
        return
    require_shape(place, line, DONE)
    facts = line["facts"]
    if line["kind"] == "dense":
        return
    require_shape(f"{place}.facts", facts, TESTED)
    for right in (facts["right"], facts.get("stage1_right", 0)):
        require_shape(f"{place}.facts.stage1_right", right, int)
        if not 0 <= right <= facts["test_images"] or not facts["test_images"]:
            raise RecordError(f"{place} has {right} right answers of {facts['test_images']}")

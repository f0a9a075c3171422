"""Specifications of networks: as JSON, and built from bytes, which reaches further."""

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

from adntn_ref.compression.jsontext import parse_json
from adntn_ref.errors import SpecError
from adntn_ref.networks.registry import COMBINATIONS, NETWORKS, from_spec
from fuzz.harness import Target
from fuzz.mutate import of_json

KEYS = sorted({key for _, keys in (*NETWORKS.values(), *COMBINATIONS.values()) for key in keys})
NAMES = (*NETWORKS, *COMBINATIONS)
ODD = (
    10**9,
    2**64,
    2**64 + 1,
    10**400,
    -1,
    0,
    float("nan"),
    float("inf"),
    True,
    None,
    "",
    "a" * 300,
    [],
    {},
    "\x1b[2J",
)
TEXTS = (
    "relu",
    "tanh",
    "identity",
    "constant",
    "trainable",
    "layer",
    "column",
    "flat",
    "axes",
    "interleaved",
    "level",
    "node",
)


def use(network: Any) -> None:
    """What every reader of a specification does with it at once."""
    again = from_spec(parse_json(json.dumps(network.to_spec())))
    assert again == network
    assert hash(again) == hash(network)
    assert network.parameter_count >= 1
    assert len(network.core_shapes) >= 1
    assert network.compression_ratio > 0


def text(data: bytes) -> None:
    try:
        facts = parse_json(data)
    except ValueError as error:
        raise SpecError("no JSON") from error
    use(from_spec(facts))


def built(data: bytes) -> None:
    use(from_spec(_value(iter(data), 0, top=True)))


def _value(given: Iterator[int], depth: int, top: bool = False) -> Any:
    """Make a value of a specification from bytes: mostly what fits, now and then what does not."""
    kind = next(given, 0)
    if top or kind % 8 == 0:
        return _spec(given, depth)
    if kind % 8 == 1:
        return [_value(given, depth + 1) for _ in range(next(given, 0) % 5)] if depth < 40 else []
    if kind % 8 == 2:
        return TEXTS[next(given, 0) % len(TEXTS)]
    if kind % 8 == 3:
        return ODD[next(given, 0) % len(ODD)]
    if kind % 8 == 4:
        return [1 + next(given, 0) % 9 for _ in range(next(given, 0) % 70)]
    if kind % 8 == 5:
        return struct.unpack("<d", bytes(next(given, 0) for _ in range(8)))[0]
    return next(given, 0)


FITTING: dict[str, Callable[[Iterator[int], int], Any]] = {
    "shape": lambda given, depth: [1 + next(given, 0) % 12 for _ in range(1 + next(given, 0) % 3)],
    "modes": lambda given, depth: [2 + next(given, 0) % 4 for _ in range(2 + next(given, 0) % 8)],
    "parts": lambda given, depth: (
        [_spec(given, depth + 1) for _ in range(1 + next(given, 0) % 3)] if depth < 40 else []
    ),
    "net": lambda given, depth: _spec(given, depth + 1) if depth < 40 else {},
    "shapes": lambda given, depth: [[chr(97 + k), [1 + next(given, 0) % 4]] for k in range(next(given, 0) % 4)],
    "base": lambda given, depth: {"shape": [2, 2], "dtype": "float64", "sha256": "0" * 64},
    "periodic": lambda given, depth: bool(next(given, 0) % 2),
}


def _spec(given: Iterator[int], depth: int) -> Any:
    name = NAMES[next(given, 0) % len(NAMES)]
    kinds = {**NETWORKS, **COMBINATIONS}
    found: dict[str, Any] = {"network": name}
    for key in kinds[name][1]:
        choice = next(given, 0)
        if choice % 8 == 7 or (choice % 2 and key not in kinds[name][1][:2]):
            continue
        if choice % 8 == 6:
            found[key] = _value(given, depth + 1)
        elif key in FITTING or key.endswith("modes"):
            found[key] = FITTING[key if key in FITTING else "modes"](given, depth)
        elif key in ("layers", "chi", "rank", "ranks"):
            found[key] = next(given, 0) % 7
        else:
            found[key] = TEXTS[next(given, 0) % len(TEXTS)]
    return found


def _specs() -> list[bytes]:
    one = {"network": "brickwall", "shape": [6, 4], "layers": 2}
    found: list[Any] = [
        {**one, "modes": [2, 3, 4], "activation": "tanh", "boundary": "trainable", "activation_every": "column"},
        {**one, "layout": "interleaved", "row_modes": [2, 3], "col_modes": [2, 2]},
        {"network": "ttn", "shape": [4, 4], "chi": 3, "activation": "tanh", "activation_site": "node"},
        {"network": "attn", "shape": [4, 4], "chi": 2},
        {"network": "mera", "shape": [4, 4], "chi": 2, "periodic": True},
        {"network": "mpo", "shape": [4, 4], "chi": 2, "row_modes": [2, 2], "col_modes": [4]},
        {"network": "lowrank", "shape": [4, 4], "rank": 2},
        {"network": "tt", "shape": [4, 4], "chi": 2, "modes": [4, 4]},
        {"network": "cp", "shape": [4, 4], "rank": 2},
        {"network": "tucker", "shape": [4, 4], "ranks": [2, 2], "modes": [4, 4]},
        {"network": "sum", "parts": [one, {"network": "lowrank", "shape": [6, 4], "rank": 1}]},
        {"network": "split", "shape": [6, 4], "parts": [{**one, "shape": [12]}, {**one, "shape": [12]}]},
        {"network": "stack", "shapes": [["a", [2, 6]], ["b", [12]]], "net": one},
        {"network": "delta", "base": {"shape": [6, 4], "dtype": "float64", "sha256": "0"}, "net": one, "alpha": 2},
    ]
    return [json.dumps(spec).encode() for spec in found]


def _programs() -> list[bytes]:
    return [bytes([0, k, *([0, 3, 5, 2] * 12)]) for k in range(len(NAMES))]


COVERED = ("adntn_ref.networks", "adntn_ref.program.modes")
TARGETS = [
    Target(
        "spec",
        text,
        _specs,
        words=(*KEYS, *NAMES, *TEXTS, "NaN", "Infinity", "1e999", "1000000000"),
        mutate=of_json,
        covered=COVERED,
    ),
    Target("spec-built", built, _programs, longest=512, covered=COVERED),
]

"""Bombs of text: specifications, JSON, TOML and configurations that ask for more than there is; what is shown."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import ONE, WALL, deep, quickly

import adntn_ref as ar
from adntn_ref.cli import main
from adntn_ref.compression.jsontext import MAX_DEPTH, parse_json
from adntn_ref.compression.safefile import in_bytes
from adntn_ref.errors import ConfigError, SpecError
from adntn_ref.experiments.config import config_of
from adntn_ref.experiments.shipped import shipped_text
from adntn_ref.experiments.tomltext import MAX_DOTS, parse_toml, read_toml
from adntn_ref.networks.brickwall import MAX_BRICKS


def nested(depth: int, kind: str = "sum") -> dict[str, Any]:
    spec: dict[str, Any] = ONE
    for _ in range(depth):
        spec = {"network": kind, "parts": [spec]}
    return spec


@pytest.mark.parametrize(
    "spec",
    [
        {"network": "brickwall", "shape": [2**20], "layers": 10**9},
        {"network": "brickwall", "shape": [2**20], "layers": MAX_BRICKS // 20 + 1},
        {"network": "brickwall", "shape": [4], "layers": 1, "modes": [2] * 10**6},
        {"network": "ttn", "shape": [4], "chi": 2, "modes": list(range(1, 10**5))},
        {"network": "mera", "shape": [2**64, 2], "chi": 10**9},
        {"network": "ttn", "shape": [10**9] * 900, "chi": 2},
        {"network": "tt", "shape": [4], "chi": 10**4000},
        {"network": "cp", "shape": [4, 4], "rank": float("nan")},
        {"network": "cp", "shape": [4, 4], "rank": float("inf")},
        {"network": "tucker", "shape": [4, 4], "ranks": [10**400] * 2},
        {"network": "mpo", "shape": [4, 4], "chi": 2, "row_modes": deep(5000)},
        {"network": "brickwall", "shape": [4, 4], "layers": 2, "layout": deep(5000)},
        {"network": "brickwall", "shape": [4, 4], "layers": 2, "activation": deep(5000)},
        {"network": "brickwall", "shape": [4, 4], "layers": 2, "boundary": deep(5000)},
        {"network": "mera", "shape": [4, 4], "chi": 2, "periodic": deep(5000)},
        {"network": deep(5000)},
        {"network": "x" * 10**6},
        {"network": "lowrank", "shape": [4, 4], "rank": 1, "y" * 10**6: 1},
        nested(21),
        nested(900),
        {"network": "sum", "parts": [ONE] * 1001},
        {"network": "sum", "parts": [nested(1)] * 500 + [nested(2)] * 501},
        {"network": "sum", "parts": [WALL, WALL, WALL]},
        {"network": "split", "shape": [2**60], "parts": [ONE] * 10**6},
        {"network": "stack", "shapes": [[f"w{k}", [1]] for k in range(10**5)], "net": ONE},
    ],
    ids=range(25),
)
def test_specification_bombs(spec: Any) -> None:
    quickly(lambda: ar.from_spec(spec), SpecError)


def test_a_frozen_weight_with_a_number_that_no_float_holds() -> None:
    base = np.ones((4, 4))
    spec = {**ar.Delta(base, ar.LowRank((4, 4), 1)).to_spec(), "alpha": 10**400}
    quickly(lambda: ar.from_spec(spec, base=base), SpecError)


def test_the_largest_networks_are_described_at_once() -> None:
    started = time.process_time()
    assert len(ar.from_spec({**WALL, "layers": MAX_BRICKS // 20}).core_shapes) < MAX_BRICKS
    assert ar.from_spec({"network": "mera", "shape": [2**63], "chi": 10**9}).parameter_count > 10**9
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    "text", ["[" * 10**5, '{"a":' * 10**5, "[" * 102 + "]" * 102, "1" * 5000, '"\\ud800"', b"\xff"]
)
def test_json_bombs(text: str | bytes) -> None:
    quickly(lambda: parse_json(text), ValueError)


def test_json_as_deep_as_allowed() -> None:
    assert parse_json("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) == deep(MAX_DEPTH)
    with pytest.raises(ValueError, match="nested deeper than 100"):
        parse_json("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2))
    assert parse_json('"\\ud800"', any_text=True) == "\ud800"
    assert parse_json('"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000 + "]" * 5000,
        "a = " + "{b = " * 500 + "1" + "}" * 500,
        "a." * 30_000 + "a = 1",
        "[" + "a." * 30_000 + "a]",
        "a = 0x" + "f" * 50_000,
        "a = " + "9" * 5000,
        "a = 1979-05-27T07:32:00Z",
        "a = 07:32:00",
        "a = 1\n" * 2,
        "a = '" + "x" * 70_000 + "'",
    ],
    ids=range(10),
)
def test_toml_bombs(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text)
    quickly(lambda: read_toml(tmp_path / "a.toml"), ConfigError)
    assert main(["experiment", "run", "digits-fc2-brickwall", "--out", str(tmp_path / "o"), "--set", text]) == 2


def test_toml_with_as_many_dots_as_allowed() -> None:
    assert parse_toml("a" + ".a" * 90 + " = 1", "it")["a"]["a"]
    assert parse_toml("a = '" + "." * MAX_DOTS + "'", "it") == {"a": "." * MAX_DOTS}
    with pytest.raises(ConfigError, match=r"it cannot be read as TOML: allowed are 65536 bytes and 250 dots in a line"):
        parse_toml("a = '" + "." * (MAX_DOTS + 1) + "'", "it")


@pytest.mark.parametrize("value", [10**400, float("nan"), 2**64 + 1, deep(500), {1: object()}, b"a", 1j])
def test_configurations_of_odd_values(value: Any) -> None:
    facts = {
        "title": "a",
        "model": {"name": "fc2", "options": {"hidden": 8}},
        "data": {"name": "digits"},
        "compress": {"layers": ["fc1.weight"]},
        "network": {"name": "brickwall", "layers": 2},
    }
    assert config_of(facts).model.options == {"hidden": 8}
    for changed in ({"dense": {"rate": value}}, {"seeds": [value]}, {"stage2": {"cores_rates": [value]}}):
        quickly(lambda changed=changed: config_of({**facts, **changed}), ConfigError)  # type: ignore[misc]


def test_commands_show_nothing_that_a_terminal_obeys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names of tensors in a table, and a configuration as it stands in its file, where C1 controls are no error."""
    names = ["w\x1b[2Jx", "b\x07\u009b2J", "plain"]
    arrays = {name: np.ones(2, np.float32) for name in names}
    (tmp_path / "a.safetensors").write_bytes(in_bytes(arrays))
    assert main(["info", str(tmp_path / "a.safetensors")]) == 0
    shown = capsys.readouterr().out
    assert "w\ufffd[2Jx" in shown
    assert shown.replace("\n", "").isprintable()
    assert main(["info", str(tmp_path / "a.safetensors"), "--json"]) == 0
    assert capsys.readouterr().out.replace("\n", "").isprintable()
    text = shipped_text("digits-fc2-brickwall").replace('title = "', 'title = "\u009b2J')
    (tmp_path / "row.toml").write_text(text, encoding="utf8")
    assert main(["experiment", "show", str(tmp_path / "row.toml")]) == 0
    shown = capsys.readouterr().out
    assert 'title = "\ufffd2J' in shown
    assert shown.replace("\n", "").isprintable()

"""Experiments and sweeps: TOML files, and tables built from JSON, which reaches further."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import adntn_ref.experiments
from adntn_ref.compression.jsontext import parse_json
from adntn_ref.errors import ConfigError
from adntn_ref.experiments.config import CHECKS, Config, config_of, read_config
from adntn_ref.experiments.plan import make_plan
from adntn_ref.experiments.sweep import MAX_TASKS, Sweep, read_sweep
from fuzz.harness import Target, file_of
from fuzz.mutate import of_json, of_toml

SHIPPED = Path(adntn_ref.experiments.__file__).parent
FEW = 50
"""Tasks of a sweep that are all made."""


def use(config: Config) -> None:
    """What is done with an experiment before any work starts."""
    again = config_of(config.to_dict())
    assert again.identity == config.identity
    make_plan(config, data_too=False)
    config.quicker()


def toml(data: bytes) -> None:
    use(read_config(file_of(data, "row.toml")))


def table(data: bytes) -> None:
    try:
        facts = parse_json(data)
    except ValueError as error:
        raise ConfigError("no JSON") from error
    use(config_of(facts))


def sweep(data: bytes) -> None:
    found: Sweep = read_sweep(file_of(data, "sweep.toml"))
    if FEW < found.most_tasks <= MAX_TASKS:  # a task takes a millisecond
        found = replace(found, seeds=found.seeds[:1], networks=found.networks[:1], layers=found.layers[:1]).quicker()
    assert len(found.tasks()) >= 3


def _rows() -> list[bytes]:
    shipped = [path.read_bytes() for path in sorted((SHIPPED / "rows").glob("*.toml"))[:6]]
    return [*shipped, SMALL.encode(), BLOCKS.encode()]


def _tables() -> list[bytes]:
    import json

    return [json.dumps(read_config(file_of(row, "row.toml")).to_dict()).encode() for row in _rows()]


def _sweeps() -> list[bytes]:
    """Small ones, which run a thousand times in the time of a hundred shipped ones, and the smallest of those."""
    head = b'title = "a"\nbase = "digits-fc2-brickwall"\nseeds = [0]\n'
    network = b'[[networks]]\nname = "mpo"\nparameters = [200]\n'
    variant = b'[[variants]]\nname = "b"\nstage1 = {objective = "none"}\nstage2 = {epochs = 0}\n'
    part = b'[networks.layer."fc1.weight"]\nrow_modes = [4, 4, 4]\ncol_modes = [4, 4, 4]\n'
    more = b'[[networks]]\nname = "brickwall"\nrow = "c"\nlayout = "interleaved"\nsizes = [1, 2]\n'
    more += b'parts = 2\ncombine = "sum"\n'
    shipped = (SHIPPED / "sweeps" / "lenet5-mnist-logits.toml").read_bytes()
    rates = b'rates = [0.01, 0.1]\nlayers = [["fc1.weight"], ["fc2.weight"]]\nquick = {dense = {epochs = 1}}\n'
    return [head + network, head + variant + network + part, head + more, head + rates + network, shipped]


SMALL = """title = "a"
seeds = [0, 1]
model = {name = "fc2", options = {hidden = 8}}
data = {name = "digits", train = 10}
compress = {layers = ["fc1.weight"]}
network = {name = "brickwall", layers = 2, layer = {"fc1.weight" = {layers = 3}}}
[[rivals]]
name = "tucker"
ranks = 2
row = "b"
[quick]
dense = {epochs = 1}
"""
BLOCKS = """title = "a"
model = {name = "transformer", options = {width = 8, heads = 2, hidden = 4, depth = 2}}
data = {name = "digits"}
compress = {layers = ["head.weight"]}
network = {name = "brickwall", layers = 2}
"""
WORDS: Any = (
    *CHECKS,
    *(key for table in CHECKS.values() for key in table),
    "parameters",
    "parts",
    "combine",
    "layer",
    "row",
)
WORDS = (*dict.fromkeys(WORDS), "inf", "nan", "1979-05-27T07:32:00Z", "0xffff", "title", "seeds", "rivals", "network")
COVERED = ("adntn_ref.experiments", "adntn_ref.compression.jsontext", "adntn_ref.networks", "adntn_ref.nn.zoo")
TARGETS = [
    Target("config", toml, _rows, words=WORDS, mutate=of_toml, covered=COVERED),
    Target("config-built", table, _tables, words=WORDS, mutate=of_json, covered=COVERED),
    Target(
        "sweep",
        sweep,
        _sweeps,
        words=(*WORDS, "base", "networks", "sizes", "rates", "variants"),
        mutate=of_toml,
        covered=COVERED,
    ),
]

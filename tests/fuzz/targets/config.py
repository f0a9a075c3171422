"""Experiments and sweeps: TOML files, and tables built from JSON, which reaches further."""

from pathlib import Path
from typing import Any

import adntn_ref.experiments
from adntn_ref.compression.jsontext import parse_json
from adntn_ref.errors import ConfigError
from adntn_ref.experiments.config import CHECKS, Config, config_of, read_config
from adntn_ref.experiments.plan import make_plan
from adntn_ref.experiments.sweep import Sweep, read_sweep
from fuzz.harness import Target, file_of
from fuzz.mutate import of_json, of_toml

SHIPPED = Path(adntn_ref.experiments.__file__).parent


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
    assert len(found.tasks()) >= 3
    found.quicker()


def _rows() -> list[bytes]:
    return [path.read_bytes() for path in sorted((SHIPPED / "rows").glob("*.toml"))[:6]] + [SMALL.encode()]


def _tables() -> list[bytes]:
    import json

    return [json.dumps(read_config(file_of(row, "row.toml")).to_dict()).encode() for row in _rows()]


def _sweeps() -> list[bytes]:
    small = b'title = "a"\nbase = "digits-fc2-brickwall"\n[[networks]]\nname = "mpo"\nparameters = [200]\n'
    return [small, *(path.read_bytes() for path in sorted((SHIPPED / "sweeps").glob("*.toml")))]


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
TARGETS = [
    Target("config", toml, _rows, words=WORDS, mutate=of_toml),
    Target("config-built", table, _tables, words=WORDS, mutate=of_json),
    Target("sweep", sweep, _sweeps, words=(*WORDS, "base", "networks", "sizes", "rates"), mutate=of_toml),
]

"""What an experiment is: a TOML file, checked strictly.

::

    title = "FC-2 on MNIST, one layer of bricks a weight"
    seeds = [0, 1, 2]

    [model]
    name = "fc2"

    [data]
    name = "mnist5k"

    [compress]
    layers = ["fc1.weight", "fc2.weight"]

    [network]                # what a specification has, but the shape
    name = "brickwall"
    layers = 1

    [[rivals]]               # shallow by default: an MPO of at most as many parameters, weight by weight
    name = "mpo"

Further tables, all with defaults: ``dense``, ``stage1``, ``stage2``, ``published`` (the paper's figures), and
``quick``, which overrides any of these for a run with ``--quick``.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from adntn_ref.ad.arrays import REAL
from adntn_ref.compression.compress import FIRST_STAGES, ORDERS
from adntn_ref.compression.method import STEPS
from adntn_ref.compression.train import LOSSES
from adntn_ref.errors import ConfigError
from adntn_ref.experiments.catalogue import DATA, MODELS
from adntn_ref.experiments.checks import (
    Check,
    check_table,
    count,
    names,
    number,
    one_of,
    optional,
    rates,
    seeds,
    table,
    text,
    warmup,
)
from adntn_ref.experiments.choice import COMBINE, Choice, choice_of
from adntn_ref.experiments.tomltext import read_toml, require_plain


@dataclass(frozen=True)
class Model:
    """The model, by its name in the catalogue; ``options`` are those of its function, ``{"dropout": 0.2}``."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Data:
    """The data set, by its name; ``train``, ``validation`` and ``test`` take the first so many images of each part.

    ``size`` interpolates them to so many pixels a side.
    """

    name: str
    folder: str | None = None
    train: int | None = None
    validation: int | None = None
    test: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class Compress:
    """Names or glob patterns of the weights that are generated, in the order of compression."""

    layers: tuple[str, ...]


@dataclass(frozen=True)
class Dense:
    """The training of the dense baseline."""

    epochs: int = 15
    batch_size: int = 64
    rate: float = 1e-3


@dataclass(frozen=True)
class Stage1:
    """The fits of stage 1; see :func:`adntn_ref.compression.fit.fit`. Objective ``"none"`` leaves them out."""

    objective: str = "euclidean"
    optimiser: str = "adam"
    steps: int = 300
    rate: float | None = None
    start_share: float | None = None
    restarts: int = 1


@dataclass(frozen=True)
class Stage2:
    """The training of stage 2, the same for every row; of several ``cores_rates`` the validation part chooses.

    No ``epochs``: no stage 2. ``loss = "distil"`` reads no labels, ``labels_per_class`` is how many it may read; the
    dense baseline has them all.
    """

    epochs: int = 15
    epochs_between: int = 3
    order: str = "layer_by_layer"
    batch_size: int = 64
    cores_rates: tuple[float, ...] = (5e-3,)
    rest_rate: float = 1e-3
    warmup_epochs: float = 2.0
    frozen: tuple[str, ...] = ()
    loss: str = "labels"
    labels_per_class: int | None = None


@dataclass(frozen=True)
class Published:
    """What a paper reports for this row, accuracies in percent; it is shown beside ours and enters nothing."""

    source: str
    dense_accuracy: float | None = None
    accuracy: float | None = None
    parameters: int | None = None
    ratio: float | None = None
    note: str | None = None


_PART = optional(count(1))
CHECKS: dict[str, dict[str, Check]] = {
    "model": {"name": one_of("model", MODELS), "options": table},
    "data": {
        "name": one_of("data set", DATA),
        "folder": optional(text),
        **dict.fromkeys(("train", "validation", "test", "size"), _PART),
    },
    "compress": {"layers": names},
    "dense": {"epochs": count(1), "batch_size": count(1), "rate": number},
    "stage1": {
        "objective": one_of("objective", FIRST_STAGES),
        "optimiser": one_of("optimiser", STEPS),
        "steps": count(1),
        "rate": optional(number),
        "start_share": optional(number),
        "restarts": count(1),
    },
    "stage2": {
        "epochs": count(0),
        "epochs_between": count(0),
        "order": one_of("order", ORDERS),
        "batch_size": count(1),
        "cores_rates": rates,
        "rest_rate": number,
        "warmup_epochs": warmup,
        "frozen": names,
        "loss": one_of("loss", LOSSES),
        "labels_per_class": _PART,
    },
    "published": {
        "source": text,
        "dense_accuracy": optional(number),
        "accuracy": optional(number),
        "parameters": optional(count(1)),
        "ratio": optional(number),
        "note": optional(text),
    },
}
"""Table -> key -> what its value must be."""

_TABLES = {"model": Model, "data": Data, "compress": Compress, "dense": Dense, "stage1": Stage1, "stage2": Stage2}
_TEXTS = ("title", "about", "published")
_KEYS = (*_TABLES, "network", "rivals", "seeds", "dtype", "quick", *_TEXTS)


@dataclass(frozen=True)
class Config:
    """One experiment; see the module's text for the file it is read from."""

    title: str
    model: Model
    data: Data
    compress: Compress
    network: Choice
    rivals: tuple[Choice, ...] = (Choice("mpo"),)
    dense: Dense = field(default_factory=Dense)
    stage1: Stage1 = field(default_factory=Stage1)
    stage2: Stage2 = field(default_factory=Stage2)
    seeds: tuple[int, ...] = (0,)
    dtype: str = "float32"
    about: str = ""
    published: Published | None = None
    quick: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict that :func:`config_of` reads back."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        found.update({key: asdict(found[key]) for key in _TABLES})
        found["network"] = self.network.to_dict()
        found["rivals"] = [rival.to_dict() for rival in self.rivals]
        found["published"] = asdict(self.published) if self.published else None
        return json.loads(json.dumps(_without_none(found)))  # type: ignore[no-any-return]

    @property
    def identity(self) -> str:
        """A short text that tells experiments with other results apart: titles and folders do not enter."""
        facts = {key: value for key, value in self.to_dict().items() if key not in (*_TEXTS, "quick")}
        facts["data"].pop("folder", None)
        if facts["stage2"]["loss"] == Stage2.loss:  # as before there was a choice, for records of that time
            del facts["stage2"]["loss"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def with_changes(self, changes: Mapping[str, Any]) -> "Config":
        """Return the experiment with other values, ``{"stage2": {"epochs": 3}}``, checked like a file's.

        Raises
        ------
        ConfigError
        """
        return config_of(_merged(self.to_dict(), changes))

    def quicker(self) -> "Config":
        """Return a variant that takes about a minute: one seed, few images and epochs, then what ``quick`` says."""
        least: dict[str, Any] = {
            "seeds": list(self.seeds[:1]),
            "data": {"train": 1000, "validation": 200, "test": 500},
            "dense": {"epochs": min(self.dense.epochs, 3)},
            "stage1": {"steps": min(self.stage1.steps, 60)},
            "stage2": {
                "epochs": min(self.stage2.epochs, 3),
                "epochs_between": min(self.stage2.epochs_between, 1),
                "warmup_epochs": min(self.stage2.warmup_epochs, 1.0),
            },
        }
        least["stage2"]["cores_rates"] = list(self.stage2.cores_rates[:1])
        made = self.with_changes(_merged(least, self.quick))
        # Published figures are for the whole row; beside these accuracies they would mislead.
        return replace(made, title=f"{self.title} (quick)", quick={}, published=None)


def config_of(facts: Any) -> Config:
    """Read an experiment from a dict.

    Raises
    ------
    ConfigError
        For anything unknown, missing or of a wrong kind, naming the place and what is allowed there.
    """
    require_plain("the configuration", facts)
    check_table("the configuration", facts, _KEYS, ("title", "model", "data", "compress", "network"))
    made: dict[str, Any] = {"title": text("title", facts["title"]), "about": text("about", facts.get("about", ""))}
    for name, kind in _TABLES.items():
        made[name] = _read(name, kind, facts.get(name, {}))
    if facts.get("published") is not None:
        made["published"] = _read("published", Published, facts["published"])
    if not made["compress"].layers:
        raise ConfigError("compress.layers must name at least one weight")
    made["network"] = choice_of("network", facts["network"], needs_size=True)
    rivals = facts.get("rivals", [{"name": "mpo"}])
    if not isinstance(rivals, list | tuple):
        raise ConfigError(f"rivals must be tables [[rivals]], got {rivals!r}")
    made["rivals"] = tuple(choice_of(f"rivals[{k}]", rival) for k, rival in enumerate(rivals))
    rows = [made["network"].row, *(rival.row for rival in made["rivals"]), "dense", "frozen_random"]
    if len(set(rows)) < len(rows):
        raise ConfigError(f"rows need different names, got {', '.join(rows)}; give a rival a `row` of its own")
    made["seeds"] = seeds("seeds", facts.get("seeds", [0]))
    made["dtype"] = one_of("dtype", REAL)("dtype", facts.get("dtype", "float32"))
    quick = facts.get("quick", {})
    check_table("quick", quick, tuple(key for key in _KEYS if key not in (*_TEXTS, "quick")), ())
    made["quick"] = quick
    return Config(**made)


def read_config(path: str | Path) -> Config:
    """Read an experiment from a TOML file.

    Raises
    ------
    ConfigError
        For a file that is missing or no TOML, and all that :func:`config_of` refuses.
    """
    return config_of(read_toml(path))


def _read(name: str, kind: Any, given: Any) -> Any:
    """Read one table into its dataclass."""
    checks = CHECKS[name]
    needed = [f.name for f in fields(kind) if f.default is f.default_factory]  # both are MISSING
    check_table(name, given, tuple(checks), needed)
    return kind(**{key: checks[key](f"{name}.{key}", value) for key, value in given.items()})


def _merged(facts: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``facts`` with ``changes`` over them, table by table; a network that is named is replaced as a whole."""
    found = dict(facts)
    for key, value in changes.items():
        here = found.get(key)
        whole = key == "network" and isinstance(value, Mapping) and "name" in value
        both = isinstance(here, Mapping) and isinstance(value, Mapping) and not whole
        found[key] = _merged(here, value) if both and isinstance(here, Mapping) else value
    return found


def _without_none(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _without_none(value) for key, value in tree.items() if value is not None}
    return [_without_none(value) for value in tree] if isinstance(tree, list | tuple) else tree


__all__ = ["COMBINE", "Config", "config_of", "read_config", "read_toml"]

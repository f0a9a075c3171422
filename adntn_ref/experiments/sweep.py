"""Sweeps: layers x networks x sizes x rates x seeds, run by any ``concurrent.futures.Executor``.

::

    title = "FC-2 on digits: networks and sizes"
    base = "digits-fc2-brickwall"        # a shipped experiment or a TOML file: model, data, trainings
    layers = [["fc1.weight"]]            # default: those of the base
    seeds = [0, 1, 2]                    # default: those of the base
    rates = [0.005, 0.01]                # of the cores; default: those of the base

    [[networks]]
    name = "brickwall"
    sizes = [1, 3, 5]                    # of what the parameters grow with: layers here, chi, rank

    [[networks]]
    name = "mpo"
    parameters = [200, 1000]             # the largest that has at most so many, weight by weight

    [[variants]]                         # none: the base as it is
    name = "no stage 1"
    stage1 = { objective = "none" }      # and stage2 = {...}: what is different

Every sweep has the dense network and the layers frozen at random beside its networks. Of several rates the best on the
validation part, on the average over the seeds, stands for a network.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref.errors import ConfigError
from adntn_ref.experiments.catalogue import make_model
from adntn_ref.experiments.checks import check_table, count, names, rates, seeds, text
from adntn_ref.experiments.choice import Choice, choice_of
from adntn_ref.experiments.config import Config, read_toml
from adntn_ref.experiments.plan import Plan, make_plan
from adntn_ref.experiments.record import wilson
from adntn_ref.experiments.shipped import find_config, is_file, shipped_files
from adntn_ref.experiments.tasks import Task
from adntn_ref.networks.registry import size_field

KEYS = ("title", "base", "layers", "networks", "seeds", "rates", "variants", "quick")
MAX_TASKS = 20_000
"""A larger sweep is refused before its tasks are made and checked, which takes about a millisecond each."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep runs through; ``variants`` are the base with other stages, each with its name."""

    title: str
    base: Config
    layers: tuple[tuple[str, ...], ...]
    networks: tuple[Choice, ...]
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    variants: tuple[tuple[str, Config], ...] = ()

    @property
    def bases(self) -> tuple[tuple[str, Config], ...]:
        """The variants; the base itself, without a name, where there are none."""
        return self.variants or (("", self.base),)

    def _changed(self, change: Callable[[Config], Config], **values: Any) -> "Sweep":
        variants = tuple((name, change(config)) for name, config in self.variants)
        return replace(self, base=change(self.base), variants=variants, **values)

    def quicker(self) -> "Sweep":
        """Return a variant of one seed, one rate, few images and epochs."""
        few = {"seeds": self.seeds[:1], "rates": self.rates[:1]}
        return self._changed(Config.quicker, title=f"{self.title} (quick)", **few)

    def with_base(self, changes: Mapping[str, Any]) -> "Sweep":
        """Return the sweep with other values in its base."""
        return self._changed(lambda config: config.with_changes(changes))

    def with_seeds(self, chosen: Sequence[int]) -> "Sweep":
        """Return the sweep with other seeds."""
        return replace(self, seeds=seeds("seeds", list(chosen)))

    @property
    def most_tasks(self) -> int:
        """The number of tasks, those that turn out to be the same counted apart."""
        each = 2 + len(self.networks) * len(self.rates)
        return len(self.seeds) * (1 + len(self.layers) * len(self.bases) * each)

    def tasks(self) -> list[Task]:
        """Return all tasks, the baselines first; each is checked against the model.

        Raises
        ------
        ConfigError
            For more than 20,000 of them, and for one that cannot be.
        """
        if self.most_tasks > MAX_TASKS:
            raise ConfigError(f"a sweep has at most {MAX_TASKS:,} tasks, this one {self.most_tasks:,}")
        found: dict[str, Task] = {}
        for seed in self.seeds:
            task = self._plain("dense", seed, self._dense_layers(None))
            found[task.key] = task
        for layers, seed, (_, base) in product(self.layers, self.seeds, self.bases):
            made = [
                self._plain("dense_stage2", seed, self._dense_layers(layers), base),
                self._plain("frozen_random", seed, layers, base),
                *(self.row_task(layers, c, rate, seed, base) for c in self.networks for rate in self.rates),
            ]
            found.update({task.key: task for task in made})
        for task in found.values():
            make_plan(task.config)
        return list(found.values())

    def row_task(
        self, layers: tuple[str, ...], choice: Choice, rate: float, seed: int, base: Config | None = None
    ) -> Task:
        """Return the task of one network, by default in the base's stages."""
        return Task("row", self._config(layers, choice, rate, seed, base or self.base))

    def plain_tasks(self, kind: str, layers: tuple[str, ...], base: Config | None = None) -> list[Task]:
        """Return the tasks of a row without networks, one a seed."""
        return [self._plain(kind, seed, layers, base) for seed in self.seeds]

    def _dense_layers(self, layers: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return what stands for the layers in tasks that do not depend on them.

        The dense row's stage 2 does so where stage 2 freezes parameters: the compressed ones are trained all the same.
        """
        if layers is not None and self.base.stage2.frozen:
            return layers
        model = self.base.model
        shapes = make_model(model.name, self.base.data.name, model.options, self.base.data.size).param_shapes
        return (next(name for name, shape in shapes.items() if len(shape) > 1),)

    def _plain(self, kind: str, seed: int, layers: tuple[str, ...], base: Config | None = None) -> Task:
        # Neither the network nor stage 1 matters; fixed ones, so that the key does not depend on which are swept.
        steady = self.base if base is None else replace(base, stage1=self.base.stage1)
        return Task(kind, self._config(layers, Choice("mpo", entries={"chi": 1}), self.rates[0], seed, steady))

    def _config(self, layers: tuple[str, ...], choice: Choice, rate: float, seed: int, base: Config) -> Config:
        return replace(
            base,
            compress=replace(base.compress, layers=layers),
            network=choice,
            rivals=(),
            stage2=replace(base.stage2, cores_rates=(rate,)),
            seeds=(seed,),
            published=None,
            quick={},
        )


def read_sweep(path: str | Path) -> Sweep:
    """Read a sweep from a TOML file, or a shipped one by name; its base may be a file beside it.

    Raises
    ------
    ConfigError
        For anything unknown, missing or of a wrong kind.
    """
    shipped = shipped_files("sweeps")
    where = shipped.get(str(path), Path(path))
    if str(path) not in shipped and not is_file(where):
        raise ConfigError(f"no file and no shipped sweep is called {str(path)!r}; shipped: {', '.join(shipped)}")
    facts = read_toml(where)
    check_table("the sweep", facts, KEYS, ("title", "base", "networks"))
    base_name = text("base", facts["base"])
    beside = where.parent / base_name
    base = find_config(str(beside) if is_file(beside) else base_name)
    quick = facts.get("quick", {})
    base = replace(base, quick={**base.quick, **quick}) if isinstance(quick, Mapping) else base
    layers = facts.get("layers", [list(base.compress.layers)])
    if not isinstance(layers, list) or not layers:
        raise ConfigError(f"layers must be a list of lists of names, got {layers!r}")
    return Sweep(
        text("title", facts["title"]),
        base,
        tuple(names(f"layers[{k}]", entry) for k, entry in enumerate(layers)),
        _choices(facts["networks"]),
        seeds("seeds", facts.get("seeds", list(base.seeds))),
        rates("rates", facts.get("rates", list(base.stage2.cores_rates))),
        _variants(base, facts.get("variants", [])),
    )


def _variants(base: Config, tables: Any) -> tuple[tuple[str, Config], ...]:
    """Return the base with what each variant changes in its stages."""
    if not isinstance(tables, list):
        raise ConfigError(f"variants must be tables [[variants]], got {tables!r}")
    found: dict[str, Config] = {}
    for k, table in enumerate(tables):
        place = f"variants[{k}]"
        check_table(place, table, ("name", "stage1", "stage2"), ("name",))
        name = text(f"{place}.name", table["name"])
        if not name or name in found:
            raise ConfigError(f"{place}.name must be new and not empty, got {name!r}")
        found[name] = base.with_changes({key: value for key, value in table.items() if key != "name"})
    return tuple(found.items())


def _choices(tables: Any) -> tuple[Choice, ...]:
    """Return a choice for each network and size."""
    if not isinstance(tables, list) or not tables:
        raise ConfigError(f"networks must be tables [[networks]], got {tables!r}")
    found: list[Choice] = []
    for k, table in enumerate(tables):
        place = f"networks[{k}]"
        if not isinstance(table, Mapping):
            raise ConfigError(f"{place} must be a table, got {table!r}")
        entries = dict(table)
        sizes, limits = entries.pop("sizes", []), entries.pop("parameters", [])
        plain = choice_of(place, entries)  # names what is wrong in the file's own words
        if bool(sizes) == bool(limits) or not isinstance(sizes, list) or not isinstance(limits, list):
            raise ConfigError(f"{place} needs either sizes or parameters, a list")
        field = size_field(plain.name) if sizes else "parameters"
        for value in sizes or limits:
            if field != "ranks" or not isinstance(value, list):
                count(1)(f"{place}.{'sizes' if sizes else field}", value)
            label = value if isinstance(value, int) else "-".join(map(str, value))
            row = f"{plain.row}-{'' if sizes else 'p'}{label}"
            found.append(choice_of(place, {**entries, field: value, "row": row}))
    rows = Counter(choice.row for choice in found)
    if twice := sorted(row for row, times in rows.items() if times > 1):
        raise ConfigError(f"networks: {', '.join(twice)} is there twice; give one a `row` of its own")
    return tuple(found)


def summarise_sweep(sweep: Sweep, results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the points of a sweep: one a set of layers and a network, over the seeds that are done.

    A network of which some rate or seed failed or is missing says how many seeds it stands for.
    """
    points: list[dict[str, Any]] = []
    for layers, (variant, base) in product(sweep.layers, sweep.bases):
        frozen = sweep.plain_tasks("frozen_random", layers, base)
        plan = make_plan(frozen[0].config, data_too=False)
        dense = sweep.plain_tasks("dense_stage2", sweep._dense_layers(layers), base)
        points.append(_point(plan, "dense", dense, results, None, variant))
        for choice in sweep.networks:
            by_rate = {r: [sweep.row_task(layers, choice, r, s, base) for s in sweep.seeds] for r in sweep.rates}
            rate = max(sweep.rates, key=lambda r: _validation(by_rate[r], results))
            plan = make_plan(by_rate[rate][0].config, data_too=False)
            points.append(_point(plan, choice.row, by_rate[rate], results, rate, variant))
        points.append(_point(plan, "frozen_random", frozen, results, None, variant))
    failed = {key: result["error"] for key, result in results.items() if "error" in result}
    return {
        "title": sweep.title,
        "model": sweep.base.model.name,
        "data": sweep.base.data.name,
        "seeds": list(sweep.seeds),
        "rates": list(sweep.rates),
        "points": points,
        "failed": failed,
    }


def _validation(tasks: list[Task], results: Mapping[str, Mapping[str, Any]]) -> float:
    scores = [f["validation_accuracy"] for f in _facts(tasks, results)]
    return float(np.mean(scores)) if scores else -1.0


def _facts(tasks: list[Task], results: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [results[task.key]["facts"] for task in tasks if "facts" in results.get(task.key, {})]


def _point(
    plan: Plan,
    row: str,
    tasks: list[Task],
    results: Mapping[str, Mapping[str, Any]],
    rate: float | None,
    variant: str,
) -> dict[str, Any]:
    facts = _facts(tasks, results)
    label = plan.config.network.label if row in plan.networks else plan.label(row)
    if row in plan.networks and row.rpartition("-")[0] != plan.config.network.name:
        label = f"{label} ({row})"
    parameters = plan.parameters(row)
    point: dict[str, Any] = {
        "row": row,
        "network": plan.config.network.name if row in plan.networks else row,
        "label": label,
        "variant": variant,
        "layers": list(plan.layers),
        "weights": plan.weights,
        "parameters": parameters,
        "ratio": plan.weights / parameters if parameters else None,
        "seeds": len(facts),
        "cores_rate": rate,
        "spec": plan.networks[row][plan.layers[0]].to_spec() if row in plan.networks else None,
        "accuracy": None,
    }
    if facts:
        right, images = sum(f["right"] for f in facts), sum(f["test_images"] for f in facts)
        accuracies = [f["right"] / f["test_images"] for f in facts]
        stage1 = [f["stage1_right"] / f["test_images"] for f in facts if "stage1_right" in f]
        fitted = [f["stage1_validation_accuracies"] for f in facts if "stage1_validation_accuracies" in f]
        seconds = [results[t.key]["timing"]["seconds"] for t in tasks if "facts" in results.get(t.key, {})]
        point.update(
            accuracy=right / images,
            accuracies=accuracies,
            interval=list(wilson(right, images)),
            validation_accuracy=float(np.mean([f["validation_accuracy"] for f in facts])),
            stage1_accuracy=float(np.mean(stage1)) if stage1 else None,
            # of all layers at once: layer by layer each is followed by training
            stage1_validation_accuracy=float(np.mean(fitted)) if stage1 and fitted else None,
            seconds=float(np.mean(seconds)),
        )
    return point

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

Every sweep has the dense network and the layers frozen at random beside its networks. Of several rates the best on the
validation part, on the average over the seeds, stands for a network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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

KEYS = ("title", "base", "layers", "networks", "seeds", "rates", "quick")


@dataclass(frozen=True)
class Sweep:
    """What a sweep runs through."""

    title: str
    base: Config
    layers: tuple[tuple[str, ...], ...]
    networks: tuple[Choice, ...]
    seeds: tuple[int, ...]
    rates: tuple[float, ...]

    def quicker(self) -> "Sweep":
        """Return a variant of one seed, one rate, few images and epochs."""
        base = self.base.quicker()
        return replace(self, title=f"{self.title} (quick)", base=base, seeds=self.seeds[:1], rates=self.rates[:1])

    def with_base(self, changes: Mapping[str, Any]) -> "Sweep":
        """Return the sweep with other values in its base."""
        return replace(self, base=self.base.with_changes(changes))

    def with_seeds(self, chosen: Sequence[int]) -> "Sweep":
        """Return the sweep with other seeds."""
        return replace(self, seeds=seeds("seeds", list(chosen)))

    def tasks(self) -> list[Task]:
        """Return all tasks, the baselines first; each is checked against the model.

        Raises
        ------
        ConfigError
        """
        found: dict[str, Task] = {}
        for seed in self.seeds:
            task = self._plain("dense", seed, self._dense_layers(None))
            found[task.key] = task
        for layers in self.layers:
            for seed in self.seeds:
                for kind, of in (("dense_stage2", self._dense_layers(layers)), ("frozen_random", layers)):
                    task = self._plain(kind, seed, of)
                    found[task.key] = task
                for choice in self.networks:
                    for rate in self.rates:
                        task = self.row_task(layers, choice, rate, seed)
                        found[task.key] = task
        for task in found.values():
            make_plan(task.config)
        return list(found.values())

    def row_task(self, layers: tuple[str, ...], choice: Choice, rate: float, seed: int) -> Task:
        """Return the task of one network."""
        return Task("row", self._config(layers, choice, rate, seed))

    def plain_tasks(self, kind: str, layers: tuple[str, ...]) -> list[Task]:
        """Return the tasks of a row without networks, one a seed."""
        return [self._plain(kind, seed, layers) for seed in self.seeds]

    def _dense_layers(self, layers: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return what stands for the layers in tasks that do not depend on them.

        The dense row's stage 2 does so where stage 2 freezes parameters: the compressed ones are trained all the same.
        """
        if layers is not None and self.base.stage2.frozen:
            return layers
        model = self.base.model
        shapes = make_model(model.name, self.base.data.name, model.options, self.base.data.size).param_shapes
        return (next(name for name, shape in shapes.items() if len(shape) > 1),)

    def _plain(self, kind: str, seed: int, layers: tuple[str, ...]) -> Task:
        # The network does not matter; a fixed one, so that the key does not depend on which are swept.
        return Task(kind, self._config(layers, Choice("mpo", entries={"chi": 1}), self.rates[0], seed))

    def _config(self, layers: tuple[str, ...], choice: Choice, rate: float, seed: int) -> Config:
        base = self.base
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
    )


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
    rows = [choice.row for choice in found]
    if twice := sorted({row for row in rows if rows.count(row) > 1}):
        raise ConfigError(f"networks: {', '.join(twice)} is there twice; give one a `row` of its own")
    return tuple(found)


def summarise_sweep(sweep: Sweep, results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the points of a sweep: one a set of layers and a network, over the seeds that are done.

    A network of which some rate or seed failed or is missing says how many seeds it stands for.
    """
    points: list[dict[str, Any]] = []
    for layers in sweep.layers:
        frozen = sweep.plain_tasks("frozen_random", layers)
        plan = make_plan(frozen[0].config, data_too=False)
        points.append(
            _point(plan, "dense", sweep.plain_tasks("dense_stage2", sweep._dense_layers(layers)), results, None)
        )
        for choice in sweep.networks:
            by_rate = {r: [sweep.row_task(layers, choice, r, seed) for seed in sweep.seeds] for r in sweep.rates}
            rate = max(sweep.rates, key=lambda r: _validation(by_rate[r], results))
            plan = make_plan(by_rate[rate][0].config, data_too=False)
            points.append(_point(plan, choice.row, by_rate[rate], results, rate))
        points.append(_point(plan, "frozen_random", frozen, results, None))
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
    plan: Plan, row: str, tasks: list[Task], results: Mapping[str, Mapping[str, Any]], rate: float | None
) -> dict[str, Any]:
    facts = _facts(tasks, results)
    label = plan.config.network.label if row in plan.networks else plan.label(row)
    parameters = plan.parameters(row)
    point: dict[str, Any] = {
        "row": row,
        "network": plan.config.network.name if row in plan.networks else row,
        "label": label,
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
        seconds = [results[t.key]["timing"]["seconds"] for t in tasks if "facts" in results.get(t.key, {})]
        point.update(
            accuracy=right / images,
            accuracies=accuracies,
            interval=list(wilson(right, images)),
            validation_accuracy=float(np.mean([f["validation_accuracy"] for f in facts])),
            stage1_accuracy=float(np.mean(stage1)) if stage1 else None,
            seconds=float(np.mean(seconds)),
        )
    return point

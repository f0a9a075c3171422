"""Running an experiment: dense baseline, both stages, controls and rivals, every seed; then the test part, once."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adntn_ref.ad.moving import choose_backend
from adntn_ref.compression.checkpoints import fingerprint
from adntn_ref.errors import RecordError
from adntn_ref.experiments.config import Config
from adntn_ref.experiments.plan import Plan, make_plan
from adntn_ref.experiments.record import RESULT, TIMING, Record, open_record, write_json
from adntn_ref.experiments.steps import (
    Made,
    after_stage1,
    compressed_row,
    control,
    data_of,
    dense_baseline,
    load_model,
    right_answers,
    save_model,
)
from adntn_ref.experiments.summary import step_name, summarise, summarise_timing
from adntn_ref.extras import need
from adntn_ref.nn.data import Split

MODEL, STAGE1 = ".safetensors", ".stage1.safetensors"
Tell = Callable[[str], None]
Make = Callable[[Path, str], Made]
"""``(folder of checkpoints, title of a progress bar) -> what a step made``."""


def run_experiment(
    config: Config,
    folder: str | Path,
    *,
    progress: bool = False,
    tell: Tell | None = None,
    backend: str | None = None,
) -> dict[str, Any]:
    """Run an experiment, or go on with one that was interrupted, and return its result.

    BLAS is held to one thread, for its sums would otherwise depend on the number of cores.

    Parameters
    ----------
    config : what to do
    folder : where the record is; made if need be
    progress : whether to show a bar for every training
    tell : called with a line of text for every step, with the time left
    backend : where to work, by :func:`~adntn_ref.ad.moving.choose_backend`; the record is written from the host, and
        does not tell backends apart but in ``starts.jsonl``

    Raises
    ------
    ConfigError, DataError
        Before work starts, for what cannot be done.
    RecordError, OutputError
        If the folder holds something else, or another process works there.
    """
    plan, where = make_plan(config), choose_backend(backend).name
    with (
        open_record(folder, config, where) as record,
        need("threadpoolctl", "demo").threadpool_limits(1, user_api="blas"),
    ):
        return _Run(plan, record, progress, tell or (lambda line: None), where).all()


class _Run:
    """One start of an experiment."""

    def __init__(self, plan: Plan, record: Record, progress: bool, tell: Tell, where: str) -> None:
        self.plan, self.record, self.progress, self.tell, self.where = plan, record, progress, tell, where
        self.rates = plan.config.stage2.cores_rates
        self.planned = self._planned()
        self.clock = _Clock()

    def all(self) -> dict[str, Any]:
        """Do what is left, and return the result."""
        done = self.record.result
        if done is not None:
            return done
        for seed in self.plan.config.seeds:
            self._seed(seed)
        for seed in self.plan.config.seeds:
            self._evaluate(seed)
        result = summarise(self.plan, self.record, self.chosen_rates())
        write_json(self.record.folder / TIMING, summarise_timing(self.plan, self.record, self.chosen_rates()))
        write_json(self.record.folder / RESULT, result)
        return result

    def _planned(self) -> int:
        """Return how many trainings there are in all."""
        networks, seeds = len(self.plan.networks), len(self.plan.config.seeds)
        return seeds * (3 + networks) + networks * (len(self.rates) - 1)

    def chosen_rates(self) -> dict[str, float]:
        """Return the rate of the cores for every row: of several, the best on the first seed's validation part."""
        return {row: self._rate(row) for row in self.plan.networks}

    def _rate(self, row: str) -> float:
        first = self.plan.config.seeds[0]
        scores = [
            self.record.read(step_name(self.plan, first, row, rate))["validation_accuracy"] for rate in self.rates
        ]
        return self.rates[scores.index(max(scores))]

    def _seed(self, seed: int) -> None:
        """Train all rows of a seed; the data are read only if something is left to do."""
        data: list[Split] = []

        def split() -> Split:
            if not data:
                data.append(data_of(self.plan, seed))
                self._check_data(seed, data[0])
            return data[0]

        def dense() -> Any:
            return load_model(self.plan.model, self.record.path(f"seed{seed}/dense", MODEL))

        def control_row(row: str) -> Make:
            return lambda folder, title: control(self.plan, row, split(), dense(), seed, folder, title, self.where)

        def network_row(row: str, rate: float) -> Make:
            return lambda folder, title: compressed_row(
                self.plan, row, split(), dense(), seed, rate, folder, title, self.where
            )

        def baseline(folder: Path, title: str) -> Made:
            return dense_baseline(self.plan, split(), seed, folder, title, self.where)

        self._step(f"seed{seed}/dense", baseline, seed)
        for row in ("dense", "frozen_random"):
            name = step_name(self.plan, seed, row)
            self._step(name, control_row(name.rpartition("/")[2]), seed)
        for row in self.plan.networks:
            first = seed == self.plan.config.seeds[0]
            for rate in self.rates if first else (self._rate(row),):
                self._step(step_name(self.plan, seed, row, rate), network_row(row, rate), seed)

    def _step(self, name: str, make: Make, seed: int) -> None:
        """Do one step unless it is done: its model files first, its json last."""
        self.planned -= 1
        if self.record.done(name):
            self.record.tidy(name)
            return
        self.tell(f"{name}{self.clock.left(self.planned + 1)}")
        started = time.perf_counter()
        made = make(self.record.checkpoints(name), name if self.progress else "")
        if made.compressed is not None and len(made.compressed.trainings) == 1:
            dense = load_model(self.plan.model, self.record.path(f"seed{seed}/dense", MODEL))
            stage1 = after_stage1(dense, made.compressed)
            save_model(self.record.path(name, STAGE1), stage1, made.compressed, seed)
        save_model(self.record.path(name, MODEL), made.params, made.compressed, seed)
        self.record.finish(name, made.facts, made.timing)
        self.clock.tick(time.perf_counter() - started)

    def _check_data(self, seed: int, data: Split) -> None:
        """Record what the images are, and refuse to go on with others."""
        parts = [array for part in (data.train, data.validation) for array in (part.images, part.labels)]
        step, facts = f"seed{seed}/data", {"train and validation": fingerprint(parts)}
        if not self.record.done(step):
            write_json(self.record.path(step, ".json"), facts)
        elif self.record.read(step) != facts:
            raise RecordError(
                f"{self.record.folder} was begun with other images for seed {seed}; choose another folder"
            )

    def _evaluate(self, seed: int) -> None:
        """Open the test part, when everything of every seed is trained, and count right answers of every row."""
        step = f"seed{seed}/test"
        if self.record.done(step):
            return
        self.tell(f"{step}: every setting is chosen, the test part is opened")
        test = data_of(self.plan, seed).open_test()
        rates, model = self.chosen_rates(), self.plan.model
        right: dict[str, int] = {}
        stage1: dict[str, int] = {}
        names = {row: step_name(self.plan, seed, row, rates.get(row)) for row in self.plan.rows}

        def answers(path: Path) -> int:
            return right_answers(model, load_model(model, path), test, self.where)

        for row in self.plan.rows:
            right[row] = answers(self.record.path(names[row], MODEL))
            path = self.record.path(names[row], STAGE1)
            if path.is_file():
                stage1[row] = answers(path)
        right["dense_before_stage2"] = answers(self.record.path(f"seed{seed}/dense", MODEL))
        write_json(self.record.path(step, ".json"), {"images": len(test), "right": right, "stage1_right": stage1})


class _Clock:
    """Seconds of the steps done in this start, and what they say of those left."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def tick(self, seconds: float) -> None:
        """Note a step's seconds."""
        self.seconds.append(seconds)

    def left(self, steps: int) -> str:
        """Return text such as ``": about 2 min left, 7 steps"``."""
        if not self.seconds:
            return f": {_steps(steps)} to go"
        return f": {_steps(steps)} to go, about {spoken(steps * sum(self.seconds) / len(self.seconds))} left"


def spoken(seconds: float) -> str:
    """Return a span of time for people, ``"40 s"``, ``"3 min"``, ``"2.5 h"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _steps(number: int) -> str:
    return "1 step" if number == 1 else f"{number} steps"

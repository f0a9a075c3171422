"""One task of a sweep: a picklable function of plain facts, which any executor can run in any process.

A task's facts say everything that its result depends on, so that their hash is its name for good: the same task gives
the same result on any worker, and a longer sweep finds those of a shorter one done.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from adntn_ref.compression.checkpoints import fingerprint
from adntn_ref.compression.safefile import from_bytes, in_bytes
from adntn_ref.errors import AdntnError
from adntn_ref.experiments.config import Config, config_of
from adntn_ref.experiments.plan import make_plan
from adntn_ref.experiments.steps import (
    Made,
    after_stage1,
    compressed_row,
    control,
    data_of,
    dense_baseline,
    right_answers,
)
from adntn_ref.extras import need
from adntn_ref.nn.models import Generated, Params

FORMAT = 1
THREADS_VARIABLE = "ADNTN_REF_THREADS"
KINDS = ("dense", "dense_stage2", "frozen_random", "row")
Facts = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A task: ``dense`` trains a seed's baseline, all others start from it.

    Parameters
    ----------
    kind : one of :data:`KINDS`
    config : an experiment of one seed, one rate, no rivals
    """

    kind: str
    config: Config

    @property
    def seed(self) -> int:
        """The seed."""
        return self.config.seeds[0]

    @property
    def key(self) -> str:
        """The task's name: a hash of all that its result depends on."""
        facts = {"format": FORMAT, "kind": self.kind, "identity": self.config.identity}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def dense_key(self) -> str:
        """What the baselines of two tasks have in common if they are the same."""
        config = self.config.to_dict()
        facts = {name: config[name] for name in ("model", "data", "dense", "dtype", "seeds")}
        facts["data"].pop("folder", None)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def label(self) -> str:
        """What people call it."""
        what = self.config.network.label if self.kind == "row" else self.kind.replace("_", " ")
        return f"seed {self.seed}: {what}"


def run_task(kind: str, facts: Facts, dense: bytes | None) -> tuple[Facts, bytes | None]:
    """Run a task; of a baseline the parameters are returned too, as a safetensors file in bytes.

    Parameters
    ----------
    kind : one of :data:`KINDS`
    facts : the task's configuration, as of ``Config.to_dict``
    dense : the baseline's parameters, for all kinds but ``"dense"``

    Returns
    -------
    result : JSON-able: ``facts``, the same on any machine, and ``timing``; or ``error``, for a run that cannot succeed
    params : of a baseline
    """
    config = config_of(facts)
    with one_thread():
        started = time.perf_counter()
        try:
            found, params = _run(kind, config, dense)
        except AdntnError as error:
            if error.exit_code == 2:
                raise  # not the run's fault: data that are missing, for instance
            return {"error": f"{type(error).__name__}: {error}"}, None
        found["timing"]["wall_seconds"] = time.perf_counter() - started
        return found, params


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS and our own threads to one: workers side by side would else take each core several times."""
    before = os.environ.get(THREADS_VARIABLE)
    os.environ[THREADS_VARIABLE] = "1"
    try:
        with need("threadpoolctl", "demo").threadpool_limits(1, user_api="blas"):
            yield
    finally:
        os.environ.pop(THREADS_VARIABLE, None)
        os.environ.update({} if before is None else {THREADS_VARIABLE: before})


def _run(kind: str, config: Config, dense: bytes | None) -> tuple[Facts, bytes | None]:
    plan = make_plan(config)
    seed = config.seeds[0]
    data = data_of(plan, seed)
    images = fingerprint([a for part in (data.train, data.validation) for a in (part.images, part.labels)])
    if kind == "dense":
        made = dense_baseline(plan, data, seed, None)
        return {"facts": {**_short(made), "images": images}, "timing": made.timing}, in_bytes(made.params)
    if dense is None:
        raise ValueError(f"a task of kind {kind} starts from a baseline")
    read = from_bytes(dense)
    start: Params = {name: read[name] for name in plan.model.state_shapes}
    if kind == "row":
        made = compressed_row(plan, plan.row, data, start, seed, config.stage2.cores_rates[0], None)
    else:
        made = control(plan, kind, data, start, seed, None)
    found = {"facts": {**_short(made), "images": images}, "timing": made.timing}
    test = data.open_test()  # this task's settings were all fixed before it began
    found["facts"]["test_images"] = len(test)
    final = made.params if made.compressed is None else made.compressed.dense_params()
    found["facts"]["right"] = right_answers(plan.model, final, test)
    if made.compressed is not None and len(made.compressed.trainings) == 1:
        stage1 = Generated(plan.model, made.compressed.model.networks).expand(after_stage1(start, made.compressed))
        found["facts"]["stage1_right"] = right_answers(plan.model, stage1, test)
    return found, None


def _short(made: Made) -> Facts:
    """Return a row's facts without its curves."""
    facts = {key: value for key, value in made.facts.items() if key not in ("stage2", "layers")}
    if "layers" in made.facts:
        facts["layers"] = {
            name: {key: value for key, value in layer.items() if key != "stage1"}
            for name, layer in made.facts["layers"].items()
        }
    return facts

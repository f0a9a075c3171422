"""The main job, end to end: LeNet-5 on real handwritten digits, three of its layers from a few thousand numbers.

Rows, each trained the same way from the same trained dense network: dense; brick-walls; the shallow MPO; and the same
layers frozen at random. The last is the control that says how much of an accuracy the other layers make up for by
themselves. Every compressed row is there twice, by the objective of its stage 1: Euclidean distance, as in the paper,
and what the logits feel of the layers' outputs. Settings were chosen on the validation part; the test part is opened
once a seed, after everything was trained.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adntn_ref.compression.compress import Compressed, compress, corrected_bias
from adntn_ref.compression.train import Rates, TrainResult, train
from adntn_ref.extras import need
from adntn_ref.networks.base import Network
from adntn_ref.networks.brickwall import BrickWall
from adntn_ref.networks.shallow import MPO
from adntn_ref.nn.data import Split, mnist5k
from adntn_ref.nn.models import Generated, Params, Sequential, accuracy
from adntn_ref.nn.zoo import lenet5

OBJECTIVES = ("euclidean", "logits")
"""Of stage 1, in the rows that are shown."""

LAYERS = ("conv2.weight", "fc1.weight", "fc2.weight")
MPO_MODES = {
    "conv2.weight": ((2, 2, 2, 2), (5, 5, 3, 2)),
    "fc1.weight": ((5, 3, 2, 4), (4, 4, 4, 4)),
    "fc2.weight": ((7, 3, 2, 2), (5, 3, 2, 4)),
}
"""Row and column modes of the shallow rival, which multiply to the layers' rows and columns exactly."""

RANDOM_SEED = 1_000
"""Added to the seed for the weights of the frozen-random control, so that they are not the dense network's start."""


@dataclass(frozen=True)
class DemoPlan:
    """Settings of the demo, chosen on the validation part.

    ``layers`` are the depths M of the brick-walls, the first the one that is shown and saved; ``epochs`` of each
    training; ``stage1_steps`` and ``stage1_rates`` by objective.
    """

    layers: tuple[int, ...] = (5,)
    seeds: tuple[int, ...] = (0,)
    dense_epochs: int = 15
    epochs: int = 25
    stage1_steps: tuple[int, int] = (300, 600)
    stage1_rates: tuple[float, float] = (5e-3, 1e-2)
    mpo_chi: int = 4
    layout: str = "interleaved"
    rates: Rates = field(default_factory=lambda: Rates(cores=1e-2, rest=1e-3))
    warmup_epochs: float = 2.0


QUICK = DemoPlan(dense_epochs=4, epochs=5, stage1_steps=(100, 200))
"""Settings that finish in seconds and show the same rows, less accurate."""


@dataclass
class SeedRun:
    """Everything one seed made: accuracies on the test part by row, and what is drawn and saved.

    ``compressed`` has a row a network and an objective: ``"brickwall 5"`` and ``"mpo"`` for the Euclidean distance,
    ``"brickwall 5 logits"`` and ``"mpo logits"`` for what the logits feel.
    """

    seed: int
    dense_params: Params
    compressed: dict[str, Compressed]
    trainings: dict[str, TrainResult]
    test_accuracy: dict[str, float]
    stage1_accuracy: dict[str, float]


def brickwalls(model: Sequential, plan: DemoPlan, layers: int) -> dict[str, Network]:
    """Return a brick-wall of M layers for each of the three weights."""
    return {name: BrickWall(model.param_shapes[name], layers, layout=plan.layout) for name in LAYERS}


def mpos(model: Sequential, plan: DemoPlan) -> dict[str, Network]:
    """Return the shallow rivals."""
    return {name: MPO(model.param_shapes[name], plan.mpo_chi, *MPO_MODES[name]) for name in LAYERS}


def compressed_rows(model: Sequential, plan: DemoPlan) -> dict[str, tuple[str, str, dict[str, Network]]]:
    """Return the compressed rows of the table: name -> (network, objective, networks by parameter)."""
    made = {f"brickwall {m}": brickwalls(model, plan, m) for m in plan.layers}
    made["mpo"] = mpos(model, plan)
    return {
        name if objective == "euclidean" else f"{name} {objective}": (name, objective, networks)
        for name, networks in made.items()
        for objective in OBJECTIVES
    }


def run_demo(plan: DemoPlan, *, progress: bool = False) -> tuple[dict[str, Any], list[SeedRun]]:
    """Run every seed of a plan and return the JSON-able results with the runs themselves.

    BLAS is held to one thread: on matrices this small a second one gains nothing, costs a great deal where another
    process wants the core, and would make the bits depend on the number of cores.
    """
    began = time.perf_counter()
    model = lenet5()
    with need("threadpoolctl", "demo").threadpool_limits(limits=1, user_api="blas"):
        runs = [run_seed(model, mnist5k(seed=seed), plan, seed, progress) for seed in plan.seeds]
    return summarise(model, plan, runs, time.perf_counter() - began), runs


def run_seed(model: Sequential, data: Split, plan: DemoPlan, seed: int, progress: bool = False) -> SeedRun:
    """Train, compress and evaluate with one seed."""

    def title(text: str) -> str:
        return f"seed {seed}: {text}" if progress else ""

    dense = train(model, model.init(seed), data, epochs=plan.dense_epochs, seed=seed, progress=title("dense network"))
    second: dict[str, Any] = {
        "epochs": plan.epochs,
        "rates": plan.rates,
        "warmup_epochs": plan.warmup_epochs,
        "seed": seed + 1,
    }
    trainings = {"dense": train(model, dense.params, data, progress=title("dense, stage 2"), **second)}
    rows: dict[str, Compressed] = {}
    for row, (_, objective, networks) in compressed_rows(model, plan).items():
        rows[row] = compress(
            model,
            networks,
            data,
            dense.params,
            objective=objective,
            stage1_steps=plan.stage1_steps[OBJECTIVES.index(objective)],
            stage1_rate=plan.stage1_rates[OBJECTIVES.index(objective)],
            order="together",
            progress=title(row),
            **second,
        )
        trainings[row] = rows[row].trainings[-1]
    random = {**dense.params, **{name: model.init(RANDOM_SEED + seed)[name] for name in LAYERS}}
    trainings["frozen_random"] = train(model, random, data, frozen=LAYERS, progress=title("frozen at random"), **second)
    test = data.open_test()
    final = {row: trainings[row].params for row in ("dense", "frozen_random")}
    final.update({row: made.dense_params() for row, made in rows.items()})
    return SeedRun(
        seed,
        dense.params,
        rows,
        trainings,
        {row: accuracy(model, params, test) for row, params in final.items()},
        {row: accuracy(model, after_stage1(dense.params, made), test) for row, made in rows.items()},
    )


def after_stage1(dense: Params, made: Compressed) -> Params:
    """Return the dense network's parameters with the weights exchanged for their fits, nothing retrained.

    Biases are those that go with the fits.
    """
    found = dict(dense)
    for name, result in made.fits.items():
        found.update({name: result.generate(), **corrected_bias(name, result, dense)})
    return found


def summarise(model: Sequential, plan: DemoPlan, runs: list[SeedRun], seconds: float) -> dict[str, Any]:
    """Return the results as a JSON-able dict: one row a way of making the three layers, means over the seeds."""
    weights = sum(int(np.prod(model.param_shapes[name])) for name in LAYERS)
    known = compressed_rows(model, plan)
    rows = [_row(model, row, weights, known.get(row), runs) for row in ("dense", *known, "frozen_random")]
    by_row = {entry["row"]: entry for entry in rows}
    name = f"brickwall {plan.layers[0]}"
    shown, by_logits = by_row[name], by_row[f"{name} logits"]
    return {
        "dense_accuracy": by_row["dense"]["accuracy"],
        "compressed_accuracy": shown["accuracy"],
        "stage1_accuracy": shown["stage1_accuracy"],
        "compressed_logits_accuracy": by_logits["accuracy"],
        "stage1_logits_accuracy": by_logits["stage1_accuracy"],
        "frozen_random_accuracy": by_row["frozen_random"]["accuracy"],
        "mpo_accuracy": by_row["mpo"]["accuracy"],
        "compression_ratio": shown["compression_ratio"],
        "weights": weights,
        "parameters": shown["parameters"],
        "seconds": seconds,
        "layers": list(plan.layers),
        "seeds": list(plan.seeds),
        "dense_epochs": plan.dense_epochs,
        "epochs": plan.epochs,
        "layout": plan.layout,
        "test_images": 1000,
        "rows": rows,
    }


def _row(
    model: Sequential, row: str, weights: int, known: tuple[str, str, dict[str, Network]] | None, runs: list[SeedRun]
) -> dict[str, Any]:
    """Return one row of the table, means over the seeds; ``known`` says what is compressed in it, if anything is."""
    network, objective, networks = known or (row, None, {})
    parameters = Generated(model, tuple(networks.items())).network_parameters
    if row == "dense":
        parameters = weights
    scores = [run.test_accuracy[row] for run in runs]
    stage1 = [run.stage1_accuracy[row] for run in runs] if known else []
    fits = [list(run.compressed[row].fits.values()) for run in runs] if known else []
    return {
        "row": row,
        "network": network,
        "objective": objective,
        "parameters": parameters,
        "compression_ratio": weights / parameters if parameters else None,
        "accuracy": float(np.mean(scores)),
        "accuracies": scores,
        "validation_accuracies": [run.trainings[row].validation_accuracy for run in runs],
        "stage1_accuracy": float(np.mean(stage1)) if known else None,
        "stage1_accuracies": stage1,
        "stage1_seconds": float(np.mean([sum(fit.seconds for fit in of_seed) for of_seed in fits])) if known else None,
        "seconds": float(np.mean([run.trainings[row].seconds for run in runs])),
    }

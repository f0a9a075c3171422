"""The main job, end to end: LeNet-5 on real handwritten digits, three of its layers from a few thousand numbers.

Four rows, each trained the same way from the same trained dense network: dense; brick-wall; the shallow MPO; and the
same layers frozen at random. The last is the control that says how much of an accuracy the other layers make up for
by themselves. Settings were chosen on the validation part; the test part is opened once a seed, after everything was
trained.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adntn_ref.compression.compress import Compressed, compress
from adntn_ref.compression.train import Rates, TrainResult, train
from adntn_ref.extras import need
from adntn_ref.networks.base import Network
from adntn_ref.networks.brickwall import BrickWall
from adntn_ref.networks.shallow import MPO
from adntn_ref.nn.data import Part, Split, mnist5k
from adntn_ref.nn.models import Generated, Params, Sequential, accuracy, lenet5

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
    training.
    """

    layers: tuple[int, ...] = (5,)
    seeds: tuple[int, ...] = (0,)
    dense_epochs: int = 15
    epochs: int = 25
    stage1_steps: int = 300
    mpo_chi: int = 4
    layout: str = "interleaved"
    rates: Rates = field(default_factory=lambda: Rates(cores=1e-2, rest=1e-3))
    warmup_epochs: float = 2.0


QUICK = DemoPlan(dense_epochs=4, epochs=5, stage1_steps=100)
"""Settings that finish in seconds and show the same rows, less accurate."""


@dataclass
class SeedRun:
    """Everything one seed made: accuracies on the test part by row, and what is drawn and saved."""

    seed: int
    dense_params: Params
    brickwalls: dict[int, Compressed]
    mpo: Compressed
    trainings: dict[str, TrainResult]
    test_accuracy: dict[str, float]
    stage1_accuracy: dict[str, float]


def brickwalls(model: Sequential, plan: DemoPlan, layers: int) -> dict[str, Network]:
    """Return a brick-wall of M layers for each of the three weights."""
    return {name: BrickWall(model.param_shapes[name], layers, layout=plan.layout) for name in LAYERS}


def mpos(model: Sequential, plan: DemoPlan) -> dict[str, Network]:
    """Return the shallow rivals."""
    return {name: MPO(model.param_shapes[name], plan.mpo_chi, *MPO_MODES[name]) for name in LAYERS}


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
    both: dict[str, Any] = {"stage1_steps": plan.stage1_steps, "order": "together", **second}
    walls: dict[int, Compressed] = {}
    for layers in plan.layers:
        nets = brickwalls(model, plan, layers)
        walls[layers] = compress(model, nets, data, dense.params, progress=title(f"brick-wall {layers}"), **both)
        trainings[f"brickwall {layers}"] = walls[layers].trainings[-1]
    mpo = compress(model, mpos(model, plan), data, dense.params, progress=title("MPO"), **both)
    trainings["mpo"] = mpo.trainings[-1]
    random = {**dense.params, **{name: model.init(RANDOM_SEED + seed)[name] for name in LAYERS}}
    trainings["frozen_random"] = train(model, random, data, frozen=LAYERS, progress=title("frozen at random"), **second)
    test = data.open_test()
    final = {"dense": trainings["dense"].params, "frozen_random": trainings["frozen_random"].params}
    final.update({f"brickwall {m}": wall.dense_params() for m, wall in walls.items()}, mpo=mpo.dense_params())
    return SeedRun(
        seed,
        dense.params,
        walls,
        mpo,
        trainings,
        {row: accuracy(model, params, test) for row, params in final.items()},
        {row: _after_stage1(model, dense.params, made, test) for row, made in _compressed(walls, mpo).items()},
    )


def _compressed(walls: dict[int, Compressed], mpo: Compressed) -> dict[str, Compressed]:
    return {**{f"brickwall {m}": wall for m, wall in walls.items()}, "mpo": mpo}


def _after_stage1(model: Sequential, dense: Params, made: Compressed, test: Part) -> float:
    """Return the accuracy of the dense network with its three weights exchanged for their fits, nothing retrained."""
    return accuracy(model, {**dense, **{name: result.generate() for name, result in made.fits.items()}}, test)


def summarise(model: Sequential, plan: DemoPlan, runs: list[SeedRun], seconds: float) -> dict[str, Any]:
    """Return the results as a JSON-able dict: one row a way of making the three layers, means over the seeds."""
    weights = sum(int(np.prod(model.param_shapes[name])) for name in LAYERS)
    counts = {f"brickwall {m}": Generated(model, tuple(brickwalls(model, plan, m).items())) for m in plan.layers}
    counts["mpo"] = Generated(model, tuple(mpos(model, plan).items()))
    parameters = {"dense": weights, "frozen_random": 0, **{k: g.network_parameters for k, g in counts.items()}}
    rows = []
    for row in ("dense", *counts, "frozen_random"):
        scores = [run.test_accuracy[row] for run in runs]
        stage1 = [run.stage1_accuracy[row] for run in runs] if row in counts else []
        rows.append(
            {
                "row": row,
                "parameters": parameters[row],
                "compression_ratio": weights / parameters[row] if parameters[row] else None,
                "accuracy": float(np.mean(scores)),
                "accuracies": scores,
                "validation_accuracies": [run.trainings[row].validation_accuracy for run in runs],
                "stage1_accuracy": float(np.mean(stage1)) if stage1 else None,
                "seconds": float(np.mean([run.trainings[row].seconds for run in runs])),
            }
        )
    by_row = {entry["row"]: entry for entry in rows}
    shown = by_row[f"brickwall {plan.layers[0]}"]
    return {
        "dense_accuracy": by_row["dense"]["accuracy"],
        "compressed_accuracy": shown["accuracy"],
        "stage1_accuracy": shown["stage1_accuracy"],
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

r"""Whole fits, with every optimiser step: two stages of one small model, and one stage by gradient descent.

The model of the second stage is ``logits = tanh(x W1^T + b1) W2^T + b2`` with x (batch, 3), W1 (4, 3) made by a
brick-wall, W2 (3, 4); its loss is the cross entropy. The first stage fits the brick-wall to a given W1.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from adntn_ref.networks import BrickWall, LowRank, Network

from . import exact as ex
from .cases import Entry, Numbers, made
from .decimals import ACTIVATIONS, ONE, Array, each, exact
from .descent import Objective, Plan, Tree, descend
from .losses import cross_entropy, euclidean

MADE = "fc1.weight"
SHAPES = {"fc1.bias": (4,), "fc2.weight": (3, 4), "fc2.bias": (3,)}
SEED, STEPS, SAMPLES = 2, 6, 10


@dataclass(frozen=True, eq=False)
class FitCase:
    """A fit: the network, the plan of each stage, and the inputs, by name."""

    name: str
    note: str
    network: Network
    plans: dict[str, Plan]
    inputs: dict[str, Array]


def fit_cases() -> list[FitCase]:
    """Return the fits, in the order of the file."""
    wall = BrickWall((4, 3), 2, activation="tanh")
    plans = {
        "stage1": Plan(STEPS, 0.02, warmup=2),
        "stage2": Plan(STEPS, 1.0, warmup=3, clip=0.5, rates=dict.fromkeys(SHAPES, 2e-3)),
    }
    for name in wall.core_shapes:
        plans["stage2"].rates[f"{MADE}/{name}"] = 1e-2
    draw = Numbers(SEED).draw
    more = {name: draw(shape) / 2 for name, shape in SHAPES.items()}
    more |= {"inputs": draw((SAMPLES, 3)), "labels": np.array([0, 1, 2, 2, 1, 0, 0, 1, 2, 1])}
    more["rows"] = np.array([[7, 0, 3, 9], [1, 4, 2, 8], [6, 5, 0, 1], [9, 8, 7, 2], [3, 4, 5, 6], [0, 2, 4, 9]])
    low = LowRank((4, 3), 2)
    slow = {"stage1": Plan(STEPS, 0.05, "sgd", "constant", momentum=0.9)}
    return [
        FitCase("fit/two-stages", "Adam; both stages of a two-layer model", wall, plans, _start(wall) | more),
        FitCase("fit/momentum", "gradient descent with momentum, constant rate", low, slow, _start(low)),
    ]


def _start(network: Network) -> dict[str, Array]:
    """Return the target of stage 1, and the cores it starts from."""
    case = made(Entry(f"fit/{network.to_spec()['network']}", network, ""))
    return {"target": np.asarray(case.cotangent), **{f"start/{name}": core for name, core in case.params.items()}}


def run(case: FitCase) -> dict[str, Array]:
    """Return every step of the stages in decimals, each name after the stage's: ``stage1/loss`` and so on."""
    given = {name: exact(array) for name, array in case.inputs.items()}
    start = {name.removeprefix("start/"): x for name, x in given.items() if name.startswith("start/")}
    recorded: dict[str, Array] = {}
    for stage, plan in case.plans.items():
        objective = stage_objective(case, stage)
        if stage == "stage2":
            cores = {name: recorded[f"stage1/params/{name}"][-1] for name in case.network.core_shapes}
            start = {f"{MADE}/{name}": core for name, core in cores.items()} | {name: given[name] for name in SHAPES}
        found = descend(objective, start, plan)
        found["weight"] = np.stack([_weight(case.network, found, row) for row in range(plan.steps + 1)])
        recorded |= {f"{stage}/{name}": rows for name, rows in found.items()}
    return recorded


def _weight(network: Network, found: dict[str, Array], row: int) -> Array:
    names = [name for name in found if name.startswith("params/") and name.rsplit("/", 1)[1] in network.core_shapes]
    return np.asarray(ex.vjp(network, {name.rsplit("/", 1)[1]: found[name][row] for name in names})[0])


def stage_objective(case: FitCase, stage: str) -> Objective:
    """Return what a stage minimises, in decimals."""
    given = {name: exact(array) for name, array in case.inputs.items()}

    def distance(step: int, cores: Tree) -> tuple[Decimal, Tree]:
        weight, pull = ex.vjp(case.network, cores)
        value, back = euclidean({"weight": weight, "target": given["target"]})
        return Decimal(value.item()), pull(back(np.asarray(ONE, object)))

    def task(step: int, params: Tree) -> tuple[Decimal, Tree]:
        rows = case.inputs["rows"][step]
        cores = {name.removeprefix(f"{MADE}/"): x for name, x in params.items() if name.startswith(f"{MADE}/")}
        weight, pull = ex.vjp(case.network, cores)
        loss, grads = two_layers(params | {MADE: weight}, given["inputs"][rows], case.inputs["labels"][rows])
        made_ = {f"{MADE}/{name}": g for name, g in pull(grads.pop(MADE)).items()}
        return loss, {name: (made_ | grads)[name] for name in params}

    return distance if stage == "stage1" else task


def two_layers(p: dict[str, Any], x: Array, labels: Array) -> tuple[Decimal, Tree]:
    """Return the loss of the two-layer model and its gradients, by hand."""
    sigma, slope = ACTIVATIONS["tanh"]
    z = x @ p[MADE].T + p["fc1.bias"]
    h = each(sigma, z)
    loss, pull = cross_entropy({"logits": h @ p["fc2.weight"].T + p["fc2.bias"], "labels": labels})
    g = pull(np.asarray(ONE, object))
    gz = each(slope, z) * (g @ p["fc2.weight"])
    grads = {MADE: gz.T @ x, "fc1.bias": gz.sum(axis=0), "fc2.weight": g.T @ h, "fc2.bias": g.sum(axis=0)}
    return Decimal(loss.item()), grads

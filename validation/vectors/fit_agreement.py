"""Fits compared with the package's own: the same losses, gradients, moments and parameters, step after step."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np

import adntn_ref as ar
from adntn_ref.ad.losses import cross_entropy
from adntn_ref.compression.objectives import euclidean_objective
from adntn_ref.compression.optimisers import clip_norm, make_optimiser
from adntn_ref.compression.training import Training, minimise

from .agreement import Agreement
from .decimals import Array
from .descent import Plan, rows_of
from .fit_case import MADE, SHAPES, FitCase, stage_objective

Tree = dict[str, Any]


def check_fit(
    case: FitCase, recorded: Mapping[str, Array], rounded: Mapping[str, Array], agreement: Agreement
) -> dict[str, list[str]]:
    """Compare every array of a fit with the package's, and every gradient with differences."""
    found: dict[str, list[str]] = {}
    for stage, plan in case.plans.items():
        ours = {k.removeprefix(f"{stage}/"): x for k, x in recorded.items() if k.startswith(f"{stage}/")}
        expected = {name: rounded[f"{stage}/{name}"] for name in ours}
        start = dict(rows_of(expected, "params", 0))
        objective = _distance(case) if stage == "stage1" else _task(case)
        got = _package_stage(objective, start, plan)
        got["weight"] = np.stack([_weight(case, got, row) for row in range(plan.steps + 1)])
        found |= agreement.compare(f"{case.name}/{stage}", "package", got, expected)
        _check_gradients(f"{case.name}/{stage}", stage_objective(case, stage), ours, plan, agreement)
    _check_whole_fit(case, rounded, agreement)
    return found | {"differences": ["gradient"]}


def _nested(flat: Mapping[str, Any]) -> Tree:
    """Return a model's parameters, the cores of the made weight in a dict of their own; cores alone as they are."""
    cores = {name.removeprefix(f"{MADE}/"): x for name, x in flat.items() if name.startswith(f"{MADE}/")}
    return {MADE: cores, **{name: flat[name] for name in SHAPES}} if cores else dict(flat)


def _flat(tree: Tree) -> dict[str, Array]:
    cores = {f"{MADE}/{name}": core for name, core in tree.get(MADE, {}).items()}
    return cores | {name: x for name, x in tree.items() if name != MADE}


def _distance(case: FitCase) -> Callable[[int, Tree], tuple[Any, Tree]]:
    return euclidean_objective(case.network, case.inputs["target"])


def _task(case: FitCase) -> Callable[[int, Tree], tuple[Any, Tree]]:
    layers = (("fc1", ar.Linear(3, 4)), ("act", ar.Activation("tanh")), ("fc2", ar.Linear(4, 3)))
    model = ar.Generated(ar.Sequential((3,), layers), {MADE: case.network})  # type: ignore[arg-type]

    def objective(step: int, params: Tree) -> tuple[Any, Tree]:
        rows = case.inputs["rows"][step]
        images, labels = case.inputs["inputs"][rows], case.inputs["labels"][rows]
        found: tuple[Any, Tree] = ar.value_and_grad(lambda p: cross_entropy(model(p, images), labels))(params)
        return found

    return objective


def _package_stage(
    objective: Callable[[int, Tree], tuple[Any, Tree]], start: Mapping[str, Array], plan: Plan
) -> dict[str, Array]:
    """Train by the package's loop, and keep what it hands to the objective and gets from it."""
    kept: list[tuple[dict[str, Array], dict[str, Array]]] = []

    def watched(step: int, params: Tree) -> tuple[Any, Tree]:
        loss, gradients = objective(step, params)
        kept.append(tuple({k: np.array(x) for k, x in _flat(tree).items()} for tree in (params, gradients)))  # type: ignore[arg-type]
        return loss, gradients

    training = Training(
        plan.steps,
        plan.rate,
        plan.optimiser,
        plan.momentum,
        plan.schedule,
        plan.warmup,
        plan.clip,
        evaluate_every=10**6,
    )
    rates = _nested({name: plan.rates.get(name, 1.0) for name in start})
    last: list[dict[str, Array]] = []
    history = minimise(
        watched,
        _nested(start),
        training,
        rates=rates,
        score=lambda tree: float(last.append({k: np.array(x) for k, x in _flat(tree).items()}) or 0.0),  # type: ignore[func-returns-value]
    ).history
    rows = {"loss": history.loss, "norm": history.norm, "rate": history.rate}
    found = {name: np.array(values) for name, values in rows.items()}
    for name in start:
        found[f"params/{name}"] = np.stack([params[name] for params, _ in kept] + [last[-1][name]])
        found[f"gradient/{name}"] = np.stack([gradients[name] for _, gradients in kept])
    return found | _moments(kept, plan)


def _moments(kept: list[tuple[dict[str, Array], dict[str, Array]]], plan: Plan) -> dict[str, Array]:
    """Return the optimiser's memory after every step, by the package's optimiser on the gradients that were kept."""
    names = list(kept[0][0])
    optimiser = make_optimiser(plan.optimiser, plan.momentum)
    sizes = [kept[0][0][name].shape for name in names]
    vector = np.concatenate([kept[0][0][name].reshape(-1) for name in names])
    memory = optimiser.start(vector)
    rows: dict[str, list[Array]] = {f"{group}/{name}": [] for group in memory for name in names}
    for step, (_, gradients) in enumerate(kept):
        g, _ = clip_norm(np.concatenate([gradients[name].reshape(-1) for name in names]), plan.clip)
        optimiser.update(vector, g, memory, step, np.zeros_like(vector))
        for group, values in memory.items():
            pieces = np.split(values.copy(), np.cumsum([int(np.prod(size)) for size in sizes])[:-1])
            for name, piece, size in zip(names, pieces, sizes, strict=True):
                rows[f"{group}/{name}"].append(piece.reshape(size))
    return {name: np.stack(values) for name, values in rows.items()}


def _weight(case: FitCase, got: Mapping[str, Array], row: int) -> Array:
    cores = {name.removeprefix(f"{MADE}/"): x for name, x in rows_of(got, "params", row)}
    return np.asarray(case.network.generate({name: cores[name] for name in case.network.core_shapes}))


def _check_gradients(
    where: str,
    objective: Callable[[int, dict[str, Array]], tuple[Decimal, dict[str, Array]]],
    recorded: Mapping[str, Array],
    plan: Plan,
    agreement: Agreement,
) -> None:
    for step in range(plan.steps):
        params = dict(rows_of(recorded, "params", step))
        for name, gradient in rows_of(recorded, "gradient", step):

            def value(x: Array, step: int = step, name: str = name, params: dict[str, Array] = params) -> Decimal:
                return objective(step, params | {name: x})[0]

            agreement.along(f"{where}/gradient/{name}/{step}", value, params[name], gradient)


def _check_whole_fit(case: FitCase, rounded: Mapping[str, Array], agreement: Agreement) -> None:
    """Compare the first stage with ``ar.fit``, as a user calls it."""
    plan = case.plans["stage1"]
    start = {name.removeprefix("start/"): x for name, x in case.inputs.items() if name.startswith("start/")}
    options: dict[str, Any] = {"schedule": plan.schedule, "warmup": plan.warmup, "clip": plan.clip}
    result = ar.fit(
        case.network,
        case.inputs["target"],
        steps=plan.steps,
        rate=plan.rate,
        optimiser=plan.optimiser,
        params=start,
        **options,
    )
    got = {"loss": np.array(result.history.loss)} | {f"params/{name}": x for name, x in result.params.items()}
    expected = {"loss": rounded["stage1/loss"]} | {name: rounded[f"stage1/{name}"][-1] for name in got if "/" in name}
    agreement.compare(f"{case.name}/ar.fit", "package", got, expected)

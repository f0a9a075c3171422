"""The result of an experiment: one row a way of making the weights, over all seeds."""

from typing import Any

import numpy as np

from adntn_ref.experiments.plan import Plan
from adntn_ref.experiments.record import Record, wilson

INTERVALS = (
    "accuracies are right answers over images of the test part, opened once; interval: Wilson's 95 % of the right"
    " answers of all seeds together; interval_one_seed: of the mean accuracy on the images of one seed, wider, as if"
    " all seeds erred on the same images; spread: standard deviation between seeds"
)


def step_name(plan: Plan, seed: int, row: str, rate: float | None = None) -> str:
    """Return the name of the step that makes a row's model for a seed.

    With several rates to choose from, the first seed tries them all, each in a step of its own.
    """
    if row == "dense":
        return f"seed{seed}/dense_stage2"
    several = rate is not None and seed == plan.config.seeds[0] and len(plan.config.stage2.cores_rates) > 1
    return f"seed{seed}/{row}" + (f"-rate{rate:g}" if several else "")


def steps_of(plan: Plan, row: str, rates: dict[str, float]) -> list[str]:
    """Return the steps, one a seed, whose models stand for a row."""
    return [step_name(plan, seed, row, rates.get(row)) for seed in plan.config.seeds]


def summarise(plan: Plan, record: Record, rates: dict[str, float]) -> dict[str, Any]:
    """Return the result as a JSON-able dict; nothing in it depends on how long something took."""
    tests = [record.read(f"seed{seed}/test") for seed in plan.config.seeds]
    rows = [_row(plan, record, row, rates, tests) for row in plan.rows]
    dense = rows[0]["accuracy"]
    for row in rows:
        row["retention"] = row["accuracy"] / dense if dense else None
    return {
        "title": plan.config.title,
        "identity": plan.config.identity,
        "model": plan.config.model.name,
        "data": plan.config.data.name,
        "layers": list(plan.layers),
        "weights": plan.weights,
        "model_parameters": plan.model.parameter_count,
        "seeds": list(plan.config.seeds),
        "test_images": tests[0]["images"],
        "row": plan.row,
        "rows": rows,
        "dense_before_stage2_accuracy": float(
            np.mean([t["right"]["dense_before_stage2"] / t["images"] for t in tests])
        ),
        "chosen_cores_rates": rates,
        "tried_cores_rates": list(plan.config.stage2.cores_rates),
        "published": plan.config.to_dict().get("published"),
        "how": INTERVALS,
    }


def _row(plan: Plan, record: Record, row: str, rates: dict[str, float], tests: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one row of the table."""
    accuracies = [test["right"][row] / test["images"] for test in tests]
    images = sum(test["images"] for test in tests)
    right = sum(test["right"][row] for test in tests)
    one = round(right / len(tests))
    steps = [record.read(step) for step in steps_of(plan, row, rates)]
    stage1 = [test["stage1_right"][row] / test["images"] for test in tests if row in test["stage1_right"]]
    parameters = plan.parameters(row)
    return {
        "row": row,
        "label": plan.label(row),
        "parameters": parameters,
        "ratio": plan.weights / parameters if parameters else None,
        "model_parameters": plan.model_parameters(row),
        "accuracy": right / images,
        "accuracies": accuracies,
        "interval": list(wilson(right, images)),
        "interval_one_seed": list(wilson(one, tests[0]["images"])),
        "spread": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None,
        "stage1_accuracy": float(np.mean(stage1)) if stage1 else None,
        "validation_accuracies": [step["validation_accuracy"] for step in steps],
        "stage1_validation_accuracies": [step.get("stage1_validation_accuracies") for step in steps],
        "layers": _layers(plan, row, steps),
    }


def _layers(plan: Plan, row: str, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return, for each generated weight, its numbers, ratio and relative errors, means over the seeds."""
    found: dict[str, Any] = {}
    for name in plan.networks.get(row, {}):
        of_seeds = [step["layers"][name] for step in steps]
        found[name] = {key: of_seeds[0][key] for key in ("weights", "parameters", "ratio")}
        for key in ("relative_error", "relative_error_after_stage2"):
            found[name][key] = float(np.mean([layer[key] for layer in of_seeds]))
    return found


def summarise_timing(plan: Plan, record: Record, rates: dict[str, float]) -> dict[str, Any]:
    """Return seconds and memory by row, means over the seeds."""
    rows: dict[str, Any] = {}
    for row in plan.rows:
        timings = [record.timing(step) for step in steps_of(plan, row, rates)]
        keys = [key for key in ("seconds", "stage1_seconds", "stage2_seconds") if key in timings[0]]
        rows[row] = {key: float(np.mean([timing[key] for timing in timings])) for key in keys}
        rows[row]["peak_memory_bytes"] = max(timing["peak_memory_bytes"] for timing in timings)
    every = [record.timing(str(p.relative_to(record.folder))[: -len(".timing.json")]) for p in _timings(record)]
    return {
        "rows": rows,
        "seconds": sum(timing["seconds"] for timing in every),
        "peak_memory_bytes": max(timing["peak_memory_bytes"] for timing in every),
        "how": "seconds of all trainings and fits; memory: the largest resident set of the process up to the step's end"
        " (getrusage)",
    }


def _timings(record: Record) -> list[Any]:
    return sorted(record.folder.glob("seed*/*.timing.json"))

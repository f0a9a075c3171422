"""Losses, starts and fits of the vectors, again in plain NumPy."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from vector_cases import VECTORS, close

import adntn_ref as ar
from adntn_ref.validation import oracle
from adntn_ref.validation.case import cores_of


def softmax(logits: Any, axis: int = -1) -> Any:
    e = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@pytest.mark.parametrize("record", VECTORS.losses, ids=lambda record: record.name)
def test_losses_by_plain_numpy(record: Any) -> None:
    given, axis = record.under("inputs"), record.facts["arguments"].get("axis", -1)
    if record.facts["loss"] == "cross_entropy":
        logits, labels = given["logits"], given["labels"]
        rows = np.arange(len(labels))
        top = logits.max(axis=1)
        value = np.mean(np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top - logits[rows, labels])
        gradient = (softmax(logits) - np.eye(logits.shape[1])[labels]) / len(labels)
    elif record.facts["loss"] == "logsumexp":
        x, g = given["x"], record.arrays["cotangent"]
        value = np.log(np.exp(x).sum(axis=axis))
        gradient = np.expand_dims(g, axis) * softmax(x, axis)
    elif record.facts["loss"] == "log_softmax":
        x, g = given["x"], record.arrays["cotangent"]
        value = np.log(softmax(x, axis))
        gradient = g - softmax(x, axis) * g.sum(axis=axis, keepdims=True)
    elif record.facts["loss"] == "euclidean":
        w, t = given["weight"], given["target"]
        value, gradient = np.sum((w - t) ** 2) / np.sum(t**2), 2 * (w - t) / np.sum(t**2)
    else:
        w, t = given["weight"], given["target"]
        whole = np.trace(t @ given["c00"] @ t.T)
        value = (np.trace(w @ given["cxx"] @ w.T) - 2 * np.trace(w @ given["cx0"] @ t.T) + whole) / whole
        gradient = 2 * (w @ given["cxx"] - t @ given["cx0"].T) / whole
    close(record.arrays["loss"], value)
    close(next(iter(record.under("gradient").values())), gradient)


@pytest.mark.parametrize("record", VECTORS.starts, ids=lambda record: record.name)
def test_starts_by_plain_numpy(record: Any) -> None:
    """QR by NumPy; and what calibration promises of every state and of the weight."""
    normal, start = record.under("normal"), record.under("start")
    net = ar.from_spec(record.facts["spec"])
    free = {"root"} | {name for name in normal if name.startswith("start") or normal[name].ndim == 2}
    for name, core in normal.items():
        matrix = core.reshape(-1, int(np.prod(core.shape[2:])) if name not in free else 1)
        wide = matrix.shape[0] < matrix.shape[1]
        q, r = np.linalg.qr(matrix.T if wide else matrix)
        q = q * np.sign(np.diag(r))
        made_ = {
            "normal": matrix / np.sqrt(matrix.shape[1]),
            "near_identity": np.eye(*matrix.shape) + 0.1 * matrix,
        }.get(record.facts["start"], q.T if wide else q)
        if name in free and record.facts["start"] != "near_identity":
            made_ = matrix
        got = start[name].reshape(matrix.shape)
        if record.facts["std"] is not None:  # up to the factor of calibration, which is positive
            got, made_ = got / np.linalg.norm(got), made_ / np.linalg.norm(made_)
        close(got, made_)
    if record.facts["std"] is not None:
        steps = [step for step in net.program.all_steps if step.core_names]  # type: ignore[attr-defined]
        states = oracle.states(record.facts["spec"], start)
        for step in steps[:-1]:
            close(np.mean(states[step.name] ** 2), 1.0)
        close(np.std(net.generate(start)), record.facts["std"])


def descend(record: Any, stage: str, objective: Callable[[int, dict[str, Any]], tuple[float, dict[str, Any]]]) -> None:
    """The loop of the page, in plain NumPy; every number of every step is compared."""
    plan, rows = record.facts["plans"][stage], record.under(stage)
    names = [name.removeprefix("params/") for name in rows if name.startswith("params/")]
    x = {name: rows[f"params/{name}"][0].copy() for name in names}
    memory: dict[str, dict[str, Any]] = {group: {n: 0.0 * x[n] for n in names} for group in ("m", "v")}
    for k in range(plan["steps"]):
        loss, g = objective(k, x)
        close(rows["loss"][k], loss)
        norm = math.sqrt(sum(float(np.sum(g[name] ** 2)) for name in names))
        close(rows["norm"][k], norm)
        rate = plan["rate"] * (min(1.0, (k + 1) / plan["warmup"]) if plan["warmup"] else 1.0)
        rate *= 0.5 * (1 + math.cos(math.pi * k / plan["steps"])) if plan["schedule"] == "cosine" else 1.0
        close(rows["rate"][k], rate)
        share = min(1.0, plan["clip"] / norm) if plan["clip"] is not None else 1.0
        for name in names:
            close(rows[f"params/{name}"][k], x[name])
            close(rows[f"gradient/{name}"][k], g[name])
            step, r = share * g[name], rate * plan["rates"].get(name, 1.0)
            m, v = memory["m"], memory["v"]
            if plan["optimiser"] == "adam":
                b1, b2 = plan["beta1"], plan["beta2"]
                m[name] = b1 * m[name] + (1 - b1) * step
                v[name] = b2 * v[name] + (1 - b2) * step**2
                close(rows[f"first/{name}"][k], m[name])
                close(rows[f"second/{name}"][k], v[name])
                root = np.sqrt(v[name] / (1 - b2 ** (k + 1)))
                x[name] = x[name] - r / (1 - b1 ** (k + 1)) * m[name] / (root + plan["epsilon"])
            else:
                m[name] = plan["momentum"] * m[name] + step
                close(rows[f"buffer/{name}"][k], m[name])
                x[name] = x[name] - r * m[name]
    for name in names:
        close(rows[f"params/{name}"][plan["steps"]], x[name])


@pytest.mark.parametrize("record", VECTORS.fits, ids=lambda record: record.name)
def test_first_stage_by_plain_numpy(record: Any) -> None:
    spec, target = record.facts["spec"], record.arrays["target"]

    def distance(step: int, cores: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        weight = oracle.generate(spec, cores)
        close(record.arrays["stage1/weight"][step], weight)
        whole = float(np.sum(target**2))
        gradients = oracle.vjp(spec, cores, 2 * (weight - target) / whole)
        return float(np.sum((weight - target) ** 2)) / whole, gradients

    descend(record, "stage1", distance)
    for name, core in record.under("start").items():
        np.testing.assert_array_equal(record.arrays[f"stage1/params/{name}"][0], core)
    assert np.all(np.diff(record.arrays["stage1/loss"]) < 0)


def test_second_stage_by_plain_numpy() -> None:
    record = VECTORS["fit/two-stages"]
    spec, given = record.facts["spec"], record.arrays

    def task(step: int, p: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        rows = given["rows"][step]
        x, labels = given["inputs"][rows], given["labels"][rows]
        cores = {name.removeprefix("fc1.weight/"): core for name, core in p.items() if name.startswith("fc1.weight/")}
        w1 = oracle.generate(spec, cores)
        close(given["stage2/weight"][step], w1)
        h = np.tanh(x @ w1.T + p["fc1.bias"])
        q = softmax(h @ p["fc2.weight"].T + p["fc2.bias"])
        g = (q - np.eye(3)[labels]) / len(labels)
        gz = (1 - h**2) * (g @ p["fc2.weight"])
        made_ = {f"fc1.weight/{name}": e for name, e in oracle.vjp(spec, cores, gz.T @ x).items()}
        rest = {"fc1.bias": gz.sum(axis=0), "fc2.weight": g.T @ h, "fc2.bias": g.sum(axis=0)}
        return float(-np.log(q[np.arange(len(labels)), labels]).mean()), made_ | rest

    descend(record, "stage2", task)
    plan = record.facts["plans"]["stage2"]
    assert (given["stage2/norm"] > plan["clip"]).any(), "clipping acts in some step"
    assert (given["stage2/norm"] < plan["clip"]).any(), "and in some not"
    for name in cores_of(record.under("start")):
        np.testing.assert_array_equal(given[f"stage2/params/fc1.weight/{name}"][0], given[f"stage1/params/{name}"][-1])

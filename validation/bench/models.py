"""A training step of a whole model (forward, backward, Adam) on the tape and in torch."""

from collections.abc import Callable
from typing import Any

import numpy as np

import adntn_ref as ar
from adntn_ref.ad import cross_entropy
from adntn_ref.compression.demo import DemoPlan, brickwalls
from adntn_ref.compression.optimisers import Adam, Packing
from adntn_ref.nn.models import Generated, Model, Sequential
from adntn_ref.nn.zoo import lenet5

from .candidate import Prepared, check, installed
from .plan import Plan
from .table import Row, Table
from .timing import alternate
from .workload import Answer, Array

RATE = 1e-3
VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Channels of the convolutions; 0 is a maximum pooling by two."""


def vgg16(channels: tuple[int, ...] = VGG16, hidden: int = 4096) -> Sequential:
    """Return a model of VGG-16's shape for 32x32 images of three channels: 3x3 convolutions, then three linear ones."""
    layers: list[tuple[str, Any]] = []
    last, relu = 3, ar.Activation("relu")
    for k, out in enumerate(channels):
        if out:
            layers += [(f"conv{k}", ar.Conv2d(last, out, 3, padding=1)), (f"relu{k}", relu)]
            last = out
        else:
            layers.append((f"pool{k}", ar.MaxPool(2)))
    sides = 32 // 2 ** sum(out == 0 for out in channels)
    layers += [("flatten", ar.Flatten()), ("fc1", ar.Linear(last * sides * sides, hidden)), ("relu_fc1", relu)]
    layers += [("fc2", ar.Linear(hidden, hidden)), ("relu_fc2", relu), ("fc3", ar.Linear(hidden, 10))]
    return Sequential((3, 32, 32), tuple(layers))


def start(model: Model, dtype: str) -> dict[str, Any]:
    """Return parameters of seed 0: the dense ones, and cores in place of those that are generated."""
    dense = model.model if isinstance(model, Generated) else model
    params: dict[str, Any] = dense.init(0, dtype=dtype)
    if isinstance(model, Generated):
        params |= {name: network.init(0, dtype=dtype) for name, network in model.networks}
    return params


def own(model: Model, params: dict[str, Any], images: Array, labels: Array) -> Prepared:
    """Return a step as :func:`adntn_ref.minimise` takes it."""
    packing, adam = Packing(params), Adam()
    vector = packing.pack(params)
    state, at = adam.start(vector), [0]
    both = ar.value_and_grad(lambda p: cross_entropy(model(p, images), labels))

    def run() -> tuple[Any, Any]:
        loss, gradients = both(packing.unpack(vector))
        adam.update(vector, packing.pack(gradients), state, at[0], RATE)
        at[0] += 1
        return loss, gradients

    def answer(found: Any) -> Answer:
        flat = {name: g for name, g in found[1].items() if not isinstance(g, dict)}
        cores = {f"{name}/{core}": g for name, each in found[1].items() if name not in flat for core, g in each.items()}
        return Answer(float(found[0]), flat | cores)

    return Prepared(run, answer)


def models(plan: Plan) -> Table:
    """Measure LeNet-5, dense and with three generated layers, and VGG-16's shape."""
    table = Table("models", f"Training step of a whole model, {plan.dtype}, ms (ours / theirs)", "ms", "model")
    lenet = lenet5()
    generated = Generated(lenet, tuple(brickwalls(lenet, DemoPlan(), 5).items()))
    rows: list[tuple[str, Callable[[], Model], int]] = [
        ("LeNet-5, dense, batch 64", lambda: lenet, 64),
        ("LeNet-5, three layers generated, batch 64", lambda: generated, 64),
    ]
    if plan.quick:
        table.notes.append("left out: VGG-16, for its time; run without --quick")
    else:
        rows.append(("VGG-16's shape, batch 32", vgg16, 32))
    for label, make, batch in rows:
        plan.say(label)
        table.rows.append(model_row(label, make(), batch, plan))
    return table


def model_row(label: str, model: Model, batch: int, plan: Plan) -> Row:
    """Measure one model."""
    dense = model.model if isinstance(model, Generated) else model
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, *dense.in_shape)).astype(plan.dtype)
    labels = rng.integers(0, 10, batch)
    params = start(model, plan.dtype)
    row = Row(label, {"model": label, "batch": batch, "dtype": plan.dtype})
    steps = {"ours": own(model, params, images, labels)}
    if installed("torch"):
        from .torch_models import prepare

        steps["torch"] = prepare(model, params, images, labels, RATE)
        answers = {name: step.answer(step.run()) for name, step in steps.items()}
        check("torch", plan.dtype, answers["torch"], answers["ours"])
    else:
        row.left_out["torch"] = "not installed: torch"
    timed = alternate({name: step.run for name, step in steps.items()}, plan.timing(60.0))
    row.samples = {name: [1e3 * s for s in found] for name, found in timed.samples.items()}
    row.values = {name: 1e3 * seconds for name, seconds in timed.medians.items()}
    row.left_out |= timed.left_out
    row.ratios_to("ours")
    return row

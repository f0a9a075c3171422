"""Time one training step of a named model, ours and PyTorch's in turns: forward, backward and an update by Adam.

Ours is what a step of ``ar.train`` does, the gradient's norm and a rate for each parameter included.

    python docs/examples/training_step.py lenet5 64
    python docs/examples/training_step.py vgg16_bn 32
"""

import sys
import time
from collections import OrderedDict
from statistics import median
from typing import Any

import numpy as np
import torch

import adntn_ref as ar
from adntn_ref.compression.optimisers import Packing, clip_norm, make_optimiser

THREADS = 2


def twin(model: ar.Sequential) -> Any:
    """The same layers as modules of PyTorch, with the same names."""
    nn, made = torch.nn, OrderedDict()
    for name, layer in model.layers:
        key = name.replace(".", "_")
        match layer:
            case ar.Conv2d():
                made[key] = nn.Conv2d(
                    layer.in_channels, layer.out_channels, layer.kernel, layer.stride, layer.padding, bias=layer.bias
                )
            case ar.Linear():
                made[key] = nn.Linear(layer.inputs, layer.outputs, bias=layer.bias)
            case ar.MaxPool():
                made[key] = nn.MaxPool2d(layer.kernel, layer.stride, layer.padding)
            case ar.BatchNorm():
                made[key] = nn.BatchNorm2d(layer.channels)
            case ar.Dropout():
                made[key] = nn.Dropout(layer.p)
            case ar.Flatten():
                made[key] = nn.Flatten()
            case ar.Activation("relu"):
                made[key] = nn.ReLU()
            case _:
                raise SystemExit(f"{name}: no twin for {layer}")
    return nn.Sequential(made)


def ours(model: ar.Sequential, x: Any, labels: Any) -> Any:
    """A step of ours: the loss of one batch, its gradient, an update."""
    params = model.init(0)
    state = {name: value for name, value in params.items() if name in model.buffer_shapes}
    trained = {name: value for name, value in params.items() if name in model.param_shapes}
    packing, adam = Packing(trained), make_optimiser("adam", 0.9)
    vector = packing.pack(trained)
    moments, count = adam.start(vector), [0]
    rates = packing.spread(dict.fromkeys(trained, 1e-4)).astype("f4")

    def loss(p: Any) -> Any:
        logits, updates = model.in_training({**state, **p}, x, np.random.default_rng(count[0]))
        return ar.ad.cross_entropy(logits, labels), updates

    def step() -> None:
        (_, updates), gradients = ar.value_and_grad(loss, has_aux=True)(packing.unpack(vector))
        g, _ = clip_norm(packing.pack(gradients), None)
        adam.update(vector, g, moments, count[0], rates, 1.0)
        state.update(updates)
        count[0] += 1

    return step


def theirs(model: ar.Sequential, x: Any, labels: Any) -> Any:
    """The same step of PyTorch's."""
    module, images, classes = twin(model).train(), torch.tensor(x), torch.tensor(labels)
    adam = torch.optim.Adam(module.parameters(), 1e-4)

    def step() -> None:
        adam.zero_grad()
        torch.nn.functional.cross_entropy(module(images), classes).backward()
        adam.step()

    return step


def main(name: str, batch: int, rounds: int) -> None:
    """Run both in turns and print the medians."""
    torch.set_num_threads(THREADS)
    model = ar.nn.model(name)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *model.in_shape)).astype("f4")
    labels = rng.integers(0, model.out_shape[0], batch)
    steps = {"ours": ours(model, x, labels), "torch": theirs(model, x, labels)}
    times: dict[str, list[float]] = {key: [] for key in steps}
    for k in range(rounds + 2):
        for key, step in steps.items():
            start = time.perf_counter()
            step()
            if k >= 2:
                times[key].append(time.perf_counter() - start)
    found = {key: median(taken) for key, taken in times.items()}
    each = ", ".join(f"{key} {1000 * seconds:.1f} ms" for key, seconds in found.items())
    print(f"{name}, batch {batch}: {each}, ratio {found['ours'] / found['torch']:.2f} (median of {rounds})")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 15)

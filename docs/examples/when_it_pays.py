"""Time the ways to a layer's outputs against the dense product, beside what ``ar.layer_cost`` counts beforehand.

    python docs/examples/when_it_pays.py

Medians of nine rounds, in which all ways take turns; float32.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import adntn_ref as ar

ROUNDS = 9
SQUARE = (1024, 1024)
LAYERS: list[tuple[str, Any, int]] = [
    ("low rank, rank 64", ar.LowRank(SQUARE, 64), 64),
    ("MPO of 4 x 4, bond 2", ar.MPO(SQUARE, 2, (4,) * 5, (4,) * 5), 64),
    ("MPO of 4 x 4, bond 4", ar.MPO(SQUARE, 4, (4,) * 5, (4,) * 5), 64),
    ("MPO of 4 x 4, bond 8", ar.MPO(SQUARE, 8, (4,) * 5, (4,) * 5), 64),
    ("MPO of 4 x 4, bond 16", ar.MPO(SQUARE, 16, (4,) * 5, (4,) * 5), 64),
    ("MPO of 4 x 4, bond 4", ar.MPO(SQUARE, 4, (4,) * 5, (4,) * 5), 1),
    ("MPO of 2 x 2, bond 4", ar.MPO(SQUARE, 4), 64),
    ("MPO of 8 x 8, bond 8", ar.MPO((4096, 4096), 8, (8,) * 4, (8,) * 4), 64),
    ("tensor train by axes, bond 8", ar.TensorTrain(SQUARE, 8, layout="axes"), 64),
    ("brick-wall, 2 layers", ar.BrickWall(SQUARE, layers=2), 64),
    ("brick-wall, 2 layers", ar.BrickWall(SQUARE, layers=2), 1024),
    ("TTN, bond 4", ar.TTN(SQUARE, chi=4), 64),
]


def seconds(run: Callable[[], Any]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def row(title: str, net: Any, batch: int) -> str:
    """Return a row of the table: each way's operations and time, over those of the dense product."""
    layer = ar.layer_cost(net, batch)
    params = net.init(0, dtype="float32")
    x = np.random.default_rng(0).standard_normal((batch, layer.columns)).astype("float32")
    weight = net.generate(params)
    runs: dict[str, Callable[[], Any]] = {
        "dense": lambda: x @ weight.T,
        "generate": lambda: x @ net.generate(params).T,
    }
    if not layer.sites_refusal:
        runs["sites"] = lambda: net.apply(params, x)
    for run in runs.values():
        run()
    taken: dict[str, list[float]] = {way: [] for way in runs}
    for _ in range(ROUNDS):
        for way, run in runs.items():
            taken[way].append(seconds(run))
    medians = {way: median(times) for way, times in taken.items()}
    cells = [title, f"{layer.rows} x {layer.columns}", f"{batch}", f"{1e3 * medians['dense']:.2f}"]
    for way in ("generate", "sites"):
        if way not in runs:
            cells += ["", ""]
            continue
        cells += [f"{layer[way].flops / layer['dense'].flops:.2f}", f"{medians[way] / medians['dense']:.2f}"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    print("| layer | weight | batch | dense, ms | generated: operations | time | site by site: operations | time |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for title, net, batch in LAYERS:
        print(row(title, net, batch), flush=True)


if __name__ == "__main__":
    main()

"""Print the table of a sweep as Markdown and keep its points: ``python docs/make_tables.py SWEEP FOLDER [SEED ...]``.

``SWEEP`` is a shipped sweep or a TOML file, ``FOLDER`` its record, finished or not; the seeds are
the sweep's unless others are given. The points go to ``docs/results/SWEEP.json``.
"""

import sys
from pathlib import Path
from typing import Any

from adntn_ref.experiments.engine import RESULTS
from adntn_ref.experiments.record import write_json
from adntn_ref.experiments.results import Results
from adntn_ref.experiments.sweep import read_sweep, summarise_sweep

HERE = Path(__file__).parent / "results"
FAMILIES = {
    "dense": "dense",
    "frozen_random": "frozen at random",
    "brickwall": "brick-wall",
    "ttn": "TTN",
    "attn": "aTTN",
    "mera": "MERA",
    "mpo": "MPO",
    "tt": "tensor train",
    "lowrank": "low rank",
    "cp": "CP",
    "tucker": "Tucker",
}
COLUMNS = (
    "weights from",
    "numbers",
    "ratio",
    "validation",
    "after stage 1",
    "test",
    "95 %",
    "of dense",
    "each seed",
    "s",
)


def table(points: list[dict[str, Any]]) -> str:
    """Return the points that are done as a Markdown table: dense, the networks by their accuracy, frozen at random."""
    done = [point for point in points if point["accuracy"] is not None]
    dense = [point for point in done if point["network"] == "dense"]
    frozen = [point for point in done if point["network"] == "frozen_random"]
    networks = sorted((p for p in done if p not in (*dense, *frozen)), key=lambda point: -point["accuracy"])
    whole = dense[0]["accuracy"] if dense else None
    lines = [[*COLUMNS], ["---"] * len(COLUMNS), *(cells(point, whole) for point in (*dense, *networks, *frozen))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cells(point: dict[str, Any], dense: float | None) -> list[str]:
    """Return a point's cells, accuracies in percent."""
    low, high = (100 * bound for bound in point["interval"])
    stage1 = point["stage1_accuracy"]
    return [
        name(point),
        f"{point['parameters']:,}",
        f"{point['ratio']:.1f}" if point["ratio"] else "",
        f"{100 * point['validation_accuracy']:.2f}",
        "" if stage1 is None else f"{100 * stage1:.1f}",
        f"**{100 * point['accuracy']:.2f}**",
        f"{low:.2f} - {high:.2f}",
        f"{100 * point['accuracy'] / dense:.1f}" if dense else "",
        " ".join(f"{100 * accuracy:.2f}" for accuracy in point["accuracies"]),
        f"{point['seconds']:.0f}",
    ]


def name(point: dict[str, Any]) -> str:
    """Return what a row is called: its family; a brick-wall's layers; a name of its own where the row has one."""
    family = FAMILIES[point["network"]]
    if point["network"] == "brickwall":
        return f"{family}, {point['spec']['layers']} layers"
    own = point["row"].partition("-")[0]
    return family if own in FAMILIES else f"{family}, {own}"


if __name__ == "__main__":
    which, folder = sys.argv[1], Path(sys.argv[2])
    sweep = read_sweep(which)
    if len(sys.argv) > 3:
        sweep = sweep.with_seeds([int(seed) for seed in sys.argv[3:]])
    summary = summarise_sweep(sweep, Results(folder / RESULTS, read_only=True).found)
    HERE.mkdir(exist_ok=True)
    write_json(HERE / f"{Path(which).stem}.json", summary)
    print(table(summary["points"]))

"""The command ``demo``: train, compress, evaluate, show."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from adntn_ref.cli.output import Output, count
from adntn_ref.compression.atomic import write_atomically
from adntn_ref.compression.demo import LAYERS, QUICK, DemoPlan, SeedRun, run_demo
from adntn_ref.compression.files import Entry, save_compressed
from adntn_ref.compression.pictures import draw_curves, draw_weights
from adntn_ref.errors import OutputError, SpecError
from adntn_ref.extras import need

FILES = ("compressed.safetensors", "results.json", "weights.png", "curves.png")
NAMES = {
    "dense": "dense",
    "mpo": "MPO, bond 4 (shallow rival)",
    "frozen_random": "frozen at random (control)",
}
STAGE1 = {None: "-", "euclidean": "distance", "logits": "logits"}


def add(subparsers: Any) -> tuple[argparse.ArgumentParser, Any]:
    """Describe ``demo``."""
    parser = subparsers.add_parser(
        "demo",
        help="compress a real, trained network and show what it costs",
        description="Train LeNet-5 on 5,000 handwritten digits, replace three of its layers by a brick-wall network "
        "in two stages, with either first stage, and compare accuracies on 1,000 test images.",
        epilog="examples:\n  adntn-ref demo\n  adntn-ref demo --layers 3 5 --seeds 0 1 2 --out table",
    )
    parser.add_argument("--out", metavar="DIR", help="folder for results (default: adntn-demo, or the next free name)")
    parser.add_argument("--force", action="store_true", help="overwrite results in DIR")
    parser.add_argument(
        "--layers", type=int, nargs="+", default=[5], metavar="M", help="layers of the brick-walls (default 5)"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", metavar="S", help="several seeds, averaged (default: --seed alone)"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="epochs of each training")
    parser.add_argument(
        "--quick", action="store_true", help="a few epochs only: the same rows in seconds, less accurate"
    )
    return parser, run


def run(options: argparse.Namespace, output: Output) -> int:
    """Run ``demo``."""
    for package in ("rich", "matplotlib", "mlxtend", "threadpoolctl"):
        need(package, "demo")  # asked for now rather than after the training
    plan = _plan(options)
    folder = _folder(options.out, options.force)
    seeds = ", ".join(map(str, plan.seeds))
    output.line(f"LeNet-5, MNIST 5,000 (3,500 / 500 / 1,000), seed {seeds}; results go to {folder}/")
    facts, runs = run_demo(plan, progress=output.talks)
    _write(folder, facts, runs[0], plan)
    _show(facts, output)
    output.line("written: " + ", ".join(str(folder / name) for name in FILES))
    output.result({**facts, "out": str(folder)})
    return 0


def _plan(options: argparse.Namespace) -> DemoPlan:
    if min(options.layers) < 1 or len(set(options.layers)) != len(options.layers):
        raise SpecError(f"--layers takes different integers >= 1, got {options.layers}")
    if options.epochs is not None and options.epochs < 1:
        raise SpecError(f"--epochs must be at least 1, got {options.epochs}")
    seeds = tuple(options.seeds) if options.seeds else (options.seed,)
    if min(seeds) < 0 or len(set(seeds)) != len(seeds):
        raise SpecError(f"seeds must be different integers >= 0, got {list(seeds)}")
    plan = replace(QUICK if options.quick else DemoPlan(), layers=tuple(options.layers), seeds=seeds)
    if options.epochs is not None:
        plan = replace(plan, dense_epochs=options.epochs, epochs=options.epochs)
    return plan


def _folder(chosen: str | None, force: bool) -> Path:
    """Return the folder for results, made if need be; a chosen one that holds results needs ``--force``."""
    if chosen is None:
        folder, number = Path("adntn-demo"), 1
        while folder.exists():
            number += 1
            folder = Path(f"adntn-demo-{number}")
    else:
        folder = Path(chosen)
    present = [name for name in FILES if (folder / name).exists()]
    if present and not force:
        raise OutputError(f"{folder} holds {', '.join(present)} already; choose another folder or pass --force")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error
    return folder


def _write(folder: Path, facts: dict[str, Any], run: SeedRun, plan: DemoPlan) -> None:
    wall = run.compressed[f"brickwall {plan.layers[0]}"]
    entries = {
        name: Entry(network, wall.params[name], {"history": wall.trainings[-1].history.summary()})
        for name, network in wall.model.networks
    }
    dense = {name: value for name, value in wall.params.items() if name not in LAYERS}
    # The folder was checked for results before the training, and is ours since.
    save_compressed(folder / FILES[0], entries, dense, seed=run.seed, force=True)
    write_atomically(folder / FILES[1], lambda path: _write_text(path, json.dumps(facts, indent=1)))
    draw_weights(run, plan.layers[0], folder / FILES[2])
    draw_curves(run, plan.layers[0], folder / FILES[3])


def _write_text(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf8")


def _show(facts: dict[str, Any], output: Output) -> None:
    rows = []
    for row in facts["rows"]:
        name = NAMES.get(row["network"]) or f"brick-wall, {row['network'].split()[1]} layers"
        ratio, stage1 = row["compression_ratio"], row["stage1_accuracy"]
        rows.append(
            [
                name,
                STAGE1[row["objective"]],
                count(row["parameters"]),
                "-" if ratio is None else f"{ratio:.1f}",
                "-" if stage1 is None else f"{100 * stage1:.1f}",
                f"{100 * row['accuracy']:.1f}",
                f"{row['seconds']:.1f}",
            ]
        )
    title = f"{', '.join(LAYERS)}: {count(facts['weights'])} weights; mean of {len(facts['seeds'])} seed(s)"
    columns = ("three layers from", "stage 1 by", "numbers", "ratio", "after stage 1, %", "test accuracy, %", "seconds")
    output.table(title, columns, rows)
    epochs = f"{facts['epochs']} epochs after the dense network's own"
    output.line(f"every row trained the same way, {epochs}; {facts['seconds']:.0f} s in all")

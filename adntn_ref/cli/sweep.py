"""The command ``sweep``."""

import argparse
import os
from typing import Any

from adntn_ref.cli.experiment import add_config_options, setting
from adntn_ref.cli.output import Output, count
from adntn_ref.errors import SpecError
from adntn_ref.experiments.engine import cluster, processes, run_sweep
from adntn_ref.experiments.sweep import Sweep, read_sweep
from adntn_ref.extras import need

Made = tuple[argparse.ArgumentParser, Any]


def add(subparsers: Any) -> Made:
    """Describe ``sweep``."""
    parser = subparsers.add_parser(
        "sweep",
        help="run many settings, on several processes or a cluster",
        description="Run layers x networks x sizes x rates x seeds; the same command goes on where it stopped.",
        epilog="example:\n  adntn-ref sweep digits-fc2 --quick --out points",
    )
    parser.add_argument("sweep", help="a TOML file, or the name of a shipped sweep")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the record; made if need be")
    parser.add_argument("--workers", type=int, metavar="N", help="processes on this machine (default: one a core)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="run on a Dask cluster: tcp://host:8786")
    add_config_options(parser)
    return parser, run


def run(options: argparse.Namespace, output: Output) -> int:
    """Run ``sweep``."""
    for package in ("rich", "threadpoolctl"):
        need(package, "demo")
    if options.workers is not None and options.workers < 1:
        raise SpecError(f"--workers must be at least 1, got {options.workers}")
    if options.workers is not None and options.scheduler is not None:
        raise SpecError("--workers is for this machine; a cluster has the workers that it has: leave one out")
    sweep = _changed(read_sweep(options.sweep), options)
    if options.scheduler is not None:
        with cluster(options.scheduler) as (executor, threads):
            summary = run_sweep(sweep, options.out, executor, in_flight=2 * max(1, threads), tell=output.line)
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = options.workers or cores
        summary = run_sweep(sweep, options.out, processes(workers), in_flight=2 * workers, tell=output.line)
    _show(summary, output)
    output.line(f"record: {options.out}; a page with pictures: adntn-ref report {options.out} -o report.html")
    output.result({**summary, "out": str(options.out)})
    return 1 if summary["failed"] else 0


def _changed(sweep: Sweep, options: argparse.Namespace) -> Sweep:
    if options.quick:
        sweep = sweep.quicker()
    if options.data is not None:
        sweep = sweep.with_base({"data": {"folder": options.data}})
    for entry in options.set:
        sweep = sweep.with_base(setting(entry))
    return sweep if options.seeds is None else sweep.with_seeds(options.seeds)


def _show(summary: dict[str, Any], output: Output) -> None:
    def percent(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f}"

    variants = any(point["variant"] for point in summary["points"])
    rows = []
    for point in summary["points"]:
        low, high = point.get("interval", (None, None))
        rows.append(
            [
                *([point["variant"]] if variants else []),
                point["label"],
                ", ".join(name.removesuffix(".weight") for name in point["layers"]),
                count(point["parameters"]),
                "-" if point["ratio"] is None else f"{point['ratio']:,.1f}",
                percent(point.get("stage1_validation_accuracy")),
                percent(point.get("validation_accuracy")),
                percent(point["accuracy"]),
                "-" if low is None else f"{percent(low)} - {percent(high)}",
                str(point["seeds"]),
                f"{point['seconds']:.1f}" if "seconds" in point else "-",
            ]
        )
    columns = ["weights from", "layers", "numbers", "ratio", "after stage 1, %", "validation, %", "test, %", "95 %"]
    columns = [*(["variant"] if variants else []), *columns, "seeds", "seconds"]
    output.table(summary["title"], columns, rows)
    for key, error in summary["failed"].items():
        output.line(f"failed: {key}: {error}")

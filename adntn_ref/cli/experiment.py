"""The commands ``experiment run``, ``list``, ``show`` and ``compare``."""

import argparse
import re
from pathlib import Path
from typing import Any

from adntn_ref.cli.output import Output, count, size
from adntn_ref.experiments.compare import compare
from adntn_ref.experiments.config import Config
from adntn_ref.experiments.plan import make_plan
from adntn_ref.experiments.record import TIMING, is_record, read_json, read_record, unbroken
from adntn_ref.experiments.run import run_experiment, spoken
from adntn_ref.experiments.shipped import find_config, names, overview, shipped_text
from adntn_ref.experiments.tomltext import parse_toml
from adntn_ref.extras import need

Made = list[tuple[argparse.ArgumentParser, Any]]
COLUMNS = ("weights from", "numbers", "ratio", "after stage 1, %", "test accuracy, %", "95 %", "of dense, %", "seconds")
_WORD = re.compile(r"(?P<key>[^=]+)=\s*(?P<value>[A-Za-z][\w-]*)\s*", re.ASCII)
_TOML_WORDS = ("true", "false", "inf", "nan")


def add(subparsers: Any) -> Made:
    """Describe ``experiment`` and its four actions."""
    parser = subparsers.add_parser(
        "experiment",
        help="run the papers' experiments, look at them, compare them",
        description="Dense baseline, both stages, controls and rivals, recorded and resumed.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run = actions.add_parser(
        "run",
        help="run an experiment, or go on with one",
        description="Run an experiment; the same command goes on where a killed one stopped, with the same result.",
        epilog="example:\n  adntn-ref experiment run digits-fc2-brickwall --quick --out first",
    )
    run.add_argument("config", help="a TOML file, or the name of a shipped experiment")
    run.add_argument("--out", required=True, metavar="DIR", help="folder for the record; made if need be")
    add_config_options(run)
    listing = actions.add_parser("list", help="list the shipped experiments", description="List what is shipped.")
    show = actions.add_parser(
        "show",
        help="show a shipped experiment, or the record of one that was run",
        description="Show a shipped experiment's configuration, or what a record holds.",
        epilog="example:\n  adntn-ref experiment show p1-fc2-mnist",
    )
    show.add_argument("what", help="a name, a TOML file, or the folder of a record")
    comparing = actions.add_parser(
        "compare",
        help="put the results of several experiments side by side",
        description="Put the rows of several finished experiments in one table.",
        epilog="example:\n  adntn-ref experiment compare first second",
    )
    comparing.add_argument("folders", nargs="+", metavar="DIR", help="folders of finished experiments")
    return [(run, run_run), (listing, run_list), (show, run_show), (comparing, run_compare)]


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that change a configuration."""
    parser.add_argument("--quick", action="store_true", help="a variant that takes about a minute")
    parser.add_argument("--data", metavar="FOLDER", help="where the data set's files are, for those that need it")
    parser.add_argument("--seeds", type=int, nargs="+", metavar="S", help="other seeds")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help='another value, such as "stage2.epochs=3"'
    )


def changed(config: Config, options: argparse.Namespace) -> Config:
    """Return the configuration with what the options change.

    Raises
    ------
    ConfigError
    """
    if options.quick:
        config = config.quicker()
    if options.data is not None:
        config = config.with_changes({"data": {"folder": options.data}})
    if options.seeds is not None:
        config = config.with_changes({"seeds": options.seeds})
    for entry in options.set:
        config = config.with_changes(setting(entry))
    return config


def setting(entry: str) -> dict[str, Any]:
    """Return what an option ``--set KEY=VALUE`` says; a single word needs no quotes, which shells take away.

    Raises
    ------
    ConfigError
    """
    word = _WORD.fullmatch(entry)
    text = f'{word["key"]}="{word["value"]}"' if word and word["value"] not in _TOML_WORDS else entry
    return parse_toml(text, f"--set takes KEY=VALUE as in TOML, got {entry!r}, which")


def run_run(options: argparse.Namespace, output: Output) -> int:
    """Run ``experiment run``."""
    for package in ("rich", "threadpoolctl"):
        need(package, "demo")  # asked for now rather than after the training
    config = changed(find_config(options.config), options)
    try:
        result = run_experiment(config, options.out, progress=output.talks, tell=output.line, backend=options.backend)
    except KeyboardInterrupt:
        output.line("stopped; the same command goes on from the last checkpoint")
        raise
    _show_result(result, read_json(Path(options.out) / TIMING), output)
    output.line(f"record: {options.out}; a page with pictures: adntn-ref report {options.out} -o report.html")
    output.result({**result, "timing": read_json(Path(options.out) / TIMING), "out": str(options.out)})
    return 0


def run_list(options: argparse.Namespace, output: Output) -> int:
    """Run ``experiment list``."""
    found = list(overview())
    rows = [
        [
            row["name"],
            row["model"],
            row["data"] + (" (--data)" if row["needs_folder"] else ""),
            ", ".join(name.removesuffix(".weight") for name in row["layers"]),
            row["network"],
            count(row["weights"]),
            count(row["parameters"]),
            f"{row['ratio']:,.0f}",
        ]
        for row in found
    ]
    columns = ("name", "model", "data", "layers", "network", "weights", "numbers", "ratio")
    output.table("shipped experiments", columns, rows, whole=True)
    output.result({"experiments": found})
    return 0


def run_show(options: argparse.Namespace, output: Output) -> int:
    """Run ``experiment show``."""
    if not is_record(options.what):
        config = find_config(options.what)
        plan = make_plan(config, data_too=False)
        is_file = options.what not in names()
        output.line(Path(options.what).read_text(encoding="utf8") if is_file else shipped_text(options.what))
        rows = [[plan.label(row), count(plan.parameters(row))] for row in plan.rows]
        output.table(f"{count(plan.weights)} weights, made from", ("row", "numbers"), rows)
        output.result({"config": config.to_dict(), "parameters": {row: plan.parameters(row) for row in plan.rows}})
        return 0
    record = read_record(options.what)
    result, timing = record.result, None
    if result is not None:
        timing = record.times
        with unbroken(record.folder):
            _show_result(result, timing, output)
    done = sorted(str(path.relative_to(record.folder)).removesuffix(".json") for path in _steps(record.folder))
    if result is None:
        output.line(f"{record.config.title}: under way; done: {', '.join(done) or 'nothing yet'}")
    mixed = record.mixed_versions()
    for name, numbers in mixed.items():
        output.line(f"careful: several versions of {name} took part: {', '.join(numbers)}")
    facts = {"config": record.config.to_dict(), "steps": done, "result": result, "timing": timing}
    output.result({**facts, "mixed_versions": mixed})
    return 0


def _steps(folder: Path) -> list[Path]:
    others = (".timing.json", "data.json")
    return [path for path in folder.glob("seed*/*.json") if not path.name.endswith(others)]


def run_compare(options: argparse.Namespace, output: Output) -> int:
    """Run ``experiment compare``."""
    facts = compare(options.folders)
    rows = [
        [
            row["experiment"],
            row["label"],
            count(row["parameters"]),
            *_percent(row["accuracy"], row["interval"]),
            f"{100 * row['above_dense']:+.1f}",
            f"{100 * row['above_frozen_random']:+.1f}",
        ]
        for row in facts["rows"]
    ]
    columns = ("experiment", "weights from", "numbers", "accuracy, %", "95 %", "against dense", "against frozen")
    output.table("test accuracies, in points", columns, rows)
    for note in facts["notes"]:
        output.line(note)
    output.result(facts)
    return 0


def _percent(accuracy: float, interval: list[float]) -> tuple[str, str]:
    return f"{100 * accuracy:.1f}", f"{100 * interval[0]:.1f} - {100 * interval[1]:.1f}"


def _show_result(result: dict[str, Any], timing: dict[str, Any], output: Output) -> None:
    rows = []
    for row in result["rows"]:
        stage1 = row["stage1_accuracy"]
        rows.append(
            [
                row["label"],
                count(row["parameters"]),
                "-" if row["ratio"] is None else f"{row['ratio']:,.1f}",
                "-" if stage1 is None else f"{100 * stage1:.1f}",
                *_percent(row["accuracy"], row["interval"]),
                "-" if row["retention"] is None else f"{100 * row['retention']:.1f}",
                f"{timing['rows'][row['row']]['seconds']:.1f}",
            ]
        )
    seeds = f"{len(result['seeds'])} seed(s), {count(result['test_images'])} test images"
    output.table(f"{result['title']}: {count(result['weights'])} weights; {seeds}", COLUMNS, rows)
    if published := result["published"]:
        said = [f"{published[key]} {unit}" for key, unit in _PUBLISHED if key in published]
        output.line(f"published ({published['source']}): {', '.join(said)}")
    took = f"{spoken(timing['seconds'])} of training, peak memory {size(timing['peak_memory_bytes'])}"
    output.line(took)


_PUBLISHED = (
    ("dense_accuracy", "% dense"),
    ("accuracy", "% compressed"),
    ("parameters", "parameters"),
    ("ratio", "x smaller"),
    ("note", ""),
)

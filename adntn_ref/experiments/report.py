"""Reports: the record of an experiment or a sweep as one HTML page, and its pictures as files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adntn_ref.compression.atomic import make_folder, write_atomically
from adntn_ref.errors import RecordError
from adntn_ref.experiments import figures
from adntn_ref.experiments.engine import RESULTS, SUMMARY
from adntn_ref.experiments.page import Page
from adntn_ref.experiments.plan import Plan, make_plan
from adntn_ref.experiments.record import ENVIRONMENT, Record, is_record, read_json, read_record, unbroken
from adntn_ref.experiments.scene_picture import network_figure, save_figure
from adntn_ref.networks.registry import from_spec

Pictures = dict[str, tuple[Any, str]]
"""Name of a file -> (figure, caption)."""
MOST_BOXES = 600
"""A network of more cores than this is not drawn: nothing could be seen."""


def write_report(
    folder: str | Path, page: str | Path | None, pictures: str | Path | None = None, kinds: tuple[str, ...] = ("png",)
) -> dict[str, list[str]]:
    """Write the page of a finished experiment, or of a sweep as far as it is.

    Parameters
    ----------
    folder : the record
    page : HTML file to write, None for none
    pictures : folder for the pictures as files, made if need be
    kinds : formats of these: png, svg, pdf

    Returns
    -------
    dict
        ``page`` and ``pictures``, the paths written.

    Raises
    ------
    RecordError
        If there is no experiment and no sweep, or the experiment is not finished.
    OutputError
        If something cannot be written.
    """
    where = Path(folder)
    if pictures is not None:
        make_folder(Path(pictures))
    if is_record(where) or (where / SUMMARY).is_file():
        with unbroken(where):
            made, found = _experiment(read_record(where)) if is_record(where) else _sweep(where)
    elif (where / RESULTS).is_file():
        raise RecordError(f"the sweep in {where} has not ended once yet; the same command goes on with it")
    else:
        raise RecordError(
            f"{where} holds no experiment and no sweep" if where.exists() else f"there is no folder {where}"
        )
    written: dict[str, list[str]] = {"page": [], "pictures": []}
    if page is not None:
        write_atomically(page, lambda path: _write_text(path, str(made)))
        written["page"].append(str(page))
    if pictures is not None:
        written["pictures"] = _write_pictures(found, Path(pictures), kinds)
    return written


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf8")


def _write_pictures(found: Pictures, folder: Path, kinds: tuple[str, ...]) -> list[str]:
    paths = [folder / f"{name}.{kind}" for name in found for kind in kinds]
    for path in paths:
        save_figure(found[path.name.rpartition(".")[0]][0], path)
    return [str(path) for path in paths]


def _experiment(record: Record) -> tuple[Page, Pictures]:
    result = record.result
    if result is None:
        raise RecordError(f"the experiment in {record.folder} is not finished; run it again to go on with it")
    plan = make_plan(record.config, data_too=False)
    timing = record.times
    rates = result["chosen_cores_rates"]
    layers = ", ".join(result["layers"])
    page = Page(
        result["title"],
        f"{result['model']} on {result['data']}; {layers}: {result['weights']:,} weights; "
        f"{len(result['seeds'])} seed(s), {result['test_images']:,} test images, opened once",
    )
    if record.config.about:
        page.text(record.config.about)
    page.heading("Results")
    page.table(RESULT_COLUMNS, [_result_row(row) for row in result["rows"]], own=1)
    page.text(HOW)
    _published(page, result)
    _layers_table(page, plan, result)
    pictures = _pictures(plan, record, result, timing, rates)
    sections: list[tuple[str, Callable[[str], bool]]] = [
        ("Accuracy against parameters", lambda name: name == "pareto"),
        ("The networks", lambda name: name.startswith("network-")),
        ("Stage 1 and stage 2", lambda name: name.startswith("stage")),
        ("The weights", lambda name: name in ("weights", "spectra", "dead")),
        ("Cost", lambda name: name == "seconds"),
    ]
    for heading, belongs in sections:
        page.heading(heading)
        if heading == "Cost":
            page.table(*_cost_table(plan, timing))
            page.text("operations and bytes of making all weights once, counted, in float32; " + timing["how"] + ".")
        for name, (figure, caption) in pictures.items():
            if belongs(name):
                page.figure(figure, caption, small=name.startswith("network-"))
        if heading == "The weights" and "dead" not in pictures:
            page.text("These networks have no activation, so there are no dead entries.")
    _how_made(page, record, rates)
    return page, pictures


HOW = (
    "Test accuracies are of the test part, opened once, after every setting was chosen. 95 %: Wilson's interval of the"
    " right answers of all seeds together; if all seeds erred on the same images, the wider one would hold. Spread:"
    " standard deviation between seeds. Frozen at random: the same layers random and left alone, all else trained."
)
RESULT_COLUMNS = (
    "weights from",
    "numbers",
    "ratio",
    "whole model",
    "after stage 1, %",
    "test accuracy, %",
    "95 %",
    "as of one seed",
    "spread, points",
    "of dense, %",
)


def _result_row(row: dict[str, Any]) -> list[str]:
    def percent(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f}"

    def interval(key: str) -> str:
        return f"{percent(row[key][0])} - {percent(row[key][1])}"

    return [
        row["label"],
        f"{row['parameters']:,}",
        "-" if row["ratio"] is None else f"{row['ratio']:,.1f}",
        f"{row['model_parameters']:,}",
        percent(row["stage1_accuracy"]),
        percent(row["accuracy"]),
        interval("interval"),
        interval("interval_one_seed"),
        percent(row["spread"]),
        percent(row["retention"]),
    ]


def _published(page: Page, result: dict[str, Any]) -> None:
    if published := result["published"]:
        names = {"dense_accuracy": "dense accuracy, %", "accuracy": "accuracy, %", "source": "source", "note": "note"}
        said = "; ".join(f"{names.get(key, key)}: {value}" for key, value in published.items())
        page.text(f"Published for this row, not measured here: {said}.")


def _layers_table(page: Page, plan: Plan, result: dict[str, Any]) -> None:
    """Add the table of all weights and rows."""
    rows = []
    for row in result["rows"]:
        for name, layer in row["layers"].items():
            counts = [f"{layer['weights']:,}", f"{layer['parameters']:,}", f"{layer['ratio']:,.1f}"]
            errors = [f"{layer[key]:.3f}" for key in ("relative_error", "relative_error_after_stage2")]
            rows.append([f"{plan.label(row['row'])}: {name}", *counts, *errors])
    page.heading("Weight by weight")
    page.table(("weight", "weights", "numbers", "ratio", "relative error after stage 1", "after stage 2"), rows)
    page.text("relative error: ||W - T|| / ||T|| against the trained dense weight; stage 2 does not aim at it.")


def _cost_table(plan: Plan, timing: dict[str, Any]) -> tuple[tuple[str, ...], list[list[str]]]:
    columns = ("row", "Mflop forward", "backward", "MB moved forward", "backward", "peak MB", "seconds", "process, MB")
    rows = []
    for row in plan.rows:
        costs = [network.cost("float32") for network in plan.networks.get(row, {}).values()]
        sums = [
            sum(getattr(cost, name) for cost in costs) / 1e6
            for name in ("flops_forward", "flops_backward", "bytes_forward", "bytes_backward")
        ]
        peak = max((cost.peak_bytes_backward for cost in costs), default=0) / 1e6
        measured = timing["rows"][row]
        counted = [f"{value:,.3g}" if costs else "-" for value in (*sums, peak)]
        rows.append(
            [plan.label(row), *counted, f"{measured['seconds']:.1f}", f"{measured['peak_memory_bytes'] / 1e6:,.0f}"]
        )
    return columns, rows


def _pictures(
    plan: Plan, record: Record, result: dict[str, Any], timing: dict[str, Any], rates: dict[str, float]
) -> Pictures:
    """Draw everything; captions say what is seen."""
    points = [{**row, "network": row["row"]} for row in result["rows"]]
    found: Pictures = {
        "pareto": (
            figures.draw_pareto(points, plan.weights, "the same layers, made from so many numbers"),
            "Accuracy against parameters: 95 % intervals over all seeds, the Pareto front, and the lines of the dense"
            " network and of the same layers frozen at random.",
        )
    }
    for name, network in plan.networks[plan.row].items():
        if len(network.core_shapes) <= MOST_BOXES:
            caption = f"{name}: {network.parameter_count:,} numbers in {len(network.core_shapes):,} cores."
            found[f"network-{name}"] = (network_figure(network), caption)
    seed = plan.config.seeds[0]
    found["stage1"] = (figures.draw_stage1(plan, record, rates), f"Stage 1, seed {seed}: the fit of each weight.")
    text = f"Stage 2: loss of seed {seed}, and validation accuracy of all seeds (thin lines: the further ones)."
    found["stage2"] = (figures.draw_stage2(plan, record, rates), text)
    text = (
        f"Seed {seed}: trained dense weight, generated weight after stage 2, difference; each on its own scale of three"
    )
    found["weights"] = (figures.draw_weights(plan, record, rates), text + " standard deviations.")
    text = f"Seed {seed}: singular values, each over its largest."
    found["spectra"] = (figures.draw_spectra(plan, record, rates), text)
    dead = figures.draw_dead(plan, record, rates)
    if dead is not None:
        text = f"Seed {seed}: share of each activation's entries through which no gradient passes."
        found["dead"] = (dead, text)
    rows = [{"label": plan.label(row), **timing["rows"][row]} for row in plan.rows]
    found["seconds"] = (figures.draw_seconds(rows), "Seconds of both stages, dense baseline not counted.")
    return found


def _how_made(page: Page, record: Record, rates: dict[str, float]) -> None:
    _machine(page, read_json(record.folder / ENVIRONMENT))
    if len(record.config.stage2.cores_rates) > 1:
        chosen = ", ".join(f"{row} {rate:g}" for row, rate in rates.items())
        page.text(f"Learning rates of the cores, chosen on the validation part of the first seed: {chosen}.")
    page.preformatted(json.dumps(record.config.to_dict(), indent=1))


def _machine(page: Page, environment: dict[str, Any]) -> None:
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    page.heading("How this was made")
    page.text(f"{environment['processor']}, {environment['cores']} cores, {environment['system']}; {versions}.")


def _sweep(folder: Path) -> tuple[Page, Pictures]:
    summary = read_json(folder / SUMMARY)
    seeds = ", ".join(map(str, summary["seeds"]))
    page = Page(summary["title"], f"{summary['model']} on {summary['data']}; seeds {seeds}")
    pictures: Pictures = {}
    parts: dict[str, list[dict[str, Any]]] = {}
    for point in summary["points"]:
        of = f"; {point['variant']}" if point.get("variant") else ""
        parts.setdefault(", ".join(point["layers"]) + of, []).append(point)
    for position, (name, points) in enumerate(parts.items()):
        page.heading(name)
        page.table(SWEEP_COLUMNS, [_sweep_row(point) for point in points])
        if any(point["accuracy"] is not None for point in points if point["row"] not in ("dense", "frozen_random")):
            caption = f"{name}: accuracy against parameters, 95 % intervals over all seeds, Pareto front."
            figure = figures.draw_pareto(points, points[0]["weights"], name)
            pictures[f"pareto-{position}"] = (figure, caption)
            caption = f"{name}: accuracy against the seconds of training; the number of parameters at each point."
            pictures[f"seconds-{position}"] = (figures.draw_time_against_accuracy(points), caption)
            for key in (f"pareto-{position}", f"seconds-{position}"):
                page.figure(*pictures[key])
    page.heading("The networks")
    for point in summary["points"]:
        name = f"network-{point['network']}"
        if point["spec"] is not None and name not in pictures:
            network = from_spec(point["spec"])
            if len(network.core_shapes) <= MOST_BOXES:
                caption = f"{point['label']}, for {point['layers'][0]}: {network.parameter_count:,} numbers."
                pictures[name] = (network_figure(network), caption)
                page.figure(*pictures[name], small=True)
    _machine(page, read_json(folder / ENVIRONMENT))
    for key, error in summary["failed"].items():
        page.text(f"failed: task {key}: {error}")
    page.text("Choose a size by the validation column; the test column then says how well it does.")
    return page, pictures


SWEEP_COLUMNS = (
    "weights from",
    "numbers",
    "ratio",
    "cores' rate",
    "validation, %",
    "test, %",
    "95 %",
    "seeds",
    "seconds",
)


def _sweep_row(point: dict[str, Any]) -> list[str]:
    known = point["accuracy"] is not None
    return [
        point["label"],
        f"{point['parameters']:,}",
        "-" if point["ratio"] is None else f"{point['ratio']:,.1f}",
        "-" if point["cores_rate"] is None else f"{point['cores_rate']:g}",
        f"{100 * point['validation_accuracy']:.1f}" if known else "-",
        f"{100 * point['accuracy']:.1f}" if known else "-",
        f"{100 * point['interval'][0]:.1f} - {100 * point['interval'][1]:.1f}" if known else "-",
        str(point["seeds"]),
        f"{point['seconds']:.1f}" if known else "-",
    ]

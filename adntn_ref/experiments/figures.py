"""The figures of a report, drawn by matplotlib from the record of an experiment or a sweep."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array
from adntn_ref.experiments.plan import Plan
from adntn_ref.experiments.record import Record
from adntn_ref.experiments.run import MODEL
from adntn_ref.experiments.steps import load_model
from adntn_ref.experiments.summary import steps_of
from adntn_ref.extras import need

SIDE = 400
"""Of larger matrices every k-th row and column is drawn, so that a side has at most so many."""
MOST_SINGULAR = 1024
"""Of larger matrices the singular values are those of the first so many rows and columns."""
MARKS = "osD^vPX*hd"


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """Return a figure that draws to files alone, and its axes as a 2-D array."""
    figure = need("matplotlib.figure", "demo").Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points (parameters, accuracy) that no other beats with at most as many parameters, by parameters.

    Examples
    --------
    >>> pareto_front([(10, 0.5), (20, 0.4), (30, 0.7), (30, 0.6)])
    [(10, 0.5), (30, 0.7)]
    """
    front: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front


def draw_pareto(rows: Sequence[dict[str, Any]], weights: int, title: str) -> Any:
    """Draw accuracy against parameters: rows with intervals, the Pareto front, the dense and the frozen line.

    ``rows`` have ``row``, ``network``, ``label``, ``parameters``, ``accuracy`` and ``interval``, as a sweep's points.
    """
    figure, axes = new_figure(8.2, 4.8)
    axis = axes[0, 0]
    made = [row for row in rows if row["row"] not in ("dense", "frozen_random") and row["accuracy"] is not None]
    families = list(dict.fromkeys(row["network"] for row in made))
    for k, family in enumerate(families):
        of = sorted((row for row in made if row["network"] == family), key=lambda row: row["parameters"])
        x = [row["parameters"] for row in of]
        y = [100 * row["accuracy"] for row in of]
        low = [100 * (row["accuracy"] - row["interval"][0]) for row in of]
        high = [100 * (row["interval"][1] - row["accuracy"]) for row in of]
        axis.errorbar(x, y, yerr=[low, high], fmt=MARKS[k % len(MARKS)], capsize=3, label=family, ls=":", lw=0.9)
    front = pareto_front((row["parameters"], 100 * row["accuracy"]) for row in made)
    axis.step(
        *zip(*[*front, (weights, front[-1][1])], strict=True), where="post", color="0.4", lw=1, label="Pareto front"
    )
    for row, style, colour in (("dense", "-", "k"), ("frozen_random", "--", "#c44e52")):
        for found in rows:
            if found["row"] == row and found["accuracy"] is not None:
                label = f"{found['label']}: {100 * found['accuracy']:.1f} %"
                axis.axhline(100 * found["accuracy"], ls=style, color=colour, lw=1.2, label=label)
    known = [row for row in rows if row["accuracy"] is not None]
    low, high = (100 * f(row["interval"][k] for row in known) for k, f in ((0, min), (1, max)))
    room = 0.04 * (high - low)
    axis.set_ylim(low - room, high + room)
    axis.set(xscale="log", xlabel="numbers that the weights are made from", ylabel="test accuracy, %", title=title)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def draw_stage1(plan: Plan, record: Record, rates: dict[str, float]) -> Any:
    """Draw the fits of the first seed: a panel a weight, a line a row."""
    figure, axes = new_figure(4.6 * len(plan.layers), 3.6, 1, len(plan.layers))
    by_distance = plan.config.stage1.objective == "euclidean"
    for axis, name in zip(axes[0], plan.layers, strict=True):
        for row in plan.networks:
            losses = np.asarray(record.read(steps_of(plan, row, rates)[0])["layers"][name]["stage1"]["loss"])
            axis.plot(np.sqrt(losses) if by_distance else losses, label=plan.label(row), lw=1.2)
        axis.set(title=name, xlabel="step")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("relative error ||W - T|| / ||T||" if by_distance else "squared difference / variance")
    axes[0, 0].legend(fontsize=8)
    return figure


def draw_stage2(plan: Plan, record: Record, rates: dict[str, float]) -> Any:
    """Draw stage 2, trainings one after another: loss of the first seed, validation accuracy of all."""
    figure, axes = new_figure(11, 4, 1, 2)
    for k, row in enumerate(plan.rows):
        for position, step in enumerate(steps_of(plan, row, rates)):
            begin, losses, at, scores = 0, [], [], []
            for training in record.read(step)["stage2"]:
                losses += training["loss"]
                at += [begin + s for s in training["validation_steps"]]
                scores += [100 * a for a in training["validation_accuracy"]]
                begin += len(training["loss"])
            label = plan.label(row) if position == 0 else None
            axes[0, 1].plot(at, scores, color=f"C{k}", lw=1.4 if position == 0 else 0.5, label=label)
            if position == 0 and losses:
                axes[0, 0].plot(*_smooth(losses), color=f"C{k}", lw=1.2, label=label)
    axes[0, 0].set(xlabel="update", ylabel="cross entropy (moving mean)", yscale="log")
    axes[0, 1].set(xlabel="update", ylabel="validation accuracy, %")
    for axis in axes[0]:
        axis.grid(alpha=0.3)
    axes[0, 1].legend(fontsize=8)
    return figure


def _smooth(losses: Sequence[float]) -> tuple[Any, Any]:
    window = max(1, len(losses) // 60)
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
    return np.arange(len(smooth)) + window, smooth


def draw_weights(plan: Plan, record: Record, rates: dict[str, float]) -> Any:
    """Draw each weight of the first seed: original, generated after stage 2, their difference."""
    figure, axes = new_figure(11.5, 2.9 * len(plan.layers), len(plan.layers), 3)
    for row, (name, (dense, made)) in zip(axes, _weights(plan, record, rates).items(), strict=True):
        titles = (f"{name}, original", "generated, after stage 2", "difference")
        for axis, matrix, title in zip(row, (dense, made, made - dense), titles, strict=True):
            small = matrix[:: -(-matrix.shape[0] // SIDE), :: -(-matrix.shape[1] // SIDE)]
            limit = 3 * float(np.std(matrix)) or 1.0
            image = axis.imshow(small, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
            axis.set_title(title, fontsize=9)
            axis.tick_params(labelsize=7)
            figure.colorbar(image, ax=axis, fraction=0.05).ax.tick_params(labelsize=7)
    return figure


def draw_spectra(plan: Plan, record: Record, rates: dict[str, float]) -> Any:
    """Draw the singular values of each weight of the first seed, original and of every row, over their largest."""
    figure, axes = new_figure(4.6 * len(plan.layers), 3.6, 1, len(plan.layers))
    for k, row in enumerate(plan.networks):
        for axis, (name, (dense, made)) in zip(axes[0], _weights(plan, record, rates, row).items(), strict=True):
            for matrix, label, style in (((dense, "original", "k-"),) if k == 0 else ()) + (
                (made, plan.label(row), ""),
            ):
                part = matrix[:MOST_SINGULAR, :MOST_SINGULAR]
                values = np.linalg.svd(part.astype("float64"), compute_uv=False)
                shown = values / values[0] if values[0] > 0 else values
                axis.plot(np.arange(1, len(values) + 1), np.maximum(shown, 1e-8), style, label=label, lw=1.3)
            axis.set(title=name, xlabel="number", yscale="log", ylim=(1e-4, 1.5))
            axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("singular value / largest")
    axes[0, 0].legend(fontsize=8)
    return figure


def _weights(plan: Plan, record: Record, rates: dict[str, float], row: str = "") -> dict[str, tuple[Array, Array]]:
    """Return the original and the generated matrix of each weight, first seed."""
    seed = plan.config.seeds[0]
    dense = load_model(plan.model, record.path(f"seed{seed}/dense", MODEL))
    made = load_model(plan.model, record.path(steps_of(plan, row or plan.row, rates)[0], MODEL))
    return {
        name: (dense[name].reshape(dense[name].shape[0], -1), made[name].reshape(made[name].shape[0], -1))
        for name in plan.layers
    }


def draw_dead(plan: Plan, record: Record, rates: dict[str, float]) -> Any | None:
    """Draw the dead share of every activation, first seed, at the start and after each stage; None if there is none."""
    layers = record.read(steps_of(plan, plan.row, rates)[0])["layers"]
    if not any(layer["dead_share_stage2"] for layer in layers.values()):
        return None
    figure, axes = new_figure(4.6 * len(plan.layers), 3.2, 1, len(plan.layers))
    keys = (
        ("dead_share_start", "start"),
        ("dead_share_stage1", "after stage 1"),
        ("dead_share_stage2", "after stage 2"),
    )
    for axis, name in zip(axes[0], plan.layers, strict=True):
        for k, (key, label) in enumerate(keys):
            shares = layers[name][key]
            axis.bar(np.arange(len(shares)) + 0.27 * (k - 1), [100 * s for s in shares.values()], 0.25, label=label)
        labels = [state.replace(".activation", "") for state in layers[name]["dead_share_stage2"]]
        axis.set_xticks(range(len(labels)), labels, rotation=30 if len(labels) > 4 else 0, fontsize=8)
        axis.set(title=name, ylim=(0, 100))
        axis.grid(alpha=0.3, axis="y")
    axes[0, 0].set_ylabel("entries without gradient, %")
    axes[0, 0].legend(fontsize=8)
    return figure


def draw_seconds(rows: Sequence[dict[str, Any]]) -> Any:
    """Draw the seconds of each row, stage 1 and stage 2; ``rows`` have ``label`` and the keys of the timing file."""
    figure, axes = new_figure(8.2, 0.6 + 0.45 * len(rows))
    axis, left = axes[0, 0], np.zeros(len(rows))
    for key, label in (("stage1_seconds", "stage 1"), ("stage2_seconds", "stage 2")):
        span = np.array([row.get(key, row["seconds"] if key == "stage2_seconds" else 0.0) for row in rows])
        axis.barh([row["label"] for row in rows], span, left=left, label=label)
        left += span
    axis.invert_yaxis()
    axis.set_xlabel("seconds of training, mean over the seeds")
    axis.grid(alpha=0.3, axis="x")
    axis.legend(fontsize=8)
    return figure


def draw_time_against_accuracy(points: Sequence[dict[str, Any]]) -> Any:
    """Draw the accuracy of a sweep's points against their seconds."""
    figure, axes = new_figure(8.2, 4.2)
    axis = axes[0, 0]
    done = [point for point in points if point["accuracy"] is not None and point["seconds"] > 0]
    for k, family in enumerate(dict.fromkeys(point["network"] for point in done)):
        of = sorted((point for point in done if point["network"] == family), key=lambda point: point["parameters"])
        x, y = [point["seconds"] for point in of], [100 * point["accuracy"] for point in of]
        axis.plot(x, y, MARKS[k % len(MARKS)], ls=":", lw=0.9, label=family)
        for point, a, b in zip(of, x, y, strict=True):
            axis.annotate(f"{point['parameters']:,}", (a, b), fontsize=7, xytext=(4, 4), textcoords="offset points")
    axis.set(xlabel="seconds of training, mean over the seeds", ylabel="test accuracy, %", xscale="log")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure

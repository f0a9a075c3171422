"""Pictures of a compression: the weights before and after, and the curves of both stages (PNG, by matplotlib)."""

from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array
from adntn_ref.ad.moving import on_host
from adntn_ref.compression.atomic import write_atomically
from adntn_ref.compression.demo import LAYERS, SeedRun
from adntn_ref.extras import need


def _figure(width: float, height: float, rows: int, columns: int) -> tuple[Any, Any]:
    """Return a figure that draws to files alone, whatever screen there is, and its axes as a 2-D array."""
    figure = need("matplotlib.figure", "demo").Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: Any, path: Path) -> None:
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=130))


def draw_weights(run: SeedRun, layers: int, path: Path) -> None:
    """Draw each compressed weight: trained dense, after stage 1, after stage 2, all on the dense weight's scale."""
    wall = run.compressed[f"brickwall {layers}"]
    after = wall.dense_params()
    figure, axes = _figure(11, 7.5, len(LAYERS), 3)
    for row, name in enumerate(LAYERS):
        dense = _matrix(run.dense_params[name])
        stage1 = wall.fits[name]
        facts = f"{stage1.network.parameter_count} numbers, error {stage1.relative_error:.2f}"
        shown = (
            (dense, f"{name}, trained: {dense.size:,} weights"),
            (_matrix(stage1.generate()), f"stage 1: {facts}"),
            (_matrix(after[name]), "stage 2: trained on the task"),
        )
        for column, (matrix, title) in enumerate(shown):
            axis = axes[row, column]
            # Stage 2 finds a weight of its own scale; a common one would show it as black and white.
            limit = 3 * float(np.std(matrix))
            image = axis.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
            axis.set_title(title, fontsize=9)
            figure.colorbar(image, ax=axis, fraction=0.04)
    _save(figure, path)


def _matrix(weight: Array) -> Any:
    return np.asarray(on_host(weight)).reshape(weight.shape[0], -1)


def draw_curves(run: SeedRun, layers: int, path: Path) -> None:
    """Draw stage 1 by both objectives (a line a weight) and stage 2 (loss and validation accuracy, a line a row)."""
    figure, axes = _figure(13, 8, 2, 2)
    name = f"brickwall {layers}"
    for weight, result in run.compressed[name].fits.items():
        axes[0, 0].plot(np.sqrt(result.history.loss), label=weight)
    for weight, result in run.compressed[f"{name} logits"].fits.items():
        axes[0, 1].plot(result.history.loss, label=weight)
    axes[0, 0].set(title=f"stage 1 by distance, {name}", xlabel="step", ylabel="relative error ||W - T|| / ||T||")
    axes[0, 1].set(title=f"stage 1 by the logits, {name}", xlabel="step", ylabel="loss", yscale="log")
    for row, training in run.trainings.items():
        losses = np.asarray(training.history.loss)
        window = max(1, len(losses) // 60)
        smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
        axes[1, 0].plot(np.arange(len(smooth)) + window, smooth, label=row)
        axes[1, 1].plot(training.history.score_steps, 100 * (1 - np.asarray(training.history.score)), label=row)
    axes[1, 0].set(title="stage 2", xlabel="step", ylabel="cross entropy (moving mean)", yscale="log")
    axes[1, 1].set(title="stage 2", xlabel="step", ylabel="validation accuracy in %", ylim=(50, 100))
    for axis in axes.flat:
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    _save(figure, path)

"""The gallery's pictures, drawn anew in every build of the documentation: ``python docs/gallery_pictures.py FOLDER``.

Everything here takes seconds; pictures of long runs are in ``_static``, with the command beside them.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import adntn_ref as ar
from adntn_ref.ad import ACTIVATIONS
from adntn_ref.experiments.scene_picture import draw_network

NETWORKS = {
    "brickwall": ar.BrickWall((16, 16), layers=3),
    "ttn": ar.TTN((16, 16), chi=4),
    "attn": ar.ATTN((16, 16), chi=4),
    "mera": ar.MERA((16, 16), chi=4),
    "tensor-train": ar.TensorTrain((16, 16), chi=4),
    "mpo": ar.MPO((16, 16), chi=4),
    "cp": ar.CP((16, 16), rank=3),
    "tucker": ar.Tucker((16, 16), ranks=2, modes=(4, 4, 4, 4)),
    "low-rank": ar.LowRank((16, 16), rank=3),
    "sum": ar.Sum(ar.BrickWall((8, 8), layers=2), ar.LowRank((8, 8), rank=1)),
}
"""Small enough to be seen whole."""


def figure(columns: int, height: float = 3.4) -> tuple[Figure, Any]:
    """Return a figure and its axes in one row."""
    made = Figure(figsize=(4.2 * columns, height), layout="constrained")
    return made, made.subplots(1, columns, squeeze=False)[0]


def draw_activations() -> Figure:
    """Draw every activation with its derivative."""
    made, axes = figure(2)
    z = np.linspace(-4, 4, 401)
    for activation in ACTIVATIONS.values():
        x = activation.sigma(z)
        axes[0].plot(z, x, label=activation.name)
        axes[1].plot(z, activation.first(z, x), label=activation.name)
    axes[0].set(title=r"$\sigma(z)$", xlabel="z", ylim=(-1.5, 3))
    axes[1].set(title=r"$\sigma'(z)$", xlabel="z")
    axes[1].legend(fontsize=7)
    return made


def draw_starts() -> Figure:
    """Draw the root mean square of the state after every layer, and the weight's, for the four starts."""
    made, axes = figure(2)
    for axis, activation in zip(axes, ("relu", "tanh"), strict=True):
        net = ar.BrickWall((2**10,), layers=20, activation=activation)
        for start in ("calibrated_orthogonal", "isometric", "normal", "near_identity"):
            states = net.forward_states(net.init(0, start=start))
            sizes = [np.sqrt(np.mean(x**2)) for name, x in states.items() if name.endswith(".odd")]
            axis.semilogy(range(1, len(sizes) + 1), np.maximum(sizes, 1e-12), marker=".", label=start)
        axis.set(title=f"brick-wall of 20 layers, {activation}", xlabel="layer", ylabel="rms of the pre-activation")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    return made


def draw_schedules() -> Figure:
    """Draw counted operations against counted peak memory for the schedules of one network."""
    made, (axis,) = figure(1)
    net = ar.BrickWall((2**16,), layers=16)
    for schedule in ("keep", "recompute", *(f"checkpoints:{n}" for n in (8, 4, 2, 1))):
        cost = net.cost("float32", schedule=schedule)
        flops = (cost.flops_forward + cost.flops_backward) / 1e6
        axis.plot(cost.peak_bytes_backward / 2**20, flops, "o")
        axis.annotate(f" {schedule}", (cost.peak_bytes_backward / 2**20, flops), fontsize=8)
    axis.set(xlabel="peak, MiB", ylabel="Mflop, forward and backward", title="brick-wall, 2^16 weights, 16 layers")
    axis.margins(x=0.3, y=0.1)
    axis.grid(alpha=0.3)
    return made


def draw_spectra() -> Figure:
    """Draw the singular values of 64 x 64 weights made from about 500 numbers, in two layouts."""
    made, axes = figure(2)
    families = ("brickwall", "ttn", "mera", "tt")
    for axis, layout in zip(axes, ("axes", "interleaved"), strict=True):
        nets = {name: ar.at_most(name, (64, 64), parameters=600, layout=layout) for name in families}
        nets["lowrank"] = ar.LowRank((64, 64), rank=4)
        for name, net in nets.items():
            values = np.linalg.svd(net.generate(net.init(0)), compute_uv=False)
            label = f"{name}, {net.parameter_count}"
            axis.semilogy(np.maximum(values / values[0], 1e-6), label=label)
        axis.set(title=f"rows and columns {'apart' if layout == 'axes' else 'interleaved'}", xlabel="singular value")
        axis.set_ylim(1e-5, 2)
        axis.legend(fontsize=7)
    return made


PICTURES: dict[str, Callable[[], Figure]] = {
    "activations": draw_activations,
    "starts": draw_starts,
    "schedules": draw_schedules,
    "spectra": draw_spectra,
}


def draw_gallery(folder: Path) -> None:
    """Draw all of them into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, net in NETWORKS.items():
        draw_network(net, folder / f"{name}.png")
    for name, draw in PICTURES.items():
        draw().savefig(folder / f"{name}.png", dpi=110)


if __name__ == "__main__":
    draw_gallery(Path(sys.argv[1]))

"""Draw the pictures of the README and the documentation: ``python docs/make_pictures.py [FOLDER OF A SWEEP]``."""

import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

import adntn_ref as ar
from adntn_ref.experiments.engine import SUMMARY
from adntn_ref.experiments.figures import draw_pareto
from adntn_ref.experiments.record import read_json
from adntn_ref.experiments.scene_picture import draw_network

HERE = Path(__file__).parent / "_static"


def draw_brickwall(modes: int = 8, layers: int = 3) -> Figure:
    """Draw a brick-wall network with its start vectors below and the modes of the weight above."""
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axis = figure.subplots()
    top = 0.0
    for q in range(modes):
        axis.plot([q, q], [-0.9, 3 * layers - 2], color="0.55", lw=1.5, zorder=0)
        axis.plot(q, -0.95, "o", color="#444444", ms=6)
    axis.text(-0.8, -0.95, "start $v_q$", ha="right", va="center", fontsize=11)
    for m in range(layers):
        bottom = 3 * m
        for column, color in ((0, "#4c78a8"), (1, "#72a0c8")):
            for q in range(column, modes - 1, 2):
                y = bottom + column
                corner = (q - 0.18, y - 0.28)
                axis.add_patch(FancyBboxPatch(corner, 1.36, 0.56, boxstyle="round,pad=0.02", fc=color, ec="k", lw=0.8))
        axis.text(-0.8, bottom + 0.5, f"layer {m}", ha="right", va="center", fontsize=11)
        if m < layers - 1:
            band = Rectangle((-0.4, bottom + 1.62), modes - 0.2, 0.66, fc="#f2b134", ec="none", alpha=0.8, zorder=1)
            axis.add_patch(band)
            label = r"activation $\sigma$, on every entry of the state"
            axis.text(modes / 2 - 0.5, bottom + 1.95, label, ha="center", va="center")
        top = bottom + 1
    for q in range(modes):
        axis.text(q, top + 1.15, f"$i_{q}$", ha="center", fontsize=11)
        axis.plot([q, q], [top, top + 0.9], color="0.55", lw=1.5, zorder=0)
    axis.set(xlim=(-2.2, modes), ylim=(-1.5, top + 1.6), xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)
    return figure


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    draw_brickwall().savefig(HERE / "brickwall.png", dpi=110)
    draw_network(ar.MERA((16, 16), chi=4), HERE / "mera.png")
    for folder in sys.argv[1:]:  # the record of `adntn-ref sweep digits-fc2`
        summary = read_json(Path(folder) / SUMMARY)
        points = summary["points"]
        draw_pareto(points, points[0]["weights"], summary["title"]).savefig(HERE / "sweep.png", dpi=110)

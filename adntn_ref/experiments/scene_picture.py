"""Networks drawn by matplotlib, as PNG, SVG or PDF."""

from pathlib import Path
from typing import Any

from adntn_ref.compression.atomic import write_atomically
from adntn_ref.errors import OutputError
from adntn_ref.experiments.scene import Box, Layered, Line, Row, Scene, Star, scenes_of
from adntn_ref.extras import need
from adntn_ref.networks.base import Network

SUFFIXES = (".png", ".svg", ".pdf")
MOST_PARTS = 6
"""Of a combination so many parts are drawn."""

COLOURS = {"start": "#4c78a8", "mix": "#72a0c8", "expand": "#59a14f", "activate": "#f2b134", "leg": "0.55"}
HEIGHT = {"start": 1.0, "mix": 1.0, "expand": 1.3, "activate": 0.8}
"""Heights of the rows, in units of a mode."""


def network_figure(network: Network) -> Any:
    """Return a matplotlib figure of a network, a row of axes for each part of a combination."""
    scenes = scenes_of(network)
    shown = scenes[:MOST_PARTS]
    sizes = [_size(scene) for scene in shown]
    width = max(4.5, *(0.55 * w for w, _ in sizes))
    heights = [max(1.6, 0.55 * h + 0.5) for _, h in sizes]
    figure = need("matplotlib.figure", "demo").Figure(figsize=(width, sum(heights)), layout="constrained")
    axes = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)
    for axis, scene in zip(axes[:, 0], shown, strict=True):
        draw_scene(axis, scene)
    if len(scenes) > len(shown):
        figure.supxlabel(f"and {len(scenes) - len(shown)} more parts", fontsize=9)
    return figure


def draw_network(network: Network, path: str | Path) -> None:
    """Draw a network to a file.

    Raises
    ------
    OutputError
        For a suffix other than .png, .svg, .pdf, and a path that cannot be written.
    """
    target = Path(path)
    if target.suffix not in SUFFIXES:
        raise OutputError(f"{target} must end in {', '.join(SUFFIXES)}")
    figure = network_figure(network)
    save_figure(figure, target)


def save_figure(figure: Any, target: Path) -> None:
    """Write a figure in the format of the path's suffix; the same figure gives the same bytes."""
    kind = target.suffix[1:]
    undated: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
    with need("matplotlib", "demo").rc_context({"svg.hashsalt": "adntn_ref"}):
        write_atomically(target, lambda path: figure.savefig(path, format=kind, dpi=130, metadata=undated))


def _size(scene: Scene) -> tuple[float, float]:
    """Return width and height of a scene in units of a mode."""
    if isinstance(scene, Layered):
        return len(scene.modes) + 3.6, sum(HEIGHT[row.kind] for row in scene.rows) + 1.6
    return 2 * len(scene.names) + 3.0, 4.2 if isinstance(scene, Line) and scene.legs[0][1] is not None else 3.4


def draw_scene(axis: Any, scene: Scene) -> None:
    """Draw a scene on matplotlib axes."""
    axis.set_aspect("equal")
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.set_title(scene.title, fontsize=9, loc="left")
    if isinstance(scene, Layered):
        _layered(axis, scene)
    elif isinstance(scene, Line):
        _line(axis, scene)
    else:
        _star(axis, scene)
    if scene.note:
        axis.set_xlabel(scene.note, fontsize=8, loc="left")


def _layered(axis: Any, scene: Layered) -> None:
    last = len(scene.modes) - 1
    y, shown = 0.0, None
    for row in scene.rows:
        top = y + HEIGHT[row.kind]
        _draw_row(axis, row, y, top, last)
        axis.text(last + 0.8, y + 0.45 * HEIGHT[row.kind], row.label, fontsize=8, va="center", color="0.25")
        if row.bonds != shown and row is not scene.rows[-1]:
            for x, size in row.bonds:
                _leg(axis, x, top, x, top + 0.5)
                _size_label(axis, x, top + 0.25, size)
            top += 0.5
            shown = row.bonds
        y = top
    for x, size in scene.rows[-1].bonds:
        _leg(axis, x, y, x, y + 0.45)
        axis.text(x, y + 0.55, str(size), fontsize=8, ha="center", va="bottom")
    axis.text(last + 0.8, y + 0.68, "modes", fontsize=8, va="center", color="0.25")
    axis.set(xlim=(-0.9, last + 3.2), ylim=(-0.2, y + 1.2))


def _draw_row(axis: Any, row: Row, low: float, high: float, last: int) -> None:
    """Draw a step between two heights."""
    middle = (low + high) / 2
    for x in row.through:
        _leg(axis, x, low, x, high)
    if row.kind == "activate":
        ends = (min(row.through) - 0.35, max(row.through) + 0.35)
        _box(axis, *ends, middle, 0.42, COLOURS["activate"], alpha=0.85)
        return
    for box in row.boxes:
        if box.wrapped:
            _wrapped(axis, box, low, high)
            continue
        for x in box.below:
            _leg(axis, x, low, x, middle)
        if row.kind == "expand":
            x, (first, second) = box.below[0], (box.above[0], box.above[1])
            _leg(axis, x, middle - 0.1, first, high)
            _leg(axis, x, middle - 0.1, second, high)
            _box(axis, x - 0.32, x + 0.32, middle - 0.15, 0.5, COLOURS["expand"])
            continue
        for x in box.above:
            _leg(axis, x, middle, x, high)
        if len(box.above) == 1:
            axis.plot(box.above[0], middle, "o", color="#444444" if box.name is None else COLOURS["start"], ms=7)
        else:
            _box(axis, min(box.above) - 0.22, max(box.above) + 0.22, middle, 0.52, COLOURS[row.kind])


def _wrapped(axis: Any, box: Box, low: float, high: float) -> None:
    """Draw a core on the last index and the first as two halves with open ends."""
    first, last = sorted(box.above)
    middle = (low + high) / 2
    for x, ends in ((first, (first - 0.7, first + 0.22)), (last, (last - 0.22, last + 0.7))):
        _leg(axis, x, low, x, high)
        _box(axis, *ends, middle, 0.52, COLOURS["mix"], hatch="//")


def _box(axis: Any, left: float, right: float, middle: float, height: float, colour: str, **options: Any) -> None:
    patch = need("matplotlib.patches", "demo").FancyBboxPatch
    corner = (left, middle - height / 2)
    style = {"boxstyle": "round,pad=0,rounding_size=0.12", "fc": colour, "ec": "k", "lw": 0.7, "zorder": 2, **options}
    axis.add_patch(patch(corner, right - left, height, **style))


def _leg(axis: Any, x0: float, y0: float, x1: float, y1: float) -> None:
    axis.plot([x0, x1], [y0, y1], color=COLOURS["leg"], lw=1.3, zorder=1, solid_capstyle="round")


def _size_label(axis: Any, x: float, y: float, size: int) -> None:
    style = {"boxstyle": "round,pad=0.12", "fc": "white", "ec": "none"}
    axis.text(x, y, str(size), fontsize=7, ha="center", va="center", bbox=style, zorder=3)


def _line(axis: Any, scene: Line) -> None:
    for k, bond in enumerate(scene.bonds):
        _leg(axis, 2 * k, 0, 2 * k + 2, 0)
        _size_label(axis, 2 * k + 1, 0, bond)
    for k, (name, (up, down)) in enumerate(zip(scene.names, scene.legs, strict=True)):
        _leg(axis, 2 * k, 0, 2 * k, 0.9)
        axis.text(2 * k, 1.0, str(up), fontsize=8, ha="center", va="bottom")
        if down is not None:
            _leg(axis, 2 * k, 0, 2 * k, -0.9)
            axis.text(2 * k, -1.0, str(down), fontsize=8, ha="center", va="top")
        _box(axis, 2 * k - 0.5, 2 * k + 0.5, 0, 0.6, COLOURS["start"])
        axis.text(2 * k, 0, name, fontsize=7, ha="center", va="center", color="white", zorder=4)
    at = 2 * len(scene.names) - 0.8
    axis.text(at, 1.15, scene.what[0], fontsize=8, va="center", color="0.25")
    axis.text(at, -1.15, scene.what[1], fontsize=8, va="center", color="0.25")
    axis.set(xlim=(-0.9, at + 1.6), ylim=(-1.6 if scene.legs[0][1] is not None else -0.7, 1.6))


def _star(axis: Any, scene: Star) -> None:
    last = 2 * (len(scene.names) - 1)
    for k, (name, leg, link) in enumerate(zip(scene.names, scene.legs, scene.links, strict=True)):
        _leg(axis, 2 * k, -1.2, 2 * k, 0.9)
        axis.text(2 * k, 1.0, str(leg), fontsize=8, ha="center", va="bottom")
        _size_label(axis, 2 * k, -0.65, link)
        _box(axis, 2 * k - 0.5, 2 * k + 0.5, 0, 0.6, COLOURS["start"])
        axis.text(2 * k, 0, name, fontsize=7, ha="center", va="center", color="white", zorder=4)
    if scene.hub == "core":
        _box(axis, -0.5, last + 0.5, -1.3, 0.5, COLOURS["expand"])
    else:
        _leg(axis, 0, -1.2, last, -1.2)
        axis.plot(last / 2, -1.2, "o", color="k", ms=6, zorder=3)
    axis.text(last + 0.9, -1.3, scene.hub, fontsize=8, va="center", color="0.25")
    axis.text(last + 0.9, 1.15, "modes", fontsize=8, va="center", color="0.25")
    axis.set(xlim=(-0.9, last + 3.2), ylim=(-1.9, 1.6))

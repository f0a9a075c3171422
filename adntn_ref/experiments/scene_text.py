"""Networks drawn in a terminal, in box-drawing characters or in plain ASCII."""

import re
from collections.abc import Callable, Iterable

from adntn_ref.experiments.scene import Layered, Line, Row, Scene, Star, scenes_of, summary
from adntn_ref.networks.base import Network
from adntn_ref.networks.combination import Combination

ASCII = str.maketrans(
    {**dict.fromkeys("│╪┼", "|"), **dict.fromkeys("─┬┴", "-"), **dict.fromkeys("└┘╘╛╞╡├┤", "+"), "═": "=", "∿": "~"}
)


BOXES = {"mix": ("╞", "═", "╡"), "expand": ("└", "─", "┘"), "start": ("╘", "═", "╛")}


def network_text(network: Network, ascii_only: bool = False) -> str:
    """Return a drawing of a network in lines of text, the weight's modes at the top.

    Examples
    --------
    >>> from adntn_ref.networks import MPO
    >>> print(network_text(MPO((8, 8), chi=2)))
    mpo, 8 x 8: 64 weights from 32 numbers (ratio 2.0)
    <BLANKLINE>
     2     2     2   rows
     │     │     │
    [0]─2─[1]─2─[2]
     │     │     │
     2     2     2   columns
    """
    scenes = scenes_of(network)
    whole = [summary(network)] if isinstance(network, Combination) else []
    text = "\n\n".join([*whole, *("\n".join(_lines(scene)) for scene in scenes)])
    return text.translate(ASCII) if ascii_only else text


def _lines(scene: Scene) -> list[str]:
    draw = {Layered: _layered, Line: _line, Star: _star}[type(scene)]
    lines = [scene.title, "", *draw(scene)]  # type: ignore[operator]
    if scene.note:
        lines += ["", scene.note]
    return [line.rstrip() for line in lines]


class _Canvas:
    """A line of text that is written on at places."""

    def __init__(self) -> None:
        self.cells: list[str] = []

    def put(self, x: int, text: str, centred: bool = False) -> None:
        """Write at column x, or around it."""
        start = max(0, x - (len(text) - 1) // 2) if centred else x
        self.cells += [" "] * (start + len(text) - len(self.cells))
        self.cells[start : start + len(text)] = text

    def __str__(self) -> str:
        return "".join(self.cells)


def _row_of(marks: Iterable[tuple[int, str]], label: str = "", label_at: int = 0) -> str:
    """Return a line with texts around their places and a label to the right."""
    canvas = _Canvas()
    for x, text in marks:
        canvas.put(x, text, centred=True)
    if label:
        canvas.put(max(label_at, len(canvas.cells) + 2), label)
    return str(canvas)


def _layered(scene: Layered) -> list[str]:
    sizes = [size for row in scene.rows for _, size in row.bonds]
    width = max(4, 2 + max(len(str(size)) for size in sizes))
    width += width % 2  # so that a bond over two modes stands over the middle
    left = width // 2 - 1
    label_at = left + width * (len(scene.modes) - 1) + 4

    def column(x: float) -> int:
        return left + round(width * x)

    lines: list[str] = []
    shown: tuple[tuple[float, int], ...] = ()
    for row in scene.rows:
        lines.append(_step(row, column, label_at))
        last = row is scene.rows[-1]
        if row.bonds != shown or last:  # sizes where they change, and the modes above all
            label = "modes" if last else "bonds"
            lines.append(_row_of(((column(x), str(size)) for x, size in row.bonds), label, label_at))
            shown = row.bonds
    return lines[::-1]


def _step(row: Row, place: Callable[[float], int], label_at: int) -> str:
    canvas = _Canvas()
    if row.kind == "activate":
        canvas.put(max(0, place(min(row.through)) - 1), "∿" * (place(max(row.through)) - place(min(row.through)) + 3))
    else:
        for x in row.through:
            canvas.put(place(x), "│")
    for box in row.boxes:
        ends = sorted(place(x) for x in box.above)
        if box.wrapped:
            canvas.put(ends[0], "╡")
            canvas.put(ends[-1], "╞")
        elif len(ends) == 1:
            canvas.put(ends[0], "o" if box.name is None else "O")
        else:
            first, fill, last = BOXES[row.kind]
            canvas.put(ends[0], first + fill * (ends[-1] - ends[0] - 1) + last)
            if row.kind == "expand":
                canvas.put(place(box.below[0]), "┬")
    canvas.put(
        max(label_at, len(canvas.cells) + 2), row.label + (" (around the ends)" * any(b.wrapped for b in row.boxes))
    )
    return str(canvas)


def _line(scene: Line) -> list[str]:
    """Draw a chain: legs up and down, bonds between the cores."""
    short = [_short(name) for name in scene.names]
    legs = [max(len(str(up)), len(str(down or ""))) for up, down in scene.legs]
    places, core = [], ""
    for k, name in enumerate(short):
        core += " " * max(0, (legs[k] - len(name)) // 2) if k == 0 else ""
        places.append(len(core) + (len(name) - 1) // 2)
        core += name
        if k < len(scene.bonds):
            room = max(0, (legs[k] + legs[k + 1]) // 2 + 1 - len(name) - 2 - len(str(scene.bonds[k])))
            core += f"─{'─' * room}{scene.bonds[k]}─"
    bars = _row_of((x, "│") for x in places)
    ups = zip(places, (str(up) for up, _ in scene.legs), strict=True)
    lines = [_row_of(ups, scene.what[0], len(core) + 2), bars, core]
    if scene.legs[0][1] is not None:
        downs = zip(places, (str(down) for _, down in scene.legs), strict=True)
        lines += [bars, _row_of(downs, scene.what[1], len(core) + 2)]
    return lines


def _star(scene: Star) -> list[str]:
    """Draw factors in a row, and below them the core or the sum that joins them."""
    width = max(6, 2 + max(len(str(size)) for size in scene.legs))
    places = [2 + width * k for k in range(len(scene.names))]
    at = places[-1] + 5
    lines = [
        _row_of(zip(places, map(str, scene.legs), strict=True), "modes", at),
        _row_of((x, "│") for x in places),
        _row_of(((x, _short(name)) for x, name in zip(places, scene.names, strict=True)), "factors", at),
    ]
    span = places[-1] - places[0]
    if scene.hub == "core":
        links = _row_of(zip(places, map(str, scene.links), strict=True), "ranks", at)
        return [*lines, links, _row_of([(places[0] + span // 2, "╘" + "═" * (span - 1) + "╛")], "core", at)]
    joint = _Canvas()
    joint.put(places[0], "└" + "─" * (span - 1) + "┘")
    for x in places[1:-1]:
        joint.put(x, "┴")
    joint.put(at, scene.hub)
    return [*lines, str(joint)]


def _short(name: str) -> str:
    """Return ``[3]`` for core3 and factor3, the name in brackets for others."""
    return f"[{re.sub('^(core|factor)(?=[0-9])', '', name)}]"

"""The picture: time against Q of everybody, with the limit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adntn_ref.compression.atomic import write_atomically
from adntn_ref.extras import need

from .table import Table

DRAWN = ("walls", "growth-q")
"""Tables that are drawn."""
LIMIT = "limit, ms"


def curves(tables: Sequence[Table]) -> dict[str, dict[int, float]]:
    """Return candidate -> Q -> milliseconds, of all brick-walls of the standard depth, and the limit."""
    found: dict[str, dict[int, float]] = {}
    for row in (row for table in tables if table.name in DRAWN for row in table.rows):
        for name, value in row.values.items():
            found.setdefault(name, {}).setdefault(row.facts["q"], value)
        if LIMIT in row.numbers:
            found.setdefault(LIMIT, {}).setdefault(row.facts["q"], row.numbers[LIMIT])
    return {name: dict(sorted(points.items())) for name, points in found.items()}


def draw(tables: Sequence[Table], path: Path) -> None:
    """Draw the curves (PNG).

    Raises
    ------
    MissingExtra
        Where matplotlib is not installed.
    """
    figure = need("matplotlib.figure", "demo").Figure(figsize=(8, 5.5), layout="constrained")
    axis = figure.subplots()
    for name, points in curves(tables).items():
        style: dict[str, Any] = {"color": "0.5", "ls": "--"} if name == LIMIT else {"marker": "o", "ms": 4}
        if name.startswith("ours"):
            style |= {"lw": 2.5}
        axis.semilogy(list(points), list(points.values()), label=name.removesuffix(", ms"), **style)
    axis.set(xlabel="Q (2^Q entries)", ylabel="ms, loss and gradients of all cores", title="brick-wall")
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=8)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=130))

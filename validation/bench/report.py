"""Tables as text and as Markdown."""

from collections.abc import Sequence

from .goals import TIE, Verdict
from .table import Row, Table

REMINDER = (
    f"Medians of alternating rounds in one run. Only ratios within a run mean anything, and under {TIE:g} either way is"
    " a tie."
)


def figure(value: float) -> str:
    """Return a number with three digits.

    Examples
    --------
    >>> [figure(x) for x in (0.01234, 1.5, 123.4, 12345.6)]
    ['0.0123', '1.5', '123', '12346']
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cells(table: Table) -> list[list[str]]:
    """Return head and rows of a table: every figure with the ratio of ours to it in brackets."""
    columns = table.columns
    found = [[table.first, *columns, *table.shown]]
    for row in table.rows:
        found.append(
            [row.label, *(_cell(row, name) for name in columns), *(_number(row, name) for name in table.shown)]
        )
    return found


def _cell(row: Row, column: str) -> str:
    if column not in row.values:
        return "-"
    ratio = row.numbers.get(f"ours / {column}")
    return figure(row.values[column]) + ("" if ratio is None else f" ({figure(ratio)})")


def _number(row: Row, name: str) -> str:
    if name not in row.numbers:
        return "-"
    return f"{100 * row.numbers[name]:.3g} %" if name.startswith("share") else figure(row.numbers[name])


def left_out(table: Table) -> list[str]:
    """Return a line for every reason why figures are missing, with the rows it holds for."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in table.rows:
        for name, why in row.left_out.items():
            reasons.setdefault((name, why), []).append(row.label)
    return [
        f"left out: {name}"
        + ("" if len(rows) == len(table.rows) else f" at {table.first} {', '.join(rows)}")
        + f": {why}"
        for (name, why), rows in reasons.items()
    ]


def text(table: Table) -> str:
    """Return a table for a terminal."""
    return "\n".join([table.title, *_aligned(cells(table)), *table.notes, *left_out(table)])


def markdown(table: Table) -> str:
    """Return a table for the documentation."""
    notes = [f"- {line}" for line in (*table.notes, *left_out(table))]
    lines = [f"**{table.title}**", "", *_piped(cells(table)), *([""] if notes else []), *notes]
    return "\n".join(lines)


GOALS_HEAD = ["table", "row", "number", "measured", "goal (stretch)", ""]


def _goal_cells(found: Sequence[Verdict]) -> list[list[str]]:
    return [GOALS_HEAD, *([v.table, v.row, v.number, figure(v.value), v.wanted, v.verdict] for v in found)]


def goals_text(found: Sequence[Verdict]) -> str:
    """Return the goals beside what was measured, for a terminal."""
    return "\n".join(["Goals", *_aligned(_goal_cells(found), 3)])


def goals_markdown(found: Sequence[Verdict]) -> str:
    """Return the goals beside what was measured, for the documentation."""
    return "\n".join(["**Goals**", "", *_piped(_goal_cells(found))])


def _aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return lines in columns; the first ``left`` columns begin at the left, the others end at the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(c.ljust(w) if k < left else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]


def _piped(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]

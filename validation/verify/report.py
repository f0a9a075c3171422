"""The report for people: a table, the failing rows in words, and a last line that says what came of it."""

import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from io import TextIOWrapper
from typing import Any, TextIO

from adntn_ref.errors import MissingExtra
from adntn_ref.extras import need

from .run import Report, Watch
from .verdicts import Row, Verdict

COLUMNS = ("case", "quantity", "worst error", "allowed", "verdict")
MOST_ROWS = 40
"""Failing rows shown; all of them are in the JSON."""
LISTED = 12

Line = tuple[str, str, str, str, str]


def show(report: Report, stream: TextIO | None = None, every: bool = False) -> None:
    """Print a report.

    Parameters
    ----------
    report : the report
    stream : default the standard output; a table of rich where it is a terminal and rich is installed
    every : a line for every quantity of every case, and not one for those of a family that agree
    """
    out = sys.stdout if stream is None else stream
    if isinstance(out, TextIOWrapper):
        out.reconfigure(errors="backslashreplace")  # a message may hold what the terminal's encoding has not
    lines = [line_of(row) for row in report.rows] if every else short_lines(report)
    lines += random_lines(report)
    if lines:
        _table(lines, out)
    for text in (*details(report), *summary(report)):
        print(text, file=out)


def line_of(row: Row) -> Line:
    """Return a row of the table for one quantity."""
    return row.case, row.quantity, _number(row.error), _number(row.allowed), row.verdict.label


def short_lines(report: Report) -> list[Line]:
    """Return the table's rows: one for those of a family and group that agree, then those that fail."""
    lines: list[Line] = []
    agreeing: dict[tuple[str, str], list[Row]] = {}
    for row in report.rows:
        if row.verdict is Verdict.AGREES and not row.case.startswith("random/"):
            agreeing.setdefault((row.case.partition("/")[0], row.group), []).append(row)
    for (family, group), rows in agreeing.items():
        worst = max(rows, key=lambda row: row.ratio)
        cases = len({row.case for row in rows})
        what = f"{family} ({cases} cases)" if cases > 1 else rows[0].case
        lines.append((what, group, _number(worst.error), _number(worst.allowed), worst.verdict.label))
    return lines + [line_of(row) for row in failing_rows(report)[:MOST_ROWS]]


def failing_rows(report: Report) -> list[Row]:
    """Return the failing rows, the worst one alone of those of a case that have group and verdict in common."""
    found: dict[tuple[str, str, Verdict], list[Row]] = {}
    for row in report.failed:
        found.setdefault((row.case, row.group, row.verdict), []).append(row)
    rows = []
    for alike in found.values():
        worst = max(alike, key=lambda row: row.ratio)
        others = f" (and {len(alike) - 1} more of this case)" if len(alike) > 1 else ""
        rows.append(replace(worst, detail=worst.detail + others))
    return rows


def random_lines(report: Report) -> list[Line]:
    """Return the table's rows of the random cases that agree."""
    random = report.random
    if random is None or random.failing is not None:
        return []
    what = f"random ({random.judged} cases)"
    rows = random.worst.items()
    return [(what, group, _number(row.error), _number(row.allowed), row.verdict.label) for group, row in rows]


def details(report: Report) -> Iterable[str]:
    """Return the failing rows in words, the random case that fails, and the diagnosis."""
    failed = failing_rows(report)
    for row in failed[:MOST_ROWS]:
        yield f"{row.case}  {row.quantity}: {row.verdict}: {row.detail or row.verdict.sentence}"
    if len(failed) > MOST_ROWS:
        yield f"... and {len(failed) - MOST_ROWS} more; --json writes all of them"
    random = report.random
    if random is not None and random.failing is not None:
        case = random.failing.case
        yield f"smallest failing random case (seed {report.seed}, number {random.judged}): {case.spec}"
        for name, core in case.params.items():
            if core.size <= LISTED:
                yield f"  {name} = {core.tolist()}"
        if report.saved is not None:
            yield f"  written to {report.saved}; run it again with --case {report.saved}"
        else:
            yield "  --out DIR writes it into files that --case reads"
    if random is not None and random.note:
        yield f"random cases: {random.note}"
    if report.diagnosis:
        yield f"diagnosis: {report.diagnosis}"


def summary(report: Report) -> Iterable[str]:
    """Return the last lines: what is not supported, what was not run, and the result."""
    if names := report.unsupported:
        yield f"not supported, wholly or in part: {len(names)} cases: {_listed(names)}"
    if names := report.not_run:
        yield f"not run, for want of time: {len(names)} cases: {_listed(names)}"
    drawn = 0 if report.random is None else report.random.judged
    shipped = len([name for name in report.judged if not name.startswith("random/")])
    counted = f"{shipped} shipped and {drawn} random cases in {report.dtype}, {report.seconds:.1f} s"
    if report.exit_code == 1:
        failing = len({row.case for row in report.failed})
        yield f"{report.candidate} DISAGREES: {failing} of {shipped + drawn} cases ({counted})"
    elif report.exit_code == 2:
        why = "the time did not do for all cases" if report.not_run else "it supports none of the cases"
        yield f"{report.candidate} could not be verified: {why} ({counted})"
    else:
        yield f"{report.candidate} agrees: {counted}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2e}"


def _table(lines: Sequence[Line], stream: TextIO) -> None:
    if stream.isatty():
        try:
            _rich_table(lines, stream)
            return
        except MissingExtra:
            pass  # plain text does
    widths = [max(len(line[k]) for line in (COLUMNS, *lines)) for k in range(len(COLUMNS))]
    for line in (COLUMNS, tuple("-" * width for width in widths), *lines):
        cells = [cell.rjust(width) if k in (2, 3) else cell.ljust(width) for k, (cell, width) in _zipped(line, widths)]
        print("  ".join(cells).rstrip(), file=stream)


def _zipped(line: Sequence[str], widths: Sequence[int]) -> Iterable[tuple[int, tuple[str, int]]]:
    return enumerate(zip(line, widths, strict=True))


def _rich_table(lines: Sequence[Line], stream: TextIO) -> None:
    table = need("rich.table", "demo").Table()
    for k, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if k in (2, 3) else "left", overflow="fold")
    agrees = (Verdict.AGREES.label, Verdict.NOT_SUPPORTED.label)
    for line in lines:
        table.add_row(*line, style=None if line[-1] in agrees else "red")
    console = need("rich.console", "demo").Console(file=stream, markup=False, emoji=False, highlight=False)
    console.print(table)


def progress(quiet: bool = False) -> AbstractContextManager[Watch | None]:
    """Return a context with a bar on the standard error; silent where that is no terminal or rich is missing."""
    if quiet or not sys.stderr.isatty():
        return nullcontext(None)
    try:
        return _Bar()
    except MissingExtra:
        return nullcontext(None)


class _Bar(AbstractContextManager[Watch]):
    """A bar with the time left, by rich."""

    def __init__(self) -> None:
        bars = need("rich.progress", "demo")
        console = need("rich.console", "demo").Console(stderr=True)
        self._bar = bars.Progress(
            bars.TextColumn("{task.description:<32}", markup=False),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task: Any = self._bar.add_task("cases", total=None)

    def __enter__(self) -> Watch:
        self._bar.start()
        return self._moved

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def _moved(self, done: int, total: int, name: str) -> None:
        self._bar.update(self._task, completed=done, total=total, description=name[:32])

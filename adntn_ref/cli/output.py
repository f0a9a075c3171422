"""How commands speak: tables for people, JSON for programs, silence on request."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adntn_ref.compression.atomic import writing
from adntn_ref.errors import printable
from adntn_ref.extras import need

STDOUT = Path("standard output")


@dataclass(frozen=True)
class Output:
    """Where a command's words go.

    ``as_json``: one JSON object on standard output and nothing else there. ``quiet``: nothing but errors.
    What is shown to people may come from a file that anybody wrote: a terminal finds nothing in it to obey.
    """

    as_json: bool = False
    quiet: bool = False

    @property
    def talks(self) -> bool:
        """Whether people are to be shown tables, lines and progress bars."""
        return not (self.as_json or self.quiet)

    def line(self, text: str) -> None:
        """Print a line for people."""
        if self.talks:
            with writing(STDOUT):
                print(printable(text), flush=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], whole: bool = False) -> None:
        """Print a table for people; the first column is left-aligned, and ``whole`` keeps its names in one piece."""
        if not self.talks:
            return
        table = need("rich.table", "demo").Table(title=printable(title), title_justify="left")
        for i, column in enumerate(columns):
            first = i == 0
            table.add_column(column, justify="left" if first else "right", overflow="fold", no_wrap=first and whole)
        for row in rows:
            table.add_row(*map(printable, row))
        # A pipe has no width of its own; a table cut to 80 columns there would lose figures.
        # Names are shown as they are: [b] is a part of a name here and no markup.
        width = None if sys.stdout.isatty() else 120
        console = need("rich.console", "demo").Console(width=width, markup=False, emoji=False, highlight=False)
        with writing(STDOUT):
            console.print(table)

    def result(self, facts: dict[str, Any]) -> None:
        """Print the result for programs."""
        if self.as_json:
            with writing(STDOUT):
                print(json.dumps(facts, indent=1))


def count(number: int) -> str:
    """Write an integer with thousands separated, ``18,874,368``."""
    return f"{number:,}"


def size(number: float) -> str:
    """Write an amount of memory with its unit, ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.4g} {unit}"
        number /= 1024
    return f"{number:.4g} TiB"

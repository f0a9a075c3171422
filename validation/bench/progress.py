"""How far a run is: a bar on standard error with what is done now and the time left, where there is rich."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from adntn_ref.extras import need

from .candidate import installed
from .plan import Plan

SHARES = {
    "limits": 8.0,
    "walls": 160.0,
    "trees": 35.0,
    "cores": 40.0,
    "memory": 30.0,
    "count": 5.0,
    "growth-q": 60.0,
    "growth-m": 35.0,
    "optimiser": 10.0,
    "models": 60.0,
}
"""About how many seconds each table takes on two cores; the bar moves by them."""


class Progress:
    """A bar over tables, as a context manager; silent unless on a terminal with rich.

    Parameters
    ----------
    names : the tables that will be run
    quiet : show nothing
    """

    def __init__(self, names: Sequence[str], quiet: bool = False) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._before = 0.0
        self._now = ""
        if not quiet and installed("rich") and sys.stderr.isatty():
            rich = need("rich.progress", "demo")
            self._bar = rich.Progress(
                rich.TextColumn("{task.description:<36}", markup=False),
                rich.BarColumn(),
                rich.TimeElapsedColumn(),
                rich.TextColumn("left"),
                rich.TimeRemainingColumn(),
                redirect_stdout=False,
                console=need("rich.console", "demo").Console(stderr=True),
            )
            self._task = self._bar.add_task("", total=sum(SHARES.get(name, 10.0) for name in names))

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, name: str) -> None:
        """Say that a table begins."""
        if self._bar is None:
            return
        self._before += SHARES.get(self._now, 0.0)
        self._now = name
        self._bar.update(self._task, completed=self._before, description=name)

    def watched(self, plan: Plan) -> Plan:
        """Return a plan that moves the bar."""
        if self._bar is None:
            return plan
        return replace(plan, say=lambda text: self._bar.update(self._task, description=text))

    def print(self, text: str) -> None:
        """Print to standard output without disturbing the bar."""
        if self._bar is not None:
            self._bar.stop()
        print(text, flush=True)
        if self._bar is not None:
            self._bar.start()

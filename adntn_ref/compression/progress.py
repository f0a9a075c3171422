"""A progress bar with the loss and the time left; needs the extra ``demo`` (rich)."""

from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

from adntn_ref.compression.training import Tick
from adntn_ref.extras import need


class Progress:
    """A bar on standard error, as a context manager that is also a training callback; silent unless on a terminal.

    Parameters
    ----------
    title : what is going on, in a word or two
    steps : how many ticks make it full
    """

    def __init__(self, title: str, steps: int) -> None:
        rich_progress = need("rich.progress", "demo")
        console = need("rich.console", "demo").Console(stderr=True)
        self._bar = rich_progress.Progress(
            rich_progress.TextColumn("{task.description:<24}", markup=False),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TextColumn("loss {task.fields[loss]:.4g}"),
            rich_progress.TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=steps, loss=float("nan"))

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, tick: Tick) -> None:
        """Move the bar to a training step."""
        self._bar.update(self._task, completed=tick.step, total=tick.steps, loss=tick.loss)


def no_progress() -> AbstractContextManager[Any]:
    """Return a context that shows nothing and gives no callback."""
    return nullcontext()

"""Schedules: which states of a run are kept for the adjoint, and which are computed again.

- ``keep``: every segment's record. Fastest, and the memory grows with the depth.
- ``recompute``: every segment's input; its record is made again when the adjoint reaches it. One more forward pass.
- ``checkpoints:n``: n states besides the start, placed so that the fewest segments run again (binomial checkpoints:
  Griewank and Walther, "Algorithm 799: revolve", ACM TOMS 26, 2000).
- ``auto`` is not run itself: :func:`adntn_ref.program.cost.choose_schedule` takes the fastest that fits.

A schedule knows nothing of topologies, and a topology nothing of schedules. The same functions make the same states
again, so all schedules give the same gradients, to the bit.
"""

import re
from dataclasses import dataclass
from math import comb
from typing import Any

from adntn_ref.ad.arrays import Array
from adntn_ref.errors import SpecError
from adntn_ref.program.runs import Chain
from adntn_ref.program.steps import Cores

SCHEDULES = ("keep", "recompute", "checkpoints:n")


@dataclass(frozen=True)
class Saved:
    """What a forward run kept: records or input states, by the number of the segment."""

    slots: int | None
    records: dict[int, Any]
    inputs: dict[int, Array]


def slots_of(schedule: str, count: int) -> int | None:
    """Return how many states besides the start a schedule keeps of ``count`` segments; None where it keeps records.

    Raises
    ------
    SpecError
        For a name that is no schedule.

    Examples
    --------
    >>> slots_of("keep", 4), slots_of("recompute", 4), slots_of("checkpoints:2", 4)
    (None, 3, 2)
    """
    if schedule == "keep":
        return None
    if schedule == "recompute":
        return count - 1
    match = re.fullmatch(r"checkpoints:(\d{1,9})", schedule) if isinstance(schedule, str) else None
    if match is None:
        raise SpecError(
            f"no schedule is called {schedule!r}; allowed: {', '.join(SCHEDULES)} with a number n >= 0, auto"
        )
    return min(int(match.group(1)), count - 1)


def run_keeping(run: Chain, schedule: str) -> tuple[Array, Saved]:
    """Return the last state and what the schedule keeps."""
    slots = slots_of(schedule, run.count)
    x = run.start()
    saved = Saved(slots, {}, {})
    if slots is None:
        for k in range(run.count):
            x, saved.records[k] = run.keeping(k, x)
        return x, saved
    places = {0, *_places(0, run.count, slots)}
    for k in range(run.count):
        if k in places:
            saved.inputs[k] = x
        x = run.forward(k, x)
    return x, saved


def run_adjoint(run: Chain, saved: Saved, g: Array) -> Cores:
    """Carry the cotangent g of the last state back through the run.

    Returns
    -------
    dict
        The environment of every core, by name: the gradient of <g, last state> with respect to it.
    """
    found: dict[Any, Array] = {}
    if saved.slots is None:
        for k in range(run.count - 1, -1, -1):
            g = run.back(k, saved.records[k], g, k < run.count - 1, found)
    elif run.count:
        g = _carry(run, saved, g, found)
    return run.finish(g, found)


def _carry(run: Chain, saved: Saved, g: Array, found: dict[Any, Array]) -> Array:
    """Carry g from the last state to the first, with states computed again.

    A span (first, last, state ``first``, states that may be kept besides) is cut at the place of its next state; what
    lies behind the cut is carried back first. Spans wait in a list: a program may have more segments than Python has
    room for calls.
    """
    spans = [(0, run.count, saved.inputs[0], saved.slots or 0)]
    while spans:
        first, last, x, slots = spans.pop()
        if last - first > 1:
            middle = split(last - first, slots) + first if slots else last - 1
            # Taken out, so that no more states are held than the schedule says; a second pullback runs them again.
            state = saved.inputs.pop(middle, None)
            if state is None:
                state = x
                for k in range(first, middle):
                    state = run.forward(k, state)
            spans += [(first, middle, x, slots), (middle, last, state, slots - 1 if slots else 0)]
            del state
        else:
            record = run.again(first, x)
            g = run.back(first, record, g, last < run.count, found)
            del record
        del x
    return g


def _places(first: int, last: int, slots: int) -> list[int]:
    """Return where a forward run keeps states: at the splits that the adjoint meets on its way to the end."""
    places = []
    while slots and last - first > 1:
        first += split(last - first, slots)
        places.append(first)
        slots -= 1
    return places


def split(length: int, slots: int) -> int:
    """Return where to keep the next state of ``length`` segments with ``slots`` states to keep: so that least is rerun.

    Of l segments with s states kept (the first among them), at best t(l, s) = min_m m + t(l-m, s-1) + t(m, s) are run
    again. With beta(s, r) = (s+r)! / s! r! and the smallest r for which beta(s, r) >= l, the minimum is at every m with
    beta(s, r-2) <= m <= beta(s, r-1) and beta(s-1, r-1) <= l-m <= beta(s-1, r) (revolve).

    Examples
    --------
    >>> split(10, 9), split(10, 2)
    (1, 4)
    """
    s = min(slots, length - 1) + 1
    r = next(r for r in range(length + 1) if comb(s + r, s) >= length)
    return max(1, comb(s + r - 2, s) if r > 1 else 0, length - comb(s + r - 1, s - 1))

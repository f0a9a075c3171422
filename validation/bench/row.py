"""Measuring one row: the candidates that can, checked first, timed together."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .candidate import Candidate, check
from .table import Row
from .timing import Rounds, alternate
from .workload import Workload


def measure(
    row: Row,
    workload: Workload,
    candidates: Sequence[Candidate],
    plan: Rounds,
    extra: Mapping[str, Callable[[], Any]] | None = None,
) -> Row:
    """Put the milliseconds of every candidate into a row, and the ratio of the first one to each other.

    Parameters
    ----------
    row : gets values, samples, numbers, and the reasons of those that are left out
    candidates : the first is the one that the others are compared with, before any is timed
    extra : other functions to be timed in the same rounds, which compute something else; their values are in
        ``row.samples`` alone

    Raises
    ------
    DisagreementError
        For a candidate that computes something else.
    """
    runs: dict[str, Callable[[], Any]] = {}
    expected = None
    for candidate in candidates:
        if reason := candidate.refuses(workload):
            row.left_out[candidate.name] = reason
            continue
        try:
            prepared = candidate.prepare(workload)
        except ImportError as error:
            row.left_out[candidate.name] = f"cannot be imported: {error}"
            continue
        answer = prepared.answer(prepared.run())
        if expected is None:
            expected = answer
        else:
            check(candidate.name, workload.dtype, answer, expected, workload.entries)
        runs[candidate.name] = prepared.run
    timed = alternate({**runs, **(extra or {})}, plan)
    row.samples = {name: [1e3 * s for s in found] for name, found in timed.samples.items()}
    row.values = {name: 1e3 * timed.medians[name] for name in runs if name in timed.samples}
    row.left_out |= timed.left_out
    row.ratios_to(candidates[0].name)
    return row

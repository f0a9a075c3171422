"""Verifying a candidate: the shipped cases, then random ones, within a time limit."""

import fnmatch
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref._version import __version__
from adntn_ref.errors import NothingSelected

from ..case import Case
from .candidate import Candidate, FunctionsCandidate
from .explain import explain
from .files import save_case
from .judge import judge
from .prepare import Prepared, prepare
from .process import START_LIMIT, ModuleCandidate
from .random_cases import RandomResult, Search, kind_of
from .verdicts import CALL, NEEDED, Answer, Array, Row, Verdict

Shipped = Sequence[tuple[Case, Mapping[str, Array]]]
"""Cases with their reference, empty where it is to be computed."""

COMPARABLE = (Verdict.DIFFERS, Verdict.WRONG_SHAPE)
"""Verdicts on arrays, of which the diagnosis may make something."""

Watch = Callable[[int, int, str], None]
"""Told after each case: how many are done, of how many, and the name of the last one."""


@dataclass
class Report:
    """What verifying a candidate showed.

    Attributes
    ----------
    candidate : its name
    dtype, seed : as asked
    rows : the verdict on every quantity of the shipped cases, and of the random case that fails, if any
    random : what the random cases showed; None where none were asked for
    diagnosis : which known mistakes explain what differs; empty where nothing does
    saved : where the failing random case was written
    seconds : how long it took
    """

    candidate: str
    dtype: str
    seed: int
    rows: list[Row] = field(default_factory=list)
    random: RandomResult | None = None
    diagnosis: str = ""
    saved: Path | None = None
    seconds: float = 0.0

    @property
    def failed(self) -> list[Row]:
        """The rows by which the candidate fails."""
        return [row for row in self.rows if row.verdict.failed]

    @property
    def unsupported(self) -> list[str]:
        """The shipped cases of which the candidate does nothing, or not weight and gradient both, in order."""
        refused = (row for row in self.rows if row.verdict is Verdict.NOT_SUPPORTED and row.group in (*NEEDED, CALL))
        return list(dict.fromkeys(row.case for row in refused if not row.case.startswith("random/")))

    @property
    def not_run(self) -> list[str]:
        """The cases that the time limit left out."""
        return list(dict.fromkeys(row.case for row in self.rows if row.verdict is Verdict.NOT_RUN))

    @property
    def judged(self) -> list[str]:
        """The shipped cases of which something could be judged, and the random case that fails."""
        aside = (Verdict.NOT_SUPPORTED, Verdict.NOT_RUN)
        return list(dict.fromkeys(row.case for row in self.rows if row.verdict not in aside))

    @property
    def exit_code(self) -> int:
        """0: agrees; 1: a disagreement; 2: it supports nothing, or the time did not do for the shipped cases."""
        if self.failed:
            return 1
        nothing = not self.judged and not (self.random is not None and self.random.judged)
        return 2 if nothing or self.not_run else 0

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON-able dict, of format 1."""
        counts = Counter(row.verdict.label for row in self.rows)
        random = self.random
        drawn = None
        if random is not None:
            drawn = {"judged": random.judged, "unsupported": random.unsupported, "note": random.note}
            drawn |= {"worst": {group: row.to_json() for group, row in random.worst.items()}}
            failing = random.failing
            drawn |= {"failing": None if failing is None else {"name": failing.case.name, "spec": failing.case.spec}}
            drawn |= {"saved": None if self.saved is None else str(self.saved)}
        return {
            "format": 1,
            "candidate": self.candidate,
            "exit_code": self.exit_code,
            "dtype": self.dtype,
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
            "environment": environment(),
            "summary": {"judged": len(self.judged), "verdicts": dict(counts)},
            "unsupported": self.unsupported,
            "not_run": self.not_run,
            "random": drawn,
            "diagnosis": self.diagnosis,
            "rows": [row.to_json() for row in self.rows],
        }


def environment() -> dict[str, str]:
    """Return the versions and the platform that a report is made with."""
    return {
        "adntn_ref": __version__,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
    }


def shipped_cases() -> Shipped:
    """Return the shipped cases that have a specification, with their reference."""
    from .shipped import load_shipped

    return load_shipped()


def select(cases: Shipped, only: Iterable[str]) -> Shipped:
    """Return the cases whose names match one of some globs; all of them where there is no glob.

    Raises
    ------
    NothingSelected
        If a glob matches no case.
    """
    globs = list(only)
    for glob in globs:
        if not any(fnmatch.fnmatchcase(case.name, glob) for case, _ in cases):
            raise NothingSelected(f"no case is called {glob!r}; --list shows the {len(cases)} there are")
    return [pair for pair in cases if not globs or any(fnmatch.fnmatchcase(pair[0].name, glob) for glob in globs)]


def as_candidate(candidate: Any) -> Candidate:
    """Return a candidate: one as it is, a module's name in a process of its own, functions in this process."""
    if isinstance(candidate, str):
        return ModuleCandidate(candidate)
    if hasattr(candidate, "ask") and hasattr(candidate, "start"):
        made: Candidate = candidate
        return made
    return FunctionsCandidate(candidate)


class Session:
    """A candidate that is asked case after case, within limits of time.

    Parameters
    ----------
    candidate : the candidate
    dtype : what it works in
    time_limit, case_limit : seconds for all, and for one case
    """

    def __init__(self, candidate: Candidate, dtype: str, time_limit: float, case_limit: float) -> None:
        self.candidate = candidate
        self.dtype = dtype
        self.case_limit = case_limit
        self._deadline = time.monotonic() + time_limit

    def time_left(self) -> float:
        """Return the seconds that are left of all."""
        return self._deadline - time.monotonic()

    def ask(self, prepared: Prepared) -> tuple[list[Row], Answer]:
        """Put a case to the candidate and judge its answer."""
        request = prepared.request
        limit = min(self.case_limit, self.time_left())
        if limit <= 0:
            return [Row(prepared.case.name, "call", Verdict.NOT_RUN)], {}
        answer = self.candidate.ask(request, limit)
        given = any(part.arrays for part in answer.values())
        rows = judge(request, prepared.expected, prepared.allowed if given else {}, answer)
        if limit < self.case_limit and any(row.verdict is Verdict.TIMED_OUT for row in rows):
            # It was cut short by the limit of the whole, which says nothing of the candidate.
            return [Row(prepared.case.name, "call", Verdict.NOT_RUN)], {}
        return rows, answer

    def ask_case(self, case: Case, known: Mapping[str, Array] | None) -> tuple[list[Row], Answer, Prepared | None]:
        """Put a case to the candidate in what it works in; complex numbers of half precision are not supported."""
        prepared = prepare(case, self.dtype, known)
        if prepared is None:
            text = f"there are no complex numbers of {self.dtype}"
            return [Row(case.name, "call", Verdict.NOT_SUPPORTED, detail=text)], {}, None
        return (*self.ask(prepared), prepared)


def verify(
    candidate: Any,
    *,
    cases: Shipped | None = None,
    only: Iterable[str] = (),
    random: int = 200,
    seed: int = 0,
    dtype: str = "float64",
    time_limit: float = 300.0,
    case_limit: float = 30.0,
    out: Path | None = None,
    watch: Watch | None = None,
) -> Report:
    """Compare a candidate with the reference on the shipped cases, then on random ones.

    Parameters
    ----------
    candidate : name of a module, which is run in a process of its own; a module or an object with the two functions,
        called in this process; or a ``Candidate``
    cases : cases with their reference, or an empty dict for it to be computed; default the shipped ones
    only : globs of case names; where given, no random cases are drawn
    random : how many random cases are judged; none for a candidate that cannot be asked
    seed : of the random cases
    dtype : what the candidate works in: float64, float32, float16 or bfloat16
    time_limit, case_limit : seconds for all, and for one case
    out : folder where a failing random case is written
    watch : told after each case

    Raises
    ------
    CandidateError
        If the candidate cannot be started.
    NothingSelected
        If a glob matches no case.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> def not_yet(*arguments):
    ...     raise NotImplementedError
    >>> report = verify(SimpleNamespace(generate=not_yet, vjp=not_yet), random=0)
    >>> report.exit_code, report.judged
    (2, [])
    """
    globs = list(only)
    chosen = select(shipped_cases() if cases is None else cases, globs)
    asked = as_candidate(candidate)
    count = random if asked.can_be_asked and not globs else 0
    begun = time.monotonic()
    session = Session(asked, dtype, time_limit, case_limit)
    report = Report(asked.name, dtype, seed)
    failing: list[tuple[Prepared, Answer]] = []
    passing: list[tuple[Prepared, Answer]] = []
    try:
        asked.start(min(START_LIMIT, max(time_limit, 1.0)))
        for k, (case, known) in enumerate(chosen):
            rows, answer, prepared = session.ask_case(case, known)
            report.rows += rows
            if prepared is not None and any(row.verdict in COMPARABLE for row in rows):
                failing.append((prepared, answer))
            elif prepared is not None and all(row.verdict is Verdict.AGREES for row in rows):
                passing.append((prepared, answer))
            if watch is not None:
                watch(k + 1, len(chosen) + count, case.name)
        if count:
            _add_random(report, session, chosen, count, watch, failing)
    finally:
        asked.close()
    if out is not None and report.random is not None and report.random.failing is not None:
        report.saved = save_case(out, report.random.failing.case)
    report.diagnosis = explain(failing, passing)
    report.seconds = time.monotonic() - begun
    return report


def _add_random(
    report: Report,
    session: Session,
    chosen: Shipped,
    count: int,
    watch: Watch | None,
    failing: list[tuple[Prepared, Answer]],
) -> None:
    """Draw the random cases and put the smallest failing one into the report."""
    total = len(chosen) + count
    judged = set(report.judged)
    if chosen and not judged:
        report.random = RandomResult(note="none were drawn, for it did none of the shipped ones")
        return

    def shown(drawn: int) -> None:
        if watch is not None:
            watch(len(chosen) + drawn, total, "random")

    refused = refused_kinds(report.rows, [case for case, _ in chosen])
    done = [case for case, _ in chosen if case.name in judged]
    search = Search(session.ask, session.dtype, session.time_left, refused, done, shown)
    report.random = search.run(count, report.seed)
    report.rows += report.random.rows
    if report.random.failing is not None and any(row.verdict in COMPARABLE for row in report.random.rows):
        failing.append((report.random.failing, report.random.answer))


def refused_kinds(rows: Sequence[Row], cases: Sequence[Case]) -> frozenset[str]:
    """Return the kinds of network of which the candidate does no case at all."""
    done = {row.case for row in rows if row.verdict is not Verdict.NOT_SUPPORTED}
    refused = {row.case for row in rows if row.verdict is Verdict.NOT_SUPPORTED}
    kinds = {case.name: kind_of(case) for case in cases}
    return frozenset(kinds[name] for name in refused - done) - {kinds[name] for name in done if name in kinds}

"""Pytest plugin: ``pytest --adntn-against my_pkg.my_module`` makes every shipped case a test, and one of random cases.

The items are ``adntn::CASE::weight`` and ``adntn::CASE::gradient``, for networks that are programs of steps also
``state`` and ``adjoint`` where the candidate gives them, and ``adntn::random``. A case that the candidate does not
support is skipped. Nothing but pytest is imported before the option is used.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .case import Case
    from .verify.verdicts import Row

OPTIONS: tuple[tuple[str, Any, Any, str], ...] = (
    ("cases", int, 200, "random cases (default 200; 0 for none)"),
    ("seed", int, 0, "seed of the random cases (default 0)"),
    ("dtype", str, "float64", "what it works in: float64, float32, float16 or bfloat16 (default float64)"),
    ("time-limit", float, 3600.0, "seconds for all (default 3600)"),
    ("case-limit", float, 30.0, "seconds a case (default 30)"),
)
KEY = pytest.StashKey["_Run"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--adntn-against`` and what goes with it."""
    group = parser.getgroup("adntn_ref", "compare an implementation with adntn_ref")
    group.addoption("--adntn-against", metavar="MODULE", help="a module (or a .py file) with generate and vjp")
    group.addoption("--adntn-only", action="append", default=[], metavar="GLOB", help="these cases; may be repeated")
    for name, kind, default, text in OPTIONS:
        group.addoption(f"--adntn-{name}", type=kind, default=default, help=text)


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the cases as tests, after those of the test files."""
    if config.getoption("adntn_against") is not None:
        run = config.stash[KEY] = _Run(config)
        items.extend(run.items(session))


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the candidate's process."""
    if (run := config.stash.get(KEY, None)) is not None:
        run.candidate.close()


class _Run:
    """The candidate, the cases, and its answers so far."""

    def __init__(self, config: pytest.Config) -> None:
        from adntn_ref.errors import AdntnError

        from .verify.prepare import DTYPES
        from .verify.process import ModuleCandidate
        from .verify.run import Session, select, shipped_cases

        option = config.getoption
        if option("adntn_dtype") not in DTYPES:
            raise pytest.UsageError(f"--adntn-dtype must be one of {', '.join(DTYPES)}")
        self.count, self.seed = option("adntn_cases"), option("adntn_seed")
        self.only: list[str] = option("adntn_only")
        self.candidate: ModuleCandidate = ModuleCandidate(option("adntn_against"))
        limits = option("adntn_time_limit"), option("adntn_case_limit")
        self.session: Session = Session(self.candidate, option("adntn_dtype"), *limits)
        try:
            self.cases = {case.name: (case, known) for case, known in select(shipped_cases(), self.only)}
            self.candidate.start()
        except AdntnError as error:
            raise pytest.UsageError(f"adntn_ref: {error}") from error
        self._rows: dict[str, list[Row]] = {}

    def items(self, session: pytest.Session) -> Iterator[pytest.Item]:
        """Return the tests."""
        from .verify.verdicts import GROUPS, NEEDED, group_of

        optional = [group for group in GROUPS if group not in NEEDED and GROUPS[group] in self.candidate.functions]
        for name, (_, known) in self.cases.items():
            given = {group_of(quantity) for quantity in known}
            for group in (*NEEDED, *(group for group in optional if group in given)):
                title = f"adntn::{name}::{group}"
                yield CaseItem.from_parent(session, name=title, nodeid=title, run=self, case=name, group=group)
        if self.count and not self.only:
            yield RandomItem.from_parent(session, name="adntn::random", nodeid="adntn::random", run=self)

    def rows(self, name: str) -> "list[Row]":
        """Return the verdicts on a case, which is asked once."""
        if name not in self._rows:
            self._rows[name] = self.session.ask_case(*self.cases[name])[0]
        return self._rows[name]

    def done(self) -> "tuple[list[Row], list[Case]]":
        """Return the verdicts so far, and the cases that the candidate does."""
        from .verify.verdicts import Verdict

        rows = [row for found in self._rows.values() for row in found]
        names = {row.case for row in rows if row.verdict not in (Verdict.NOT_SUPPORTED, Verdict.NOT_RUN)}
        return rows, [case for case, _ in self.cases.values() if case.name in names]


class Disagreement(Exception):
    """What the failing test shows; its text is all there is to see."""


class _Item(pytest.Item):
    """A test without a source file of its own."""

    def __init__(self, *, run: _Run, **named: Any) -> None:
        super().__init__(**named)
        self._run = run

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return where it stands (nowhere in particular) and its name."""
        return self.path, None, self.name

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return a disagreement in words, without a traceback."""
        return str(excinfo.value) if isinstance(excinfo.value, Disagreement) else super().repr_failure(excinfo, style)


class CaseItem(_Item):
    """One group of quantities of one shipped case."""

    def __init__(self, *, case: str, group: str, **named: Any) -> None:
        super().__init__(**named)
        self._case, self._group = case, group

    def runtest(self) -> None:
        """Ask the candidate and judge."""
        from .verify.verdicts import CALL, Verdict

        all_rows = self._run.rows(self._case)
        rows = [row for row in all_rows if row.group in (self._group, CALL)]
        if failed := [row for row in rows if row.verdict.failed]:
            raise Disagreement("\n".join(f"{row.quantity}: {row.verdict}: {_detail(row)}" for row in failed))
        aside = (Verdict.NOT_SUPPORTED, Verdict.NOT_RUN)
        if refused := [row for row in rows or all_rows if row.verdict in aside]:
            pytest.skip(f"{refused[0].verdict}: {_detail(refused[0])}")
        if not rows:
            pytest.skip(
                f"not judged: {all_rows[0].quantity} {all_rows[0].verdict}" if all_rows else "nothing was given"
            )


class RandomItem(_Item):
    """Random cases, one test for all; the smallest that fails is shown."""

    def runtest(self) -> None:
        """Draw cases until one fails."""
        from .verify.random_cases import Search
        from .verify.run import refused_kinds

        run = self._run
        rows, done = run.done()
        refused = refused_kinds(rows, [case for case, _ in run.cases.values()])
        search = Search(run.session.ask, run.session.dtype, run.session.time_left, refused, done)
        found = search.run(run.count, run.seed)
        if found.failing is not None:
            case = found.failing.case
            params = {name: core.tolist() for name, core in case.params.items() if core.size <= 12}
            failed = [f"{row.quantity}: {row.verdict}: {_detail(row)}" for row in found.rows if row.verdict.failed]
            numbers = [f"{name} = {values}" for name, values in params.items()]
            raise Disagreement("\n".join([f"seed {run.seed}: {case.spec}", *numbers, *failed]))
        if not found.judged:
            pytest.skip(found.note or "no case that the candidate does")


def _detail(row: "Row") -> str:
    return row.detail or row.verdict.sentence

"""The goals for CPUs, and whether a run meets them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .table import Row, Table

TIE = 1.3
"""Ratios between 1 / 1.3 and 1.3 are a tie: the same pair of programs moves by as much between runs."""


@dataclass(frozen=True)
class Goal:
    """A limit on one number of the rows that have certain facts.

    Parameters
    ----------
    table, number : where it stands
    facts : what a row's facts must be
    limit, stretch : the goal and the one beyond it
    at_least : whether the number shall be at least the limit, not at most
    """

    table: str
    number: str
    facts: dict[str, Any] = field(hash=False)
    limit: float
    stretch: float | None = None
    at_least: bool = False

    def fits(self, row: Row) -> bool:
        """Return whether the goal is about a row."""
        return all(row.facts.get(name) == value for name, value in self.facts.items())

    def reaches(self, value: float, limit: float) -> bool:
        """Return whether a value is on the right side of a limit."""
        return value >= limit if self.at_least else value <= limit


@dataclass(frozen=True)
class Verdict:
    """A goal beside what was measured: "met", "stretch met" or "not met"."""

    table: str
    row: str
    number: str
    value: float
    wanted: str
    verdict: str


STANDARD = {"layers": 4, "dtype": "float32"}


def _walls(number: str, limits: dict[int, tuple[float, float]], at_least: bool = False) -> list[Goal]:
    return [Goal("walls", number, {"q": q, **STANDARD}, *both, at_least) for q, both in limits.items()]


GOALS: list[Goal] = [
    *_walls("ours / jax (L,4,R)", {12: (0.5, 0.3), 16: (0.3, 0.15), 20: (0.25, 0.15), 22: (0.15, 0.1)}),
    *_walls("ours / torch author", {16: (0.3, 0.15), 20: (0.25, 0.15), 22: (0.2, 0.15)}),
    *_walls("ours / autograd (L,4,R)", {16: (0.1, 0.05), 20: (0.1, 0.05)}),
    *_walls("tape / by hand", {12: (1.4, 1.15), 16: (1.1, 1.03), 20: (1.1, 1.03), 22: (1.1, 1.03)}),
    *_walls("share of limit", {16: (0.2, 0.4), 20: (0.3, 0.4), 22: (0.3, 0.4)}, at_least=True),
    Goal(
        "trees", "ours / better of torch and jax", {"network": "ttn", "size": 2, "q": 16, "dtype": "float32"}, 0.35, 0.2
    ),
    Goal(
        "trees",
        "ours / better of torch and jax",
        {"network": "mera", "size": 2, "q": 16, "dtype": "float32"},
        0.35,
        0.2,
    ),
    Goal("cores", "two cores / one", {"q": 20, **STANDARD}, 0.65, 0.55),
    Goal("cores", "two cores / one", {"q": 22, **STANDARD}, 0.65, 0.55),
    Goal("memory", "ours keep", {"q": 20, **STANDARD}, 40, 30),
    Goal("memory", "ours recompute", {"q": 20, **STANDARD}, 10, 8),
    Goal("count", "off by", {"q": 20, **STANDARD}, 0.1, 0.03),
]


def verdicts(tables: Iterable[Table], goals: Iterable[Goal] = GOALS) -> list[Verdict]:
    """Return every goal that something was measured for, with the verdict."""
    found = []
    tables = list(tables)
    for goal in goals:
        for table in (table for table in tables if table.name == goal.table):
            for row in table.rows:
                value = row.numbers.get(goal.number)
                if value is not None and goal.fits(row):
                    found.append(Verdict(table.name, row.label, goal.number, value, wanted(goal), judge(goal, value)))
    return found


def judge(goal: Goal, value: float) -> str:
    """Return "met", "stretch met" or "not met".

    Examples
    --------
    >>> goal = Goal("walls", "ours / torch author", {"q": 20}, limit=0.25, stretch=0.15)
    >>> [judge(goal, value) for value in (0.1, 0.2, 0.3)]
    ['stretch met', 'met', 'not met']
    """
    if goal.stretch is not None and goal.reaches(value, goal.stretch):
        return "stretch met"
    return "met" if goal.reaches(value, goal.limit) else "not met"


def wanted(goal: Goal) -> str:
    """Return the goal in a few characters, with the stretch goal in brackets."""
    sign = ">=" if goal.at_least else "<="
    return f"{sign} {goal.limit:g}" + ("" if goal.stretch is None else f" ({goal.stretch:g})")

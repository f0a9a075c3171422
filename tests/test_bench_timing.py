"""Timing in rounds with a made-up clock, goals with made-up figures, and how both are shown."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adntn_ref.validation.bench import goals, report, timing
from adntn_ref.validation.bench.goals import GOALS, Goal, judge, verdicts
from adntn_ref.validation.bench.growth import fitted
from adntn_ref.validation.bench.plan import Plan
from adntn_ref.validation.bench.plot import curves, draw
from adntn_ref.validation.bench.progress import Progress
from adntn_ref.validation.bench.table import Row, Table
from adntn_ref.validation.bench.tables import TABLES
from adntn_ref.validation.bench.timing import Rounds, alternate
from adntn_ref.validation.bench.walls import OURS, TAPE, with_limit


class World:
    """A clock that moves when somebody works or rests, and what happened."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def work(self, name: str, *seconds: float) -> Any:
        left = list(seconds)

        def run() -> None:
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run

    def rest(self, seconds: float) -> None:
        self.calls.append("rest")
        self.now += seconds

    def alternate(self, runs: dict[str, Any], plan: Rounds) -> timing.Timed:
        return alternate(runs, plan, lambda: self.now, self.rest)


def test_medians_do_not_see_warming_up_nor_one_bad_round() -> None:
    world = World()
    runs = {"a": world.work("a", 9.0, 1.0, 50.0, 2.0), "b": world.work("b", 3.0)}
    found = world.alternate(runs, Rounds(rounds=5, budget=1e9))
    assert found.samples["a"] == [1.0, 50.0, 2.0, 2.0, 2.0]
    assert found.medians == {"a": 2.0, "b": 3.0}
    assert found.left_out == {}


def test_every_round_begins_with_another_and_rests_come_first() -> None:
    world = World()
    world.alternate({name: world.work(name, 1.0) for name in "abc"}, Rounds(rounds=3, budget=1e9))
    assert world.calls[:3] == ["a", "b", "c"]
    assert world.calls[4::2] == list("abcbcacab")
    assert world.calls[3::2] == ["rest"] * 9


def test_short_calls_are_repeated_after_one_that_does_not_count() -> None:
    world = World()
    found = world.alternate({"a": world.work("a", 0.1, 0.1, 0.004)}, Rounds(rounds=2, least=0.02))
    assert world.calls == ["a", "rest", "a", "a", *2 * ["rest", *6 * ["a"]]]
    assert found.samples["a"] == pytest.approx([0.004, 0.004])


def test_the_slowest_are_left_out_until_the_rest_fits() -> None:
    world = World()
    runs = {"mine": world.work("mine", 4.0), "fast": world.work("fast", 0.5), "slow": world.work("slow", 3.0)}
    found = world.alternate(runs, Rounds(rounds=10, budget=50.0))
    assert set(found.samples) == {"mine", "fast"}
    assert found.left_out == {"slow": "one call takes 3 s, and 10 rounds of it do not fit the budget of 50 s"}
    alone = world.alternate(runs, Rounds(rounds=10, budget=1.0))
    assert set(alone.samples) == {"mine"}
    assert set(alone.left_out) == {"fast", "slow"}


@pytest.mark.parametrize("fails", [False, True])
def test_the_collector_is_off_while_timing(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    seen: list[str] = []
    collector = {name: (lambda name=name: seen.append(name) or True) for name in ("isenabled", "enable", "disable")}
    monkeypatch.setattr(timing, "gc", SimpleNamespace(**collector, collect=lambda: seen.append("collect")))

    def run() -> None:
        seen.append("run")
        if fails:
            raise ArithmeticError

    if fails:
        with pytest.raises(ArithmeticError):
            alternate({"a": run}, Rounds(rounds=1), sleep=lambda _: None)
    else:
        alternate({"a": run}, Rounds(rounds=1, least=0.0), sleep=lambda _: None)
    assert seen[:4] == ["isenabled", "collect", "disable", "run"]
    assert seen[-1] == "enable"


def wall(q: int, ours: float, layers: int = 4, dtype: str = "float32", **others: float) -> Row:
    row = Row(str(q), {"q": q, "layers": layers, "dtype": dtype}, {"ours": ours, **others})
    row.ratios_to("ours")
    return row


@pytest.mark.parametrize(
    ("ours", "verdict"), [(0.1, "stretch met"), (0.15, "stretch met"), (0.2, "met"), (0.25, "met"), (0.26, "not met")]
)
def test_a_ratio_is_judged(ours: float, verdict: str) -> None:
    table = Table("walls", "", "ms", "Q", [wall(20, ours, **{"torch author": 1.0})])
    (found,) = verdicts([table])
    assert (found.row, found.number, found.value, found.verdict) == ("20", "ours / torch author", ours, verdict)
    assert found.wanted == "<= 0.25 (0.15)"


@pytest.mark.parametrize(("share", "verdict"), [(0.29, "not met"), (0.3, "met"), (0.4, "stretch met")])
def test_a_share_shall_be_large(share: float, verdict: str) -> None:
    row = wall(22, 100.0)
    row.numbers["share of limit"] = share
    (found,) = verdicts([Table("walls", "", "ms", "Q", [row])])
    assert (found.verdict, found.wanted) == (verdict, ">= 0.3 (0.4)")


def test_goals_are_about_their_own_work_alone() -> None:
    others = [
        wall(20, 9.0, layers=5, **{"torch author": 1.0}),
        wall(20, 9.0, dtype="float64", **{"torch author": 1.0}),
        wall(18, 9.0, **{"torch author": 1.0}),
        wall(20, 9.0, **{"numpy (L,4,R)": 1.0}),
    ]
    assert verdicts([Table("walls", "", "ms", "Q", others)]) == []
    assert verdicts([Table("growth-q", "", "ms", "Q", [wall(20, 9.0, **{"torch author": 1.0})])]) == []


def test_a_goal_without_stretch() -> None:
    goal = Goal("walls", "x", {}, 1.0)
    assert [judge(goal, value) for value in (0.5, 1.0, 1.5)] == ["met", "met", "not met"]
    assert goals.wanted(goal) == "<= 1"


def test_every_goal_has_its_table_and_its_column() -> None:
    assert {goal.table for goal in GOALS} <= TABLES.keys()
    assert len(GOALS) == 23
    for goal in GOALS:
        assert goal.stretch is not None
        assert (goal.stretch > goal.limit) == goal.at_least


def test_the_share_of_the_limit() -> None:
    row = wall(10, 2.0)
    with_limit(row, 10, 4, 1e9)
    flops = 24 * 36 * 1024
    assert row.numbers["limit, ms"] == pytest.approx(flops / 1e6)
    assert row.numbers["share of limit"] == pytest.approx(flops / 1e6 / 2.0)
    assert row.numbers["share of limit without first column"] == pytest.approx(24 * 31 * 1024 / 1e6 / 2.0)
    assert (OURS.name, TAPE.name) == ("ours", "ours, tape")


def small() -> Table:
    first = wall(12, 1.5, **{"torch author": 3.0})
    first.left_out = {"jax (L,4,R)": "not installed: jax", "slow": "no time"}
    first.numbers["share of limit"] = 0.0567
    second = wall(16, 1234.5, **{"torch author": 617.25})
    second.left_out = {"jax (L,4,R)": "not installed: jax"}
    return Table("walls", "Brick-walls, ms", "ms", "Q", [first, second], ["share of limit"], ["a note"])


def test_text() -> None:
    assert report.text(small()).splitlines() == [
        "Brick-walls, ms",
        "Q   ours  torch author  jax (L,4,R)  slow  share of limit",
        "12   1.5       3 (0.5)            -     -          5.67 %",
        "16  1234       617 (2)            -     -               -",
        "a note",
        "left out: jax (L,4,R): not installed: jax",
        "left out: slow at Q 12: no time",
    ]


def test_markdown() -> None:
    assert report.markdown(small()).splitlines() == [
        "**Brick-walls, ms**",
        "",
        "| Q | ours | torch author | jax (L,4,R) | slow | share of limit |",
        "|---|---|---|---|---|---|",
        "| 12 | 1.5 | 3 (0.5) | - | - | 5.67 % |",
        "| 16 | 1234 | 617 (2) | - | - | - |",
        "",
        "- a note",
        "- left out: jax (L,4,R): not installed: jax",
        "- left out: slow at Q 12: no time",
    ]
    found = verdicts([small()])
    assert report.goals_markdown(found).splitlines()[-1] == (
        "| walls | 16 | ours / torch author | 2 | <= 0.3 (0.15) | not met |"
    )
    assert report.goals_text(found).splitlines()[-1].split() == (
        ["walls", "16", "ours", "/", "torch", "author", "2", "<=", "0.3", "(0.15)", "not", "met"]
    )


def test_slope() -> None:
    assert fitted([(0.0, 1.0), (1.0, 2.0), (2.0, 3.1)]) == pytest.approx(1.05)
    assert fitted([(1.0, 1.0)]) is None


def test_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    growth = Table("growth-q", "", "ms", "Q", [wall(10, 0.5, **{"torch author": 1.0}), wall(12, 99.0)])
    table = small()
    table.rows[0].numbers["limit, ms"] = 0.1
    found = curves([table, growth, Table("trees", "", "ms", "network", [wall(11, 7.0)])])
    assert found["ours"] == {10: 0.5, 12: 1.5, 16: 1234.5}  # of two figures the first
    assert found["limit, ms"] == {12: 0.1}
    draw([table, growth], tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_budgets_of_a_quick_run() -> None:
    assert Plan(rounds=4).timing(50.0) == Rounds(4, 0.02, 50.0, 0.12)
    assert Plan(quick=True, rounds=4, pause=0.0).timing(50.0) == Rounds(4, 0.005, 10.0, 0.0)


def test_progress_shows_what_is_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress(["walls", "trees"]) as progress:
        progress.begin("walls")
        progress.watched(Plan()).say("brick-wall, 2^12 entries")
        progress.print("a table")
        progress.begin("trees")
    assert "brick-wall, 2^12 entries" in screen.getvalue()
    assert capsys.readouterr().out == "a table\n"
    with Progress(["walls"], quiet=True) as progress:
        plan = Plan()
        assert progress.watched(plan) is plan

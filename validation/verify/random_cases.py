"""Fresh cases from the hypothesis strategies; a failing one is shrunk to the smallest that fails."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from adntn_ref.extras import need

from ..case import Case
from .prepare import Prepared, prepare
from .verdicts import Answer, Row, Verdict

SHRINK_SECONDS = 60.0
"""Longest time spent on making a failing case smaller."""

Ask = Callable[[Prepared], tuple[list[Row], Answer]]
Key = tuple[int, int]


@dataclass
class RandomResult:
    """What the random cases showed.

    Attributes
    ----------
    judged : cases that were asked and judged, the ones of the shrinking left out
    unsupported : cases that the candidate does not do
    worst : by group of quantities the row with the largest error over allowed error, of the cases that agree
    failing : the smallest case found that fails, as it was put to the candidate
    rows : its rows
    answer : what the candidate gave for it
    note : what else there is to say: out of time, a case that fails only sometimes
    """

    judged: int = 0
    unsupported: int = 0
    worst: dict[str, Row] = field(default_factory=dict)
    failing: Prepared | None = None
    rows: list[Row] = field(default_factory=list)
    answer: Answer = field(default_factory=dict)
    note: str = ""


class _Failing(Exception):
    """A case failed; hypothesis shrinks on a subclass of its own for each verdict."""


FAILING = {verdict: type(verdict.name, (_Failing,), {}) for verdict in Verdict if verdict.failed}


class _OutOfTime(BaseException):
    """Not an Exception, for hypothesis would take that for a failing case."""


class Search:
    """Draws cases, asks the candidate, and keeps the smallest case that fails.

    Parameters
    ----------
    ask : puts a case to the candidate and judges the answer
    dtype : what the candidate works in
    time_left : gives the seconds that are left
    refused : kinds of network that the candidate does not do, so that nobody asks
    done : cases that it does, so that such are drawn
    shown : is told of every case
    """

    def __init__(
        self,
        ask: Ask,
        dtype: str,
        time_left: Callable[[], float],
        refused: frozenset[str] = frozenset(),
        done: Sequence[Case] = (),
        shown: Callable[[int], None] | None = None,
    ) -> None:
        self.result = RandomResult()
        self._ask, self._dtype, self._time_left, self._shown = ask, dtype, time_left, shown
        self._refused, self._done = refused, done
        self._verdict: Verdict | None = None
        self._key: Key = (0, 0)
        self._shrink_until = 0.0

    def run(self, count: int, seed: int) -> RandomResult:
        """Draw cases until ``count`` were judged, one fails, or the time is up.

        Raises
        ------
        MissingExtra
            If hypothesis is not installed.
        """
        hypothesis = need("hypothesis", "test")
        reject, result = hypothesis.reject, self.result

        def every_case(case: Case) -> None:
            if not self._one(case):
                reject()

        settings = hypothesis.settings(
            max_examples=count,
            database=None,
            deadline=None,
            derandomize=False,
            print_blob=False,
            report_multiple_bugs=False,
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
            suppress_health_check=list(hypothesis.HealthCheck),
            verbosity=hypothesis.Verbosity.quiet,
        )
        test = hypothesis.seed(seed)(settings(hypothesis.given(case_strategy(self._done))(every_case)))
        try:
            test()
        except _OutOfTime:
            result.note = "out of time" if result.failing is None else "out of time while making it smaller"
        except _Failing:
            pass
        except hypothesis.errors.Unsatisfiable:
            result.note = "no case that the candidate does"
        except hypothesis.errors.Flaky:
            result.note = "it fails sometimes: asked the same again, the candidate gave another answer"
        return result

    def _one(self, case: Case) -> bool:
        """Ask for one case; return whether it could be judged, and raise where it fails."""
        result = self.result
        if self._time_left() <= 0 or (result.failing is not None and self._time_left() < self._shrink_until):
            raise _OutOfTime
        prepared = None if kind_of(case) in self._refused else prepare(_named(case), self._dtype)
        if prepared is None:
            result.unsupported += result.failing is None
            return False
        rows, answer = self._ask(prepared)
        if any(row.verdict is Verdict.NOT_RUN for row in rows):
            raise _OutOfTime
        failed = [row for row in rows if row.verdict.failed]
        if failed:
            self._keep(prepared, rows, answer, failed[0].verdict)
            raise FAILING[failed[0].verdict]
        if result.failing is None:
            supported = any(row.verdict is Verdict.AGREES for row in rows)
            result.judged += supported
            result.unsupported += not supported
            for row in rows:
                if row.verdict is Verdict.AGREES and row.ratio >= self._worst(row):
                    result.worst[row.group] = row
            if self._shown is not None:
                self._shown(result.judged)
            return supported
        return True

    def _worst(self, row: Row) -> float:
        return self.result.worst[row.group].ratio if row.group in self.result.worst else 0.0

    def _keep(self, prepared: Prepared, rows: list[Row], answer: Answer, verdict: Verdict) -> None:
        """Keep a failing case if it is the first, or smaller and fails the same way."""
        result = self.result
        key = (prepared.size, len(json.dumps(prepared.case.spec)))
        if result.failing is None:
            result.judged += 1
            self._verdict, left = verdict, self._time_left()
            # A candidate that hangs takes its whole limit at every try: its first such case must do.
            self._shrink_until = left if verdict is Verdict.TIMED_OUT else left - min(SHRINK_SECONDS, left / 2)
        elif verdict is not self._verdict or key > self._key:
            return
        result.failing, result.rows, result.answer, self._key = prepared, rows, answer, key


def case_strategy(done: Sequence[Case] = ()) -> Any:
    """Return a strategy of cases: any network, its parameters, a cotangent; a fifth of them complex.

    Parameters
    ----------
    done : cases that the candidate does; only such kinds of network and activations are drawn, for one that does but
        a few would refuse nearly all. Without any, all are drawn.
    """
    strategies = need("hypothesis.strategies", "test")
    ours = need("adntn_ref.validation.strategies", "test")
    if not done:
        real, linear = ours.cases(), ours.cases(dtype="complex128")
        return strategies.one_of(real, real, real, real, linear)
    activations = tuple(name for name in ours.ACTIVATIONS if name in {case.spec.get("activation") for case in done})
    complex_kinds = {case.spec["network"] for case in done if case.dtype.startswith("complex")}
    real_kinds = {case.spec["network"] for case in done if not case.dtype.startswith("complex")}
    found: list[Any] = []
    if families := _families(ours, real_kinds, activations or ("identity",)):
        found += 4 * [ours.cases(strategies.one_of(families))]
    if families := _families(ours, complex_kinds, ("identity",)):
        found.append(ours.cases(strategies.one_of(families), dtype="complex128"))
    return strategies.one_of(found)


def _families(ours: Any, kinds: set[str], activations: tuple[str, ...]) -> list[Any]:
    """Return the strategies of the given kinds of network."""
    found: list[Any] = []
    if "brickwall" in kinds:
        found += 2 * [ours.brickwalls(activations)]
    if trees := tuple(kind for kind in ("ttn", "attn", "mera") if kind in kinds):
        found += 2 * [ours.trees(activations, kinds=trees)]
    if "ttn" in kinds:
        found.append(ours.node_trees(activations))
    makers = {"lowrank": ours.lowranks, "tt": ours.tensor_trains, "mpo": ours.mpos, "cp": ours.cps}
    found += [make() for kind, make in {**makers, "tucker": ours.tuckers}.items() if kind in kinds]
    if kinds & {"sum", "split", "stack", "delta"}:
        found.append(ours.combinations(linear="tanh" not in activations))
    return found


def kind_of(case: Case) -> str:
    """Return the kind of a case by which a candidate may refuse it: the network, and whether numbers are complex."""
    return str(case.spec["network"]) + (" complex" if case.dtype.startswith("complex") else "")


def _named(case: Case) -> Case:
    """Return a case with a name made from its content."""
    content = sha256(json.dumps(case.spec, sort_keys=True).encode())
    for name, core in case.params.items():
        content.update(name.encode() + core.tobytes())
    return replace(case, name=f"random/{case.spec['network']}-{content.hexdigest()[:8]}")


def draw_cases(count: int, seed: int) -> list[Case]:
    """Return random cases without asking anybody.

    Raises
    ------
    MissingExtra
        If hypothesis is not installed.
    """
    found: dict[str, Case] = {}

    def keep(prepared: Prepared) -> tuple[list[Row], Answer]:
        found[prepared.case.name] = prepared.case
        return [Row(prepared.case.name, "weight", Verdict.AGREES)], {}

    Search(keep, "float64", lambda: 1.0).run(count, seed)
    return list(found.values())

"""Timing in rounds: all candidates of a row one after the other, again and again, and the median of each."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

Run = Callable[[], Any]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Rounds:
    """How long a row is timed.

    Parameters
    ----------
    rounds : samples of each candidate; the figure is their median
    least : seconds that a sample takes at least; a shorter call is repeated within it
    budget : seconds for the row; the slowest candidates are left out until the rest fits
    pause : seconds of rest before each sample. OpenBLAS's idle threads wait for work by spinning, for about 0.1 s, and
        so take the cores away from whoever comes next (measured: a call of torch then takes 100 ms instead of 14)
    """

    rounds: int = 9
    least: float = 0.02
    budget: float = 60.0
    pause: float = 0.12

    def cost(self, single: float) -> float:
        """Return about how many seconds a candidate's samples take, from those of a single call."""
        repeats = self.repeats(single)
        return self.rounds * (self.pause + single * (repeats + (1 if self.warms(single) else 0)))

    def repeats(self, single: float) -> int:
        """Return how often a call is repeated within a sample."""
        return max(1, round(self.least / max(single, 1e-9)))

    def warms(self, single: float) -> bool:
        """Return whether one call goes before each sample, for caches and sleeping threads; a long one needs none."""
        return single < 10 * self.least


@dataclass(frozen=True)
class Timed:
    """Seconds a call of each candidate, every sample, and why others have none."""

    samples: dict[str, list[float]]
    left_out: dict[str, str]

    @property
    def medians(self) -> dict[str, float]:
        """The median of each candidate's samples, in seconds."""
        return {name: median(found) for name, found in self.samples.items()}


def alternate(
    runs: Mapping[str, Run],
    plan: Rounds,
    clock: Clock = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Timed:
    """Time functions in alternation.

    Each has been called once before, and is called once or, if that is short, three times more before it counts, to say
    how often it is repeated within a sample. Every round begins with another candidate. Before each sample is a rest
    and, if it is short, one call that does not count, so that none pays for what its neighbour left behind: spinning
    threads, and caches full of other things. The garbage collector is off.

    Parameters
    ----------
    runs : name -> function; the first one is never left out
    plan : rounds, least length of a sample, budget
    clock : seconds, increasing
    sleep : rests
    """
    with quiet_collector():
        single = {}
        for name, run in runs.items():
            single[name] = _seconds(run, 1, clock)
            if plan.warms(single[name]):
                sleep(plan.pause)
                run()
                single[name] = _seconds(run, 1, clock)
        left_out = over_budget(single, plan)
        kept = [name for name in runs if name not in left_out]
        samples: dict[str, list[float]] = {name: [] for name in kept}
        for k in range(plan.rounds):
            for name in kept[k % len(kept) :] + kept[: k % len(kept)]:
                sleep(plan.pause)
                if plan.warms(single[name]):
                    runs[name]()
                samples[name].append(_seconds(runs[name], plan.repeats(single[name]), clock))
    return Timed(samples, left_out)


def over_budget(single: Mapping[str, float], plan: Rounds) -> dict[str, str]:
    """Return the slowest candidates without which the others fit the budget, each with the reason; never the first.

    Examples
    --------
    >>> over_budget({"mine": 1.0, "slow": 9.0, "fast": 0.5}, Rounds(rounds=10, budget=20))
    {'slow': 'one call takes 9 s, and 10 rounds of it do not fit the budget of 20 s'}
    """
    left_out: dict[str, str] = {}
    for name in sorted(list(single)[1:], key=lambda name: -single[name]):
        if sum(plan.cost(seconds) for other, seconds in single.items() if other not in left_out) <= plan.budget:
            break
        left_out[name] = (
            f"one call takes {single[name]:.3g} s, and {plan.rounds} rounds of it do not fit the budget of"
            f" {plan.budget:g} s"
        )
    return left_out


def _seconds(run: Run, repeats: int, clock: Clock) -> float:
    began = clock()
    for _ in range(repeats):
        run()
    return (clock() - began) / repeats


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Collect garbage once, then not until the end."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()

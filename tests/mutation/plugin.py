"""pytest plugins of the mutation run: one process a mutant, forked after the tests are collected.

``Fast`` mutates live functions: every function whose code is the old code object gets the new one, and the caches
are emptied. ``Fresh`` runs in a process that has not imported the package, and chooses its tests by name. What runs
at import, and what the fast way lets live, is for the fresh way: objects that the tests made while they were
collected were made by the unmutated code.
"""

import functools
import gc
import json
import os
import resource
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from mutants import Mutant

KILLED, TIMEOUT, SURVIVED = "killed", "timeout", "survived"
NONE = "none"
"""No mutant: not a program, or the same code."""
MEMORY = 6 << 30
"""Bytes of address space for the tests of a mutant: some ask for absurd arrays."""


def run_items(items: Sequence[pytest.Item], seconds: dict[str, float]) -> str | None:
    """Run tests until one fails and return its name; a test that takes far longer than it did ends the process."""
    session = items[0].session
    for item in items:
        # Processor time, so that a busy machine kills no mutant.
        signal.setitimer(signal.ITIMER_PROF, 10 * seconds.get(item.nodeid, 0.0) + 4)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        if session.testsfailed:
            return item.nodeid
    return None


def in_child(work: Any) -> tuple[str, str]:
    """Run ``work() -> name of the killing test or None`` in a fork; return verdict and name."""
    end, start = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(end)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            killer = work()
            os.write(start, json.dumps(killer).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(start)
    with os.fdopen(end) as stream:
        text = stream.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        signalled = os.WTERMSIG(status)
        return (TIMEOUT if signalled == signal.SIGPROF else KILLED), f"signal {signalled}"
    if status:
        return KILLED, "the test run itself"
    killer = json.loads(text)
    return (SURVIVED, "") if killer is None else (KILLED, killer)


def within(tests: list[str], seconds: dict[str, float], budget: float) -> list[str]:
    """Return the first tests that together take no longer than ``budget``, and no less than ten."""
    total, count = 0.0, 0
    while count < len(tests) and (count < 10 or total + seconds[tests[count]] <= budget):
        total += seconds[tests[count]]
        count += 1
    return tests[:count]


def clear_caches() -> None:
    """Empty every ``lru_cache`` of the package."""
    for thing in gc.get_objects():
        if isinstance(thing, functools._lru_cache_wrapper) and thing.__module__.startswith("adntn_ref"):
            thing.cache_clear()


class Profile:
    """What each test runs: its seconds, and the lines of the mutated files."""

    def __init__(self, paths: Iterable[Path], out: Path) -> None:
        self.paths, self.out = [str(path) for path in paths], out

    def run(self, items: Sequence[pytest.Item]) -> None:
        """Run all tests under coverage in a fork, and write the findings as JSON."""
        verdict, by = in_child(lambda: self._measure(items))
        assert verdict == SURVIVED, f"the tests fail without any mutation: {verdict} by {by}"

    def _measure(self, items: Sequence[pytest.Item]) -> str | None:
        import coverage

        cover = coverage.Coverage(data_file=None, include=self.paths, config_file=False)
        cover.start()
        seconds = {}
        for item in items:
            clear_caches()
            cover.switch_context(item.nodeid)
            before = time.process_time()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            seconds[item.nodeid] = time.process_time() - before
            if item.session.testsfailed:
                return item.nodeid
        cover.stop()
        data = cover.get_data()
        lines = {path: data.contexts_by_lineno(path) for path in self.paths}
        self.out.write_text(json.dumps({"seconds": seconds, "lines": lines}))
        return None


class Plan:
    """Which tests to run for a mutant, the likeliest to kill first."""

    def __init__(self, measured: Path) -> None:
        data = json.loads(measured.read_text())
        self.seconds: dict[str, float] = data["seconds"]
        self.lines: dict[str, dict[str, list[str]]] = data["lines"]
        self.kills: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def tests(self, mutant: Mutant, old: CodeType | None) -> list[str]:
        """Return the tests that run a line of the mutated function; of the file where it is mutated at import."""
        lines = self.lines.get(mutant.path, {})
        if old is not None:
            own = {str(line) for _, _, line in old.co_lines() if line is not None}
            own -= {str(old.co_firstlineno)} if len(own) > 1 else set()
            lines = {line: tests for line, tests in lines.items() if line in own}
        chosen = {test for tests in lines.values() for test in tests if test}
        first = set()
        if old is None:  # constants and defaults are looked at by tests that run no line of the file
            first = {test for test in self.seconds if test.startswith("tests/test_mutants_")}
            chosen = first | (chosen or set(self.seconds))
        kills = self.kills[mutant.path]
        return sorted(chosen, key=lambda test: (test not in first, -kills.get(test, 0), self.seconds[test], test))

    def note(self, mutant: Mutant, killer: str) -> None:
        """Remember which test killed."""
        self.kills[mutant.path][killer] += 1


class Fast:
    """Plugin that takes the place of the test loop: measures, then forks for each mutant."""

    def __init__(self, paths: Sequence[Path], mutants: Sequence[Mutant], out: Path, jobs: int, budget: float) -> None:
        self.paths, self.mutants, self.out, self.jobs, self.budget = paths, mutants, out, jobs, budget

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        measured = self.out / "tests.json"
        if not measured.exists():
            Profile(self.paths, measured).run(session.items)
        gc.collect()
        workers = []
        for k in range(self.jobs):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    self._work(session, k, measured)
                    status = 0
                finally:
                    sys.stdout.flush()
                    os._exit(status)
            workers.append(pid)
        for pid in workers:
            _, status = os.waitpid(pid, 0)
            assert status == 0, "a worker failed"
        return True

    def _work(self, session: pytest.Session, k: int, measured: Path) -> None:
        plan, items = Plan(measured), {item.nodeid: item for item in session.items}
        live: dict[CodeType, list[FunctionType]] = defaultdict(list)
        for thing in gc.get_objects():
            if isinstance(thing, FunctionType) and str(thing.__module__).startswith("adntn_ref"):
                live[thing.__code__].append(thing)
        caches = [t for t in gc.get_objects() if isinstance(t, functools._lru_cache_wrapper)]
        caches = [cache for cache in caches if str(cache.__module__).startswith("adntn_ref")]
        gc.freeze()
        for mutant in self.mutants[k :: self.jobs]:
            try:
                pairs = mutant.codes()
            except SyntaxError:
                pairs = []
            if not pairs:
                record(self.out / f"fast-{k}.jsonl", mutant, NONE, "")
                continue
            tests = plan.tests(mutant, pairs[0][0])
            pairs = [(old, new) for old, new in pairs if old is not None and live[old]]
            if not pairs or not tests:
                continue
            tests = within(tests, plan.seconds, self.budget)

            def work(pairs: Any = pairs, tests: list[str] = tests) -> str | None:
                for old, new in pairs:
                    for function in live[old]:
                        function.__code__ = new
                for cache in caches:
                    cache.cache_clear()
                return run_items([items[test] for test in tests], plan.seconds)

            verdict, by = in_child(work)
            if verdict == KILLED:
                plan.note(mutant, by)
            record(self.out / f"fast-{k}.jsonl", mutant, verdict, by)


class Fresh:
    """Plugin that runs the chosen tests, in their order, until one fails."""

    def __init__(self, tests: Sequence[str], seconds: dict[str, float]) -> None:
        self.tests, self.seconds = tests, seconds
        self.killer: str | None = None

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        chosen = [items[test] for test in self.tests if test in items]
        if session.testsfailed:
            self.killer = "collection"
        elif chosen:
            self.killer = run_items(chosen, self.seconds)
        return True


def record(path: Path, mutant: Mutant, verdict: str, by: str) -> None:
    """Add one line to a file of results."""
    line = {"mutant": mutant.name, "verdict": verdict, "by": by, "change": mutant.change}
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")

"""Sweeps on threads, processes and a Dask cluster that lose workers, in any order: the same results."""

import os
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
from sweep_cases import TASKS, lines

from adntn_ref.errors import RecordError, SweepError
from adntn_ref.experiments import engine, tasks
from adntn_ref.experiments.engine import cluster, processes, run_sweep
from adntn_ref.experiments.sweep import Sweep

pytest_plugins = ["sweep_fixtures"]


def test_processes(sweep: Sweep, reference: dict[str, Any], tmp_path: Path) -> None:
    said: list[str] = []
    run_sweep(sweep, tmp_path / "p", processes(2), in_flight=3, tell=said.append)
    assert lines(tmp_path / "p") == reference
    assert len(said) == TASKS
    assert said[-1].startswith(f"{TASKS} of {TASKS}: ")


class Killing(Executor):
    """An executor that kills one of its pool's processes when it has been given some tasks."""

    def __init__(self, at: int) -> None:
        self.pool, self.at, self.given = processes(2)(), at, 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = self.pool.submit(fn, *args, **kwargs)
        self.given += 1
        if self.given == self.at:
            os.kill(next(iter(self.pool._processes)), signal.SIGKILL)  # type: ignore[attr-defined]
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        engine.stop(self.pool)


def test_a_killed_process_is_made_up_for(sweep: Sweep, reference: dict[str, Any], tmp_path: Path) -> None:
    made: list[Any] = []

    def make() -> Executor:
        made.append(Killing(5 if not made else 10**9))
        return made[-1]  # type: ignore[no-any-return]

    run_sweep(sweep, tmp_path / "p", make, in_flight=3)
    assert len(made) == 2
    assert lines(tmp_path / "p") == reference


class Falling(Executor):
    """Goes down as the second task is handed out, and takes the first with it."""

    def __init__(self) -> None:
        self.first: Future[Any] | None = None

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.first is None:
            self.first = Future()
            return self.first
        if not self.first.done():
            self.first.set_exception(BrokenExecutor("gone"))
        raise BrokenExecutor("gone")


def test_tasks_that_fall_with_an_executor_do_not_fell_the_next(
    sweep: Sweep, reference: dict[str, Any], tmp_path: Path
) -> None:
    made: list[Executor] = []

    def make() -> Executor:
        made.append(ThreadPoolExecutor(1) if made else Falling())
        return made[-1]

    run_sweep(sweep, tmp_path / "p", make, in_flight=3)
    assert len(made) == 2
    assert lines(tmp_path / "p") == reference


def test_an_executor_of_the_callers_is_not_replaced(sweep: Sweep, reference: dict[str, Any], tmp_path: Path) -> None:
    executor = Killing(5)
    with pytest.raises(SweepError, match=r"the executor is broken .*; what is done is recorded"):
        run_sweep(sweep, tmp_path / "p", executor, in_flight=3)
    executor.shutdown()
    before = lines(tmp_path / "p")
    assert 0 < len(before) < TASKS
    with ThreadPoolExecutor(1) as threads:
        run_sweep(sweep, tmp_path / "p", threads)
    assert lines(tmp_path / "p") == reference


def test_killed_sweep_goes_on(sweep: Sweep, reference: dict[str, Any], home: Path, tmp_path: Path) -> None:
    """SIGKILL of the command, a torn last line: the same command finishes, and its workers do not outlive it."""
    folder = tmp_path / "k"
    command = [sys.executable, "-m", "adntn_ref", "sweep", str(home / "sweep.toml"), "--out", str(folder)]
    process = subprocess.Popen([*command, "--workers", "1"], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.read()  # ends when the last process that holds the pipe does
    process.stdout.close()
    with (folder / "results.jsonl").open("ab") as stream:
        stream.write(b'{"key": "torn')
    with ThreadPoolExecutor(1) as threads:
        done: list[str] = []
        run_sweep(sweep, folder, threads, tell=done.append)
        assert len(done) <= TASKS - 5
        assert lines(folder) == reference
        run_sweep(sweep, folder, threads, tell=done.append)
        assert len(done) <= TASKS - 5  # nothing is left
        larger = sweep.with_seeds([0, 3, 5])
        run_sweep(larger, folder, threads, tell=done.append)
    assert len(lines(folder)) == TASKS * 3 // 2  # of a larger sweep only what is new is run


def test_dask_cluster_loses_a_worker(sweep: Sweep, reference: dict[str, Any], tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra cluster is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as local, cluster(local.scheduler_address) as (executor, threads):  # fmt: skip
        assert threads == 2
        killed: list[int] = []

        def tell(line: str) -> None:
            if len(killed) == 0 and line.startswith("5 of"):
                with distributed.Client(local.scheduler_address) as client:
                    pids = client.run(os.getpid)
                killed.append(next(iter(pids.values())))
                os.kill(killed[0], signal.SIGKILL)

        run_sweep(sweep, tmp_path / "d", executor, in_flight=4, tell=tell)
    assert killed
    assert lines(tmp_path / "d") == reference


def test_no_scheduler() -> None:
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    with (
        pytest.raises(SweepError, match=r"there is no Dask scheduler at tcp://127.0.0.1:1"),
        cluster("tcp://127.0.0.1:1", timeout=0.2),
    ):
        pass


class Scripted(Executor):
    """An executor whose tasks end as told."""

    def __init__(self, outcome: Any) -> None:
        self.outcome, self.calls = outcome, 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls += 1
        future: Future[Any] = Future()
        found = self.outcome(self.calls, fn, args)
        if isinstance(found, BaseException):
            future.set_exception(found)
        else:
            future.set_result(found)
        return future


def test_a_task_that_always_fails_is_named(sweep: Sweep, tmp_path: Path) -> None:
    failing = Scripted(lambda call, fn, args: OSError("lost"))
    with pytest.raises(SweepError, match="seed 0: dense: failed 3 times, last with OSError: lost"):
        run_sweep(sweep, tmp_path / "p", failing, in_flight=1)
    assert failing.calls == 3
    broken = [0]

    def make() -> Executor:
        broken[0] += 1
        return Scripted(lambda call, fn, args: BrokenProcessPool("gone"))

    with pytest.raises(SweepError, match="failed 3 times, last with BrokenProcessPool: gone"):
        run_sweep(sweep, tmp_path / "p", make, in_flight=1)
    assert broken[0] == 3

    class Closed(Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            raise RuntimeError("closed")

    with pytest.raises(SweepError, match=r"seed 0: dense: cannot be handed out \(RuntimeError: closed\)"):
        run_sweep(sweep, tmp_path / "p", Closed, in_flight=1)


def test_workers_with_other_images_are_refused(sweep: Sweep, tmp_path: Path) -> None:
    def outcome(call: int, fn: Any, args: Any) -> Any:
        result, params = fn(*args)
        if call > 2:
            result["facts"]["images"] = "others"
        return result, params

    with pytest.raises(RecordError, match="a worker read other images than those of seed 0: dense"):
        run_sweep(sweep.with_seeds([0]), tmp_path / "p", Scripted(outcome), in_flight=1)


def test_threads_are_held_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tasks.THREADS_VARIABLE, "7")
    with tasks.one_thread():
        assert os.environ[tasks.THREADS_VARIABLE] == "1"
    assert os.environ[tasks.THREADS_VARIABLE] == "7"
    monkeypatch.delenv(tasks.THREADS_VARIABLE)
    with tasks.one_thread():
        pass
    assert tasks.THREADS_VARIABLE not in os.environ

"""The engine of a sweep: hands tasks to an executor, records each result once, goes on where it stopped.

The executor is anything with the interface of ``concurrent.futures.Executor``: processes on one machine
(:func:`processes`), a Dask cluster (:func:`cluster`), or the caller's own.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from adntn_ref.compression.atomic import write_atomically
from adntn_ref.errors import AdntnError, RecordError, SweepError
from adntn_ref.experiments.locking import locked
from adntn_ref.experiments.record import ENVIRONMENT, environment, write_json
from adntn_ref.experiments.results import Results
from adntn_ref.experiments.shapes import require_task
from adntn_ref.experiments.sweep import Sweep, summarise_sweep
from adntn_ref.experiments.tasks import Task, run_task
from adntn_ref.extras import need
from adntn_ref.program.modes import shown

RESULTS, SWEEP, SUMMARY = "results.jsonl", "sweep.json", "summary.json"
TRIES = 3
"""How often a task is handed out whose worker is lost; then it is taken for the cause."""

Make = Callable[[], Executor]
Tell = Callable[[str], None]


def run_sweep(
    sweep: Sweep, folder: str | Path, executor: Executor | Make, *, in_flight: int = 8, tell: Tell | None = None
) -> dict[str, Any]:
    """Run all tasks of a sweep that are not recorded yet, and return its points.

    Parameters
    ----------
    sweep : what to run; the folder may hold a part of it, or of another sweep, and what is the same is not run again
    folder : where the record is; made if need be
    executor : where to run; a function that makes one is called again if its workers are lost
    in_flight : how many tasks are handed out at a time
    tell : called with a line of text for every task done

    Raises
    ------
    ConfigError, DataError
        Before work starts, for what cannot be done.
    RecordError, OutputError
        If another process works in the folder, or it cannot be used.
    SweepError
        If workers are lost again and again, or a task ends in an error that is not its own; the rest is recorded.
    """
    tasks = sweep.tasks()
    where = Path(folder)
    with locked(where):
        results = Results(where / RESULTS)
        require_tasks(results)
        if not (where / ENVIRONMENT).is_file():
            write_json(where / ENVIRONMENT, environment())
        write_json(where / SWEEP, {"title": sweep.title, "tasks": {task.key: task.label for task in tasks}})
        runner = _Runner(where, results, executor, in_flight, tell or (lambda line: None))
        runner.run(tasks)
        summary = summarise_sweep(sweep, results.found)
        write_json(where / SUMMARY, summary)
        return summary


def require_tasks(results: Results) -> None:
    """Refuse results that are not a sweep's, before work starts; RecordError."""
    for key, line in results.found.items():
        require_task(f"the result of task {shown(key)} in {results.path}", line)


class _Runner:
    """One start of a sweep."""

    def __init__(self, folder: Path, results: Results, executor: Executor | Make, in_flight: int, tell: Tell) -> None:
        self.folder, self.results, self.in_flight, self.tell = folder, results, max(1, in_flight), tell
        self.make: Make | None = None if isinstance(executor, Executor) else executor
        self.executor = executor if isinstance(executor, Executor) else executor()
        self.running: dict[Future[Any], Task] = {}
        self.tries: dict[str, int] = {}

    def run(self, tasks: list[Task]) -> None:
        """Run what is not recorded; whatever happens, nothing is left running that was not begun."""
        wanted = [task for task in tasks if task.key not in self.results.found]
        bases = {task.dense_key: task for task in tasks if task.kind == "dense"}
        needed = {task.dense_key for task in wanted}
        waiting = [task for key, task in bases.items() if key in needed and not self._has_base(task)]
        waiting += [task for task in wanted if task.kind != "dense"]
        self.total, self.done = len(waiting), 0
        try:
            while waiting or self.running:
                self._hand_out(waiting)
                self._take_in(waiting)
        finally:
            for future in self.running:
                future.cancel()
            if self.make is not None:
                stop(self.executor)

    def _base_path(self, task: Task) -> Path:
        return self.folder / f"dense-{task.dense_key}.safetensors"

    def _has_base(self, task: Task) -> bool:
        """Whether a baseline is there: its file, written first, and its result."""
        return self._base_path(task).is_file() and task.key in self.results.found

    def _hand_out(self, waiting: list[Task]) -> None:
        """Submit tasks whose baseline is there, up to the limit."""
        for task in list(waiting):
            if len(self.running) >= self.in_flight:
                return
            path = self._base_path(task)
            if task.kind != "dense" and not path.is_file():
                continue
            self.tries[task.key] = self.tries.get(task.key, 0) + 1
            dense = None if task.kind == "dense" else _read(path)
            try:
                future = self.executor.submit(run_task, task.kind, task.config.to_dict(), dense)
            except (BrokenExecutor, RuntimeError) as error:
                if self.tries[task.key] >= TRIES:
                    raise SweepError(f"{task.label}: cannot be handed out ({type(error).__name__}: {error})") from error
                self._lose(waiting)
                self._replace(error)
                return
            waiting.remove(task)
            self.running[future] = task

    def _take_in(self, waiting: list[Task]) -> None:
        """Wait for a task at least, and record what is done; tasks of lost workers wait again."""
        if not self.running:
            return  # the executor was just replaced
        done, _ = wait(self.running, return_when=FIRST_COMPLETED)
        broken: BaseException | None = None
        for future in done:
            task = self.running.pop(future)
            try:
                result, params = future.result()
            except AdntnError as error:
                raise SweepError(f"{task.label}: {error}") from error
            except Exception as error:  # a lost worker comes as BrokenExecutor, KilledWorker, ... by the executor
                if self.tries[task.key] >= TRIES:
                    raise SweepError(
                        f"{task.label}: failed {TRIES} times, last with {type(error).__name__}: {error}; what is done"
                        " is recorded, and the same command goes on"
                    ) from error
                broken = error if isinstance(error, BrokenExecutor) else broken
                waiting.insert(0, task)
                continue
            self._record(task, result, params)
        if broken is not None:
            self._lose(waiting)
            self._replace(broken)

    def _lose(self, waiting: list[Task]) -> None:
        """Let the tasks that went down with an executor wait again; what they raise is no fault of the next one's."""
        for future in list(self.running):
            if not future.done() or future.cancelled() or future.exception() is not None:
                waiting.insert(0, self.running.pop(future))

    def _record(self, task: Task, result: dict[str, Any], params: bytes | None) -> None:
        self.done += 1
        if params is not None:
            write_atomically(self._base_path(task), lambda path: _write(path, params))
        if task.kind == "dense" and "error" in result:
            raise SweepError(f"{task.label}: {result['error']}")
        if task.key in self.results.found:
            return  # a baseline that was lost and made again
        facts = {"kind": task.kind, "label": task.label, "config": task.config.to_dict()}
        self._require_images(task, result)
        self.results.add(task.key, {**facts, **result})
        said = result.get("error") or f"validation accuracy {100 * result['facts']['validation_accuracy']:.1f} %"
        self.tell(f"{self.done} of {self.total}: {task.label}: {said}")

    def _require_images(self, task: Task, result: dict[str, Any]) -> None:
        """Refuse a result that was made with other images than its baseline, on a worker with other files."""
        mine = result.get("facts", {}).get("images")
        for other in self.results.found.values():
            theirs = other.get("facts", {}).get("images")
            same_data = other["config"]["data"]["name"] == task.config.data.name
            sizes = {key: value for key, value in other["config"]["data"].items() if key not in ("name", "folder")}
            now = {key: value for key, value in task.config.to_dict()["data"].items() if key not in ("name", "folder")}
            if mine and theirs and same_data and sizes == now and other["config"]["seeds"] == [task.seed]:
                if mine != theirs:
                    raise RecordError(f"{task.label}: a worker read other images than those of {other['label']}")
                return

    def _replace(self, error: BaseException) -> None:
        """Make a new executor in place of one that is broken, if we may."""
        if self.make is None:
            raise SweepError(
                f"the executor is broken ({type(error).__name__}: {error}); what is done is recorded, and the same"
                " command goes on"
            ) from error
        stop(self.executor)
        self.executor = self.make()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror or error}") from error


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def stop(executor: Executor) -> None:
    """Stop an executor of ours at once, tasks under way included: they are run again from their start."""
    processes_of = dict(getattr(executor, "_processes", None) or {})
    executor.shutdown(wait=False)
    for process in processes_of.values():
        with suppress(OSError, ValueError):
            process.terminate()


def processes(workers: int) -> Make:
    """Return what makes a pool of processes on this machine, each held to one thread.

    They are started afresh, not forked, leave Ctrl-C to the parent, and end when it does, however it does.
    """
    return lambda: ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_prepare_worker)


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def cluster(address: str, timeout: float = 10) -> Iterator[tuple[Executor, int]]:
    """Connect to the scheduler of a Dask cluster; gives its executor, and how many threads its workers have.

    Tasks of a worker that is lost are run again by the scheduler, on another one.

    Raises
    ------
    MissingExtra
        Without the extra ``cluster``.
    SweepError
        If there is no scheduler at the address.
    """
    distributed = need("distributed", "cluster")
    try:
        client = distributed.Client(address, timeout=timeout)
    except (OSError, ValueError) as error:
        raise SweepError(f"there is no Dask scheduler at {address}: {error}") from error
    try:
        yield client.get_executor(retries=TRIES), sum(client.nthreads().values())
    finally:
        client.close()

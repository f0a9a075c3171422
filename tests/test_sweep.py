"""Sweeps: what is run, recorded once, resumed; on threads, processes and a Dask cluster that loses workers."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from adntn_ref.cli import main
from adntn_ref.errors import ConfigError, RecordError, SweepError
from adntn_ref.experiments import engine, tasks
from adntn_ref.experiments.config import config_of
from adntn_ref.experiments.engine import cluster, processes, run_sweep
from adntn_ref.experiments.record import read_json
from adntn_ref.experiments.results import Results
from adntn_ref.experiments.run import run_experiment
from adntn_ref.experiments.shipped import shipped_files
from adntn_ref.experiments.sweep import Sweep, read_sweep, summarise_sweep
from adntn_ref.networks.registry import NETWORKS
from adntn_ref.nn import data as sources

COUNTS = {"lenet5": [1584, 2800], "fc2": [1252]}
"""Model -> the counts of its sweeps of all families, those of the brick-walls."""

BASE = """
title = "base"
seeds = [0]
[model]
name = "fc2"
[data]
name = "digits"
train = 200
validation = 50
test = 40
[compress]
layers = ["fc1.weight"]
[network]
name = "brickwall"
layers = 1
[dense]
epochs = 2
[stage1]
steps = 10
[stage2]
epochs = 2
cores_rates = [0.01]
"""
SWEEP = """
title = "small"
base = "base.toml"
layers = [["fc1.weight"], ["fc1.weight", "fc2.weight"]]
seeds = [0, 3]
[[networks]]
name = "brickwall"
sizes = [1, 2]
[[networks]]
name = "mpo"
parameters = [100]
"""
TASKS = 2 * (1 + 1 + 2 * (1 + 3))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sweep's file, and with the run that others are compared with."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "base.toml").write_text(BASE)
    (folder / "sweep.toml").write_text(SWEEP)
    return folder


@pytest.fixture(scope="module")
def sweep(home: Path) -> Sweep:
    return read_sweep(home / "sweep.toml")


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    """The results by key, each there once, without what depends on the machine's speed."""
    found = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    by_key = {line["key"]: {k: v for k, v in line.items() if k != "timing"} for line in found}
    assert len(by_key) == len(found)
    return by_key


@pytest.fixture(scope="module")
def reference(sweep: Sweep, home: Path) -> dict[str, dict[str, Any]]:
    with ThreadPoolExecutor(1) as executor:
        run_sweep(sweep, home / "reference", executor)
    found = lines(home / "reference")
    assert len(found) == TASKS == len(sweep.tasks())
    return found


def test_points(sweep: Sweep, reference: dict[str, Any], home: Path) -> None:
    summary = read_json(home / "reference/summary.json")
    assert summary["failed"] == {}
    rows = ["dense", "brickwall-1", "brickwall-2", "mpo-p100", "frozen_random"]
    assert [point["row"] for point in summary["points"]] == rows * 2
    for point in summary["points"]:
        assert point["seeds"] == 2
        assert point["interval"][0] < point["accuracy"] < point["interval"][1]
        assert point["seconds"] > 0 or point["row"] == "frozen_random"  # of FC-2 nothing else is left
    assert summary["points"][3]["parameters"] <= 100
    assert summary["points"][8]["weights"] == 64 * 256 + 2560


def test_a_task_is_an_experiments_row(sweep: Sweep, reference: dict[str, Any], home: Path, tmp_path: Path) -> None:
    """The same settings, by ``experiment run``, give the same accuracies."""
    config = config_of({**sweep.base.to_dict(), "seeds": [0, 3], "compress": {"layers": ["fc1.weight"]}, "rivals": []})
    result = run_experiment(config, tmp_path / "experiment")
    points = read_json(home / "reference/summary.json")["points"]
    for row, point in ((0, 0), (1, 1), (2, 4)):
        assert result["rows"][row]["accuracies"] == points[point]["accuracies"]
        assert result["rows"][row]["stage1_accuracy"] == points[point].get("stage1_accuracy")


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


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_run_that_diverges_is_recorded(
    sweep: Sweep, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its error stands in the record, it is not run again, and the command's exit code tells."""
    wild = sweep.with_seeds([0]).with_base({"stage1": {"rate": 1e30}})
    with ThreadPoolExecutor(1) as threads:
        summary = run_sweep(wild, tmp_path / "p", threads)
        again: list[str] = []
        run_sweep(wild, tmp_path / "p", threads, tell=again.append)
    assert again == []
    assert all("DivergedError" in error for error in summary["failed"].values())
    assert summary["points"][1]["accuracy"] is None
    assert summary["points"][0]["accuracy"] is not None
    arguments = ["sweep", str(home / "sweep.toml"), "--out", str(tmp_path / "p"), "--seeds", "0"]
    assert main([*arguments, "--set", "stage1.rate=1e30"]) == 1
    assert "failed: " in capsys.readouterr().out
    with ThreadPoolExecutor(1) as threads, pytest.raises(SweepError, match="seed 0: dense: DivergedError"):
        run_sweep(sweep.with_base({"dense": {"rate": 1e30}}), tmp_path / "q", threads)


def test_workers_with_other_images_are_refused(sweep: Sweep, tmp_path: Path) -> None:
    def outcome(call: int, fn: Any, args: Any) -> Any:
        result, params = fn(*args)
        if call > 2:
            result["facts"]["images"] = "others"
        return result, params

    with pytest.raises(RecordError, match="a worker read other images than those of seed 0: dense"):
        run_sweep(sweep.with_seeds([0]), tmp_path / "p", Scripted(outcome), in_flight=1)


def test_rates_are_chosen_on_the_validation_part(sweep: Sweep) -> None:
    (tmp := sweep.with_seeds([0])).tasks()
    both = Sweep(tmp.title, tmp.base, tmp.layers[:1], tmp.networks[:1], tmp.seeds, (0.001, 0.1))
    results = {
        task.key: {"facts": {"validation_accuracy": score, "right": right, "test_images": 10}, "timing": {"seconds": 1}}
        for rate, score, right in ((0.001, 0.5, 9), (0.1, 0.6, 3))
        for task in (both.row_task(both.layers[0], both.networks[0], rate, 0),)
    }
    point = summarise_sweep(both, results)["points"][1]
    assert (point["cores_rate"], point["accuracy"]) == (0.1, 0.3)


def test_threads_are_held_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tasks.THREADS_VARIABLE, "7")
    with tasks.one_thread():
        assert os.environ[tasks.THREADS_VARIABLE] == "1"
    assert os.environ[tasks.THREADS_VARIABLE] == "7"
    monkeypatch.delenv(tasks.THREADS_VARIABLE)
    with tasks.one_thread():
        pass
    assert tasks.THREADS_VARIABLE not in os.environ


@pytest.mark.parametrize("broken", ['{"a": 1}\n', "{\n", "[]\n", '{"key": 1}\n{"key": 1}\n', "\n"])
def test_broken_results(broken: str, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(broken)
    with pytest.raises(RecordError, match=r"line [12] of .* (is no result|a second time)"):
        Results(path)


def test_results(tmp_path: Path) -> None:
    results = Results(tmp_path / "r")
    results.add("a", {"x": 1})
    with pytest.raises(RecordError, match=r"the result of task a is in .* already"):
        results.add("a", {"x": 1})
    with (tmp_path / "r").open("ab") as stream:
        stream.write(b'{"key": "b"')
    size = (tmp_path / "r").stat().st_size
    assert Results(tmp_path / "r", read_only=True).found == {"a": {"key": "a", "x": 1}}
    assert (tmp_path / "r").stat().st_size == size
    assert Results(tmp_path / "r").found == {"a": {"key": "a", "x": 1}}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sizes = [1, 2]", "", r"networks\[0\] needs either sizes or parameters"),
        ("sizes = [1, 2]", "sizes = [1, 2]\nparameters = [3]", r"networks\[0\] needs either sizes or parameters"),
        ("sizes = [1, 2]", "sizes = [1, 0]", r"networks\[0\].sizes must be an integer >= 1, got 0"),
        ("sizes = [1, 2]", "sizes = [1, 1]", "networks: brickwall-1 is there twice"),
        ("sizes = [1, 2]", "sizes = [1]\nchi = 3", r"networks\[0\] has no chi"),
        ('name = "mpo"', 'name = "peps"', r"networks\[1\].name: no network is called 'peps'"),
        ("parameters = [100]", "parameters = [5]", "cannot make fc1.weight: even with chi = 1"),
        ("seeds = [0, 3]", "seeds = [0, 0]", "seeds must be different"),
        ("base.toml", "nope.toml", "no file and no shipped experiment is called 'nope.toml'"),
        ("layers = [[", "layers = []\nrest = [[", "the sweep has no rest"),
        ('layers = [["fc1.weight"], ["fc1.weight", "fc2.weight"]]', "layers = []", "layers must be a list of lists"),
        ("[[networks]]", "[more]", "the sweep has no more"),
        ('"fc2.weight"', '"conv1.weight"', "'conv1.weight' matches none of"),
        ("title", "name", "the sweep has no name"),
    ],
)
def test_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(BASE)
    assert old in SWEEP
    (tmp_path / "sweep.toml").write_text(SWEEP.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        read_sweep(tmp_path / "sweep.toml").tasks()


@pytest.mark.parametrize("networks", ["3", "[]", "[3]", '["mpo"]', "[{sizes = [1]}]", '[{name = "mpo", sizes = 3}]'])
def test_networks_of_other_kinds_are_refused(networks: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(f'title = "t"\nbase = "digits-fc2-ttn"\nnetworks = {networks}\n')
    with pytest.raises(ConfigError, match=r"networks(\[0\])? (must be|needs)"):
        read_sweep(tmp_path / "sweep.toml")


def test_ranks_may_be_lists(tmp_path: Path) -> None:
    table = '{name = "tucker", layout = "axes", row_modes = [16, 16], col_modes = [8, 8], sizes = [2, [2, 3, 2, 2]]}'
    (tmp_path / "sweep.toml").write_text(f'title = "t"\nbase = "digits-fc2-ttn"\nnetworks = [{table}]\n')
    sweep = read_sweep(tmp_path / "sweep.toml")
    assert [choice.row for choice in sweep.networks] == ["tucker-2", "tucker-2-3-2-2"]
    assert len(sweep.tasks()) > 4


def test_unknown_sweep() -> None:
    with pytest.raises(
        ConfigError, match="no file and no shipped sweep is called 'nope'; shipped: digits-fc2, fc2-fas"
    ):
        read_sweep("nope")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of the data sets that are files; a sweep's tasks need no more than that they are there."""
    for name in ("mnist", "fashion-mnist"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv(sources.FOLDER_VARIABLE, str(tmp_path))


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize("name", shipped_files("sweeps"))
def test_shipped_sweeps(name: str) -> None:
    sweep = read_sweep(name)
    assert len(sweep.tasks()) > 20
    assert len(sweep.quicker().tasks()) < len(sweep.tasks())


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize(
    ("name", "counts"),
    [(f"{model}-{data}-families", counts) for model, counts in COUNTS.items() for data in ("mnist", "fashion")],
)
def test_families_at_equal_count(name: str, counts: list[int]) -> None:
    """Every family is there at every count, and no network is above that of the brick-wall it stands beside."""
    found = dict.fromkeys(counts, frozenset[str]())
    for point in summarise_sweep(read_sweep(name), {})["points"]:
        if point["spec"]:
            count = min(count for count in counts if point["parameters"] <= count)
            assert point["parameters"] > 0.65 * count
            found[count] |= {point["network"]}
    assert all(families == set(NETWORKS) for families in found.values())


def test_command_line(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "c")
    arguments = ["sweep", str(home / "sweep.toml"), "--out", out, "--quick", "--workers", "1"]
    more = ["--set", "dense.epochs=1", "--set", "stage2.epochs=1", "--set", "stage1.steps=2"]
    started = time.perf_counter()
    assert main([*arguments, *more]) == 0
    assert time.perf_counter() - started < 60
    shown = capsys.readouterr().out
    assert f"10 of {TASKS // 2}: seed 0" in shown
    assert "brickwall 2" in shown
    assert main([*arguments, *more, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["points"]) == 10
    for wrong, message in (
        (["--workers", "0"], "--workers must be at least 1"),
        (["--scheduler", "tcp://a:1"], "leave one out"),
        (["--set", "x"], "--set takes KEY=VALUE"),
    ):
        assert main([*arguments, *wrong]) == 2
        assert message in capsys.readouterr().err


def test_the_dense_row_of_frozen_models(sweep: Sweep, tmp_path: Path) -> None:
    """Where stage 2 freezes parameters, the dense row trains the compressed ones: one row a set of layers."""
    small = sweep.with_seeds([0]).with_base({"stage2": {"frozen": ["fc1.weight"]}})
    kinds = [task.kind for task in small.tasks()]
    assert (kinds.count("dense_stage2"), kinds.count("dense")) == (2, 1)
    with ThreadPoolExecutor(1) as threads:
        points = run_sweep(small, tmp_path / "p", threads)["points"]
    config = config_of({**small.base.to_dict(), "compress": {"layers": ["fc1.weight", "fc2.weight"]}, "rivals": []})
    assert points[5]["accuracies"] == run_experiment(config, tmp_path / "e")["rows"][0]["accuracies"]

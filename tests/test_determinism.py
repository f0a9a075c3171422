"""The same seed gives the same bits, whatever the threads of BLAS and of ours, and the order of a sweep."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sweep_cases
from small import same
from threadpoolctl import threadpool_info, threadpool_limits

import adntn_ref as ar
from adntn_ref.compression.tensorfile import write_tensors
from adntn_ref.compression.weights import compress_file
from adntn_ref.experiments.engine import run_sweep
from adntn_ref.experiments.record import read_json
from adntn_ref.experiments.sweep import read_sweep
from adntn_ref.experiments.tasks import THREADS_VARIABLE

NETWORKS: dict[str, Callable[[Any], ar.Network]] = {
    "brickwall": lambda s: ar.BrickWall(s, 2),
    "ttn": lambda s: ar.TTN(s, 4),
    "mera": lambda s: ar.MERA(s, 2),
    "mpo": lambda s: ar.MPO(s, 8),
    "lowrank": lambda s: ar.LowRank(s, 16),
    "cp": lambda s: ar.CP(s, 4),
}


def with_threads(count: int, work: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv(THREADS_VARIABLE, str(count))
    with threadpool_limits(count, user_api="blas"):
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {count}
        return work()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_fit_whatever_the_threads(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large enough that BLAS and our own pool divide the work."""
    shape = (2**8, 2**8)
    network, target = NETWORKS[name](shape), np.random.default_rng(0).standard_normal(shape).astype(dtype)
    one, *more = (
        with_threads(count, lambda: ar.fit(network, target, steps=2).params, monkeypatch) for count in (1, 2, 4)
    )
    assert all(same(other, one) for other in more)


def test_compress_whatever_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    write_tensors(tmp_path / "m.npz", {"w": rng.standard_normal((128, 100)).astype("f4")}, {})
    for count in (1, 3):
        out = tmp_path / f"{count}.safetensors"
        work = lambda out=out: compress_file(tmp_path / "m.npz", out, ["w"], lambda s: ar.BrickWall(s, 3), steps=3)
        with_threads(count, work, monkeypatch)
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "3.safetensors").read_bytes()


class Shuffled(Executor):
    """Runs what it is given one at a time, in an order of its own, and tells of it when it likes."""

    def __init__(self, seed: int) -> None:
        self.rng, self.waiting, self.order = random.Random(seed), [], []
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    waiting: list[Any]
    order: list[int]

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self.changed:
            self.waiting.append((len(self.order) + len(self.waiting), future, fn, args))
            self.changed.notify()
        return future

    def _work(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: bool(self.waiting), 0.05)
                if not self.waiting:
                    continue
                number, future, fn, args = self.waiting.pop(self.rng.randrange(len(self.waiting)))
                self.order.append(number)
            if fn is None:
                return
            future.set_result(fn(*args))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.submit(None)
        self.thread.join()


def test_a_sweep_in_any_order(tmp_path: Path) -> None:
    """Results, points and baselines are the same to the bit in whatever order tasks are done."""
    (tmp_path / "base.toml").write_text(sweep_cases.BASE)
    (tmp_path / "sweep.toml").write_text(sweep_cases.SWEEP)
    sweep = read_sweep(tmp_path / "sweep.toml").with_seeds([0])
    found, orders = [], []
    for seed, in_flight in ((0, 1), (1, 4), (2, 100)):
        folder = tmp_path / f"order {seed}"
        with Shuffled(seed) as executor:
            run_sweep(sweep, folder, executor, in_flight=in_flight)
        summary = read_json(folder / "summary.json")
        points = [{key: value for key, value in p.items() if key != "seconds"} for p in summary["points"]]
        dense = {path.name: path.read_bytes() for path in folder.glob("dense-*")}
        found.append((sweep_cases.lines(folder), points, dense, (folder / "sweep.json").read_bytes()))
        orders.append(list(sweep_cases.lines(folder)))
    assert found[0] == found[1] == found[2]
    assert len({tuple(order) for order in orders}) == 3

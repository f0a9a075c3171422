"""The pool of large arrays: memory comes back when the last view is gone, and never while one is left."""

import gc
import threading

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.backends import pool


@pytest.fixture(autouse=True)
def empty_pool() -> None:
    gc.collect()
    pool.release()


def address(x: np.ndarray) -> int:
    return int(x.__array_interface__["data"][0])


def test_memory_is_handed_out_again() -> None:
    first = pool.empty(2**17, "float64")
    place = address(first)
    assert first.shape == (2**17,)
    assert first.dtype == np.float64
    assert first.flags.writeable
    assert first.flags.c_contiguous
    del first
    assert pool.held() == 2**20
    assert address(pool.empty(2**18, "float32")) == place, "by bytes, whatever the dtype"


def test_a_view_keeps_its_memory() -> None:
    whole = pool.empty(2**17, "float64")
    view = whole.reshape(2, -1)[1, ::2]
    view[...] = 7
    del whole
    other = pool.empty(2**17, "float64")
    other[...] = 0
    assert pool.held() == 0
    assert (view == 7).all()


def test_small_arrays_are_not_pooled() -> None:
    x = pool.empty(10, "float64")
    del x
    assert pool.held() == 0


def test_no_more_than_the_limit_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MOST_BYTES", 3 * 2**20)
    arrays = [pool.empty(2**20, "uint8") for _ in range(2)] + [pool.empty(2**21, "uint8")]
    arrays.clear()
    assert pool.held() <= 3 * 2**20
    huge = pool.empty(2**22, "uint8")
    del huge
    assert pool.held() <= 3 * 2**20


def test_the_pool_gives_way_where_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    first = pool.empty(2**20, "uint8")
    del first
    assert pool.held() == 2**20
    plain, asked = np.empty, []

    def short(*args: object) -> object:
        asked.append(args)
        if len(asked) == 1:
            raise MemoryError
        return plain(*args)

    monkeypatch.setattr(pool.np, "empty", short)
    second = pool.empty(2**21, "uint8")
    assert second.size == 2**21
    assert len(asked) == 2
    assert pool.held() == 0


def test_threads_never_share_memory() -> None:
    wrong = []

    def work(mark: int) -> None:
        for _ in range(50):
            x = pool.empty(2**18, "uint8")
            x[...] = mark
            if not (x == mark).all():
                wrong.append(mark)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_weights_outlive_the_run_that_made_them() -> None:
    net = ar.BrickWall((2**18,), layers=2)
    params = net.init(0)
    weight, pullback = net.vjp(params)
    kept = weight.copy()
    del pullback
    for seed in range(3):
        net.generate(net.init(seed))
    assert np.array_equal(weight, kept)

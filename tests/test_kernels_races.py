"""Small runs of every kernel for the race detector: there each CUDA thread is a thread of the system."""

from typing import Any

import numpy as np
import pytest
from kernel_cases import compare, needs_compiler, random_cores
from shim.launcher import THREADED, ShimLauncher

import adntn_ref as ar
from adntn_ref.backends.fused_many import whole_networks
from adntn_ref.backends.fused_vectors import adam_step
from adntn_ref.compression.optimisers import Adam

pytestmark = [
    needs_compiler,
    pytest.mark.slow,
    pytest.mark.skipif(not THREADED, reason="races are looked for by tests/shim/slow.py, with the thread sanitizer"),
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("net", [
    ar.BrickWall((2**7,), layers=2, activation="tanh"),
    ar.TTN((2**4,), chi=2),
], ids=["tiles", "windows"])  # fmt: skip
def test_no_races_in_a_run(net: Any, dtype: str) -> None:
    shared = {"float64": 5000, "float32": 4000}[dtype] if isinstance(net, ar.BrickWall) else 2**17
    compare(net, ShimLauncher(shared=shared, processors=1), dtype)


def test_no_races_between_two_warps() -> None:
    """Tiles of 2^10 entries: 64 threads in float64."""
    compare(ar.BrickWall((2**10,), layers=1, activation="tanh"), ShimLauncher())


def test_no_races_in_whole_networks_and_adam() -> None:
    net, launcher = ar.BrickWall((2**6,), layers=2, activation="tanh"), ShimLauncher()
    many = whole_networks(net.program, "float64", launcher)
    assert not isinstance(many, str)
    stacked = many.pack([random_cores(net, seed, "float64") for seed in range(2)])
    losses = many.fit(stacked, np.ones((2, 60)), [1e-2, 1e-2], Adam().start(stacked))
    assert np.isfinite(losses).all()
    vector = np.ones(300)
    adam_step(launcher, Adam(), vector, np.ones(300), Adam().start(vector), 0, np.array([1e-2]))

"""What the tests of the fused kernels share: a program run by them on the CPU, and step by step with NumPy."""

from typing import Any

import numpy as np
import pytest
from shim.launcher import COMPILER, ShimLauncher

from adntn_ref.backends.fused import fused_run
from adntn_ref.program.runs import StepsRun
from adntn_ref.program.schedule import run_adjoint, run_keeping

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="the kernels run on the CPU through g++, which is missing")
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
SMALL = {"float64": 6200, "float32": 5200}
"""Bytes of shared memory that make several tiles and walks with rounds run again of a state of 2^9 entries."""


def random_cores(net: Any, seed: int, dtype: str) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: (rng.standard_normal(shape) / 2**0.5).astype(dtype) for name, shape in net.core_shapes.items()}


def both(run: Any, schedule: str, g: Any) -> tuple[Any, dict[str, Any]]:
    x, saved = run_keeping(run, schedule)
    return x, run_adjoint(run, saved, g)


def fused(net: Any, cores: dict[str, Any], launcher: ShimLauncher) -> Any:
    run = fused_run(net.program, cores, launcher)
    assert not isinstance(run, str), run
    return run


def compare(net: Any, launcher: ShimLauncher, dtype: str = "float64", schedule: str = "keep", seed: int = 0) -> Any:
    """Run a network both ways, in the kernels' dtype and in float64, and return the fused run's numbers."""
    cores = random_cores(net, seed, dtype)
    before = {name: core.copy() for name, core in cores.items()}
    run = fused(net, cores, launcher)
    g = np.random.default_rng(seed + 1).standard_normal(net.placement.generated).astype(dtype)
    kept_g = g.copy()
    x, found = both(run, schedule, g)
    exact = {name: core.astype(np.float64) for name, core in cores.items()}
    wanted_x, wanted = both(StepsRun(net.program, exact), "keep", g.astype(np.float64))
    rtol = TOLERANCE[dtype]
    assert x.dtype == np.dtype(dtype)
    assert np.abs(x - wanted_x).max() <= rtol * np.abs(wanted_x).max()
    assert np.array_equal(run.last_state(), x)
    assert found.keys() == wanted.keys()
    size = max(np.abs(e).max() for e in wanted.values())
    for name, e in wanted.items():
        assert found[name].shape == e.shape
        assert found[name].dtype == np.dtype(dtype)
        assert np.abs(found[name] - e).max() <= rtol * size, name
    assert np.array_equal(g, kept_g), "the caller's cotangent was written to"
    assert all(np.array_equal(cores[name], before[name]) for name in cores)
    return x, found

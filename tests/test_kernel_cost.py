"""The counted cost of the tile kernels, against what is launched and what the plan does."""

import numpy as np
import pytest
from kernel_cases import fused, needs_compiler, random_cores
from shim.launcher import ShimLauncher
from test_kernel_plan import H200, layers_of

import adntn_ref as ar
from adntn_ref.backends.fused_tiles import bind
from adntn_ref.backends.kernel_cost import Cost, backward_cost, forward_cost, wall_cost
from adntn_ref.backends.kernel_plan import Limits, passes_of
from adntn_ref.program.schedule import run_adjoint, run_keeping


def cost_of(bits: int, layers: int, itemsize: int) -> tuple[Cost, Cost]:
    return wall_cost(bits, layers_of(bits, layers), Limits(H200, itemsize))


def test_the_goal_in_bytes() -> None:
    """2^24 float32 entries, 8 layers: 5 states a layer are the bound; partial environments are small beside them."""
    forward, back = cost_of(24, 8, 4)
    bound = 5 * 8 * (4 << 24)
    assert forward.states + back.states == 45
    assert forward.memory + back.memory <= 1.15 * bound
    bricks = 8 * 23 - 12
    assert forward.flops == 8 * bricks << 24
    assert back.flops <= 4 * 16 * bricks << 24


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("bits", [14, 18, 22, 24])
def test_bounds_on_the_way_back(bits: int, itemsize: int) -> None:
    """At least the environment and the cotangent of every brick; no round more than three times."""
    forward, back = cost_of(bits, 4, itemsize)
    assert 2 * forward.flops <= back.flops <= 7 * forward.flops
    assert back.states * 2 == forward.states * 3
    assert back.memory >= 1.5 * forward.memory


@needs_compiler
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_as_many_states_as_the_launches_move(dtype: str) -> None:
    net = ar.BrickWall((2**10,), layers=4)
    launcher = ShimLauncher(shared=9000)
    run = fused(net, random_cores(net, 0, dtype), launcher)
    x, saved = run_keeping(run, "keep")
    run_adjoint(run, saved, np.ones_like(x))
    limits = Limits(9000, np.dtype(dtype).itemsize, launcher.processors, launcher.cache)
    passes = passes_of(10, run.wall.layers, limits)
    launched = [kernel for kernel, *_ in launcher.launched]
    assert sum(forward_cost(one, 10, limits).states for one in passes) == 2 * launched.count("tile_forward")
    assert sum(backward_cost(one, 10, 1, limits).states for one in passes) == 3 * launched.count("tile_backward")
    partials = {grid[0] for kernel, grid, _, _ in launcher.launched if kernel == "tile_backward"}
    assert partials == {bind(one, 10, limits, 0).blocks for one in passes}

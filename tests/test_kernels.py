"""The fused kernels' own source, executed on the CPU, against the steps in NumPy; three orders of threads."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import SMALL, compare, fused, needs_compiler, random_cores
from shim.launcher import ORDERS, ShimLauncher

import adntn_ref as ar
from adntn_ref.ad.activations import ACTIVATIONS
from adntn_ref.backends.fused import fused_run
from adntn_ref.backends.fused_tiles import TileRun
from adntn_ref.backends.fused_vectors import adam_step
from adntn_ref.backends.fused_windows import WindowRun
from adntn_ref.backends.launch import Instance
from adntn_ref.compression.optimisers import Adam
from adntn_ref.program.frames import Frames
from adntn_ref.program.schedule import run_adjoint, run_keeping
from adntn_ref.validation.strategies import brickwalls, trees

pytestmark = needs_compiler
DTYPES = ["float64", "float32"]


def tiled(net: Any) -> bool:
    return isinstance(net, ar.BrickWall) and set(net.placement.modes) == {2}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("every", ["layer", "column"])
def test_every_activation_in_tiles(activation: str, every: str, dtype: str) -> None:
    net = ar.BrickWall((500,), layers=3, activation=activation, activation_every=every)
    launcher = ShimLauncher("shuffled", shared=SMALL[dtype])
    compare(net, launcher, dtype)
    grids = [grid for kernel, grid, _, _ in launcher.launched if kernel == "tile_backward"]
    assert len(grids) > 2
    assert max(blocks for blocks, _ in grids) > 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_in_windows(activation: str, dtype: str) -> None:
    compare(ar.MERA((2**7,), chi=3, activation=activation), ShimLauncher("shuffled"), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("boundary", ["constant", "trainable"])
@pytest.mark.parametrize("modes", range(2, 13))
def test_every_number_of_modes(modes: int, boundary: str, dtype: str) -> None:
    """States smaller than what a thread holds, one tile, and several."""
    net = ar.BrickWall((2**modes,), layers=2, activation="tanh", boundary=boundary)
    for shared in (227 * 1024, SMALL[dtype]):
        launcher = ShimLauncher(shared=shared)
        run = fused_run(net.program, random_cores(net, 0, dtype), launcher)
        if modes == 2 and boundary == "constant":  # the start's column is the first brick, and layer 1 has another
            assert isinstance(run, TileRun)
        compare(net, launcher, dtype)


@pytest.mark.parametrize(("modes", "dtype"), [(13, "float64"), (14, "float32")])
def test_tiles_of_more_groups_than_threads(modes: int, dtype: str) -> None:
    """The largest tiles, states in scratch memory, and a block that goes through several groups a thread."""
    launcher = ShimLauncher("descending", processors=1)
    compare(ar.BrickWall((2**modes,), layers=3, activation="tanh"), launcher, dtype)
    assert any(threads == 256 for kernel, _, threads, _ in launcher.launched if kernel == "tile_backward")


@pytest.mark.parametrize("schedule", ["keep", "recompute", "checkpoints:0", "checkpoints:1", "checkpoints:2"])
@pytest.mark.parametrize("net", [
    ar.BrickWall((512,), layers=4, activation="gelu"),
    ar.BrickWall((360,), layers=3, modes=(3, 4, 5, 6), activation="sin"),
    ar.MERA((256,), chi=4),
    ar.ATTN((81,), chi=5, modes=(3, 3, 3, 3)),
    ar.TTN((256,), chi=16, activation="silu"),
], ids=repr)  # fmt: skip
def test_schedules_agree_to_the_bit(net: Any, schedule: str) -> None:
    launcher = ShimLauncher(shared=SMALL["float64"] if tiled(net) else 2**17)
    x, found = compare(net, launcher)
    again, e = compare(net, launcher, schedule=schedule)
    assert np.array_equal(x, again)
    assert all(np.array_equal(found[name], e[name]) for name in found)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("net", [
    ar.BrickWall((512,), layers=3, activation="tanh"),
    ar.BrickWall((2**9,), layers=3, activation="relu", boundary="trainable", activation_every="column"),
    ar.MERA((64,), chi=4),
], ids=repr)  # fmt: skip
def test_the_order_of_threads_and_blocks_does_not_matter(net: Any, dtype: str) -> None:
    """To the bit: no sum depends on who comes first."""
    results = []
    for order in ORDERS:
        run = fused(
            net, random_cores(net, 3, dtype), ShimLauncher(order, shared=2**13 if tiled(net) else 2**17, processors=3)
        )
        x, saved = run_keeping(run, "keep")
        results.append((x, run_adjoint(run, saved, np.cos(np.arange(len(x))).astype(dtype))))
    for x, found in results[1:]:
        assert np.array_equal(x, results[0][0])
        assert all(np.array_equal(found[name], results[0][1][name]) for name in found)


@given(brickwalls(), st.sampled_from(DTYPES), st.integers(0, 99), st.integers(12, 15), st.sampled_from(list(ORDERS)))
def test_any_brickwall(net: Any, dtype: str, seed: int, shared: int, order: str) -> None:
    launcher = ShimLauncher(order, shared=2**shared if tiled(net) else 2**17)
    run = fused_run(net.program, random_cores(net, seed, dtype), launcher)
    if isinstance(run, str):
        assert "no step" in run or "every" in run
        return
    assert isinstance(run, TileRun if tiled(net) else WindowRun)
    if net.activation not in ("relu", "leaky_relu") or dtype == "float64":  # float32 may choose another side of a kink
        compare(net, launcher, dtype, seed=seed)


@given(trees(), st.sampled_from(DTYPES), st.integers(0, 99), st.sampled_from(list(ORDERS)))
def test_any_tree(net: Any, dtype: str, seed: int, order: str) -> None:
    launcher = ShimLauncher(order)
    run = fused_run(net.program, random_cores(net, seed, dtype), launcher)
    if isinstance(run, str):
        assert "no step" in run or "(last, first)" in run
    elif net.activation not in ("relu", "leaky_relu") or dtype == "float64":
        compare(net, launcher, dtype, seed=seed)


def test_nothing_is_launched_twice_for_what_is_kept() -> None:
    net = ar.BrickWall((2**9,), layers=4)
    launcher = ShimLauncher(shared=SMALL["float64"])
    run = fused(net, random_cores(net, 0, "float64"), launcher)
    x, saved = run_keeping(run, "keep")
    run_adjoint(run, saved, x)
    kernels = [kernel for kernel, *_ in launcher.launched]
    assert kernels == ["product_start", *["tile_forward"] * run.count, *["tile_backward", "sum_partials"] * run.count]


def test_what_cannot_be_fused_says_why() -> None:
    def reason(net: Any, dtype: str = "float64", shared: int = 2**17) -> str:
        found = fused_run(net.program, random_cores(net, 0, dtype), ShimLauncher(shared=shared))
        assert isinstance(found, str)
        return found

    assert reason(ar.BrickWall((64,), layers=2, activation="identity"), "complex128") == (
        "fused kernels are written for cores all float32 or all float64, got complex128"
    )
    node = ar.TTN((16,), chi=2, activation_site="node")
    assert isinstance(node.program, Frames)
    assert "frames of a tree" in reason(node)
    assert "(last, first) of a periodic MERA" in reason(ar.MERA((64,), chi=2, periodic=True))
    assert "there is no step to run" in reason(ar.BrickWall((4,), layers=1))
    assert "a core is too large" in reason(ar.TTN((56**4,), chi=4, modes=(56,) * 4))
    net = ar.BrickWall((64,), layers=2)
    mixed = random_cores(net, 0, "float64")
    mixed["layer0.brick1"] = mixed["layer0.brick1"].astype("float32")
    assert "got float32, float64" in str(fused_run(net.program, mixed, ShimLauncher()))


def test_binary_walls_without_room_for_tiles_go_by_windows() -> None:
    net = ar.BrickWall((64,), layers=2)
    launcher = ShimLauncher(shared=1000)
    assert isinstance(fused_run(net.program, random_cores(net, 0, "float64"), launcher), WindowRun)


def test_arrays_that_are_not_contiguous_are_refused() -> None:
    x, table = np.zeros((4, 8))[:, ::2], np.zeros(3, dtype=np.int32)
    with pytest.raises(ValueError, match=r"argument 0 of a kernel, of shape \(4, 4\), is not C-contiguous"):
        ShimLauncher().launch(Instance("vectors", "float64"), "product_start", (1, 1), 32, 0, (x, x, table, 0, 0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("each", [False, True])
def test_adam_as_the_optimiser_writes_it(dtype: str, each: bool) -> None:
    rng = np.random.default_rng(0)
    adam, size = Adam(), 1000
    vector = rng.standard_normal(size).astype(dtype)
    rate = rng.uniform(1e-3, 1e-2, size) if each else np.array([3e-3])
    other, launcher = vector.copy(), ShimLauncher("shuffled")
    state, other_state = adam.start(vector), adam.start(other)
    for step in range(5):
        g = rng.standard_normal(size).astype(dtype)
        adam.update(vector, g, state, step, rate.astype(dtype))
        adam_step(launcher, adam, other, g, other_state, step, rate)
    rtol = 1e-15 if dtype == "float64" else 1e-6
    assert np.allclose(other, vector, rtol=rtol, atol=rtol)
    for name in ("first", "second"):
        assert np.allclose(other_state[name], state[name], rtol=10 * rtol, atol=0)


MISTAKES: dict[str, tuple[str, str]] = {
    "no barrier between rounds": (
        "write_group(target, first, at, v);\n    }\n    __syncthreads();",
        "write_group(target, first, at, v);\n    }",
    ),
    "no barrier before the sums of warps": (
        "write_group(g, first, at, y);\n        }\n    }\n    __syncthreads();",
        "write_group(g, first, at, y);\n        }\n    }",
    ),
    "a barrier that some threads miss": (
        "    __syncthreads();\n    for (int k = 0; k < rounds; ++k)",
        "    if (threadIdx.x > 3) __syncthreads();\n    for (int k = 0; k < rounds; ++k)",
    ),
    "a sum that forgets the groups before": ("begin ? *mine + sum : sum", "sum"),
    "the transpose forgotten": ("core[c] * y[0] + core[4 + c] * y[1]", "core[4 * c] * y[0] + core[4 * c + 1] * y[1]"),
    "sigma' of the wrong state": ("y[r] *= sigma_prime(source[", "y[r] *= sigma_prime(g["),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_planted_mistakes_are_noticed(mistake: str) -> None:
    """What these tests would see: each of these changes of the source is caught in at least one order."""
    right, wrong = MISTAKES[mistake]

    def change(source: str) -> str:
        if "tile_forward" not in source:
            return source
        assert source.count(right) == 1, "the planted mistake fits the source no more"
        return source.replace(right, wrong)

    net = ar.BrickWall((2**13,), layers=2, activation="tanh")
    caught = 0
    for order in ORDERS:
        try:
            compare(net, ShimLauncher(order, change=change))
        except AssertionError:
            caught += 1
    assert caught

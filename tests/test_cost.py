"""Costs: operations counted while they are done, bytes measured while they are held, and what each entry means."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.ad import ops
from adntn_ref.backends import numpy_runner
from adntn_ref.errors import DTypeError, SpecError
from adntn_ref.program.runs import StepsRun, run_of
from adntn_ref.program.schedule import run_adjoint, run_keeping
from adntn_ref.program.steps import Activate, Mix
from adntn_ref.program.windows import Window
from adntn_ref.validation.strategies import brickwalls, node_trees, shallow, trees, walls_and_mpos


class Counted(np.ndarray):
    """An array that counts the operations it takes part in: 2 a term of a product's sum, 1 an entry of the rest."""

    operations = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = [np.asarray(x) for x in inputs]
        kwargs["out"] = tuple(np.asarray(x) for x in kwargs["out"]) if "out" in kwargs else None
        out = getattr(ufunc, method)(*plain, **kwargs)
        if ufunc is np.matmul:
            Counted.operations += 2 * plain[0].shape[-1] * np.size(out)
        elif ufunc in (np.multiply, np.maximum, np.greater):
            Counted.operations += np.size(out)
        return np.asarray(out).view(Counted)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        out = super().__array_function__(func, types, args, kwargs)
        return out.view(Counted) if isinstance(out, np.ndarray) else out


def count(run: Any) -> int:
    Counted.operations = 0
    run()
    return Counted.operations


LINEAR_OR_RELU = st.one_of(brickwalls(("identity", "relu")), trees(("identity", "relu")))


@pytest.mark.parametrize("schedule", ["keep", "recompute", "checkpoints:1"])
@pytest.mark.parametrize("fused", [True, False])
@given(net=LINEAR_OR_RELU)
def test_operations_as_they_are_done(net: Any, fused: bool, schedule: str) -> None:
    """Exact: sigma is one operation an entry and its adjoint two (sigma' and the product), as relu's are done."""
    rng = np.random.default_rng(0)
    cores = {name: rng.standard_normal(shape).view(Counted) for name, shape in net.core_shapes.items()}
    cost = net.cost("float64", schedule, fused)
    g = rng.standard_normal(net.placement.generated).view(Counted)
    found: list[Any] = []

    def ahead() -> None:
        run = run_of(net.program, cores) if fused else StepsRun(net.program, cores)
        found.extend((run, run_keeping(run, schedule)[1]))

    with pytest.MonkeyPatch.context() as patch:
        plain = numpy_runner.scratch
        patch.setattr(numpy_runner, "scratch", lambda slot, n, dtype: plain(slot, n, dtype).view(Counted))
        fresh = numpy_runner.pool.empty
        patch.setattr(numpy_runner.pool, "empty", lambda n, dtype: fresh(n, dtype).view(Counted))
        unit = ops.unit_matrix
        patch.setattr(ops, "unit_matrix", lambda length, like: unit(length, like).view(Counted))
        assert count(ahead) == cost.flops_forward
        assert count(lambda: run_adjoint(*found, g)) == cost.flops_backward


@given(walls_and_mpos())
def test_totals(net: ar.Network) -> None:
    cost = net.cost("float64")
    assert (cost.parameters, cost.weights) == (net.parameter_count, net.weights)
    for kind in ("flops_forward", "flops_backward", "bytes_forward", "bytes_backward"):
        assert getattr(cost, kind) == sum(getattr(step, kind) for step in cost.steps)
    assert cost.largest_state_bytes == max(step.state_bytes for step in cost.steps)
    assert cost.largest_state_bytes >= 8 * net.weights
    assert cost.peak_bytes_forward <= cost.peak_bytes_backward
    loaded = json.loads(json.dumps(cost.to_dict()))
    assert loaded["flops_forward"] == cost.flops_forward
    assert [step["step"] for step in loaded["steps"]] == [step.step for step in cost.steps]
    assert net.cost().dtype == "float32"
    assert net.cost().peak_bytes_backward * 2 == cost.peak_bytes_backward
    imaginary = net.cost("complex128")
    assert (imaginary.flops_forward, imaginary.flops_backward) == (4 * cost.flops_forward, 4 * cost.flops_backward)
    assert imaginary.bytes_forward == 2 * cost.bytes_forward
    assert hash(cost) == hash(net.cost("float64"))


def test_a_wall_in_numbers() -> None:
    """Q = 4, one layer, constant boundary: 16 products for the start; the brick in the middle with the last mode
    beside it makes one window of 8 x 8.
    """
    cost = ar.BrickWall((16,), layers=1).cost("float32", fused=False)
    assert [step.step for step in cost.steps] == ["layer0.even", "layer0.odd"]
    # 64 products make the window's matrix of brick and unit matrix, 64 terms of a sum take its environment apart
    assert [step.flops_forward for step in cost.steps] == [16, 2 * 8 * 16 + 64]
    assert [step.flops_backward for step in cost.steps] == [2 * 2 * 16, 4 * 8 * 16 + 2 * 64]
    assert [step.state_bytes for step in cost.steps] == [64, 64]
    assert cost.peak_bytes_forward == 128


def test_an_mpo_in_numbers() -> None:
    net = ar.MPO((6, 4), chi=3, row_modes=(2, 3), col_modes=(2, 2))
    assert net.core_shapes == {"core0": (1, 2, 2, 3), "core1": (3, 3, 2, 1)}
    cost = net.cost("float64")
    assert cost.flops_forward == 2 * (6 * 4) * 3
    assert cost.flops_backward == 2 * cost.flops_forward
    assert cost.largest_state_bytes == 8 * 24
    assert [step.state_bytes for step in cost.steps] == [8 * 12, 8 * 24]


def test_operations_of_an_mpo_as_einsum_counts_them() -> None:
    net = ar.MPO((64, 16), chi=5)
    total, columns = 0, 1
    state = net.core_shapes["core0"][1:]
    rows, columns, bond = state
    for shape in list(net.core_shapes.values())[1:]:
        _, r, c, after = shape
        total += 2 * rows * columns * bond * r * c * after
        rows, columns, bond = rows * r, columns * c, after
    assert net.cost().flops_forward == total


@pytest.mark.parametrize("net", [ar.BrickWall((8,), layers=1), ar.MPO((4, 4), chi=2)], ids=["brickwall", "mpo"])
def test_refusals(net: ar.Network) -> None:
    for dtype in ("int64", "float16", None):
        with pytest.raises(DTypeError, match="no cost for dtype"):
            net.cost(dtype)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="keep"):
        net.cost(schedule="store")


def test_windows_take_part_in_the_count() -> None:
    step = Mix("column", (2,) * 6, ((0, "a"), (2, "b"), (4, "c")))
    assert [window.inputs for window in step.windows] == [16, 4]
    # the matrix of two bricks: 256 products; its environment is traced with one brick and with the other
    assert step.flops() == (2 * (4 + 16) * 64 + 256, 4 * (4 + 16) * 64 + 2 * 2 * 256)
    assert all(isinstance(window, Window) for window in step.windows)
    assert Activate("sigma", (2, 2), ar.ad.activations.get_activation("relu")).core_names == ()


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@given(net=st.one_of(brickwalls(("identity",)), trees(("identity",)), node_trees(("identity",)), shallow()))
def test_every_network_schedule_and_dtype(net: Any, dtype: str) -> None:
    """Whole numbers, sizes in proportion to the dtype's, a state for every step; no schedule does less than keep."""
    item = np.dtype(dtype).itemsize
    keep = net.cost(dtype)
    for schedule in ("keep", "recompute", "checkpoints:1") if hasattr(net, "program") else ("keep",):
        cost = net.cost(dtype, schedule)
        assert (cost.dtype, cost.schedule) == (dtype, schedule)
        assert cost.flops_forward == keep.flops_forward
        assert cost.flops_backward >= keep.flops_backward
        facts = json.loads(json.dumps(cost.to_dict()))
        for entry in (facts, *facts["steps"]):
            for name, value in entry.items():
                if "bytes" in name:
                    assert type(value) is int
                    assert value % item == 0, name
        assert all(step.state_bytes > 0 for step in cost.steps)
        made = net.weights if len(net.core_shapes) > 1 else 0  # a chain of one core is a view of it
        assert cost.peak_bytes_forward >= item * made
        assert cost.peak_bytes_backward >= item * (made + net.weights)
        assert cost.largest_state_bytes == max(step.state_bytes for step in cost.steps)

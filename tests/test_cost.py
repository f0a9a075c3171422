"""Costs: operations counted while they are done, bytes measured while they are held, and what each entry means."""

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import adntn_ref as ar
from adntn_ref.errors import DTypeError, SpecError
from adntn_ref.program.steps import Activate, Mix, Product
from adntn_ref.program.windows import Window
from adntn_ref.validation.strategies import brickwalls, walls_and_mpos


class Counted(np.ndarray):
    """An array that counts the operations of every product it takes part in: 2 a term of a sum, 1 a product."""

    products = 0
    matrices = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = [np.asarray(x) for x in inputs]
        out = getattr(ufunc, method)(*plain, **kwargs)
        if ufunc is np.matmul:
            Counted.matrices += 2 * plain[0].shape[-1] * np.size(out)
        elif ufunc is np.multiply:
            Counted.products += np.size(out)
        return np.asarray(out).view(Counted)


def count(run: Any) -> tuple[int, int]:
    Counted.products = Counted.matrices = 0
    run()
    return Counted.products, Counted.matrices


def counted(params: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: core.view(Counted) for name, core in params.items()}


@given(brickwalls())
def test_operations_as_they_are_done(net: ar.BrickWall) -> None:
    rng = np.random.default_rng(0)
    cores = counted({name: rng.standard_normal(shape) for name, shape in net.core_shapes.items()})
    size = net.placement.generated
    x, g = rng.standard_normal((2, size)).view(Counted)
    steps = {step.step: step for step in net.cost("float64").steps}
    for step in net.program.all_steps:
        cost = steps[step.name]
        if isinstance(step, Product):
            assert cost.flops_forward == count(lambda step=step: step.forward(cores))[0]
            kept = step.forward(cores)[1]
            assert cost.flops_backward == sum(count(lambda step=step, kept=kept: step.adjoint(cores, kept, g)))
        elif isinstance(step, Mix):
            assert cost.flops_forward == count(lambda step=step: step.forward(cores, x))[1]
            assert cost.flops_backward == count(lambda step=step: window_products(step, x, g))[1]
        else:
            assert (cost.flops_forward, cost.flops_backward) == (size, 2 * size)


def window_products(step: Mix, x: Any, g: Any) -> None:
    """The products of the adjoint that grow with the state; splitting a window among its cores does not."""
    for window in step.windows:
        window.environment(g, x)
        window.apply(np.eye(window.inputs).view(Counted), g)


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
    cost = ar.BrickWall((16,), layers=1).cost("float32")
    assert [step.step for step in cost.steps] == ["layer0.even", "layer0.odd"]
    assert [step.flops_forward for step in cost.steps] == [16, 2 * 8 * 16]
    assert [step.flops_backward for step in cost.steps] == [2 * 2 * 16, 4 * 8 * 16]
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
        net.cost(schedule="recompute")


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_memory_as_it_is_held(activation: str) -> None:
    """The peaks are what the limit is compared with: neither above them nor far below (small arrays aside)."""
    net = ar.BrickWall((2**18,), layers=3, activation=activation)
    params, cost = net.init(), net.cost("float64")
    forward = peak(lambda: net.generate(params))
    assert 0.9 * cost.peak_bytes_forward < forward < 1.05 * cost.peak_bytes_forward
    backward = peak(lambda: run_both(net, params))
    assert 0.8 * cost.peak_bytes_backward < backward < 1.1 * cost.peak_bytes_backward


def run_both(net: ar.BrickWall, params: dict[str, np.ndarray]) -> None:
    weight, pullback = net.vjp(params)
    pullback(weight)


def peak(run: Any) -> int:
    run()
    tracemalloc.start()
    run()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_windows_take_part_in_the_count() -> None:
    step = Mix("column", (2,) * 6, ((0, "a"), (2, "b"), (4, "c")))
    assert [window.inputs for window in step.windows] == [16, 4]
    assert step.flops() == (2 * (4 + 16) * 64, 4 * (4 + 16) * 64)
    assert all(isinstance(window, Window) for window in step.windows)
    assert Activate("sigma", (2, 2), ar.ad.activations.get_activation("relu")).core_names == ()


def test_a_periodic_pair_holds_a_third_state() -> None:
    net = ar.MERA((2**16,), 2, periodic=True)
    params = net.init(0)
    net.generate(params)
    tracemalloc.start()
    net.generate(params)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    counted = net.cost("float64").peak_bytes_forward
    assert counted == 3 * 8 * 2**16
    assert 0.9 * counted < peak < 1.1 * counted + 2**16

"""Parameters and cotangents that do not fit their network, and work above the memory limit."""

from typing import Any

import numpy as np
import pytest
from counting import little
from elsewhere import place, there

import adntn_ref as ar
from adntn_ref.errors import ArrayError, DTypeError, MemoryLimitError, ParameterError
from adntn_ref.program import memory

WALL = ar.BrickWall((4, 6), layers=3)
LINEAR = ar.BrickWall((4, 6), layers=3, activation="identity")
MPO = ar.MPO((4, 6), chi=3)
NETS = pytest.mark.parametrize("net", [WALL, MPO], ids=["brickwall", "mpo"])


def entries(net: ar.Network) -> list[Any]:
    """Every public way in."""
    ways: list[Any] = [net.check_params, net.generate, net.vjp]
    if isinstance(net, ar.BrickWall):
        ways += [net.generate_stepwise, net.forward_states]
    return ways


def refused(net: ar.Network, params: Any, error: type[Exception], sentence: str) -> None:
    for way in entries(net):
        with pytest.raises(error, match=sentence):
            way(params)


@NETS
def test_wrong_names(net: ar.Network) -> None:
    params = net.init()
    first = next(iter(params))
    renamed = {("core" + name if name == first else name): core for name, core in params.items()}
    refused(net, {k: v for k, v in params.items() if k != first}, ParameterError, f"missing cores {first}")
    refused(net, {**params, "extra": params[first]}, ParameterError, "cores it has not: extra")
    refused(net, {**params, 7: params[first]}, ParameterError, "cores it has not: 7")
    refused(net, renamed, ParameterError, f"missing cores {first}; cores it has not: core{first}")
    refused(net, {}, ParameterError, "missing cores")
    many = {f"x{i}": params[first] for i in range(9)}
    refused(net, {**params, **many}, ParameterError, "x0, x1, x2, x3, x4 and 4 more")


def test_many_missing() -> None:
    refused(WALL, {}, ParameterError, "and 7 more")


@NETS
@pytest.mark.parametrize("given", [None, [], (1, 2), "params", np.ones(3)], ids=lambda x: type(x).__name__)
def test_not_a_dict(net: ar.Network, given: Any) -> None:
    refused(net, given, ParameterError, "parameters must be a dict")


@NETS
def test_wrong_shapes(net: ar.Network) -> None:
    params = net.init()
    for name, core in params.items():
        for other in (core.reshape(-1), core[..., :0], core[None]):
            refused(net, {**params, name: other}, ParameterError, rf"core {name} has shape .* needs")
    name = next(iter(params))
    refused(net, {**params, name: params[name].tolist()}, ParameterError, f"core {name} must be an array, got a list")
    refused(net, {**params, name: 1.0}, ParameterError, f"core {name} must be an array, got a float")


@NETS
@pytest.mark.parametrize("dtype", ["int64", "float16", "bool", "uint8", "longdouble", "object"])
def test_wrong_dtypes(net: ar.Network, dtype: str) -> None:
    params = net.init()
    name = list(params)[-1]
    refused(net, {k: v.astype(dtype) for k, v in params.items()}, DTypeError, "has dtype .*allowed: float32, float64")
    refused(net, {**params, name: params[name].astype(dtype)}, DTypeError, f"core {name} has dtype")


@NETS
def test_mixed_dtypes(net: ar.Network) -> None:
    params = net.init()
    name = list(params)[1]
    refused(net, {**params, name: params[name].astype("float32")}, DTypeError, f"core {name} has dtype float32, those")


def test_complex_parameters() -> None:
    params = {name: core.astype("complex128") for name, core in WALL.init().items()}
    refused(WALL, params, DTypeError, "complex128; allowed: float32, float64")
    assert there(LINEAR.generate)(params).dtype == "complex128"
    one_layer = ar.BrickWall((4, 6), layers=1)
    for dtype in ("complex64", "complex128"):
        cores = {name: core.astype(dtype) for name, core in one_layer.init().items()}
        weight, pullback = there(one_layer.vjp)(cores)
        assert {weight.dtype, *(g.dtype for g in pullback(weight).values())} == {np.dtype(dtype)}


@NETS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_in_dtype_out(net: ar.Network, dtype: str) -> None:
    params = net.init(dtype=dtype)
    weight, pullback = there(net.vjp)(params)
    taped = there(ar.grad(lambda p: net.generate(p).sum()))(params)
    found = [weight, *pullback(weight).values(), *taped.values(), there(net.generate)(params)]
    assert {x.dtype for x in found} == {np.dtype(dtype)}


@NETS
def test_wrong_cotangents(net: ar.Network) -> None:
    weight, pullback = net.vjp(net.init())
    for shape in [(24,), (6, 4), (4, 6, 1), (4, 5), ()]:
        with pytest.raises(ArrayError, match="the cotangent has shape"):
            pullback(np.ones(shape))
    for other in [weight.tolist(), 1.0, None]:
        with pytest.raises(ArrayError, match="the cotangent has shape"):
            pullback(other)
    for dtype in ["float32", "int64", "complex128"]:
        with pytest.raises(DTypeError, match=f"the cotangent has dtype {dtype}"):
            pullback(weight.astype(dtype))


@NETS
def test_a_variable_among_arrays_is_enough_for_the_tape(net: ar.Network) -> None:
    params = net.init(rng=2)
    name = list(params)[1]
    found = there(ar.grad(lambda core: net.generate({**place(params), name: core}).sum()))(params[name])
    expected = there(net.vjp)(params)[1](np.ones((4, 6)))[name]
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-14)


# Memory


def test_a_large_weight_is_refused_before_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(memory.LIMIT_VARIABLE, "1GiB")
    large = ar.BrickWall((2**45,), layers=2)
    expected = r"from 45 modes in float64 needs 2.62e\+05 GiB, and the limit is 1 GiB"
    with little(), pytest.raises(MemoryLimitError, match=expected):
        large.init()
    params = {name: np.zeros(shape, "float32") for name, shape in large.core_shapes.items()}
    for way in entries(large)[1:]:
        with little(), pytest.raises(MemoryLimitError, match="GiB"):
            way(params)
    with little(), pytest.raises(MemoryLimitError, match="and its gradient"):
        ar.grad(lambda p: large.generate(p).sum())(params)
    with little(), pytest.raises(MemoryLimitError, match=r"4 GiB"):
        ar.MPO((2**14, 2**14), chi=2).init()


def test_cores_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two modes of 200: a state of 40,000 numbers, and bricks of 1.6e9."""
    monkeypatch.setenv(memory.LIMIT_VARIABLE, "2GiB")
    net = ar.BrickWall((200, 200), layers=2, modes=(200, 200))
    with pytest.raises(MemoryLimitError, match=r"needs 11\.9 GiB, and the limit is 2 GiB"):
        net.init()


def test_the_gradient_needs_more_than_the_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    net = ar.BrickWall((2**22,), layers=3)
    cost = net.cost("float32")
    monkeypatch.setenv(memory.LIMIT_VARIABLE, str(cost.peak_bytes_backward // 2))
    assert cost.peak_bytes_forward < cost.peak_bytes_backward // 2
    params = {name: np.zeros(shape, "float32") for name, shape in net.core_shapes.items()}
    with pytest.raises(MemoryLimitError, match="generating the weight and its gradient"):
        net.vjp(params, schedule="keep")
    net.require_memory("float32", backward=False)


def test_small_networks_are_held_to_a_chosen_limit_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(memory.LIMIT_VARIABLE, raising=False)
    monkeypatch.setattr(memory, "free_bytes", lambda: 0)
    params = WALL.init()
    assert WALL.generate(params).shape == (4, 6)
    large = ar.BrickWall((2**24,), layers=1)
    with pytest.raises(MemoryLimitError, match="the limit is 0 GiB"):
        large.init()
    monkeypatch.setenv(memory.LIMIT_VARIABLE, "1KiB")
    with pytest.raises(MemoryLimitError, match="GiB"):
        WALL.generate(params)

"""Networks recorded as lists of operations: played by NumPy's functions, they give weight and gradients again."""

from typing import Any

import numpy as np
import pytest
from adapter_cases import NAMED, complexified, drawn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

import adntn_ref as ar
from adntn_ref.interop.recording import Recorder, play, record
from adntn_ref.validation.gpu import cases
from adntn_ref.validation.strategies import cotangents, networks, parameters

NETWORKS = {**NAMED, **cases.networks()}


def scatter(values: Any, index: Any, shape: Any) -> Any:
    out = np.zeros(shape, values.dtype)
    out[index] = values
    return out


def functions(constants: Any, dtype: str) -> dict[str, Any]:
    names = ("add", "subtract", "multiply", "divide", "negative", "greater", "maximum", "exp", "sin", "cos", "tanh")
    return {
        **{name: getattr(np, name) for name in (*names, "conj", "real", "matmul")},
        "erf": erf,
        "astype": lambda x, dtype: x.astype(dtype),
        "sum": lambda x, axis, keepdims: x.sum(axis=axis, keepdims=keepdims),
        "reshape": lambda x, shape: x.reshape(shape),
        "transpose": lambda x, axes: x.transpose(axes),
        "broadcast_to": lambda x, shape: np.broadcast_to(x, shape),
        "concatenate": lambda *arrays, axis: np.concatenate(arrays, axis),
        "getitem": lambda x, index: x[index],
        "scatter": scatter,
        "eye": lambda shape: np.eye(*shape, dtype=dtype),
        "constant": lambda number: constants[number].astype(dtype),
        "contiguous": np.ascontiguousarray,
        "copy": np.copy,
    }


def check(network: ar.Network, params: dict[str, np.ndarray], g: Any, dtype: str) -> None:
    recording = record(network, dtype)
    table = functions(recording.constants, dtype)
    assert table.keys() == set(Recorder.FUNCTIONS)
    before = {name: core.copy() for name, core in params.items()}
    given = {number: params[name] for name, number in zip(network.core_shapes, recording.cores, strict=True)}
    weight, pullback = network.vjp(params)
    several, shares = (weight, g) if isinstance(weight, dict) else ({"": weight}, {"": g})
    wanted = {number for _, number in recording.weights}
    alone = play(recording.alone, table, given)
    assert alone.keys() == given.keys() | wanted  # all else was dropped on the way
    made = play(recording.forward, table, given)
    for values in (alone, made):
        for name, number in recording.weights:
            close(values[number], several[name])
            assert not any(np.may_share_memory(values[number], core) for core in params.values())
    values = {**given, **{number: made[number] for number in recording.kept}}
    values |= {n: shares[name] for n, (name, _) in zip(recording.cotangents, recording.weights, strict=True)}
    found = play(recording.backward, table, values)
    expected = pullback(g)
    scale = max(float(np.abs(x).max()) for x in expected.values())
    for name, number in zip(network.core_shapes, recording.gradients, strict=True):
        close(found[number], expected[name], scale)
    assert all(np.array_equal(params[name], core) for name, core in before.items())


def close(got: Any, expected: Any, scale: float | None = None) -> None:
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    rtol = 1e-5 if expected.dtype in ("float32", "complex64") else 1e-12
    size = float(np.abs(expected).max()) if scale is None else scale
    np.testing.assert_allclose(got, expected, rtol=0, atol=rtol * size + 1e-300)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network(name: str) -> None:
    check(NETWORKS[name], *drawn(NETWORKS[name], "float64"), "float64")


@pytest.mark.parametrize("name", ["brickwall odd, trainable", "mera periodic", "ttn nodes", "cp", "nested", "tucker"])
@pytest.mark.parametrize("dtype", ["float32", "complex128", "complex64"])
def test_dtypes(name: str, dtype: str) -> None:
    network = complexified(NAMED[name]) if dtype.startswith("complex") else NAMED[name]
    check(network, *drawn(network, dtype), dtype)


@settings(max_examples=15)
@given(data=st.data())
def test_random_networks(data: st.DataObject) -> None:
    network = data.draw(networks(limit=64))
    check(network, data.draw(parameters(network)), data.draw(cotangents(network)), "float64")


def test_a_weight_that_is_a_core_is_copied() -> None:
    """One pair of modes: the MPO is its one core under another shape."""
    network = ar.MPO((3, 2), chi=2, row_modes=(3,), col_modes=(2,))
    assert [step.function for step in record(network, "float64").alone][-1] == "copy"
    check(network, *drawn(network, "float64"), "float64")


def test_a_recording_is_made_once() -> None:
    assert record(ar.BrickWall((4, 4), 2), "float64") is record(ar.BrickWall((4, 4), 2), "float64")
    assert record(ar.BrickWall((4, 4), 2), "float64") is not record(ar.BrickWall((4, 4), 2), "float32")


def test_what_is_alive_is_counted() -> None:
    network = ar.BrickWall((64, 64), layers=4)
    peak = record(network, "float64").peak_entries
    assert 4 * 4096 < peak < 60 * 4096


def test_the_forward_pass_alone_makes_nothing_for_the_adjoint() -> None:
    recording = record(ar.LowRank((4, 3), rank=2), "float64")
    assert len(recording.alone) == 1
    assert recording.kept == ()

"""Several networks at once: the same bits as one by one, whatever the chunks, and refusals that say what was got."""

from typing import Any

import numpy as np
import pytest
from elsewhere import there
from hypothesis import given, settings
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.backends import numpy_runner
from adntn_ref.errors import ArrayError, MemoryLimitError, ParameterError
from adntn_ref.program import plan as plans
from adntn_ref.program.plan import plan_of
from adntn_ref.validation.strategies import brickwalls, trees, walls_and_mpos

SAME_PRODUCTS = np.lib.NumpyVersion(np.__version__) >= "2.3.0"
"""Whether NumPy's batched products of small matrices are those of one matrix, to the bit."""


def equal(a: Any, b: Any) -> bool:
    if SAME_PRODUCTS:
        return np.array_equal(a, b)
    room = 1e-12 if a.dtype == "float64" else 2e-5
    return a.shape == b.shape and float(np.abs(a - b).max()) <= room * max(1.0, float(np.abs(b).max()))


def stacked(net: Any, count: int, dtype: str = "float64") -> tuple[list[dict[str, Any]], dict[str, Any]]:
    rng = np.random.default_rng(3)
    each = [{name: rng.standard_normal(s).astype(dtype) for name, s in net.core_shapes.items()} for _ in range(count)]
    return each, {name: np.stack([one[name] for one in each]) for name in net.core_shapes}


def same_bits(net: Any, count: int, dtype: str = "float64") -> None:
    each, params = stacked(net, count, dtype)
    before = {name: core.copy() for name, core in params.items()}
    weights, pullback = there(ar.vjp_many)(net, params)
    g = np.random.default_rng(1).standard_normal(weights.shape).astype(dtype)
    found = pullback(g)
    assert weights.dtype == dtype
    assert weights.flags.c_contiguous
    assert list(found) == list(net.core_shapes)
    for k, one in enumerate(each):
        weight, pull = there(net.vjp)(one)
        assert equal(weights[k], weight)
        for name, mine in pull(g[k]).items():
            assert found[name].dtype == dtype
            assert equal(found[name][k], mine), name
    assert all(np.array_equal(params[name], before[name]) for name in params)


@given(net=st.one_of(brickwalls(), trees(), walls_and_mpos()), count=st.integers(1, 3))
def test_the_bits_of_each_alone(net: Any, count: int) -> None:
    same_bits(net, count)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("modes", [9, 12, 13])
def test_binary_walls(modes: int, dtype: str) -> None:
    same_bits(ar.BrickWall((2**modes,), layers=3, activation="tanh"), 5, dtype)


def test_a_weight_whose_axes_are_turned() -> None:
    """One transposed weight, stacked, would stay transposed in memory."""
    same_bits(ar.BrickWall((2, 2), 1, layout="interleaved", row_modes=(1, 2), col_modes=(2,)), 1)


@pytest.mark.parametrize("chunk", [16, 64, 1024])
def test_whatever_the_chunks(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks hold part of one network, large ones several networks, the last group not full."""
    plan_of.cache_clear()
    for module in (plans, numpy_runner):
        monkeypatch.setattr(module, "CHUNK", chunk)
    monkeypatch.setattr(plans, "LEADING", 8)
    same_bits(ar.BrickWall((10, 12), layers=2), 20)
    plan_of.cache_clear()


@settings(max_examples=10)
@given(walls_and_mpos())
def test_one_product_for_all_networks(net: Any) -> None:
    """A wall's windows are called as often for five networks as for one."""
    if not isinstance(net, ar.BrickWall) or plan_of(net.program) is None:
        return
    calls = []
    for count in (1, 5):
        with pytest.MonkeyPatch.context() as patch:
            seen: list[int] = []
            plain = numpy_runner.apply
            patch.setattr(numpy_runner, "apply", lambda *a, seen=seen, plain=plain: seen.append(1) or plain(*a))
            ar.vjp_many(net, stacked(net, count)[1])
            calls.append(len(seen))
    assert calls[0] == calls[1] > 0


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    net = ar.BrickWall((8,), layers=2)
    each, params = stacked(net, 3)
    with pytest.raises(ParameterError, match="dict of stacked arrays"):
        ar.vjp_many(net, {})
    with pytest.raises(ParameterError, match="one and the same number"):
        ar.vjp_many(net, {**params, "layer0.brick0": params["layer0.brick0"][:2]})
    with pytest.raises(ParameterError, match=r"missing cores layer0\.brick0"):
        ar.vjp_many(net, {name: core for name, core in params.items() if name != "layer0.brick0"})
    with pytest.raises(ParameterError, match="has shape"):
        ar.vjp_many(net, each[0])
    with pytest.raises(ArrayError, match="cotangents have shape"):
        ar.vjp_many(net, params)[1](np.zeros((3, 9)))
    with pytest.raises(ParameterError, match="tape variables"):
        ar.grad(lambda p: ar.ad.sum(ar.vjp_many(net, p)[0]))(params)
    monkeypatch.setenv("ADNTN_REF_MEMORY_LIMIT", "1KiB")
    with pytest.raises(MemoryLimitError, match="3 times"):
        ar.vjp_many(net, params)

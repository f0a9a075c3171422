"""Weights, gradients and states of every network against the dense oracle, which shares no code with the package."""

from typing import Any

import numpy as np
import pytest
from elsewhere import alike, there
from hypothesis import given, settings
from hypothesis import strategies as st
from network_cases import RTOL, Case, cases, close, close_all, norm

import adntn_ref as ar
from adntn_ref.validation import dense
from adntn_ref.validation.strategies import brickwalls, mpos, walls_and_mpos

MANY = settings(max_examples=4 * settings().max_examples)


def size_of_terms(case: Case) -> float:
    """The gradient of the same sums without signs and sigma: rounding is relative to this where terms cancel."""
    net, params, g = case
    spec = {**net.to_spec(), "activation": "identity"}
    return norm(dense.vjp(spec, {name: np.abs(core) for name, core in params.items()}, np.abs(g)))


def check_case(case: Case, rtol: float = RTOL) -> None:
    net, params, g = case
    spec = net.to_spec()
    weight, pullback = there(net.vjp)(params)
    gradients = pullback(g)
    state = np.linalg.norm(dense.states(spec, params)[-1][1]) if spec["network"] == "brickwall" else 0.0
    close(weight, dense.generate(spec, params), rtol, float(state))
    assert alike(there(net.generate)(params), weight) or rtol > RTOL
    close(there(net.generate)(params), weight, rtol, float(state))
    close_all(gradients, dense.vjp(spec, params, g), rtol, size_of_terms(case) * (1e-2 if rtol == RTOL else 1.0))
    assert weight.dtype == g.dtype
    assert list(gradients) == list(net.core_shapes)
    assert {x.dtype for x in gradients.values()} == {g.dtype}


@MANY
@given(cases(walls_and_mpos()))
def test_double(case: Case) -> None:
    check_case(case)


@MANY
@given(cases(walls_and_mpos(("identity",)), "complex128"))
def test_complex(case: Case) -> None:
    check_case(case)


@MANY
@given(cases(walls_and_mpos(), "float32"))
def test_single(case: Case) -> None:
    # Depth 8, sums of up to 512 terms: 2e-5 is 170 units of rounding. Kinks: an entry whose sign rounding flips is
    # itself of the size of rounding, but its derivative is not; relu and leaky_relu stand in the next test.
    net, params, _ = case
    if getattr(net, "activation", "") in ("relu", "leaky_relu"):
        close(there(net.generate)(params), dense.generate(net.to_spec(), params), 2e-5, 1e-3 + state_size(net, params))
        return
    check_case(case, 2e-5)


def state_size(net: ar.Network, params: dict[str, np.ndarray]) -> float:
    return float(max(np.linalg.norm(x) for _, x in dense.states(net.to_spec(), params)))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_single_with_kinks(activation: str) -> None:
    net = ar.BrickWall((6, 8), layers=4, activation=activation, boundary="trainable")
    params = net.init(rng=5, dtype="float32")
    nearest = min(float(np.abs(x).min()) for name, x in dense.states(net.to_spec(), params) if name.endswith("column1"))
    assert nearest > 1e-5
    g = np.random.default_rng(0).standard_normal((6, 8)).astype("float32")
    check_case((net, params, g), 1e-5)


@MANY
@given(cases(walls_and_mpos()), st.sampled_from(["fortran", "negative", "strided", "read-only", "offset"]))
def test_memory_layouts(case: Case, kind: str) -> None:
    net, params, g = case
    before = {name: core.copy() for name, core in params.items()}
    weight, pullback = there(net.vjp)(params)
    gradients = pullback(g)
    other, other_pullback = there(net.vjp)({name: laid_out(core, kind) for name, core in params.items()})
    # BLAS may add in another order for another layout.
    size = state_size(net, params) if isinstance(net, ar.BrickWall) else float(np.linalg.norm(weight))
    close(other, weight, 1e-13, size)
    close_all(other_pullback(laid_out(g, kind)), gradients, 1e-13)
    close(there(net.generate)({name: laid_out(core, kind) for name, core in params.items()}), weight, 1e-13, size)
    for name, core in before.items():
        assert np.array_equal(core, params[name])


def laid_out(x: np.ndarray, kind: str) -> np.ndarray:
    if kind == "fortran":
        return np.asfortranarray(x)
    if kind == "negative":
        return np.ascontiguousarray(x[(slice(None, None, -1),) * x.ndim])[(slice(None, None, -1),) * x.ndim]
    if kind == "strided":
        return np.repeat(x, 2, axis=-1)[..., ::2]
    if kind == "offset":
        raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)  # not aligned
        raw[...] = x
        return raw
    x = x.copy()
    x.flags.writeable = False
    return x


@MANY
@given(cases(walls_and_mpos()))
def test_results_are_contiguous_and_own_kind(case: Case) -> None:
    net, params, g = case
    weight, pullback = there(net.vjp)(params)
    assert type(weight) is np.ndarray
    assert weight.flags.c_contiguous
    assert there(net.generate)(params).flags.c_contiguous
    assert all(x.flags.c_contiguous for x in pullback(g).values())


@MANY
@given(cases(walls_and_mpos()))
def test_pullback_twice_and_linear(case: Case) -> None:
    net, params, g = case
    _, pullback = there(net.vjp)(params)
    once, again, double = pullback(g), pullback(g), pullback(2 * g)
    for name in once:
        assert np.array_equal(once[name], again[name])
        assert np.array_equal(2 * once[name], double[name])


@MANY
@given(cases(brickwalls()))
def test_states(case: tuple[ar.BrickWall, dict[str, np.ndarray], np.ndarray]) -> None:
    net, params, _ = case
    got = there(net.forward_states)(params)
    expected = {label: x for label, x in dense.states(net.to_spec(), params) if package_name(net, label) is not None}
    assert list(got) == [package_name(net, label) for label in expected]
    for x, y in zip(got.values(), expected.values(), strict=True):
        assert x.shape == net.modes
        close(x.reshape(-1), y, RTOL, state_size(net, params))


def package_name(net: ar.BrickWall, label: str) -> str | None:
    """Return the package's name of a state of the oracle; with the constant boundary its first is after column 0."""
    if label == "start":
        return "start" if net.boundary == "trainable" else None
    named = label.replace("column0", "even").replace("column1", "odd")
    if label.endswith(".activation") and net.activation_every == "layer":
        return label.partition(".")[0] + ".activation"
    return named


@MANY
@given(cases(mpos()))
def test_mpo_by_einsum(case: tuple[ar.MPO, dict[str, np.ndarray], np.ndarray]) -> None:
    net, params, _ = case
    rows, columns = net.row_modes, net.col_modes
    assert rows is not None
    assert columns is not None
    count = len(rows)
    operands: list[Any] = []
    for k in range(count):
        operands += [params[f"core{k}"], [2 * count + k, k, count + k, 2 * count + k + 1]]
    whole = np.einsum(*operands, list(range(2 * count)), optimize="greedy")
    block = whole.reshape(np.prod(rows), np.prod(columns))[: net.shape[0], : np.prod(net.shape[1:], dtype=int)]
    close(there(net.generate)(params), block.reshape(net.shape), RTOL, float(np.linalg.norm(whole)))


def test_oracle_refuses_large_and_unknown() -> None:
    with pytest.raises(ValueError, match="4096"):
        dense.generate({"network": "brickwall", "shape": [8192], "layers": 1}, {})
    with pytest.raises(ValueError, match="knows"):
        dense.vjp({"network": "mera", "shape": [4], "layers": 1}, {}, np.ones(4))
    with pytest.raises(ValueError, match="state"):
        dense.states({"network": "mpo", "shape": [4, 4], "chi": 1}, {})


@pytest.mark.parametrize(
    "net", [ar.BrickWall((2, 2), layers=1), ar.BrickWall((1, 2), layers=1, modes=(1, 2, 2))], ids=str
)
def test_weights_and_gradients_are_no_views(net: ar.BrickWall) -> None:
    """Nobody who changes a weight or a gradient in place may change parameters or a cotangent."""
    params = net.init(0)
    weight, pullback = there(net.vjp)(params)
    cotangent = np.ones(net.shape)
    for gradient in pullback(cotangent).values():
        assert gradient.flags.c_contiguous
        assert not np.shares_memory(gradient, cotangent)
    for core in params.values():
        assert not np.shares_memory(there(net.generate)(params), core)
        assert not np.shares_memory(weight, core)

"""Gradients of networks by four routes: closed form, tape, numerical differentiation, and all of them twice."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from elsewhere import alike, place, there
from hypothesis import given, settings
from hypothesis import strategies as st
from network_cases import Case, Params, cases, close_all, slope_along, waves

import adntn_ref as ar
from adntn_ref import ad
from adntn_ref.program.steps import Mix
from adntn_ref.validation import dense
from adntn_ref.validation.strategies import ANALYTIC, brickwalls, walls_and_mpos

MANY = settings(max_examples=4 * settings().max_examples)


def inner(a: Any, b: Any) -> Any:
    return ad.sum(ad.real(ad.conj(b) * a))


def small() -> st.SearchStrategy[ar.Network]:
    return walls_and_mpos(limit=128)


@MANY
@given(cases(walls_and_mpos()))
def test_tape_equals_closed_form(case: Case) -> None:
    net, params, g = case
    found = there(ar.grad(lambda p: inner(net.generate(p), place(g))))(params)
    close_all(found, there(net.vjp)(params)[1](g), 1e-12)


@MANY
@given(cases(walls_and_mpos(("identity",)), "complex128"))
def test_tape_equals_closed_form_for_complex(case: Case) -> None:
    net, params, g = case
    found = there(ar.grad(lambda p: inner(net.generate(p), place(g))))(params)
    close_all(found, there(net.vjp)(params)[1](g), 1e-12)


@MANY
@given(cases(brickwalls()))
def test_stepwise_equals_primitive(case: tuple[ar.BrickWall, Params, np.ndarray]) -> None:
    net, params, g = case
    value, slow = there(ar.value_and_grad(lambda p: inner(net.generate_stepwise(p), place(g))))(params)
    same, fast = there(ar.value_and_grad(lambda p: inner(net.generate(p), place(g))))(params)
    assert float(value) == pytest.approx(float(same), rel=1e-12, abs=1e-13)
    close_all(slow, fast, 1e-12)
    assert alike(there(net.generate_stepwise)(params), there(net.generate)(params))


@MANY
@given(cases(brickwalls(limit=128)), st.integers(0, 99))
def test_hessian_vector_products(case: tuple[ar.BrickWall, Params, np.ndarray], seed: int) -> None:
    net, params, g = case
    rng = np.random.default_rng(seed)
    v = {name: rng.standard_normal(core.shape) for name, core in params.items()}
    loss = waves(g)
    primitive = there(ar.hvp)(lambda p: loss(net.generate(p)), params, v)
    stepwise = there(ar.hvp)(lambda p: loss(net.generate_stepwise(p)), params, v)
    close_all(primitive, stepwise, 1e-10)
    close_all(there(ar.grad(slope_along(net, g, v)))(params), stepwise, 1e-10)


@MANY
@given(cases(small()), st.integers(0, 99))
def test_mpo_and_wall_forward_mode(case: Case, seed: int) -> None:
    """<G, J v> = <J^T G, v>, with J v by two reverse passes."""
    net, params, g = case
    rng = np.random.default_rng(seed)
    v = {name: rng.standard_normal(core.shape) for name, core in params.items()}
    pushed = float(np.sum(ar.jvp(net.generate, params, v) * g))
    pulled = there(net.vjp)(params)[1](g)
    terms = [float(np.sum(pulled[name] * v[name])) for name in v]
    scale = sum(float(np.linalg.norm(pulled[name]) * np.linalg.norm(v[name])) for name in v)
    assert abs(pushed - sum(terms)) <= 1e-12 * max(scale, 1e-200)


@given(cases(walls_and_mpos(ANALYTIC, limit=256)), st.data())
def test_complex_step(case: Case, data: st.DataObject) -> None:
    """Im <W(w + i h e), G> / h is the derivative, exact to rounding: two cores in full, the others along one line."""
    net, params, g = case
    gradient = there(net.vjp)(params)[1](g)
    whole = float(np.sqrt(sum(np.linalg.norm(x) ** 2 for x in gradient.values())))
    lifted = {name: core.astype(complex) for name, core in params.items()}

    def slope(shift: Params) -> float:
        moved = {name: core + 1e-20j * shift[name] if name in shift else core for name, core in lifted.items()}
        return float(np.sum(there(net._generate)(moved).imag * g)) / 1e-20

    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    direction = {name: rng.standard_normal(core.shape) for name, core in params.items()}
    size = float(np.sqrt(sum(np.linalg.norm(v) ** 2 for v in direction.values())))
    expected = sum(float(np.sum(gradient[name] * v)) for name, v in direction.items())
    assert abs(slope(direction) - expected) <= 1e-12 * max(whole * size, 1e-200)
    for name in data.draw(st.lists(st.sampled_from(list(params)), max_size=2, unique=True)):
        for index in list(np.ndindex(params[name].shape))[:40]:
            unit = np.zeros(params[name].shape)
            unit[index] = 1.0
            assert abs(slope({name: unit}) - gradient[name][index]) <= 1e-12 * max(whole, 1e-200)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("every", ["layer", "column"])
@pytest.mark.parametrize("boundary", ["constant", "trainable"])
def test_central_differences_away_from_kinks(activation: str, every: str, boundary: str) -> None:
    net = ar.BrickWall(
        (5, 6), layers=3, activation=activation, activation_every=every, boundary=boundary, modes=(2, 4, 2, 2)
    )
    params = net.init(rng=2)
    g = np.random.default_rng(1).standard_normal(net.shape)
    gradient = there(net.vjp)(params)[1](g)
    visited = dense.states(net.to_spec(), params)
    before = [x for (_, x), (after, _) in pairwise(visited) if after.endswith(".activation")]
    # An entry that is zero by structure (a constant start) never moves off the kink in the directions that count.
    assert min(float(np.abs(x[x != 0]).min()) for x in before) > 1e-4
    h, whole = 1e-6, max(float(np.abs(x).max()) for x in gradient.values())
    for name, core in params.items():
        for index in np.ndindex(core.shape):
            values = []
            for sign in (1, -1):
                moved = core.copy()
                moved[index] += sign * h
                values.append(float(np.sum(there(net.generate)({**params, name: moved}) * g)))
            slope = (values[0] - values[1]) / (2 * h)
            assert abs(slope - gradient[name][index]) <= 1e-7 * max(whole, 1.0), (name, index)


@pytest.mark.parametrize(
    "net",
    [
        ar.BrickWall((3, 3), layers=3, activation="tanh", modes=(3, 2, 2), boundary="trainable"),
        ar.BrickWall((7,), layers=2, activation="silu", modes=(2, 2, 2), activation_every="column"),
        ar.BrickWall((3, 5), layers=2, activation="gelu", layout="interleaved", row_modes=(2, 2), col_modes=(2, 3)),
        ar.MPO((3, 5), chi=3),
    ],
    ids=lambda net: net.to_spec()["network"],
)
def test_full_jacobian(net: ar.Network) -> None:
    """Rows by the pullback of unit cotangents, columns by the complex step, all of it by the tape and by the oracle."""
    rng = np.random.default_rng(4)
    params = {name: rng.standard_normal(shape) for name, shape in net.core_shapes.items()}
    weight, pullback = there(net.vjp)(params)
    for name, core in params.items():
        rows = np.empty((weight.size, core.size))
        expected = np.empty_like(rows)
        columns = np.empty_like(rows)
        for i in range(weight.size):
            unit = np.zeros(weight.size)
            unit[i] = 1.0
            rows[i] = pullback(unit.reshape(weight.shape))[name].reshape(-1)
            expected[i] = dense.vjp(net.to_spec(), params, unit.reshape(weight.shape))[name].reshape(-1)
        for j in range(core.size):
            moved = core.astype(complex)
            moved.reshape(-1)[j] += 1e-20j
            lifted = {key: moved if key == name else value.astype(complex) for key, value in params.items()}
            columns[:, j] = there(net._generate)(lifted).imag.reshape(-1) / 1e-20
        taped = there(ar.jacobian)(lambda x, name=name: net.generate({**place(params), name: x}), core).reshape(
            rows.shape
        )
        size = np.abs(rows).max()
        for other in (expected, columns, taped.reshape(rows.shape)):
            assert np.abs(rows - other).max() <= 1e-12 * size, name


def test_relu_has_slope_zero_at_zero() -> None:
    net = ar.BrickWall((4,), layers=2, modes=(2, 2), activation="relu")
    identity = np.eye(4).reshape(2, 2, 2, 2)
    params = {"layer0.brick0": np.array([[0.0, 1.0], [-1.0, 0.0]]), "layer1.brick0": identity}
    weight, pullback = there(net.vjp)(params)
    assert weight.tolist() == [0.0, 1.0, 0.0, 0.0]
    assert pullback(np.ones(4))["layer0.brick0"].tolist() == [[0.0, 1.0], [0.0, 0.0]]
    leaky = ar.BrickWall((4,), layers=2, modes=(2, 2), activation="leaky_relu")
    assert there(leaky.vjp)(params)[1](np.ones(4))["layer0.brick0"].tolist() == [[0.01, 1.0], [0.01, 0.01]]


@MANY
@given(cases(brickwalls()))
def test_layer_adjoint_keeps_the_inner_product(case: tuple[ar.BrickWall, Params, np.ndarray]) -> None:
    """<g, A x> = <A^T g, x> for every column, and scaling a core by t scales its part by t: <dA, A> = <g, A x>."""
    net, params, _ = case
    rng = np.random.default_rng(0)
    for step in net.program.steps:
        if not isinstance(step, Mix):
            continue
        x, g = rng.standard_normal((2, int(np.prod(step.dims))))
        y, kept = there(step.forward)(params, x)
        gx, found = there(step.adjoint)(params, kept, g)
        size = float(np.linalg.norm(g) * max(np.linalg.norm(y), np.linalg.norm(x))) + float(np.linalg.norm(gx))
        assert abs(np.dot(g, y) - np.dot(gx, x)) <= 1e-12 * size * max(1.0, float(np.linalg.norm(x)))
        for name in step.core_names:
            assert abs(np.sum(found[name] * params[name]) - np.dot(g, y)) <= 1e-11 * size

"""Gradients of trees by four routes: closed form, tape, step by step, and numerical differentiation; and twice."""

from typing import Any

import numpy as np
import pytest
from elsewhere import alike, place, there
from hypothesis import given, settings
from hypothesis import strategies as st
from network_cases import cases, close_all, norm, slope_along, waves
from tree_cases import Case, normal, program, size_of_terms

import adntn_ref as ar
from adntn_ref import ad
from adntn_ref.networks.attn import ATTN
from adntn_ref.networks.mera import MERA
from adntn_ref.networks.tree import TreeNetwork
from adntn_ref.networks.ttn import TTN
from adntn_ref.program.steps import Activate
from adntn_ref.validation import dense_tree
from adntn_ref.validation.strategies import ANALYTIC, trees

MANY = settings(max_examples=4 * settings().max_examples)
SMALL = [
    TTN((3, 5), chi=2, activation="tanh"),
    ATTN((2, 3, 2), chi=3, modes=(2, 3, 2), activation="silu"),
    MERA((3, 4), chi=3, layout="interleaved", row_modes=(2, 2), col_modes=(2, 2), activation="gelu", periodic=True),
    MERA((11,), chi=2, modes=(2, 1, 3, 2), activation="sigmoid", periodic=True),
]


def inner(a: Any, b: Any) -> Any:
    return ad.sum(ad.real(ad.conj(b) * a))


@MANY
@given(cases(trees()))
def test_tape_and_steps_equal_the_closed_form(case: Case) -> None:
    net, params, g = case
    weight, pullback = there(net.vjp)(params)
    closed = pullback(g)
    scale = 1e-2 * size_of_terms(case)
    value, fast = there(ar.value_and_grad(lambda p: inner(net.generate(p), place(g))))(params)
    same, slow = there(ar.value_and_grad(lambda p: inner(net.generate_stepwise(p), place(g))))(params)
    close_all(fast, closed, 1e-12, scale)
    close_all(slow, closed, 1e-12, scale)
    size = float(np.linalg.norm(weight) * np.linalg.norm(g))
    assert abs(float(value) - float(same)) <= 1e-12 * max(size, 1e-200)
    assert alike(there(net.generate_stepwise)(params), there(net.generate)(params))


@given(cases(trees(("identity",)), "complex128"))
def test_tape_equals_the_closed_form_for_complex(case: Case) -> None:
    net, params, g = case
    closed = there(net.vjp)(params)[1](g)
    for route in (net.generate, net.generate_stepwise):
        found = there(ar.grad(lambda p, route=route: inner(route(p), place(g))))(params)
        close_all(found, closed, 1e-12, 1e-2 * size_of_terms(case))


@MANY
@given(cases(trees(limit=128)), st.integers(0, 99))
def test_hessian_vector_products(case: Case, seed: int) -> None:
    net, params, g = case
    rng = np.random.default_rng(seed)
    v = {name: rng.standard_normal(core.shape) for name, core in params.items()}
    loss = waves(g)
    scale = size_of_terms(case)
    primitive = there(ar.hvp)(lambda p: loss(net.generate(p)), params, v)
    stepwise = there(ar.hvp)(lambda p: loss(net.generate_stepwise(p)), params, v)
    close_all(primitive, stepwise, 1e-11, scale)
    linearised = there(net.hvp)(params, v, g)
    close_all(linearised, there(ar.hvp)(lambda p: ad.sum(net.generate_stepwise(p) * place(g)), params, v), 1e-11, scale)
    close_all(there(ar.grad(slope_along(net, g, v)))(params), stepwise, 1e-11, scale)


@given(cases(trees(ANALYTIC, limit=128)), st.integers(0, 99))
def test_hessian_against_differences_of_the_gradient(case: Case, seed: int) -> None:
    """H v = d/dh grad(w + h v), with the gradient by the closed form."""
    net, params, g = case
    rng = np.random.default_rng(seed)
    v = {name: rng.standard_normal(core.shape) for name, core in params.items()}
    h = 1e-6
    taped = there(ar.hvp)(lambda p: ad.sum(net.generate(p) * place(g)), params, v)
    ends = [
        there(net.vjp)({name: core + sign * h * v[name] for name, core in params.items()})[1](g) for sign in (1, -1)
    ]
    central = {name: (ends[0][name] - ends[1][name]) / (2 * h) for name in params}
    close_all(central, taped, 1e-6, 10 * size_of_terms(case) * (1 + norm(v)))


@MANY
@given(cases(trees(ANALYTIC, limit=256)), st.data())
def test_complex_step(case: Case, data: st.DataObject) -> None:
    """Im <W(w + i h e), G> / h is the derivative, exact to rounding: along a line, and one core entry by entry."""
    net, params, g = case
    gradient = there(net.vjp)(params)[1](g)
    whole = max(norm(gradient), 1e-2 * size_of_terms(case), 1e-200)
    lifted = {name: core.astype(complex) for name, core in params.items()}

    def slope(shift: dict[str, Any]) -> float:
        moved = {name: core + 1e-20j * shift[name] if name in shift else core for name, core in lifted.items()}
        return float(np.sum(there(net._generate)(moved).imag * g)) / 1e-20

    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    direction = {name: rng.standard_normal(core.shape) for name, core in params.items()}
    expected = sum(float(np.sum(gradient[name] * v)) for name, v in direction.items())
    assert abs(slope(direction) - expected) <= 1e-12 * whole * norm(direction)
    name = data.draw(st.sampled_from(list(params)))
    for index in list(np.ndindex(params[name].shape))[:40]:
        unit = np.zeros(params[name].shape)
        unit[index] = 1.0
        assert abs(slope({name: unit}) - gradient[name][index]) <= 1e-12 * whole


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("kind", [TTN, ATTN, MERA])
def test_central_differences_away_from_kinks(kind: type[TreeNetwork], activation: str) -> None:
    net = kind((3, 7), chi=3, activation=activation)
    params, h = normal(net, 3), 1e-6
    nearest = min(float(np.abs(x).min()) for x in before_activations(net, params))
    assert nearest > 20 * h
    g = np.random.default_rng(0).standard_normal(net.shape)
    gradient = there(net.vjp)(params)[1](g)
    for name, core in params.items():
        for index in np.ndindex(core.shape):
            values = []
            for sign in (1, -1):
                moved = core.copy()
                moved[index] += sign * h
                values.append(float(np.sum(there(net.generate)({**params, name: moved}) * g)))
            slope = (values[0] - values[1]) / (2 * h)
            assert abs(slope - gradient[name][index]) <= 1e-8 * norm(gradient), (name, index)


def before_activations(net: TreeNetwork, params: dict[str, Any]) -> list[np.ndarray]:
    states = list(there(net.forward_states)(params).values())
    return [x for x, step in zip(states, program(net).steps, strict=False) if isinstance(step, Activate)]


@pytest.mark.parametrize("net", SMALL, ids=lambda net: f"{net.NAME}-{net.activation}")
def test_full_jacobian(net: TreeNetwork) -> None:
    """Rows by the pullback of unit cotangents and by the oracle, columns by the complex step, all by the tape."""
    params = normal(net, 4)
    weight, pullback = there(net.vjp)(params)
    for name, core in params.items():
        rows = np.empty((weight.size, core.size))
        expected, columns = np.empty_like(rows), np.empty_like(rows)
        for i, unit in enumerate(np.eye(weight.size)):
            g = unit.reshape(weight.shape)
            rows[i] = pullback(g)[name].reshape(-1)
            expected[i] = dense_tree.vjp(net.to_spec(), params, g)[name].reshape(-1)
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


@MANY
@given(cases(trees(limit=128)), st.integers(0, 99))
def test_forward_mode(case: Case, seed: int) -> None:
    """<G, J v> = <J^T G, v>, with J v by the tape's two reverse passes and by the linearised program."""
    net, params, g = case
    rng = np.random.default_rng(seed)
    v = {name: rng.standard_normal(core.shape) for name, core in params.items()}
    pulled = there(net.vjp)(params)[1](g)
    scale = max(norm(pulled), 1e-2 * size_of_terms(case), 1e-200) * norm(v)
    expected = sum(float(np.sum(pulled[name] * v[name])) for name in v)
    weight, pushed = there(net.jvp)(params, v)
    assert alike(weight, there(net.generate)(params))
    for change in (pushed, there(ar.jvp)(net.generate, params, v)):
        assert abs(float(np.sum(change * g)) - expected) <= 1e-12 * scale


@MANY
@given(cases(trees()))
def test_environments_and_cotangents_of_states(case: Case) -> None:
    """The cotangent of a state scaled by its own tangent: <g_k, dx_k> is the same number at every step."""
    net, params, g = case
    closed = there(net.vjp)(params)[1](g)
    environments = there(net.environments)(params, g)
    assert all(alike(environments[name], x) for name, x in closed.items())
    cotangents, states = there(net.adjoint_states)(params, g), there(net.forward_states)(params)
    assert set(cotangents) == set(states)
    assert all(cotangents[name].shape == x.shape for name, x in states.items())
    assert alike(cotangents["depth1"], closed["root"])
    assert np.array_equal(net.placement.extract(cotangents[list(states)[-1]].reshape(-1)), g)
    # Only the root moves: every later state moves along the chain of steps, and the product stays.
    v = np.random.default_rng(0).standard_normal(params["root"].shape)
    h = 1e-20j
    if net.activation in ANALYTIC:
        moved = program(net).start.forward({"root": params["root"] + h * v})[0]
        lifted = {name: core.astype(complex) for name, core in params.items()}
        expected = float(np.sum(closed["root"] * v))
        size = max(size_of_terms(case), 1e-200) * float(np.linalg.norm(v))
        for step in program(net).steps:
            for one_pass in step.passes(lifted):
                moved = one_pass(moved)
            got = float(np.sum(cotangents[step.name].reshape(-1) * moved.imag)) / 1e-20
            assert abs(got - expected) <= 1e-12 * max(size, abs(expected))


@MANY
@given(cases(trees()))
def test_every_step_keeps_the_inner_product(case: Case) -> None:
    """<g, A x> = <A^T g, x>, and <dA, A> = <g, A x> for each core, since a step is linear in each of its cores."""
    net, params, _ = case
    rng = np.random.default_rng(0)
    for step in program(net).steps:
        if isinstance(step, Activate):
            continue
        x, g = rng.standard_normal(int(np.prod(step.dims))), rng.standard_normal(int(np.prod(step.out_dims)))
        y, kept = there(step.forward)(params, x)
        gx, found = there(step.adjoint)(params, kept, g)
        size = float(np.linalg.norm(g) * np.linalg.norm(y) + np.linalg.norm(gx) * np.linalg.norm(x))
        assert abs(np.dot(g, y) - np.dot(gx, x)) <= 1e-12 * max(size, 1e-200)
        for name in step.core_names:
            terms = size + float(np.linalg.norm(found[name]) * np.linalg.norm(params[name]))
            assert abs(np.sum(found[name] * params[name]) - np.dot(g, y)) <= 1e-11 * max(terms, 1e-200)


def test_relu_has_slope_zero_at_zero() -> None:
    """A tree of three modes: the root's entries are the first state, a 2 x 2 one."""
    root, node = np.array([[0.0, 1.0], [-1.0, 0.0]]), np.eye(4)[:, :2].reshape(2, 2, 2)
    net = TTN((8,), chi=2, modes=(2, 2, 2), activation="relu")
    assert there(net.vjp)({"root": root, "node0_2": node})[1](np.ones(8))["root"].tolist() == [[0.0, 1.0], [0.0, 0.0]]
    leaky = TTN((8,), chi=2, modes=(2, 2, 2), activation="leaky_relu")
    found = there(leaky.vjp)({"root": root, "node0_2": node})[1](np.ones(8))["root"]
    assert found.tolist() == [[0.01, 1.0], [0.01, 0.01]]


def test_a_tree_in_a_loss_with_two_weights() -> None:
    """One set of cores read twice: the gradients add."""
    net = MERA((4, 6), chi=2, activation="tanh", periodic=True)
    params = normal(net, 2)
    g = np.random.default_rng(1).standard_normal((4, 6))
    once = there(net.vjp)(params)[1](g)
    twice = there(ar.grad(lambda p: inner(net.generate(p), place(g)) + 2 * inner(net.generate(p), place(g))))(params)
    close_all(twice, {name: 3 * x for name, x in once.items()}, 1e-13)

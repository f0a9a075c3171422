"""TTNs with an activation at every node: frames from the leaves, against explicit Kronecker products."""

from typing import Any

import numpy as np
import pytest
from elsewhere import place, there
from hypothesis import given, settings
from hypothesis import strategies as st
from network_cases import cases, close, close_all, norm
from tree_cases import Case, check_case, normal, size_of_sums, size_of_terms

import adntn_ref as ar
from adntn_ref import ad
from adntn_ref.networks.ttn import TTN
from adntn_ref.validation import dense_tree
from adntn_ref.validation.strategies import ACTIVATIONS, ANALYTIC, node_trees, trees

MANY = settings(max_examples=4 * settings().max_examples)


@MANY
@given(cases(node_trees()))
def test_double(case: Case) -> None:
    check_case(case)


@MANY
@given(cases(node_trees(("identity",)), "complex128"))
def test_complex(case: Case) -> None:
    check_case(case)


@given(cases(node_trees(ANALYTIC), "float32"))
def test_single(case: Case) -> None:
    # A sigmoid lifts entries from 0 to 1/2: the sizes of the terms without it say too little.
    net, params, g = case
    spec = net.to_spec()
    size = size_of_sums(net, params) + float(np.linalg.norm(dense_tree.generate(spec, absolute(params))))
    close(there(net.generate)(params), dense_tree.generate(spec, params), 2e-5, size)
    terms = size_of_terms(case) + norm(dense_tree.vjp(spec, absolute(params), np.abs(g)))
    gradients = there(net.vjp)(params)[1](g)
    close_all(gradients, dense_tree.vjp(spec, params, g), 2e-5, terms)
    assert {x.dtype for x in gradients.values()} == {np.dtype("float32")}


def absolute(params: dict[str, Any]) -> dict[str, Any]:
    return {name: np.abs(core) for name, core in params.items()}


@MANY
@given(cases(trees(("identity",), kinds=("ttn",))))
def test_with_the_identity_both_sites_are_one(case: Case) -> None:
    """Hierarchical Tucker, whichever end one begins at."""
    level, params, g = case
    node = ar.from_spec({**level.to_spec(), "activation_site": "node"})
    assert node.core_shapes == level.core_shapes
    close(there(node.generate)(params), there(level.generate)(params), 1e-12, 1e-2 * size_of_sums(level, params))
    close_all(there(node.vjp)(params)[1](g), there(level.vjp)(params)[1](g), 1e-12, 1e-2 * size_of_terms(case))
    assert node != level


def test_with_an_activation_they_differ() -> None:
    level, node = (TTN((16,), chi=2, activation_site=site) for site in ("level", "node"))
    params = normal(level)
    assert np.abs(there(level.generate)(params) - there(node.generate)(params)).max() > 0.1


def test_three_modes_by_einsum() -> None:
    net = TTN((2, 3, 2), chi=3, modes=(2, 3, 2), activation="sin", activation_site="node")
    p = normal(net)
    assert net.core_shapes == {"root": (2, 2), "node0_2": (2, 3, 2)}
    close(there(net.generate)(p), np.einsum("abp,pc->abc", np.sin(p["node0_2"]), p["root"]), 1e-14)
    five = TTN((2,) * 5, chi=3, modes=(2,) * 5, activation="tanh", activation_site="node")
    p = normal(five)
    left = np.tanh(np.einsum("abl,lcp->abcp", np.tanh(p["node0_2"]), p["node0_3"]))
    close(there(five.generate)(p), np.einsum("abcl,der,lr->abcde", left, np.tanh(p["node3_5"]), p["root"]), 1e-14)


@MANY
@given(cases(node_trees(limit=128)), st.integers(0, 99))
def test_tape_and_second_order(case: Case, seed: int) -> None:
    net, params, g = case
    rng = np.random.default_rng(seed)
    v = {name: rng.standard_normal(core.shape) for name, core in params.items()}
    closed, scale = there(net.vjp)(params)[1](g), size_of_terms(case) + norm(there(net.vjp)(params)[1](g))
    for route in (net.generate, net.generate_stepwise):
        close_all(ar.grad(lambda p, route=route: ad.sum(route(p) * g))(params), closed, 1e-12, 1e-2 * scale)
    close_all(there(net.environments)(params, g), closed, 1e-15)
    primitive = there(ar.hvp)(lambda p: ad.sum(ad.sin(net.generate(p)) * place(g)), params, v)
    stepwise = there(ar.hvp)(lambda p: ad.sum(ad.sin(net.generate_stepwise(p)) * place(g)), params, v)
    close_all(primitive, stepwise, 1e-11, scale)
    linearised = there(net.hvp)(params, v, g)
    close_all(linearised, there(ar.hvp)(lambda p: ad.sum(net.generate_stepwise(p) * place(g)), params, v), 1e-11, scale)
    pushed = float(np.sum(there(net.jvp)(params, v)[1] * g))
    assert abs(pushed - sum(float(np.sum(closed[name] * v[name])) for name in v)) <= 1e-12 * scale * norm(v)


@MANY
@given(cases(node_trees(ANALYTIC, limit=256)), st.integers(0, 99))
def test_complex_step(case: Case, seed: int) -> None:
    net, params, g = case
    rng = np.random.default_rng(seed)
    v = {name: rng.standard_normal(core.shape) for name, core in params.items()}
    moved = {name: core + 1e-20j * v[name] for name, core in params.items()}
    slope = float(np.sum(there(net._generate)(moved).imag * g)) / 1e-20
    gradient = there(net.vjp)(params)[1](g)
    expected = sum(float(np.sum(gradient[name] * v[name])) for name in v)
    assert abs(slope - expected) <= 1e-12 * max(norm(gradient), 1e-2 * size_of_terms(case), 1e-200) * norm(v)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_central_differences_away_from_kinks(activation: str) -> None:
    net = TTN((3, 7), chi=3, activation=activation, activation_site="node")
    params, h = normal(net, 3), 1e-6
    states = there(net.forward_states)(params)
    assert min(float(np.abs(x).min()) for name, x in states.items() if f"{name}.activation" in states) > 20 * h
    g = np.random.default_rng(0).standard_normal(net.shape)
    gradient = there(net.vjp)(params)[1](g)
    for name, core in params.items():
        for index in np.ndindex(core.shape):
            ends = []
            for sign in (1, -1):
                moved = core.copy()
                moved[index] += sign * h
                ends.append(float(np.sum(there(net.generate)({**params, name: moved}) * g)))
            assert abs((ends[0] - ends[1]) / (2 * h) - gradient[name][index]) <= 1e-8 * norm(gradient)


@given(cases(node_trees()))
def test_results_are_contiguous_and_no_views(case: Case) -> None:
    net, params, g = case
    before = {name: core.copy() for name, core in params.items()}
    weight, pullback = there(net.vjp)(params)
    gradients = pullback(g)
    again = pullback(2 * g)
    for name, core in params.items():
        assert np.array_equal(core, before[name])
        assert gradients[name].flags.c_contiguous
        assert not any(np.shares_memory(gradients[name], x) for x in (g, core, weight))
        assert not np.shares_memory(weight, core)
        assert not np.shares_memory(there(net.generate)(params), core)
        assert np.array_equal(2 * gradients[name], again[name])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("chi", [1, 4, 8])
def test_starts_are_calibrated_and_alive(activation: str, chi: int) -> None:
    if activation == "relu" and chi == 1:
        return  # frames of one column, of few entries: many seeds die, and are refused
    net = TTN((120, 256), chi=chi, activation=activation, activation_site="node")
    for seed in range(3):
        params = net.init(rng=seed, std=0.3)
        weight, pullback = there(net.vjp)(params)
        assert float(np.std(weight)) == pytest.approx(0.3, rel=1e-10)
        assert all(np.linalg.norm(g) > 0 for g in pullback(weight).values())
        states = there(net.forward_states)(params)
        for name, x in states.items():
            assert np.isfinite(x).all()
            if f"{name}.activation" in states:
                assert float(np.sqrt(np.mean(x**2))) == pytest.approx(1.0, rel=1e-10)


@given(node_trees())
def test_round_trip(net: TTN) -> None:
    again = ar.from_spec(net.to_spec())
    assert again == net
    assert net.to_spec()["activation_site"] == "node"
    assert again.core_shapes == net.core_shapes == dict(dense_tree.core_shapes(net.to_spec()))

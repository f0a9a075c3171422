"""Compression scaling: counts from the definitions, nested families, best errors that never rise, ratios against Q."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.validation import strategies
from adntn_ref.validation.scaling import weight_shape
from adntn_ref.validation.scaling_properties import core_shapes, embedded, nested_errors, parameter_count

# Counts


@given(strategies.networks())
def test_cores_follow_from_the_definitions(net: ar.Network) -> None:
    assert core_shapes(net.to_spec()) == dict(net.core_shapes)
    assert parameter_count(net.to_spec()) == net.parameter_count


OVER_Q: dict[str, Any] = {
    "brickwall M=1": lambda s: ar.BrickWall(s, 1),
    "brickwall M=4": lambda s: ar.BrickWall(s, 4),
    "brickwall trainable": lambda s: ar.BrickWall(s, 3, boundary="trainable"),
    "ttn": lambda s: ar.TTN(s, 3),
    "attn": lambda s: ar.ATTN(s, 3),
    "mera": lambda s: ar.MERA(s, 3),
    "mera periodic": lambda s: ar.MERA(s, 4, periodic=True),
    "tt": lambda s: ar.TensorTrain(s, 3),
    "mpo": lambda s: ar.MPO(s, 3),
    "cp": lambda s: ar.CP(s, 3),
    "lowrank": lambda s: ar.LowRank(s, 3),
    "sum": lambda s: ar.Sum(ar.CP(s, 2), ar.BrickWall(s, 2)),
    "split": lambda s: ar.Split(s, 2, lambda t: ar.TTN(t, 2)),
    "stack": lambda s: ar.Stack({"a": (s[0], s[1] - 1), "b": (s[0],)}, ar.MERA(s, 2)),
}


@pytest.mark.parametrize("family", OVER_Q)
def test_counts_over_q(family: str) -> None:
    for count in range(2, 31):
        net = OVER_Q[family](weight_shape(count))
        assert net.parameter_count == parameter_count(net.to_spec()), count


@pytest.mark.parametrize("family", OVER_Q)
def test_ratio_over_q(family: str) -> None:
    """A mode more doubles the weights and adds a bounded number of parameters; to low rank, two modes a factor 2."""
    ratio = {q: OVER_Q[family](weight_shape(q)).compression_ratio for q in range(2, 31)}
    growth = [ratio[q + 2] / ratio[q] for q in range(8, 29)]
    if family == "lowrank":
        assert all(1.9 < g <= 2.0001 for g in growth)
    else:
        assert all(g > 2 for g in growth)  # whatever the parameters do, they less than double
        assert all(2.5 < g < 4 for g in growth[8:])
    assert ratio[30] > (100 if family == "lowrank" else 10**5)


def test_the_ratio_of_a_tucker_network_has_a_ceiling_on_binary_modes() -> None:
    """Its core is as large as the weight where no rank is below its mode; with d = 4, r = 2 the ratio grows."""
    shapes = [weight_shape(q) for q in range(4, 17, 2)]
    full = [ar.Tucker(shape, 2).compression_ratio for shape in shapes]
    assert all(r < 1 for r in full)
    fours = [ar.Tucker(shape, 2, modes=(4,) * (q // 2)) for q, shape in zip(range(4, 17, 2), shapes, strict=True)]
    assert all(net.parameter_count == parameter_count(net.to_spec()) == 8 * len(m) + 2 ** len(m)
               for net in fours for m in [net.placement.modes])  # fmt: skip
    ratios = [net.compression_ratio for net in fours]
    assert ratios == sorted(ratios)
    assert ratios[-1] > 40 * ratios[0]


@given(strategies.trees(), st.integers(1, 4))
def test_the_bond_is_capped(net: ar.Network, more: int) -> None:
    """Counts never fall with chi, and stay where no bond can grow any more."""
    specs = [net.to_spec() | {"chi": chi} for chi in (net.to_spec()["chi"], net.to_spec()["chi"] + more, 10**6, 10**9)]
    counts = [parameter_count(spec) for spec in specs]
    assert counts == sorted(counts)
    assert counts[2] == counts[3]


# Nested families

BOND = {
    "tt": lambda shape, chi: ar.TensorTrain(shape, chi),
    "mpo": lambda shape, chi: ar.MPO(shape, chi),
    "lowrank": lambda shape, chi: ar.LowRank(shape, chi),
    "cp": lambda shape, chi: ar.CP(shape, chi),
    "tucker": lambda shape, chi: ar.Tucker(shape, chi, modes=(4, 3, 5)),
    "ttn": lambda shape, chi: ar.TTN(shape, chi, activation="identity"),
    "attn": lambda shape, chi: ar.ATTN(shape, chi, activation="identity"),
    "mera": lambda shape, chi: ar.MERA(shape, chi, activation="identity", periodic=True),
}


def integers(net: ar.Network, seed: int) -> dict[str, np.ndarray]:
    """Parameters for which every sum is exact, whatever its order."""
    rng = np.random.default_rng(seed)
    return {name: rng.integers(-2, 3, shape).astype(float) for name, shape in net.core_shapes.items()}


@pytest.mark.parametrize("family", BOND)
@given(st.integers(1, 5), st.integers(1, 4), st.booleans(), st.integers(0, 999))
def test_a_bond_embeds_in_a_larger_one(family: str, chi: int, more: int, free: bool, seed: int) -> None:
    small, large = BOND[family]((7, 8), chi), BOND[family]((7, 8), chi + more)
    params = integers(small, seed)
    found = embedded(params, large, np.random.default_rng(seed) if free else None)
    assert {name: x.shape for name, x in found.items()} == dict(large.core_shapes)
    np.testing.assert_array_equal(large.generate(found), small.generate(params))


@given(strategies.trees(limit=128), st.integers(1, 3), st.data())
def test_trees_embed_at_every_activation(small: ar.Network, more: int, data: st.DataObject) -> None:
    """What sigma makes of the new zeros meets zeros in the next core."""
    spec = small.to_spec()
    large = ar.from_spec(spec | {"chi": spec["chi"] + more})
    params = data.draw(strategies.parameters(small))
    weight = small.generate(params)
    scale = max(1e-300, float(np.abs(weight).max()))
    sums = max(1.0, float(ar.from_spec(spec | {"activation": "identity"}).generate(
        {name: np.abs(x) for name, x in params.items()}).max()))  # fmt: skip
    found = large.generate(embedded(params, large))
    np.testing.assert_allclose(found, weight, rtol=0, atol=1e-13 * max(scale, sums))


@given(strategies.brickwalls(("identity",), limit=128), st.integers(1, 2), st.integers(0, 999))
def test_linear_layers_embed_in_more_layers(small: ar.BrickWall, more: int, seed: int) -> None:
    large = ar.from_spec(small.to_spec() | {"layers": small.layers + more})
    params = integers(small, seed)
    np.testing.assert_array_equal(large.generate(embedded(params, large)), small.generate(params))


def test_a_layer_more_is_no_embedding_with_an_activation() -> None:
    """Why the property is one of linear families: sigma now acts before the last layer too."""
    small, large = ar.BrickWall((8,), 1), ar.BrickWall((8,), 2)
    params = integers(small, 5)
    weight = small.generate(params)
    assert (weight < 0).any()
    np.testing.assert_array_equal(large.generate(embedded(params, large)), np.maximum(weight, 0))


def test_what_does_not_embed_is_refused() -> None:
    params = integers(ar.TensorTrain((4, 4), 3), 0)
    with pytest.raises(ValueError, match=r"core core0 of shape \(1, 2, 2\) does not fit into \(1, 2, 1\)"):
        embedded(params, ar.TensorTrain((4, 4), 1))
    with pytest.raises(ValueError, match="the smaller network has no core left"):
        embedded(params, ar.LowRank((4, 4), 3))
    with pytest.raises(ValueError, match="no cores layer1"):
        embedded(integers(ar.BrickWall((4, 4), 2), 0), ar.BrickWall((4, 4), 1))


# Best errors


def target(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((8, 8))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("family", ["lowrank", "tt", "mpo", "tucker"])
def test_bounds_of_the_best_error_fall_with_the_bond(family: str, seed: int) -> None:
    """Of the best error below and above; nothing is left where no bond is capped."""
    nets = [BOND[family]((7, 8), chi) for chi in range(1, 9)]
    wanted = target(seed)[:7]
    bounds = [net.error_bound(wanted) for net in nets]
    errors = [float(np.linalg.norm(net.generate(net.decompose(wanted)) - wanted)) for net in nets]
    for first, second in itertools.pairwise(bounds):
        assert second.lower <= first.lower + 1e-12
        assert second.upper <= first.upper + 1e-12
    assert all(b.lower - 1e-12 <= e <= b.upper + 1e-12 for b, e in zip(bounds, errors, strict=True))
    assert errors[0] > 1
    assert errors[-1] < 1e-10
    if family in ("lowrank", "tucker"):  # projections on nested subspaces
        assert all(b <= a + 1e-12 for a, b in itertools.pairwise(errors))


@pytest.mark.parametrize("family", BOND)
def test_fitted_errors_fall_with_the_bond(family: str) -> None:
    errors = nested_errors([BOND[family]((7, 8), chi) for chi in (1, 2, 4)], target(3)[:7])
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(errors))
    assert errors[-1] < 0.95 * errors[0]


@pytest.mark.parametrize("boundary", ["constant", "trainable"])
def test_fitted_errors_fall_with_linear_layers(boundary: str) -> None:
    nets = [ar.BrickWall((8, 8), layers, activation="identity", boundary=boundary) for layers in (1, 2, 3)]
    errors = nested_errors(nets, target(4))
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(errors))
    assert errors[-1] < 0.95 * errors[0]

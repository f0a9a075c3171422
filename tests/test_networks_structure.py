"""Counts, names and places: what the conventions fix about each network besides its formula."""

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.program.steps import Activate, Mix
from adntn_ref.validation.strategies import brickwalls, mpos, parameters, walls_and_mpos

MODES_OF_MPO = [
    ((4, 7, 7, 4), (4, 4, 4, 4), 1024),
    ((4, 4, 4, 4), (1, 10, 1, 1), 736),
    ((4, 4, 4, 4, 2), (4, 4, 8, 8, 4), 1376),
    ((4, 4, 8, 8, 4), (4, 4, 8, 8, 4), 2432),
]


@pytest.mark.parametrize("q", range(2, 25))
@pytest.mark.parametrize("layers", range(1, 7))
def test_count_of_a_binary_brickwall(q: int, layers: int) -> None:
    net = ar.BrickWall((2**q,), layers=layers)
    assert net.parameter_count == 4 * (q // 2) + 16 * (layers * (q - 1) - q // 2)
    assert net.compression_ratio == 2**q / net.parameter_count
    full = ar.BrickWall((2**q,), layers=layers, boundary="trainable")
    assert full.parameter_count == 2 * q + 16 * layers * (q - 1)


def test_count_of_the_paper() -> None:
    first, second = ar.BrickWall((512, 4096), layers=1), ar.BrickWall((4096, 4096), layers=1)
    assert (first.parameter_count, second.parameter_count) == (200, 224)
    assert first.weights + second.weights == 18_874_368
    assert (len(first.modes or ()), len(second.modes or ())) == (21, 24)
    assert first.linear


@pytest.mark.parametrize(("rows", "columns", "count"), MODES_OF_MPO)
def test_count_of_an_mpo(rows: tuple[int, ...], columns: tuple[int, ...], count: int) -> None:
    net = ar.MPO((prod(rows), prod(columns)), chi=4, row_modes=rows, col_modes=columns)
    assert net.parameter_count == count


@given(brickwalls())
def test_names_and_shapes_of_bricks(net: ar.BrickWall) -> None:
    modes = net.modes or ()
    q = len(modes)
    wanted = {f"layer{m}.brick{k}": (modes[k], modes[k + 1]) * 2 for m in range(net.layers) for k in range(q - 1)}
    if net.boundary == "constant":
        wanted.update({f"layer0.brick{k}": (modes[k], modes[k + 1]) for k in range(0, q - 1, 2)})
    else:
        wanted.update({f"start{k}": (modes[k],) for k in range(q)})
    assert net.core_shapes == wanted
    bricks = [name for name in net.core_shapes if "brick" in name]
    expected = [f"layer{m}.brick{k}" for m in range(net.layers) for k in [*range(0, q - 1, 2), *range(1, q - 1, 2)]]
    assert bricks == expected


@given(mpos())
def test_bonds_of_an_mpo(net: ar.MPO) -> None:
    pairs = [r * c for r, c in zip(net.row_modes or (), net.col_modes or (), strict=True)]
    for k, bond in enumerate(net.bonds):
        assert bond == min(net.chi, prod(pairs[:k]), prod(pairs[k:]))
    shapes = list(net.core_shapes.values())
    assert shapes[0][0] == shapes[-1][-1] == 1
    assert all(left[-1] == right[0] for left, right in zip(shapes, shapes[1:], strict=False))  # noqa: RUF007


def test_an_mpo_at_full_bond_makes_any_matrix() -> None:
    net = ar.MPO((4, 4), chi=16, row_modes=(2, 2), col_modes=(2, 2))
    assert net.bonds == (1, 4, 1)
    target = np.random.default_rng(0).standard_normal((4, 4))
    # the matrix of (r0 c0) x (r1 c1) as its own second core
    unfolded = target.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(4, 4)
    params = {"core0": np.eye(4).reshape(1, 2, 2, 4), "core1": unfolded.reshape(4, 2, 2, 1)}
    assert np.allclose(net.generate(params), target, rtol=1e-15, atol=0)


def test_default_modes() -> None:
    assert ar.BrickWall((1,), layers=1).modes == (2, 2)
    assert ar.BrickWall((4,), layers=1).modes == (2, 2)
    assert ar.BrickWall((5,), layers=1).modes == (2, 2, 2)
    assert ar.BrickWall((120, 84), layers=1).modes == (2,) * 14
    axes = ar.BrickWall((1, 5), layers=1, layout="axes")
    assert (axes.row_modes, axes.col_modes, axes.modes) == ((2,), (2, 2, 2), (2, 2, 2, 2))
    mixed = ar.BrickWall((3, 20), layers=1, layout="interleaved", row_modes=(3,), col_modes=(4, 5))
    assert mixed.modes == (3, 4, 5)
    assert ar.BrickWall((20,), layers=1, layout="axes").col_modes == (2,)
    assert ar.MPO((3, 20), chi=2).row_modes == (2, 2, 1, 1, 1)


@pytest.mark.parametrize("q", [3, 5, 7, 9])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("every", ["layer", "column"])
def test_dead_half_of_odd_walls(q: int, layers: int, every: str) -> None:
    net = ar.BrickWall((2**q,), layers=layers, activation="tanh", activation_every=every)
    params = net.init(rng=q)
    g = np.random.default_rng(0).standard_normal(2**q)
    weight, pullback = net.vjp(params)
    found = pullback(g)[f"layer0.brick{q - 2}"]
    assert np.all(found[..., 1] == 0)
    assert np.all(found[..., 0] != 0)
    changed = params[f"layer0.brick{q - 2}"].copy()
    changed[..., 1] += 1.0
    assert np.array_equal(net.generate({**params, f"layer0.brick{q - 2}": changed}), weight)


def test_a_constant_state_brings_the_dead_half_back_to_life() -> None:
    """sigmoid(0) = 1/2: after the first column of an odd wall the untouched site is no unit vector any more."""
    net = ar.BrickWall((8,), layers=2, activation="sigmoid", activation_every="column")
    found = net.vjp(net.init())[1](np.ones(8))["layer0.brick1"]
    assert np.all(found[..., 1] != 0)


@given(brickwalls(), st.data())
def test_padding_takes_no_part(net: ar.BrickWall, data: st.DataObject) -> None:
    params = data.draw(parameters(net))
    place = net.placement
    state = np.arange(float(place.generated))
    taken = place.extract(state)
    back = place.embed(np.ones(place.shape))
    assert back.shape == (place.generated,)
    assert back.sum() == place.weights
    assert np.array_equal(np.sort(np.flatnonzero(back)), np.sort(taken.reshape(-1)))
    assert np.array_equal(place.extract(place.embed(taken)), taken)
    whole = net.forward_states(params)[net.program.all_steps[-1].name].reshape(-1)
    # Two ways to the same numbers: the windows of generate are not those of the steps.
    np.testing.assert_allclose(net.generate(params), place.extract(whole), rtol=1e-12, atol=1e-12 * np.abs(whole).max())


@given(walls_and_mpos(), st.data())
def test_linear_in_every_core_of_one_layer(net: ar.Network, data: st.DataObject) -> None:
    params = data.draw(parameters(net))
    if isinstance(net, ar.BrickWall) and net.activation_every == "layer" and net.layers == 1:
        assert net.linear
    if not net.linear:
        return
    name = data.draw(st.sampled_from(list(params)))
    weight = net.generate(params)
    assert np.array_equal(net.generate({**params, name: 4 * params[name]}), 4 * weight)


@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
def test_where_activations_stand(activation: str) -> None:
    def kinds(q: int, layers: int, every: str, boundary: str = "trainable") -> str:
        net = ar.BrickWall((2**q,), layers=layers, activation=activation, activation_every=every, boundary=boundary)
        assert net.linear == ("s" not in text(net) or activation == "identity")
        return text(net)

    def text(net: ar.BrickWall) -> str:
        return "".join("s" if isinstance(step, Activate) else "c" * isinstance(step, Mix) for step in net.program.steps)

    assert kinds(4, 1, "layer") == "cc"
    assert kinds(4, 2, "layer") == "ccscc"
    assert kinds(4, 3, "layer") == "ccsccscc"
    assert kinds(4, 1, "column") == "csc"
    assert kinds(4, 2, "column") == "cscscsc"
    assert kinds(2, 1, "column") == "c"
    assert kinds(2, 3, "column") == kinds(2, 3, "layer") == "cscsc"
    # with the constant boundary the first column is the start
    assert kinds(4, 2, "column", "constant") == "scscsc"
    assert kinds(2, 1, "column", "constant") == ""
    assert kinds(3, 2, "layer", "constant") == "cscc"


def test_two_networks_of_two_modes_are_one_function() -> None:
    """Q = 2: the second column holds no brick, so a layer is a column."""
    nets = [ar.BrickWall((4,), layers=3, activation="sin", activation_every=every) for every in ("layer", "column")]
    params = nets[0].init(rng=1)
    assert np.array_equal(nets[0].generate(params), nets[1].generate(params))


def test_first_mode_is_the_most_significant() -> None:
    net = ar.BrickWall((2, 3, 4), layers=1, modes=(2, 3, 4))
    one = {name: np.zeros(shape) for name, shape in net.core_shapes.items()}
    one["layer0.brick0"][1, 2] = 1.0  # site 0 in state 1, site 1 in state 2
    for a in range(3):
        for c in range(4):
            one["layer0.brick1"][a, c, a, c] = 1.0
    weight = net.generate(one)
    assert weight[1, 2, 0] == 1.0
    assert np.count_nonzero(weight) == 1


def test_layouts_place_entries() -> None:
    axes = ar.BrickWall((2, 3), layers=1, layout="axes", row_modes=(2, 2), col_modes=(2, 2)).placement
    assert axes.extract(np.arange(16)).tolist() == [[0, 1, 2], [4, 5, 6]]
    mixed = ar.BrickWall((4, 4), layers=1, layout="interleaved", row_modes=(2, 2), col_modes=(2, 2)).placement
    # place of (row r1 r2, column c1 c2) is r1 c1 r2 c2
    assert mixed.extract(np.arange(16)).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    long = ar.BrickWall((2, 8), layers=1, layout="interleaved", row_modes=(2,), col_modes=(2, 2, 2)).placement
    assert long.extract(np.arange(16)).tolist() == [[*range(8)], [*range(8, 16)]]

"""Trees: which cores there are and of what shape, which pairs mix, what it costs, starts, and bad specifications."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from counting import little
from hypothesis import given
from hypothesis import strategies as st
from network_cases import check_round_trip
from tree_cases import normal, program

import adntn_ref as ar
from adntn_ref.errors import ArrayError, DTypeError, MemoryLimitError, ParameterError, SpecError, StartError
from adntn_ref.networks.attn import ATTN
from adntn_ref.networks.mera import MERA
from adntn_ref.networks.tree import TreeNetwork
from adntn_ref.networks.ttn import TTN
from adntn_ref.program.steps import Activate
from adntn_ref.validation import dense_tree
from adntn_ref.validation.strategies import ACTIVATIONS, trees

KINDS = [TTN, ATTN, MERA]
EVERY = pytest.mark.parametrize("kind", KINDS)


# ---- Counts


def test_counts_on_24_binary_modes() -> None:
    assert [kind((4096, 4096), chi=2).parameter_count for kind in KINDS] == [180, 308, 484]
    ratios = [TTN((4096, 4096), chi=chi).compression_ratio for chi in (2, 4, 8)]
    assert [round(ratio) for ratio in ratios] == [93_207, 21_400, 4_443]


def test_counts_of_three_layers() -> None:
    layers = [(16, 150), (120, 256), (84, 120)]
    totals = {
        (kind, chi): sum(kind(shape, chi=chi).parameter_count for shape in layers) for kind in KINDS for chi in (4, 8)
    }
    assert [totals[kind, 4] for kind in KINDS] == [1_248, 1_520, 3_824]
    assert [totals[kind, 8] for kind in KINDS[:2]] == [4_624, 4_896]


@given(trees())
def test_cores_as_the_oracle_has_them(net: TreeNetwork) -> None:
    shapes = net.core_shapes
    assert shapes == dense_tree.core_shapes(net.to_spec())
    assert net.parameter_count == sum(math.prod(shape) for shape in shapes.values())
    assert next(iter(shapes)) == "root"


# ---- Which pairs mix


def mixed(net: TreeNetwork) -> dict[int, list[int]]:
    """The left positions of the mixed pairs, by depth, in the order of the cores."""
    found: dict[int, list[int]] = {}
    for name in net.core_shapes:
        if name.startswith("mix"):
            depth, q = name[3:].split(".")
            found.setdefault(int(depth), []).append(int(q))
    return found


def mera(count: int, periodic: bool = False) -> MERA:
    return MERA((2**count,), chi=2, modes=(2,) * count, periodic=periodic)


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5])
def test_pairs_of_a_power_of_two(levels: int) -> None:
    expected = {k: list(range(1, 2**k - 1, 2)) for k in range(2, levels + 1)}
    assert mixed(mera(2**levels)) == expected
    around = {k: [*pairs, 2**k - 1] for k, pairs in expected.items()}
    assert mixed(mera(2**levels, periodic=True)) == around
    last = {levels: expected[levels]} if levels > 1 else {}
    assert mixed(ATTN((2**2**levels,), chi=2)) == last
    assert mixed(TTN((2**2**levels,), chi=2)) == {}


UNEVEN = {
    # Worked out by hand. [0,3) [3,5) | [0,2) 2 3 4 | 0 1 2 3 4: the cut at 3 before the one at 2.
    3: ({2: [1]}, {2: [1]}),
    5: ({2: [1], 3: [2]}, {2: [1, 3], 3: [2, 4]}),
    6: ({2: [1], 3: [2, 4]}, {2: [1, 3], 3: [2, 4]}),
    7: ({2: [1], 3: [1, 3, 5]}, {2: [1, 3], 3: [1, 3, 5]}),
    9: ({2: [1], 3: [1, 3, 5], 4: [2, 4, 6]}, {2: [1, 3], 3: [1, 3, 5, 7], 4: [2, 4, 6, 8]}),
}


@pytest.mark.parametrize("count", UNEVEN)
def test_pairs_of_an_uneven_tree(count: int) -> None:
    plain, around = UNEVEN[count]
    assert mixed(mera(count)) == plain
    assert mixed(mera(count, periodic=True)) == around


@given(st.integers(2, 64), st.booleans())
def test_pairs_are_disjoint_and_none_is_left_out(count: int, periodic: bool) -> None:
    """No pair of siblings, no index twice; and no neighbours of different parents with both of them free."""
    net = mera(count, periodic)
    pairs, levels = mixed(net), net.tree.levels()
    nodes = {(0, count)}.union(*levels)
    assert 1 not in pairs
    for depth, level in enumerate(levels, start=1):
        taken = [i % len(level) for q in pairs.get(depth, []) for i in (q, q + 1)]
        assert len(taken) == len(set(taken))
        for q, (left, right) in enumerate(itertools.pairwise(level)):
            siblings = (left[0], right[1]) in nodes
            if q in pairs.get(depth, []):
                assert not siblings
            elif depth > 1 and not siblings:
                assert q in taken or q + 1 in taken


# ---- Bonds and states


@given(trees(), st.sampled_from([1, 3, 10**9]))
def test_no_state_exceeds_the_output(net: TreeNetwork, chi: int) -> None:
    wide = ar.from_spec({**net.to_spec(), "chi": chi})
    assert isinstance(wide, TreeNetwork)
    sizes = [size for step in program(wide).steps for pair in step.sizes() for size in pair]
    assert max([*sizes, math.prod(program(wide).start.out_dims)]) == wide.placement.generated
    assert sizes == sorted(sizes)
    modes = wide.placement.modes
    for name, shape in wide.core_shapes.items():
        if name.startswith("node"):
            i, j = map(int, name[4:].split("_"))
            under, whole = math.prod(modes[i:j]), math.prod(modes)
            assert shape[2] == min(chi, under, whole // under)
    assert wide.cost().largest_state_bytes == 4 * wide.placement.generated


def test_a_leaf_keeps_its_mode_whatever_chi() -> None:
    net = TTN((70,), chi=2, modes=(7, 2, 5))
    assert net.core_shapes == {"root": (2, 5), "node0_2": (7, 2, 2)}
    assert TTN((35,), chi=2, modes=(7, 5)).core_shapes == {"root": (7, 5)}


@EVERY
def test_modes_of_size_one_and_bonds_of_one(kind: type[TreeNetwork]) -> None:
    for modes in [(1, 1), (1, 1, 1, 1), (1, 2, 1, 3, 1)]:
        net = kind((math.prod(modes),), chi=1, modes=modes)
        params = normal(net)
        weight, pullback = net.vjp(params)
        assert np.allclose(weight, dense_tree.generate(net.to_spec(), params), rtol=1e-13, atol=0)
        g = np.ones(net.shape)
        expected = dense_tree.vjp(net.to_spec(), params, g)
        for name, x in pullback(g).items():
            assert np.allclose(x, expected[name], rtol=1e-12, atol=1e-14)


@EVERY
def test_two_modes_are_the_root_alone(kind: type[TreeNetwork]) -> None:
    net = kind((2, 3), chi=1, modes=(2, 3))
    assert net.core_shapes == {"root": (2, 3)}
    params = normal(net)
    assert np.array_equal(net.generate(params), params["root"])
    assert net.linear
    weight, pullback = net.vjp(params)
    cotangent = np.ones((2, 3))
    for x in (weight, net.generate(params), pullback(cotangent)["root"]):
        assert not np.shares_memory(x, params["root"])
        assert not np.shares_memory(x, cotangent)


# ---- Starts


def rms(x: Any) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


@given(trees(), st.integers(0, 99))
def test_calibrated_exactly(net: TreeNetwork, seed: int) -> None:
    try:
        params = net.init(rng=seed, std=0.3)
    except StartError:  # states of few entries, all of them negative before a relu
        assert net.activation == "relu"
        return
    assert ar.from_spec(net.to_spec()).core_shapes == {name: core.shape for name, core in params.items()}
    weight = net.generate(params)
    assert rms(weight) >= 0.3 * (1 - 1e-10)
    names = list(net.forward_states(params))
    for (name, x), step in zip(net.forward_states(params).items(), program(net).steps, strict=False):
        if isinstance(step, Activate):
            assert rms(x) == pytest.approx(1.0, rel=1e-10), name
    assert len(names) == len(program(net).steps) + 1


@EVERY
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_alive_and_of_the_wanted_size(kind: type[TreeNetwork], activation: str) -> None:
    for chi in (2, 4, 8):
        net = kind((120, 256), chi=chi, activation=activation)
        for seed in range(2, 5):
            params = net.init(rng=seed)
            weight, pullback = net.vjp(params)
            assert float(np.std(weight)) == pytest.approx(math.sqrt(2 / 256), rel=1e-10)
            assert all(np.linalg.norm(g) > 0 for g in pullback(weight).values())
            assert all(np.any(x != 0) for x in net.forward_states(params).values())


@EVERY
def test_isometric_cores(kind: type[TreeNetwork]) -> None:
    net = kind((2**12,), chi=5, modes=(2, 3, 4, 2, 2, 3, 2, 2, 2, 2))
    params = net.init(start="isometric")
    scaled = net.init()
    for name, core in params.items():
        if name == "root":
            continue
        matrix = core.reshape(-1, math.prod(core.shape[2:]))
        rows, columns = matrix.shape
        product = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
        assert np.allclose(product, np.eye(min(rows, columns)), atol=1e-13)
        ratio = scaled[name] / core
        assert np.allclose(ratio, ratio.flat[0], rtol=1e-9)


# ---- Specifications


@given(trees())
def test_round_trip(net: TreeNetwork) -> None:
    check_round_trip(net)


def test_kinds_are_not_equal() -> None:
    nets = [kind((4, 4), chi=2) for kind in KINDS]
    nets += [MERA((4, 4), chi=2, periodic=True), TTN((4, 4), chi=2, activation_site="node"), TTN((4, 4), chi=3)]
    assert len(set(nets)) == len(nets)


def spec(**changes: Any) -> Callable[[], Any]:
    return lambda: ar.from_spec({"network": "ttn", "shape": [4, 6], "chi": 2, **changes})


BAD = {
    "chi 0": (spec(chi=0), "chi must be an integer"),
    "negative chi": (spec(chi=-1), "chi must be an integer"),
    "bool chi": (spec(chi=True), "chi must be an integer"),
    "float chi": (spec(chi=2.0), "chi must be an integer"),
    "text chi": (spec(chi="2"), "chi must be an integer"),
    "no chi": (lambda: ar.from_spec({"network": "mera", "shape": [4]}), "lacks chi"),
    "chi of 5,000 digits": (spec(chi=10**5000), "chi must be an integer"),
    "activation": (spec(activation="swish"), "no activation is called 'swish'"),
    "site": (spec(activation_site="leaf"), "activation_site must be one of level, node"),
    "site of another type": (spec(activation_site=["level"]), "activation_site must be one of"),
    "aTTN at the nodes": (spec(network="attn", activation_site="node"), "activation_site must be one of level"),
    "MERA at the nodes": (spec(network="mera", activation_site="node"), "activation_site must be one of level"),
    "periodic TTN": (spec(periodic=True), "has no entries periodic"),
    "periodic aTTN": (spec(network="attn", periodic=False), "has no entries periodic"),
    "periodic number": (spec(network="mera", periodic=1), "periodic must be True or False"),
    "periodic none": (spec(network="mera", periodic=None), "periodic must be True or False"),
    "layers": (spec(layers=2), "has no entries layers"),
    "modes too small": (spec(modes=[2, 2]), "too few for 24 weights"),
    "one mode": (spec(modes=[24]), "2 to 64 modes"),
    "65 modes": (spec(modes=[2] * 5 + [1] * 60), "2 to 64 modes"),
    "huge sizes": (spec(shape=[10**4000] * 300), "shape must hold integers"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_specifications(name: str) -> None:
    make, sentence = BAD[name]
    with little(), pytest.raises(SpecError) as caught:
        make()
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 500


@EVERY
@pytest.mark.parametrize("chi", [2, 10**9, 2**64])
def test_enormous_trees_are_only_described(kind: type[TreeNetwork], chi: int) -> None:
    with little():
        net = kind((2**64,), chi=chi)
        assert net.parameter_count > 0
        assert net.cost().largest_state_bytes == 2**66
        for way in (net.init, lambda: net.require_memory("float32", backward=True)):
            with pytest.raises(MemoryLimitError):
                way()


# ---- Parameters


@EVERY
def test_wrong_parameters(kind: type[TreeNetwork]) -> None:
    net = kind((4, 6), chi=2)
    params = net.init()
    ways: list[Any] = [net.generate, net.vjp, net.generate_stepwise, net.forward_states]
    bad: list[tuple[Any, type[Exception], str]] = [
        ({k: v for k, v in params.items() if k != "root"}, ParameterError, "missing cores root"),
        ({**params, "mix2.0": params["root"]}, ParameterError, r"cores it has not: mix2\.0"),
        ({**params, "root": params["root"][None]}, ParameterError, r"core root has shape \(1, 2, 2\)"),
        ({**params, "root": params["root"].astype("float32")}, DTypeError, "all must have one"),
        ({k: v.astype(int) for k, v in params.items()}, DTypeError, "core root has dtype int64"),
        ({k: v.astype(complex) for k, v in params.items()}, DTypeError, "core root has dtype complex128"),
        ({**params, "root": params["root"].tolist()}, ParameterError, "core root must be an array"),
    ]
    for given_params, error, sentence in bad:
        for way in ways:
            with pytest.raises(error, match=sentence):
                way(given_params)
    with pytest.raises(ArrayError, match="the cotangent has shape"):
        net.vjp(params)[1](np.ones((6, 4)))
    with pytest.raises(DTypeError, match="the cotangent has dtype float32"):
        net.vjp(params)[1](np.ones((4, 6), "float32"))


# ---- Cost


@given(trees())
def test_totals(net: TreeNetwork) -> None:
    cost = net.cost("float64")
    assert (cost.parameters, cost.weights) == (net.parameter_count, net.weights)
    for entry in ("flops_forward", "flops_backward", "bytes_forward", "bytes_backward"):
        assert getattr(cost, entry) == sum(getattr(step, entry) for step in cost.steps)
    assert cost.largest_state_bytes == max(step.state_bytes for step in cost.steps) == 8 * net.placement.generated
    assert [step.step for step in cost.steps] == [step.name for step in program(net).all_steps]
    assert net.cost("complex64").flops_forward == 4 * cost.flops_forward

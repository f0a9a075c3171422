"""Values that other tests see only through what is made of them: draws, layouts, sizes, plain types."""

from typing import Any

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.networks.decompose import _full, chain_svd, checked, singular
from adntn_ref.networks.sizes import _by_bisection
from adntn_ref.program.modes import resolve_layout


@pytest.mark.parametrize(
    ("net", "terms"),
    [
        (ar.LowRank((3, 4), 2), {"left": 1, "right": 2}),
        (ar.CP((2, 3, 4), 5, modes=(2, 3, 4)), {"factor0": 5, "factor1": 1, "factor2": 1}),
        (ar.Tucker((4, 6), (2, 3), modes=(4, 6)), {"factor0": 2, "factor1": 3, "core": 1}),
        (ar.TensorTrain((8,), 2), {"core0": 1, "core1": 2, "core2": 2}),
        (ar.MPO((4, 4), 3), {"core0": 1, "core1": 3}),
    ],
)
def test_normal_draws_in_the_order_of_the_cores(net: Any, terms: dict[str, int]) -> None:
    """Variance one over the number of terms that a core is summed over."""
    rng, drawn = np.random.default_rng(3), net.init(3, start="normal")
    assert list(drawn) == list(terms)
    for name, shape in net.core_shapes.items():
        np.testing.assert_array_equal(drawn[name], rng.standard_normal(shape) / np.sqrt(terms[name]))


def test_the_root_of_frames_is_drawn_as_that_of_levels() -> None:
    """The root core is a vector for the start, not a matrix to be made orthogonal."""
    level = ar.TTN((2, 2, 2, 2), 2, activation="identity").init(5, start="isometric")
    node = ar.TTN((2, 2, 2, 2), 2, activation="identity", activation_site="node").init(5, start="isometric")
    assert list(level) == list(node)
    for name, core in level.items():
        np.testing.assert_array_equal(core, node[name])
    root = np.random.default_rng(5).standard_normal(level["root"].shape)
    np.testing.assert_array_equal(level["root"], root)


def test_the_start_of_a_wall_is_drawn_as_vectors() -> None:
    """Slices of the first column, or start vectors: normal, whatever the bricks are."""
    for boundary, names in (("constant", ["layer0.brick0", "layer0.brick2"]), ("trainable", ["start0", "start1"])):
        wall = ar.BrickWall((16,), 2, boundary=boundary)
        rng, drawn = np.random.default_rng(6), wall.init(6, start="isometric")
        for name, shape in list(wall.core_shapes.items())[:2]:
            assert name in names
            np.testing.assert_array_equal(drawn[name], rng.standard_normal(shape))
        first = next(iter(wall.forward_states(drawn)))
        assert first == {"constant": "layer0.even", "trainable": "start"}[boundary]


def test_steps_of_a_wall_and_entries_of_its_specification() -> None:
    paper, ours = (ar.BrickWall((8,), 2, activation="tanh", activation_every=x) for x in ("layer", "column"))
    start, odd = "layer0.even", "layer0.odd"
    assert list(paper.forward_states(paper.init())) == [start, odd, "layer0.activation", "layer1.even", "layer1.odd"]
    assert list(ours.forward_states(ours.init())) == [
        *(start, f"{start}.activation", odd, f"{odd}.activation"),
        *("layer1.even", "layer1.even.activation", "layer1.odd"),
    ]
    assert "activation_every" not in paper.to_spec()
    assert ours.to_spec()["activation_every"] == "column"


@pytest.mark.parametrize("modes", [(1, 1), (1, 5), (5, 1), (2, 1)])
def test_a_cp_network_of_modes_of_one_entry(modes: tuple[int, int]) -> None:
    """However the modes are cut in two halves for the product, neither is empty."""
    net = ar.CP(modes, 2, modes=modes)
    params = net.init(7)
    np.testing.assert_allclose(net.generate(params), params["factor0"] @ params["factor1"].T, rtol=1e-12)


def test_bounds_are_those_of_the_unfoldings() -> None:
    target = np.random.default_rng(8).standard_normal((3, 2, 4))
    low = ar.LowRank((3, 2, 4), 2).error_bound(target)
    last = np.linalg.svd(target.reshape(3, 8), compute_uv=False)[2]
    np.testing.assert_allclose([low.lower, low.upper], [last, last], rtol=1e-12)
    train = ar.TensorTrain((3, 2, 4), 2, modes=(3, 2, 4)).error_bound(target)
    tails = [last, np.linalg.norm(np.linalg.svd(target.reshape(6, 4), compute_uv=False)[2:])]
    np.testing.assert_allclose([train.lower, train.upper], [max(tails), np.hypot(*tails)], rtol=1e-12)
    tucker = ar.Tucker((3, 2, 4), (2, 1, 3), modes=(3, 2, 4)).error_bound(target)
    unfolded = [np.moveaxis(target, q, 0).reshape(n, -1) for q, n in enumerate(target.shape)]
    ends = [np.linalg.norm(np.linalg.svd(x, compute_uv=False)[r:]) for x, r in zip(unfolded, (2, 1, 3), strict=True)]
    np.testing.assert_allclose([tucker.lower, tucker.upper], [max(ends), np.linalg.norm(ends)], rtol=1e-12)


def test_targets_are_decomposed_in_double_precision() -> None:
    for single, double in (("float32", "float64"), ("complex64", "complex128")):
        assert checked(np.ones(3, single), (3,), 3).dtype == double
        assert ar.LowRank((2, 3), 1).decompose(np.ones((2, 3), single))["left"].dtype == single


def test_cores_of_a_chain_have_both_bonds() -> None:
    cores = chain_svd(np.arange(24.0), (2, 3, 4), (1, 2, 3, 1))
    assert [core.shape for core in cores] == [(1, 2, 2), (2, 3, 3), (3, 4, 1)]


def test_singular_vectors_without_what_the_values_do_not_reach() -> None:
    for rows, columns in ((5, 2), (2, 5)):
        u, s, v = singular(np.ones((rows, columns)))
        assert (u.shape, s.shape, v.shape) == ((rows, 2), (2,), (2, columns))


def test_the_parts_of_an_unfolding_without_padding() -> None:
    """Whole rows; and of the rows that are not all padding, the whole columns."""
    mask = np.array([[1, 1, 1], [1, 1, 0], [0, 0, 0]], bool)
    rows, block = _full(np.arange(9.0).reshape(3, 3), mask)
    np.testing.assert_array_equal(rows, [[0.0, 1.0, 2.0]])
    np.testing.assert_array_equal(block, [[0.0, 1.0], [3.0, 4.0]])


@pytest.mark.parametrize("std", [0.25, None])
def test_standard_deviations_of_combinations(std: float | None) -> None:
    low = ar.LowRank((30, 20), 3)
    nets: list[tuple[Any, float]] = [
        (ar.Sum(low, low), np.sqrt(2 / 20)),
        (ar.Split((30, 20), 2, lambda chunk: ar.LowRank((15, 20), 3)), np.sqrt(2 / 20)),
        (ar.Delta(3.0 * np.ones((30, 20)) * np.sign(np.arange(600).reshape(30, 20) % 2 - 0.5), low, -2.0), 0.03),
    ]
    for net, default in nets:
        change = net.generate(net.init(1, std=std)) - (net.base if isinstance(net, ar.Delta) else 0.0)
        np.testing.assert_allclose(change.std(), default if std is None else std, rtol=0.05)


@pytest.mark.parametrize("std", [1e-9, 1e-5, 1e5])
def test_small_and_large_starts_of_a_sum(std: float) -> None:
    """What counts as cancelled is a share of the wanted size, whatever that is."""
    net = ar.Sum(ar.LowRank((5, 6), 2), ar.LowRank((5, 6), 1))
    np.testing.assert_allclose(net.generate(net.init(3, std=std)).std(), std, rtol=1e-9)


def test_a_stack_of_unequal_weights() -> None:
    """The variance of its vector is the mean of the weights' default variances."""
    net = ar.Stack({"a": (10, 8), "b": (20, 16)}, ar.LowRank((20, 20), 4))
    whole = np.sqrt((80 * 2 / 8 + 320 * 2 / 16) / 400)
    made = net.generate(net.init(2))
    np.testing.assert_allclose(np.concatenate([w.ravel() for w in made.values()]).std(), whole, rtol=1e-6)


@pytest.mark.parametrize("last", [ar.TTN((4, 6), 2), ar.ATTN((4, 6), 3), ar.TTN((4, 6), 2, activation_site="node")])
def test_scaling_a_part_scales_its_weight(last: Any) -> None:
    """A program is scaled in its last step alone: before an activation a factor would not come through."""
    net = ar.Sum(ar.BrickWall((4, 6), 2, activation="tanh"), last)
    params = net.init(4)
    np.testing.assert_allclose(net.generate(net.scaled(params, 3.0)), 3.0 * net.generate(params), rtol=1e-12)


@pytest.mark.parametrize("kind", ["brickwall", "mera", "tt", "cp", "tucker"])
def test_layouts_are_kept(kind: str) -> None:
    """Row and column modes in an order that is not the default's."""
    size = {"brickwall": "layers", "mera": "chi", "tt": "chi", "cp": "rank", "tucker": "ranks"}[kind]
    for layout in ("axes", "interleaved"):
        wanted = {"layout": layout, "row_modes": [3, 2], "col_modes": [2, 4, 1]}
        net: Any = ar.from_spec({"network": kind, "shape": [5, 7], size: 1, **wanted})
        assert {key: net.to_spec()[key] for key in wanted} == wanted
        assert net.placement == resolve_layout((5, 7), None, layout, (3, 2), (2, 4, 1))
        assert (net.row_modes, net.col_modes) == ((3, 2), (2, 4, 1))
        assert net.modes == net.placement.modes


def test_the_layout_of_a_low_rank_network_is_its_matrix() -> None:
    assert ar.LowRank((3, 2, 4), 2).placement == resolve_layout((3, 2, 4), None, "axes", (3,), (8,))


def test_fields_are_plain_python() -> None:
    """Whatever they were given as: they are hashed, printed and written as JSON."""
    two, sin = np.int64(2), np.str_("sin")
    nets: list[Any] = [
        ar.BrickWall((8,), two, activation=sin, boundary=np.str_("trainable"), activation_every=np.str_("column")),
        ar.TTN((8,), two, activation=sin, activation_site=np.str_("node")),
        ar.CP((8,), two),
        ar.LowRank((4, 2), two),
        ar.MPO((4, 2), two),
        ar.TensorTrain((8,), two),
    ]
    given = ("layers", "chi", "rank", "activation", "boundary", "activation_every", "activation_site")
    for net in nets:
        for name in given:
            assert not hasattr(net, name) or type(getattr(net, name)) in (int, str)


def test_mixing_sides_of_different_sizes() -> None:
    """A periodic pair is made of the last index and the first, of three and two entries here."""
    net = ar.MERA((2, 5, 3, 3), 3, modes=(2, 5, 3, 3), periodic=True)
    assert net.core_shapes["mix2.3"] == (3, 2, 3, 2)


def test_the_shorter_modes_of_an_mpo_are_filled_with_ones() -> None:
    tall, wide = ar.MPO((8, 2), 2, (2, 2, 2), (2,)), ar.MPO((2, 8), 2, (2,), (2, 2, 2))
    assert (tall.row_modes, tall.col_modes) == ((2, 2, 2), (2, 1, 1))
    assert (wide.row_modes, wide.col_modes) == ((2, 1, 1), (2, 2, 2))
    assert tall.placement == resolve_layout((8, 2), None, "axes", (2, 2, 2), (2, 1, 1))


def test_a_frozen_weight_is_a_copy_in_c_order() -> None:
    given = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    net = ar.Delta(given.astype(">f8", order="F"), ar.LowRank((2, 3), 1))
    assert net.base.flags.c_contiguous
    assert not net.base.flags.writeable
    assert net.base.dtype.isnative
    assert net.identity == ar.Delta(given, net.net).identity
    assert net == ar.Delta(given.copy(), net.net)
    given[0, 0] = 7.0
    assert net.base[0, 0] == 0.0


@pytest.mark.parametrize("layout", ["flat", "axes", "interleaved"])
def test_weights_and_gradients_in_c_order(layout: str) -> None:
    for net in (ar.BrickWall((3, 5), 2, layout=layout), ar.CP((3, 5), 2, layout=layout)):
        weight, pullback = net.vjp(net.init())
        gradients = pullback(np.asfortranarray(np.ones((3, 5))))
        for array in (weight, net.generate(net.init()), *gradients.values()):
            assert array.flags.c_contiguous


def test_a_combination_recorded_operation_by_operation() -> None:
    """What other networks are differentiated by makes the same weight here."""
    low = ar.LowRank((2, 3), 1)
    for net in (ar.Sum(low, ar.Sum(low)), ar.Delta(np.eye(2, 3), low, 2.0), ar.Split((2, 3), 2, lambda c: ar.CP(c, 1))):
        params = net.init(9)
        np.testing.assert_array_equal(net._generate(params), net.generate(params))


def test_names_and_hashes_of_combinations() -> None:
    low = ar.LowRank((2, 3), 1)
    assert repr(ar.Sum(low, low)) == f"Sum({low!r}, {low!r})"
    frozen = [ar.Delta(k * np.ones((2, 3)), low) for k in range(1, 9)]
    assert len({hash(net) for net in frozen}) > 1
    assert hash(frozen[0]) == hash(ar.Delta(np.ones((2, 3)), low))


def test_frames_without_an_activation_are_linear() -> None:
    """The root has none: a tree of two modes is its root."""
    assert ar.TTN((4,), 2, activation_site="node").linear
    assert not ar.TTN((6,), 2, modes=(3, 2, 1), activation_site="node").linear
    assert not ar.TTN((8,), 2, activation_site="node").linear
    assert ar.TTN((8,), 2, activation="identity", activation_site="node").linear


def test_the_smallest_of_the_largest() -> None:
    """A tensor train on modes 3, 3 cannot use a bond above 3, and 3 is no power of two."""
    assert ar.at_most("tt", (9,), parameters=1000, modes=(3, 3)) == ar.TensorTrain((9,), 3, modes=(3, 3))
    assert ar.at_most("tt", (49,), parameters=1000, modes=(7, 7)) == ar.TensorTrain((49,), 7, modes=(7, 7))
    assert ar.at_most("tt", (25,), parameters=1000, modes=(5, 5)) == ar.TensorTrain((25,), 5, modes=(5, 5))


@pytest.mark.parametrize("cap", [1, 2, 3, 4, 5, 8, 9, 40])
@pytest.mark.parametrize("limit", [10, 35, 80, 100, 10_000])
def test_a_search_tries_no_size_above_twice_the_answer(cap: int, limit: int) -> None:
    tried: list[int] = []

    def make(size: int) -> Any:
        tried.append(size)
        return type("Made", (), {"parameter_count": 10 * min(size, cap)})()

    found = _by_bisection(make, limit)
    assert found == min(cap, limit // 10)
    assert max(tried) <= max(2, 4 * found if found == cap else 2 * found)

"""Low rank, tensor train, MPO, CP, Tucker: weights, gradients, starts, counts, specifications, refusals."""

import json
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pytest
from counting import little
from elsewhere import alike, place, there
from hypothesis import given
from hypothesis import strategies as st
from network_cases import check_round_trip, close
from refusals import refused, refuses_wrong_parameters

import adntn_ref as ar
from adntn_ref.errors import DTypeError, MemoryLimitError, SpecError
from adntn_ref.program import memory
from adntn_ref.validation import check_gradient, dense_shallow
from adntn_ref.validation.strategies import cotangents, mpos, parameters, shallow

NETS = {
    "lowrank": ar.LowRank((6, 5), 2),
    "tt": ar.TensorTrain((6, 5), 3),
    "tt, interleaved": ar.TensorTrain((6, 5), 3, layout="interleaved", row_modes=(2, 3), col_modes=(3, 2)),
    "mpo": ar.MPO((6, 5), 3),
    "cp": ar.CP((6, 5), 3),
    "cp, axes": ar.CP((6, 5), 3, layout="axes"),
    "tucker": ar.Tucker((6, 5), 2),
    "tucker, larger": ar.Tucker((6, 5), (2, 3, 1), modes=(3, 3, 4)),
}
EACH = pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))


def check(net: ar.Network, params: Any, g: Any, rtol: float) -> None:
    """Compare with the oracle; rounding is relative to the same sums without signs, where terms cancel."""
    spec, absolute = net.to_spec(), {name: np.abs(core) for name, core in params.items()}
    weight, pullback = there(net.vjp)(params)
    found = pullback(g)
    close(weight, dense_shallow.generate(spec, params), rtol, np.linalg.norm(dense_shallow.generate(spec, absolute)))
    assert alike(there(net.generate)(params), weight)
    sizes = dense_shallow.vjp(spec, absolute, np.abs(g))
    for name, expected in dense_shallow.vjp(spec, params, g).items():
        close(found[name], expected, rtol, float(np.linalg.norm(sizes[name])))
        assert found[name].dtype == g.dtype
        assert found[name].flags.c_contiguous
    assert weight.dtype == g.dtype
    assert weight.flags.c_contiguous


@given(shallow(), st.sampled_from(["float64", "float32", "complex128", "complex64"]), st.data())
def test_against_the_oracle(net: ar.Network, dtype: str, data: st.DataObject) -> None:
    rtol = 1e-12 if dtype in ("float64", "complex128") else 1e-5
    check(net, data.draw(parameters(net, dtype)), data.draw(cotangents(net, dtype)), rtol)


@EACH
def test_tape_and_differences(net: ar.Network) -> None:
    params, rng = net.init(rng=1), np.random.default_rng(0)
    g = rng.standard_normal((6, 5))
    taped = there(ar.grad(lambda p: ar.ad.sum(net.generate(p) * place(g))))(params)
    check_gradient(lambda p: (there(net.generate)(p) * g).sum(), lambda p: there(net.vjp)(p)[1](g), params)
    for name, expected in there(net.vjp)(params)[1](g).items():
        close(taped[name], expected, 1e-13)
    direction = {name: rng.standard_normal(core.shape) for name, core in params.items()}

    def loss(p: Any) -> Any:
        return ar.ad.sum(net.generate(p) ** 3)

    curved = there(ar.hvp)(loss, params, direction)
    h, moved = 1e-5, {}
    for sign in (1, -1):
        moved[sign] = there(ar.grad(loss))({name: core + sign * h * direction[name] for name, core in params.items()})
    whole = np.sqrt(sum(np.linalg.norm(x) ** 2 for x in curved.values()))
    for name, expected in curved.items():
        close((moved[1][name] - moved[-1][name]) / (2 * h), expected, 1e-7, float(whole))


@given(mpos(256), st.integers(0, 99))
def test_an_mpo_is_a_tensor_train_of_pairs(net: ar.MPO, seed: int) -> None:
    """One core of the train for each pair (r_k, c_k) in the interleaved layout, where no mode is 1."""
    rows, columns = net.row_modes, net.col_modes
    assert rows is not None
    assert columns is not None
    if len(rows) < 2:
        return
    shape = (prod(rows), prod(columns))
    whole = ar.MPO(shape, net.chi, rows, columns)
    train = ar.TensorTrain((prod(shape),), net.chi, modes=tuple(r * c for r, c in zip(rows, columns, strict=True)))
    params = whole.init(rng=seed)
    vector = there(train.generate)({name: core.reshape(train.core_shapes[name]) for name, core in params.items()})
    both = vector.reshape([size for pair in zip(rows, columns, strict=True) for size in pair])
    matrix = both.transpose([*range(0, both.ndim, 2), *range(1, both.ndim, 2)]).reshape(shape)
    assert np.allclose(there(whole.generate)(params), matrix, rtol=1e-13)


@given(shallow(), st.sampled_from([None, 0.3, 1e-6]))
def test_start_has_the_standard_deviation(net: ar.Network, std: float | None) -> None:
    params = net.init(rng=3, std=std)
    weight = there(net.generate)(params)
    wanted = np.sqrt(2 / max(1, prod(net.placement.shape[1:]))) if std is None else std
    # The root mean square, where all entries are equal (a rank-1 weight of one row or column of ones, say).
    sizes = [float(np.std(weight)), float(np.sqrt(np.mean(weight**2)))]
    assert min(abs(size - wanted) for size in sizes) <= 1e-9 * wanted
    again = net.init(rng=np.random.default_rng(3), std=std)
    assert all(np.array_equal(params[name], again[name]) for name in params)
    assert {name: core.shape for name, core in params.items()} == net.core_shapes


@EACH
def test_other_starts(net: ar.Network) -> None:
    cores = net.init(rng=0, start="normal", dtype="float32")
    assert {core.dtype for core in cores.values()} == {np.dtype("float32")}
    assert 0.05 < np.std(there(net.generate)(cores)) < 20
    with pytest.raises(SpecError, match="starts as calibrated_orthogonal or normal, got 'near_identity'"):
        net.init(start="near_identity")
    with pytest.raises(SpecError, match="std goes with the calibrated start"):
        net.init(start="normal", std=1.0)
    with pytest.raises(SpecError, match="std must be positive"):
        net.init(std=0.0)
    with pytest.raises(DTypeError):
        net.init(dtype="int64")


@EACH
def test_scaled(net: ar.Network) -> None:
    params = net.init(rng=0)
    assert np.allclose(there(net.generate)(net.scaled(params, 2.5)), 2.5 * there(net.generate)(params), rtol=1e-13)  # type: ignore[attr-defined]


# Counts


def test_counts_by_formula() -> None:
    assert ar.LowRank((120, 84), 5).parameter_count == 5 * (120 + 84)
    assert ar.CP((120, 84), 5).parameter_count == 5 * 14 * 2
    assert ar.CP((30, 4), 7, modes=(5, 6, 4)).parameter_count == 7 * (5 + 6 + 4)
    assert ar.Tucker((30, 4), (2, 3, 4), modes=(5, 6, 4)).parameter_count == 5 * 2 + 6 * 3 + 4 * 4 + 2 * 3 * 4
    assert ar.Tucker((30, 4), 5, modes=(5, 6, 4)).ranks == (5, 5, 4)
    assert ar.TensorTrain((64,), 3).bonds == (1, 2, 3, 3, 3, 2, 1)
    assert ar.TensorTrain((64,), 3).parameter_count == 2 * (2 + 6 + 9 + 9 + 6 + 2)
    assert ar.TensorTrain((64,), 100).bonds == (1, 2, 4, 8, 4, 2, 1)
    assert ar.LowRank((6, 5, 2), 3).core_shapes == {"left": (6, 3), "right": (3, 10)}
    assert ar.LowRank((7,), 1).core_shapes == {"left": (7, 1), "right": (1, 1)}


@pytest.mark.parametrize(
    ("rows", "columns", "chi", "count"),
    [
        ((4, 7, 7, 4), (4, 4, 4, 4), 4, 1024),
        ((4, 4, 4, 4), (1, 10, 1, 1), 4, 736),
        ((2, 10, 10, 2), (2, 5, 6, 2), 4, 1792),
        ((2, 5, 6, 2), (2, 3, 7, 2), 4, 944),
        ((2, 3, 7, 2), (1, 5, 2, 1), 2, 124),
        ((4, 4, 4, 4, 2), (4, 4, 8, 8, 4), 4, 1376),
        ((4, 4, 8, 8, 4), (4, 4, 8, 8, 4), 4, 2432),
        ((4, 4, 8, 8, 4), (1, 10, 1, 1, 1), 4, 928),
    ],
)
def test_published_counts(rows: tuple[int, ...], columns: tuple[int, ...], chi: int, count: int) -> None:
    """The MPO-Net structures of Gao et al. (arXiv 1904.06194)."""
    assert ar.MPO((prod(rows), prod(columns)), chi, rows, columns).parameter_count == count


@given(shallow())
def test_cost(net: ar.Network) -> None:
    cost = net.cost("float64")
    assert (cost.parameters, cost.weights) == (net.parameter_count, net.weights)
    for kind in ("flops_forward", "flops_backward", "bytes_forward", "bytes_backward"):
        assert getattr(cost, kind) == sum(getattr(step, kind) for step in cost.steps)
    if not isinstance(net, ar.CP):  # its products of factors take sums backward: see test_layer_cost
        assert cost.flops_backward == 2 * cost.flops_forward
    assert cost.largest_state_bytes == max(step.state_bytes for step in cost.steps) >= 8 * net.weights
    assert cost.peak_bytes_forward <= cost.peak_bytes_backward
    assert net.cost("complex64").flops_forward == 4 * cost.flops_forward
    assert json.loads(json.dumps(cost.to_dict()))["weights"] == net.weights


def test_costs_in_numbers() -> None:
    assert ar.LowRank((6, 5), 2).cost().flops_forward == 2 * 30 * 2
    train = ar.TensorTrain((2, 3, 4), 2, modes=(2, 3, 4))  # bonds 1, 2, 2, 1
    assert [step.flops_forward for step in train.cost().steps] == [0, 2 * 2 * 2 * 3 * 2, 2 * 6 * 2 * 4]
    cp = ar.CP((2, 3, 4), 5, modes=(2, 3, 4))  # (2 x 3) rows of products, and 4
    assert [(step.step, step.flops_forward) for step in cp.cost().steps] == [("factor1", 30), ("product", 2 * 24 * 5)]
    tucker = ar.Tucker((2, 3, 4), (1, 2, 3), modes=(2, 3, 4))
    assert [step.flops_forward for step in tucker.cost().steps] == [2 * 12 * 1, 2 * 18 * 2, 2 * 24 * 3]
    for net in NETS.values():
        with pytest.raises(SpecError, match="by the schedule keep alone"):
            net.cost(schedule="recompute")
        with pytest.raises(DTypeError, match="no cost for dtype"):
            net.cost("int64")


# Specifications


@given(shallow())
def test_round_trip(net: ar.Network) -> None:
    check_round_trip(net)
    assert net.linear


def of(kind: Any, **given: Any) -> Callable[[], Any]:
    return lambda: kind(**{"shape": (4, 6), **given})


BAD = {
    "rank 0": (of(ar.LowRank, rank=0), "rank must be an integer >= 1"),
    "rank 1.5": (of(ar.CP, rank=1.5), "rank must be an integer >= 1"),
    "bool rank": (of(ar.CP, rank=True), "rank must be an integer >= 1"),
    "chi None": (of(ar.TensorTrain, chi=None), "chi must be an integer >= 1"),
    "text ranks": (of(ar.Tucker, ranks="22"), "ranks must be a sequence"),
    "rank 0 in ranks": (of(ar.Tucker, ranks=(0, 1, 1, 1, 1)), "ranks must hold integers >= 1"),
    "no ranks": (of(ar.Tucker, ranks=()), "ranks must not be empty"),
    "too few ranks": (of(ar.Tucker, ranks=(2, 2)), "ranks must be one number or 5, one a mode, got 2"),
    "rank above the mode": (of(ar.Tucker, ranks=(2, 2, 3, 2, 2)), "rank 3 of mode 2 is above its size, 2"),
    "float rank": (of(ar.Tucker, ranks=1.0), "ranks must be a sequence"),
    "empty shape": (of(ar.LowRank, shape=(), rank=1), "shape must not be empty"),
    "shape": (of(ar.LowRank, shape=(4, -6), rank=1), "shape must hold integers >= 1"),
    "modes": (of(ar.TensorTrain, chi=2, modes=(2, 3)), "make 6 numbers, too few for 24 weights"),
    "one mode": (of(ar.CP, rank=2, modes=(24,)), "2 to 64 modes"),
    "layout": (of(ar.Tucker, ranks=2, layout="rows"), "no layout is called 'rows'"),
    "row modes": (of(ar.CP, rank=2, row_modes=(4,)), "row_modes and col_modes go with"),
    "modes of a low-rank network": (
        lambda: ar.from_spec({"network": "lowrank", "shape": [4, 6], "rank": 1, "modes": [4, 6]}),
        "a lowrank has no entries modes",
    ),
    "missing rank": (lambda: ar.from_spec({"network": "cp", "shape": [4]}), "specification of a cp lacks rank"),
    "missing ranks": (lambda: ar.from_spec({"network": "tucker", "shape": [4]}), "of a tucker lacks ranks"),
    "bomb: shape": (of(ar.LowRank, shape=(2**40, 2**40), rank=1), "more than 2^64 numbers"),
    "bomb: rank": (of(ar.CP, rank=10**5000), "rank must be an integer >= 1, at most 2^64"),
    "bomb: chi": (of(ar.TensorTrain, chi=2**65), "chi must be an integer >= 1, at most 2^64"),
    "bomb: ranks": (of(ar.Tucker, ranks=[2] * 10**6), "ranks must hold at most 1000 integers"),
    "bomb: modes": (of(ar.Tucker, ranks=1, modes=(2**63,) * 64), "more than 2^64 numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_specifications(name: str) -> None:
    refused(*BAD[name])


def test_large_but_possible_networks_are_only_described(monkeypatch: pytest.MonkeyPatch) -> None:
    large = [
        ar.LowRank((2**20, 2**20), 2**40),
        ar.TensorTrain((2**40,), 2**60),
        ar.CP((2**20, 2**20), 2**60),
        ar.Tucker((2**40,), 2**60, modes=(2**20, 2**20)),
    ]
    monkeypatch.setenv(memory.LIMIT_VARIABLE, "1GiB")
    for net in large:
        with little():
            assert net.parameter_count > 2**40
            with pytest.raises(MemoryLimitError, match="GiB"):
                net.init()
            with pytest.raises(MemoryLimitError, match="GiB"):
                net.require_memory("float32", backward=True)


@EACH
def test_wrong_parameters(net: ar.Network) -> None:
    refuses_wrong_parameters(net)
    fitted = ar.fit(net, np.random.default_rng(0).standard_normal((6, 5)), steps=300, rng=0)
    assert fitted.relative_error < 1

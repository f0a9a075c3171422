"""Sum, Split, Stack, Delta: weights, gradients, starts, costs."""

from typing import Any

import numpy as np
import pytest
from combine_cases import EACH, LOW, NETS, SHAPE, W0, WALL, cotangent
from counting import held
from elsewhere import alike, place, there
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.errors import DTypeError, MemoryLimitError, SpecError, StartError
from adntn_ref.networks import combination
from adntn_ref.program import memory
from adntn_ref.validation import check_gradient, dense_shallow
from adntn_ref.validation.strategies import bases, combinations, parameters


def parts_of(weight: Any) -> list[Any]:
    return list(weight.values()) if isinstance(weight, dict) else [weight]


def inner(weight: Any, g: Any) -> Any:
    return sum((a * b).sum() for a, b in zip(parts_of(weight), parts_of(g), strict=True))


def check(net: ar.Network, params: Any, dtype: str, rtol: float) -> None:
    g = cotangent(net, dtype)
    weight, pullback = there(net.vjp)(params)
    expected = dense_shallow.generate(net.to_spec(), params, bases(net))
    for made, again, wanted in zip(*map(parts_of, (weight, there(net.generate)(params), expected)), strict=True):
        assert made.shape == wanted.shape
        assert made.dtype == dtype
        assert alike(made, again)
        assert np.allclose(made, wanted, rtol=rtol, atol=10 * rtol)
    if isinstance(net, ar.Stack):
        assert list(weight) == list(expected) == [name for name, _ in net.shapes]
    found, wanted = pullback(g), dense_shallow.vjp(net.to_spec(), params, g)
    assert list(found) == list(net.core_shapes)
    whole = max(float(np.abs(x).max()) for x in wanted.values())
    for name, gradient in found.items():
        assert gradient.dtype == dtype
        assert np.allclose(gradient, wanted[name], rtol=10 * rtol, atol=10 * rtol * max(whole, 1))


@given(combinations(), st.sampled_from(["float64", "float32"]), st.data())
def test_against_the_oracle(net: ar.Network, dtype: str, data: st.DataObject) -> None:
    check(net, data.draw(parameters(net, dtype)), dtype, 1e-12 if dtype == "float64" else 1e-5)


@given(combinations(linear=True), st.data())
def test_complex(net: ar.Network, data: st.DataObject) -> None:
    assert net.linear
    check(net, data.draw(parameters(net, "complex128")), "complex128", 1e-12)


@EACH
def test_examples_against_the_oracle_and_differences(net: ar.Network) -> None:
    params, g = net.init(rng=1), cotangent(net, "float64")
    check(net, params, "float64", 1e-12)
    check_gradient(lambda p: inner(there(net.generate)(p), g), lambda p: there(net.vjp)(p)[1](g), params, rtol=1e-5)


@EACH
def test_tape(net: ar.Network) -> None:
    params, g = net.init(rng=1), cotangent(net, "float64")
    taped = there(ar.grad(lambda p: inner(net.generate(p), place(g))))(params)
    closed = there(net.vjp)(params)[1](g)
    for name, expected in closed.items():
        assert np.allclose(taped[name], expected, rtol=1e-12, atol=1e-14)
    # Gradients of gradients, through the pullback too.
    squares = there(ar.hvp)(lambda p: inner(net.generate(p), net.generate(p)), params, closed)
    through = there(
        ar.grad(lambda p: sum((x * place(closed[k])).sum() for k, x in net.vjp(p)[1](net.generate(p)).items()))
    )(params)
    for name, expected in squares.items():
        assert np.allclose(2 * through[name], expected, rtol=1e-9, atol=1e-11)


@EACH
def test_a_variable_among_arrays(net: ar.Network) -> None:
    params, g = net.init(rng=1), cotangent(net, "float64")
    name = list(params)[-1]
    found = there(ar.grad(lambda core: inner(net.generate({**place(params), name: core}), place(g))))(params[name])
    assert np.allclose(found, there(net.vjp)(params)[1](g)[name], rtol=1e-12, atol=1e-14)


def test_names_and_counts() -> None:
    assert list(NETS["sum"].core_shapes) == [*(f"0.{n}" for n in WALL.core_shapes), "1.left", "1.right"]
    assert "1.2.0.left" in NETS["sum of sums"].core_shapes
    assert NETS["sum"].parameter_count == WALL.parameter_count + LOW.parameter_count
    assert NETS["stack"].core_shapes == NETS["sum"].core_shapes
    assert NETS["delta"].core_shapes == WALL.core_shapes
    assert NETS["delta"].weights == 24
    assert not NETS["sum"].linear
    assert ar.Sum(LOW, ar.CP(SHAPE, 2)).linear
    lengths = [part.placement.shape for part in ar.Split((10,), 4, lambda chunk: ar.LowRank(chunk, 1)).parts]
    assert lengths == [(3,), (3,), (3,), (1,)]


def test_as_sums_and_pieces_by_hand() -> None:
    params = NETS["sum"].init(rng=0)
    first = {name[2:]: core for name, core in params.items() if name.startswith("0.")}
    second = {name[2:]: core for name, core in params.items() if name.startswith("1.")}
    total = there(WALL.generate)(first) + there(LOW.generate)(second)
    assert np.allclose(there(NETS["sum"].generate)(params), total, rtol=1e-14)
    stacked: Any = there(NETS["stack"].generate)(params)
    assert list(stacked) == ["b", "a"]
    assert np.array_equal(stacked["b"].ravel(), total.ravel()[:12])
    assert np.array_equal(stacked["a"], total.ravel()[12:].reshape(2, 3, 2))
    assert np.allclose(there(NETS["delta"].generate)(first), W0 + 0.5 * there(WALL.generate)(first), rtol=1e-14)


# Starts


@given(combinations(), st.sampled_from([None, 0.2]))
def test_start_has_the_standard_deviation(net: ar.Network, std: float | None) -> None:
    params = net.init(rng=5, std=std)
    frozen = there(net.generate)(
        {name: np.zeros(core.shape) for name, core in params.items()}
    )  # the activation is tanh
    weight = np.concatenate(
        [(w - w0).ravel() for w, w0 in zip(*map(parts_of, (there(net.generate)(params), frozen)), strict=True)]
    )
    if std is None:
        return
    # The root mean square, where all entries are equal.
    assert min(abs(np.std(weight) - std), abs(np.sqrt(np.mean(weight**2)) - std)) <= 1e-9
    assert all(np.array_equal(core, net.init(rng=5, std=std)[name]) for name, core in params.items())


def test_default_starts() -> None:
    he = np.sqrt(2 / 6)
    for name in ("sum", "sum of sums", "split", "uneven split"):
        assert np.isclose(np.std(NETS[name].generate(NETS[name].init(rng=0))), he, rtol=1e-9)
    change = there(NETS["delta"].generate)(NETS["delta"].init(rng=0)) - W0
    assert np.isclose(np.std(change), 0.01 * np.std(W0), rtol=1e-9)
    zero = ar.Delta(np.zeros(SHAPE), WALL)
    assert np.isclose(np.std(there(zero.generate)(zero.init())), 0.01 * he, rtol=1e-9)
    stack: Any = there(NETS["stack"].generate)(NETS["stack"].init(rng=0))
    whole = np.concatenate([w.ravel() for w in stack.values()])
    assert np.isclose(np.std(whole), np.sqrt((12 * 2 / 3 + 12 * 2 / 6) / 24), rtol=1e-9)
    node = ar.Sum(ar.TTN(SHAPE, 2, activation_site="node"), LOW)
    assert np.isclose(np.std(there(node.generate)(node.init(rng=0))), he, rtol=1e-9)


@EACH
def test_other_starts(net: ar.Network) -> None:
    assert {core.dtype for core in net.init(dtype="float32", start="normal").values()} == {np.dtype("float32")}
    with pytest.raises(SpecError, match="std goes with the calibrated start"):
        net.init(start="normal", std=1.0)
    with pytest.raises(SpecError, match="std must be positive"):
        net.init(std=-1.0)
    with pytest.raises(SpecError, match=r"no start|starts as"):
        net.init(start="zeros")


# Cost


@EACH
def test_cost(net: ar.Network) -> None:
    cost = net.cost("float64")
    assert (cost.parameters, cost.weights) == (net.parameter_count, net.weights)
    for kind in ("flops_forward", "flops_backward", "bytes_forward", "bytes_backward"):
        assert getattr(cost, kind) == sum(getattr(step, kind) for step in cost.steps)
    assert len({step.step for step in cost.steps}) == len(cost.steps)
    assert cost.largest_state_bytes == max(step.state_bytes for step in cost.steps) >= 8 * net.weights
    assert cost.peak_bytes_forward <= cost.peak_bytes_backward
    with pytest.raises(DTypeError, match="no cost for dtype"):
        net.cost("int64")


def test_costs_in_numbers() -> None:
    both = ar.Sum(LOW, LOW).cost()
    assert both.flops_forward == 2 * LOW.cost().flops_forward + 24
    assert [step.step for step in both.steps] == ["0.product", "1.product", "sum"]
    assert ar.Delta(W0, LOW).cost().flops_forward == LOW.cost().flops_forward + 48
    assert ar.Delta(W0, LOW).cost().flops_backward == LOW.cost().flops_backward + 24


BIG = (256, 256)
LARGE = {
    "sum": ar.Sum(*[ar.BrickWall(BIG, 2)] * 3),
    "split": ar.Split(BIG, 5, lambda chunk: ar.BrickWall(chunk, 2)),
    "delta": ar.Delta(np.zeros(BIG, "float32"), ar.BrickWall(BIG, 2)),
    "stack": ar.Stack({"a": BIG}, ar.BrickWall(BIG, 2)),
    "train": ar.TensorTrain(BIG, 16, layout="interleaved"),
    "mpo": ar.MPO((250, 250), 16),
    "cp": ar.CP((250, 250), 32, layout="axes"),
    "tucker": ar.Tucker(BIG, 8, modes=(16, 16, 16, 16)),
    "lowrank": ar.LowRank(BIG, 50),
}


@pytest.mark.parametrize("name", LARGE)
def test_memory_as_it_is_held(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = LARGE[name]
    params, cost = net.init(), net.cost("float64")
    cores = 8 * net.parameter_count

    def both() -> None:
        weight, pullback = net.vjp(params)
        pullback(weight)

    forward, backward = held(lambda: net.generate(params), anew=True), held(both, anew=True)
    assert 0.3 * cost.peak_bytes_forward < forward < 1.15 * cost.peak_bytes_forward + cores
    assert 0.2 * cost.peak_bytes_backward < backward < 1.15 * (cost.peak_bytes_backward + cores)
    monkeypatch.setenv(memory.LIMIT_VARIABLE, "100KiB")
    for way in (net.generate, net.vjp):
        with pytest.raises(MemoryLimitError, match="GiB"):
            way(params)
    with pytest.raises(MemoryLimitError, match="GiB"):
        net.init()


def test_fit() -> None:
    for name in ("sum", "split", "delta"):
        fitted = ar.fit(NETS[name], 0.3 * np.sin(np.arange(24.0)).reshape(SHAPE), steps=300, rng=0)
        assert fitted.relative_error < 1


def test_parts_that_cancel_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two parts of one entry each start with the same size, and with opposite signs every other time."""
    net = ar.Sum(ar.LowRank((1,), 2), ar.LowRank((1,), 2))
    for seed in range(10):
        assert np.isclose(abs(there(net.generate)(net.init(rng=seed, std=0.2))), 0.2, rtol=1e-12)
    monkeypatch.setattr(combination, "CANCELLED", 1e9)
    with pytest.raises(StartError, match="in 20 draws the parts of a sum cancelled each other"):
        net.init()

"""A layer at a batch size: counts against arrays that count, peaks as they are held, crossovers by trying sizes."""

import json
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from counting import Counting, count, counting, held
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.ad.tape import Primitive
from adntn_ref.errors import DTypeError, SpecError
from adntn_ref.networks.layer import LayerCost
from adntn_ref.networks.peaks import applied
from adntn_ref.validation.strategies import shallow

W0 = np.cos(np.arange(48.0)).reshape(8, 6)
NETS: dict[str, Any] = {
    "lowrank": ar.LowRank((8, 6), 3),
    "mpo": ar.MPO((8, 6), 3),
    "mpo of a convolution": ar.MPO((8, 3, 2), 3, row_modes=(2, 4), col_modes=(3, 2)),
    "train": ar.TensorTrain((8, 6), 3, layout="interleaved"),
    "train, flat": ar.TensorTrain((8, 6), 3),
    "cp": ar.CP((8, 6), 4, layout="axes"),
    "tucker": ar.Tucker((8, 6), 2, layout="axes"),
    "sum": ar.Sum(ar.LowRank((8, 6), 3), ar.MPO((8, 6), 2)),
    "delta": ar.Delta(W0, ar.MPO((8, 6), 2), 0.5),
    "split": ar.Split((8, 6), 2, lambda chunk: ar.TensorTrain(chunk, 2)),
}
EACH = pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))


def counted(net: Any) -> dict[str, Any]:
    return {name: counting(shape, k) for k, (name, shape) in enumerate(net.core_shapes.items())}


def dense(weight: Any, x: Any) -> Any:
    return ar.ad.matmul(x, ar.ad.transpose(ar.ad.reshape(weight, shape=(-1, x.shape[1]))))


@given(shallow())
def test_operations_of_shallow_networks_as_they_are_done(net: Any) -> None:
    params, cost = counted(net), net.cost("float64")
    done, (weight, pullback) = count(lambda: net.vjp(params))
    assert done == cost.flops_forward
    assert count(lambda: net.generate(params))[0] == cost.flops_forward
    assert count(lambda: pullback(counting(weight.shape)))[0] == cost.flops_backward


@EACH
def test_operations_of_combinations_as_they_are_done(net: Any) -> None:
    params, cost = counted(net), net.cost("float64")
    done, (weight, pullback) = count(lambda: net.vjp(params))
    assert done == cost.flops_forward
    assert count(lambda: pullback(counting(weight.shape)))[0] == cost.flops_backward


@given(shallow(), st.integers(1, 4))
def test_operations_site_by_site_as_they_are_done(net: Any, batch: int) -> None:
    if not net.apply_refusal:
        check_sites(net, batch)


@EACH
def test_operations_site_by_site_of_combinations(net: Any) -> None:
    if not net.apply_refusal:
        check_sites(net, 5)


def check_sites(net: Any, batch: int) -> None:
    x = counting((batch, net.weights // net.placement.shape[0]))
    once, training = applied(net, "float64", batch)
    done, (y, pullback) = count(lambda: ar.vjp(net.apply, counted(net), x))
    assert done == once.flops == count(lambda: net.apply(counted(net), x))[0]
    assert done + count(lambda: pullback(counting(y.shape)))[0] == training.flops


@EACH
@pytest.mark.parametrize("uses", [1, 3])
def test_operations_of_every_way(net: Any, uses: int) -> None:
    """All products between two updates, on one tape: gradients of several products are added up."""
    batch = 4
    cost = ar.layer_cost(net, batch, "float64", uses)
    params, weight = counted(net), counting(net.placement.shape, 9)
    xs = [counting((batch, cost.columns), k) for k in range(uses)]
    gs = [counting((batch, cost.rows), 20 + k) for k in range(uses)]

    def once(p: Any, *zs: Any) -> list[Any]:
        made = net.generate(p)
        return [dense(made, z) for z in zs]

    runs: dict[str, Any] = {
        "dense": (lambda p, *zs: [dense(p["weight"], z) for z in zs], {"weight": weight}),
        "generate": (lambda p, *zs: [dense(net.generate(p), z) for z in zs], params),
        "cached": (once, params),
        "sites": (lambda p, *zs: [net.apply(p, z) for z in zs], params),
    }
    assert [way.way for way in cost.ways] == list(runs)[: len(cost.ways)]
    for way in cost.ways:
        f, p = runs[way.way]
        assert count(partial(f, p, *xs))[0] == way.flops, way.way
        assert training_operations(f, p, xs, gs) == way.training_flops, way.way


def training_operations(f: Any, params: Any, xs: list[Any], gs: list[Any]) -> int:
    """Operations forward and backward, with a loss of all outputs that counts nothing itself."""

    def no_work(xp: Any, *ys: Any) -> Any:
        return np.float64(0.0)

    loss = Primitive(no_work)
    loss.rules = tuple(lambda g, value, *ys, k=k: gs[k] for k in range(len(gs)))
    training = ar.ad.value_and_grad(lambda p, zs: loss(*f(p, *zs)), argnums=(0, 1))
    return count(lambda: training(params, xs))[0]


def test_a_program_is_counted_by_its_own_cost() -> None:
    net = ar.BrickWall((16, 8), layers=3, activation="tanh")
    for schedule in ("keep", "recompute"):
        layer, cost = ar.layer_cost(net, 5, "float64", 2, schedule), net.cost("float64", schedule)
        product = 2 * 5 * 16 * 8
        assert layer["dense"].flops == 2 * product
        assert layer["generate"].flops == 2 * (cost.flops_forward + product)
        assert layer["cached"].flops == cost.flops_forward + 2 * product
        both = cost.flops_forward + cost.flops_backward
        assert layer["cached"].training_flops == both + 2 * 3 * product + net.weights
        assert layer["generate"].training_flops == 2 * (both + 3 * product) + net.parameter_count
        assert layer.schedule == schedule
        moved = 8 * (5 * 8 + 16 * 8 + 5 * 16)
        assert layer["cached"].bytes_moved == cost.bytes_forward + 2 * moved
        assert "activations" in layer.sites_refusal
        with pytest.raises(SpecError, match="no way is called 'sites' here; there are dense, generate, cached"):
            layer["sites"]


def _forward(xp: Any, y: Any) -> Any:
    return np.float64(0.0)


a_loss = Primitive(_forward)
a_loss.rules = (lambda g, loss, y: np.ones(y.shape),)


def trained(f: Any, params: Any, x: Any) -> Any:
    return ar.value_and_grad(lambda p, z: a_loss(f(p, z)), argnums=(0, 1))(params, x)


LARGE: dict[str, Any] = {
    "lowrank": ar.LowRank((300, 256), 40),
    "mpo": ar.MPO((256, 256), 8),
    "mpo, padding": ar.MPO((250, 200), 5, row_modes=(4, 8, 8), col_modes=(4, 8, 8)),
    "train": ar.TensorTrain((256, 256), 8, layout="axes"),
    "cp": ar.CP((256, 256), 30, layout="axes"),
    "tucker": ar.Tucker((256, 256), 6, layout="axes", row_modes=(16, 16), col_modes=(16, 16)),
    "sum": ar.Sum(ar.LowRank((256, 256), 30), ar.MPO((256, 256), 4)),
    "mera": ar.MERA((256, 256), 4),
}


@pytest.mark.parametrize("batch", [16, 500])
@pytest.mark.parametrize("net", LARGE.values(), ids=list(LARGE))
def test_memory_of_every_way(net: Any, batch: int) -> None:
    """Parameters and inputs, which were there before, and what the call holds; training with any loss."""
    layer = ar.layer_cost(net, batch, "float64")
    params, x = net.init(), np.ones((batch, layer.columns))
    weight = {"weight": net.generate(params).copy()}
    cores, inputs, whole = 8 * net.parameter_count, 8 * x.size, 8 * net.weights
    runs: dict[str, Any] = {
        "dense": (lambda p, z: dense(p["weight"], z), weight, whole),
        "generate": (lambda p, z: dense(net.generate(p), z), params, cores),
        "sites": (net.apply, params, cores),
    }
    for way in layer.ways:
        if way.way == "cached":
            assert way.training_peak_bytes == layer["generate"].training_peak_bytes
            continue
        f, p, there = runs[way.way]
        found = held(partial(f, p, x)) + there + inputs
        # NumPy's own buffers where one small array is broadcast against another, as in a product of factors; and some
        # KiB that the interpreter keeps of its own accord, which show beside the smallest layers
        buffers = 2**17 if isinstance(net, ar.CP) else 2**14
        assert 0.95 * way.peak_bytes < found < 1.05 * way.peak_bytes + buffers, way.way
        found = held(partial(trained, f, p, x)) + there + inputs
        assert 0.93 * way.training_peak_bytes < found < 1.07 * way.training_peak_bytes + buffers, way.way


def test_memory_of_a_cached_weight() -> None:
    net = ar.MPO((64, 32), 4)
    one, many = ar.layer_cost(net, 10, "float64"), ar.layer_cost(net, 10, "float64", uses=3)
    cores, n = 8 * net.parameter_count, 8 * net.weights
    product = n + 8 * (10 * 32 + 10 * 64)
    assert one["cached"].peak_bytes == cores + max(product, net.cost("float64").peak_bytes_forward)
    assert many["cached"].training_peak_bytes == one["cached"].training_peak_bytes + n  # the sum of the cotangents
    assert many["dense"].training_peak_bytes == one["dense"].training_peak_bytes + n
    assert many["sites"].training_peak_bytes == one["sites"].training_peak_bytes + cores
    assert many["generate"].peak_bytes == one["generate"].peak_bytes


# Crossovers


def ratio(layer: LayerCost, way: str) -> float:
    return layer[way].flops / layer["dense"].flops


@pytest.mark.parametrize(
    "net",
    [
        *NETS.values(),
        ar.BrickWall((16, 8), layers=2),
        ar.TTN((16, 16), 4, activation_site="node"),
        ar.MPO((16, 16), 1),
        ar.MPO((16, 16), 6),
        ar.LowRank((4, 4), 40),
        ar.CP((64, 2), 3, layout="axes"),
        ar.CP((64, 64), 3, layout="axes"),
    ],
    ids=repr,
)
def test_crossovers_by_trying(net: Any) -> None:
    cross = ar.layer_cost(net, 7).crossover
    by_batch = [ar.layer_cost(net, batch) for batch in range(1, max(60, cross.generate_batch + 2))]
    assert cross.generate_batch == 1 + next(k for k, layer in enumerate(by_batch) if ratio(layer, "generate") <= 2)
    by_uses = [ar.layer_cost(net, 7, uses=uses) for uses in range(1, cross.cached_uses + 2)]
    assert cross.cached_uses == 1 + next(k for k, layer in enumerate(by_uses) if ratio(layer, "cached") <= 2)
    if net.apply_refusal:
        assert (cross.sites_batch, cross.sites_until_batch, cross.sites_bond, cross.bond) == (None,) * 4
        return
    pays = [k for k, layer in enumerate(by_batch, start=1) if ratio(layer, "sites") <= 1]
    if cross.sites_batch is None or cross.sites_batch > len(by_batch):
        assert pays == []
    else:
        assert pays == list(range(cross.sites_batch, len(by_batch) + 1))
    less = [k for k, layer in enumerate(by_batch, start=1) if layer["sites"].flops < layer["generate"].flops]
    last = len(by_batch) if cross.sites_until_batch is None else min(cross.sites_until_batch, len(by_batch))
    assert less == list(range(1, last + 1))


@pytest.mark.parametrize(
    ("net", "name"),
    [
        (ar.MPO((16, 16), 3), "chi"),
        (ar.MPO((16, 16), 3, row_modes=(4, 4), col_modes=(4, 4)), "chi"),
        (ar.MPO((4, 4), 3, row_modes=(4,), col_modes=(4,)), "chi"),  # one core: the dense product at any bond
        (ar.TensorTrain((16, 16), 2, layout="axes"), "chi"),
        (ar.LowRank((12, 20), 2), "rank"),
        (ar.LowRank((1, 20), 2), "rank"),
        (ar.CP((16, 16), 2, layout="axes"), "rank"),
    ],
    ids=repr,
)
def test_the_largest_bond_by_trying(net: Any, name: str) -> None:
    cross = ar.layer_cost(net, 9).crossover
    assert cross.bond == name
    made = [replace(net, **{name: size}) for size in range(1, 40)]
    layers = [ar.layer_cost(other, 9) for other in made]
    pays = [size for size, layer in enumerate(layers, start=1) if ratio(layer, "sites") <= 1]
    distinct = {tuple(other.core_shapes.values()): size for size, other in reversed(list(enumerate(made, start=1)))}
    assert cross.sites_bond == max((size for size in pays if size in distinct.values()), default=0)


def test_networks_without_one_bond() -> None:
    assert ar.layer_cost(NETS["sum"], 4).crossover.bond is None
    assert ar.layer_cost(NETS["tucker"], 4).crossover.sites_bond is None


# Words, specifications, refusals


def test_words() -> None:
    layer = ar.layer_cost(ar.MPO((1024, 1024), 4), 64)
    text = " ".join(layer.words)
    assert "it is slower than the dense layer" in text
    assert f"From a batch of {layer.crossover.generate_batch:,} on" in text
    assert f"up to chi = {layer.crossover.sites_bond}" in text
    assert "0.266 times the dense layer's operations" in text
    assert "with less than a 5-fold saving it may well be slower" in text
    assert "it can pay." in " ".join(ar.layer_cost(ar.MPO((1024, 1024), 2), 64).words)
    wide = ar.layer_cost(ar.MPO((16, 16), 8), 64, uses=3)
    assert "does not pay" in " ".join(wide.words)
    assert f"Above a batch of {wide.crossover.sites_until_batch:,}" in " ".join(wide.words)
    assert "3 products between two updates" in " ".join(wide.words)
    wall = ar.layer_cost(ar.BrickWall((16, 16), 2), 64)
    assert "no product site by site, without the weight: its activations" in " ".join(wall.words)
    assert "at every rank" in " ".join(ar.layer_cost(ar.LowRank((1, 20), 2), 9).words)
    assert "seconds" in layer.words[-1]


def test_as_json() -> None:
    for net in (NETS["mpo"], NETS["train, flat"], NETS["delta"]):
        layer = ar.layer_cost(net, 3, uses=2)
        loaded = json.loads(json.dumps(layer.to_dict()))
        assert loaded["batch"] == 3
        assert [way["way"] for way in loaded["ways"]] == [way.way for way in layer.ways]
        assert loaded["ways"][0]["flops"] == 2 * 2 * 3 * 48
        assert loaded["words"] == list(layer.words)
        assert loaded["crossover"]["generate_batch"] == layer.crossover.generate_batch
        assert (loaded["rows"], loaded["columns"], loaded["weights"]) == (8, 6, 48)
        assert hash(layer) == hash(ar.layer_cost(net, 3, uses=2))
        assert ar.layer_cost(net, 3).dtype == "float32"


@pytest.mark.parametrize("bad", [0, -1, 1.5, "64", True, None])
def test_bad_sizes(bad: Any) -> None:
    with pytest.raises(SpecError, match="batch"):
        ar.layer_cost(NETS["mpo"], bad)
    with pytest.raises(SpecError, match="uses"):
        ar.layer_cost(NETS["mpo"], 4, uses=bad)


def test_refusals() -> None:
    for dtype in ("int8", "complex64", None):
        with pytest.raises(DTypeError, match="layers are of float32 or float64"):
            ar.layer_cost(NETS["mpo"], 4, dtype)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="no schedule is called"):
        ar.layer_cost(ar.BrickWall((8, 8), 2), 4, schedule="store")
    stack = ar.Stack({"a": (4, 3), "b": (3, 4)}, ar.LowRank((24,), 2))
    with pytest.raises(SpecError, match="a layer has one weight, which a Stack does not make"):
        ar.layer_cost(stack, 4)
    with pytest.raises(SpecError, match="which a dict does not make"):
        ar.layer_cost({}, 4)  # type: ignore[arg-type]


def test_nothing_is_too_large_to_be_counted() -> None:
    layer = ar.layer_cost(ar.MPO((2**20, 2**20), 2), 2**20)
    assert layer["dense"].flops == 2 * 2**60
    assert layer["sites"].flops < layer["dense"].flops / 1000


def test_counting_counts() -> None:
    a, b = counting((2, 3)), counting((3, 4))
    done, product = count(lambda: a @ b)
    assert (done, type(product)) == (2 * 3 * 8, Counting)
    assert count(lambda: np.sum(a + a, axis=0))[0] == 6 + 6

"""Sum, Split, Stack, Delta: specifications, nesting, frozen weights, refusals."""

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from combine_cases import EACH, LOW, NETS, SHAPE, TWO, W0, WALL, cotangent
from counting import little
from hypothesis import given
from refusals import refused, refuses_wrong_parameters

import adntn_ref as ar
from adntn_ref.errors import ArrayError, DTypeError, NonFiniteError, SpecError
from adntn_ref.validation.strategies import bases, combinations


@given(combinations(depth=3))
def test_round_trip(net: ar.Network) -> None:
    text = json.dumps(net.to_spec(), sort_keys=True)
    given_bases = bases(net)
    for base in (given_bases, list(given_bases.values()), tuple(given_bases.values())):
        again = ar.from_spec(json.loads(text), base=base)
        assert again == net
        assert hash(again) == hash(net)
        assert json.dumps(again.to_spec(), sort_keys=True) == text
        assert again.core_shapes == net.core_shapes
    for other in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert other == net
        assert other.placement == net.placement
    assert len(repr(net)) > 10


def test_equality() -> None:
    assert ar.Sum(WALL, LOW) == NETS["sum"] != ar.Sum(LOW, WALL)
    assert ar.Delta(W0, WALL, 0.5) == ar.Delta(W0.copy(), WALL, np.float64(0.5)) == NETS["delta"]
    assert NETS["delta"] not in (ar.Delta(W0, WALL), ar.Delta(W0, LOW, 0.5), ar.Delta(2 * W0, WALL, 0.5))
    assert ar.Delta(W0.astype("float32"), WALL, 0.5) != NETS["delta"]
    assert ar.Stack(list(TWO.items()), NETS["sum"]) == NETS["stack"]  # type: ignore[arg-type]
    assert ar.Stack(dict(reversed(TWO.items())), NETS["sum"]) != NETS["stack"]
    assert NETS["delta"] != "delta"
    changed: Any = dataclasses.replace(NETS["delta"], alpha=2)  # type: ignore[type-var]
    assert changed == ar.Delta(W0, WALL, 2)


def test_the_frozen_weight_is_a_copy_that_cannot_change() -> None:
    mine = np.asfortranarray(W0)
    net = ar.Delta(mine, LOW)
    params = {name: np.zeros(shape) for name, shape in net.core_shapes.items()}
    mine[:] = 0
    assert np.array_equal(net.generate(params), W0)
    for other in (net, pickle.loads(pickle.dumps(net))):
        with pytest.raises(ValueError, match="read-only"):
            other.base[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        net.alpha = 2.0  # type: ignore[misc]
    swapped = W0.astype(W0.dtype.newbyteorder(">"))
    assert ar.Delta(swapped, LOW) == net
    assert f"float64 array of shape (4, 6), sha256 {net.identity[2][:12]}" in repr(net)


def test_frozen_weights_of_the_same_bytes_and_other_shapes() -> None:
    flat = ar.Delta(W0.reshape(-1), ar.LowRank((24,), 1))
    net = ar.Sum(ar.Delta(W0, LOW), ar.Split(SHAPE, 1, lambda chunk: flat))
    assert ar.from_spec(net.to_spec(), base=[W0, W0.reshape(-1)]) == net
    with pytest.raises(SpecError, match="none of the 1 given is"):
        ar.from_spec(net.to_spec(), base=W0)


def test_dtypes_of_a_delta() -> None:
    for base in ("float32", "float64"):
        net = ar.Delta(W0.astype(base), LOW)
        for dtype in ("float32", "float64", "complex64"):
            params = {name: core.astype(dtype) for name, core in net.init().items()}
            weight, pullback = net.vjp(params)
            assert {weight.dtype, *(g.dtype for g in pullback(weight).values())} == {np.dtype(dtype)}
    imaginary = ar.Delta(1j * W0, LOW)
    with pytest.raises(DTypeError, match="W0 is complex, the parameters float64"):
        imaginary.generate(imaginary.init())
    cores = {name: core.astype("complex128") for name, core in LOW.init().items()}
    assert np.allclose(imaginary.generate(cores) - LOW.generate(cores), 1j * W0)
    with pytest.raises(SpecError, match="W0 is complex, and the network"):
        ar.Delta(1j * W0, WALL)


def nested(depth: int) -> ar.Network:
    net: ar.Network = LOW
    for _ in range(depth):
        net = ar.Sum(net)
    return net


def nested_spec(depth: int) -> Any:
    spec: Any = LOW.to_spec()
    for _ in range(depth):
        spec = {"network": "sum", "parts": [spec]}
    return spec


def doubled(depth: int) -> Any:
    spec: Any = LOW.to_spec()
    for _ in range(depth):
        spec = {"network": "sum", "parts": [spec, spec]}
    return spec


def test_nesting_has_an_end() -> None:
    net = nested(20)
    assert ar.from_spec(net.to_spec()) == net
    params = net.init(rng=0)
    assert list(params) == ["0." * 20 + "left", "0." * 20 + "right"]
    assert np.isclose(np.std(net.generate(params)), np.sqrt(2 / 6))
    deep = nested_spec(50_000)
    for way in (
        lambda: nested(21),
        lambda: ar.from_spec(nested_spec(21)),
        lambda: ar.from_spec(deep),
        lambda: ar.Delta(W0, nested(20)),
        lambda: ar.Split(SHAPE, 1, lambda chunk: nested(20)),
        lambda: ar.Stack({"a": SHAPE}, nested(20)),
    ):
        with little(), pytest.raises(SpecError, match="combinations nest at most 20 deep"):
            way()
    with little(calls=10**6), pytest.raises(SpecError, match="those inside its parts counted, got"):
        ar.from_spec(doubled(20))


SPECS = {name: net.to_spec() for name, net in NETS.items()}


def spec(name: str, **changes: Any) -> Callable[[], Any]:
    return lambda: ar.from_spec({**SPECS[name], **changes}, base=W0)


def low(chunk: tuple[int, ...]) -> ar.Network:
    return ar.LowRank(chunk, 1)


FIVE = {"shape": [4, 6], "dtype": "float64"}
BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "no parts": (lambda: ar.Sum(), "a sum has 1 to 1000 networks, got 0"),
    "many parts": (lambda: ar.Sum(*[LOW] * 1001), "a sum has 1 to 1000 networks, got 1001"),
    "many parts inside": (lambda: ar.Sum(ar.Sum(*[LOW] * 600), ar.Sum(*[LOW] * 600)), "counted, got 1200"),
    "a list": (lambda: ar.Sum([WALL, LOW]), "a sum is made of networks, got a list"),  # type: ignore[arg-type]
    "a specification": (lambda: ar.Sum(LOW.to_spec()), "a sum is made of networks, got a dict"),  # type: ignore[arg-type]
    "shapes": (lambda: ar.Sum(LOW, ar.LowRank((6, 4), 2)), "networks of one shape, got (4, 6) and (6, 4)"),
    "a stack in a sum": (lambda: ar.Sum(NETS["stack"]), "a sum needs networks of one weight, a stack makes several"),
    "a stack in a stack": (lambda: ar.Stack({"a": (24,)}, NETS["stack"]), "a stack needs networks of one weight"),
    "a stack in a delta": (lambda: ar.Delta(W0, NETS["stack"]), "a delta needs networks of one weight"),
    "chunks": (lambda: ar.Split(SHAPE, 25, low), "24 weights split into 1 to 24 chunks, got n = 25"),
    "an empty chunk": (
        lambda: ar.Split((5,), 4, low),
        "4 chunks of 2 leave none of the 5 weights to the last; take n = 3",
    ),
    "no chunk": (lambda: ar.Split(SHAPE, 0, low), "n must be an integer >= 1"),
    "chunk bomb": (lambda: ar.Split((10**9,), 10**8, low), "split into 1 to 1000 chunks"),
    "shape bomb": (lambda: ar.Split((2**63, 2**63), 2, low), "more than 2^64"),
    "made of nothing": (lambda: ar.Split(SHAPE, 2, lambda c: None), "a split is made of networks, got a NoneType"),  # type: ignore[arg-type,return-value]
    "made too large": (lambda: ar.Split(SHAPE, 2, lambda c: LOW), "chunk 0 has 12 weights, its network makes 24"),
    "stack too large": (lambda: ar.Stack({"a": (5, 5)}, LOW), "stack have 25 entries, its network makes 24"),
    "stack of nothing": (lambda: ar.Stack({}, LOW), "a stack needs at least one weight"),
    "stack of a number": (lambda: ar.Stack(3, LOW), "the shapes of a stack must be a list"),  # type: ignore[arg-type]
    "stack without names": (lambda: ar.Stack([(4, 6)], LOW), "pairs of a name and a shape, got (4, 6)"),
    "stack with an empty name": (lambda: ar.Stack({"": (4, 6)}, LOW), "pairs of a name and a shape"),
    "stack with a name twice": (lambda: ar.Stack([("a", (12,)), ("a", (12,))], LOW), "a name of its own"),
    "stack shapes": (lambda: ar.Stack({"a": (-4, -6)}, LOW), "shape must hold integers >= 1"),
    "stack bomb": (lambda: ar.Stack([("a", (1,))] * 2000, LOW), "at most 1000 entries"),
    "delta of a network alone": (lambda: ar.Delta(W0, W0), "a delta is made of networks, got a ndarray"),  # type: ignore[arg-type]
    "delta shapes": (lambda: ar.Delta(W0.T, LOW), "W0 has shape (6, 4), the network makes (4, 6)"),
    "alpha 0": (lambda: ar.Delta(W0, LOW, 0), "alpha must be a finite number other than 0, got 0"),
    "alpha inf": (lambda: ar.Delta(W0, LOW, float("inf")), "alpha must be a finite number other than 0"),
    "alpha nan": (lambda: ar.Delta(W0, LOW, float("nan")), "alpha must be a finite number other than 0"),
    "alpha text": (lambda: ar.Delta(W0, LOW, "1"), "alpha must be a finite number"),  # type: ignore[arg-type]
    "alpha bool": (lambda: ar.Delta(W0, LOW, True), "alpha must be a finite number"),
    "parts no list": (spec("sum", parts={"a": 1}), "the parts of a sum must be a list"),
    "parts bomb": (spec("sum", parts=[LOW.to_spec()] * 10**6), "list of at most 1000 entries"),
    "parts of another kind": (spec("sum", parts=[3]), "a specification is a dict, got a int"),
    "sum with a shape": (spec("sum", shape=[4, 6]), "a sum has no entries shape; allowed: parts"),
    "split without parts": (lambda: ar.from_spec({"network": "split", "shape": [4]}), "of a split lacks parts"),
    "split parts": (spec("split", parts=SPECS["split"]["parts"][:2]), "chunk 0 has 12 weights, its network makes 8"),
    "split of none": (spec("split", parts=[]), "n must be an integer >= 1"),
    "stack without net": (lambda: ar.from_spec({"network": "stack", "shapes": []}), "lacks net"),
    "delta without alpha": (
        lambda: ar.from_spec({k: v for k, v in SPECS["delta"].items() if k != "alpha"}, base=W0),
        "lacks alpha",
    ),
    "delta without W0": (lambda: ar.from_spec(SPECS["delta"]), "from_spec(spec, base=W0); none was given"),
    "delta with another W0": (
        lambda: ar.from_spec(SPECS["delta"], base=W0 + 1),
        "none of the 1 given is {'shape': [4, 6]",
    ),
    "delta of another shape": (
        spec("delta", base={**SPECS["delta"]["base"], "shape": [6, 4]}),
        "none of the 1 given is {'shape': [6, 4]",
    ),
    "delta base no dict": (spec("delta", base=[1]), "dict with shape, dtype and sha256, got [1]"),
    "delta base short": (spec("delta", base=FIVE), "dict with shape, dtype and sha256"),
    "delta digest": (spec("delta", base={**FIVE, "sha256": ["a"]}), "does not hold W0"),
    "unknown": (lambda: ar.from_spec({"network": "product"}), "allowed: brickwall"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_specifications(name: str) -> None:
    refused(*BAD[name])


def test_bad_frozen_weights() -> None:
    with pytest.raises(ArrayError, match="W0 must be an array, got a list"):
        ar.Delta(W0.tolist(), LOW)
    with pytest.raises(DTypeError, match="W0 has dtype int64"):
        ar.Delta(W0.astype("int64"), LOW)
    with pytest.raises(NonFiniteError, match="W0 holds 24 entries"):
        ar.Delta(W0 * np.nan, LOW)


@EACH
def test_bad_parameters_and_cotangents(net: ar.Network) -> None:
    refuses_wrong_parameters(net)
    pullback = net.vjp(net.init())[1]
    with pytest.raises(ArrayError, match="the cotangent"):
        pullback(np.ones((5, 5)))
    with pytest.raises(DTypeError, match="has dtype float32"):
        pullback(cotangent(net, "float32"))


def test_bad_cotangents_of_a_stack() -> None:
    net = NETS["stack"]
    pullback, g = net.vjp(net.init())[1], cotangent(net, "float64")
    for bad in ({"a": g["a"]}, {**g, "c": g["a"]}, list(g.values())):
        with pytest.raises(ArrayError, match="a dict with the names b, a"):
            pullback(bad)
    with pytest.raises(ArrayError, match=r"the cotangent of a has shape \(12,\), the weight \(2, 3, 2\)"):
        pullback({**g, "a": g["a"].ravel()})

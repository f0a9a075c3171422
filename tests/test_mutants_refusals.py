"""Refusals to the letter: what each names, what it quotes, and the last size that is still allowed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from refusals import refused as refused_with

import adntn_ref as ar
from adntn_ref.errors import ArrayError, DTypeError, NonFiniteError, ParameterError, SpecError
from adntn_ref.networks.combination import MAX_DEPTH, MAX_PARTS, list_of
from adntn_ref.networks.registry import COMBINATIONS, NETWORKS
from adntn_ref.program.modes import MAX_LENGTH

LOW = ar.LowRank((2, 3), 1)
W0 = np.eye(2, 3)
DELTA = ar.Delta(W0, LOW)
TREE = ar.TTN((8,), 2)
PAIRS = "the shapes of a stack are pairs of a name and a shape, got"
HOLDS = "a delta's specification does not hold W0: pass it as from_spec(spec, base=W0); "
REAL_ALONE = "W0 is complex, and the network with its activations takes real parameters alone$"


def refused(make: Callable[[], Any], sentence: str) -> None:
    """Refused as every specification is, in a line that begins with ``sentence``; ends with it, where it has a stop."""
    refused_with(make, sentence.removesuffix("$"))
    with pytest.raises(SpecError) as caught:
        make()
    text = str(caught.value)
    assert text == sentence[:-1] if sentence.endswith("$") else text.startswith(sentence)


def spec(net: Any, **changes: Any) -> Callable[[], Any]:
    return lambda: ar.from_spec({**net.to_spec(), **changes})


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ar.BrickWall((8,), 0), "layers must be an integer >= 1, at most 2^64, got 0"),
        (lambda: ar.BrickWall((8,), 1, boundary="x"), "boundary must be one of constant, trainable, got 'x'"),
        (lambda: ar.BrickWall((8,), 1, activation_every="x"), "activation_every must be one of layer, column, got 'x'"),
        (lambda: ar.BrickWall((2**20,), 5_001), "5001 layers on 20 modes are over 100000 bricks"),
        (lambda: ar.TTN((8,), 0), "chi must be an integer >= 1, at most 2^64, got 0"),
        (lambda: ar.TTN((8,), 2, activation_site="x"), "activation_site must be one of level, node, got 'x'"),
        (lambda: ar.ATTN((8,), 2, activation_site="node"), "activation_site must be one of level, got 'node'"),
        (lambda: ar.MERA((8,), 2, periodic=1), "periodic must be True or False, got 1"),  # type: ignore[arg-type]
        (lambda: ar.TensorTrain((8,), 0), "chi must be an integer >= 1"),
        (lambda: ar.MPO((8, 2), 0), "chi must be an integer >= 1"),
        (lambda: ar.CP((8,), 0), "rank must be an integer >= 1"),
        (lambda: ar.LowRank((8,), 0), "rank must be an integer >= 1"),
        (lambda: ar.LowRank((0,), 1), "shape must hold"),
        (lambda: ar.Tucker((8,), "x"), "ranks must be"),  # type: ignore[arg-type]
        (lambda: ar.Tucker((8,), (1, 1)), "ranks must be one number or 3, one a mode, got 2"),
        (lambda: ar.Tucker((8,), (1, 3, 1)), "rank 3 of mode 1 is above its size, 2"),
        (lambda: ar.Split((0,), 1, lambda c: LOW), "shape must hold"),
        (lambda: ar.Split((6,), 0, lambda c: LOW), "n must be an integer >= 1"),
        (lambda: ar.Split((6,), 7, lambda c: LOW), "6 weights split into 1 to 6 chunks, got n = 7"),
        (lambda: ar.Split((9,), 6, lambda c: LOW), "6 chunks of 2 leave none of the 9 weights to the last; take n = 5"),
        (lambda: ar.Split((9,), 4, lambda c: LOW), "4 chunks of 3 leave none of the 9 weights to the last; take n = 3"),
        (lambda: ar.Split((12,), 2, lambda c: ar.LowRank((5,), 1)), "chunk 0 has 6 weights, its network makes 5"),
        (lambda: ar.Sum(LOW, ar.LowRank((3, 2), 1)), "a sum needs networks of one shape, got (2, 3) and (3, 2)"),
        (lambda: ar.Sum(), f"a sum has 1 to {MAX_PARTS} networks, got 0"),
        (lambda: ar.Sum(3), "a sum is made of networks, got a int"),  # type: ignore[arg-type]
        (lambda: ar.Split((6,), 1, lambda c: 3), "a split is made of networks, got a int"),  # type: ignore
        (lambda: ar.Delta(W0, 3), "a delta is made of networks, got a int"),  # type: ignore[arg-type]
        (lambda: ar.Stack({"a": (6,)}, 3), "a stack is made of networks, got a int"),  # type: ignore[arg-type]
        (lambda: ar.Sum(ar.Stack({"a": (6,)}, LOW)), "a sum needs networks of one weight, a stack makes several"),
        (lambda: ar.Stack({"a": (5,)}, LOW), "the weights of the stack have 5 entries, its network makes 6"),
        (lambda: ar.Stack({}, LOW), "a stack needs at least one weight$"),
        (lambda: ar.Stack({"a": (0,)}, LOW), "shape must hold"),
        (lambda: ar.Stack(7, LOW), "the shapes of a stack must be a list of at most 1000 entries, got 7"),  # type: ignore[arg-type]
        (lambda: ar.Stack([["a", (3,)]] * 2, LOW), "a stack needs a name of its own for each weight, got 'a' twice"),
        (lambda: ar.Stack(["ab"], LOW), f"{PAIRS} 'ab'"),
        (lambda: ar.Stack([["a"]], LOW), f"{PAIRS} ['a']"),
        (lambda: ar.Stack([["a", (6,), 1]], LOW), f"{PAIRS} ['a', (6,), 1]"),
        (lambda: ar.Stack([[1, (6,)]], LOW), f"{PAIRS} [1, (6,)]"),
        (lambda: ar.Stack([["", (6,)]], LOW), f"{PAIRS} ['', (6,)]"),
        (lambda: ar.Delta(np.eye(2), LOW), "W0 has shape (2, 2), the network makes (2, 3)"),
        (lambda: ar.Delta(W0, LOW, 0), "alpha must be a finite number other than 0, got 0"),
        (lambda: ar.Delta(W0, LOW, True), "alpha must be a finite number other than 0, got True"),
        (lambda: ar.Delta(W0 + 0j, ar.BrickWall((2, 3), 2)), REAL_ALONE),
        (spec(ar.Sum(LOW), parts=7), "the parts of a sum must be a list of at most 1000 entries, got 7"),
        (spec(ar.Split((6,), 1, lambda c: LOW), parts=7), "the parts of a split must be a list of at most 1000"),
        (spec(DELTA), f"{HOLDS}none was given; wanted is {{'shape': "),
        (lambda: ar.from_spec(DELTA.to_spec(), base=np.eye(3)), f"{HOLDS}none of the 1 given is {{"),
        (lambda: ar.from_spec(DELTA.to_spec(), base=[np.eye(3), np.eye(4)]), f"{HOLDS}none of the 2 given is {{"),
        (spec(DELTA, base=7), "the base of a delta is a dict with shape, dtype and sha256, got 7"),
        (spec(DELTA, base={"shape": [0], "dtype": "float64", "sha256": ""}), "shape must hold"),
        (spec(TREE, network="tree"), "no network is called 'tree'; allowed: " + ", ".join((*NETWORKS, *COMBINATIONS))),
        (lambda: ar.from_spec(7), "a specification is a dict, got a int"),  # type: ignore[arg-type]
        (spec(TREE, a=1, b=2), "a ttn has no entries a, b; allowed: shape, chi, modes, activation, activation_site"),
        (lambda: ar.from_spec({"network": "ttn"}), "the specification of a ttn lacks shape, chi"),
        (lambda: ar.from_spec({"network": "split", "n": 2}), "a split has no entries n; allowed: shape, parts"),
        (lambda: ar.from_spec({"network": "stack"}), "the specification of a stack lacks shapes, net"),
        (lambda: ar.at_most("x", (8,), parameters=9), "at_most knows no family 'x'; allowed: " + ", ".join(NETWORKS)),
        (lambda: ar.at_most("tt", (8,), parameters=0), "parameters must be an integer >= 1"),
        (lambda: ar.at_most("tt", (8,), parameters=99, chi=2), "at_most finds chi of a tt; leave it out"),
        (lambda: ar.at_most("cp", (8,), parameters=9, b=1, a=2), "a cp takes no a, b; allowed: shape, rank, modes"),
        (lambda: ar.at_most("cp", (8,), parameters=5), "even with rank = 1 this cp has 6 parameters, more than 5"),
        (lambda: LOW.init(start="x"), "a low-rank network starts as calibrated_orthogonal or normal, got 'x'"),
        (lambda: ar.CP((8,), 1).init(start="x"), "a CP network starts as"),
        (lambda: ar.Tucker((8,), 1).init(start="x"), "a Tucker network starts as"),
        (lambda: ar.TensorTrain((8,), 1).init(start="x"), "a tensor train starts as"),
        (lambda: ar.MPO((8, 2), 1).init(start="x"), "an MPO starts as"),
        (lambda: LOW.init(start="normal", std=1.0), "std goes with the calibrated start, not with start='normal'"),
        (lambda: TREE.init(start="normal", std=1.0), "std goes with the calibrated start, not with start='normal'"),
        (lambda: ar.Sum(LOW).init(start="normal", std=1.0), "std goes with the calibrated start, not with"),
        (lambda: LOW.init(std=0.0), "std must be positive and finite, got 0.0"),
        (lambda: LOW.init(std=np.inf), "std must be positive and finite, got inf"),
        (lambda: ar.Sum(LOW, LOW).init(std=-1.0), "std must be positive and finite, got -1.0"),
        (lambda: DELTA.init(std=np.nan), "std must be positive and finite, got nan"),
        (lambda: LOW.init(std=True), "std must be positive and finite, got True"),
        (lambda: LOW.cost(schedule="x"), "a low-rank network runs by the schedule keep alone, got 'x'"),
    ],
)  # fmt: skip
def test_specifications(make: Callable[[], Any], sentence: str) -> None:
    refused(make, sentence)


NODE = ar.TTN((8,), 2, activation_site="node")
CASES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: LOW.init(dtype="float16"), DTypeError, "parameters are drawn in float32 or float64, got 'float16'"),
    (lambda: LOW.cost("x"), DTypeError, "no cost for dtype x; allowed: float32, float64, complex64, complex128"),
    (lambda: LOW.generate([]), ParameterError, "a dict from core name to array, got a list"),  # type: ignore[arg-type]
    (lambda: LOW.generate({"left": 1, "right": 2}), ParameterError, "core left must be an array, got a int"),
    (lambda: LOW.generate({**LOW.init(), "left": W0}), ParameterError, r"left has shape \(2, 3\); .* needs \(2, 1\)"),
    (lambda: LOW.generate(half()), DTypeError, "core left has dtype float16; allowed: float32, float64, compl"),
    (lambda: NODE.generate(turned()), DTypeError, "has dtype complex128; allowed: float32, float64$"),
    (lambda: LOW.generate(mixed()), DTypeError, "core right has dtype float32, those before it float6"),
    (lambda: TREE.jvp(TREE.init(), TREE.init(dtype="float32")), DTypeError, "tangents are float32, the parameters"),
    (lambda: LOW.vjp(LOW.init())[1](np.eye(2)), ArrayError, r"cotangent has shape \(2, 2\), the weight \(2, 3\)"),
    (lambda: LOW.vjp(LOW.init())[1](3.0), ArrayError, r"cotangent has shape \(\), the weight \(2, 3\)"),
    (lambda: LOW.vjp(LOW.init())[1](W0 + 0j), DTypeError, "cotangent has dtype complex128, the weight float64"),
    (lambda: stacked()(np.eye(2)), ArrayError, "the cotangent of a stack is a dict with the names a, b"),
    (lambda: stacked()({"a": np.ones(2)}), ArrayError, "is a dict with the names a, b"),
    (lambda: stacked()({"a": 1.0, "b": np.ones(4)}), ArrayError, r"of a has shape \(\), the weight \(2,\)"),
    (lambda: stacked()({"a": np.ones(2), "b": np.ones(3)}), ArrayError, r"of b has shape \(3,\), the weight \(4,\)"),
    (lambda: stacked()({"a": np.ones(2), "b": np.ones(4, "f4")}), DTypeError, "of b has dtype float32, the weight"),
    (lambda: ar.Delta([1.0], LOW), ArrayError, "W0 must be an array, got a list"),
    (lambda: ar.Delta(np.eye(2, 3, dtype=int), LOW), DTypeError, "W0"),
    (lambda: ar.Delta(W0 * np.nan, LOW), NonFiniteError, "W0"),
    (lambda: ar.Delta(W0 + 0j, LOW).generate(LOW.init()), DTypeError, "W0 is complex, the parameters float64"),
    (lambda: LOW.decompose([1.0]), ArrayError, "the target must be a NumPy array, got a list"),
    (lambda: LOW.decompose(np.eye(2)), ArrayError, r"the target has shape \(2, 2\), the network makes \(2, 3\)"),
    (lambda: LOW.decompose(np.eye(2, 3, dtype=int)), DTypeError, "the target"),
    (lambda: LOW.decompose(W0 * np.nan), NonFiniteError, "the target"),
]  # fmt: skip


def half() -> dict[str, Any]:
    return {name: core.astype("float16") for name, core in LOW.init().items()}


def turned() -> dict[str, Any]:
    return {name: core + 0j for name, core in NODE.init().items()}


def mixed() -> dict[str, Any]:
    return {"left": LOW.init()["left"], "right": LOW.init(dtype="float32")["right"]}


def stacked() -> Callable[[Any], Any]:
    net = ar.Stack({"a": (2,), "b": (4,)}, LOW)
    pull: Callable[[Any], Any] = net.vjp(net.init())[1]
    return pull


@pytest.mark.parametrize(("run", "kind", "sentence"), CASES)
def test_arrays(run: Callable[[], Any], kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=f"(^|[( ]){sentence}"):
        run()


@pytest.mark.parametrize("count", [1, 5, 6, 7])
def test_names_are_listed_up_to_five(count: int) -> None:
    wall = ar.BrickWall((2**9,), 1)
    params = wall.init()
    more = f" and {count - 5} more" if count > 5 else ""
    gone = sorted(params)[:count]
    with pytest.raises(ParameterError) as missing:
        wall.generate({name: core for name, core in params.items() if name not in gone})
    assert str(missing.value).endswith(f"missing cores {', '.join(gone[:5])}{more}")
    extra = [f"x{k}" for k in range(count)]
    with pytest.raises(ParameterError) as added:
        wall.generate({**params, **dict.fromkeys(extra, 0)})
    assert str(added.value).endswith(f"cores it has not: {', '.join(extra[:5])}{more}")
    with pytest.raises(ParameterError, match=r"missing cores .*; cores it has not: x"):
        wall.generate({"x": params["layer0.brick0"]})


def test_the_last_size_that_is_allowed() -> None:
    assert ar.BrickWall((2**20,), 5_000).layers == 5_000
    parts = [ar.LowRank((1, 1), 1)] * MAX_PARTS
    assert len(ar.Sum(*parts).nets) == MAX_PARTS
    assert ar.Split((MAX_PARTS,), MAX_PARTS, lambda chunk: parts[0]).n == MAX_PARTS
    refused(lambda: ar.Sum(*parts, parts[0]), f"a sum has 1 to {MAX_PARTS} networks, got {MAX_PARTS + 1}")
    half = ar.Sum(*parts[: MAX_PARTS // 2])
    assert ar.Sum(half, half).nets == (half, half)
    refused(
        lambda: ar.Sum(half, half, parts[0]),
        f"a sum has 1 to {MAX_PARTS} networks, those inside its parts counted, got {MAX_PARTS + 1}",
    )
    assert list_of([0] * MAX_LENGTH, "x") == [0] * MAX_LENGTH
    refused(lambda: list_of([0] * (MAX_LENGTH + 1), "x"), f"x must be a list of at most {MAX_LENGTH} entries, got [0, ")
    refused(lambda: ar.Split((2001,), MAX_PARTS + 1, lambda c: LOW), f"2001 weights split into 1 to {MAX_PARTS} chunks")


def test_the_last_depth_that_is_allowed() -> None:
    net: Any = LOW
    for _ in range(MAX_DEPTH):
        net = ar.Sum(net)
    assert ar.from_spec(net.to_spec()) == net
    refused(lambda: ar.Sum(net), f"combinations nest at most {MAX_DEPTH} deep")
    deeper = {"network": "sum", "parts": [net.to_spec()]}
    refused(lambda: ar.from_spec(deeper), f"combinations nest at most {MAX_DEPTH} deep")


def test_the_name_of_a_delta() -> None:
    digest = DELTA.identity[2]
    assert len(digest) == 64
    assert repr(DELTA) == f"Delta(<float64 array of shape (2, 3), sha256 {digest[:12]}>, {LOW!r}, alpha=1.0)"


def test_a_specification_error_is_one() -> None:
    with pytest.raises(SpecError, match=r"^no network is called None; allowed: brickwall, ttn"):
        ar.from_spec({})

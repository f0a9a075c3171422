"""Specifications: there and back, equality and hashing, and one sentence for each bad entry."""

import dataclasses
import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from counting import little
from hypothesis import given
from network_cases import check_round_trip

import adntn_ref as ar
from adntn_ref.errors import SpecError
from adntn_ref.program.modes import positive_integers, resolve_layout, shown
from adntn_ref.validation.strategies import walls_and_mpos

WALL = {"network": "brickwall", "shape": [4, 6], "layers": 2}
MPO = {"network": "mpo", "shape": [4, 6], "chi": 2}


@given(walls_and_mpos())
def test_round_trip(net: ar.Network) -> None:
    check_round_trip(net)


@given(walls_and_mpos(), walls_and_mpos())
def test_equal_exactly_where_specifications_are(one: ar.Network, other: ar.Network) -> None:
    assert (one == other) == (one.to_spec() == other.to_spec())


def test_defaults_and_spellings_are_one_network() -> None:
    plain = ar.BrickWall((4, 6), layers=2)
    assert ar.from_spec(WALL) == plain
    spelt = ar.BrickWall([np.int64(4), 6], layers=np.int32(2), modes=[2] * 5, layout="flat")  # type: ignore[arg-type]
    assert spelt == plain
    assert hash(spelt) == hash(plain)
    assert plain != ar.BrickWall((4, 6), layers=2, activation="tanh")
    assert plain != ar.BrickWall((4, 6), layers=2, boundary="trainable")
    assert plain != ar.BrickWall((4, 6), layers=2, activation_every="column")
    assert plain != ar.BrickWall((4, 6), layers=2, layout="axes")
    assert ar.MPO((4, 6), chi=2) == ar.MPO((4, 6), chi=2, row_modes=(2, 2, 1), col_modes=(2, 2, 2))
    assert plain.to_spec()["network"] == "brickwall"


def test_frozen() -> None:
    net = ar.BrickWall((4, 6), layers=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        net.layers = 3  # type: ignore[misc]
    net.core_shapes.clear()  # a copy
    assert net.core_shapes


def test_replace() -> None:
    net = ar.BrickWall((4, 6), layers=2)
    assert dataclasses.replace(net, layers=3) == ar.BrickWall((4, 6), layers=3)
    assert dataclasses.replace(net, shape=(24,)) == ar.BrickWall((24,), layers=2)
    assert dataclasses.replace(net, shape=(100, 6), modes=None) == ar.BrickWall((100, 6), layers=2)
    axes = ar.BrickWall((4, 6), layers=2, layout="axes")
    assert dataclasses.replace(axes, activation="tanh").placement == axes.placement
    assert dataclasses.replace(axes, row_modes=(4,), modes=None).modes == (4, 2, 2, 2)
    assert dataclasses.replace(ar.MPO((4, 6), chi=2), chi=3) == ar.MPO((4, 6), chi=3)


def wall(**changes: Any) -> Callable[[], Any]:
    return lambda: ar.BrickWall(**{"shape": (4, 6), "layers": 2, **changes})


def mpo(**changes: Any) -> Callable[[], Any]:
    return lambda: ar.MPO(**{"shape": (4, 6), "chi": 2, **changes})


def spec(base: Any, **changes: Any) -> Callable[[], Any]:
    return lambda: ar.from_spec({**base, **changes})


BAD = {
    "one mode": (wall(modes=(24,)), "2 to 64 modes"),
    "too many modes": (wall(modes=(2,) * 5 + (1,) * 60), "2 to 64 modes"),
    "no layer": (wall(layers=0), "layers must be an integer"),
    "bool layers": (wall(layers=True), "layers must be an integer"),
    "NumPy bool layers": (wall(layers=np.True_), "layers must be an integer"),
    "float layers": (wall(layers=2.0), "layers must be an integer"),
    "string layers": (wall(layers="2"), "layers must be an integer"),
    "array layers": (wall(layers=np.array([2, 3])), "layers must be an integer"),
    "zero-dimensional float": (wall(layers=np.array(2.5)), "layers must be an integer"),
    "activation": (wall(activation="swish"), "no activation is called 'swish'"),
    "activation of another type": (wall(activation=["relu"]), "no activation"),
    "boundary": (wall(boundary="open"), "boundary must be one of constant, trainable"),
    "boundary of another type": (wall(boundary=np.array(["a", "b"])), "boundary must be one of"),
    "activation_every": (wall(activation_every="brick"), "activation_every must be one of layer, column"),
    "layout": (wall(layout="diagonal"), "no layout is called 'diagonal'"),
    "layout of another type": (wall(layout=["flat"]), "no layout is called"),
    "modes too small": (wall(modes=(2, 2, 2)), "make 8 numbers, too few for 24 weights"),
    "row modes too small": (wall(layout="axes", row_modes=(3,)), "row_modes"),
    "column modes too small": (wall(layout="interleaved", col_modes=(5,)), "col_modes"),
    "modes with axes": (wall(layout="axes", modes=(4, 6)), "takes row_modes and col_modes"),
    "row modes with flat": (wall(row_modes=(4,)), "row_modes and col_modes go with"),
    "float sizes": (wall(shape=(4.0, 6)), "shape must hold integers"),
    "bool sizes": (wall(shape=(True, 6)), "shape must hold integers"),
    "zero": (wall(shape=(0, 6)), "shape must hold integers"),
    "negative": (wall(modes=(-4, -6)), "modes must hold integers"),
    "text": (wall(shape="46"), "shape must be a sequence"),
    "bytes": (wall(shape=b"46"), "shape must be a sequence"),
    "number": (wall(shape=24), "shape must be a sequence"),
    "none": (wall(shape=None), "shape must be a sequence"),
    "empty": (wall(shape=()), "shape must not be empty"),
    "empty modes": (wall(modes=()), "modes must not be empty"),
    "nested": (wall(shape=[[4, 6]]), "shape must hold integers"),
    "array of two dimensions": (wall(shape=np.ones((2, 2), int)), "shape must hold integers"),
    "array of none": (wall(shape=np.array(24)), "shape must be a sequence"),
    "set": (wall(shape={4, 6}), "shape must be a sequence"),
    "dict": (wall(shape={4: 1, 6: 1}), "shape must be a sequence"),
    "chi": (mpo(chi=0), "chi must be an integer"),
    "chi bool": (mpo(chi=True), "chi must be an integer"),
    "MPO modes": (mpo(row_modes=(2,)), "row_modes"),
    "not a dict": (lambda: ar.from_spec([1]), "a specification is a dict, got a list"),  # type: ignore[arg-type]
    "a string": (lambda: ar.from_spec("brickwall"), "a specification is a dict, got a str"),  # type: ignore[arg-type]
    "unknown network": (spec(WALL, network="wall"), "no network is called 'wall'; allowed: brickwall"),
    "unhashable network": (spec(WALL, network=["mpo"]), "no network is called"),
    "no network": (lambda: ar.from_spec({}), "no network is called None"),
    "unknown entries": (spec(WALL, chi=2, depth=1), "has no entries chi, depth"),
    "a number as a key": (lambda: ar.from_spec({**WALL, 3: 4}), "has no entries 3"),  # type: ignore[dict-item]
    "missing shape": (lambda: ar.from_spec({"network": "mpo", "chi": 2}), "lacks shape"),
    "missing layers": (lambda: ar.from_spec({"network": "brickwall", "shape": [4]}), "lacks layers"),
    "missing both": (lambda: ar.from_spec({"network": "mpo"}), "lacks shape, chi"),
    "MPO with an activation": (spec(MPO, activation="relu"), "has no entries activation"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_specifications(name: str) -> None:
    make, sentence = BAD[name]
    with pytest.raises(SpecError) as caught:
        make()
    text = str(caught.value)
    assert sentence in text
    assert "\n" not in text
    assert len(text) < 500
    assert caught.value.exit_code == 2


HUGE = 10**4000
READ = json.loads(json.dumps({**WALL, "shape": [HUGE] * 300}))
BOMBS = {
    "layers": wall(layers=10**9),
    "layers of 5,000 digits": wall(layers=10**5000),
    "modes without end": wall(modes=itertools.repeat(2)),
    "modes of ten million": wall(modes=(2 for _ in range(10**7))),
    "a list of ten million": wall(modes=[2] * 10**7),
    "shape without end": wall(shape=itertools.count(1)),
    "huge sizes": wall(shape=(HUGE,) * 300),
    "huge modes": wall(modes=(HUGE,) * 60),
    "a size of 5,000 digits": wall(shape=(10**5000,), modes=(2, 2)),
    "many large sizes": wall(shape=(2**63,) * 1000),
    "large modes": wall(modes=(2**63,) * 64),
    "large row modes": wall(layout="axes", row_modes=(2**63,) * 1000),
    "MPO": mpo(shape=(HUGE,) * 100),
    "MPO chi": mpo(chi=10**5000),
    "MPO sizes": mpo(shape=(2**40, 2**40)),
    "from JSON": lambda: ar.from_spec(READ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(name: str) -> None:
    with little(), pytest.raises(SpecError) as caught:
        BOMBS[name]()
    assert len(str(caught.value)) < 500


def test_large_but_possible_weights_are_only_described() -> None:
    with little():
        net = ar.BrickWall((10**12,), layers=3)
        assert net.weights == 10**12
        assert net.parameter_count < 2000
        assert net.cost().largest_state_bytes == 2**42
        assert ar.MPO((10**6, 10**6), chi=8).compression_ratio > 1e7


def test_generators_and_arrays_of_sizes_are_read_once() -> None:
    assert positive_integers((x for x in (2, 3)), "sizes") == (2, 3)
    assert positive_integers(np.array([2, 3]), "sizes") == (2, 3)
    assert positive_integers(range(1, 4), "sizes") == (1, 2, 3)
    assert resolve_layout((4, 6), modes=(4, 6), kind="axes", row_modes=(4,), col_modes=(6,)).modes == (4, 6)


def test_long_values_are_shown_by_their_start() -> None:
    assert shown((1, 2)) == "(1, 2)"
    assert shown([1] * 30) == f"{[1] * 20} and 10 more"
    assert len(shown("a" * 1000)) < 210
    assert shown([10**5000]) == "a list too long to print"

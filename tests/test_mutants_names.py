"""Names, defaults and limits that stand in the documentation: what a user may rely on without saying it."""

import inspect
from typing import Any

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref import networks
from adntn_ref.ad.ops import PRIMITIVES
from adntn_ref.networks import base, brickwall, combination, delta, shallow
from adntn_ref.networks.programmed import network_weight

SHAPE = (4, 6)
LOW = ar.LowRank(SHAPE, 1)
NETS: list[Any] = [
    ar.BrickWall(SHAPE, 2, activation="tanh"),
    ar.TTN(SHAPE, 2),
    ar.ATTN(SHAPE, 2),
    ar.MERA(SHAPE, 2),
    ar.MPO(SHAPE, 2),
    ar.TensorTrain(SHAPE, 2),
    ar.CP(SHAPE, 2),
    ar.Tucker(SHAPE, 2),
    LOW,
    ar.Sum(LOW, LOW),
    ar.Split(SHAPE, 2, lambda chunk: ar.LowRank((3, 4), 1)),
    ar.Delta(np.eye(4, 6), LOW),
    ar.Stack({"a": SHAPE}, LOW),
]
EACH = pytest.mark.parametrize("net", NETS, ids=lambda net: type(net).__name__)


@pytest.mark.parametrize("module", [networks, shallow])
def test_what_a_star_imports(module: Any) -> None:
    assert module.__all__
    for name in module.__all__:
        assert not inspect.ismodule(getattr(module, name))


@EACH
def test_defaults_of_drawing_and_counting(net: Any) -> None:
    """Seed 0, float64, the calibrated start; costs of float32 under the schedule keep."""
    plain, said = net.init(), net.init(0, "float64", None, "calibrated_orthogonal")
    for name, core in said.items():
        np.testing.assert_array_equal(plain[name], core)
    assert net.cost() == net.cost("float32", "keep")
    for function in (net.init, base.Network.init):
        defaults = {name: p.default for name, p in inspect.signature(function).parameters.items() if name != "self"}
        expected = {"rng": 0, "dtype": "float64", "std": None, "start": "calibrated_orthogonal", "backend": None}
        assert defaults == expected
    for function in (net.cost, base.Network.cost):
        defaults = {name: p.default for name, p in inspect.signature(function).parameters.items() if name != "self"}
        assert (defaults["dtype"], defaults["schedule"]) == ("float32", "keep")


@pytest.mark.parametrize(
    ("net", "values"),
    [
        (
            ar.BrickWall(SHAPE, 2),
            {"activation": "relu", "boundary": "constant", "activation_every": "layer", "layout": "flat"},
        ),
        (ar.TTN(SHAPE, 2), {"activation": "tanh", "activation_site": "level", "layout": "flat"}),
        (ar.MERA(SHAPE, 2), {"periodic": False}),
        (ar.TensorTrain(SHAPE, 2), {"layout": "flat"}),
        (ar.CP(SHAPE, 2), {"layout": "flat"}),
        (ar.Tucker(SHAPE, 2), {"layout": "flat"}),
        (ar.Delta(np.eye(4, 6), LOW), {"alpha": 1.0}),
    ],
)
def test_defaults_of_networks(net: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        assert getattr(net, name) == value
        assert inspect.signature(type(net)).parameters[name].default == value
    for name in ("modes", "row_modes", "col_modes"):
        if hasattr(net, name):
            assert inspect.signature(type(net)).parameters[name].default is None
    if values.get("layout") == "flat":
        assert net.row_modes is None
        assert net.col_modes is None


@EACH
def test_what_follows_from_the_fields_is_not_printed(net: Any) -> None:
    assert "placement" not in repr(net)
    assert "Layout" not in repr(net)
    assert "placement" not in inspect.signature(type(net)).parameters


@EACH
def test_networks_are_compared_by_what_they_are(net: Any) -> None:
    again = ar.from_spec(net.to_spec(), base=getattr(net, "base", None))
    assert again == net
    assert hash(again) == hash(net)
    assert len({net, again, *NETS}) == len(NETS)


def test_limits_in_numbers() -> None:
    assert (combination.MAX_DEPTH, combination.MAX_PARTS, combination.TRIES) == (20, 1000, 20)
    assert (brickwall.MAX_BRICKS, base.SMALL_BYTES, delta.START) == (100_000, 2**26, 0.01)
    assert combination.CANCELLED == 1e-6


def test_the_primitive_of_all_programs_has_a_name() -> None:
    assert PRIMITIVES["network_weight"] is network_weight


def test_combinations_by_name() -> None:
    assert [net.kind for net in NETS[-4:]] == ["sum", "split", "delta", "stack"]
    assert [net.to_spec()["network"] for net in NETS] == [
        *("brickwall", "ttn", "attn", "mera", "mpo", "tt", "cp", "tucker", "lowrank"),
        *("sum", "split", "delta", "stack"),
    ]
    assert [(net.prefixed, net.several) for net in NETS[-4:]] == [
        *((True, False), (True, False)),
        *((False, False), (False, True)),
    ]

"""Starts: calibrated exactly, alive at depth, the same numbers from the same seed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from elsewhere import there
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.ad import activations
from adntn_ref.errors import DTypeError, SpecError, StartError
from adntn_ref.program.starts import STARTS, default_std, inputs_of, orthogonal, spread
from adntn_ref.program.steps import Activate
from adntn_ref.validation.strategies import ACTIVATIONS, brickwalls

NETS = [
    ar.BrickWall((30, 40), layers=4),
    ar.BrickWall((30, 40), layers=3, activation="tanh", boundary="trainable"),
    ar.BrickWall((16, 40), layers=3, activation="sin", layout="interleaved", activation_every="column"),
    ar.BrickWall((512,), layers=1),
    ar.BrickWall((4,), layers=1, modes=(2, 2)),
    ar.MPO((30, 40), chi=3),
    ar.MPO((30, 40), chi=3, row_modes=(30,), col_modes=(40,)),
]


def rms(x: Any) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


@pytest.mark.parametrize("net", NETS, ids=repr)
@pytest.mark.parametrize("std", [None, 0.1, 3, np.float32(2.0), 1e-6])
def test_standard_deviation_is_exact(net: Any, std: Any) -> None:
    weight = there(net.generate)(net.init(rng=3, std=std))
    wanted = np.sqrt(2 / np.prod(net.shape[1:])) if std is None else float(std)
    assert float(np.std(weight)) == pytest.approx(wanted, rel=1e-10)


@given(brickwalls(), st.integers(0, 2**32))
def test_pre_activations_have_root_mean_square_one(net: ar.BrickWall, seed: int) -> None:
    try:
        params = net.init(rng=seed, std=0.5)
    except StartError:  # states of few entries, all of them negative before a relu: no scale revives these
        assert net.activation == "relu"
        return
    states = {net.program.start.name: None, **there(net.forward_states)(params)}
    names = list(states)
    for before, step in zip(names, net.program.steps, strict=False):
        if isinstance(step, Activate):
            assert rms(states[before]) == pytest.approx(1.0, rel=1e-10)
    weight = there(net.generate)(params)
    assert spread(weight) == pytest.approx(0.5, rel=1e-10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("every", ["layer", "column"])
def test_alive_to_twenty_layers(activation: str, every: str) -> None:
    for seed in range(3):
        net = ar.BrickWall((1024,), layers=20, activation=activation, activation_every=every)
        params = net.init(rng=seed)
        weight, pullback = there(net.vjp)(params)
        assert np.std(weight) == pytest.approx(default_std((1024,)), rel=1e-10)
        for name, x in there(net.forward_states)(params).items():
            assert np.isfinite(x).all()
            if activation == "relu" and name.endswith(".activation"):
                assert 0.1 < np.mean(x == 0) < 0.9
            assert np.any(x != 0)
        gradient = pullback(weight)
        assert all(np.linalg.norm(g) > 0 for g in gradient.values())


def test_uncalibrated_starts_fade_where_the_default_does_not() -> None:
    net = ar.BrickWall((1024,), layers=20)
    assert np.std(there(net.generate)(net.init(start="normal"))) < 0.1 * np.std(there(net.generate)(net.init()))
    assert np.std(there(net.generate)(net.init(start="isometric"))) < 0.1 * np.std(there(net.generate)(net.init()))


@pytest.mark.parametrize("net", NETS, ids=repr)
@pytest.mark.parametrize("start", ["calibrated_orthogonal", "normal"])
def test_reproducible(net: Any, start: str) -> None:
    first, again = net.init(rng=7, start=start), net.init(rng=np.random.default_rng(7), start=start)
    other, single = net.init(rng=8, start=start), net.init(rng=7, dtype="float32", start=start)
    assert list(first) == list(net.core_shapes)
    for name, core in first.items():
        assert core.shape == net.core_shapes[name]
        assert core.dtype == np.float64
        assert core.flags.c_contiguous
        assert np.array_equal(core, again[name])
        assert not np.array_equal(core, other[name])
        assert single[name].dtype == np.float32
        assert np.array_equal(single[name], core.astype("float32"))


def test_default_start_is_orthogonal_up_to_scale() -> None:
    net = ar.BrickWall((64,), layers=3, modes=(2, 4, 2, 4), boundary="trainable")
    for name, core in net.init().items():
        if "brick" in name:
            matrix = core.reshape(8, 8)
            product = matrix @ matrix.T
            assert np.allclose(product, product[0, 0] * np.eye(8), rtol=1e-12, atol=1e-12 * product[0, 0])


def test_other_starts() -> None:
    net = ar.BrickWall((4096,), layers=6)
    mixed = ar.MERA((4096,), chi=3)
    for start in STARTS:
        found = mixed if start == "isometric_near_identity" else net
        assert {name: core.shape for name, core in found.init(start=start).items()} == found.core_shapes
    matrices = {
        start: np.array([c.reshape(4, 4) for c in net.init(rng=1, start=start).values() if c.size == 16])
        for start in STARTS
        if start != "isometric_near_identity"
    }
    assert np.allclose(matrices["isometric"] @ matrices["isometric"].transpose(0, 2, 1), np.eye(4), atol=1e-13)
    assert np.std(matrices["normal"]) == pytest.approx(0.5, rel=0.1)
    assert np.std(matrices["near_identity"] - np.eye(4)) == pytest.approx(0.1, rel=0.1)
    first = net.init(start="near_identity")["layer0.brick0"]
    assert np.abs(first - [[1, 0], [0, 0]]).max() < 0.5
    raw = ar.MPO((64, 64), chi=4).init(start="normal")
    assert np.std(raw["core1"]) == pytest.approx(1 / np.sqrt(4), rel=0.3)


MIXED = [
    ar.MERA((64, 64), chi=3, activation="identity"),
    ar.MERA((48,), chi=4, modes=(2, 3, 2, 2, 2), activation="identity", periodic=True),
    ar.ATTN((16, 8, 3), chi=5, activation="identity", layout="interleaved"),
]


@pytest.mark.parametrize("net", MIXED, ids=repr)
def test_isometric_near_identity(net: Any) -> None:
    """Expansions are those of the isometric start; mixing cores are orthogonal and near the unit matrix."""
    params, isometric = net.init(rng=2, start="isometric_near_identity"), net.init(rng=2, start="isometric")
    unit = dict(params)
    for name, core in params.items():
        if not name.startswith("mix"):
            assert np.array_equal(core, isometric[name])
            continue
        size = core.shape[0] * core.shape[1]
        matrix = core.reshape(size, size)
        assert np.allclose(matrix.T @ matrix, np.eye(size), atol=1e-14)
        distance = np.linalg.norm(matrix - np.eye(size)) / np.sqrt(size * (size - 1))
        assert 0.01 < distance < 0.3  # 0.1 to first order
        unit[name] = np.eye(size).reshape(core.shape)
    tree = ar.TTN(net.shape, net.chi, net.modes, "identity", layout=net.layout)
    weight, without = there(net.generate)(params), there(net.generate)(unit)
    np.testing.assert_allclose(
        without, there(tree.generate)({name: params[name] for name in tree.core_shapes}), atol=1e-14
    )
    assert 0 < np.linalg.norm(weight - without) < np.linalg.norm(without)
    if net.placement.generated == net.weights:  # isometries keep the norm of the root
        assert np.linalg.norm(weight) == pytest.approx(np.linalg.norm(params["root"]), rel=1e-12)


def test_mixing_cores_near_the_identity_to_first_order() -> None:
    net = ar.MERA((2**14,), chi=4)
    cores = net.init(rng=0, start="isometric_near_identity")
    matrices = [core.reshape(16, 16) for name, core in cores.items() if core.shape == (4, 4, 4, 4)]
    below = np.concatenate([m[np.tril_indices(16, -1)] for m in matrices])
    assert np.std(below) == pytest.approx(0.1, rel=0.15)
    assert np.mean([np.abs(m + m.T - 2 * np.eye(16)).max() for m in matrices]) < 0.35


@pytest.mark.parametrize(
    ("net", "lacks"),
    [
        (ar.BrickWall((64,), layers=2), "no expansions: take start='near_identity'"),
        (ar.TTN((64,), chi=2), "no mixing cores: take start='isometric'"),
        (ar.TTN((64,), chi=2, activation_site="node"), "no mixing cores: take start='isometric'"),
        (ar.MERA((4,), chi=2), "no mixing cores: take start='isometric'"),
        (ar.Sum(ar.MERA((64,), chi=2), ar.TTN((64,), chi=2)), "no mixing cores"),
    ],
    ids=repr,
)
def test_isometric_near_identity_needs_both_kinds_of_core(net: Any, lacks: str) -> None:
    with pytest.raises(SpecError, match=lacks):
        net.init(start="isometric_near_identity")
    with pytest.raises(SpecError, match=lacks):
        ar.fit(net, np.ones(net.placement.shape), steps=1, start="isometric_near_identity")


def test_isometric_near_identity_is_a_start_of_a_fit() -> None:
    net = ar.MERA((8, 8), chi=2, activation="identity")
    target = np.outer(np.arange(1.0, 9), np.arange(1.0, 9))
    assert ar.fit(net, target, steps=200, start="isometric_near_identity").relative_error < 0.3


@pytest.mark.parametrize(("outputs", "inputs"), [(4, 4), (6, 2), (2, 6), (1, 3), (3, 1), (5, 5)])
def test_orthogonal(outputs: int, inputs: int) -> None:
    normal = np.random.default_rng(0).standard_normal((outputs, inputs))
    q = orthogonal(normal, inputs)
    small = q.T @ q if outputs >= inputs else q @ q.T
    assert np.allclose(small, np.eye(min(outputs, inputs)), atol=1e-14)
    # Haar, not LAPACK's own signs: the triangular factor has a positive diagonal
    factor = q.T @ normal if outputs >= inputs else q @ normal.T
    assert np.all(np.diagonal(factor) > 0)
    assert inputs_of((2, 3, 2, 3)) == 6
    assert inputs_of((2, 3, 5)) == 5


@pytest.mark.parametrize("net", [NETS[0], NETS[5]], ids=["brickwall", "mpo"])
def test_refusals(net: ar.Network) -> None:
    for start in ("xavier", ["normal"], None):
        with pytest.raises(SpecError, match="start"):
            net.init(start=start)  # type: ignore[arg-type]
    for std in (0, -1.0, np.nan, np.inf, True, "1", 1j, [1.0]):
        with pytest.raises(SpecError, match="std must be positive and finite"):
            net.init(std=std)  # type: ignore[arg-type]
    for dtype in ("int64", "float16", "complex128", np.float64, None):
        with pytest.raises(DTypeError, match="parameters are drawn in float32 or float64"):
            net.init(dtype=dtype)  # type: ignore[arg-type]


def test_std_goes_with_the_calibrated_start() -> None:
    with pytest.raises(SpecError, match="std goes with the calibrated start"):
        NETS[0].init(start="normal", std=0.1)


def test_an_mpo_does_not_drop_a_std_in_silence() -> None:
    with pytest.raises(SpecError, match="std goes with the calibrated start"):
        ar.MPO((4, 4), chi=2).init(start="normal", std=0.1)


def test_a_dead_network_is_refused() -> None:
    """One entry, a relu: negative for every other seed."""
    net = ar.BrickWall((1,), layers=2, modes=(1, 1))
    positive = [np.random.default_rng(seed).standard_normal() > 0 for seed in range(8)]
    assert len(set(positive)) == 2
    for seed in range(8):
        if positive[seed]:
            assert abs(there(net.generate)(net.init(rng=seed))[0]) == pytest.approx(np.sqrt(2))
        else:
            with pytest.raises(StartError, match=r"the state after layer1\.even has size 0\.0"):
                net.init(rng=seed)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_sigma_that_kills_or_overflows(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    dead = replace(activations.get_activation("tanh"), name="dead", sigma=lambda z: z * 0 + value)
    monkeypatch.setitem(activations.ACTIVATIONS, "dead", dead)
    with np.errstate(invalid="ignore"), pytest.raises(StartError, match="no scale of this seed's cores keeps it alive"):
        ar.BrickWall((9, 9), layers=2, activation="dead").init()


def test_a_dead_mpo(monkeypatch: pytest.MonkeyPatch) -> None:
    net = ar.MPO((4, 4), chi=2)
    net.init()  # its cost is known now, and is not counted on what stands in below
    zero: Callable[..., Any] = lambda self, params: np.zeros(self.shape)
    monkeypatch.setattr(ar.MPO, "_generate", zero)
    with pytest.raises(StartError, match="standard deviation 0"):
        net.init()


def test_spread_of_constants() -> None:
    assert spread(np.array([3.0])) == 3.0
    assert spread(np.full(7, -0.1)) == pytest.approx(0.1)
    assert spread(np.array([1.0, -1.0])) == 1.0
    assert default_std((7,)) == np.sqrt(2)
    assert default_std((7, 4, 2)) == 0.5

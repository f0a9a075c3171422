"""Cores as isometries, and the count of dead entries."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elsewhere import place, there
from hypothesis import given
from hypothesis import strategies as st
from small import same

import adntn_ref as ar
from adntn_ref.compression.alive import dead_share
from adntn_ref.compression.isometry import isometric_cores, nearest_isometry, penalised, penalty
from adntn_ref.compression.objectives import euclidean_objective
from adntn_ref.errors import SpecError, StartError
from adntn_ref.validation.checks.gradients import check_gradient

NETS = [
    ar.BrickWall((4, 6), 2),
    ar.BrickWall((6, 4), 2, modes=(2, 3, 4), activation="tanh", boundary="trainable"),
    ar.MPO((6, 4), 3),
    ar.TTN((4, 6), 3),
    ar.MERA((4, 4), 2),
]


def target(shape: tuple[int, ...] = (4, 6), dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(8).standard_normal(shape).astype(dtype)


def defect(core: np.ndarray, outputs: int, inputs: int) -> float:
    a = core.reshape(outputs, inputs)
    a = a.T if outputs < inputs else a
    return float(np.abs(a.T @ a - np.eye(a.shape[1])).max())


def test_which_cores_are_isometries() -> None:
    """Start vectors, the root and the last core of a chain have one input and carry the scale."""
    wall = isometric_cores(NETS[0])
    assert not {"layer0.brick0", "layer0.brick2"} & wall.keys()
    assert wall["layer0.brick1"] == (4, 4)
    mixed = isometric_cores(NETS[1])
    assert mixed["layer1.brick1"] == (12, 12)
    assert not any(name.startswith("start") for name in mixed)
    assert isometric_cores(NETS[2]) == {"core0": (4, 3), "core1": (12, 2)}
    tree = isometric_cores(NETS[3])
    assert "root" not in tree
    assert all(inputs <= 3 for _, inputs in tree.values())


@pytest.mark.parametrize("net", NETS, ids=repr)
def test_gradient_of_the_penalty(net: ar.Network) -> None:
    params = {name: 0.7 * core + 0.1 for name, core in net.init(1).items()}
    check_gradient(lambda p: there(penalty)(net, p)[0], lambda p: there(penalty)(net, p)[1], params, method="central")
    total = penalised(euclidean_objective(net, place(target(net.placement.shape))), net, 0.3)
    check_gradient(lambda p: there(total)(0, p)[0], lambda p: there(total)(0, p)[1], params, method="central")


def test_penalty_is_its_definition() -> None:
    net = ar.BrickWall((4, 4), 1)
    params = net.init(0)
    assert penalty(net, params)[0] < 20  # a common factor scales the isometries of the start
    isometric = net.init(0, start="isometric")
    assert penalty(net, isometric)[0] == pytest.approx(0, abs=1e-25)
    doubled = {name: 2 * core for name, core in isometric.items()}
    assert penalty(net, doubled)[0] == pytest.approx(9 * 4 * len(isometric_cores(net)))  # |4 I - I|^2 of 4 x 4
    _, gradients = penalty(net, doubled)
    assert not gradients["layer0.brick0"].any()


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_nearest_isometry(outputs: int, inputs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    core = rng.standard_normal((outputs, inputs))
    found = nearest_isometry(core, outputs, inputs)
    assert defect(found, outputs, inputs) < 1e-12
    other = nearest_isometry(rng.standard_normal((outputs, inputs)), outputs, inputs)
    assert np.linalg.norm(core - found) <= np.linalg.norm(core - other) + 1e-12
    np.testing.assert_allclose(nearest_isometry(3 * found, outputs, inputs), found, atol=1e-12)


@pytest.mark.parametrize("net", NETS, ids=repr)
def test_retracted_fit_is_isometric(net: ar.Network) -> None:
    wanted = target(net.placement.shape)
    result = ar.fit(net, wanted, steps=40, rate=0.02, retract=True)
    for name, (outputs, inputs) in isometric_cores(net).items():
        assert defect(result.params[name], outputs, inputs) < 1e-12
    assert result.relative_error < 1
    given_ = net.init(3)
    kept = {name: core.copy() for name, core in given_.items()}
    one = ar.fit(net, wanted, steps=1, retract=True, params=given_)
    assert same(given_, kept)
    assert all(defect(one.params[name], *shape) < 1e-12 for name, shape in isometric_cores(net).items())


def test_retracted_start_has_the_scale() -> None:
    """relu is homogeneous: the start vectors take over what the isometries cannot hold."""
    net = ar.BrickWall((8, 8), 3)
    wanted = 50 * target((8, 8))
    result = ar.fit(net, wanted, steps=1, rate=1e-12, retract=True)
    assert np.std(result.generate()) == pytest.approx(0.1 * np.std(wanted), rel=1e-9)


def test_penalty_pulls_to_isometries(tmp_path: Path) -> None:
    net, wanted = NETS[0], target()
    free, pulled = (ar.fit(net, wanted, steps=400, rate=0.02, orthogonality=s) for s in (0.0, 1.0))
    before, after = (float(penalty(net, r.params)[0]) for r in (free, pulled))
    assert after < 0.1 * before
    assert pulled.relative_error < 1
    assert pulled.restarts[0].loss == pytest.approx(pulled.relative_error**2 + after, rel=1e-9)
    by_lbfgs = ar.fit(net, wanted, optimiser="lbfgs", orthogonality=1.0, steps=200)
    assert by_lbfgs.restarts[0].loss < pulled.restarts[0].loss + 0.1
    path = tmp_path / "c.npz"
    ar.fit(net, wanted, steps=3, checkpoint=path)
    for change in ({"orthogonality": 1.0}, {"retract": True, "params": net.init(0)}):
        with pytest.raises(ar.errors.FileFormatError, match="another training"):
            ar.fit(net, wanted, steps=3, checkpoint=path, **change)


@pytest.mark.parametrize("strength", [-1.0, float("nan"), float("inf"), "much", True])
def test_bad_strength(strength: Any) -> None:
    with pytest.raises(SpecError, match="orthogonality must be a finite number >= 0"):
        ar.fit(NETS[0], target(), orthogonality=strength)


# --- dead entries


@pytest.mark.parametrize(
    ("activation", "dead"), [("relu", lambda z: z <= 0), ("leaky_relu", lambda z: z != z), ("tanh", lambda z: z != z)]
)
def test_dead_share_counts_entries(activation: str, dead: Any) -> None:
    net = ar.BrickWall((4, 6), 3, activation=activation)
    params = net.init(2)
    states = net.forward_states(params)
    wanted = {f"layer{m}.activation": dead(states[f"layer{m}.odd"]).mean() for m in range(2)}
    assert dead_share(net, params) == wanted
    result = ar.fit(net, target(), steps=30, rate=0.05, params=params)
    after = dead_share(net, result.params)
    assert result.dead_share == {name: (wanted[name], after[name]) for name in wanted}
    if activation == "relu":
        assert 0 < wanted["layer0.activation"] < 1


def test_dead_share_of_frames() -> None:
    net = ar.TTN((8, 8), 3, activation="relu", activation_site="node")
    params = net.init(0)
    states = net.forward_states(params)
    shares = dead_share(net, params)
    assert shares == {name: (states[name] == 0).mean() for name in states if name.endswith(".activation")}
    assert len(shares) == 4


def test_combinations_are_their_parts() -> None:
    wall, mpo = ar.BrickWall((4, 6), 2), ar.MPO((4, 6), 2)
    net = ar.Sum(wall, ar.Sum(mpo, wall))
    params = net.init(1)
    first = {name[2:]: core for name, core in params.items() if name.startswith("0.")}
    assert dead_share(net, params)["0.layer0.activation"] == dead_share(wall, first)["layer0.activation"]
    assert sorted(dead_share(net, params)) == ["0.layer0.activation", "1.1.layer0.activation"]
    cores = isometric_cores(net)
    assert cores["1.0.core0"] == isometric_cores(mpo)["core0"]
    assert cores["1.1.layer1.brick0"] == (4, 4)
    assert len(cores) == 2 * len(isometric_cores(wall)) + len(isometric_cores(mpo))


def test_no_activation_nothing_to_report() -> None:
    for net in (ar.BrickWall((4, 6), 1), ar.MPO((4, 6), 2)):
        assert ar.fit(net, target(), steps=2).dead_share == {}


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_dead_start_is_refused(optimiser: str) -> None:
    net = ar.BrickWall((4, 6), 3)
    params = net.init(2)
    for name, core in params.items():
        params[name] = -abs(core) if name == "layer1.brick1" else abs(core)
    with pytest.raises(StartError, match=r"every entry of the state after layer1.activation is dead"):
        ar.fit(net, target(), params=params, optimiser=optimiser)

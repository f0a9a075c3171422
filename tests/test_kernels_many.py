"""Whole networks in one block each, many in one launch, executed on the CPU: losses, gradients, fits."""

from math import prod
from typing import Any

import numpy as np
import pytest
from kernel_cases import needs_compiler, random_cores
from shim.launcher import ORDERS, ShimLauncher

import adntn_ref as ar
from adntn_ref.ad.activations import ACTIVATIONS
from adntn_ref.backends.fused_many import WholeNetworks, whole_networks
from adntn_ref.compression.optimisers import Adam

pytestmark = needs_compiler
TOLERANCE = {"float64": 1e-12, "float32": 2e-4}


def made(net: Any, launcher: ShimLauncher, dtype: str = "float64") -> WholeNetworks:
    found = whole_networks(net.program, dtype, launcher)
    assert not isinstance(found, str), found
    return found


def check(net: Any, many: WholeNetworks, dtype: str, count: int = 3) -> None:
    """Losses, gradients and pullbacks of several networks against the closed-form adjoint in float64."""
    params = [random_cores(net, seed, dtype) for seed in range(count)]
    targets = np.random.default_rng(9).standard_normal((count, prod(net.shape))).astype(dtype)
    stacked = many.pack(params)
    losses, gradients = many.gradient(stacked, targets)
    weights, pulled = many.pullback(stacked, targets)
    rtol = TOLERANCE[dtype]
    for k in range(count):
        exact = {name: core.astype(np.float64) for name, core in params[k].items()}
        weight, pullback = net.vjp(exact)
        target = targets[k].astype(np.float64)
        norm = np.sum(target**2)
        assert abs(losses[k] - np.sum((weight - target) ** 2) / norm) <= rtol * (1 + losses[k])
        assert np.abs(weights[k, : target.size] - weight).max() <= rtol * np.abs(weight).max()
        for found, wanted in (
            (many.unpack(gradients)[k], pullback(2 * (weight - target) / norm)),
            (many.unpack(pulled)[k], pullback(target)),
        ):
            assert found.keys() == wanted.keys()
            size = max(np.abs(e).max() for e in wanted.values())
            assert all(np.abs(found[name] - e).max() <= rtol * size for name, e in wanted.items())
            assert all(found[name].shape == e.shape for name, e in wanted.items())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation: str, dtype: str) -> None:
    net = ar.BrickWall((100,), layers=3, activation=activation)
    check(net, made(net, ShimLauncher("shuffled"), dtype), dtype)


@pytest.mark.parametrize("boundary", ["constant", "trainable"])
@pytest.mark.parametrize("modes", range(2, 13))
def test_every_number_of_modes(modes: int, boundary: str) -> None:
    net = ar.BrickWall((2**modes - 1,), modes=(2,) * modes, layers=2, activation="tanh", boundary=boundary)
    check(net, made(net, ShimLauncher()), "float64", count=2)


def test_few_slots_run_rounds_again() -> None:
    net = ar.BrickWall((2**8,), layers=5, activation="sin")
    many = made(net, ShimLauncher(shared=2**14))
    assert many.slots < len(many.rounds)
    check(net, many, "float64")


@pytest.mark.parametrize("order", ORDERS)
def test_fits_are_steps_of_adam(order: str) -> None:
    """Five steps in one launch are five gradients and five updates; a fit goes on where the last one stopped."""
    net = ar.BrickWall((60,), layers=3, activation="tanh", boundary="trainable")
    many = made(net, ShimLauncher(order))
    rates = [1e-2, 8e-3, 5e-3, 2e-3, 1e-3]
    stacked = many.pack([random_cores(net, seed, "float64") for seed in range(4)])
    targets = np.random.default_rng(1).standard_normal((4, 60))
    wanted, adam = stacked.copy(), Adam()
    state, wanted_state = adam.start(stacked), adam.start(wanted)
    losses = np.hstack([
        many.fit(stacked, targets, rates[:3], state),
        many.fit(stacked, targets, rates[3:], state, first_step=3),
    ])  # fmt: skip
    for step, rate in enumerate(rates):
        loss, g = many.gradient(wanted, targets)
        assert np.array_equal(losses[:, step], loss)
        adam.update(wanted, g, wanted_state, step, np.asarray(rate))
    assert np.abs(stacked - wanted).max() <= 1e-14
    assert all(np.allclose(state[name], wanted_state[name], rtol=1e-12, atol=0) for name in state)


def test_a_network_does_not_see_the_others() -> None:
    net = ar.BrickWall((64,), layers=2)
    many = made(net, ShimLauncher())
    stacked = many.pack([random_cores(net, seed, "float64") for seed in range(5)])
    targets = np.random.default_rng(2).standard_normal((5, 64))
    losses, gradients = many.gradient(stacked, targets)
    for k in range(5):
        loss, gradient = many.gradient(stacked[k : k + 1], targets[k : k + 1])
        assert np.array_equal(loss, losses[k : k + 1])
        assert np.array_equal(gradient, gradients[k : k + 1])


def test_one_launch_for_all() -> None:
    net = ar.BrickWall((16,), layers=2)
    launcher = ShimLauncher()
    many = made(net, launcher)
    stacked = many.pack([random_cores(net, seed, "float64") for seed in range(1000)])
    many.fit(stacked, np.ones((1000, 16)), [1e-2, 1e-2], Adam().start(stacked))
    assert [(kernel, grid) for kernel, grid, _, _ in launcher.launched] == [("whole_network", (1000, 1))]


@pytest.mark.parametrize(
    ("net", "dtype", "reason"),
    [
        (ar.BrickWall((2**13,), layers=2), "float32", "13 modes is not run by one block: at most 12"),
        (ar.BrickWall((36,), layers=2, modes=(6, 6)), "float32", "modes of size 2"),
        (ar.BrickWall((64,), layers=2, activation="identity"), "complex64", "float32 and float64, got complex64"),
        (ar.BrickWall((2**12,), layers=2), "float64", "do not fit 65536 bytes"),
    ],
)
def test_what_no_block_runs_says_why(net: Any, dtype: str, reason: str) -> None:
    found = whole_networks(net.program, dtype, ShimLauncher(shared=2**16))
    assert isinstance(found, str)
    assert reason in found

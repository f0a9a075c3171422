"""Adapters with the peers they need, named cases of every network, and the comparison with the package."""

import importlib
from typing import Any

import numpy as np
import peers

import adntn_ref as ar
from adntn_ref.networks import Network
from adntn_ref.validation.strategies import bases, cotangent

PEERS = {"torch": "torch", "jax": "jax", "autograd": "autograd", "own": "numpy"}


def adapter(name: str) -> Any:
    """Return an adapter's module; skip or fail where its framework is missing."""
    peers.need(PEERS[name], optional=name == "autograd")
    return importlib.import_module(f"adntn_ref.validation.adapters.{name}_adapter")


W0 = np.linspace(-1, 1, 15).reshape(5, 3)
W32 = np.linspace(-2, 1, 15, dtype="float32").reshape(5, 3)
SMALL = ar.TensorTrain((5, 3), chi=2)

NAMED: dict[str, Network] = {
    "brickwall": ar.BrickWall((5, 3), layers=3),
    "brickwall odd, trainable": ar.BrickWall((5, 3, 2), layers=2, boundary="trainable", activation="gelu"),
    "brickwall odd, columns": ar.BrickWall((17,), layers=2, activation_every="column", activation="silu"),
    "brickwall two modes, columns": ar.BrickWall((3,), layers=3, activation_every="column", activation="tanh"),
    "brickwall one layer": ar.BrickWall((4, 4), layers=1),
    "brickwall mixed modes": ar.BrickWall((50,), layers=3, modes=(2, 3, 1, 2, 5), activation="leaky_relu"),
    "brickwall axes": ar.BrickWall((5, 7), layers=2, layout="axes", row_modes=(2, 3), col_modes=(4, 2)),
    "brickwall interleaved": ar.BrickWall((5, 20), layers=2, layout="interleaved", activation="sin"),
    "ttn": ar.TTN((6, 4), chi=2),
    "ttn odd": ar.TTN((3, 3, 4), chi=3, modes=(3, 3, 4), activation="sigmoid"),
    "ttn of one node": ar.TTN((4,), chi=2),
    "ttn nodes": ar.TTN((6, 4), chi=3, activation_site="node"),
    "ttn nodes interleaved": ar.TTN((3, 9), chi=2, layout="interleaved", activation="sin", activation_site="node"),
    "attn": ar.ATTN((40,), chi=3),
    "attn axes": ar.ATTN((5, 7), chi=2, layout="axes"),
    "mera": ar.MERA((6, 6), chi=3),
    "mera sixteen": ar.MERA((16, 4), chi=2, modes=(2,) * 6, activation="relu"),
    "mera periodic": ar.MERA((6, 4), chi=3, periodic=True),
    "mera periodic, uneven modes": ar.MERA((3, 9, 5), chi=4, modes=(3, 3, 3, 5), periodic=True),
    "mera size-1 bonds": ar.MERA((12,), chi=1, modes=(2, 1, 3, 2)),
    "low rank": ar.LowRank((3, 2, 4), rank=2),
    "low rank above the matrix's": ar.LowRank((2, 3), rank=5),
    "tensor train": ar.TensorTrain((5, 3), chi=2),
    "tensor train interleaved": ar.TensorTrain((3, 9), chi=3, layout="interleaved"),
    "mpo": ar.MPO((5, 3), chi=2),
    "mpo uneven": ar.MPO((6, 5), chi=3, row_modes=(3, 2), col_modes=(2, 1, 3)),
    "cp": ar.CP((5, 3), rank=2),
    "tucker": ar.Tucker((5, 3), ranks=2),
    "tucker uneven": ar.Tucker((4, 6), ranks=(1, 2, 2), layout="axes", row_modes=(4,), col_modes=(3, 2)),
    "sum": ar.Sum(SMALL, ar.LowRank((5, 3), 1), ar.BrickWall((5, 3), 2)),
    "split": ar.Split((7,), 3, lambda shape: ar.CP(shape, 2)),
    "stack": ar.Stack({"b": (7,), "a": (2, 4)}, SMALL),
    "delta": ar.Delta(W0, SMALL, 0.5),
    "nested": ar.Stack({"x": (2, 5), "w": (5,)}, ar.Sum(ar.Delta(W0, SMALL, -2), ar.Delta(W32, ar.Delta(W0, SMALL)))),
}


def complexified(network: Network) -> Network:
    """Return a named network with the identity in place of its activations."""

    def linear(spec: Any) -> Any:
        if isinstance(spec, dict):
            return {key: "identity" if key == "activation" else linear(value) for key, value in spec.items()}
        return [linear(part) for part in spec] if isinstance(spec, list) else spec

    return ar.from_spec(linear(network.to_spec()), base=list(bases(network).values()))


def drawn(network: Network, dtype: str, seed: int = 3) -> tuple[dict[str, np.ndarray], Any]:
    """Return parameters of the network's own start, complex where wanted, and a cotangent."""
    params = network.init(seed, "float32" if dtype in ("float32", "complex64") else "float64")
    if dtype.startswith("complex"):
        params = {name: (x + 0.7j * np.roll(x, 1)).astype(dtype) for name, x in params.items()}
    return params, cotangent(network, seed, dtype)


def given_to(network: Network, params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the parameters as a candidate gets them: with the frozen weights of deltas."""
    return params | {f"frozen/{base['sha256']}": array for base, array in frozen_of(network)}


def frozen_of(network: Network) -> list[tuple[dict[str, Any], np.ndarray]]:
    return [({"sha256": identity[2]}, array) for identity, array in bases(network).items()]


def compare(module: Any, network: Network, params: dict[str, np.ndarray], g: Any, rtol: float) -> None:
    """Compare weight, gradients, states and adjoints with the package's closed form, and see inputs untouched."""
    spec, given = network.to_spec(), given_to(network, params)
    before = {name: x.copy() for name, x in given.items()}
    weight, pullback = network.vjp(params)
    close(named(module.generate(spec, given)), named(weight), rtol)
    close(module.vjp(spec, given, g), pullback(g), rtol)
    if hasattr(network, "forward_states"):
        close(module.states(spec, given), network.forward_states(params), rtol)
        close(module.adjoint_states(spec, given, g), network.adjoint_states(params, g), rtol)
    else:
        assert module.states(spec, given) == {}
        assert module.adjoint_states(spec, given, g) == {}
    assert all(np.array_equal(given[name], x) for name, x in before.items())


def named(weight: Any) -> dict[str, np.ndarray]:
    return weight if isinstance(weight, dict) else {"weight": weight}


def close(got: dict[str, Any], expected: dict[str, Any], rtol: float) -> None:
    """Ask for equality relative to the largest entry of all arrays together: sums in a small core's gradient cancel."""
    assert got.keys() == expected.keys()
    scale = max((float(np.max(np.abs(x), initial=0)) for x in expected.values()), default=0.0)
    for name, x in expected.items():
        assert got[name].dtype == x.dtype, name
        assert got[name].shape == x.shape, name
        np.testing.assert_allclose(got[name], x, rtol=0, atol=rtol * scale + 1e-300, err_msg=name)

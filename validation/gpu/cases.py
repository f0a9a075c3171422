"""The networks, dtypes and schedules that are checked on a device."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from adntn_ref.ad.activations import ACTIVATIONS
from adntn_ref.networks import (
    ATTN,
    CP,
    MERA,
    MPO,
    TTN,
    BrickWall,
    Delta,
    LowRank,
    Network,
    Split,
    Stack,
    Sum,
    TensorTrain,
    Tucker,
)
from adntn_ref.networks.programmed import ProgramNetwork

SHAPE = (12, 20)
"""Eight binary modes with padding."""

SCHEDULES = ("keep", "recompute", "checkpoints:1", "auto")
W0 = np.round(64 * np.random.default_rng(0).standard_normal(SHAPE)) / 64
"""A frozen weight that every dtype holds exactly."""


def networks() -> dict[str, Network]:
    """Return every kind of network by a name, brick-walls with every activation."""
    found: dict[str, Network] = {f"brickwall {name}": BrickWall(SHAPE, 3, activation=name) for name in ACTIVATIONS}
    wall = BrickWall(SHAPE, 2, activation="tanh")
    found.update(
        {
            "brickwall trainable": BrickWall(SHAPE, 3, boundary="trainable", activation_every="column"),
            "brickwall of other modes": BrickWall(SHAPE, 2, modes=(3, 5, 4, 4)),
            "brickwall of two modes": BrickWall((2, 2), 3, activation_every="column"),
            "brickwall interleaved": BrickWall(SHAPE, 2, layout="interleaved"),
            "ttn": TTN(SHAPE, 4),
            "ttn node": TTN(SHAPE, 3, activation_site="node"),
            "attn": ATTN(SHAPE, 3, layout="axes"),
            "mera": MERA(SHAPE, 4),
            "mera periodic": MERA(SHAPE, 3, periodic=True, activation="sin"),
            "cp": CP(SHAPE, 3),
            "tucker": Tucker(SHAPE, 2),
            "tensor train": TensorTrain(SHAPE, 3),
            "mpo": MPO(SHAPE, 3),
            "low rank": LowRank(SHAPE, 3),
            "sum": Sum(wall, LowRank(SHAPE, 2)),
            "split": Split(SHAPE, 3, lambda shape: BrickWall(shape, 2, activation="sin")),
            "stack": Stack({"a": (12, 10), "b": (5, 4, 6)}, wall),
            "delta": Delta(W0, wall, 0.5),
        }
    )
    return found


def dtypes_of(network: Network) -> tuple[str, ...]:
    """Return the dtypes that a network's parameters may have."""
    return ("float32", "float64", "complex128") if network.linear else ("float32", "float64")


def schedules_of(network: Network) -> tuple[str | None, ...]:
    """Return the schedules of a network that is a program; None where there is no choice."""
    return SCHEDULES if isinstance(network, ProgramNetwork) else (None,)


def drawn(network: Network, dtype: str) -> tuple[dict[str, Any], Any]:
    """Return parameters and a cotangent in a dtype, always the same ones."""
    rng = np.random.default_rng(7)
    params = {name: _in(dtype, core, rng) for name, core in network.init(3, backend="numpy").items()}
    if isinstance(network, Stack):
        return params, {name: _in(dtype, rng.standard_normal(shape), rng) for name, shape in network.shapes}
    return params, _in(dtype, rng.standard_normal(network.placement.shape), rng)


def _in(dtype: str, x: Any, rng: np.random.Generator) -> Any:
    extra = 1j * rng.standard_normal(x.shape) if dtype.startswith("complex") else 0
    return np.ascontiguousarray((x + extra).astype(dtype))


def ways(backend: Any) -> Iterator[str]:
    """Set a backend to each of its ways to run programs in turn, and yield what it is called."""
    if not hasattr(backend, "kernels"):
        yield "its own way"
        return
    before = backend.kernels
    try:
        for backend.kernels in ("auto", "plain"):
            yield backend.kernels
    finally:
        backend.kernels = before

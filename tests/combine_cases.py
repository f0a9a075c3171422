"""Combinations of small networks that several tests share."""

from typing import Any

import numpy as np
import pytest

import adntn_ref as ar

SHAPE = (4, 6)
WALL = ar.BrickWall(SHAPE, 2, activation="tanh")
LOW = ar.LowRank(SHAPE, 2)
W0 = np.random.default_rng(0).standard_normal(SHAPE)
TWO = {"b": (4, 3), "a": (2, 3, 2)}


def halves(chunk: tuple[int, ...]) -> ar.Network:
    return ar.TTN(chunk, 2) if chunk == (10,) else ar.LowRank((chunk[0] // 2, 2), 1)


NETS = {
    "sum": ar.Sum(WALL, LOW),
    "sum of sums": ar.Sum(ar.Sum(WALL), ar.Sum(LOW, ar.MPO(SHAPE, 2), ar.Split(SHAPE, 3, halves))),
    "split": ar.Split(SHAPE, 3, lambda chunk: ar.BrickWall(chunk, 2, activation="sin")),
    "uneven split": ar.Split(SHAPE, 3, lambda chunk: ar.TensorTrain(chunk, 2) if chunk == (8,) else WALL),
    "delta": ar.Delta(W0, WALL, 0.5),
    "delta of a split": ar.Delta(W0, ar.Split(SHAPE, 2, lambda chunk: ar.LowRank((3, 4), 1)), -2),
    "stack": ar.Stack(TWO, ar.Sum(WALL, LOW)),
    "stack of a delta": ar.Stack(TWO, ar.Delta(W0, WALL)),
}
EACH = pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))


def cotangent(net: ar.Network, dtype: str, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)

    def draw(shape: tuple[int, ...]) -> Any:
        g = rng.standard_normal(shape)
        return (g + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else g).astype(dtype)

    return {name: draw(s) for name, s in net.shapes} if isinstance(net, ar.Stack) else draw(net.placement.shape)

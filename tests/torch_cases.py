"""A small PyTorch model whose weights the tests of interop generate."""

from typing import Any

import numpy as np
import peers

import adntn_ref as ar

torch = peers.need("torch")
nn = torch.nn

from adntn_ref.interop.torch import GeneratedWeight  # noqa: E402


def wall(shape: tuple[int, ...]) -> ar.Network:
    return ar.BrickWall(shape, layers=2)


def mlp() -> Any:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 3)]
    return nn.Sequential(*layers).double()


X = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(4, 6)


def numbers(weight: GeneratedWeight) -> dict[str, np.ndarray]:
    return {name: core.detach().numpy() for name, core in weight.cores.as_dict().items()}

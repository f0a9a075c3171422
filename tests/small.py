"""Small models and data that the tests of training, compression and files share."""

import sys
from typing import Any

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.nn.data import Part, Split


def blobs(rng: np.random.Generator, count: int, side: int, classes: int, dtype: str) -> Part:
    """Images with a bright row that tells the class, and noise."""
    labels = np.arange(count) % classes
    images = 0.3 * rng.standard_normal((count, 1, side, side))
    images[np.arange(count), 0, labels % side] += 1.5
    return Part(images.astype(dtype), labels.astype(np.int64))


def split(
    side: int = 4, classes: int = 4, counts: tuple[int, int, int] = (60, 20, 20), dtype: str = "float32"
) -> Split:
    rng = np.random.default_rng([side, classes, *counts])
    train, validation, test = (blobs(rng, n, side, classes, dtype) for n in counts)
    return Split(train, validation, test, name="blobs", classes=classes, seed=0, mean=0.0, std=1.0)


def dense_model() -> ar.Sequential:
    layers = (
        ("flatten", ar.Flatten()),
        ("fc1", ar.Linear(16, 8)),
        ("relu", ar.Activation("relu")),
        ("fc2", ar.Linear(8, 8)),
        ("relu2", ar.Activation("relu")),
        ("fc3", ar.Linear(8, 4)),
    )
    return ar.Sequential((1, 4, 4), layers)


def conv_model() -> ar.Sequential:
    layers = (
        ("conv", ar.Conv2d(1, 4, 2)),
        ("relu", ar.Activation("relu")),
        ("pool", ar.MaxPool(2, stride=1)),
        ("flatten", ar.Flatten()),
        ("fc", ar.Linear(16, 4)),
    )
    return ar.Sequential((1, 4, 4), layers)


def networks(model: ar.Sequential, *names: str, layers: int = 1) -> dict[str, ar.Network]:
    return {name: ar.BrickWall(model.param_shapes[name], layers) for name in names}


def same(a: Any, b: Any) -> bool:
    """Whether two trees of dicts hold the same bits under the same names."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Let ``package`` be as if it were not installed."""

    class Hiding:
        @staticmethod
        def find_spec(name: str, path: Any = None, target: Any = None) -> None:
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Hiding, *sys.meta_path])

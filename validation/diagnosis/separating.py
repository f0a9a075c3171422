"""Small cases that tell the mistakes of the catalogue apart, each from a seed."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from adntn_ref import networks

from ..case import Case, with_frozen
from .model import mistaken
from .parts import Array


def _draw(rng: np.random.Generator, shape: tuple[int, ...], numbers: str) -> Array:
    if numbers == "integers":
        return rng.integers(-1, 2, shape).astype(np.float64)
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if numbers == "complex" else x


def _case(name: str, net: networks.Network, numbers: str = "real", seed: int = 0) -> Case:
    """Return a case with normal numbers; ``integers`` of -1, 0, 1 meet the kinks of relu exactly."""
    rng = np.random.default_rng(seed)
    params = {core: _draw(rng, shape, numbers) for core, shape in net.core_shapes.items()}
    if isinstance(net, networks.Stack):
        cotangent: Any = {part: _draw(rng, shape, numbers) for part, shape in net.shapes}
    else:
        cotangent = _draw(rng, net.placement.shape, numbers)
    return Case(f"separating/{name}", net.to_spec(), with_frozen(net, params), cotangent)


@lru_cache(maxsize=1)
def separating_cases() -> tuple[Case, ...]:
    """Return the cases, each small and of a few networks' features."""
    wall, twos = networks.BrickWall, (2,) * 5
    eight = (2,) * 8
    frozen = np.random.default_rng(1).standard_normal((3, 4))
    return (
        _case("wall-tanh-trainable", wall((5, 6), 3, twos, "tanh", "trainable")),
        _case("wall-tanh-odd", wall((4, 8), 3, twos, "tanh")),
        _case("wall-gelu-column", wall((3, 5), 2, (2,) * 4, "gelu", "trainable", "column")),
        _case("wall-relu-shared-zeros", wall((4, 4), 3, (2,) * 4, "relu", "trainable", "column"), "integers", 3),
        _case("wall-leaky-zeros", wall((4, 4), 3, (2,) * 4, "leaky_relu", "trainable", "column"), "integers", 3),
        _case("wall-sigmoid-mixed", wall((3, 4, 2), 2, (2, 3, 2, 3), "sigmoid")),
        _case("wall-sin-axes", wall((3, 7), 2, None, "sin", layout="axes")),
        _case("wall-silu-interleaved", wall((3, 7), 2, None, "silu", layout="interleaved")),
        _case("wall-identity-complex", wall((3, 4), 2, None, "identity", "trainable"), "complex"),
        _case("ttn-tanh-odd", networks.TTN((6, 5), 2, twos)),
        _case("ttn-node", networks.TTN((6, 5), 2, twos, activation_site="node")),
        _case("attn-tanh", networks.ATTN((16, 15), 2, eight)),
        _case("mera-periodic", networks.MERA((16, 15), 2, eight, periodic=True)),
        _case("lowrank", networks.LowRank((3, 4), 2)),
        _case("tt", networks.TensorTrain((5, 6), 2)),
        _case("tt-complex", networks.TensorTrain((4, 4), 2), "complex"),
        _case("mpo", networks.MPO((4, 7), 2, (2, 2), (2, 4))),
        _case("cp", networks.CP((5, 3), 3, (4, 2, 2))),
        _case("tucker", networks.Tucker((5, 3), (2, 2, 2), (4, 2, 2))),
        _case("sum", networks.Sum(networks.LowRank((3, 4), 1), networks.TensorTrain((3, 4), 2))),
        _case("split-even", networks.Split((3, 4), 3, lambda chunk: wall(chunk, 2, activation="tanh"))),
        _case("split-uneven", networks.Split((2, 5), 3, lambda chunk: wall(chunk, 2, activation="tanh"))),
        _case("stack", networks.Stack({"b": (3, 2), "a": (2, 3)}, networks.TensorTrain((12,), 2))),
        _case("delta", networks.Delta(frozen, networks.LowRank((3, 4), 2), 0.7)),
    )


def same(a: dict[str, Array] | None, b: dict[str, Array] | None) -> bool:
    """Return whether two results are equal to rounding."""
    if a is None or b is None:
        return a is b
    return all(np.allclose(a[name], b[name], rtol=1e-7, atol=1e-7 * _size(a)) for name in a.keys() & b.keys())


def _size(result: dict[str, Array]) -> float:
    return max(float(np.abs(x).max(initial=0)) for x in result.values())


def told_apart_by(a: Sequence[str], b: Sequence[str]) -> Case | None:
    """Return the first case on which two sets of mistakes give different results, None where there is none."""
    for case in separating_cases():
        results = [mistaken(case.spec, case.params, case.cotangent, names) for names in (a, b)]
        if None not in results and not same(*results):
            return case
    return None


def telling_apart(explanations: Sequence[Sequence[str]]) -> str:
    """Return a sentence that names a case that tells explanations apart."""
    first, *others = explanations
    for k, other in enumerate(others):
        case = told_apart_by(first, other)
        if case is not None:
            what = f"{case.spec['network']}, layout {case.spec.get('layout', 'flat')}"
            which = "the first two" if k == 0 else "some"
            return f"Case {case.name} ({what}) would tell {which} of them apart."
    return "No case of the catalogue tells them apart."

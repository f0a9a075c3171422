"""Cases meant to break a rounding model: repeated numbers, cancellation, wide ranges, great depth."""

from collections.abc import Callable

import numpy as np

from adntn_ref.networks import ATTN, MERA, TTN, BrickWall, Network

from ..case import Case
from .tape import Array

Pattern = Callable[[np.random.Generator, tuple[int, ...]], Array]


def _cancelling(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return numbers that come in pairs, one nearly minus the other, next to each other."""
    x = rng.standard_normal(shape).ravel()
    x[1::2] = -x[: len(x) & ~1 : 2] * (1 + 1e-3 * rng.standard_normal(len(x) // 2))
    return x.reshape(shape)


PATTERNS: dict[str, Pattern] = {
    "positive": lambda rng, shape: np.abs(0.7 * rng.standard_normal(shape)),
    "equal": lambda rng, shape: np.full(shape, 0.3),
    "alternating": lambda rng, shape: 0.3 * (-1.0) ** np.arange(int(np.prod(shape))).reshape(shape),
    "few values": lambda rng, shape: rng.choice([-0.7, -0.1, 0.0, 0.1, 0.3, 0.7], shape),
    "wide": lambda rng, shape: rng.standard_normal(shape) * 10 ** rng.uniform(-3, 0.3, shape),
    "sparse": lambda rng, shape: rng.standard_normal(shape) * (rng.random(shape) < 0.3),
    "cancelling": _cancelling,
}
"""How cores are filled, by name."""

DEPTH = 20


def hardened(case: Case, seed: int) -> Case:
    """Return a case with cores of one of the patterns, all of them or all but one."""
    rng = np.random.default_rng(seed)
    name = list(PATTERNS)[seed % len(PATTERNS)]
    cores = [core for core in case.params if not core.startswith("frozen/")]
    spared = rng.choice(cores) if rng.random() < 0.3 else None
    filled = {core: PATTERNS[name](rng, case.params[core].shape) for core in cores if core != spared}
    return Case(f"{case.name}, {name}", case.spec, {**case.params, **filled}, case.cotangent)


def deep_cases(seed: int) -> list[Case]:
    """Return deep networks with the calibrated start: brick-walls of 20 layers and trees over nine modes."""
    nets: list[Network] = []
    for activation in ("identity", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu", "sin"):
        nets.append(BrickWall((8, 16), DEPTH, activation=activation, boundary="trainable"))
        nets.append(BrickWall((6, 10), DEPTH, activation=activation, activation_every="column"))
        nets += [kind((16, 32), 4, activation=activation) for kind in (TTN, ATTN, MERA)]
        nets.append(TTN((16, 32), 4, activation=activation, activation_site="node"))
    rng = np.random.default_rng(seed)
    return [
        Case(f"deep/{k}", net.to_spec(), net.init(seed + k), rng.standard_normal(net.placement.shape))
        for k, net in enumerate(nets)
    ]

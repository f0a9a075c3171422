r"""The training loop in decimals: rates, clipping, Adam, gradient descent with momentum; every step is kept.

In step k = 0, 1, ..., with the loss and its gradient g at the parameters x before the step:

1. norm n = sqrt(sum of g^2 over all parameters); where a limit c is given and n > c, g becomes g c / n.
2. rate factor f = rate * min(1, (k + 1) / warmup) * (cosine: (1 + cos(pi k / steps)) / 2; constant: 1); without a
   warm-up the second factor is 1. A parameter's learning rate r is f times its own rate, by default 1.
3. Adam: m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
   x = x - r / (1 - b1^(k+1)) * m / (sqrt(v / (1 - b2^(k+1))) + epsilon), with m = v = 0 before the first step.
   Gradient descent: b = mu b + g;  x = x - r b, with b = 0 before the first step.

Constants such as b1 = 0.9 are the doubles nearest to them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from .decimals import ONE, ZERO, Array, cosine, each, pi

Tree = dict[str, Array]
Objective = Callable[[int, Tree], tuple[Decimal, Tree]]
"""``(step, parameters) -> (loss, gradients)``."""


@dataclass(frozen=True)
class Plan:
    """How a stage is trained; ``rates`` are a parameter's own learning rate by its name, 1 where there is none."""

    steps: int
    rate: float
    optimiser: str = "adam"
    schedule: str = "cosine"
    warmup: int = 0
    clip: float | None = None
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    rates: dict[str, float] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return the options that matter, JSON-able."""
        unused = ("beta1", "beta2", "epsilon") if self.optimiser == "sgd" else ("momentum",)
        return {name: value for name, value in asdict(self).items() if name not in unused}


def descend(objective: Objective, start: Tree, plan: Plan) -> dict[str, Array]:
    """Train, and return what happened, one row a step.

    Returns
    -------
    dict
        ``loss``, ``norm`` and ``rate`` (the factor f), of shape (steps,); ``params/NAME`` with steps + 1 rows, before
        the first and after every step; ``gradient/NAME`` before clipping; ``first/NAME`` and ``second/NAME`` (Adam's m
        and v) or ``buffer/NAME`` (b) after the step.
    """
    rows: dict[str, list[Any]] = {f"params/{name}": [x] for name, x in start.items()}
    memory: dict[str, Tree] = {}
    x = start
    for k in range(plan.steps):
        loss, gradients = objective(k, x)
        norm = sum(((g * g).sum() for g in gradients.values()), ZERO).sqrt()
        share = Decimal(plan.clip) / norm if plan.clip is not None and norm > Decimal(plan.clip) else ONE
        factor = _factor(plan, k)
        rates = {name: factor * Decimal(plan.rates.get(name, 1.0)) for name in x}
        clipped = {name: g * share for name, g in gradients.items()}
        x, memory = (_adam if plan.optimiser == "adam" else _momentum)(plan, k, x, clipped, rates, memory)
        for name, value in (("loss", loss), ("norm", norm), ("rate", factor)):
            rows.setdefault(name, []).append(value)
        for group, tree in {"params": x, "gradient": gradients, **memory}.items():
            for name, value in tree.items():
                rows.setdefault(f"{group}/{name}", []).append(value)
    return {name: np.stack([np.asarray(value, object) for value in values]) for name, values in rows.items()}


def _factor(plan: Plan, k: int) -> Decimal:
    rise = min(ONE, Decimal(k + 1) / plan.warmup) if plan.warmup else ONE
    fall = (1 + cosine(pi() * k / plan.steps)) / 2 if plan.schedule == "cosine" else ONE
    return Decimal(plan.rate) * rise * fall


def _adam(
    plan: Plan, k: int, x: Tree, g: Tree, rates: Mapping[str, Decimal], memory: dict[str, Tree]
) -> tuple[Tree, dict[str, Tree]]:
    b1, b2, epsilon = Decimal(plan.beta1), Decimal(plan.beta2), Decimal(plan.epsilon)
    zero = {name: value * ZERO for name, value in x.items()}
    m, v = memory.get("first", zero), memory.get("second", zero)
    m = {name: b1 * m[name] + (1 - b1) * g[name] for name in x}
    v = {name: b2 * v[name] + (1 - b2) * g[name] * g[name] for name in x}
    moved = {}
    for name in x:
        root = each(lambda z: (z / (1 - b2 ** (k + 1))).sqrt(), v[name])
        moved[name] = x[name] - rates[name] / (1 - b1 ** (k + 1)) * (m[name] / (root + epsilon))
    return moved, {"first": m, "second": v}


def _momentum(
    plan: Plan, k: int, x: Tree, g: Tree, rates: Mapping[str, Decimal], memory: dict[str, Tree]
) -> tuple[Tree, dict[str, Tree]]:
    before = memory.get("buffer", {name: value * ZERO for name, value in x.items()})
    buffer = {name: Decimal(plan.momentum) * before[name] + g[name] for name in x}
    return {name: x[name] - rates[name] * buffer[name] for name in x}, {"buffer": buffer}


def rows_of(recorded: Mapping[str, Array], group: str, row: int) -> Iterator[tuple[str, Array]]:
    """Yield what a record has of a group in one row, by the parameter's name."""
    for name, values in recorded.items():
        if name.startswith(f"{group}/"):
            yield name.removeprefix(f"{group}/"), values[row]

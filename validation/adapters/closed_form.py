"""Closed-form adjoints on any namespace with NumPy's functions: what a framework without gradients needs.

For networks that are programs of steps (brick-walls, trees with the activation on their levels). Every kind of step has
its adjoint, and the backward pass takes them in reverse:

- mix: ``G_X[.., c, e, ..] = sum_ab conj(A[a, b, c, e]) G[.., a, b, ..]``, ``dA = sum G conj(X)``;
- expand: ``G_X[.., p, ..] = sum_lr conj(W[l, r, p]) G[.., l, r, ..]``, ``dW = sum G conj(X)``;
- activate: ``G_Z = sigma'(Z) G``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi, prod
from typing import Any

from . import plain
from .numpy_like import Networks
from .plain import Spec


@dataclass(frozen=True)
class Step:
    """One step: ``core`` acts on the index ``left`` (expand) or on ``left`` and ``right`` (mix), or sigma on all."""

    kind: str
    core: str = ""
    left: int = 0
    right: int = 0


def program(spec: Spec) -> tuple[list[str], list[Step]]:
    """Return the names of the cores whose outer product is the start, and the steps.

    Raises
    ------
    NotImplementedError
        For a network that is no such program.
    """
    sites = len(plain.modes(spec)) if spec["network"] in plain.STEPWISE else 0
    if spec["network"] == "brickwall":
        return _brickwall(spec, sites)
    if sites == 0 or spec.get("activation_site", "level") == "node":
        raise NotImplementedError(f"closed-form adjoints of a {spec['network']} are not written here")
    levels = plain.depths(sites)
    steps: list[Step] = []
    for k in range(2, len(levels) + 1):
        steps.append(Step("activate"))
        inner = [(p, node) for p, node in enumerate(levels[k - 2]) if not plain.is_leaf(node)]
        steps += [Step("expand", plain.node_name(node), p) for p, node in reversed(inner)]
        if spec["network"] == "mera" or (spec["network"] == "attn" and k == len(levels)):
            pairs = plain.mixing_pairs(levels[k - 1], sites, spec.get("periodic", False))
            steps += [Step("mix", f"mix{k}.{left}", left, right) for left, right in pairs]
    return ["root"], steps


def _brickwall(spec: Spec, sites: int) -> tuple[list[str], list[Step]]:
    columns = [(m, bricks) for m in range(spec["layers"]) for bricks in plain.brick_columns(sites).values()]
    every = spec.get("activation_every", "layer") == "column"
    constant = spec["boundary"] == "constant"
    start = [f"layer0.brick{q}" for q in columns[0][1]] if constant else [f"start{q}" for q in range(sites)]
    steps: list[Step] = []
    for at, (m, bricks) in enumerate(columns):
        if at > 0 and (every or columns[at - 1][0] != m):
            steps.append(Step("activate"))
        if at > 0 or not constant:
            steps += [Step("mix", f"layer{m}.brick{q}", q, q + 1) for q in bricks]
    return start, steps


class ClosedForm(Networks):
    """The networks with their gradients in closed form, on the arrays of ``xp``."""

    def vjp(self, spec: Spec, cores: Mapping[str, Any], cotangent: Any) -> dict[str, Any]:
        """Return the gradient of ``Re sum conj(cotangent) weight`` with respect to every core."""
        start, steps = program(spec)
        factors = [cores[name] for name in start]
        if spec["network"] == "brickwall" and spec["boundary"] == "constant":
            factors = self.first_factors(plain.modes(spec), cores)
        x, kept = self.outer(factors), []
        for step in steps:
            kept.append(x)
            x = self.forward(spec, step, cores, x)
        found: dict[str, Any] = {}
        g = self.spread(spec, cotangent, x)
        for step, x in zip(reversed(steps), reversed(kept), strict=True):
            g, core = self.backward(spec, step, cores, x, g)
            if step.core:
                found[step.core] = core
        return found | {name: self.factor(factors, k, g) for k, name in enumerate(start)}

    def forward(self, spec: Spec, step: Step, cores: Mapping[str, Any], x: Any) -> Any:
        """Return the state after a step."""
        if step.kind == "activate":
            return self.sigma[spec["activation"]](x)
        core = cores[step.core]
        return self.mix(core, x, step.left, step.right) if step.kind == "mix" else self.expand(core, x, step.left)

    def backward(self, spec: Spec, step: Step, cores: Mapping[str, Any], x: Any, g: Any) -> tuple[Any, Any]:
        """Return the cotangent of a step's input x and the environment of its core, from its output's cotangent."""
        if step.kind == "activate":
            return self.slope(spec["activation"], x) * g, None
        core, conj = self.xp.conj(cores[step.core]), self.xp.conj
        if step.kind == "expand":
            before = prod(x.shape[: step.left])
            gs, xs = g.reshape(before, *core.shape[:2], -1), x.reshape(before, core.shape[2], -1)
            carried = self.xp.einsum("lrp,xlry->xpy", core, gs).reshape(x.shape)
            return carried, self.xp.einsum("xlry,xpy->lrp", gs, conj(xs))
        carried = self.mix(self.xp.transpose(core, (2, 3, 0, 1)), g, step.left, step.right)
        if step.right < step.left:
            g, x = self.xp.moveaxis(g, -1, 0), self.xp.moveaxis(x, -1, 0)
        sizes = (prod(x.shape[: min(step.left, step.right)]), *core.shape[:2], -1)
        return carried, self.xp.einsum("xaby,xcey->abce", g.reshape(sizes), conj(x.reshape(sizes)))

    def slope(self, name: str, z: Any) -> Any:
        """Return ``sigma'(Z)``; 0 at 0 for relu."""
        xp = self.xp
        if name in ("sigmoid", "silu"):
            s = self.sigma["sigmoid"](z)
            return s * (1 - s) if name == "sigmoid" else s * (1 + z * (1 - s))
        if name == "gelu":
            return 0.5 * (1 + self.erf(z * 0.5**0.5)) + z * xp.exp(-z * z / 2) / (2 * pi) ** 0.5
        if name == "tanh":
            return 1 - xp.tanh(z) ** 2
        if name == "sin":
            return xp.cos(z)
        below = {"identity": 1.0, "relu": 0.0, "leaky_relu": 0.01}[name]
        one = xp.ones_like(z)
        return one if name == "identity" else xp.where(z > 0, one, below * one)

    def spread(self, spec: Spec, cotangent: Any, x: Any) -> Any:
        """Return the generated tensor's cotangent: the weight's at its places, 0 in the padding."""
        places = self.place(spec, self.xp.arange(x.size).reshape(x.shape)).reshape(-1)
        g = self.xp.zeros(x.size, dtype=x.dtype)
        g[places] = cotangent.reshape(-1)
        return g.reshape(x.shape)

    def factor(self, factors: list[Any], k: int, g: Any) -> Any:
        """Return the gradient of a factor of the start: the cotangent with all other factors' conjugates."""
        one = self.xp.ones(1, dtype=g.dtype)
        left, right = (self.xp.conj(self.outer([one, *f]).reshape(-1)) for f in (factors[:k], factors[k + 1 :]))
        found = self.xp.einsum("x,xmy,y->m", left, g.reshape(left.size, -1, right.size), right)
        return found.reshape(factors[k].shape)

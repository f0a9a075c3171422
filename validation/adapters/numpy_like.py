"""Every network written once against NumPy's interface, which ``jax.numpy`` and ``autograd.numpy`` share.

The second of the two complete implementations: :class:`Networks` is what the JAX and the HIPS autograd adapter
differentiate. It is written differently from the torch one: every step is an einsum over a reshaped state.
"""

from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import plain
from .plain import Node, Spec

Array = NDArray[Any]
Cores = Mapping[str, Any]


def activations(xp: Any, erf: Callable[[Any], Any]) -> dict[str, Callable[[Any], Any]]:
    """Return the activations by name, differentiable at 0 as defined: relu'(0) = 0, and the slope for leaky_relu."""

    def sigmoid(z: Any) -> Any:
        return xp.exp(-xp.logaddexp(0 * z, -z))  # neither overflows nor loses digits

    return {
        "identity": lambda z: z,
        "relu": lambda z: xp.where(z > 0, z, 0 * z),
        "leaky_relu": lambda z: xp.where(z > 0, z, 0.01 * z),
        "tanh": xp.tanh,
        "sigmoid": sigmoid,
        "gelu": lambda z: 0.5 * z * (1 + erf(z * 0.5**0.5)),
        "silu": lambda z: z * sigmoid(z),
        "sin": xp.sin,
    }


class Networks:
    """The networks as functions of a specification and of arrays by name.

    Parameters
    ----------
    xp : namespace with NumPy's functions
    erf : the error function for its arrays
    nudges : zeros by the step's name that are added to the states, so that a framework which differentiates
        functions of named inputs can say what the cotangent of a state is
    """

    def __init__(self, xp: Any, erf: Callable[[Any], Any], nudges: Mapping[str, Any] | None = None) -> None:
        self.xp = xp
        self.erf = erf
        self.sigma = activations(xp, erf)
        self.nudges = nudges
        self.seen: dict[str, Any] = {}

    def note(self, name: str, x: Any) -> Any:
        """Keep a state under its step's name, nudged if that is asked for."""
        self.seen[name] = x if self.nudges is None else x + self.nudges[name]
        return self.seen[name]

    def weight(self, spec: Spec, cores: Cores) -> Any:
        """Return the weight, or a dict of weights for a stack."""
        if spec["network"] not in plain.KINDS:
            raise NotImplementedError(f"network {spec['network']!r}")
        return getattr(self, spec["network"])(spec, cores)

    # Steps

    def mix(self, core: Any, x: Any, left: int, right: int) -> Any:
        """Return ``Y[.., a, b, ..] = sum_ce core[a, b, c, e] X[.., c, e, ..]`` on neighbours, or (last, first)."""
        if right < left:
            turned = self.mix(core, self.xp.moveaxis(x, -1, 0), 0, 1)
            return self.xp.moveaxis(turned, 0, -1)
        flat = x.reshape(prod(x.shape[:left]), x.shape[left], x.shape[right], -1)
        return self.xp.einsum("abce,xcey->xaby", core, flat).reshape(x.shape)

    def expand(self, core: Any, x: Any, p: int) -> Any:
        """Return ``Y[.., l, r, ..] = sum_p core[l, r, p] X[.., p, ..]``."""
        flat = x.reshape(prod(x.shape[:p]), x.shape[p], -1)
        y = self.xp.einsum("lrp,xpy->xlry", core, flat)
        return y.reshape(*x.shape[:p], *core.shape[:2], *x.shape[p + 1 :])

    def outer(self, factors: Iterable[Any]) -> Any:
        """Return the outer product of arrays, all their indices in order."""
        x, *rest = factors
        for factor in rest:
            x = self.xp.einsum("x,y->xy", x.reshape(-1), factor.reshape(-1)).reshape(x.shape + factor.shape)
        return x

    # The brick-wall

    def brickwall(self, spec: Spec, cores: Cores) -> Any:
        """Return the weight of a brick-wall: the columns one after another, sigma where the specification has it."""
        sizes = plain.modes(spec)
        trainable = spec["boundary"] == "trainable"
        x = self.note("start", self.outer(cores[f"start{q}"] for q in range(len(sizes)))) if trainable else None
        layer = plain.brick_columns(len(sizes))
        columns = [(m, name, bricks) for m in range(spec["layers"]) for name, bricks in layer.items()]
        for at, (m, name, bricks) in enumerate(columns):
            if x is None:
                x = self.outer(self.first_factors(sizes, cores))
            else:
                for q in bricks:
                    x = self.mix(cores[f"layer{m}.brick{q}"], x, q, q + 1)
            x = self.note(f"layer{m}.{name}", x)
            if at + 1 < len(columns):
                if spec.get("activation_every", "layer") == "column":
                    x = self.note(f"layer{m}.{name}.activation", self.sigma[spec["activation"]](x))
                elif columns[at + 1][0] != m:
                    x = self.note(f"layer{m}.activation", self.sigma[spec["activation"]](x))
        return self.place(spec, x)

    def first_factors(self, sizes: tuple[int, ...], cores: Cores) -> list[Any]:
        """Return the factors of what the first column makes of vectors (1, 0, ..): ``A[:, :, 0, 0]`` of its bricks."""
        slices = [cores[f"layer0.brick{q}"] for q in range(0, len(sizes) - 1, 2)]
        untouched = [self.xp.eye(1, sizes[-1], dtype=slices[0].dtype)[0]] if len(sizes) % 2 else []
        return [*slices, *untouched]

    # Trees

    def tree(self, spec: Spec, cores: Cores) -> Any:
        """Return the weight of a tree with the activation on its levels, or at its nodes."""
        sites = len(plain.modes(spec))
        if spec.get("activation_site", "level") == "node":
            return self.place(spec, self.note("root", self.frame(spec, cores, (0, sites))))
        levels = plain.depths(sites)
        x = self.note("depth1", cores["root"])
        for k in range(1, len(levels) + 1):
            if k > 1:
                x = self.note(f"depth{k}.expand", self.next_depth(cores, x, levels[k - 2]))
                if spec["network"] == "mera" or (spec["network"] == "attn" and k == len(levels)):
                    x = self.lateral(spec, cores, x, k, levels[k - 1])
            if k < len(levels):
                x = self.note(f"depth{k}.activation", self.sigma[spec["activation"]](x))
        return self.place(spec, x)

    ttn = attn = mera = tree

    def next_depth(self, cores: Cores, x: Any, nodes: list[Node]) -> Any:
        """Return the next depth's state; ``at`` is where the node's index stands after those before it have split."""
        at = 0
        for i, j in nodes:
            if j - i > 1:
                x = self.expand(cores[plain.node_name((i, j))], x, at)
            at += 1 if j - i == 1 else 2
        return x

    def lateral(self, spec: Spec, cores: Cores, x: Any, depth: int, nodes: list[Node]) -> Any:
        """Return the state after the lateral mixing of a depth, if it has any."""
        pairs = plain.mixing_pairs(nodes, len(plain.modes(spec)), spec.get("periodic", False))
        for left, right in pairs:
            x = self.mix(cores[f"mix{depth}.{left}"], x, left, right)
        return self.note(f"depth{depth}.mix", x) if pairs else x

    def frame(self, spec: Spec, cores: Cores, node: Node) -> Any:
        """Return a node's frame ``U[xy, p] = sigma(sum_lr U[x, l] U[y, r] W[l, r, p])``; the root's is the tensor."""
        sizes = plain.modes(spec)
        if plain.is_leaf(node):
            return self.xp.eye(sizes[node[0]], dtype=cores["root"].dtype)
        left, right = (self.frame(spec, cores, child) for child in plain.children(node))
        if node == (0, len(sizes)):
            return left @ cores["root"] @ right.T
        name = plain.node_name(node)
        half = self.xp.einsum("xl,lrp->xrp", left, cores[name])
        z = self.note(name, self.xp.einsum("yr,xrp->xyp", right, half))
        return self.note(f"{name}.activation", self.sigma[spec["activation"]](z)).reshape(-1, z.shape[-1])

    # Shallow networks

    def lowrank(self, spec: Spec, cores: Cores) -> Any:
        """Return the product of the two factors."""
        return self.xp.einsum("ir,rj->ij", cores["left"], cores["right"]).reshape(spec["shape"])

    def chain(self, spec: Spec, cores: Cores) -> Any:
        """Return the product along the bonds of a tensor train or an MPO, from the right."""
        x, *others = (cores[name] for name in reversed(plain.numbered(cores, "core")))
        for core in others:
            x = core.reshape(-1, core.shape[-1]) @ x.reshape(core.shape[-1], -1)
        return self.place(spec, x)

    tt = mpo = chain

    def cp(self, spec: Spec, cores: Cores) -> Any:
        """Return the sum over r of the outer products of the factors' columns r."""
        x, *factors = (cores[name] for name in plain.numbered(cores, "factor"))
        for factor in factors:
            x = (x[:, None, :] * factor[None, :, :]).reshape(-1, factor.shape[1])
        return self.place(spec, self.xp.sum(x, axis=1))

    def tucker(self, spec: Spec, cores: Cores) -> Any:
        """Return the core tensor with every factor applied to its index."""
        x = cores["core"]
        for q in range(x.ndim):
            x = self.xp.moveaxis(self.xp.tensordot(x, cores[f"factor{q}"], axes=[[q], [1]]), -1, q)
        return self.place(spec, x)

    # Combinations

    def sum(self, spec: Spec, cores: Cores) -> Any:
        """Return the sum of the parts' weights."""
        first, *others = (self.weight(part, plain.part_of(cores, k)) for k, part in enumerate(spec["parts"]))
        for other in others:
            first = first + other
        return first

    def split(self, spec: Spec, cores: Cores) -> Any:
        """Return the parts' weights one after another."""
        chunks = [self.weight(part, plain.part_of(cores, k)).reshape(-1) for k, part in enumerate(spec["parts"])]
        return self.xp.concatenate(chunks).reshape(spec["shape"])

    def stack(self, spec: Spec, cores: Cores) -> dict[str, Any]:
        """Return several weights, cut from one network's in the given order."""
        entries = self.weight(spec["net"], cores).reshape(-1)
        ends = np.cumsum([prod(shape) for _, shape in spec["shapes"]])
        return {
            name: entries[end - prod(shape) : end].reshape(shape)
            for (name, shape), end in zip(spec["shapes"], ends.tolist(), strict=True)
        }

    def delta(self, spec: Spec, cores: Cores) -> Any:
        """Return the frozen weight, in the parameters' dtype, plus alpha times the network's."""
        update = self.weight(spec["net"], cores)
        return cores[plain.FROZEN + spec["base"]["sha256"]].astype(update.dtype) + spec["alpha"] * update

    # From the generated tensor to the weight

    def place(self, spec: Spec, x: Any) -> Any:
        """Return the weight in the generated tensor: its first entries, or a block of its matrix."""
        rows, columns = plain.matrix_sizes(spec)
        axes = plain.matrix_axes(spec)
        if axes is None:
            return x.reshape(-1)[: rows * columns].reshape(spec["shape"])
        x = self.xp.transpose(x.reshape(plain.modes(spec)), axes)
        return x.reshape(prod(spec["row_modes"]), -1)[:rows, :columns].reshape(spec["shape"])

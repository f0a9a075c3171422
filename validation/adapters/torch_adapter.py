"""Every network in PyTorch, as an author of a paper would write it; gradients by ``torch.autograd``.

One of two complete second implementations, and an example of what ``python -m adntn_ref.validation --against`` takes:

    generate(spec, params) -> weight                        vjp(spec, params, cotangent) -> gradients
    states(spec, params) -> state after every step          adjoint_states(spec, params, cotangent)

on NumPy arrays. It shares no code with the package's networks. Methods of :class:`TorchNetworks` are small, so that a
subclass can get one of them wrong on purpose; an instance is used for one call.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adntn_ref.extras import need

from . import plain
from .plain import Node, Spec

torch: Any = need("torch", "peers")

Array = NDArray[Any]
Tensor = Any
Cores = Mapping[str, Tensor]

ACTIVATIONS: dict[str, Any] = {
    "identity": lambda z: z,
    "relu": torch.relu,
    "leaky_relu": lambda z: torch.nn.functional.leaky_relu(z, 0.01),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": torch.nn.functional.gelu,  # the exact one, with erf
    "silu": torch.nn.functional.silu,
    "sin": torch.sin,
}


class TorchNetworks:
    """The networks as functions of a specification and of tensors by name."""

    def __init__(self) -> None:
        self.seen: dict[str, Tensor] = {}
        """The states of the call, by the step's name."""

    def weight(self, spec: Spec, cores: Cores) -> Any:
        """Return the weight, or a dict of weights for a stack: a network's kind is the name of its method."""
        if spec["network"] not in plain.KINDS:
            raise NotImplementedError(f"network {spec['network']!r}")
        return getattr(self, spec["network"])(spec, cores)

    def note(self, name: str, x: Tensor) -> Tensor:
        """Keep a state under its step's name, with its gradient once there is one."""
        if x.requires_grad:
            x.retain_grad()
        self.seen[name] = x
        return x

    # Steps

    def mix(self, core: Tensor, x: Tensor, left: int, right: int) -> Tensor:
        """Return ``Y[.., a, b, ..] = sum_ce core[a, b, c, e] X[.., c, e, ..]`` on the indices left and right."""
        y = torch.tensordot(core, x, dims=([2, 3], [left, right]))
        return torch.movedim(y, (0, 1), (left, right))

    def expand(self, core: Tensor, x: Tensor, p: int) -> Tensor:
        """Return ``Y[.., l, r, ..] = sum_p core[l, r, p] X[.., p, ..]``: index p becomes the indices p and p + 1."""
        y = torch.tensordot(core, x, dims=([2], [p]))
        return torch.movedim(y, (0, 1), (p, p + 1))

    def activate(self, name: str, z: Tensor) -> Tensor:
        """Return ``sigma(Z)``, entry by entry."""
        return ACTIVATIONS[name](z)

    # The brick-wall

    def brickwall(self, spec: Spec, cores: Cores) -> Tensor:
        """Return the weight of a brick-wall: two columns of bricks a layer, sigma between layers (or columns)."""
        sites = len(plain.modes(spec))
        x = self.start(spec, cores)
        for m in range(spec["layers"]):
            for column, bricks in self.columns(sites).items():
                x = self.note(f"layer{m}.{column}", self.column(spec, cores, x, m, bricks))
                name = self.activation_after(spec, m, column)
                if name is not None:
                    x = self.note(name, self.activate(spec["activation"], x))
        return self.place(spec, x)

    def columns(self, sites: int) -> dict[str, list[int]]:
        """Return the bricks' left positions in the columns of a layer, in the order in which the columns act."""
        return plain.brick_columns(sites)

    def start(self, spec: Spec, cores: Cores) -> Tensor:
        """Return the product of the start vectors: trainable ones, or (1, 0, ..) with its first column applied.

        With constant vectors only ``A[:, :, 0, 0]`` of the first bricks matters, and only that is stored: what the
        first column makes of the start is the outer product of these slices (and of the last vector for odd Q).
        """
        sizes = plain.modes(spec)
        if spec["boundary"] == "trainable":
            return self.note("start", outer([cores[f"start{q}"] for q in range(len(sizes))]))
        factors = [cores[f"layer0.brick{q}"] for q in range(0, len(sizes) - 1, 2)]
        if len(sizes) % 2:
            last = torch.zeros(sizes[-1], dtype=factors[0].dtype)
            last[0] = 1
            factors.append(last)
        return outer(factors)

    def column(self, spec: Spec, cores: Cores, x: Tensor, m: int, bricks: list[int]) -> Tensor:
        """Return the state after a column of bricks."""
        if m == 0 and bricks[0] == 0 and spec["boundary"] == "constant":
            return x  # these bricks are in the start already
        for q in bricks:
            x = self.mix(cores[f"layer{m}.brick{q}"], x, q, q + 1)
        return x

    def activation_after(self, spec: Spec, m: int, column: str) -> str | None:
        """Return the name of the activation after a column, or None where there is none."""
        *_, last = self.columns(len(plain.modes(spec)))
        if m == spec["layers"] - 1 and column == last:
            return None
        if spec.get("activation_every", "layer") == "column":
            return f"layer{m}.{column}.activation"
        return f"layer{m}.activation" if column == last else None

    # Trees

    def tree(self, spec: Spec, cores: Cores) -> Tensor:
        """Return the weight of a tree: from the root core, every depth expands, mixes and activates."""
        sites = len(plain.modes(spec))
        if spec.get("activation_site", "level") == "node":
            return self.place(spec, self.note("root", self.frames(spec, cores, (0, sites))))
        levels = plain.depths(sites)
        x = self.note("depth1", cores["root"])
        for k, nodes in enumerate(levels, start=1):
            if k > 1:
                x = self.note(f"depth{k}.expand", self.expand_depth(cores, x, levels[k - 2]))
                pairs = self.pairs(spec, nodes, k, len(levels))
                if pairs:
                    x = self.note(f"depth{k}.mix", self.mix_depth(cores, x, k, pairs))
            if k < len(levels):
                x = self.note(f"depth{k}.activation", self.activate(spec["activation"], x))
        return self.place(spec, x)

    ttn = attn = mera = tree

    def expand_depth(self, cores: Cores, x: Tensor, nodes: list[Node]) -> Tensor:
        """Return the next depth's state: every index of an inner node splits, leaves stay."""
        for p in reversed(range(len(nodes))):  # from the right, so that positions on the left stay what they are
            if not plain.is_leaf(nodes[p]):
                x = self.expand(cores[plain.node_name(nodes[p])], x, p)
        return x

    def pairs(self, spec: Spec, nodes: list[Node], depth: int, last: int) -> list[tuple[int, int]]:
        """Return the pairs of positions that mix at a depth: MERA at every one, aTTN at the last, TTN at none."""
        if spec["network"] == "ttn" or depth == 1 or (spec["network"] == "attn" and depth != last):
            return []
        return plain.mixing_pairs(nodes, len(plain.modes(spec)), spec.get("periodic", False))

    def mix_depth(self, cores: Cores, x: Tensor, depth: int, pairs: list[tuple[int, int]]) -> Tensor:
        """Return the state after the lateral mixing of a depth."""
        for left, right in pairs:
            x = self.mix(cores[f"mix{depth}.{left}"], x, left, right)
        return x

    def frames(self, spec: Spec, cores: Cores, node: Node) -> Tensor:
        """Return a node's frame U[(x, y), p], from its children's; the root's is the tensor, without activation."""
        sizes = plain.modes(spec)
        if plain.is_leaf(node):
            return torch.eye(sizes[node[0]], dtype=cores["root"].dtype)
        left, right = (self.frames(spec, cores, child) for child in plain.children(node))
        if node == (0, len(sizes)):
            return torch.einsum("xl,yr,lr->xy", left, right, cores["root"])
        name = plain.node_name(node)
        z = self.note(name, torch.einsum("xl,yr,lrp->xyp", left, right, cores[name]))
        return self.note(f"{name}.activation", self.activate(spec["activation"], z)).flatten(0, 1)

    # Shallow networks

    def lowrank(self, spec: Spec, cores: Cores) -> Tensor:
        """Return ``left @ right``."""
        return (cores["left"] @ cores["right"]).reshape(tuple(spec["shape"]))

    def chain(self, spec: Spec, cores: Cores) -> Tensor:
        """Return the product of a tensor train's cores along their bonds, or of an MPO's."""
        x = cores["core0"]
        for k in range(1, len(plain.numbered(cores, "core"))):
            x = torch.tensordot(x, cores[f"core{k}"], dims=1)
        return self.place(spec, x)

    tt = mpo = chain

    def cp(self, spec: Spec, cores: Cores) -> Tensor:
        """Return the sum over r of the outer products of the factors' columns r."""
        x, *factors = (cores[name] for name in plain.numbered(cores, "factor"))
        for factor in factors:
            x = torch.einsum("xr,dr->xdr", x, factor).flatten(0, 1)
        return self.place(spec, x.sum(1))

    def tucker(self, spec: Spec, cores: Cores) -> Tensor:
        """Return the core tensor with every factor applied to its index."""
        x = cores["core"]
        for q, name in enumerate(plain.numbered(cores, "factor")):
            x = torch.movedim(torch.tensordot(cores[name], x, dims=([1], [q])), 0, q)
        return self.place(spec, x)

    # Combinations

    def sum(self, spec: Spec, cores: Cores) -> Tensor:
        """Return the sum of the parts' weights."""
        weights = [self.weight(part, plain.part_of(cores, k)) for k, part in enumerate(spec["parts"])]
        return torch.stack(weights).sum(0)

    def split(self, spec: Spec, cores: Cores) -> Tensor:
        """Return the parts' weights one after another."""
        chunks = [self.weight(part, plain.part_of(cores, k)).flatten() for k, part in enumerate(spec["parts"])]
        return torch.cat(chunks).reshape(tuple(spec["shape"]))

    def stack(self, spec: Spec, cores: Cores) -> dict[str, Tensor]:
        """Return several weights, cut from one network's in the given order."""
        entries, weights, at = self.weight(spec["net"], cores).flatten(), {}, 0
        for name, shape in spec["shapes"]:
            count = int(np.prod(shape))
            weights[name] = entries[at : at + count].reshape(tuple(shape))
            at += count
        return weights

    def delta(self, spec: Spec, cores: Cores) -> Tensor:
        """Return the frozen weight plus alpha times the network's."""
        update = self.weight(spec["net"], cores)
        return cores[plain.FROZEN + spec["base"]["sha256"]].to(update.dtype) + spec["alpha"] * update

    # From the generated tensor to the weight

    def place(self, spec: Spec, x: Tensor) -> Tensor:
        """Return the weight in the generated tensor: its first entries, or a block of its matrix."""
        rows, columns = plain.matrix_sizes(spec)
        axes = plain.matrix_axes(spec)
        if axes is None:
            return x.flatten()[: rows * columns].reshape(tuple(spec["shape"]))
        x = x.reshape(plain.modes(spec)).permute(axes)
        matrix = x.reshape(int(np.prod(spec["row_modes"])), int(np.prod(spec["col_modes"])))
        return matrix[:rows, :columns].reshape(tuple(spec["shape"]))

    # On NumPy arrays

    def generate(self, spec: Spec, params: Mapping[str, Array]) -> Any:
        """Return the weight (a dict of them for a stack) as NumPy arrays."""
        return to_numpy(self.weight(spec, tensors(params)))

    def vjp(self, spec: Spec, params: Mapping[str, Array], cotangent: Any) -> dict[str, Array]:
        """Return the gradient of ``<cotangent, weight>`` with respect to every parameter but frozen weights."""
        cores = tensors(params)
        self.backward(self.weight(spec, cores), cotangent)
        return {name: gradient(cores[name]) for name in plain.trained(params)}

    def backward(self, weight: Any, cotangent: Any) -> None:
        """Run the backward pass from the weight, or from all weights of a stack."""
        weights = weight if isinstance(weight, dict) else {"": weight}
        gradients = tensors(cotangent if isinstance(weight, dict) else {"": cotangent}, grad=False)
        if any(w.requires_grad for w in weights.values()):
            torch.autograd.backward(list(weights.values()), [gradients[name] for name in weights])

    def states(self, spec: Spec, params: Mapping[str, Array]) -> dict[str, Array]:
        """Return the state after every step, by the step's name; nothing for networks that are no programs of steps."""
        self.weight(spec, tensors(params))
        return to_numpy(self.seen) if spec["network"] in plain.STEPWISE else {}

    def adjoint_states(self, spec: Spec, params: Mapping[str, Array], cotangent: Array) -> dict[str, Array]:
        """Return the cotangent of every state, by the step's name."""
        self.backward(self.weight(spec, tensors(params)), cotangent)
        return {name: gradient(x) for name, x in self.seen.items()} if spec["network"] in plain.STEPWISE else {}


def outer(factors: list[Tensor]) -> Tensor:
    """Return the outer product of tensors, all their indices in order."""
    x = factors[0]
    for factor in factors[1:]:
        x = torch.tensordot(x, factor, dims=0)
    return x


def tensors(arrays: Mapping[str, Array], grad: bool = True) -> dict[str, Tensor]:
    """Return copies as tensors; parameters to be trained record their gradients."""
    names = plain.trained(arrays) if grad else []
    return {name: torch.tensor(np.ascontiguousarray(x), requires_grad=name in names) for name, x in arrays.items()}


def to_numpy(tensor: Any) -> Any:
    """Return a tensor, or a dict of them, as NumPy arrays."""
    if isinstance(tensor, dict):
        return {name: to_numpy(x) for name, x in tensor.items()}
    return tensor.detach().resolve_conj().numpy().copy()


def gradient(x: Tensor) -> Array:
    """Return a tensor's gradient, zeros where nothing depends on it."""
    found: Array = to_numpy(torch.zeros_like(x) if x.grad is None else x.grad)
    return found


def generate(spec: Spec, params: Mapping[str, Array]) -> Any:
    """Return the weight."""
    return TorchNetworks().generate(spec, params)


def vjp(spec: Spec, params: Mapping[str, Array], cotangent: Any) -> dict[str, Array]:
    """Return the gradients."""
    return TorchNetworks().vjp(spec, params, cotangent)


def states(spec: Spec, params: Mapping[str, Array]) -> dict[str, Array]:
    """Return the states."""
    return TorchNetworks().states(spec, params)


def adjoint_states(spec: Spec, params: Mapping[str, Array], cotangent: Array) -> dict[str, Array]:
    """Return the states' cotangents."""
    return TorchNetworks().adjoint_states(spec, params, cotangent)

"""The mistakes of the catalogue planted in the torch adapter, a small class each; two of them together make a pair.

Written in torch beside the adapter, without a look at the interpreter that the diagnosis uses: the tests ask whether
the one names what the other plants. A class overrides one hook and calls the next with ``super()``.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
import peers

torch: Any = peers.need("torch")

from adntn_ref.validation.adapters import plain  # noqa: E402
from adntn_ref.validation.adapters.torch_adapter import ACTIVATIONS, TorchNetworks  # noqa: E402
from adntn_ref.validation.case import Case, reference  # noqa: E402
from adntn_ref.validation.diagnosis import Observation, diagnose  # noqa: E402
from adntn_ref.validation.diagnosis.separating import separating_cases  # noqa: E402
from adntn_ref.validation.tolerance import allowed_errors  # noqa: E402


class CannotBeMade(Exception):
    """Sizes do not let a mistake be made."""


class Given(torch.autograd.Function):
    """An entrywise function of given values whose derivative is given too."""

    @staticmethod
    def forward(ctx: Any, z: Any, value: Any, derivative: Any) -> Any:
        ctx.save_for_backward(derivative)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return ctx.saved_tensors[0] * g, None, None


class Contract(torch.autograd.Function):
    """``tensordot(core, x)`` over the core's last indices, with the backward pass written by hand, to be got wrong."""

    @staticmethod
    def forward(ctx: Any, core: Any, x: Any, at: Sequence[int], wrong: dict[str, Any]) -> Any:
        last = list(range(core.ndim - len(at), core.ndim))
        y = torch.tensordot(core, x, dims=(last, list(at)))
        ctx.save_for_backward(core, x, y)
        ctx.at, ctx.wrong = at, wrong
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        core, x, y = ctx.saved_tensors
        at, wrong = list(ctx.at), ctx.wrong
        outs = core.ndim - len(at)
        seen = torch.movedim(x, at, list(range(len(at))))
        shape = seen.shape
        rows = int(np.prod(core.shape[:outs]))
        square = outs == len(at)
        if wrong.get("stale") and square:
            # y has its outputs in front, where the inputs of `seen` are
            seen = y
        seen, gs = seen.reshape(-1, int(np.prod(shape[len(at) :]))), g.reshape(rows, -1)
        matrix = core.reshape(rows, -1)
        carried = (matrix.conj() if wrong.get("carry") and square else matrix.conj().T) @ gs
        if wrong.get("first"):
            seen, gs = seen[:, :1], gs[:, :1]
        environment = gs @ seen.conj().T
        if wrong.get("transposed") and square:
            environment = environment.T
        return (
            environment.reshape(core.shape),
            torch.movedim(carried.reshape(shape), list(range(len(at))), at),
            None,
            None,
        )


class Base(TorchNetworks):
    """The honest adapter with more hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.backward_wrong: dict[str, Any] = {}
        self.extra: list[Any] = []

    def read(self, core: Any) -> Any:
        return core

    def put(self, y: Any, left: int, right: int) -> Any:
        return torch.movedim(y, (0, 1), (left, right))

    def mix(self, core: Any, x: Any, left: int, right: int) -> Any:
        return self.put(self.contract(self.read(core), x, (left, right)), left, right)

    def expand(self, core: Any, x: Any, p: int) -> Any:
        return torch.movedim(self.contract(core, x, (p,)), (0, 1), (p, p + 1))

    def contract(self, core: Any, x: Any, at: Sequence[int]) -> Any:
        return Contract.apply(core, x, at, self.backward_wrong)

    def ttn(self, spec: Any, cores: Any) -> Any:
        return self.tree(spec, cores)

    attn = mera = ttn

    def tt(self, spec: Any, cores: Any) -> Any:
        return self.chain(spec, cores)

    mpo = tt

    def place(self, spec: Any, x: Any) -> Any:
        vector = self.vector(spec, x)
        shape = tuple(spec["shape"])
        if self.is_flat(spec):
            return self.cut_vector(vector, shape)
        rows, columns = int(np.prod(spec["row_modes"])), int(np.prod(spec["col_modes"]))
        matrix = self.fill(self.rows_first(spec, vector), (rows, columns))
        return self.cut_matrix(matrix, *plain.matrix_sizes(spec)).reshape(shape)

    def vector(self, spec: Any, x: Any) -> Any:
        return x.flatten()

    def is_flat(self, spec: Any) -> bool:
        return plain.matrix_axes(spec) is None

    def fill(self, vector: Any, shape: Sequence[int]) -> Any:
        return vector.reshape(tuple(shape))

    def cut_vector(self, vector: Any, shape: Sequence[int]) -> Any:
        return self.fill(vector[: int(np.prod(shape))], shape)

    def cut_matrix(self, matrix: Any, rows: int, columns: int) -> Any:
        return matrix[:rows, :columns]

    def rows_first(self, spec: Any, vector: Any) -> Any:
        return vector.reshape(plain.modes(spec)).permute(plain.matrix_axes(spec)).reshape(-1)


# Bricks


def reading(*order: int) -> type:
    """The legs of a brick in another order."""

    class Legs(Base):
        def read(self, core: Any) -> Any:
            return super().read(core.permute(order))

    return Legs


class SlicesTransposed(Base):
    def start(self, spec: Any, cores: Any) -> Any:
        return super().start(spec, {n: c.T if n[:6] == "layer0" and c.ndim == 2 else c for n, c in cores.items()})


class OutputsSwapped(reading(1, 0, 2, 3), SlicesTransposed):  # type: ignore[misc]
    pass


class LegsReversed(reading(3, 2, 1, 0), SlicesTransposed):  # type: ignore[misc]
    pass


class AxesLeft(Base):
    def put(self, y: Any, left: int, right: int) -> Any:
        return y


class BrickShared(Base):
    def shared(self, spec: Any, cores: Any, m: int, bricks: Sequence[int]) -> Any:
        sizes = plain.modes(spec)
        if len({(sizes[q], sizes[q + 1]) for q in bricks}) > 1:
            raise CannotBeMade
        return {**cores, **{f"layer{m}.brick{q}": cores[f"layer{m}.brick{bricks[0]}"] for q in bricks}}

    def start(self, spec: Any, cores: Any) -> Any:
        return super().start(spec, self.shared(spec, cores, 0, range(0, len(plain.modes(spec)) - 1, 2)))

    def column(self, spec: Any, cores: Any, x: Any, m: int, bricks: Any) -> Any:
        return super().column(spec, self.shared(spec, cores, m, bricks), x, m, bricks)


class ColumnsSwapped(Base):
    def column(self, spec: Any, cores: Any, x: Any, m: int, bricks: Any) -> Any:
        sites = len(plain.modes(spec))
        if sites > 2 and not (m == 0 and spec["boundary"] == "constant"):
            bricks = list(range(1 - bricks[0], sites - 1, 2))
        return super().column(spec, cores, x, m, bricks)


class OddMissing(Base):
    def columns(self, sites: int) -> Any:
        return {"even": super().columns(sites)["even"]}


class LayersReversed(Base):
    def brickwall(self, spec: Any, cores: Any) -> Any:
        last = spec["layers"] - 1
        if spec["boundary"] == "constant" and last:
            raise CannotBeMade
        turned = dict(cores)
        for name in cores:
            if name.startswith("layer"):
                layer, _, brick = name[5:].partition(".")
                turned[name] = cores[f"layer{last - int(layer)}.{brick}"]
        return super().brickwall(spec, turned)


class LastUnit(Base):
    def start(self, spec: Any, cores: Any) -> Any:
        x = super().start(spec, cores)
        odd = len(plain.modes(spec)) % 2 and spec["boundary"] == "constant"
        return self.last_vector(x) if odd else x

    def last_vector(self, x: Any) -> Any:
        return x.flip(-1)


class OnesStart(LastUnit):
    def last_vector(self, x: Any) -> Any:
        return x[..., :1].expand_as(x)


# Activations


class NoActivation(Base):
    def activate(self, name: str, z: Any) -> Any:
        return z


class AfterLast(Base):
    def place(self, spec: Any, x: Any) -> Any:
        return super().place(spec, self.activate(spec["activation"], x) if "activation" in spec else x)


class BeforeMixing(Base):
    last = acted = False

    def activation_after(self, spec: Any, m: int, column: str) -> str | None:
        if spec.get("activation_every", "layer") == "layer" and len(plain.modes(spec)) > 2:
            between = column == "even" and m < spec["layers"] - 1
            return f"layer{m}.activation" if between else None
        return super().activation_after(spec, m, column)

    def pairs(self, spec: Any, nodes: Any, depth: int, last: int) -> Any:
        self.last, self.spec = depth == last, spec
        return super().pairs(spec, nodes, depth, last)

    def mix_depth(self, cores: Any, x: Any, depth: int, pairs: Any) -> Any:
        if not self.last:
            x = self.activate(self.spec["activation"], x)
            self.acted = True
        return super().mix_depth(cores, x, depth, pairs)

    def activate(self, name: str, z: Any) -> Any:
        if self.acted:
            self.acted = False
            return z
        return super().activate(name, z)


def every(what: str) -> type:
    class Every(Base):
        def activation_after(self, spec: Any, m: int, column: str) -> str | None:
            return super().activation_after({**spec, "activation_every": what}, m, column)

    return Every


class OnStart(Base):
    def start(self, spec: Any, cores: Any) -> Any:
        x = super().start(spec, cores)
        return self.activate(spec["activation"], x) if spec["boundary"] == "trainable" else x


class RootBare(Base):
    def note(self, name: str, x: Any) -> Any:
        return super().note(name, self.seen["depth1"] if name == "depth1.activation" else x)


def instead(name_of: str, function: Callable[[Any], Any]) -> type:
    """One activation by another function."""

    class Instead(Base):
        def activate(self, name: str, z: Any) -> Any:
            return function(z) if name == name_of else super().activate(name, z)

    return Instead


def always(which: str) -> type:
    class Always(Base):
        def activate(self, name: str, z: Any) -> Any:
            return super().activate(name if name == "identity" else which, z)

    return Always


# Where the entries stand


class ModesReversed(Base):
    def vector(self, spec: Any, x: Any) -> Any:
        if spec["network"] == "mpo":
            x = x.reshape([r * c for r, c in zip(spec["row_modes"], spec["col_modes"], strict=True)])
        if spec["network"] == "cp" or spec.get("activation_site") == "node":
            x = x.reshape(plain.modes(spec))
        return x.permute(tuple(reversed(range(x.ndim)))).flatten()


class Fortran(Base):
    def fill(self, vector: Any, shape: Sequence[int]) -> Any:
        x = vector.reshape(tuple(reversed(shape)))
        return x.permute(tuple(reversed(range(x.ndim))))


class PaddingFront(Base):
    def cut_vector(self, vector: Any, shape: Sequence[int]) -> Any:
        return super().cut_vector(vector[len(vector) - int(np.prod(shape)) :], shape)

    def cut_matrix(self, matrix: Any, rows: int, columns: int) -> Any:
        return matrix[matrix.shape[0] - rows :, matrix.shape[1] - columns :]


class PaddingPerRow(Base):
    def cut_vector(self, vector: Any, shape: Sequence[int]) -> Any:
        if len(shape) == 1:
            return super().cut_vector(vector, shape)
        wide = len(vector) // shape[0]
        return vector[: wide * shape[0]].reshape(shape[0], wide)[:, : int(np.prod(shape[1:]))].reshape(tuple(shape))


class AsFlat(Base):
    def is_flat(self, spec: Any) -> bool:
        return spec["network"] != "mpo"


class AsAxes(Base):
    def rows_first(self, spec: Any, vector: Any) -> Any:
        return vector


class ColumnFirst(Base):
    def rows_first(self, spec: Any, vector: Any) -> Any:
        if spec.get("layout") != "interleaved":
            return super().rows_first(spec, vector)
        swapped = {**spec, "row_modes": spec["col_modes"], "col_modes": spec["row_modes"]}
        if plain.modes(swapped) != plain.modes(spec):
            raise CannotBeMade
        axes = plain.matrix_axes(swapped)
        assert axes is not None
        columns = len(spec["col_modes"])
        return vector.reshape(plain.modes(spec)).permute((*axes[columns:], *axes[:columns])).reshape(-1)


# Trees


def nodes_read(change: Callable[[Any], Any]) -> type:
    class Nodes(Base):
        def tree(self, spec: Any, cores: Any) -> Any:
            return super().tree(spec, {n: change(c) if n.startswith("node") else c for n, c in cores.items()})

    return Nodes


def bond_first(core: Any) -> Any:
    l, r, p = core.shape
    return core.reshape(p, l, r).permute(1, 2, 0)


class RootTransposed(Base):
    def tree(self, spec: Any, cores: Any) -> Any:
        return super().tree(spec, {**cores, "root": cores["root"].T})


class SplitFloor(Base):
    def tree(self, spec: Any, cores: Any) -> Any:
        sites = len(plain.modes(spec))
        right = [n for level in plain.depths(sites) for n in level if not plain.is_leaf(n)]
        with mock.patch.object(plain, "children", lambda n: ((n[0], sum(n) // 2), (sum(n) // 2, n[1]))):
            mine = [n for level in plain.depths(sites) for n in level if not plain.is_leaf(n)]
            names = dict(zip(dict.fromkeys(mine), dict.fromkeys(right), strict=True))
            by_order = {f"node{a}_{b}": cores[f"node{c}_{d}"] for (a, b), (c, d) in names.items()}
            return super().tree(spec, {**{n: c for n, c in cores.items() if n[:4] != "node"}, **by_order})


class MixBeforeExpand(Base):
    def tree(self, spec: Any, cores: Any) -> Any:
        self.spec, self.depth = spec, 1
        return super().tree(spec, cores)

    def expand_depth(self, cores: Any, x: Any, nodes: Any) -> Any:
        self.depth += 1
        levels = plain.depths(len(plain.modes(self.spec)))
        below = levels[self.depth - 1]
        for left, right in super().pairs(self.spec, below, self.depth, len(levels)):
            p, q = (next(k for k, n in enumerate(nodes) if n[0] <= below[i][0] < n[1]) for i in (left, right))
            x = self.mix(cores[f"mix{self.depth}.{left}"], x, p, q)
        return super().expand_depth(cores, x, nodes)

    def pairs(self, spec: Any, nodes: Any, depth: int, last: int) -> Any:
        return []


def shifted(by: int) -> type:
    class Shifted(Base):
        def mix_depth(self, cores: Any, x: Any, depth: int, pairs: Any) -> Any:
            for left, right in pairs:
                move = by if right == left + 1 else 0
                if not 0 <= left + move < x.ndim or not 0 <= right + move < x.ndim:
                    raise CannotBeMade
                x = self.mix(cores[f"mix{depth}.{left}"], x, left + move, right + move)
            return x

    return Shifted


def unmixed(where: Callable[[Any, bool], bool]) -> type:
    """No mixing at the depths of which ``where`` of the specification and "is it the last" is true."""

    class Unmixed(Base):
        def pairs(self, spec: Any, nodes: Any, depth: int, last: int) -> Any:
            return [] if where(spec, depth == last) else super().pairs(spec, nodes, depth, last)

    return Unmixed


class Open(Base):
    def pairs(self, spec: Any, nodes: Any, depth: int, last: int) -> Any:
        return super().pairs({**spec, "periodic": False}, nodes, depth, last)


class PeriodicSwapped(Base):
    def mix_depth(self, cores: Any, x: Any, depth: int, pairs: Any) -> Any:
        inner = [pair for pair in pairs if pair[0] < pair[1]]
        x = super().mix_depth(cores, x, depth, inner)
        for left, right in pairs[len(inner) :]:
            x = self.mix(cores[f"mix{depth}.{left}"], x, right, left)
        return x


def site(which: str) -> type:
    class Site(Base):
        def ttn(self, spec: Any, cores: Any) -> Any:
            return super().ttn({**spec, "activation_site": which}, cores)

    return Site


# Formats and combinations


def chain_read(change: Callable[[Any], Any], kinds: Sequence[str] = ("tt", "mpo")) -> type:
    class Chain(Base):
        def chain(self, spec: Any, cores: Any) -> Any:
            wrong = spec["network"] in kinds
            return super().chain(spec, {n: change(c) if wrong else c for n, c in cores.items()})

    return Chain


def swapped_legs(core: Any) -> Any:
    b, r, c, after = core.shape
    return core.reshape(b, c, r, after).permute(0, 2, 1, 3)


def mode_first(core: Any) -> Any:
    b, *n, after = core.shape
    return core.reshape(int(np.prod(n)), b, after).permute(1, 0, 2).reshape(core.shape)


class RightTransposed(Base):
    def lowrank(self, spec: Any, cores: Any) -> Any:
        right = cores["right"]
        return super().lowrank(spec, {**cores, "right": right.reshape(right.shape[::-1]).T})


class FactorsTransposed(Base):
    def turned(self, cores: Any) -> Any:
        return {n: c.reshape(c.shape[::-1]).T if n.startswith("factor") else c for n, c in cores.items()}

    def cp(self, spec: Any, cores: Any) -> Any:
        return super().cp(spec, self.turned(cores))

    def tucker(self, spec: Any, cores: Any) -> Any:
        return super().tucker(spec, self.turned(cores))


class SumMean(Base):
    def sum(self, spec: Any, cores: Any) -> Any:
        return super().sum(spec, cores) / len(spec["parts"])


class FloorChunks(Base):
    def split(self, spec: Any, cores: Any) -> Any:
        count, n = int(np.prod(spec["shape"])), len(spec["parts"])
        lengths = [count // n] * (n - 1) + [count - (n - 1) * (count // n)]
        parts = []
        for part, length in zip(spec["parts"], lengths, strict=True):
            if length != int(np.prod(part["shape"])):
                if "modes" not in part or int(np.prod(part["modes"])) < length:
                    raise CannotBeMade
                part = {**part, "shape": [length]}
            parts.append(part)
        return super().split({**spec, "parts": parts}, cores)


class Strided(Base):
    def split(self, spec: Any, cores: Any) -> Any:
        n, whole = len(spec["parts"]), super().split(spec, cores).flatten()
        if len(whole) % n:
            raise CannotBeMade
        return whole.reshape(n, -1).T.reshape(tuple(spec["shape"]))


class SplitReversed(Base):
    def split(self, spec: Any, cores: Any) -> Any:
        chunks = [self.weight(part, plain.part_of(cores, k)).flatten() for k, part in enumerate(spec["parts"])]
        return torch.cat(chunks[::-1]).reshape(tuple(spec["shape"]))


class StackSorted(Base):
    def stack(self, spec: Any, cores: Any) -> Any:
        return super().stack({**spec, "shapes": sorted(spec["shapes"], key=lambda pair: pair[0])}, cores)


def alpha_as(alpha_of: Callable[[Any], float]) -> type:
    class Alpha(Base):
        def delta(self, spec: Any, cores: Any) -> Any:
            return super().delta({**spec, "alpha": alpha_of(spec)}, cores)

    return Alpha


class NoBase(Base):
    def delta(self, spec: Any, cores: Any) -> Any:
        name = plain.FROZEN + spec["base"]["sha256"]
        return super().delta(spec, {**cores, name: torch.zeros_like(cores[name])})


class AlphaForwardOnly(Base):
    def delta(self, spec: Any, cores: Any) -> Any:
        weight = super().delta(spec, cores)
        once = super().delta({**spec, "alpha": 1.0}, cores)
        return Given.apply(once, weight.detach(), torch.ones_like(once))


# The backward pass


def gradients_as(change: Callable[[dict[str, Any], int], dict[str, Any]]) -> type:
    """``change(gradients, number of weights)`` on the way out."""

    class Gradients(Base):
        def vjp(self, spec: Any, params: Any, cotangent: Any) -> Any:
            each = cotangent.values() if isinstance(cotangent, dict) else [cotangent]
            return change(super().vjp(spec, params, cotangent), sum(g.size for g in each))

    return Gradients


def times(factor: float) -> type:
    return gradients_as(lambda found, count: {name: factor * g for name, g in found.items()})


def clipped(found: dict[str, Any], count: int) -> dict[str, Any]:
    norm = float(np.sqrt(sum(np.linalg.norm(g) ** 2 for g in found.values())))
    return {name: g / max(1.0, norm) for name, g in found.items()}


def cotangent_as(change: Callable[[Any], Any]) -> type:
    class Cotangent(Base):
        def backward(self, weight: Any, cotangent: Any) -> None:
            changed = {n: change(g) for n, g in cotangent.items()} if isinstance(cotangent, dict) else change(cotangent)
            super().backward(weight, changed)

    return Cotangent


class NoConjugate(Base):
    def vjp(self, spec: Any, params: Any, cotangent: Any) -> Any:
        dual = {n: np.conj(g) for n, g in cotangent.items()} if isinstance(cotangent, dict) else np.conj(cotangent)
        return {name: np.conj(g) for name, g in super().vjp(spec, params, dual).items()}


class PaddingOnes(Base):
    def cut_vector(self, vector: Any, shape: Sequence[int]) -> Any:
        found = super().cut_vector(vector, shape)
        self.extra.append(vector.sum() - found.sum())
        return found

    def cut_matrix(self, matrix: Any, rows: int, columns: int) -> Any:
        found = super().cut_matrix(matrix, rows, columns)
        self.extra.append(matrix.sum() - found.sum())
        return found

    def backward(self, weight: Any, cotangent: Any) -> None:
        for x in self.extra:
            x.backward(torch.ones_like(x), retain_graph=True)
        super().backward(weight, cotangent)


def at_zero(value: str) -> type:
    """relu and leaky_relu with another derivative at 0."""

    class AtZero(Base):
        def activate(self, name: str, z: Any) -> Any:
            y = super().activate(name, z)
            if y is z or not (name == "leaky_relu" or torch.equal(y, torch.relu(z))):
                return y
            at = z.detach().requires_grad_()
            slopes = torch.autograd.grad(super().activate(name, at).sum(), at)[0]
            tie = torch.ones_like(slopes) if value == "one" else (1 + slopes) / 2
            return Given.apply(z, y.detach(), torch.where(z == 0, tie, slopes))

    return AtZero


def derivative_as(change: Callable[[Callable[[Any], Any], Any, str], Any]) -> type:
    """Another derivative: ``change(derivative, z, name)``, with the right derivative as a function."""

    class Derivative(Base):
        def activate(self, name: str, z: Any) -> Any:
            sigma = super().activate

            def right(at: Any) -> Any:
                at = at.detach().requires_grad_()
                return torch.autograd.grad(sigma(name, at).sum(), at)[0]

            return Given.apply(z, sigma(name, z).detach(), change(right, z.detach(), name))

    return Derivative


def formula_at_input(right: Callable[[Any], Any], z: Any, name: str) -> Any:
    return {"tanh": lambda: 1 - z * z, "sigmoid": lambda: z * (1 - z)}.get(name, lambda: right(z))()


class Stops(Base):
    def activate(self, name: str, z: Any) -> Any:
        y = super().activate(name, z)
        return y if name == "identity" else Given.apply(z, y.detach(), torch.zeros_like(z))


def wrong_backward(key: str) -> type:
    class Hand(Base):
        def contract(self, core: Any, x: Any, at: Sequence[int]) -> Any:
            self.backward_wrong[key] = True
            return super().contract(core, x, at)

    return Hand


class StartDetached(Base):
    def start(self, spec: Any, cores: Any) -> Any:
        return super().start(spec, cores).detach()

    def tree(self, spec: Any, cores: Any) -> Any:
        if spec.get("activation_site", "level") == "node" and spec["network"] == "ttn":
            return super().tree(spec, cores)
        return super().tree(spec, {**cores, "root": cores["root"].detach()})


class HalfTouched(Base):
    def brickwall(self, spec: Any, cores: Any) -> Any:
        sites = len(plain.modes(spec))
        name = f"layer0.brick{sites - 2}"
        if sites % 2 == 0 or spec["boundary"] == "trainable":
            return super().brickwall(spec, cores)
        core = cores[name].clone()
        core.register_hook(lambda g: g[..., :1].expand_as(g).clone())
        return super().brickwall(spec, {**cores, name: core})


leaky = torch.nn.functional.leaky_relu

PLANTS: dict[str, type] = {
    "legs-in-out": reading(2, 3, 0, 1),
    "inputs-swapped": reading(0, 1, 3, 2),
    "outputs-swapped": OutputsSwapped,
    "legs-reversed": LegsReversed,
    "axes-left-in-front": AxesLeft,
    "slices-transposed": SlicesTransposed,
    "brick-shared": BrickShared,
    "columns-swapped": ColumnsSwapped,
    "odd-column-missing": OddMissing,
    "layers-reversed": LayersReversed,
    "start-last-unit": LastUnit,
    "start-ones": OnesStart,
    "activation-missing": NoActivation,
    "activation-after-last": AfterLast,
    "activation-before-mixing": BeforeMixing,
    "activation-every-column": every("column"),
    "activation-every-layer": every("layer"),
    "activation-on-start": OnStart,
    "root-activation-missing": RootBare,
    "gelu-tanh": instead("gelu", lambda z: torch.nn.functional.gelu(z, approximate="tanh")),
    "leaky-slope-tenth": instead("leaky_relu", lambda z: leaky(z, 0.1)),
    "leaky-slope-fifth": instead("leaky_relu", lambda z: leaky(z, 0.2)),
    "activation-always-relu": always("relu"),
    "activation-always-tanh": always("tanh"),
    "modes-reversed": ModesReversed,
    "fortran-order": Fortran,
    "padding-front": PaddingFront,
    "padding-per-row": PaddingPerRow,
    "layout-as-flat": AsFlat,
    "interleaved-as-axes": AsAxes,
    "interleaved-column-first": ColumnFirst,
    "children-swapped": nodes_read(lambda core: core.permute(1, 0, 2)),
    "node-bond-first": nodes_read(bond_first),
    "root-transposed": RootTransposed,
    "split-floor": SplitFloor,
    "mix-before-expand": MixBeforeExpand,
    "pairs-one-left": shifted(-1),
    "pairs-one-right": shifted(1),
    "mix-missing": unmixed(lambda spec, last: True),
    "mix-last-only": unmixed(lambda spec, last: not last),
    "mix-last-missing": unmixed(lambda spec, last: last),
    "periodic-missing": Open,
    "periodic-swapped": PeriodicSwapped,
    "node-as-level": site("level"),
    "level-as-node": site("node"),
    "row-column-swapped": chain_read(swapped_legs, ("mpo",)),
    "bonds-transposed": chain_read(lambda c: c.transpose(0, -1) if c.shape[0] == c.shape[-1] else c),
    "core-mode-first": chain_read(mode_first),
    "right-transposed": RightTransposed,
    "factors-transposed": FactorsTransposed,
    "sum-mean": SumMean,
    "split-floor-chunks": FloorChunks,
    "split-strided": Strided,
    "split-reversed": SplitReversed,
    "stack-sorted": StackSorted,
    "delta-base-missing": NoBase,
    "delta-alpha-missing": alpha_as(lambda spec: 1.0),
    "delta-alpha-over-rank": alpha_as(lambda spec: spec["alpha"] / spec["net"].get("rank", 1)),
    "gradient-doubled": times(2.0),
    "gradient-halved": times(0.5),
    "gradient-mean": gradients_as(lambda found, count: {name: g / count for name, g in found.items()}),
    "gradient-negative": times(-1.0),
    "gradient-clipped": gradients_as(clipped),
    "gradient-conjugated": gradients_as(lambda found, count: {name: g.conj() for name, g in found.items()}),
    "cotangent-conjugated": cotangent_as(np.conj),
    "adjoint-without-conjugate": NoConjugate,
    "cotangent-ones": cotangent_as(np.ones_like),
    "cotangent-fortran": cotangent_as(lambda g: g.flatten(order="F").reshape(g.shape)),
    "padding-cotangent": PaddingOnes,
    "relu-at-zero-one": at_zero("one"),
    "relu-at-zero-half": at_zero("half"),
    "derivative-missing": derivative_as(lambda right, z, name: torch.ones_like(z)),
    "derivative-at-output": derivative_as(lambda right, z, name: right(ACTIVATIONS[name](z))),
    "derivative-formula-at-input": derivative_as(formula_at_input),
    "gradient-stops-at-activation": Stops,
    "stale-state": wrong_backward("stale"),
    "environment-transposed": wrong_backward("transposed"),
    "environment-one-entry": wrong_backward("first"),
    "adjoint-not-transposed": wrong_backward("carry"),
    "start-detached": StartDetached,
    "untouched-half-not-zero": HalfTouched,
    "delta-alpha-missing-backward": AlphaForwardOnly,
}


def planted(*names: str) -> Callable[[], Base]:
    """Return what makes a candidate with the named mistakes; they act in the order of their names."""
    classes = tuple(PLANTS[name] for name in names)
    return type("Planted", (*classes, Base), {})


# What the diagnosis is shown


def quantities(weight: Any, gradients: dict[str, Any]) -> dict[str, Any]:
    """The names that quantities have everywhere."""
    weights = {f"weight/{n}": w for n, w in weight.items()} if isinstance(weight, dict) else {"weight": weight}
    return {**weights, **{f"gradient/{name}": g for name, g in gradients.items()}}


def in_dtype(case: Case, dtype: str) -> Case:
    """A case in single precision."""
    if dtype == "float64":
        return case

    def cast(x: Any) -> Any:
        if isinstance(x, dict):
            return {name: cast(part) for name, part in x.items()}
        return x.astype(np.complex64 if np.iscomplexobj(x) else np.float32)

    cores = {name: x if name.startswith(plain.FROZEN) else cast(x) for name, x in case.params.items()}
    return Case(case.name, case.spec, cores, cast(case.cotangent))


@cache
def references(dtype: str) -> list[tuple[Case, dict[str, Any], dict[str, Any]]]:
    """The cases that tell mistakes apart, their reference, and the largest honest error."""
    found = []
    for case in separating_cases():
        case = in_dtype(case, dtype)
        expected = reference(case)
        found.append((case, expected, allowed_errors(case.spec, case.params, case.cotangent, case.dtype)))
    return found


def observations(make: Callable[[], Base], dtype: str = "float64", states: bool = False) -> list[Observation]:
    """What a candidate gives on the cases that tell mistakes apart; cases on which it stops are left out."""
    found = []
    for case, expected, allowed in references(dtype):
        arguments = (case.spec, case.params)
        try:
            got = quantities(make().generate(*arguments), make().vjp(*arguments, case.cotangent))
            if states and any(name.startswith("state/") for name in expected):
                got |= {f"state/{n}": x for n, x in make().states(*arguments).items()}
                got |= {f"adjoint/{n}": x for n, x in make().adjoint_states(*arguments, case.cotangent).items()}
        except (RuntimeError, IndexError, CannotBeMade):
            continue
        found.append(Observation(case, got, expected, allowed))
    return found


def named(*names: str, dtype: str = "float64") -> tuple[bool, str]:
    """Whether the diagnosis names planted mistakes (or the one of them that hides the other), and what it says."""
    diagnosis = diagnose(observations(planted(*names), dtype))
    found = [frozenset(e.mistakes) for e in diagnosis.explanations if not e.networks]
    wanted = frozenset(names)
    return wanted in found or any(one < wanted for one in found[:1]), diagnosis.text


def random_pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    return [tuple(str(name) for name in rng.choice(list(PLANTS), 2, replace=False)) for _ in range(count)]  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Plant every mistake of the catalogue, and count those that are named."
    )
    parser.add_argument("--pairs", type=int, default=40, help="number of random pairs")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    for title, sets, dtype in (
        ("single mistakes, float64", [(name,) for name in PLANTS], "float64"),
        ("single mistakes, float32", [(name,) for name in PLANTS], "float32"),
        ("pairs, float64", random_pairs(chosen.pairs, chosen.seed), "float64"),
    ):
        missed = [names for names in sets if not named(*names, dtype=dtype)[0]]
        print(f"{title}: {len(sets) - len(missed)} of {len(sets)} named", *(f"; not {m}" for m in missed), flush=True)


if __name__ == "__main__":
    main()

"""Every network as operations on a :class:`~adntn_ref.validation.tolerance.tape.Tape`, core by core.

The order of contraction is a plain one; :class:`Order` gives others, all of them honest.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from adntn_ref.errors import SpecError
from adntn_ref.networks import CP, MPO, Delta, LowRank, Network, Split, Stack, Sum, TensorTrain, Tucker
from adntn_ref.networks.programmed import ProgramNetwork
from adntn_ref.program.frames import Frames
from adntn_ref.program.modes import Layout, resolve_layout
from adntn_ref.program.steps import Activate, Expand, Mix, Product, Program

from .tape import Array, Tape, Tensor

Cores = dict[str, Array]


@dataclass(frozen=True)
class Order:
    """The order in which a network is contracted.

    Attributes
    ----------
    merged : multiply neighbouring cores of a step first, two and two, as Kronecker products
    backwards : cores of a step, modes, chains and start vectors from the other end
    """

    merged: bool = False
    backwards: bool = False


PLAIN = Order()


def build(tape: Tape, net: Network, cores: Cores, order: Order = PLAIN) -> Tensor:
    """Run a network on a tape.

    Parameters
    ----------
    tape : where it is recorded; its cores are called as in ``cores``, the states of a program marked by step
    net : the network; a stack gives the weight of the network inside, as a vector of all its weights
    cores : core name -> array
    order : order of contraction

    Returns
    -------
    Tensor
        The weight, in its shape.
    """
    return _Builder(tape, order, cores).weight(net, "")


@dataclass(frozen=True)
class _Builder:
    tape: Tape
    order: Order
    cores: Cores

    def core(self, prefix: str, name: str) -> Tensor:
        return self.tape.core(prefix + name, self.cores[prefix + name])

    def weight(self, net: Network, prefix: str) -> Tensor:
        """Return the weight of a network whose cores' names begin with ``prefix``."""
        if isinstance(net, (Sum, Split)):
            parts = net.nets if isinstance(net, Sum) else net.parts
            return self._several(net, [self.weight(part, f"{prefix}{k}.") for k, part in enumerate(parts)])
        if isinstance(net, Stack):
            return self.tape.reshape(self.weight(net.net, prefix), (net.weights,))
        if isinstance(net, Delta):
            change = self.tape.scale(self.weight(net.net, prefix), net.alpha)
            return self.tape.add(self.tape.given(np.asarray(net.base)), change)
        if isinstance(net, LowRank):
            product = self.tape.matmul(self.core(prefix, "left"), self.core(prefix, "right"))
            return self.tape.reshape(product, net.shape)
        if isinstance(net, ProgramNetwork):
            program = net.program
            state = self.frames(program, prefix) if isinstance(program, Frames) else self.program(program, prefix)
        elif isinstance(net, (TensorTrain, MPO)):
            state = self.chain(net, prefix)
        elif isinstance(net, (CP, Tucker)):
            state = self.cp(net, prefix) if isinstance(net, CP) else self.tucker(net, prefix)
        else:
            raise SpecError(f"no rounding model for a {type(net).__name__}")
        layout = _layout(net)
        places = np.asarray(layout.extract(np.arange(layout.generated, dtype=np.float64)), np.intp)
        return self.tape.take(self.tape.reshape(state, (layout.generated,)), places)

    def _several(self, net: Sum | Split, weights: list[Tensor]) -> Tensor:
        if isinstance(net, Split):
            flat = [self.tape.reshape(w, (prod(w.shape),)) for w in weights]
            return self.tape.reshape(self.tape.concatenate(flat), net.shape)
        total = weights.pop(-1 if self.order.backwards else 0)
        for weight in weights:
            total = self.tape.add(total, weight)
        return total

    def program(self, program: Program, prefix: str) -> Tensor:
        """Return the last state of a program of steps."""
        x = self._mark(prefix, program.start.name, self.start(program.start, prefix))
        for step in program.steps:
            if isinstance(step, Activate):
                x = self.tape.activate(x, step.activation)
            else:
                x = self._linear(step, x, prefix)
            x = self._mark(prefix, step.name, x)
        return x

    def _mark(self, prefix: str, name: str, x: Tensor) -> Tensor:
        return self.tape.mark(name, x) if not prefix else x

    def start(self, start: Product, prefix: str) -> Tensor:
        """Return the start state, a product, as a vector."""
        vectors = []
        for factor in start.factors:
            size = prod(factor.dims)
            if factor.name is None:
                vectors.append(self.tape.constant(np.eye(size)[0]))
            else:
                vectors.append(self.tape.reshape(self.core(prefix, factor.name), (size,)))
        state = vectors.pop(0 if self.order.backwards else -1)
        while vectors:
            vector = vectors.pop(0 if self.order.backwards else -1)
            state = self._outer(state, vector) if self.order.backwards else self._outer(vector, state)
        return state

    def _outer(self, a: Tensor, b: Tensor) -> Tensor:
        (m,), (n,) = a.shape, b.shape
        return self.tape.reshape(self.tape.matmul(self.tape.reshape(a, (m, 1)), self.tape.reshape(b, (1, n))), (m * n,))

    def _linear(self, step: Mix | Expand, x: Tensor, prefix: str) -> Tensor:
        """Apply the cores of a step, one after another or two and two."""
        dims = step.dims
        wrap: list[str] = []
        blocks: list[tuple[int, int, Tensor]] = []  # entries before, entries in, matrix
        if isinstance(step, Mix):
            wrap = [name for q, name in step.pairs if q == len(dims) - 1]
            for q, name in step.pairs:
                if q != len(dims) - 1:
                    side = dims[q] * dims[q + 1]
                    blocks.append((q, 2, self.tape.reshape(self.core(prefix, name), (side, side))))
        else:
            for q, name, (l, r) in step.at:
                blocks.append((q, 1, self.tape.reshape(self.core(prefix, name), (l * r, dims[q]))))
        if self.order.merged:
            blocks = self._merge(blocks)
        sizes = {q: matrix.shape for q, _, matrix in blocks}
        widths = {q: width for q, width, _ in blocks}
        now = list(dims)  # entries per index; a block's outputs stand at its first index once it was applied
        for q, _, matrix in blocks if self.order.backwards else reversed(blocks):
            right = prod(now[q + widths[q] :])
            x = self.apply(matrix, x, right)
            now[q] = sizes[q][0]
            now[q + 1 : q + widths[q]] = [1] * (widths[q] - 1)
        for name in wrap:
            side = dims[-1] * dims[0]
            turned = self._turn(x, prod(dims[:-1]), dims[-1])
            matrix = self.tape.reshape(self.core(prefix, name), (side, side))
            x = self._turn(self.apply(matrix, turned, prod(dims[1:-1])), dims[-1], prod(dims[:-1]))
        return x

    def _merge(self, blocks: list[tuple[int, int, Tensor]]) -> list[tuple[int, int, Tensor]]:
        found: list[tuple[int, int, Tensor]] = []
        for q, width, matrix in blocks:
            if found and found[-1][0] + found[-1][1] == q and found[-1][1] == width:
                before = found.pop()
                found.append((before[0], 2 * width, self._kron(before[2], matrix)))
            else:
                found.append((q, width, matrix))
        return found

    def _kron(self, a: Tensor, b: Tensor) -> Tensor:
        (m, n), (k, l) = a.shape, b.shape
        flat = self._outer(self.tape.reshape(a, (m * n,)), self.tape.reshape(b, (k * l,)))
        return self.tape.reshape(
            self.tape.transpose(self.tape.reshape(flat, (m, n, k, l)), (0, 2, 1, 3)), (m * k, n * l)
        )

    def apply(self, matrix: Tensor, x: Tensor, right: int) -> Tensor:
        """Return ``Y[L, a, R] = sum_c K[a, c] X[L, c, R]``, flat."""
        rows, columns = matrix.shape
        left = prod(x.shape) // (columns * right)
        x = self.tape.transpose(self.tape.reshape(x, (left, columns, right)), (1, 0, 2))
        y = self.tape.matmul(matrix, self.tape.reshape(x, (columns, left * right)))
        y = self.tape.transpose(self.tape.reshape(y, (rows, left, right)), (1, 0, 2))
        return self.tape.reshape(y, (rows * left * right,))

    def _turn(self, x: Tensor, rows: int, columns: int) -> Tensor:
        return self.tape.reshape(self.tape.transpose(self.tape.reshape(x, (rows, columns)), (1, 0)), (rows * columns,))

    def frames(self, program: Frames, prefix: str) -> Tensor:
        """Return the tensor of a tree that is evaluated from the leaves."""
        tape, found = self.tape, dict[str, Tensor]()
        for frame in program.frames:
            (x, y), (l, r, p) = frame.rows, frame.bonds
            t = tape.reshape(self.core(prefix, frame.core), (l, r * p))
            if frame.left is not None:
                t = tape.matmul(found[frame.left], t)
            if frame.right is not None:
                t = tape.reshape(tape.transpose(tape.reshape(t, (x, r, p)), (1, 0, 2)), (r, x * p))
                t = tape.matmul(found[frame.right], t)
                t = tape.transpose(tape.reshape(t, (y, x, p)), (1, 0, 2))
            z = self._mark(prefix, frame.core, tape.reshape(t, (x * y, p)))
            if frame is program.frames[-1]:
                return z
            u = tape.activate(z, program.activation)
            found[frame.core] = self._mark(prefix, f"{frame.core}.activation", u)
        raise SpecError("a tree without a root")

    def chain(self, net: TensorTrain | MPO, prefix: str) -> Tensor:
        """Return the tensor of a chain of cores, contracted from the left, or from the right."""
        tape = self.tape
        names = list(net.core_shapes)
        cores = []
        for name in names:
            b, *sizes, c = net.core_shapes[name]
            cores.append((b, prod(sizes), c, self.core(prefix, name)))
        if self.order.backwards:
            b, size, c, last = cores.pop()
            state, entries = tape.reshape(last, (b, size * c)), size
            while cores:
                a, size, b, core = cores.pop()
                state = tape.matmul(tape.reshape(core, (a * size, b)), state)
                entries *= size
                state = tape.reshape(state, (a, entries))
            return state
        _, entries, c, first = cores.pop(0)
        state = tape.reshape(first, (entries, c))
        for b, size, c, core in cores:
            state = tape.matmul(state, tape.reshape(core, (b, size * c)))
            entries *= size
            state = tape.reshape(state, (entries, c))
        return state

    def cp(self, net: CP, prefix: str) -> Tensor:
        """Return the tensor of a canonical format: products of rows of the two halves, then one sum over terms."""
        tape, modes = self.tape, net.placement.modes
        cut = len(modes) - 1 if self.order.backwards else max(1, len(modes) // 2)
        halves = []
        for places in (range(cut), range(cut, len(modes))):
            rows: Tensor | None = None  # (rank, entries)
            for q in places:
                factor = tape.transpose(self.core(prefix, f"factor{q}"), (1, 0))
                if rows is None:
                    rows = factor
                else:
                    n = rows.shape[1]
                    pairs = tape.matmul(
                        tape.reshape(rows, (net.rank, n, 1)), tape.reshape(factor, (net.rank, 1, modes[q]))
                    )
                    rows = tape.reshape(pairs, (net.rank, n * modes[q]))
            assert rows is not None
            halves.append(rows)
        return tape.matmul(tape.transpose(halves[0], (1, 0)), halves[1])

    def tucker(self, net: Tucker, prefix: str) -> Tensor:
        """Return the tensor of the Tucker format, mode after mode."""
        tape, modes = self.tape, net.placement.modes
        dims = list(net.core_shapes["core"])
        state = tape.reshape(self.core(prefix, "core"), (prod(dims),))
        places = range(len(modes))
        for q in reversed(places) if self.order.backwards else places:
            state = self.apply(self.core(prefix, f"factor{q}"), state, prod(dims[q + 1 :]))
            dims[q] = modes[q]
        return state


def _layout(net: Network) -> Layout:
    """Return where the weight's entries stand in the generated tensor; an MPO's holds rows and columns mixed."""
    place = net.placement
    if isinstance(net, MPO):
        return resolve_layout(place.shape, None, "interleaved", place.row_modes, place.col_modes)
    return place

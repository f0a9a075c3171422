"""The plain way to run a program on a device: products that rotate the indices, a few large ones a step.

A column of cores is the Kronecker product of neighbouring blocks, ``K_0 (x) K_1 (x) ...``. With the state read as a
matrix whose rows are the indices of the first block, ``Y = X.reshape(c, -1).T @ K_0.T`` applies the block and moves
its indices behind all others. So every product is one large matrix product of contiguous arrays, nothing is transposed
in a pass of its own, and after the last block the indices stand in their order again. (The windows of
:mod:`adntn_ref.program.windows` keep the indices in place and need thousands of small products instead, for which
a graphics processor is not made.)

Only the namespace of the arrays is used, so the same lines run, and are tested, on NumPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from math import prod
from typing import Any

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array
from adntn_ref.program.runs import StepsRun
from adntn_ref.program.steps import Activate, Cores, Expand, Mix, Pass, Program
from adntn_ref.program.windows import Block, Window, WrapWindow

LARGEST = 16
"""Side of the largest block of several cores: 32 would double the work and save a fifth of the passes."""
STAGES = 256
"""Most parts that an environment's long sum is split into."""


def rotating_run(program: Program, cores: Cores) -> StepsRun:
    """Bind a program to its cores; the verbs are those of :class:`adntn_ref.program.runs.Run`."""
    return StepsRun(_rotating(program), cores)


@lru_cache(maxsize=256)
def _rotating(program: Program) -> Program:
    """Return the program with its mixing and expanding steps run by rotation."""
    steps = [step if isinstance(step, Activate) else Rotating(step, turns_of(step)) for step in program.steps]
    return replace(program, steps=tuple(steps))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Turn(Window):
    """A block on the first indices, which end up behind the others: ``right`` is what they pass."""

    def apply(self, matrix: Array, x: Array) -> Array:
        """Return ``Y[R, a] = sum_c K[a, c] X[c, R]``, flat."""
        return (x.reshape(matrix.shape[1], -1).T @ matrix.T).reshape(-1)

    def apply_back(self, matrix: Array, g: Array) -> Array:
        """Return ``Gx[c, R] = sum_a conj(K[a, c]) G[R, a]``, flat: the adjoint, which turns the indices back."""
        return (ops.conj(matrix).T @ g.reshape(-1, matrix.shape[0]).T).reshape(-1)

    def environment(self, g: Array, x: Array) -> Array:
        """Return ``E[a, c] = sum_R G[R, a] X[c, R]``, shape (outputs, inputs), x conjugated by the caller.

        The sum over R is split into parts that are added at the end: they run side by side, and float32 loses no digits
        in a long sum.
        """
        rows, columns, stages = self.outputs, self.inputs, _stages(self.right)
        g = g.reshape(stages, -1, rows).transpose(0, 2, 1)
        x = x.reshape(columns, stages, -1).transpose(1, 2, 0)
        return (g @ x).sum(axis=0)


def _stages(length: int) -> int:
    """Return the largest divisor of ``length`` up to its square root and ``STAGES``."""
    top = min(STAGES, int(length**0.5) + 1)
    return max(d for d in range(1, top + 1) if length % d == 0 and d * d <= length)


@dataclass(frozen=True)
class Rotating:
    """A mixing or expanding step, run by turns; it offers what :class:`~adntn_ref.program.steps.Mix` offers."""

    step: Mix | Expand
    turns: tuple[Window, ...]

    @property
    def name(self) -> str:
        """The step's name."""
        return self.step.name

    @property
    def out_dims(self) -> tuple[int, ...]:
        """The sizes of the state's indices after the step."""
        return self.step.out_dims

    @property
    def core_names(self) -> tuple[str, ...]:
        """The cores this step reads."""
        return self.step.core_names

    def forward(self, cores: Cores, x: Array) -> tuple[Array, list[tuple[Array, Array]]]:
        """Return the next state, and for each turn its matrix and what it was applied to."""
        kept = []
        for turn, matrix in zip(self.turns, self.matrices(cores), strict=True):
            kept.append((matrix, x))
            x = turn.apply(matrix, x)
        return x, kept

    def passes(self, cores: Cores) -> list[Pass]:
        """Return the functions of a state, one a turn, that make the next state and keep nothing."""
        pairs = zip(self.turns, self.matrices(cores), strict=True)
        return [partial(turn.apply, matrix) for turn, matrix in pairs]

    def adjoint(self, cores: Cores, kept: list[tuple[Array, Array]], g: Array) -> tuple[Array, Cores]:
        """Return the cotangent of the input and the environments of the cores, shaped like the cores."""
        environments: dict[int, Array] = {}
        for k in range(len(self.turns) - 1, -1, -1):
            turn, (matrix, x) = self.turns[k], kept[k]
            if any(block.name is not None for block in turn.blocks):
                environments[k] = turn.environment(g, ops.conj(x))
            g = turn.apply_back(matrix, g) if isinstance(turn, Turn) else turn.apply(ops.conj(matrix).T, g)
        found: Cores = {}
        for alike in self.alike:
            if alike[0] in environments:
                e = ops.stack([environments[k] for k in alike])
                found.update(split([self.turns[k] for k in alike], cores, e))
        return g, found

    @cached_property
    def alike(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of turns with blocks of the same sizes: their small matrices are made, and split, all at once."""
        found: dict[Any, list[int]] = {}
        for k, turn in enumerate(self.turns):
            kind = tuple((block.name is None, block.outputs, block.inputs) for block in turn.blocks)
            found.setdefault(kind, []).append(k)
        return tuple(tuple(numbers) for numbers in found.values())

    def matrices(self, cores: Cores) -> list[Array]:
        """Return the Kronecker product of every turn's blocks, shape (outputs, inputs)."""
        made: dict[int, Array] = {}
        for alike in self.alike:
            whole = krons(stacked([self.turns[k] for k in alike], cores))
            made.update({k: whole[i % whole.shape[0]] for i, k in enumerate(alike)})  # one for all of unit matrices
        return [made[k] for k in range(len(self.turns))]


def stacked(turns: Sequence[Window], cores: Cores) -> list[Array]:
    """Return for each block of turns alike their matrices, shape (turns, outputs, inputs); unit matrices once."""
    like, found = next(iter(cores.values())), []
    for k, block in enumerate(turns[0].blocks):
        if block.name is None:
            found.append(ops.reshape(ops.unit_matrix(block.inputs, like), shape=(1, block.outputs, block.inputs)))
        else:
            shape = (block.outputs, block.inputs)
            found.append(ops.stack([cores[turn.blocks[k].name or ""].reshape(shape) for turn in turns]))
    return found


def krons(blocks: Sequence[Array]) -> Array:
    """Return the Kronecker products of stacked matrices, the first the most significant."""
    whole = blocks[0]
    for block in blocks[1:]:
        (t, n, m), (u, k, l) = whole.shape, block.shape
        whole = (whole.reshape(t, n, 1, m, 1) * block.reshape(u, 1, k, 1, l)).reshape(max(t, u), n * k, m * l)
    return whole


def split(turns: Sequence[Window], cores: Cores, environments: Array) -> Cores:
    """Split the stacked environments of turns alike, shape (turns, outputs, inputs), among their cores.

    With K = B (x) A (x) C, ``dA[a, c] = sum E[(b, a, s), (b', c, s')] conj(B[b, b'] C[s, s'])``.
    """
    found: Cores = {}
    blocks, t = [ops.conj(block) for block in stacked(turns, cores)], len(turns)
    for k, block in enumerate(turns[0].blocks):
        if block.name is None:
            continue
        e, rows, columns = environments, block.outputs, block.inputs
        if k > 0:
            before = krons(blocks[:k])
            u, n, m = before.shape
            e = e.reshape(t, n, -1, m, e.shape[2] // m) * before.reshape(u, n, 1, m, 1)
            e = e.sum(axis=(1, 3))
        if k + 1 < len(blocks):
            after = krons(blocks[k + 1 :])
            u, n, m = after.shape
            e = (e.reshape(t, rows, n, columns, m) * after.reshape(u, 1, n, 1, m)).sum(axis=(2, 4))
        for i, turn in enumerate(turns):
            name = turn.blocks[k].name or ""
            found[name] = e[i].reshape(cores[name].shape)
    return found


def turns_of(step: Mix | Expand) -> tuple[Window, ...]:
    """Return the turns of a step, and after them its mixing around the end, if it has one.

    A step of a single window needs none: that window stays as it is.
    """
    plain = [window for window in step.windows if not isinstance(window, WrapWindow)]
    around = tuple(window for window in step.windows if isinstance(window, WrapWindow))
    if len(plain) < 2:
        return (*plain, *around)
    groups: list[list[Block]] = []
    for block in _blocks(step):
        if groups and _side([*groups[-1], block]) <= LARGEST:
            groups[-1].append(block)
        else:
            groups.append([block])
    entries, turns = prod(step.dims), []
    for group in groups:
        rest = entries // prod(block.inputs for block in group)
        turns.append(Turn(1, rest, tuple(group)))
        entries = rest * prod(block.outputs for block in group)
    return (*turns, *around)


def _blocks(step: Mix | Expand) -> list[Block]:
    """Return what acts on the indices of a step, from the left."""
    dims, found, q = step.dims, [], 0
    if isinstance(step, Expand):
        cores = {p: (name, l * r) for p, name, (l, r) in step.at}
        return [Block(*cores[p], d) if p in cores else Block(None, d, d) for p, d in enumerate(dims)]
    at = {q: name for q, name in step.pairs if q + 1 < len(dims)}
    while q < len(dims):
        size = dims[q] * dims[q + 1] if q in at else dims[q]
        found.append(Block(at.get(q), size, size))
        q += 2 if q in at else 1
    return found


def _side(group: list[Block]) -> int:
    return max(prod(block.outputs for block in group), prod(block.inputs for block in group))

"""Running a plan with NumPy: chunk by chunk, the chunks spread over the cores.

What is computed is what :mod:`adntn_ref.program.steps` writes down step by step; the two are compared in the tests.
Each chunk is independent of the others, and what they add to an environment is summed in the order of the chunks, so a
result does not depend on the number of threads, to the bit.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adntn_ref.program.plan import Phase, Placed, Plan
from adntn_ref.program.stairs import stair_environments, stair_matrices

from .threads import scratch, spread

Array = NDArray[Any]
Cores = dict[str, Array]
COLUMNS = 256
"""Columns of one matrix product: more of them leave the level-1 cache."""
GROUPS = 32
"""Groups of chunks that each add up environments of their own."""
Chunk = tuple[slice, slice]
ROWS = 256
"""Rows of one product with a window on the last index: small enough that BLAS leaves it to this thread."""


class Matrices:
    """The matrix of every window of a plan, and what splits their environments among the bricks."""

    def __init__(self, plan: Plan, cores: Cores) -> None:
        self.plan, self.cores = plan, cores
        self.partial: list[list[Array]] = []
        self.bricks: list[list[Array]] = []
        self.whole: dict[int, Array] = {}
        like = next(iter(cores.values()))
        for pattern in plan.patterns:
            n = len(pattern.numbers)
            bricks = [
                np.stack([cores[names[k]].reshape(gate.size, gate.size) for names in pattern.names])
                for k, gate in enumerate(pattern.gates)
            ]
            unit = np.broadcast_to(np.eye(pattern.side, dtype=like.dtype), (n, pattern.side, pattern.side))
            partial = stair_matrices(pattern.gates, pattern.side, bricks, unit)
            self.bricks.append(bricks)
            self.partial.append(partial)
            self.whole.update(zip(pattern.numbers, partial[-1], strict=True))

    def split(self, found: dict[int, Array]) -> Cores:
        """Return the environment of every brick, given that of every window."""
        environments: Cores = {}
        for pattern, bricks, partial in zip(self.plan.patterns, self.bricks, self.partial, strict=True):
            e = np.stack([found[number] for number in pattern.numbers])
            for k, stacked in enumerate(stair_environments(pattern.gates, bricks, partial, e)):
                for names, one in zip(pattern.names, stacked, strict=True):
                    environments[names[k]] = one.reshape(self.cores[names[k]].shape)
        return environments


class NumpyRun:
    """A plan bound to its cores; the verbs are those of :class:`adntn_ref.program.runs.Run`."""

    def __init__(self, plan: Plan, cores: Cores) -> None:
        # Cores of one dtype alone are the rule; where a check mixes real with complex ones, all become complex.
        self.dtype = np.result_type(*cores.values())
        cores = {name: core if core.dtype == self.dtype else core.astype(self.dtype) for name, core in cores.items()}
        self.plan, self.cores = plan, cores
        self.count = len(plan.stages)
        self.matrices = Matrices(plan, cores)
        self._factors: Any = None

    def start(self) -> Array:
        """Return the start state."""
        x: Array
        x, self._factors = self.plan.start.forward(self.cores)
        return x

    def last_state(self) -> Array:
        """Return the last state; every phase writes over its input."""
        x = self.start()
        for stage in self.plan.stages:
            for phase, activation in stage.parts:
                _run_phase(phase, activation, self.matrices, x, x)
        return x

    def forward(self, k: int, x: Array) -> Array:
        """Run a stage: its first phase into a new array, the others over it."""
        y = np.empty_like(x)
        for phase, activation in self.plan.stages[k].parts:
            _run_phase(phase, activation, self.matrices, x, y)
            x = y
        return y

    def keeping(self, k: int, x: Array) -> tuple[Array, list[Array]]:
        """Run a stage; its record is the input of every phase."""
        inputs = []
        for phase, activation in self.plan.stages[k].parts:
            y = np.empty_like(x)
            _run_phase(phase, activation, self.matrices, x, y)
            inputs.append(x)
            x = y
        return x, inputs

    def again(self, k: int, x: Array) -> list[Array]:
        """Run all phases of a stage but the last, for their inputs."""
        inputs = [x]
        for phase, activation in self.plan.stages[k].parts[:-1]:
            y = np.empty_like(x)
            _run_phase(phase, activation, self.matrices, inputs[-1], y)
            inputs.append(y)
        return inputs

    def back(self, k: int, record: list[Array], g: Array, owned: bool, found: dict[Any, Array]) -> Array:
        """Carry a cotangent back through the phases of a stage; ``found`` takes what each window's environment is."""
        parts = self.plan.stages[k].parts
        if not owned and g.dtype != self.dtype:
            g = g.astype(np.result_type(g, self.dtype))
        for (phase, activation), x in zip(reversed(parts), reversed(record), strict=True):
            out = g if owned else np.empty_like(g)
            _run_phase_back(phase, activation, self.matrices, x, g, out, found)
            g, owned = out, True
        return g

    def finish(self, g: Array, found: dict[Any, Array]) -> Cores:
        """Split the windows' environments among the bricks, and add those of the start's factors."""
        return {**self.matrices.split(found), **self.plan.start.adjoint(self.cores, self._factors, g)}


def _run_phase(phase: Phase, activation: Any, matrices: Matrices, x: Array, y: Array) -> None:
    """Put what a phase makes of x into y, which may be x itself: a chunk is read whole before it is written."""
    shape = (phase.left, phase.middle, phase.right)
    source, target = x.reshape(shape), y.reshape(shape)
    last, in_place = len(phase.windows) - 1, x is y

    def run(chunk: Chunk) -> None:
        l, r = chunk
        x, out = _gathered(source[l, :, r], 0), target[l, :, r]
        rows, columns = x.shape[0], x.shape[2]
        if activation is not None:
            x = activation.sigma(x)
        for k, window in enumerate(phase.windows):
            direct = k == last and out.flags.c_contiguous and not (k == 0 and in_place)
            room = out if direct else scratch(1 + k % 2, x.size, x.dtype)
            x = _apply(matrices.whole[window.number], window, rows, columns, x, room)
        if not direct:
            out[...] = x.reshape(out.shape)

    spread(run, phase.chunks, x.size)


def _run_phase_back(
    phase: Phase, activation: Any, matrices: Matrices, x: Array, g: Array, out: Array, found: dict[Any, Array]
) -> None:
    """Put the cotangent of a phase's input into ``out``, which may be g itself, and environments into ``found``."""
    shape = (phase.left, phase.middle, phase.right)
    source, cotangent, target = x.reshape(shape), g.reshape(shape), out.reshape(shape)
    adjoint = {w.number: _conj(matrices.whole[w.number]).T for w in phase.windows}

    def run(chunk: Chunk) -> list[Array]:
        l, r = chunk
        z = _gathered(source[l, :, r], 0)
        rows, columns = z.shape[0], z.shape[2]
        x = z if activation is None else activation.sigma(z)
        first, inputs = x, []
        for k, window in enumerate(phase.windows):
            inputs.append(x)
            if k + 1 < len(phase.windows):
                x = _apply(matrices.whole[window.number], window, rows, columns, x, scratch(4 + k, x.size, x.dtype))
        g = _gathered(cotangent[l, :, r], 1)
        environments = []
        for k, (window, x) in enumerate(zip(reversed(phase.windows), reversed(inputs), strict=True)):
            environments.append(_environment(window, rows, columns, g, x))
            g = _apply(adjoint[window.number], window, rows, columns, g, scratch(2 + k % 2, g.size, g.dtype))
        if activation is None:
            target[l, :, r] = g.reshape(z.shape)
        else:
            np.multiply(g.reshape(z.shape), _conj(activation.first(z, first)), out=target[l, :, r])
        return environments

    def run_group(group: list[Chunk]) -> list[Array]:
        total = run(group[0])
        for chunk in group[1:]:
            total = [e + more for e, more in zip(total, run(chunk), strict=True)]
        return total

    # Sums of groups' sums, the groups whatever the number of threads: the same bits, and no digits lost in a long sum.
    chunks = phase.chunks
    size = -(-len(chunks) // GROUPS)
    parts = spread(run_group, [chunks[k : k + size] for k in range(0, len(chunks), size)], g.size)
    for k, window in enumerate(reversed(phase.windows)):
        found[window.number] = np.stack([environments[k] for environments in parts]).sum(axis=0)


def _conj(x: Array) -> Array:
    """Return the conjugate; of a real array itself, where NumPy would make a copy."""
    return np.conj(x) if np.iscomplexobj(x) else x


def _gathered(part: Array, slot: int) -> Array:
    """Return a chunk as a C-contiguous array: itself, or a copy in scratch memory."""
    if part.flags.c_contiguous:
        return part
    room = scratch(slot, part.size, part.dtype).reshape(part.shape)
    room[...] = part
    return room


def _apply(matrix: Array, window: Placed, rows: int, columns: int, x: Array, room: Array) -> Array:
    """Return ``Y[L, a, R] = sum_c K[a, c] X[L, c, R]`` in ``room``, the chunk read as (L, side, R)."""
    left, side, right = rows * window.before, window.side, window.after * columns
    if right == 1:
        block = ROWS if left % ROWS == 0 else left
        shape: tuple[int, ...] = (left // block, block, side)
        return np.matmul(x.reshape(shape), matrix.T, out=room.reshape(shape))
    if right % COLUMNS or right == COLUMNS:
        shape = (left, side, right)
        return np.matmul(matrix, x.reshape(shape), out=room.reshape(shape))
    shape = (left, side, right // COLUMNS, COLUMNS)
    np.matmul(matrix, x.reshape(shape).swapaxes(1, 2), out=room.reshape(shape).swapaxes(1, 2))
    return room


def _environment(window: Placed, rows: int, columns: int, g: Array, x: Array) -> Array:
    """Return ``E[a, c] = sum_{L,R} G[L, a, R] conj(X[L, c, R])``."""
    left, side, right = rows * window.before, window.side, window.after * columns
    if right == 1:
        return g.reshape(left, side).T @ _conj(x.reshape(left, side))
    g, x = g.reshape(left, side, right), x.reshape(left, side, right)
    found: Array
    if side > 2 * right:  # a product for each of ``left`` would take more memory than two chunks
        found = g.transpose(1, 0, 2).reshape(side, -1) @ _conj(x).transpose(0, 2, 1).reshape(-1, side)
    else:
        found = np.matmul(g, _conj(x).transpose(0, 2, 1)).sum(axis=0)
    return found

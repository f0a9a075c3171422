"""Running a plan with NumPy: chunk by chunk, the chunks spread over the cores, for one network or several at once.

What is computed is what :mod:`adntn_ref.program.steps` writes down step by step; the two are compared in the tests.
Each chunk is independent of the others, and what they add to an environment is summed in the order of the chunks, so a
result does not depend on the number of threads, nor on how many networks run together, to the bit.
"""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adntn_ref.program.plan import CHUNK, Phase, Plan
from adntn_ref.program.rooms import GROUPS, IN_PLACE, INPUTS

from . import pool
from .numpy_matrices import Matrices
from .numpy_start import factors_of, product_adjoint, product_state
from .numpy_windows import apply, carry_back, conj, environment, sigma
from .threads import scratch, spread

Array = NDArray[Any]
Cores = dict[str, Array]
Chunk = tuple[slice, slice, slice]
"""Which networks, which of the phase's left, which of its right."""
Record = tuple[Array, list[Array] | None]
"""The input of a phase, and what its windows but the first were applied to, chunk after chunk, if that was kept."""


class NumpyRun:
    """A plan bound to its cores; the verbs are those of :class:`adntn_ref.program.runs.Run`.

    With ``networks`` every core has one more axis in front, of that length: the cores of so many networks. A state is
    one flat array with the networks' states one after another.
    """

    def __init__(self, plan: Plan, cores: Cores, networks: int | None = None) -> None:
        # Cores of one dtype alone are the rule; where a check mixes real with complex ones, all become complex.
        self.dtype = np.result_type(*cores.values())
        cores = {name: core if core.dtype == self.dtype else core.astype(self.dtype) for name, core in cores.items()}
        self.plan, self.cores, self.stacked = plan, cores, networks is not None
        self.networks = 1 if networks is None else networks
        self.count = len(plan.stages)
        self.matrices = Matrices(plan, cores, self.networks)
        self._factors: list[Array] = []

    def start(self) -> Array:
        """Return the start state."""
        self._factors = factors_of(self.plan.start, self.cores, self.networks)
        return product_state(self._factors).reshape(-1)

    def last_state(self) -> Array:
        """Return the last state; every phase writes over its input."""
        x = self.start()
        for stage in self.plan.stages:
            for phase, activation in stage.parts:
                _run_phase(phase, activation, self.matrices, x, x)
        return x

    def forward(self, k: int, x: Array) -> Array:
        """Run a stage: its first phase into a new array, the others over it."""
        y = pool.empty(x.size, x.dtype)
        for phase, activation in self.plan.stages[k].parts:
            _run_phase(phase, activation, self.matrices, x, y)
            x = y
        return y

    def keeping(self, k: int, x: Array) -> tuple[Array, list[Record]]:
        """Run a stage; its record is the input of every phase, and for small states of every window."""
        records: list[Record] = []
        for phase, activation in self.plan.stages[k].parts:
            y = pool.empty(x.size, x.dtype)
            windows = phase.windows[1:] if self.plan.keeps_windows else ()
            kept = [pool.empty(x.size, x.dtype) for _ in windows] if windows else None
            _run_phase(phase, activation, self.matrices, x, y, kept)
            records.append((x, kept))
            x = y
        return x, records

    def again(self, k: int, x: Array) -> list[Record]:
        """Run all phases of a stage but the last, for their inputs; windows are run again chunk by chunk."""
        records: list[Record] = [(x, None)]
        for phase, activation in self.plan.stages[k].parts[:-1]:
            y = pool.empty(x.size, x.dtype)
            _run_phase(phase, activation, self.matrices, records[-1][0], y)
            records.append((y, None))
        return records

    def back(self, k: int, record: list[Record], g: Array, owned: bool, found: dict[Any, Array]) -> Array:
        """Carry a cotangent back through the phases of a stage; ``found`` takes what each window's environment is."""
        parts = self.plan.stages[k].parts
        if not owned and g.dtype != self.dtype:
            g = g.astype(np.result_type(g, self.dtype))
        for (phase, activation), inputs in zip(reversed(parts), reversed(record), strict=True):
            out = g if owned else pool.empty(g.size, g.dtype)
            _run_phase_back(phase, activation, self.matrices, inputs, g, out, found)
            g, owned = out, True
        return g

    def finish(self, g: Array, found: dict[Any, Array]) -> Cores:
        """Split the windows' environments among the bricks, and add those of the start's factors."""
        first = product_adjoint(self.plan.start, self._factors, g.reshape(self.networks, -1))
        if not self.stacked:
            first = {name: mine[0] for name, mine in first.items()}
        return {**self.matrices.split(found), **first}


def groups_of(phase: Phase, networks: int, most: int) -> list[list[Chunk]]:
    """Return the chunks of a phase in groups, each of which adds up environments of its own; ``most`` entries a chunk.

    Networks of small states share a chunk; a large one's chunks are its own, in at most ``GROUPS`` groups whatever the
    number of threads, so that no digits are lost in a long sum and the bits are always the same.
    """
    entries = phase.left * phase.middle * phase.right
    together = max(1, most // entries) if len(phase.chunks) == 1 else 1
    size = -(-len(phase.chunks) // GROUPS)
    return [
        [(slice(n, min(n + together, networks)), l, r) for l, r in phase.chunks[k : k + size]]
        for n in range(0, networks, together)
        for k in range(0, len(phase.chunks), size)
    ]


def _place(phase: Phase, chunk: Chunk) -> int:
    """Return where a chunk begins in an array of all chunks, one after another."""
    n, l, r = chunk
    before = (n.start * phase.left + l.start) * phase.right + (l.stop - l.start) * r.start
    return int(phase.middle * before)


def _run_phase(
    phase: Phase, activation: Any, matrices: Matrices, x: Array, y: Array, kept: list[Array] | None = None
) -> None:
    """Put what a phase makes of x into y, which may be x itself: a chunk is read whole before it is written.

    ``kept`` takes what each window but the last makes.
    """
    shape = (matrices.networks, phase.left, phase.middle, phase.right)
    source, target = x.reshape(shape), y.reshape(shape)
    last, in_place = len(phase.windows) - 1, x is y

    def run(chunk: Chunk) -> None:
        n, l, r = chunk
        x, out = _gathered(source[n, l, :, r], 0), target[n, l, :, r]
        whole = x.shape
        if activation is not None:
            x = _bent(activation, x, 0)
        for k, window in enumerate(phase.windows):
            direct = k == last and out.flags.c_contiguous and not (k == 0 and in_place)
            if direct:
                room = out
            elif kept is not None and k < last:
                begin = _place(phase, chunk)
                room = kept[k][begin : begin + x.size]
            else:
                room = scratch(1 + k % 2, x.size, x.dtype)
            x = apply(matrices.whole[window.number][n], window, x.reshape(whole), room).reshape(whole)
        if not direct:
            out[...] = x

    groups = groups_of(phase, matrices.networks, CHUNK)
    spread(run, [chunk for group in groups for chunk in group], x.size)


def _run_phase_back(
    phase: Phase, activation: Any, matrices: Matrices, record: Record, g: Array, out: Array, found: dict[Any, Array]
) -> None:
    """Put the cotangent of a phase's input into ``out``, which may be g itself, and environments into ``found``."""
    shape = (matrices.networks, phase.left, phase.middle, phase.right)
    x, kept = record
    source, cotangent, target = x.reshape(shape), g.reshape(shape), out.reshape(shape)
    adjoint = {w.number: conj(matrices.whole[w.number]).transpose(0, 2, 1) for w in phase.windows}

    def run(chunk: Chunk) -> list[Array]:
        n, l, r = chunk
        z = _gathered(source[n, l, :, r], 0)
        whole = z.shape
        slot = 0 if source[n, l, :, r].flags.c_contiguous else INPUTS  # slot 0 is free where z was not copied
        x = z if activation is None else _bent(activation, z, slot)
        first, inputs = x, []
        begin = _place(phase, chunk)
        for k, window in enumerate(phase.windows):
            inputs.append(x)
            if k + 1 == len(phase.windows):
                break
            if kept is not None:
                x = kept[k][begin : begin + x.size].reshape(whole)
            else:
                room = scratch(INPUTS + 1 + k, x.size, x.dtype)
                x = apply(matrices.whole[window.number][n], window, x, room).reshape(whole)
        g = _gathered(cotangent[n, l, :, r], 1)
        environments = []
        for k, (window, x) in enumerate(zip(reversed(phase.windows), reversed(inputs), strict=True)):
            environments.append(environment(window, g, x))
            room = scratch(2 - k % 2, g.size, g.dtype)
            g = apply(adjoint[window.number][n], window, g, room).reshape(whole)
        if activation is None:
            target[n, l, :, r] = g
        else:
            carry_back(activation, z, first, g, target[n, l, :, r])
        return environments

    def run_group(group: list[Chunk]) -> list[Array]:
        total = run(group[0])
        for chunk in group[1:]:
            total = [e + more for e, more in zip(total, run(chunk), strict=True)]
        return total

    groups = groups_of(phase, matrices.networks, CHUNK)
    parts = spread(run_group, groups, g.size)
    for k, window in enumerate(reversed(phase.windows)):
        found[window.number] = _summed([group[0][0] for group in groups], [part[k] for part in parts])


def _summed(networks: list[slice], environments: list[Array]) -> Array:
    """Add up what belongs to the same networks, and put the networks one after another."""
    if len(environments) == 1:
        return environments[0]
    together: dict[int, list[Array]] = {}
    for n, e in zip(networks, environments, strict=True):
        together.setdefault(n.start, []).append(e)
    sums = [np.stack(parts).sum(axis=0) for parts in together.values()]
    return sums[0] if len(sums) == 1 else np.concatenate(sums)


def _bent(activation: Any, z: Array, slot: int) -> Array:
    """Return sigma(z), in scratch memory where it can be put there."""
    return sigma(activation, z, scratch(slot, z.size, z.dtype) if activation.name in IN_PLACE else z)


def _gathered(part: Array, slot: int) -> Array:
    """Return a chunk as a C-contiguous array: itself, or a copy in scratch memory."""
    if part.flags.c_contiguous:
        return part
    room = scratch(slot, prod(part.shape), part.dtype).reshape(part.shape)
    room[...] = part
    return room

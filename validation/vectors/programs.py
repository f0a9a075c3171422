r"""Programs of steps in decimals: brick-walls, trees, and trees with an activation at every node.

The list of steps comes from the network; what a step does is written here once more, index by index as in the
definition: a core is contracted with the two indices of its pair, an expansion with its index, and every adjoint with
the conjugate. (The package runs steps as matrix products over windows of several cores.)
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from adntn_ref.program.frames import Frame, Frames
from adntn_ref.program.steps import Activate, Expand, Mix, Product, Program

from .decimals import ACTIVATIONS, ONE, ZERO, Array, conj, each

Cores = Mapping[str, Array]
Found = dict[str, Array]


class Run:
    """One run of a program of steps: every state, and the way back.

    ``states`` has the state after every step by its name, shaped by its indices.
    """

    def __init__(self, program: Program, cores: Cores, activation: str) -> None:
        self.program, self.cores = program, cores
        self.sigma, self.slope = ACTIVATIONS[activation]
        self.states: Found = {program.start.name: _product(program.start, cores)}
        self.states.update(self.onward(0, self.states[program.start.name]))

    @property
    def last(self) -> Array:
        """The generated tensor."""
        return list(self.states.values())[-1]

    def onward(self, first: int, x: Array) -> Iterator[tuple[str, Array]]:
        """Yield the states after step ``first`` and those behind it, from the state before it."""
        for step in self.program.steps[first:]:
            if isinstance(step, Activate):
                x = each(self.sigma, x)
            else:
                x = [x, *(after for _, _, after in _pieces(step, self.cores, x))][-1]
            yield step.name, x

    def back(self, g: Array) -> tuple[Found, Found]:
        """Return the cotangent of every state and the environment of every core, from that of the last state."""
        names = list(self.states)
        adjoints, environments = {names[-1]: g}, {}
        for place in range(len(self.program.steps) - 1, -1, -1):
            step, x = self.program.steps[place], self.states[names[place]]
            if isinstance(step, Activate):
                g = each(self.slope, x) * g
            else:
                pieces = list(_pieces(step, self.cores, x))
                for piece, before, _ in reversed(pieces):
                    environments[piece[0]] = _environment(piece, g, before)
                    g = _apply_adjoint(piece, self.cores, g)
            adjoints[names[place]] = g
        environments.update(_product_environments(self.program.start, self.cores, g))
        return {name: adjoints[name] for name in names}, environments


Piece = tuple[str, tuple[int, ...]]
"""One core, and the indices it acts on: a pair that is mixed, or one index that is expanded."""


def _pieces(step: Mix | Expand, cores: Cores, x: Array) -> Iterator[tuple[Piece, Array, Array]]:
    """Yield every core of a step with the state before and after it; expansions from the right."""
    if isinstance(step, Mix):
        pieces: list[Piece] = [(name, (q, (q + 1) % x.ndim)) for q, name in step.pairs]
    else:
        pieces = [(name, (p,)) for p, name, _ in sorted(step.at, reverse=True)]
    for piece in pieces:
        before, x = x, _apply(piece, cores, x)
        yield piece, before, x


def _outputs(at: tuple[int, ...]) -> tuple[int, int]:
    """Return where the two outputs of a core stand in the state after it."""
    return (at[0], at[1]) if len(at) == 2 else (at[0], at[0] + 1)


def _apply(piece: Piece, cores: Cores, x: Array) -> Array:
    """``Y[.., a, b, ..] = sum_ce A[a,b,c,e] X[.., c, e, ..]``, or ``Y[.., l, r, ..] = sum_p W[l,r,p] X[.., p, ..]``."""
    name, at = piece
    inputs = range(2, 2 + len(at))
    return np.moveaxis(np.tensordot(cores[name], x, (inputs, at)), (0, 1), _outputs(at))


def _apply_adjoint(piece: Piece, cores: Cores, g: Array) -> Array:
    name, at = piece
    back = np.tensordot(conj(cores[name]), g, ((0, 1), _outputs(at)))
    return np.moveaxis(back, tuple(range(len(at))), at)


def _environment(piece: Piece, g: Array, x: Array) -> Array:
    """Contract the cotangent after a core with the conjugate of the state before it, over all other indices."""
    at, outputs = piece[1], _outputs(piece[1])
    after = np.moveaxis(g, outputs, (0, 1)).reshape(*(g.shape[q] for q in outputs), -1)
    before = np.moveaxis(conj(x), at, tuple(range(len(at)))).reshape(*(x.shape[q] for q in at), -1)
    return np.tensordot(after, before, ([2], [len(at)]))


def _factors(start: Product, cores: Cores) -> list[Array]:
    found = []
    for factor in start.factors:
        unit = np.array([ONE] + [ZERO] * (factor.dims[0] - 1), object)
        found.append(unit if factor.name is None else cores[factor.name])
    return found


def _product(start: Product, cores: Cores) -> Array:
    """Return the outer product of the factors of the start."""
    first, *others = _factors(start, cores)
    state = first.copy()
    for factor in others:
        state = np.multiply.outer(state, factor)
    return np.asarray(state, object)


def _product_environments(start: Product, cores: Cores, g: Array) -> Found:
    """Contract the cotangent of the start with the conjugates of all factors but one."""
    factors, found = _factors(start, cores), {}
    for k, chosen in enumerate(start.factors):
        if chosen.name is None:
            continue
        left = g
        for factor in reversed(factors[k + 1 :]):
            left = np.tensordot(left, conj(factor), factor.ndim)
        for factor in factors[:k]:
            left = np.tensordot(conj(factor), left, factor.ndim)
        found[chosen.name] = left
    return found


class FramesRun:
    """One run of the frames of a tree, from the leaves; names and shapes of states are those of the package."""

    def __init__(self, program: Frames, cores: Cores, activation: str) -> None:
        self.program, self.cores = program, cores
        self.sigma, self.slope = ACTIVATIONS[activation]
        self.frames: Found = {}
        self.states: Found = {}
        for frame in program.frames:
            left, right, core = self._around(frame)
            z = np.tensordot(np.tensordot(left, core, ([1], [0])), right, ([1], [1])).transpose(0, 2, 1)
            root = frame is program.frames[-1]
            self.states[frame.core] = z.reshape(frame.rows) if root else z
            if not root:
                self.frames[frame.core] = self.states[f"{frame.core}.activation"] = each(self.sigma, z)

    @property
    def last(self) -> Array:
        """The generated tensor."""
        return self.states[self.program.frames[-1].core]

    def _around(self, frame: Frame) -> tuple[Array, Array, Array]:
        """Return the children's frames as matrices, the unit matrix at a leaf, and the core as (l, r, p)."""
        left, right = (
            _unit(size) if name is None else self.frames[name].reshape(size, -1)
            for name, size in zip((frame.left, frame.right), frame.rows, strict=True)
        )
        return left, right, self.cores[frame.core].reshape(frame.bonds)

    def back(self, g: Array) -> tuple[Found, Found]:
        """Return the cotangent of every state and the environment of every core, from that of the generated tensor."""
        adjoints, environments = {self.program.frames[-1].core: g}, {}
        for frame in reversed(self.program.frames):
            if frame is not self.program.frames[-1]:
                u = adjoints[f"{frame.core}.activation"]
                adjoints[frame.core] = each(self.slope, self.states[frame.core]) * u
            z = adjoints[frame.core].reshape(*frame.rows, frame.bonds[2])  # (x, y, p)
            left, right, core = (conj(x) for x in self._around(frame))
            half = np.tensordot(left, z, ([0], [0]))  # (l, y, p)
            environments[frame.core] = np.tensordot(right, half, ([0], [1])).transpose(1, 0, 2)
            for name, found in (
                (frame.left, np.tensordot(np.tensordot(z, right, ([1], [0])), core, ([1, 2], [2, 1]))),
                (frame.right, np.tensordot(np.tensordot(z, left, ([0], [0])), core, ([1, 2], [2, 0]))),
            ):
                if name is not None:
                    adjoints[f"{name}.activation"] = found.reshape(self.states[name].shape)
        for name, core in self.cores.items():
            environments[name] = environments[name].reshape(core.shape)
        return {name: adjoints[name] for name in self.states}, environments


def _unit(size: int) -> Array:
    found = np.full((size, size), ZERO, object)
    found[range(size), range(size)] = ONE
    return found


def run_of(program: Any, cores: Cores, activation: str) -> Run | FramesRun:
    """Run a program or frames."""
    return FramesRun(program, cores, activation) if isinstance(program, Frames) else Run(program, cores, activation)

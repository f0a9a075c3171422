"""The parts that the mistaken interpreter is made of: cores as they are read, steps on a state, and their adjoints.

Written from the definitions alone, slowly and plainly; nothing of the package's own steps is used. A core is *read*
through an array of positions, so that every wrong order of legs is a permutation of positions and its adjoint follows
by itself. The mistakes of the backward pass stand here, each an ``if``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Positions = NDArray[np.intp]
Wrong = tuple[str, ...]
"""Names of mistakes, in the order in which they act."""

Cores = dict[str, Array]
NEAR = 1e-6
"""Entries below this share of the largest, but not zero, may have either sign in single precision."""


class Sigma(NamedTuple):
    """An activation, and the derivative that the backward pass takes: both functions of the pre-activation Z."""

    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    kinked: bool = False
    """Whether the derivative jumps at 0."""

    def fragile(self, z: Array) -> bool:
        """Return whether rounding decides on which side of a kink an entry falls, and so what the gradient is."""
        size = np.abs(z)
        return self.kinked and bool(np.any((size > 0) & (size < NEAR * size.max())))


class Impossible(Exception):
    """A mistake cannot be made here: sizes do not fit, so a program with it would stop."""


def numbers(shape: Sequence[int]) -> Positions:
    """Return 0, 1, 2, ... in the given shape: the positions of an array's entries in C order."""
    return np.arange(prod(shape)).reshape(tuple(shape))


@dataclass(frozen=True)
class Core:
    """A core as it is read: entry t of the tensor is entry ``where[t]`` of the stored core in C order, -1 for 0."""

    name: str
    where: Positions

    def tensor(self, cores: Cores) -> Array:
        """Return the tensor that stands in the formula."""
        if self.name not in cores or int(self.where.max()) >= cores[self.name].size:
            raise Impossible(f"no core {self.name} of {int(self.where.max()) + 1} entries")
        return np.append(cores[self.name], 0.0)[self.where]

    def give(self, found: Cores, g: Array) -> None:
        """Add the gradient of the tensor to that of the stored core, flat."""
        inside = self.where >= 0
        np.add.at(found[self.name], self.where[inside], g.reshape(self.where.shape)[inside])


@dataclass(frozen=True)
class Fixed:
    """A tensor that is no core."""

    value: Array

    def tensor(self, cores: Cores) -> Array:
        """Return it."""
        return self.value

    def give(self, found: Cores, g: Array) -> None:
        """Drop its gradient."""


Read = Core | Fixed


@dataclass(frozen=True)
class Apply:
    """Contract a tensor, outputs first, with the indices ``at`` of the state; the outputs become the indices ``to``.

    Mixing a pair: ``at = to = (q, q + 1)``. Expanding an index: ``at = (p,)``, ``to = (p, p + 1)``. ``to`` empty: the
    outputs stay in front, where ``tensordot`` leaves them.
    """

    read: Read
    at: tuple[int, ...]
    to: tuple[int, ...]
    kind: str = "mix"
    """``"mix"`` for a brick or a mixing core, ``"expand"`` for a node of a tree, ``"format"`` elsewhere."""

    def forward(self, cores: Cores, x: Array) -> Array:
        """Return ``Y[.., outputs, ..] = sum over inputs of T[outputs, inputs] X[.., inputs, ..]``."""
        tensor = self.read.tensor(cores)
        inputs = tensor.shape[tensor.ndim - len(self.at) :]
        if max(self.at) >= x.ndim or inputs != tuple(x.shape[i] for i in self.at):
            raise Impossible(f"inputs of sizes {inputs} do not fit a state of sizes {x.shape}")
        y = np.tensordot(tensor, x, axes=(range(tensor.ndim - len(self.at), tensor.ndim), self.at))
        return np.moveaxis(y, range(len(self.to)), self.to) if self.to else y

    def backward(self, cores: Cores, x: Array, y: Array, g: Array, found: Cores, wrong: Wrong) -> Array:
        """Add the environment of the core to ``found`` and return the cotangent of the input."""
        tensor = self.read.tensor(cores)
        ways = tensor.ndim - len(self.at)
        outputs, inputs = tensor.shape[:ways], tensor.shape[ways:]
        # matrices (outputs, others) of the cotangent and (inputs, others) of the input
        g_rows = (np.moveaxis(g, self.to, range(ways)) if self.to else g).reshape(prod(outputs), -1)
        mixes = self.kind == "mix"
        seen = y if mixes and "stale-state" in wrong and y.shape == x.shape else x
        x_rows = np.moveaxis(seen, self.at, range(len(self.at))).reshape(prod(inputs), -1)
        others = slice(0, 1) if self.kind != "format" and "environment-one-entry" in wrong else slice(None)
        environment = g_rows[:, others] @ _conj(x_rows[:, others], wrong).T
        if mixes and "environment-transposed" in wrong:
            environment = environment.T
        self.read.give(found, environment)
        matrix = _conj(tensor.reshape(prod(outputs), prod(inputs)), wrong)
        back = matrix if mixes and "adjoint-not-transposed" in wrong else matrix.T
        if back.shape[1] != len(g_rows):
            raise Impossible("the core is not square")
        rest = np.moveaxis(x, self.at, range(len(self.at))).shape[len(self.at) :]
        return np.moveaxis((back @ g_rows).reshape(*inputs, *rest), range(len(self.at)), self.at)


@dataclass(frozen=True)
class Activate:
    """``X = sigma(Z)``, entry by entry."""

    sigma: Sigma

    def forward(self, cores: Cores, x: Array) -> Array:
        """Return sigma(x)."""
        return self.sigma.function(x)

    def backward(self, cores: Cores, x: Array, y: Array, g: Array, found: Cores, wrong: Wrong) -> Array:
        """Return the pre-activation adjoint."""
        return self.sigma.derivative(x) * g


@dataclass(frozen=True)
class Program:
    """A start, the outer product of some tensors; steps; and the place of each entry of the weight in the last state.

    ``places`` has the weight's shape.
    """

    start: tuple[Read, ...]
    steps: tuple[Apply | Activate, ...]
    places: Positions
    format: bool = False
    """Whether it is a multilinear format, whose start is no more than its first core."""

    def forward(self, cores: Cores) -> tuple[Array, list[Array]]:
        """Return the weight, and every state."""
        state = np.ones(())
        for read in self.start:
            state = np.multiply.outer(state, read.tensor(cores))
        states = [state]
        for step in self.steps:
            states.append(step.forward(cores, states[-1]))
        if states[-1].size <= int(self.places.max()):
            raise Impossible("the last state is too small")
        return states[-1].reshape(-1)[self.places], states

    def backward(self, cores: Cores, states: list[Array], cotangent: Array, wrong: Wrong) -> Cores:
        """Return the gradient of every core that is read; NaN where it hangs on rounding."""
        for step, z in zip(self.steps, states, strict=False):
            if isinstance(step, Activate) and step.sigma.fragile(z):
                return {name: np.full(core.shape, np.nan) for name, core in cores.items()}
        found = {name: np.zeros(core.size, core.dtype) for name, core in cores.items()}
        g: Array = np.full(states[-1].size, 1.0 if "padding-cotangent" in wrong else 0.0, states[-1].dtype)
        g[self.places] = cotangent
        g = g.reshape(states[-1].shape)
        for step, x, y in zip(reversed(self.steps), reversed(states[:-1]), reversed(states[1:]), strict=True):
            g = step.backward(cores, x, y, g, found, wrong)
        if self.format or "start-detached" not in wrong:
            self._start(cores, g, found, wrong)
        return {name: found[name].reshape(core.shape) for name, core in cores.items()}

    def _start(self, cores: Cores, g: Array, found: Cores, wrong: Wrong) -> None:
        """Add the environment of each factor of the start: g contracted with all the others."""
        tensors = [_conj(read.tensor(cores).reshape(-1), wrong) for read in self.start]
        for k, read in enumerate(self.start):
            before, after = _outer(tensors[:k]), _outer(tensors[k + 1 :])
            g_here = g.reshape(before.size, tensors[k].size, after.size)
            read.give(found, np.einsum("i,ijk,k->j", before, g_here, after))


def _outer(vectors: Sequence[Array]) -> Array:
    product = np.ones(1)
    for vector in vectors:
        product = np.multiply.outer(product, vector).reshape(-1)
    return product


def _conj(x: Array, wrong: Wrong) -> Array:
    """Return conj(x), which the adjoint needs for complex numbers."""
    return x if "adjoint-without-conjugate" in wrong else x.conj()

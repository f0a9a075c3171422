"""Optimisers on one stacked array, schedules of the learning rate, and the packing of a tree into that array.

All parameters of a fit lie end to end in one vector, so that a step is a few array operations whatever the number of
cores (76 bricks cost as much as one).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import REAL, Array, backend_of, dtype_name, namespace
from adntn_ref.ad.trees import Tree, aligned, leaves, named_leaves, rebuild
from adntn_ref.errors import DTypeError, ParameterError, SpecError

OPTIMISERS = ("adam", "sgd")
SCHEDULES = ("cosine", "constant")
PIECE = 2**16
"""Numbers of a vector that are updated at once."""


class Packing:
    """The places of a tree's leaves in one vector."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        found = leaves(tree)
        if not found:
            raise ParameterError("there is nothing to train: no parameters are left unfrozen")
        dtypes = {dtype_name(x) for x in found}
        if len(dtypes) != 1:
            raise DTypeError(f"parameters trained together must have one dtype, got {', '.join(sorted(dtypes))}")
        self.dtype = dtypes.pop()
        if self.dtype not in REAL:
            raise DTypeError(f"parameters are trained in {' or '.join(REAL)}, got {self.dtype}")
        self.names = [name for name, _ in named_leaves(tree)]
        self.shapes = [tuple(x.shape) for x in found]
        ends = np.cumsum([int(np.prod(shape, dtype=np.int64)) for shape in self.shapes])
        self.places = [slice(int(end) - int(np.prod(s)), int(end)) for end, s in zip(ends, self.shapes, strict=True)]
        self.size = int(ends[-1])

    def pack(self, tree: Tree) -> Array:
        """Return the leaves of a tree of this structure, end to end, as a new vector; dicts are matched by key."""
        found = aligned(self.tree, tree)
        return namespace(found[0]).concatenate([x.reshape(-1) for x in found])

    def unpack(self, vector: Array) -> Tree:
        """Return a tree of views into ``vector``."""
        views = [vector[place].reshape(shape) for place, shape in zip(self.places, self.shapes, strict=True)]
        return rebuild(self.tree, views)

    def unpack_rows(self, block: Array) -> Tree:
        """Return a tree of arrays of shape (rows, *shape) from a block of one vector a row."""
        rows = block.shape[0]
        parts = [block[:, place].reshape(rows, *shape) for place, shape in zip(self.places, self.shapes, strict=True)]
        return rebuild(self.tree, parts)

    def spread(self, values: Tree) -> Array:
        """Return a NumPy vector that repeats each leaf's number (a learning rate, say) over the leaf's place."""
        numbers = aligned(self.tree, values, "the tree of numbers")
        parts = [np.full(p.stop - p.start, n) for p, n in zip(self.places, numbers, strict=True)]
        return np.concatenate(parts).astype(self.dtype)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, arXiv 1412.6980), with bias correction; updates the vector in place."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def start(self, vector: Array) -> dict[str, Array]:
        """Return the state: first and second moments, both zero."""
        xp = namespace(vector)
        return {"first": xp.zeros_like(vector), "second": xp.zeros_like(vector)}

    def update(
        self, vector: Array, g: Array, state: dict[str, Array], step: int, rate: Array, factor: float = 1.0
    ) -> None:
        """Change ``vector`` and ``state`` in place; ``step`` counts from 0, ``rate`` is a number or a vector."""
        for part in pieces(vector):
            moments = {name: value[part] for name, value in state.items()}
            self._update(vector[part], g[part], moments, step, factor * _part(rate, part))

    def _update(self, vector: Array, g: Array, state: dict[str, Array], step: int, rate: Array) -> None:
        first, second = state["first"], state["second"]
        first *= self.beta1
        first += (1 - self.beta1) * g
        second *= self.beta2
        second += (1 - self.beta2) * (g * g)
        unbias = (1 - self.beta2 ** (step + 1)) ** 0.5
        vector -= (rate / (1 - self.beta1 ** (step + 1))) * (
            first / (namespace(second).sqrt(second) / unbias + self.epsilon)
        )


@dataclass(frozen=True)
class SGD:
    """Gradient descent with momentum: ``b <- mu b + g``, ``x <- x - rate b``."""

    momentum: float = 0.9

    def start(self, vector: Array) -> dict[str, Array]:
        """Return the state: the momentum buffer, zero."""
        return {"buffer": namespace(vector).zeros_like(vector)}

    def update(
        self, vector: Array, g: Array, state: dict[str, Array], step: int, rate: Array, factor: float = 1.0
    ) -> None:
        """Change ``vector`` and ``state`` in place; ``rate``, times ``factor``, is a number or a vector."""
        for part in pieces(vector):
            buffer = state["buffer"][part]
            buffer *= self.momentum
            buffer += g[part]
            vector[part] -= (factor * _part(rate, part)) * buffer


def pieces(vector: Array) -> Iterator[slice]:
    """Split a long NumPy vector so that the temporaries of an elementwise update stay in the cache.

    The numbers are those of an update in one go. On a device, where each operation costs a launch, nothing is split.
    """
    size = int(vector.shape[0])
    step = PIECE if isinstance(vector, np.ndarray) and vector.ndim == 1 else max(1, size)
    return (slice(start, start + step) for start in range(0, size, step))


def _part(rate: Array, part: slice) -> Array:
    return rate[part] if getattr(rate, "ndim", 0) else rate


def make_optimiser(name: str, momentum: float = 0.9) -> Adam | SGD:
    """Return the optimiser called ``name``, or raise SpecError listing those there are."""
    if name not in OPTIMISERS:
        raise SpecError(f"no optimiser is called {name!r}; allowed: {', '.join(OPTIMISERS)}")
    return Adam() if name == "adam" else SGD(momentum)


def rate_at(step: int, steps: int, schedule: str, warmup: int = 0) -> float:
    """Return the factor on the learning rate at a step that counts from 0.

    A linear rise over the first ``warmup`` steps, times 1 (``"constant"``) or a half cosine from 1 at step 0 to 0 at
    ``steps``.

    Examples
    --------
    >>> [round(rate_at(k, 4, "cosine"), 3) for k in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    if schedule not in SCHEDULES:
        raise SpecError(f"no schedule is called {schedule!r}; allowed: {', '.join(SCHEDULES)}")
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    return rise * (0.5 * (1 + cos(pi * step / steps)) if schedule == "cosine" else 1.0)


def clip_norm(g: Array, limit: float | None) -> tuple[Array, Any]:
    """Return the gradient, scaled down to Euclidean norm ``limit`` where it is longer, and its norm before that.

    On the host the norm is a float; on a device an array of one entry, which nobody has waited for.
    """
    xp = namespace(g)
    norm = xp.linalg.norm(g)
    if not backend_of(g).on_host:
        return (g if limit is None else g * xp.minimum(limit / norm, 1.0)), norm
    norm = float(norm)
    if limit is not None and norm > limit:
        g = g * (limit / norm)
    return g, norm


State = dict[str, Any]

"""The steps every network is made of: forward formula, adjoint, environment of the cores, cost.

The state between two steps is a tensor with one index for each mode or bond, kept as a flat array in C order;
``dims`` are the sizes of its indices. Inner product <g, y> = Re sum conj(g) y, so adjoints carry conjugates that cost
nothing for real arrays. Each step offers ``forward(cores, x) -> (y, kept)`` and ``adjoint(cores, kept, g) -> (gx,
environments)``; ``kept`` is what the adjoint needs. Both are written in differentiable functions, so a step runs on
raw arrays and on tape variables.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

from adntn_ref.ad import ops
from adntn_ref.ad.activations import Activation
from adntn_ref.ad.arrays import Array
from adntn_ref.program.windows import (
    Block,
    Window,
    WrapWindow,
    matrix_flops,
    split_flops,
    window_environments,
    window_matrix,
    windows_of,
)

Cores = dict[str, Array]
Pass = Callable[[Array], Array]


@dataclass(frozen=True)
class Factor:
    """One factor of a product state: a core of shape ``dims``, or, without a name, the unit vector (1, 0, ..., 0)."""

    name: str | None
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Product:
    """The start state: the outer product of vectors or small tensors on disjoint neighbouring indices.

    ``x[i_0, ..., i_{Q-1}] = prod_k f_k[the indices of factor k]``. Environment of factor k: the cotangent contracted
    with the conjugates of all others.
    """

    name: str
    factors: tuple[Factor, ...]

    @property
    def out_dims(self) -> tuple[int, ...]:
        """The sizes of the state's indices."""
        return tuple(d for factor in self.factors for d in factor.dims)

    @property
    def core_names(self) -> tuple[str, ...]:
        """The cores this step reads."""
        return tuple(factor.name for factor in self.factors if factor.name is not None)

    def forward(self, cores: Cores) -> tuple[Array, list[Array]]:
        """Return the start state, shape (prod(out_dims),), and its factors as vectors."""
        like = next(iter(cores.values()))
        vectors = [
            cores[f.name].reshape(-1) if f.name is not None else ops.unit_vector(f.dims[0], like) for f in self.factors
        ]
        # A single factor is copied: a state is never a view of the parameters.
        state = vectors[-1] if len(vectors) > 1 else ops.concatenate(vectors)
        for vector in reversed(vectors[:-1]):
            state = _outer(vector, state)
        return state, vectors

    def adjoint(self, cores: Cores, kept: list[Array], g: Array) -> Cores:
        """Return the environments of the factors, given the cotangent g of the state, shape (prod(out_dims),)."""
        vectors = [ops.conj(vector) for vector in kept]
        behind = [vectors[-1]]  # behind[-1 - k]: outer product of factors k, k+1, ...
        for vector in reversed(vectors[1:-1]):
            behind.append(_outer(vector, behind[-1]))
        found: Cores = {}
        for k, factor in enumerate(self.factors):
            size = prod(factor.dims)
            last = k == len(self.factors) - 1
            if factor.name is not None:
                mine = ops.concatenate([g]) if last else g.reshape(size, -1) @ behind[-1 - k]
                found[factor.name] = mine.reshape(factor.dims)
            if not last:
                g = vectors[k] @ g.reshape(size, -1)
        return found

    def flops(self) -> tuple[int, int]:
        """Return multiplications forward, and multiplications and additions of the adjoint."""
        sizes = [prod(f.dims) for f in self.factors]
        behind = [prod(sizes[k:]) for k in range(len(sizes))]
        # behind[k] multiplications build the product of factors k, k+1, ...; the last factor is there already
        forward = sum(behind[:-1])
        contractions = [2 * behind[k] for k in range(len(sizes) - 1)]
        named = [2 * behind[k] for k, f in enumerate(self.factors[:-1]) if f.name is not None]
        return forward, sum(behind[1:-1]) + sum(contractions) + sum(named)


def _outer(a: Array, b: Array) -> Array:
    return (a.reshape(-1, 1) * b.reshape(1, -1)).reshape(-1)


class _Linear:
    """What mixing and expanding share: both are a Kronecker product of cores, run window by window."""

    windows: tuple[Window, ...]

    @property
    def core_names(self) -> tuple[str, ...]:
        """The cores this step reads."""
        return tuple(block.name for window in self.windows for block in window.blocks if block.name is not None)

    def forward(self, cores: Cores, x: Array) -> tuple[Array, list[tuple[Array, Array]]]:
        """Return the next state, and for each window its matrix and what it was applied to."""
        kept = []
        for window in self.windows:
            matrix = window_matrix(window, cores, x)
            kept.append((matrix, x))
            x = window.apply(matrix, x)
        return x, kept

    def passes(self, cores: Cores) -> list[Pass]:
        """Return the functions of a state, one a window, that make the next state and keep nothing."""
        return [partial(window.run, cores) for window in self.windows]

    def adjoint(self, cores: Cores, kept: list[tuple[Array, Array]], g: Array) -> tuple[Array, Cores]:
        """Return the cotangent of the input and the environments of the cores, shaped like the cores."""
        found: Cores = {}
        for window, (matrix, x) in zip(reversed(self.windows), reversed(kept), strict=True):
            found.update(window_environments(window, cores, window.environment(g, ops.conj(x))))
            g = window.apply(ops.conj(matrix).T, g)
        return g, found

    def flops(self) -> tuple[int, int]:
        """Return multiplications and additions, forward and adjoint, those of the windows' small matrices included."""
        products = sum(2 * w.outputs * w.inputs * w.left * w.right for w in self.windows)
        made, split = sum(matrix_flops(w) for w in self.windows), sum(split_flops(w) for w in self.windows)
        return products + made, 2 * products + split

    def sizes(self) -> list[tuple[int, int]]:
        """Return the entries of the state before and after each window."""
        return [window.entries for window in self.windows]

    def scratch(self) -> list[int]:
        """Return the entries that each window holds besides its two states."""
        return [window.scratch for window in self.windows]


@dataclass(frozen=True)
class Mix(_Linear):
    """A column: cores that mix disjoint pairs of neighbouring indices.

    For one pair (q, q+1), ``Y[.., a, b, ..] = sum_{c,e} A[a,b,c,e] X[.., c, e, ..]``;
    adjoint ``Gx[.., c, e, ..] = sum_{a,b} conj(A[a,b,c,e]) G[.., a, b, ..]``;
    environment ``dA[a,b,c,e] = sum_{others} G[.., a, b, ..] conj(X[.., c, e, ..])`` with X after the other cores.

    ``pairs`` are (q, core name); q = n - 1 for n indices is the pair (last, first), applied after all others.

    Neighbouring cores are multiplied into one small matrix (a window of at most 32 entries a side) and applied
    together: fewer passes over the state, and larger matrix products; see :mod:`adntn_ref.program.windows`.
    """

    name: str
    dims: tuple[int, ...]
    pairs: tuple[tuple[int, str], ...]
    windows: tuple[Window, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        dims, wrapped = self.dims, len(self.dims) - 1
        at = {q: name for q, name in self.pairs if q != wrapped}
        blocks, q = [], 0
        while q < len(dims):
            size = dims[q] * dims[q + 1] if q in at else dims[q]
            blocks.append(Block(at.get(q), size, size))
            q += 2 if q in at else 1
        windows = windows_of(blocks)
        for q, name in self.pairs:
            if q == wrapped:
                side = dims[-1] * dims[0]
                windows += (WrapWindow(1, prod(dims) // side, (Block(name, side, side),), last=dims[-1]),)
        object.__setattr__(self, "windows", windows)

    @property
    def out_dims(self) -> tuple[int, ...]:
        """The sizes of the state's indices: a mixing changes none."""
        return self.dims


@dataclass(frozen=True)
class Expand(_Linear):
    """Expansion of a set of indices, each into two.

    For an index p of size chi, ``Y[.., l, r, ..] = sum_p W[l,r,p] X[.., p, ..]``;
    adjoint ``Gx[.., p, ..] = sum_{l,r} conj(W[l,r,p]) G[.., l, r, ..]``;
    environment ``dW[l,r,p] = sum_{others} G[.., l, r, ..] conj(X[.., p, ..])`` with X after the other cores.

    ``at`` are (position, core name, (chi_l, chi_r)); ``dims`` the sizes before the step.
    """

    name: str
    dims: tuple[int, ...]
    at: tuple[tuple[int, str, tuple[int, int]], ...]
    windows: tuple[Window, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        cores = {p: (name, l * r) for p, name, (l, r) in self.at}
        blocks = [Block(*cores[p], d) if p in cores else Block(None, d, d) for p, d in enumerate(self.dims)]
        object.__setattr__(self, "windows", windows_of(blocks))

    @property
    def out_dims(self) -> tuple[int, ...]:
        """The sizes of the state's indices after the step."""
        into = {p: pair for p, _, pair in self.at}
        return tuple(n for p, d in enumerate(self.dims) for n in into.get(p, (d,)))


@dataclass(frozen=True)
class Activate:
    """``X = sigma(Z)``, elementwise on the whole state; pre-activation adjoint ``Gz = conj(sigma'(Z)) G``."""

    name: str
    dims: tuple[int, ...]
    activation: Activation

    @property
    def out_dims(self) -> tuple[int, ...]:
        """The sizes of the state's indices: an activation changes none."""
        return self.dims

    @property
    def core_names(self) -> tuple[str, ...]:
        """No cores."""
        return ()

    def forward(self, cores: Cores, x: Array) -> tuple[Array, tuple[Array, Array]]:
        """Return sigma(x), and both for the adjoint."""
        y = self.activation.sigma(x)
        return y, (x, y)

    def passes(self, cores: Cores) -> list[Pass]:
        """Return sigma, as the one function of a state that makes the next and keeps nothing."""
        return [self.activation.sigma]

    def adjoint(self, cores: Cores, kept: tuple[Array, Array], g: Array) -> tuple[Array, Cores]:
        """Return the pre-activation adjoint."""
        if self.activation.name == "identity":
            return g, {}
        z, x = kept
        return g * ops.conj(self.activation.first(z, x)), {}

    def flops(self) -> tuple[int, int]:
        """Return one operation an entry forward, two adjoint (sigma' and the product); none for the identity."""
        size = 0 if self.activation.name == "identity" else prod(self.dims)
        return size, 2 * size

    def sizes(self) -> list[tuple[int, int]]:
        """Return the entries of the state before and after."""
        return [(prod(self.dims), prod(self.dims))]

    def scratch(self) -> list[int]:
        """Return the entries held besides these two states: none."""
        return [0]


Step = Mix | Expand | Activate


@dataclass(frozen=True, eq=False)
class Program:
    """A start state and a list of steps; the last step is linear.

    Programs are not compared: each specification has one, and what is known of it is looked up by its identity.
    """

    start: Product
    steps: tuple[Step, ...]

    @property
    def all_steps(self) -> tuple[Any, ...]:
        """The start and the steps, in order."""
        return (self.start, *self.steps)

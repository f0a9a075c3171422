"""Windows: neighbouring cores of a column as one small matrix.

A column of cores on disjoint pairs is the Kronecker product of their matrices. Applied one at a time to a state of
shape (left, 4, right), each core costs one pass over the state, and where ``right`` is small the matrix products are
tiny: at 2^15 entries a core at right = 2 took 0.26 ms, one of 16 x 16 at right = 1 took 0.014 ms (float32, one
measurement on two cores). So neighbours are multiplied into matrices of at most 32 a side, counted from the right,
and the indices behind the last core join it as unit matrices, so that ``right`` is 1 there and at least 16 elsewhere.
"""

from dataclasses import dataclass
from functools import cache
from math import isqrt, prod

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array

LARGEST = 32
"""Side of the largest window of several factors; a single larger core is a window of its own."""


@dataclass(frozen=True)
class Window:
    """One matrix ``K = factor_0 (x) factor_1 (x) ...`` on the state read as (left, size, right).

    ``factors`` are pairs (core name or None, size): cores, and unit matrices for indices without a core.
    """

    left: int
    size: int
    right: int
    factors: tuple[tuple[str | None, int], ...]

    def apply(self, matrix: Array, x: Array) -> Array:
        """Return ``Y[L, a, R] = sum_c K[a, c] X[L, c, R]``, flat."""
        if self.right == 1:
            return (x.reshape(self.left, self.size) @ matrix.T).reshape(-1)
        return (matrix @ x.reshape(self.left, self.size, self.right)).reshape(-1)

    def run(self, cores: dict[str, Array], x: Array) -> Array:
        """Return the state ``x`` with this window's cores applied, flat."""
        return self.apply(window_matrix(self, cores, x), x)

    def environment(self, g: Array, x: Array) -> Array:
        """Return ``E[a, c] = sum_{L,R} G[L, a, R] X[L, c, R]``, shape (size, size)."""
        if self.right == 1:
            return g.reshape(self.left, self.size).T @ x.reshape(self.left, self.size)
        cube = (self.left, self.size, self.right)
        if self.size > 2 * self.right:  # the parts would take more memory than two states
            rows = g.reshape(cube).transpose(1, 0, 2).reshape(self.size, -1)
            return rows @ x.reshape(cube).transpose(0, 2, 1).reshape(-1, self.size)
        parts = g.reshape(cube) @ x.reshape(cube).transpose(0, 2, 1)
        # Summed in two stages: in float32 one long sum over L loses digits.
        stages = (self.left // self.stage, self.stage, self.size, self.size)
        return parts.reshape(stages).sum(axis=0).sum(axis=0)

    @property
    def stage(self) -> int:
        """The divisor of ``left`` next below its square root."""
        return _stage(self.left)


@cache
def _stage(left: int) -> int:
    return max(d for d in range(1, isqrt(left) + 1) if left % d == 0)


def windows_of(dims: tuple[int, ...], pairs: tuple[tuple[int, str], ...]) -> tuple[Window, ...]:
    """Group the cores of a column into windows, counted from the right; returned from the left."""
    at = dict(pairs)
    blocks: list[tuple[int, str | None, int]] = []  # (first index, core, size), from the left
    q = 0
    while q < len(dims):
        if q in at:
            blocks.append((q, at[q], dims[q] * dims[q + 1]))
            q += 2
        else:
            blocks.append((q, None, dims[q]))
            q += 1
    found: list[Window] = []
    group: list[tuple[int, str | None, int]] = []
    for block in reversed(blocks):
        if group and prod(size for _, _, size in group) * block[2] > LARGEST:
            found.append(_window(dims, group))
            group = []
        group.insert(0, block)
    found.append(_window(dims, group))
    return tuple(window for window in reversed(found) if window.factors)


def _window(dims: tuple[int, ...], group: list[tuple[int, str | None, int]]) -> Window:
    while group and group[0][1] is None:
        group = group[1:]  # an index without a core needs no unit matrix on the left
    if not group:
        return Window(1, 1, 1, ())
    first = group[0][0]
    size = prod(size for _, _, size in group)
    left = prod(dims[:first])
    return Window(left, size, prod(dims) // (left * size), tuple((name, size) for _, name, size in group))


def window_matrix(window: Window, cores: dict[str, Array], like: Array) -> Array:
    """Return the Kronecker product of a window's factors, shape (size, size), in the dtype of ``like``."""
    return _kron([_factor(name, size, cores, like) for name, size in window.factors])


def window_environments(window: Window, cores: dict[str, Array], environment: Array) -> dict[str, Array]:
    """Split a window's environment among its cores.

    With K = B (x) A (x) C, ``dA[a, c] = sum E[(b, a, s), (b', c, s')] conj(B[b, b'] C[s, s'])``.
    """
    found = {}
    mats = [ops.conj(_factor(name, size, cores, environment)) for name, size in window.factors]
    for k, (name, size) in enumerate(window.factors):
        if name is None:
            continue
        before = prod(n for _, n in window.factors[:k])
        after = window.size // (before * size)
        e = environment
        if k > 0:  # not before > 1: a core on two modes of size 1 is a factor too
            e = _trace_with(
                e.reshape(before, size * after, before, size * after).transpose(1, 3, 0, 2), _kron(mats[:k])
            )
        if k + 1 < len(mats):
            e = _trace_with(e.reshape(size, after, size, after).transpose(0, 2, 1, 3), _kron(mats[k + 1 :]))
        found[name] = e.reshape(cores[name].shape)
    return found


def _trace_with(e: Array, matrix: Array) -> Array:
    """Return ``sum_{b, b'} e[.., b, b'] matrix[b, b']``."""
    rows, columns, n = e.shape[0], e.shape[1], e.shape[2] * e.shape[3]
    return (e.reshape(rows * columns, n) @ matrix.reshape(n, 1)).reshape(rows, columns)


def _factor(name: str | None, size: int, cores: dict[str, Array], like: Array) -> Array:
    return ops.unit_matrix(size, like) if name is None else cores[name].reshape(size, size)


def _kron(matrices: list[Array]) -> Array:
    """Return the Kronecker product of square matrices, the first the most significant."""
    whole = matrices[0]
    for matrix in matrices[1:]:
        n, m = whole.shape[0], matrix.shape[0]
        whole = (whole.reshape(n, 1, n, 1) * matrix.reshape(1, m, 1, m)).reshape(n * m, n * m)
    return whole

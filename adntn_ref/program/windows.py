"""Windows: neighbouring cores of a step as one small matrix.

The cores of a step act on disjoint indices, so the step is the Kronecker product of their matrices. Applied one at a
time to a state of shape (left, 4, right), each core costs one pass over the state, and where ``right`` is small the
matrix products are tiny: at 2^15 entries a core at right = 2 took 0.26 ms, one of 16 x 16 at right = 1 took 0.014 ms
(float32, one measurement on two cores). So neighbours are multiplied into matrices of at most 32 a side, counted from
the right, and the indices behind the last core join it as unit matrices, so that ``right`` is 1 there and at least 16
elsewhere. Windows are applied from the right, so that an expansion behind them has made ``right`` large already.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import isqrt, prod

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array

LARGEST = 32
"""Side of the largest window of several blocks; a single larger core is a window of its own."""


@dataclass(frozen=True)
class Block:
    """What acts on one or two neighbouring indices: a core as a matrix (outputs x inputs), or a unit matrix."""

    name: str | None
    outputs: int
    inputs: int


@dataclass(frozen=True)
class Window:
    """One matrix ``K = block_0 (x) block_1 (x) ...`` on the state read as (left, inputs, right)."""

    left: int
    right: int
    blocks: tuple[Block, ...]

    @property
    def outputs(self) -> int:
        """Rows of the matrix."""
        return prod(block.outputs for block in self.blocks)

    @property
    def inputs(self) -> int:
        """Columns of the matrix."""
        return prod(block.inputs for block in self.blocks)

    @property
    def entries(self) -> tuple[int, int]:
        """Entries of the state before and after."""
        return self.left * self.inputs * self.right, self.left * self.outputs * self.right

    @property
    def scratch(self) -> int:
        """Entries held besides these two states."""
        return 0

    @property
    def environment_room(self) -> int:
        """Entries that :meth:`environment` holds besides the two states."""
        if self.right == 1:
            return 0
        if self.inputs > 2 * self.right:
            return sum(self.entries)
        return self.left * self.outputs * self.inputs

    def apply(self, matrix: Array, x: Array) -> Array:
        """Return ``Y[L, a, R] = sum_c K[a, c] X[L, c, R]``, flat; K^H carries cotangents back by the same line."""
        columns = matrix.shape[1]
        if self.right == 1:
            return (x.reshape(self.left, columns) @ matrix.T).reshape(-1)
        return (matrix @ x.reshape(self.left, columns, self.right)).reshape(-1)

    def run(self, cores: dict[str, Array], x: Array) -> Array:
        """Return the state ``x`` with this window's cores applied, flat."""
        return self.apply(window_matrix(self, cores, x), x)

    def environment(self, g: Array, x: Array) -> Array:
        """Return ``E[a, c] = sum_{L,R} G[L, a, R] X[L, c, R]``, shape (outputs, inputs)."""
        rows, columns = self.outputs, self.inputs
        if self.right == 1:
            return g.reshape(self.left, rows).T @ x.reshape(self.left, columns)
        g, x = g.reshape(self.left, rows, self.right), x.reshape(self.left, columns, self.right)
        if columns > 2 * self.right:  # the parts would take more memory than two states
            return g.transpose(1, 0, 2).reshape(rows, -1) @ x.transpose(0, 2, 1).reshape(-1, columns)
        parts = g @ x.transpose(0, 2, 1)
        # Summed in two stages: in float32 one long sum over L loses digits.
        stages = (self.left // self.stage, self.stage, rows, columns)
        return parts.reshape(stages).sum(axis=0).sum(axis=0)

    @property
    def stage(self) -> int:
        """The divisor of ``left`` next below its square root."""
        return _stage(self.left)


@cache
def _stage(left: int) -> int:
    return max(d for d in range(1, isqrt(left) + 1) if left % d == 0)


@dataclass(frozen=True)
class WrapWindow(Window):
    """A window on the last index and the first, in this order: the state is turned so that they stand side by side.

    ``left`` is 1 and ``right`` what stands between the two; ``last`` is the size of the last index.
    """

    last: int = 1

    @property
    def scratch(self) -> int:
        """Entries held besides these two states: the turned one."""
        return self.entries[0]

    def _turn(self, x: Array) -> Array:
        """Bring the last index to the front."""
        return x.reshape(-1, self.last).T.reshape(-1)

    def apply(self, matrix: Array, x: Array) -> Array:
        """Return the state with the core applied to its last and first index, flat, in its own order again."""
        return super().apply(matrix, self._turn(x)).reshape(self.last, -1).T.reshape(-1)

    def environment(self, g: Array, x: Array) -> Array:
        """Return the environment of the core as a matrix, shape (outputs, inputs)."""
        return super().environment(self._turn(g), self._turn(x))


def windows_of(blocks: Sequence[Block]) -> tuple[Window, ...]:
    """Group the blocks of a step, given from the left, into windows, in the order of application: from the right."""
    groups: list[list[Block]] = []
    for block in reversed(blocks):
        if groups and _side([block, *groups[-1]]) <= LARGEST:
            groups[-1].insert(0, block)
        else:
            groups.append([block])
    found: list[Window] = []
    left, right = prod(block.inputs for block in blocks), 1
    for group in groups:
        left //= prod(block.inputs for block in group)
        # A unit matrix in front of the first core would be work for nothing.
        first = next((k for k, block in enumerate(group) if block.name is not None), None)
        if first is not None:
            spared = prod(block.inputs for block in group[:first])
            found.append(Window(left * spared, right, tuple(group[first:])))
        right *= prod(block.outputs for block in group)
    return tuple(found)


def _side(group: list[Block]) -> int:
    return max(prod(block.outputs for block in group), prod(block.inputs for block in group))


def window_matrix(window: Window, cores: dict[str, Array], like: Array) -> Array:
    """Return the Kronecker product of a window's blocks, shape (outputs, inputs), in the dtype of ``like``."""
    return _kron([_matrix(block, cores, like) for block in window.blocks])


def window_environments(window: Window, cores: dict[str, Array], environment: Array) -> dict[str, Array]:
    """Split a window's environment among its cores.

    With K = B (x) A (x) C, ``dA[a, c] = sum E[(b, a, s), (b', c, s')] conj(B[b, b'] C[s, s'])``.
    """
    found = {}
    mats = [ops.conj(_matrix(block, cores, environment)) for block in window.blocks]
    for k, block in enumerate(window.blocks):
        if block.name is None:
            continue
        e, rows, columns = environment, block.outputs, block.inputs
        if k > 0:  # not "more than one row": a core on two modes of size 1 is a block too
            before = _kron(mats[:k])
            n, m = before.shape
            e = _trace_with(e.reshape(n, -1, m, window.inputs // m).transpose(1, 3, 0, 2), before)
        if k + 1 < len(mats):
            after = _kron(mats[k + 1 :])
            n, m = after.shape
            e = _trace_with(e.reshape(rows, n, columns, m).transpose(0, 2, 1, 3), after)
        found[block.name] = e.reshape(cores[block.name].shape)
    return found


def matrix_flops(window: Window) -> int:
    """Return the multiplications of :func:`window_matrix`."""
    return _kron_flops(window.blocks)


def split_flops(window: Window) -> int:
    """Return the multiplications and additions of :func:`window_environments`."""
    total, whole = 0, window.outputs * window.inputs
    for k, block in enumerate(window.blocks):
        if block.name is None:
            continue
        before, after = window.blocks[:k], window.blocks[k + 1 :]
        total += _kron_flops(before) + _kron_flops(after)
        total += 2 * whole * (k > 0)
        total += 2 * whole // prod(b.outputs * b.inputs for b in before) * (len(after) > 0)
    return total


def _kron_flops(blocks: Sequence[Block]) -> int:
    sizes = [block.outputs * block.inputs for block in blocks]
    return sum(prod(sizes[: k + 1]) for k in range(1, len(sizes)))


def _trace_with(e: Array, matrix: Array) -> Array:
    """Return ``sum_{b, b'} e[.., b, b'] matrix[b, b']``."""
    rows, columns, n = e.shape[0], e.shape[1], e.shape[2] * e.shape[3]
    return (e.reshape(rows * columns, n) @ matrix.reshape(n, 1)).reshape(rows, columns)


def _matrix(block: Block, cores: dict[str, Array], like: Array) -> Array:
    if block.name is None:
        return ops.unit_matrix(block.inputs, like)
    return cores[block.name].reshape(block.outputs, block.inputs)


def _kron(matrices: list[Array]) -> Array:
    """Return the Kronecker product of matrices, the first the most significant."""
    whole = matrices[0]
    for matrix in matrices[1:]:
        (n, m), (k, l) = whole.shape, matrix.shape
        whole = (whole.reshape(n, 1, m, 1) * matrix.reshape(1, k, 1, l)).reshape(n * k, m * l)
    return whole

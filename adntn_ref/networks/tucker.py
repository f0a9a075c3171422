"""The Tucker format: a small core tensor, one factor a mode.

Tucker, Psychometrika 31, 279 (1966); the decomposition is De Lathauwer, De Moor and Vandewalle's HOSVD (SIAM J. Matrix
Anal. Appl. 21, 1253, 2000).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array, dtype_name
from adntn_ref.errors import SpecError
from adntn_ref.networks.base import Params
from adntn_ref.networks.decompose import ErrorBound, checked, leading_vectors, unfolding_bound
from adntn_ref.networks.multilinear import Multilinear, Product, place
from adntn_ref.networks.sites import back, crossing, rows_of, turned
from adntn_ref.networks.spec import layout_spec
from adntn_ref.program.modes import Layout, as_positive, positive_integers


@dataclass(frozen=True)
class Tucker(Multilinear):
    """``X[i_0, ...] = sum_{p_0, ...} core[p_0, ...] prod_q factor{q}[i_q, p_q]``, factors of shape (d_q, r_q).

    Parameters
    ----------
    shape : shape of the weight
    ranks : r_0, ..., r_{Q-1}, none above its mode; or one number, which stands for min(number, d_q) at every mode
    modes, layout, row_modes, col_modes : sizes of the modes and where the weight's entries stand, as for the
        brick-wall; see :mod:`adntn_ref.program.modes`. With the default modes, twos, the ranks can only be 1 or 2.

    Examples
    --------
    >>> net = Tucker((120, 84), ranks=3, modes=(10, 12, 7, 12))
    >>> net.ranks, net.core_shapes["core"], net.parameter_count
    ((3, 3, 3, 3), (3, 3, 3, 3), 204)
    """

    title = "a Tucker network"

    shape: tuple[int, ...]
    ranks: tuple[int, ...] | int
    modes: tuple[int, ...] | None = None
    layout: str = "flat"
    row_modes: tuple[int, ...] | None = None
    col_modes: tuple[int, ...] | None = None
    placement: Layout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        placement = place(self)
        object.__setattr__(self, "ranks", _ranks(self.ranks, placement.modes))

    @property
    def _each(self) -> tuple[int, ...]:
        return _ranks(self.ranks, self.placement.modes)

    @property
    def core_shapes(self) -> dict[str, tuple[int, ...]]:
        """``factor{q}`` of shape (d_q, r_q), and ``core`` of shape (r_0, ..., r_{Q-1})."""
        sizes = enumerate(zip(self.placement.modes, self._each, strict=True))
        return {**{f"factor{q}": pair for q, pair in sizes}, "core": self._each}

    def to_spec(self) -> dict[str, Any]:
        """Return the specification as a JSON-able dict; ``ar.from_spec`` reads it back."""
        return {"network": "tucker", **layout_spec(self.placement), "ranks": list(self._each)}

    def _summed(self, name: str) -> int:
        return 1 if name == "core" else self.core_shapes[name][1]

    def _generate(self, params: Params) -> Array:
        """Multiply mode after mode by its factor: the first index of the state goes, and comes back as the last."""
        state = params["core"]
        for q, rank in enumerate(self._each):
            matrix = ops.transpose(ops.reshape(state, shape=(rank, -1)))
            state = ops.matrix_product(matrix, ops.transpose(params[f"factor{q}"]))
        return self.placement.extract(ops.reshape(state, shape=(-1,)))

    @property
    def apply_refusal(self) -> str:
        """Why :meth:`apply` cannot do without the weight; empty where it can."""
        return crossing(self.placement)

    def _apply(self, params: Params, x: Array) -> Array:
        """Take the columns to their ranks, from the last; the core takes these to the rows' ranks, they to the rows."""
        is_row, d = rows_of(self.placement) or (), self.placement.modes
        rows = [q for q, row in enumerate(is_row) if row]
        columns = [q for q, row in enumerate(is_row) if not row]
        batch, todo, done = x.shape[0], prod(d[q] for q in columns), 1
        state = turned(x, todo)
        for q in reversed(columns):
            todo //= d[q]
            state = ops.reshape(state, shape=(todo, d[q], done * batch))
            state = ops.matrix_product(ops.transpose(params[f"factor{q}"]), state)
            done *= self._each[q]
        core = ops.reshape(ops.transpose(params["core"], axes=(*rows, *columns)), shape=(-1, done))
        state, todo, done = ops.matrix_product(core, ops.reshape(state, shape=(done, batch))), core.shape[0], 1
        for q in rows:
            todo //= self._each[q]
            state = ops.reshape(state, shape=(done, self._each[q], todo * batch))
            state = ops.matrix_product(params[f"factor{q}"], state)
            done *= d[q]
        return back(ops.reshape(state, shape=(done, batch)), self.placement.shape[0])

    def _products(self) -> Iterable[Product]:
        state = prod(self._each)
        for q, (d, rank) in enumerate(zip(self.placement.modes, self._each, strict=True)):
            before, state = state, state // rank * d
            yield Product(f"factor{q}", 2 * state * rank, before, state)

    def _unfolded(self, tensor: Array) -> list[Array]:
        """Return the matrix (d_q, the rest) of every mode."""
        tensor = tensor.reshape(self.placement.modes)
        return [np.moveaxis(tensor, q, 0).reshape(d, -1) for q, d in enumerate(self.placement.modes)]

    def decompose(self, target: Array) -> Params:
        """Return factors and core for ``target`` by HOSVD: orthonormal factors, in the target's dtype.

        ``factor{q}`` holds the leading left singular vectors of the matrix (d_q, the rest), and the core is the tensor
        in their coordinates. The weight is off by at most sqrt(Q) times the least possible, see :meth:`error_bound`.

        Parameters
        ----------
        target : array of the weight's shape

        Raises
        ------
        ArrayError, DTypeError, NonFiniteError, MemoryLimitError
            For a target of another shape, not floating or complex, not finite, or too large.
        """
        tensor = self.placement.embed(checked(target, self.placement.shape, self.placement.generated))
        vectors = [leading_vectors(x, rank) for x, rank in zip(self._unfolded(tensor), self._each, strict=True)]
        core = tensor
        for u in vectors:
            core = core.reshape(u.shape[0], -1).T @ u.conj()
        dtype = dtype_name(target)
        cores = {**{f"factor{q}": u for q, u in enumerate(vectors)}, "core": core.reshape(self._each)}
        return {name: np.ascontiguousarray(x, dtype=dtype) for name, x in cores.items()}

    def error_bound(self, target: Array) -> ErrorBound:
        """Return how close to ``target`` any cores come at most, and how close :meth:`decompose` comes at least.

        The optima of the unfoldings of all Q modes, see :mod:`adntn_ref.networks.decompose`.
        """
        tensor = self.placement.embed(checked(target, self.placement.shape, self.placement.generated))
        inside = self.placement.embed(np.ones(self.placement.shape)) > 0
        return unfolding_bound(list(zip(self._unfolded(tensor), self._unfolded(inside), self._each, strict=True)))


def _ranks(given: object, modes: tuple[int, ...]) -> tuple[int, ...]:
    if (common := as_positive(given)) is not None:
        return tuple(min(common, d) for d in modes)
    ranks = positive_integers(given, "ranks")
    if len(ranks) != len(modes):
        raise SpecError(f"ranks must be one number or {len(modes)}, one a mode, got {len(ranks)}")
    for q, (rank, d) in enumerate(zip(ranks, modes, strict=True)):
        if rank > d:
            raise SpecError(f"rank {rank} of mode {q} is above its size, {d}")
    return ranks

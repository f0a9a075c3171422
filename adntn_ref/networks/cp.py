"""The canonical polyadic format: a sum of products of vectors, one a mode.

Hitchcock, J. Math. Phys. 6, 164 (1927). There is no direct decomposition: the best one need not even exist.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array, backend_of, dtype_name
from adntn_ref.ad.tape import stop_gradient
from adntn_ref.networks.base import Params
from adntn_ref.networks.multilinear import Multilinear, Product, place
from adntn_ref.networks.sites import back, crossing, rows_of, turned
from adntn_ref.networks.spec import layout_spec, positive_integer
from adntn_ref.program.modes import Layout


@dataclass(frozen=True)
class CP(Multilinear):
    """``X[i_0, ..., i_{Q-1}] = sum_r prod_q factor{q}[i_q, r]``, with ``factor{q}`` of shape (d_q, rank).

    It is run as one matrix product: all rows of products of the first modes with all those of the others, cut where
    the two halves are nearest in size.

    Parameters
    ----------
    shape : shape of the weight
    rank : number of terms
    modes, layout, row_modes, col_modes : sizes of the modes and where the weight's entries stand, as for the
        brick-wall; see :mod:`adntn_ref.program.modes`

    Examples
    --------
    >>> CP((120, 84), rank=16).parameter_count == 16 * 2 * 14
    True
    """

    title = "a CP network"

    shape: tuple[int, ...]
    rank: int
    modes: tuple[int, ...] | None = None
    layout: str = "flat"
    row_modes: tuple[int, ...] | None = None
    col_modes: tuple[int, ...] | None = None
    placement: Layout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        place(self, rank=positive_integer(self.rank, "rank"))

    @property
    def core_shapes(self) -> dict[str, tuple[int, ...]]:
        """``factor{q}`` of shape (d_q, rank)."""
        return {f"factor{q}": (d, self.rank) for q, d in enumerate(self.placement.modes)}

    def to_spec(self) -> dict[str, Any]:
        """Return the specification as a JSON-able dict; ``ar.from_spec`` reads it back."""
        return {"network": "cp", **layout_spec(self.placement), "rank": self.rank}

    def _summed(self, name: str) -> int:
        return self.rank if name == "factor0" else 1

    @property
    def _cut(self) -> int:
        """The first mode of the second half."""
        d = self.placement.modes
        return min(range(1, len(d)), key=lambda k: prod(d[:k]) + prod(d[k:]))

    def _rows(self, params: Params, modes: Iterable[int]) -> Array:
        """Return ``prod_q factor{q}[i_q, r]`` over some modes, as a matrix (entries, rank): a Khatri-Rao product."""
        first, *others = modes
        rows = params[f"factor{first}"]
        for q in others:
            factor = params[f"factor{q}"]
            pairs = ops.reshape(rows, shape=(-1, 1, self.rank)) * ops.reshape(factor, shape=(1, -1, self.rank))
            rows = ops.reshape(pairs, shape=(-1, self.rank))
        return rows

    def _generate(self, params: Params) -> Array:
        cut, count = self._cut, len(self.placement.modes)
        left, right = self._rows(params, range(cut)), self._rows(params, range(cut, count))
        return self.placement.extract(ops.reshape(ops.matrix_product(left, ops.transpose(right)), shape=(-1,)))

    @property
    def apply_refusal(self) -> str:
        """Why :meth:`apply` cannot do without the weight; empty where it can."""
        return crossing(self.placement)

    def _apply(self, params: Params, x: Array) -> Array:
        """Through the rank: ``y_i = sum_r (row factors)[i, r] sum_j (column factors)[j, r] x_j``, products each."""
        is_row = rows_of(self.placement) or ()
        sides = [[q for q, row in enumerate(is_row) if row == wanted] for wanted in (False, True)]
        columns, rows = (self._rows(params, side) if side else self._one(params) for side in sides)
        between = ops.matrix_product(ops.transpose(columns), turned(x, columns.shape[0]))
        return back(ops.matrix_product(rows, between), self.placement.shape[0])

    def _one(self, params: Params) -> Array:
        """Return a row of ones: the product of no factors."""
        raw = stop_gradient(params["factor0"])
        return backend_of(raw).asarray(np.ones((1, self.rank), dtype_name(raw)))

    def _products(self) -> Iterable[Product]:
        d, cut = self.placement.modes, self._cut
        left = prod(d[:cut]) * self.rank if cut > 1 else 0  # a factor itself is no state
        right = prod(d[cut:]) * self.rank if cut < len(d) - 1 else 0
        yield from self._row_products(0, cut, 0)
        yield from self._row_products(cut, len(d), left)
        yield Product("product", 2 * self.placement.generated * self.rank, left + right, self.placement.generated)

    def _row_products(self, first: int, after: int, held: int) -> Iterator[Product]:
        entries = self.placement.modes[first]
        for q in range(first + 1, after):
            before, mode = entries, self.placement.modes[q]
            entries = before * mode
            work = entries * self.rank
            # Backward each of the two takes a product, and a sum where it was repeated.
            yield Product(f"factor{q}", work, held + before * self.rank, work, (2 + (mode > 1) + (before > 1)) * work)

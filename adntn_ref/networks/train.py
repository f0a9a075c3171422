"""Chains of cores: the tensor train on the weight's modes, the matrix product operator on rows and columns.

One formula for both: ``X[n_0, ..., n_{K-1}] = sum over bonds of prod_k core{k}[b_k, n_k, b_{k+1}]``, with
b_0 = b_K = 1; for the operator n_k = (r_k, c_k). The tensor train is Oseledets's (SIAM J. Sci. Comput. 33, 2295, 2011).
For weights of networks see Novikov et al. (arXiv 1509.06569) and, the baseline of this line of work, Gao et al.
(arXiv 1904.06194).
"""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array, dtype_name
from adntn_ref.networks.base import Params
from adntn_ref.networks.decompose import ErrorBound, chain_svd, checked, unfolding_bound
from adntn_ref.networks.multilinear import Multilinear, Product, caps, fix, place
from adntn_ref.networks.sites import Site, apply_chain, crossing, rows_of
from adntn_ref.networks.spec import layout_spec, positive_integer
from adntn_ref.program.modes import Layout, resolve_layout


class Chain(Multilinear):
    """A row of cores, each tied to the next by a bond."""

    chi: int

    @property
    @abstractmethod
    def _sizes(self) -> tuple[int, ...]:
        """n_0, ..., n_{K-1}."""

    @property
    def bonds(self) -> tuple[int, ...]:
        """b_0, ..., b_K, each min(chi, what stands to its left, what stands to its right)."""
        return caps(self._sizes, self.chi)

    def _summed(self, name: str) -> int:
        return self.core_shapes[name][0]

    def _generate(self, params: Params) -> Array:
        """Contract from the left; the state is a matrix (entries so far, bond)."""
        bonds = self.bonds
        state = ops.reshape(params["core0"], shape=(-1, bonds[1]))
        for k, n in enumerate(self._sizes[1:], start=1):
            core = ops.reshape(params[f"core{k}"], shape=(bonds[k], n * bonds[k + 1]))
            state = ops.reshape(ops.matrix_product(state, core), shape=(-1, bonds[k + 1]))
        return self._order.extract(ops.reshape(state, shape=(-1,)))

    @property
    @abstractmethod
    def _sites(self) -> tuple[Site, ...]:
        """The shape of every core as (bond, rows, columns, bond)."""

    def _apply(self, params: Params, x: Array) -> Array:
        return apply_chain([params[name] for name in self.core_shapes], self._sites, x, self.placement.shape[0])

    def _products(self) -> Iterable[Product]:
        entries, before, bonds = 1, 0, self.bonds
        for k, n in enumerate(self._sizes):
            entries *= n
            after = entries * bonds[k + 1]
            yield Product(f"core{k}", 2 * after * bonds[k] if k else 0, before, after)
            before = after

    def decompose(self, target: Array) -> Params:
        """Return cores for ``target`` by TT-SVD: left-orthogonal but for the last, in the target's dtype.

        The weight is off by at most sqrt(K - 1) times the least possible, see :meth:`error_bound`; exact where the
        bonds reach the ranks of the unfoldings.

        Parameters
        ----------
        target : array of the weight's shape

        Raises
        ------
        ArrayError, DTypeError, NonFiniteError, MemoryLimitError
            For a target of another shape, not floating or complex, not finite, or too large.
        """
        tensor = self._order.embed(checked(target, self.placement.shape, prod(self._sizes)))
        cores = chain_svd(tensor, self._sizes, self.bonds)
        dtype = dtype_name(target)
        return {
            name: np.ascontiguousarray(core.reshape(shape), dtype=dtype)
            for (name, shape), core in zip(self.core_shapes.items(), cores, strict=True)
        }

    def error_bound(self, target: Array) -> ErrorBound:
        """Return how close to ``target`` any cores come at most, and how close :meth:`decompose` comes at least.

        The optima of the unfoldings of all K - 1 cuts, see :mod:`adntn_ref.networks.decompose`.
        """
        tensor = self._order.embed(checked(target, self.placement.shape, prod(self._sizes)))
        inside = self._order.embed(np.ones(self.placement.shape)) > 0
        lefts = [prod(self._sizes[:k]) for k in range(1, len(self._sizes))]
        return unfolding_bound(
            [
                (tensor.reshape(left, -1), inside.reshape(left, -1), bond)
                for left, bond in zip(lefts, self.bonds[1:-1], strict=True)
            ]
        )


@dataclass(frozen=True)
class TensorTrain(Chain):
    """Tensor train (matrix product state) on the modes.

    Cores are ``core{k}`` of shape (b_k, d_k, b_{k+1}).

    Parameters
    ----------
    shape : shape of the weight
    chi : largest bond
    modes, layout, row_modes, col_modes : sizes of the modes and where the weight's entries stand, as for the
        brick-wall; see :mod:`adntn_ref.program.modes`

    Examples
    --------
    >>> net = TensorTrain((120, 84), chi=4)
    >>> net.core_shapes["core5"], net.parameter_count
    ((4, 2, 4), 360)
    """

    title = "a tensor train"

    shape: tuple[int, ...]
    chi: int
    modes: tuple[int, ...] | None = None
    layout: str = "flat"
    row_modes: tuple[int, ...] | None = None
    col_modes: tuple[int, ...] | None = None
    placement: Layout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        place(self, chi=positive_integer(self.chi, "chi"))

    @property
    def _sizes(self) -> tuple[int, ...]:
        return self.placement.modes

    @property
    def apply_refusal(self) -> str:
        """Why :meth:`apply` cannot do without the weight; empty where it can."""
        return crossing(self.placement)

    @property
    def _sites(self) -> tuple[Site, ...]:
        rows, b = rows_of(self.placement) or (), self.bonds
        return tuple(
            (b[k], d if row else 1, 1 if row else d, b[k + 1])
            for k, (d, row) in enumerate(zip(self._sizes, rows, strict=True))
        )

    @property
    def core_shapes(self) -> dict[str, tuple[int, ...]]:
        """``core{k}`` of shape (b_k, d_k, b_{k+1})."""
        b = self.bonds
        return {f"core{k}": (b[k], d, b[k + 1]) for k, d in enumerate(self._sizes)}

    def to_spec(self) -> dict[str, Any]:
        """Return the specification as a JSON-able dict; ``ar.from_spec`` reads it back."""
        return {"network": "tt", **layout_spec(self.placement), "chi": self.chi}


@dataclass(frozen=True)
class MPO(Chain):
    """Matrix product operator (tensor-train matrix) on the weight's rows and columns.

    ``W[(i_0 .. i_{K-1}), (j_0 .. j_{K-1})] = sum over bonds of prod_k core{k}[b_k, i_k, j_k, b_{k+1}]``, with
    ``b_0 = b_K = 1`` and every bond min(chi, what stands to its left, what stands to its right).

    Parameters
    ----------
    shape : shape of the weight, read as shape[0] rows and the rest columns
    chi : largest bond
    row_modes, col_modes : sizes r_k and c_k, default twos; the shorter list is padded with ones. Their products may
        exceed rows and columns: what is generated beyond them is dropped, as with ``layout="axes"``.

    Examples
    --------
    >>> net = MPO((784, 256), chi=4, row_modes=(4, 7, 7, 4), col_modes=(4, 4, 4, 4))
    >>> net.core_shapes["core1"], net.parameter_count
    ((4, 7, 4, 4), 1024)
    """

    title = "an MPO"

    shape: tuple[int, ...]
    chi: int
    row_modes: tuple[int, ...] | None = None
    col_modes: tuple[int, ...] | None = None
    placement: Layout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        placement = resolve_layout(self.shape, None, "axes", self.row_modes, self.col_modes)
        length = max(len(placement.row_modes), len(placement.col_modes))
        rows = placement.row_modes + (1,) * (length - len(placement.row_modes))
        columns = placement.col_modes + (1,) * (length - len(placement.col_modes))
        padded = resolve_layout(self.shape, None, "axes", rows, columns)
        chi = positive_integer(self.chi, "chi")
        fix(self, shape=padded.shape, chi=chi, row_modes=rows, col_modes=columns, placement=padded)

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        return list(zip(self.placement.row_modes, self.placement.col_modes, strict=True))

    @property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(r * c for r, c in self._pairs)

    @property
    def _order(self) -> Layout:
        place = self.placement
        return resolve_layout(self.shape, None, "interleaved", place.row_modes, place.col_modes)

    @property
    def apply_refusal(self) -> str:
        """Why :meth:`apply` cannot do without the weight: it always can."""
        return ""

    @property
    def _sites(self) -> tuple[Site, ...]:
        b = self.bonds
        return tuple((b[k], r, c, b[k + 1]) for k, (r, c) in enumerate(self._pairs))

    @property
    def core_shapes(self) -> dict[str, tuple[int, ...]]:
        """``core{k}`` of shape (b_k, r_k, c_k, b_{k+1})."""
        b = self.bonds
        return {f"core{k}": (b[k], r, c, b[k + 1]) for k, (r, c) in enumerate(self._pairs)}

    def to_spec(self) -> dict[str, Any]:
        """Return the specification as a JSON-able dict; ``ar.from_spec`` reads it back."""
        place = self.placement
        modes = {"row_modes": list(place.row_modes), "col_modes": list(place.col_modes)}
        return {"network": "mpo", "shape": list(self.shape), **modes, "chi": self.chi}

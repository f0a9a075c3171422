"""The low-rank factorisation of a weight's matrix, the simplest rival of all."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array, dtype_name
from adntn_ref.networks.base import Params
from adntn_ref.networks.decompose import ErrorBound, checked, singular, truncation
from adntn_ref.networks.multilinear import Multilinear, Product, fix
from adntn_ref.networks.spec import positive_integer
from adntn_ref.program.modes import Layout, matrix_shape, positive_integers, resolve_layout


@dataclass(frozen=True)
class LowRank(Multilinear):
    """``W = left @ right``, with ``left`` of shape (rows, rank) and ``right`` of shape (rank, columns).

    Parameters
    ----------
    shape : shape of the weight, read as shape[0] rows and the rest columns
    rank : number of columns of ``left``

    Examples
    --------
    >>> LowRank((120, 84), rank=2).core_shapes
    {'left': (120, 2), 'right': (2, 84)}
    """

    title = "a low-rank network"

    shape: tuple[int, ...]
    rank: int
    placement: Layout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        shape = positive_integers(self.shape, "shape")
        resolve_layout(shape)  # refuses impossible sizes
        rows, columns = matrix_shape(shape)
        placement = Layout(shape, (rows, columns), "axes", (rows,), (columns,))
        fix(self, shape=shape, rank=positive_integer(self.rank, "rank"), placement=placement)

    @property
    def core_shapes(self) -> dict[str, tuple[int, ...]]:
        """``left`` (rows, rank) and ``right`` (rank, columns)."""
        rows, columns = self.placement.modes
        return {"left": (rows, self.rank), "right": (self.rank, columns)}

    def to_spec(self) -> dict[str, Any]:
        """Return the specification as a JSON-able dict; ``ar.from_spec`` reads it back."""
        return {"network": "lowrank", "shape": list(self.shape), "rank": self.rank}

    def _summed(self, name: str) -> int:
        return self.rank if name == "right" else 1

    def _generate(self, params: Params) -> Array:
        return ops.reshape(ops.matrix_product(params["left"], params["right"]), shape=self.shape)

    @property
    def apply_refusal(self) -> str:
        """Why :meth:`apply` cannot do without the weight: it always can."""
        return ""

    def _apply(self, params: Params, x: Array) -> Array:
        between = ops.matrix_product(x, ops.transpose(params["right"]))
        return ops.matrix_product(between, ops.transpose(params["left"]))

    def _products(self) -> Iterable[Product]:
        return [Product("product", 2 * self.weights * self.rank, 0, self.weights)]

    def decompose(self, target: Array) -> Params:
        """Return the best factors for ``target``: its truncated SVD, the singular values shared evenly by both.

        Above the matrix's own rank nothing is left to fit; further columns of ``left`` are zero, and further rows of
        ``right`` repeat its first ones, so that training can still use them.

        Parameters
        ----------
        target : array of the weight's shape

        Raises
        ------
        ArrayError, DTypeError, NonFiniteError, MemoryLimitError
            For a target of another shape, not floating or complex, not finite, or too large.
        """
        rows, columns = self.placement.modes
        self.require_memory("float64", backward=False)
        u, s, v = singular(checked(target, self.shape, self.weights).reshape(rows, columns))
        root = np.sqrt(s[: self.rank])
        left = np.zeros((rows, self.rank), u.dtype)
        left[:, : len(root)] = u[:, : len(root)] * root
        right = np.resize(root[:, None] * v[: len(root)], (self.rank, columns))
        dtype = dtype_name(target)
        return {"left": left.astype(dtype), "right": right.astype(dtype)}

    def error_bound(self, target: Array) -> ErrorBound:
        """Return the least distance from ``target``, which :meth:`decompose` reaches: both bounds are equal."""
        matrix = checked(target, self.shape, self.weights).reshape(self.placement.modes)
        optimum = truncation(matrix, self.rank)
        return ErrorBound(optimum, optimum)

"""Weight <-> modes: where each entry of a weight stands in the generated tensor.

The generator makes P = d_0 d_1 ... d_{Q-1} >= N numbers; N of them are the weight and the other P - N ("padding") are
generated and dropped. Mode 0 is the most significant (C order).

- ``flat``: the first N numbers, reshaped.
- ``axes``: the weight is a matrix of shape[0] rows; row modes come first, then column modes. Of the R x C matrix the
  block of the first rows and columns is the weight.
- ``interleaved``: the same block, the modes in the order row, column, row, column, ...; what is left of the longer list
  comes last. It keeps rows and columns together where a tree or a tensor train is cut.

The power of two is Qing et al.'s (arXiv 2305.06058); the padding and the other two layouts are ours.
"""

import itertools
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from math import prod
from operator import index
from typing import TypeVar

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array
from adntn_ref.errors import SpecError

MAX_LENGTH = 1000
"""More sizes than this are refused before they are looked at."""

MAX_ENTRIES = 2**64
"""More weights, or more generated entries, than this are refused: no memory holds them."""

T = TypeVar("T")

LAYOUTS = ("flat", "axes", "interleaved")
MAX_MODES = 64
"""NumPy's limit of axes; 2^64 weights are beyond any memory anyway."""


def binary_modes(count: int, least: int) -> tuple[int, ...]:
    """Return the shortest list of twos, at least ``least`` of them, whose product reaches ``count``.

    Examples
    --------
    >>> binary_modes(10080, least=2)
    (2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2)
    """
    return (2,) * max(least, (count - 1).bit_length())


@dataclass(frozen=True)
class Layout:
    """The place of a weight's entries in the generated tensor; made by :func:`resolve_layout`.

    ``modes`` are in the order of the network; ``row_modes`` and ``col_modes`` are empty for ``flat``.
    """

    shape: tuple[int, ...]
    modes: tuple[int, ...]
    kind: str = "flat"
    row_modes: tuple[int, ...] = ()
    col_modes: tuple[int, ...] = ()

    @property
    def weights(self) -> int:
        """N, the number of entries of the weight."""
        return prod(self.shape)

    @property
    def generated(self) -> int:
        """P, the number of entries of the generated tensor."""
        return prod(self.modes)

    def extract(self, state: Array) -> Array:
        """Take the weight out of the generated tensor.

        Parameters
        ----------
        state : array, shape (P,)

        Returns
        -------
        array, shape ``self.shape``
        """
        if self.kind != "flat":
            state = ops.reshape(self._to_matrix(state), shape=(prod(self.row_modes), prod(self.col_modes)))
            rows, columns = matrix_shape(self.shape)
            block = ops.getitem(state, index=(slice(rows), slice(columns)))
            if columns < prod(self.col_modes):
                block = ops.concatenate([block])  # a copy: contiguous, and no view that holds the padding in memory
            return ops.reshape(block, shape=self.shape)
        if self.weights != self.generated:
            state = ops.getitem(state, index=slice(self.weights))
        return ops.reshape(state, shape=self.shape)

    def embed(self, weight: Array) -> Array:
        """Put a cotangent of the weight into the generated tensor, zeros in the padding: the adjoint of ``extract``.

        Parameters
        ----------
        weight : array, shape ``self.shape``

        Returns
        -------
        array, shape (P,)
        """
        if self.kind != "flat":
            rows, columns = matrix_shape(self.shape)
            block = ops.reshape(weight, shape=(rows, columns))
            whole = (prod(self.row_modes), prod(self.col_modes))
            if whole != (rows, columns):
                block = ops.scatter_add(block, index=(slice(rows), slice(columns)), shape=whole)
            return self._from_matrix(block)
        flat = ops.reshape(weight, shape=(self.weights,))
        if self.weights == self.generated:
            return flat
        return ops.scatter_add(flat, index=slice(self.weights), shape=(self.generated,))

    def _places(self) -> tuple[int, ...]:
        """Return, for each row mode and then each column mode, its place among the interleaved ``self.modes``."""
        order = interleave(
            [("row", i) for i in range(len(self.row_modes))], [("column", i) for i in range(len(self.col_modes))]
        )
        place = {mode: i for i, mode in enumerate(order)}
        rows = [place["row", i] for i in range(len(self.row_modes))]
        return (*rows, *(place["column", i] for i in range(len(self.col_modes))))

    def _to_matrix(self, state: Array) -> Array:
        if self.kind == "axes":
            return state
        return ops.transpose(ops.reshape(state, shape=self.modes), axes=self._places())

    def _from_matrix(self, block: Array) -> Array:
        if self.kind != "axes":
            places = self._places()
            back = tuple(places.index(i) for i in range(len(places)))
            block = ops.transpose(ops.reshape(block, shape=(*self.row_modes, *self.col_modes)), axes=back)
        return ops.reshape(block, shape=(self.generated,))


def interleave(first: list[T], second: list[T]) -> list[T]:
    """Return first[0], second[0], first[1], second[1], ..., what is left of the longer list last."""
    both = [x for pair in zip(first, second, strict=False) for x in pair]
    common = min(len(first), len(second))
    return [*both, *first[common:], *second[common:]]


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return rows and columns of a weight read as a matrix: shape[0] and the product of the rest."""
    return shape[0], prod(shape[1:])


def resolve_layout(
    shape: object, modes: object = None, kind: str = "flat", row_modes: object = None, col_modes: object = None
) -> Layout:
    """Check a weight's shape and modes and return their layout; what was not given takes the binary default.

    Raises
    ------
    SpecError
        For a shape or modes that are not positive integers, an unknown layout, modes given for the wrong layout, fewer
        than two modes, or modes whose product is below the weight's size.
    """
    sizes = positive_integers(shape, "shape")
    _require_possible(sizes, "shape")
    if kind not in LAYOUTS:
        raise SpecError(f"no layout is called {shown(kind)}; allowed: {', '.join(LAYOUTS)}")
    if kind == "flat":
        if row_modes is not None or col_modes is not None:
            raise SpecError('row_modes and col_modes go with layout="axes" or "interleaved"; layout="flat" takes modes')
        chosen = binary_modes(prod(sizes), 2) if modes is None else positive_integers(modes, "modes")
        _require_room(chosen, prod(sizes), "modes", "weights")
        layout = Layout(sizes, chosen)
    else:
        rows, columns = matrix_shape(sizes)
        row = binary_modes(rows, 1) if row_modes is None else positive_integers(row_modes, "row_modes")
        column = binary_modes(columns, 1) if col_modes is None else positive_integers(col_modes, "col_modes")
        _require_room(row, rows, "row_modes", "rows")
        _require_room(column, columns, "col_modes", "columns")
        chosen = (*row, *column) if kind == "axes" else tuple(interleave(list(row), list(column)))
        if modes is not None and positive_integers(modes, "modes") != chosen:
            raise SpecError(
                f"layout={kind!r} takes row_modes and col_modes; the modes then are {chosen}, not {shown(modes)}"
            )
        layout = Layout(sizes, chosen, kind, row, column)
    if not 2 <= len(layout.modes) <= MAX_MODES:
        raise SpecError(f"a network needs 2 to {MAX_MODES} modes, got {len(layout.modes)}")
    _require_possible(layout.modes, "modes")
    return layout


def positive_integers(values: object, what: str) -> tuple[int, ...]:
    """Return ``values`` as a tuple of integers from 1 to 2^64, or raise SpecError naming ``what``."""
    unordered = isinstance(values, (str, bytes, Mapping, Set))
    if unordered or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise SpecError(f"{what} must be a sequence of integers >= 1, got {shown(values)}")
    given = tuple(itertools.islice(values, MAX_LENGTH + 1))
    if len(given) > MAX_LENGTH:
        raise SpecError(f"{what} must hold at most {MAX_LENGTH} integers")
    numbers = [as_positive(value) for value in given]
    if None in numbers:
        raise SpecError(f"{what} must hold integers >= 1, at most 2^64, got {shown(given)}")
    if not numbers:
        raise SpecError(f"{what} must not be empty")
    return tuple(number for number in numbers if number is not None)


def as_positive(value: object) -> int | None:
    """Return ``value`` as an int if it is an integer from 1 to 2^64, not a bool; else None."""
    if isinstance(value, (bool, np.bool_)):  # NumPy 2.0 still takes its own for an index, with a warning
        return None
    try:
        number = index(value)  # type: ignore[arg-type]
    except TypeError:
        return None
    return number if 1 <= number <= MAX_ENTRIES else None


def shown(value: object) -> str:
    """Return ``value`` as a message shows it: its start where it is long. Python prints no integer of 5,000 digits."""
    if isinstance(value, (tuple, list)) and len(value) > 20:
        return f"{shown(value[:20])} and {len(value) - 20} more"
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too long to print"
    return text if len(text) <= 200 else text[:200] + " ..."


def _require_possible(sizes: tuple[int, ...], what: str) -> None:
    total = 1
    for size in sizes:  # stops early: the product of 1,000 large numbers takes long
        total *= size
        if total > MAX_ENTRIES:
            raise SpecError(f"{what} {shown(sizes)} makes more than 2^64 numbers")


def _require_room(modes: tuple[int, ...], count: int, what: str, of: str) -> None:
    if prod(modes) < count:
        raise SpecError(f"{what} {modes} make {prod(modes)} numbers, too few for {count} {of}")

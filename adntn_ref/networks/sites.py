"""Site by site: a layer's outputs ``x @ W.T`` without its weight, one core after another.

The batch stays the last index of the state, so that every core is one product with at least so many columns. From the
left, with the rows made so far in front,

``S[(i_0 .. i_k), b', (j_{k+1} .., x)] = sum_{b, j_k} A_k[b, i_k, j_k, b'] S[(.. i_{k-1}), (b, j_k), (j_{k+1} .., x)]``

and from the right the mirror image, with the columns that are left in front. A mode of a tensor train is a row
(j_k = 1) or a column (i_k = 1). The order of contraction is that of Novikov et al. (arXiv 1509.06569); which end comes
first is chosen by counting.
"""

from collections.abc import Sequence
from math import prod

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array
from adntn_ref.program.modes import Layout, interleave, matrix_shape

Site = tuple[int, int, int, int]
"""The shape of a core: bond, rows, columns, bond."""


def rows_of(layout: Layout) -> tuple[bool, ...] | None:
    """Return for each mode whether it is one of the rows, not of the columns; None where a mode is of both.

    Examples
    --------
    >>> from adntn_ref.program.modes import resolve_layout
    >>> rows_of(resolve_layout((4, 4))), rows_of(resolve_layout((3, 4)))
    ((True, True, False, False), None)
    """
    if layout.kind == "axes":
        return (True,) * len(layout.row_modes) + (False,) * len(layout.col_modes)
    if layout.kind == "interleaved":
        return tuple(interleave([True] * len(layout.row_modes), [False] * len(layout.col_modes)))
    for cut in range(len(layout.modes) + 1):
        if (prod(layout.modes[:cut]), prod(layout.modes[cut:])) == matrix_shape(layout.shape):
            return (True,) * cut + (False,) * (len(layout.modes) - cut)
    return None


def crossing(layout: Layout) -> str:
    """Return why no product goes site by site with this layout; empty where one does."""
    if rows_of(layout) is not None:
        return ""
    return (
        f"its modes {layout.modes} cross the border between rows and columns; layout='axes' or 'interleaved' keeps it"
    )


def operations(sites: Sequence[Site], left: bool) -> int:
    """Return multiplications and additions for one input, from the left or from the right."""
    total = 0
    done, todo = 1, prod(c for _, _, c, _ in sites)
    for before, r, c, after in sites if left else reversed(sites):
        todo //= c
        total += 2 * before * r * c * after * done * todo
        done *= r
    return total


def apply_chain(cores: Sequence[Array], sites: Sequence[Site], x: Array, rows: int) -> Array:
    """Return ``x @ W.T`` for a chain of cores.

    Parameters
    ----------
    cores : of the shapes ``sites``, possibly without the indices of size 1
    x : array, shape (batch, columns), at most the product of all columns
    rows : of the weight, at most the product of all rows

    Returns
    -------
    array, shape (batch, rows)
    """
    batch = x.shape[0]
    left = operations(sites, left=True) <= operations(sites, left=False)
    state, done, todo = turned(x, prod(c for _, _, c, _ in sites)), 1, prod(c for _, _, c, _ in sites)
    for core, (before, r, c, after) in list(zip(cores, sites, strict=True))[:: 1 if left else -1]:
        todo //= c
        if left:
            core = ops.transpose(ops.reshape(core, shape=(before, r, c, after)), axes=(1, 3, 0, 2))
            matrix = ops.reshape(core, shape=(r * after, before * c))
            state = ops.reshape(state, shape=(done, before * c, todo * batch))
        else:
            matrix = ops.reshape(core, shape=(before * r, c * after))
            state = ops.reshape(state, shape=(todo, c * after, done * batch))
        state = ops.matrix_product(matrix, state)
        done *= r
    return back(ops.reshape(state, shape=(done, batch)), rows)


def turned(x: Array, columns: int) -> Array:
    """Return the inputs as (columns, batch), with zeros for the columns that only the padding has."""
    batch, given = x.shape
    if given < columns:
        x = ops.scatter_add(x, index=(slice(batch), slice(given)), shape=(batch, columns))
    return ops.transpose(x)


def back(y: Array, rows: int) -> Array:
    """Return the outputs as (batch, rows), without those of the padding; a view."""
    y = ops.transpose(y)
    return ops.getitem(y, index=(slice(y.shape[0]), slice(rows))) if rows < y.shape[1] else y

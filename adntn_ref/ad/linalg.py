"""Factorisations and solutions of matrices, and of stacks of them, as differentiable functions.

A primitive has one value, so the factors of a QR or a singular value decomposition lie end to end in it, and
:func:`qr` and :func:`svd` take them apart again. The adjoints stand in :mod:`adntn_ref.ad.linalg_rules`.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array, is_complex
from adntn_ref.ad.ops import conj, function, primitive
from adntn_ref.ad.tape import stop_gradient
from adntn_ref.errors import ArrayError

Shape = tuple[int, ...]


@primitive
def qr_packed(xp: Any, x: Array) -> Array:
    """Q and R of x = Q R, each in C order, end to end along the last axis."""
    return _packed(xp, xp.linalg.qr(x))


@primitive
def svd_packed(xp: Any, x: Array) -> Array:
    """U, S and V^H of x = U diag(S) V^H, each in C order, end to end along the last axis; S is cast to x's dtype."""
    try:
        u, s, vh = xp.linalg.svd(x, full_matrices=False)
    except np.linalg.LinAlgError as error:
        raise ArrayError(f"svd of a matrix of shape {tuple(x.shape)} did not converge: does it hold NaN?") from error
    return _packed(xp, (u, s.astype(x.dtype)[..., None], vh))


@primitive
def solve_matrix(xp: Any, a: Array, b: Array) -> Array:
    """Y = a^-1 b for square matrices a and matrices b, and stacks of them."""
    try:
        return xp.linalg.solve(a, b)
    except np.linalg.LinAlgError as error:
        raise ArrayError(f"solve with a singular matrix of shape {tuple(a.shape)}") from error


def _packed(xp: Any, factors: Sequence[Array]) -> Array:
    parts = [xp.reshape(factor, (*factor.shape[:-2], prod(factor.shape[-2:]))) for factor in factors]
    return xp.concatenate(parts, axis=-1)


def unpacked(packed: Array, shapes: Sequence[Shape]) -> list[Array]:
    """Take matrices of the given shapes, which lie end to end along the last axis, apart again."""
    batch, parts, start = tuple(stop_gradient(packed).shape[:-1]), [], 0
    for shape in shapes:
        end = start + prod(shape)
        parts.append(ops.reshape(ops.getitem(packed, index=(..., slice(start, end))), shape=(*batch, *shape)))
        start = end
    return parts


def factor_shapes(name: str, x: Array) -> list[Shape]:
    """Return the shapes of the factors of the (m, n) matrices x, with k = min(m, n).

    (m, k) and (k, n) for ``"qr"``; (m, k), (k, 1) and (k, n) for ``"svd"``.
    """
    m, n = _matrix(name, x)
    k = min(m, n)
    return [(m, k), (k, n)] if name == "qr" else [(m, k), (k, 1), (k, n)]


def _matrix(name: str, x: Array) -> tuple[int, int]:
    shape = tuple(getattr(x, "shape", ()))
    if len(shape) < 2 or 0 in shape:
        raise ArrayError(f"{name} takes matrices (..., m, n) that are not empty, got shape {shape}")
    return shape[-2], shape[-1]


@function
def qr(x: Array) -> tuple[Array, Array]:
    """Return Q (..., m, k) with orthonormal columns and upper triangular R (..., k, n), k = min(m, n), of x = Q R.

    Signs are LAPACK's: the diagonal of R is real, of either sign.

    Raises
    ------
    ArrayError
        If x is not a matrix or a stack of matrices.
    TapeError
        In the backward pass, where the first k columns of x are linearly dependent: Q is not unique there.

    Examples
    --------
    >>> import numpy as np
    >>> q, r = qr(np.array([[0.0, 2.0], [1.0, 3.0]]))
    >>> (q @ r).round(12)
    array([[0., 2.],
           [1., 3.]])
    """
    shapes = factor_shapes("qr", x)
    q, r = unpacked(qr_packed(x), shapes)
    return q, r


@function
def svd(x: Array) -> tuple[Array, Array, Array]:
    """Return U (..., m, k), S (..., k), real and falling, and V^H (..., k, n), k = min(m, n), of x = U diag(S) V^H.

    The derivative of singular vectors exists where the singular values differ from each other (and from 0, unless x
    is real and square); that of the values alone everywhere, up to the kinks where two of them cross: one of the
    subgradients is returned there. Singular vectors of a complex matrix have a phase that nothing fixes, so a loss
    must not depend on it.

    Raises
    ------
    ArrayError
        If x is not a matrix or a stack of matrices.
    TapeError
        In the backward pass, where a loss that depends on singular vectors has no derivative, for one of the reasons
        above.

    Examples
    --------
    >>> import numpy as np
    >>> u, s, vh = svd(np.array([[0.0, 2.0], [1.0, 0.0]]))
    >>> s
    array([2., 1.])
    """
    shapes = factor_shapes("svd", x)
    u, s, vh = unpacked(svd_packed(x), shapes)
    return u, ops.real(ops.reshape(s, shape=tuple(stop_gradient(s).shape[:-1]))), vh


@function
def solve(a: Array, b: Array) -> Array:
    """Return the solution y of a y = b: a (..., n, n), b (..., n, m), or a vector (n,).

    Raises
    ------
    ArrayError
        For shapes that do not fit each other, and a singular matrix.
    """
    rows, columns = _matrix("solve", a)
    shape = tuple(getattr(b, "shape", ()))
    if rows != columns or not shape or shape[-2 if len(shape) > 1 else 0] != rows:
        raise ArrayError(f"solve takes a (..., n, n) and b (..., n, m) or (n,), got {tuple(a.shape)} and {shape}")
    if len(shape) > 1:
        return solve_matrix(a, b)
    y = solve_matrix(a, ops.reshape(b, shape=(*shape, 1)))
    return ops.reshape(y, shape=tuple(stop_gradient(y).shape[:-1]))


@function
def norm(x: Array) -> Array:
    """Return the square root of the sum of all squared absolute values; it has no derivative at x = 0."""
    squares = ops.real(conj(x) * x) if is_complex(stop_gradient(x)) else x * x
    return ops.sqrt(ops.sum(squares))


@function
def diagonal(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """Return the entries x[.., i, .., i + offset, ..] of the two axes; they become the last axis, as in NumPy.

    Raises
    ------
    ArrayError
        For axes that x does not have, or one axis twice.
    """
    shape = tuple(getattr(x, "shape", ()))
    n = len(shape)
    if not (-n <= axis1 < n and -n <= axis2 < n) or axis1 % n == axis2 % n:
        raise ArrayError(f"diagonal takes two different axes, got {axis1} and {axis2} of shape {shape}")
    kept = tuple(i for i in range(n) if i not in (axis1 % n, axis2 % n))
    rows, columns = shape[axis1], shape[axis2]
    flat = ops.reshape(
        ops.transpose(x, axes=(*kept, axis1 % n, axis2 % n)), shape=(*(shape[i] for i in kept), rows * columns)
    )
    # In the flat matrix a diagonal is every (columns + 1)-th entry.
    start = offset if offset >= 0 else -offset * columns
    length = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    return ops.getitem(flat, index=(..., slice(start, start + length * (columns + 1), columns + 1)))


@function
def trace(x: Array) -> Array:
    """Return the sum of the entries x[i, i, ..] of the first two axes."""
    return ops.sum(diagonal(x), axis=-1)

"""The adjoints of QR, singular value decomposition and solution; notation as in :mod:`adntn_ref.ad.rules`.

They are written in differentiable functions, so a gradient of a gradient needs nothing more. Where a factor is not a
differentiable function of the matrix the rule raises :class:`~adntn_ref.errors.TapeError` in place of returning
numbers that mean nothing.
"""

from typing import Any

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array, backend_of, dtype_name, is_complex, namespace
from adntn_ref.ad.linalg import factor_shapes, solve_matrix, unpacked
from adntn_ref.ad.ops import PRIMITIVES, conj, matrix_product
from adntn_ref.ad.rules import like, shape_of, swap
from adntn_ref.ad.tape import is_raw, stop_gradient
from adntn_ref.errors import TapeError


def _h(x: Array) -> Array:
    """Return the conjugate transpose of matrices."""
    return swap(conj(x))


def _host(x: Array) -> Any:
    """Return the raw numbers of x on the host."""
    raw = stop_gradient(x)
    return np.asarray(backend_of(raw).to_host(raw))


def _eps(x: Any) -> float:
    return float(np.finfo(x.dtype).eps)


def _solve_first(g: Array, y: Array, a: Array, b: Array) -> Array:
    """Y = a^-1 b:  ga = -a^-H g y^H."""
    return like(a, -matrix_product(solve_matrix(_h(a), g), _h(y)))


def _solve_second(g: Array, y: Array, a: Array, b: Array) -> Array:
    """Y = a^-1 b:  gb = a^-H g."""
    return like(b, solve_matrix(_h(a), g))


def _qr(g: Array, y: Array, x: Array) -> Array:
    """X = Q R; for m < n, x = [A | B], and R = [U | Q^H B] with A = Q U: what comes through B is added to Q's."""
    shapes = factor_shapes("qr", x)
    (q, r), (gq, gr) = unpacked(y, shapes), unpacked(g, shapes)
    m, n = shape_of(x)[-2:]
    if m >= n:
        return _qr_tall(q, r, gq, gr)
    left, right = (..., slice(m)), (..., slice(m, n))
    gv = gr[right]
    ga = _qr_tall(q, r[left], gq + matrix_product(x[right], _h(gv)), gr[left])
    axis = len(shape_of(x)) - 1
    return ops.join(ga, matrix_product(q, gv), axis=axis)


def _qr_tall(q: Array, r: Array, gq: Array, gr: Array) -> Array:
    """X = Q R:  gx = (gq + Q C(M)) R^-H,  M = R gr^H - gq^H Q,  C(M) = its lower part, mirrored, the diagonal real.

    From Q^H dQ anti-Hermitian and dR R^-1 upper triangular with a real diagonal (Roberts, Roberts, arXiv 2009.10071).
    """
    edge = abs(np.diagonal(_host(r), axis1=-2, axis2=-1))
    if (edge.min(axis=-1) <= _eps(edge) * edge.max(axis=-1)).any():
        raise TapeError(f"qr has no derivative where columns are linearly dependent: R has the diagonal {edge}")
    m = matrix_product(r, _h(gr)) - matrix_product(_h(gq), q)
    lower = m * _strictly_lower(m)
    mirrored = lower + _h(lower) + ops.real(m) * ops.unit_matrix(shape_of(m)[-1], ops.real(m))
    return _h(solve_matrix(r, _h(gq + matrix_product(q, mirrored))))


def _strictly_lower(m: Array) -> Array:
    raw, size = stop_gradient(ops.real(m)), shape_of(m)[-1]
    xp = namespace(raw)
    return xp.tril(xp.ones((size, size), dtype=raw.dtype), -1)


def _svd(g: Array, y: Array, x: Array) -> Array:
    """X = U S V^H:  gx = U (diag(gs) + K) V^H, plus what of gu and gv lies outside the spans of U and V.

    With P = U^H gu - gu^H U and N = V^H gv - gv^H V, off the diagonal
    K_jk = ((P + N)_jk / (s_k - s_j) + (P - N)_jk / (s_k + s_j)) / 2, and on it i Im(U^H gu)_jj / s_j (Townsend,
    "Differentiating the singular value decomposition", 2016; the phase: Wan, Zhang, arXiv 1909.02659).
    """
    shapes = factor_shapes("svd", x)
    (u, s, vh), (gu, gs, gvh) = unpacked(y, shapes), unpacked(g, shapes)
    s = swap(ops.real(s))  # (..., 1, k)
    inner = swap(ops.real(gs)) * ops.unit_matrix(shape_of(s)[-1], s)
    if is_raw(g, y, x) and not _host(gu).any() and not _host(gvh).any():
        return matrix_product(matrix_product(u, inner), vh)  # of the values alone: nothing to divide by
    overlap_u, overlap_v = matrix_product(_h(u), gu), matrix_product(vh, _h(gvh))
    _require_vectors(_host(s), _host(gu), _host(gvh), _host(overlap_u), _host(overlap_v), shape_of(x)[-2:])
    p, n = overlap_u - _h(overlap_u), overlap_v - _h(overlap_v)
    inner = inner + 0.5 * ((p + n) * _off_diagonal(s - swap(s)) + (p - n) * _off_diagonal(s + swap(s)))
    if is_complex(stop_gradient(x)):
        inner = inner + 1j * ops.imag(overlap_u) * ops.unit_matrix(shape_of(s)[-1], s) / s
    gx = matrix_product(matrix_product(u, inner), vh)
    rows, columns = shape_of(x)[-2:]
    if rows > columns:
        gx = gx + matrix_product((gu - matrix_product(u, overlap_u)) / s, vh)
    if columns > rows:
        gx = gx + matrix_product(u, (gvh - matrix_product(_h(overlap_v), vh)) / swap(s))
    return like(x, gx)


def _off_diagonal(d: Array) -> Array:
    """Return 1 / d off the diagonal, 0 on it."""
    unit = ops.unit_matrix(shape_of(d)[-1], d)
    return (1 - unit) / (d + unit * _one_where_zero(d, unit))


def _one_where_zero(d: Array, unit: Array) -> Array:
    """Return what, added on the diagonal, keeps it from 0: there d is 0 or 2 s, and the quotient is dropped."""
    return ops.astype(stop_gradient(d) == 0, dtype=dtype_name(stop_gradient(unit)))


def _require_vectors(s: Any, gu: Any, gvh: Any, overlap_u: Any, overlap_v: Any, shape: tuple[int, ...]) -> None:
    """Refuse a derivative of singular vectors that does not exist."""
    largest = s[..., :1]
    tolerance = max(shape) * _eps(s) * largest
    close = (s[..., :-1] - s[..., 1:]) <= tolerance
    if close.any():
        raise TapeError(
            f"svd: singular vectors have no derivative where two singular values agree, got {s.reshape(-1)[:8]};"
            " a loss of the singular values alone has one"
        )
    divides = shape[-2] != shape[-1] or np.iscomplexobj(overlap_u)
    if divides and (s <= tolerance).any():
        raise TapeError(
            f"svd: singular vectors have no derivative where a singular value is 0, got {s.reshape(-1)[:8]}"
        )
    if np.iscomplexobj(overlap_u):
        turned = np.diagonal(overlap_u + overlap_v, axis1=-2, axis2=-1).imag
        if abs(turned).max() > _eps(s) ** 0.5 * max(abs(gu).max(), abs(gvh).max()):
            raise TapeError(
                "svd of a complex matrix: the loss depends on the phases of singular vectors, which nothing fixes, so"
                " it has no derivative; use U and V^H in products where the phases cancel"
            )


PRIMITIVES["solve_matrix"].rules = (_solve_first, _solve_second)
PRIMITIVES["qr_packed"].rules = (_qr,)
PRIMITIVES["svd_packed"].rules = (_svd,)

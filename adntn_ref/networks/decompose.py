r"""Direct decompositions: cores for a given weight by singular value decompositions, and how far off they are.

The best approximation of a matrix by one of rank r keeps the r largest singular values; it is off by
:math:`\sqrt{\sum_{i>r} \sigma_i^2}` in the Frobenius norm (Eckart and Young, Psychometrika 1, 211, 1936). A tensor
format caps the ranks of several matrices at once, its *unfoldings*; with :math:`\epsilon_k` the optimum of the k-th,

- no cores are off by less than :math:`\max_k \epsilon_k`,
- the decompositions here are off by at most :math:`\sqrt{\sum_k \epsilon_k^2}` (TT-SVD: Oseledets, SIAM J. Sci.
  Comput. 33, 2295, 2011, theorem 2.2; HOSVD: De Lathauwer, De Moor, Vandewalle, SIAM J. Matrix Anal. Appl. 21, 1253,
  2000, property 10), which is at most :math:`\sqrt{\text{number of unfoldings}}` times the optimum.

A weight smaller than the generated tensor is decomposed with zeros in the padding. The upper bound holds as it stands;
the lower one then takes only the rows or columns of an unfolding that hold no padding, since the best cores are free
to put anything there.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from adntn_ref.ad.arrays import COMPLEX, REAL, Array, dtype_name, require_finite, require_inexact
from adntn_ref.errors import ArrayError
from adntn_ref.networks.fitting import SMALL_BYTES
from adntn_ref.program.memory import require_memory


@dataclass(frozen=True)
class ErrorBound:
    """How far from a target the weights of a network must be, and how far those of ``decompose`` can be.

    Frobenius norms of the difference, not divided by that of the target.

    Attributes
    ----------
    lower : no parameters of the network come closer than this
    upper : ``decompose`` comes at least as close as this
    """

    lower: float
    upper: float


def checked(target: Array, shape: tuple[int, ...], generated: int) -> Array:
    """Return a target in double precision, on the host.

    Parameters
    ----------
    target : array of ``shape``, float32, float64, complex64 or complex128
    generated : P, the entries of the generated tensor, for the memory limit

    Raises
    ------
    ArrayError, DTypeError, NonFiniteError, MemoryLimitError
    """
    if not isinstance(target, (np.ndarray, np.generic)):
        raise ArrayError(f"the target must be a NumPy array, got a {type(target).__name__}; LAPACK works on those")
    if tuple(target.shape) != shape:
        raise ArrayError(f"the target has shape {tuple(target.shape)}, the network makes {shape}")
    require_inexact(target, "the target")
    require_finite(target, "the target")
    double = COMPLEX[1] if dtype_name(target) in COMPLEX else REAL[1]
    needed = 5 * np.dtype(double).itemsize * generated  # the tensor, the copy that LAPACK works on, u and v
    if needed >= SMALL_BYTES:
        require_memory(needed, f"decomposing a tensor of {generated} entries")
    return np.asarray(target, dtype=double)


def singular(matrix: Array) -> tuple[Array, Array, Array]:
    """Return u, s, v of ``matrix = u @ diag(s) @ v``, s falling and u, v without the parts that s does not reach."""
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    return u, s, v


def truncation(matrix: Array, rank: int) -> float:
    """Return the distance of ``matrix`` from the nearest one of ``rank``: the root of the sum of s_i^2, i > rank."""
    if rank >= min(matrix.shape):
        return 0.0
    s = np.linalg.svd(matrix, compute_uv=False)
    return float(np.linalg.norm(s[rank:]))


def unfolding_bound(unfoldings: list[tuple[Array, Array, int]]) -> ErrorBound:
    """Return the bounds of a format that caps the ranks of several unfoldings.

    Parameters
    ----------
    unfoldings : list of (matrix, mask, rank)
        The mask is True where an entry of the matrix belongs to the weight, False where it is padding.
    """
    upper = [truncation(matrix, rank) for matrix, _, rank in unfoldings]
    lower = [
        found if mask.all() else max(truncation(part, rank) for part in _full(matrix, mask))
        for found, (matrix, mask, rank) in zip(upper, unfoldings, strict=True)
    ]
    return ErrorBound(max(lower, default=0.0), sqrt(sum(x * x for x in upper)))


def _full(matrix: Array, mask: Array) -> tuple[Array, Array]:
    """Return the rows without padding, and of the rows that are not all padding the columns without."""
    some = mask.any(axis=1)
    return matrix[mask.all(axis=1)], matrix[some][:, mask[some].all(axis=0)]


def chain_svd(tensor: Array, sizes: tuple[int, ...], bonds: tuple[int, ...]) -> list[Array]:
    """TT-SVD (Oseledets 2011, algorithm 1): cut after cut from the left, each truncated to its bond.

    All cores but the last are left-orthogonal, ``sum_{b,i} conj(core[b, i, c]) core[b, i, d] = delta_{cd}``; the last
    holds the norm.

    Parameters
    ----------
    tensor : array of prod(sizes) entries, C order
    sizes : n_0, ..., n_{K-1}
    bonds : b_0 = 1, ..., b_K = 1, none above what stands to its left or right

    Returns
    -------
    list of arrays, shapes (b_k, n_k, b_{k+1})
    """
    cores, rest = [], tensor
    for k, n in enumerate(sizes[:-1]):
        u, s, v = singular(rest.reshape(bonds[k] * n, -1))
        b = bonds[k + 1]
        cores.append(u[:, :b].reshape(bonds[k], n, b))
        rest = s[:b, None] * v[:b]
    return [*cores, rest.reshape(bonds[len(sizes) - 1], sizes[-1], 1)]


def leading_vectors(matrix: Array, count: int) -> Array:
    """Return the first ``count`` left singular vectors, (rows, count), completed to an orthonormal set if need be."""
    rows, columns = matrix.shape
    u: Array = np.linalg.svd(matrix, full_matrices=rows > columns)[0]
    return u[:, :count]

"""Cases of the harness for factorisations, solutions, diagonals, running sums and clipping."""

from collections.abc import Callable
from typing import Any

from harness import Case, In
from harness_cases import of, rough

from adntn_ref import ad
from adntn_ref.ad import linalg, ops

SHAPES = ((3, 3), (3, 2), (2, 3), (2, 1), (1, 2), (2, 3, 2))


def together(*arrays: Any) -> Any:
    """Return the entries of several arrays as one vector."""
    return ad.concatenate([ad.reshape(x, shape=(-1,)) for x in arrays])


def factors_of_svd(x: Any) -> Any:
    """What does not depend on the phases of singular vectors: the values, and the matrix with them changed."""
    u, s, vh = ad.svd(x)
    return together(s, ad.matmul(u * ad.reshape(s**2 + s, shape=(*s.shape[:-1], 1, s.shape[-1])), vh))


def graded(name: str, call: Callable[..., Any], **options: Any) -> list[Case]:
    # Not analytic: adjoints of complex arrays are formed on the way. Complex numbers have checks of their own.
    third = {"third": True, **options}
    return [
        of(name, str(shape), call, In(shape, "graded"), analytic=False, **(third if shape == (3, 2) else options))
        for shape in SHAPES
    ]


LINALG = [
    *graded("qr", lambda x: together(*ad.qr(x))),
    *graded("qr_packed", linalg.qr_packed),
    *graded("svd", factors_of_svd),
    *graded("svd_packed", linalg.svd_packed, complex_too=False),
    of("solve", "matrix", ad.solve, In((3, 3), "graded"), In((3, 2)), third=True),
    of("solve", "vector", ad.solve, In((3, 3), "graded"), In((3,))),
    of("solve", "stacks", ad.solve, In((2, 2, 2), "graded"), In((2, 2, 1))),
    of("solve", "a stack and a matrix", ad.solve, In((2, 2, 2), "graded"), In((2, 1))),
    of("solve_matrix", "", linalg.solve_matrix, In((2, 2), "graded"), In((2, 2))),
    of("norm", "", ad.norm, In((2, 3)), analytic=False),
    of("diagonal", "square", ad.diagonal, In((3, 3))),
    of("diagonal", "above", lambda x: ad.diagonal(x, 1), In((2, 4))),
    of("diagonal", "below", lambda x: ad.diagonal(x, -1), In((4, 2))),
    of("diagonal", "axes", lambda x: ad.diagonal(x, 0, -1, 0), In((3, 2, 4))),
    of("trace", "", ad.trace, In((3, 3, 2))),
    of("cumulative_sum", "", lambda x: ops.cumulative_sum(x, axis=-1), In((2, 3))),
    of("cumsum", "all", ad.cumsum, In((2, 3))),
    of("cumsum", "axis", lambda x: ad.cumsum(x, axis=0), In((3, 2))),
    of("clip", "both", lambda x: ad.clip(x, -0.5, 0.4), In((2, 3), "apart"), **rough()),
    of("clip", "below", lambda x: ad.clip(x, 0.0), In((2, 3), "apart"), **rough()),
    of("clip", "above", lambda x: ad.clip(x, high=0.0), In((2, 3), "apart"), **rough()),
    of("clip", "by an array", lambda x, low: ad.clip(x, low), In((2, 3), "apart"), In((3,), "away"), **rough()),
]

CASES: list[Case] = LINALG

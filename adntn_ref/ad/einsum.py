"""Einstein sums with any number of labels.

NumPy's einsum stops at 52 labels. Here labels are integers, so a network of 60 modes can be contracted: below the
limit the array library's own einsum does the work, above it operands are contracted pair by pair as batched matrix
products.
"""

from collections.abc import Sequence
from typing import Any

from adntn_ref.ad.arrays import Array
from adntn_ref.ad.ops import function, matrix_product, primitive, reshape, sum, transpose
from adntn_ref.errors import ArrayError

Labels = tuple[int, ...]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@function
def einsum(subscripts: str, *operands: Array) -> Array:
    """Sum products of entries over the labels that the output lacks.

    Parameters
    ----------
    subscripts : str
        As for NumPy, ``"ij,jk->ik"``; any characters may be labels, so that more than 52 can be told apart. Repeated
        labels take diagonals, ``...`` stands for the leading axes that are left, an axis of length 1 is repeated.
    *operands : arrays

    Raises
    ------
    ArrayError
        If subscripts and operands do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> einsum("ij,j->i", np.eye(2), np.array([3.0, 4.0]))
    array([3., 4.])
    """
    shapes = [tuple(getattr(operand, "shape", ())) for operand in operands]
    inputs, output = parse(subscripts, shapes)
    return contract(*operands, inputs=inputs, output=output)


@function
def tensordot(a: Array, b: Array, axes: Any = 2) -> Array:
    """Sum over the last ``axes`` axes of a and the first of b, or over the axes named ``(axes_a, axes_b)``.

    Raises
    ------
    ArrayError
        For axes that the arrays do not have, axes named twice, and axes of different lengths.
    """
    shape_a, shape_b = (tuple(getattr(x, "shape", ())) for x in (a, b))
    n, m = len(shape_a), len(shape_b)
    if isinstance(axes, int):
        pair = [list(range(-axes, 0)), list(range(axes))]
    else:
        pair = [[x] if isinstance(x, int) else list(x) for x in axes]
    inside = len(pair) == 2 and all(-k <= x < k for over, k in zip(pair, (n, m), strict=True) for x in over)
    over_a, over_b = ([x % k for x in over] for over, k in zip(pair, (n, m), strict=True)) if inside else ([], [])
    lengths = ([shape_a[i] for i in over_a], [shape_b[j] for j in over_b])
    if not inside or len(set(over_a)) < len(over_a) or len(set(over_b)) < len(over_b) or lengths[0] != lengths[1]:
        raise ArrayError(f"tensordot cannot sum over axes {axes} of arrays of shapes {shape_a} and {shape_b}")
    labels_a = tuple(range(n))
    labels_b = [n + j for j in range(m)]
    for i, j in zip(over_a, over_b, strict=True):
        labels_b[j] = labels_a[i]
    summed = {labels_a[i] for i in over_a}
    output = tuple(label for label in (*labels_a, *labels_b) if label not in summed)
    return contract(a, b, inputs=(labels_a, tuple(labels_b)), output=output)


def parse(subscripts: str, shapes: Sequence[tuple[int, ...]]) -> tuple[tuple[Labels, ...], Labels]:
    """Turn NumPy's notation into integer labels, expanding ``...`` and the implicit output."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ArrayError(f"einsum {subscripts!r} names {len(terms)} operands, got {len(shapes)}")
    numbers: dict[str, int] = {}
    inputs = tuple(_term(term, len(shape), numbers, subscripts) for term, shape in zip(terms, shapes, strict=True))
    lowest = min((label for term in inputs for label in term), default=0)
    batch = tuple(range(min(lowest, 0), 0))  # what ... stands for: labels -k .. -1
    if arrow:
        output = _term(right, len(right.replace("...", "")) + len(batch), numbers, subscripts)
    else:
        counts: dict[str, int] = {}
        for character in left.replace("...", "").replace(",", ""):
            counts[character] = counts.get(character, 0) + 1
        output = (*batch, *(numbers[c] for c in sorted(counts) if counts[c] == 1))
    known = {label for term in inputs for label in term}
    if len(set(output)) != len(output) or not set(output) <= known:
        raise ArrayError(f"einsum {subscripts!r}: each output label must be an input label, named once")
    check_sizes(inputs, shapes, subscripts)
    return inputs, output


def _term(term: str, ndim: int, numbers: dict[str, int], subscripts: str) -> Labels:
    before, dots, after = term.partition("...")
    if "." in before + after or "-" in before + after or ">" in before + after:
        raise ArrayError(f"einsum {subscripts!r} cannot be read at {term!r}")
    rest = ndim - len(before) - len(after)
    if rest < 0 or (rest and not dots):
        raise ArrayError(f"einsum {subscripts!r}: {term!r} names {len(before + after)} axes of an operand with {ndim}")
    named = [numbers.setdefault(character, len(numbers)) for character in before + after]
    return (*named[: len(before)], *range(-rest, 0), *named[len(before) :])


def check_sizes(inputs: Sequence[Labels], shapes: Sequence[tuple[int, ...]], subscripts: object) -> dict[int, int]:
    """Return the size of every label; lengths that differ and are not 1 raise ArrayError."""
    sizes: dict[int, int] = {}
    for labels, shape in zip(inputs, shapes, strict=True):
        for label, length in zip(labels, shape, strict=True):
            known = sizes.get(label, 1)
            within = [n for other, n in zip(labels, shape, strict=True) if other == label]
            if (length != known and 1 not in (length, known)) or len(set(within)) > 1:
                raise ArrayError(f"einsum {subscripts!r}: one label has lengths {sorted({known, *within})}")
            sizes[label] = length if known == 1 else known
    return sizes


@primitive
def contract(xp: Any, *operands: Array, inputs: tuple[Labels, ...], output: Labels) -> Array:
    """Einstein sum with integer labels: ``inputs[k]`` names the axes of operand k, ``output`` those of the result."""
    labels = {label for term in (*inputs, output) for label in term}
    if len(labels) <= len(LETTERS):
        letter = dict(zip(sorted(labels), LETTERS, strict=False))
        words = ["".join(letter[label] for label in term) for term in (*inputs, output)]
        return xp.einsum(",".join(words[:-1]) + "->" + words[-1], *operands, optimize=len(operands) > 1)
    return _pairwise(list(operands), list(inputs), output)


def _pairwise(operands: list[Array], inputs: list[Labels], output: Labels) -> Array:
    """Contract from the left, two operands at a time, each pair as one batched matrix product."""
    sizes = check_sizes(inputs, [x.shape for x in operands], output)
    terms = [_distinct(x, labels, sizes) for x, labels in zip(operands, inputs, strict=True)]
    while len(terms) > 1:
        first, second, *rest = terms
        later = set(output).union(*(labels for _, labels in rest)) if rest else set(output)
        terms = [_pair(*first, *second, later), *rest]
    x, labels = terms[0]
    x, labels = _sum_out(x, labels, set(output))
    return transpose(x, axes=tuple(labels.index(label) for label in output))


def _distinct(x: Array, labels: Labels, sizes: dict[int, int]) -> tuple[Array, Labels]:
    """Take the diagonal of every repeated label, and drop the axes of length 1 that would be repeated."""
    while repeated := [label for label in labels if labels.count(label) > 1]:
        label = repeated[0]
        i = labels.index(label)
        j = labels.index(label, i + 1)
        x = x.diagonal(axis1=i, axis2=j)  # the diagonal becomes the last axis
        labels = (*(other for k, other in enumerate(labels) if k not in (i, j)), label)
    kept = [(label, n) for label, n in zip(labels, x.shape, strict=True) if n == sizes[label]]
    return reshape(x, shape=tuple(n for _, n in kept)), tuple(label for label, _ in kept)


def _sum_out(x: Array, labels: Labels, keep: set[int]) -> tuple[Array, Labels]:
    gone = tuple(i for i, label in enumerate(labels) if label not in keep)
    if gone:
        x = sum(x, axis=gone)
    return x, tuple(label for label in labels if label in keep)


def _pair(a: Array, la: Labels, b: Array, lb: Labels, later: set[int]) -> tuple[Array, Labels]:
    """Contract two operands; labels in ``later`` survive."""
    a, la = _sum_out(a, la, later | set(lb))
    b, lb = _sum_out(b, lb, later | set(la))
    size = {**dict(zip(lb, b.shape, strict=True)), **dict(zip(la, a.shape, strict=True))}
    shared = [label for label in la if label in lb]
    both = [label for label in shared if label in later]
    summed = [label for label in shared if label not in later]
    only_a = [label for label in la if label not in lb]
    only_b = [label for label in lb if label not in la]

    def matrix(x: Array, labels: Labels, groups: tuple[list[int], ...]) -> Array:
        order = tuple(labels.index(label) for group in groups for label in group)
        lengths = []
        for group in groups:
            length = 1
            for label in group:
                length *= size[label]
            lengths.append(length)
        return reshape(transpose(x, axes=order), shape=tuple(lengths))

    product = matrix_product(matrix(a, la, (both, only_a, summed)), matrix(b, lb, (both, summed, only_b)))
    labels = (*both, *only_a, *only_b)
    return reshape(product, shape=tuple(size[label] for label in labels)), labels

"""Judging what a candidate gave against the reference: one row a quantity."""

from collections.abc import Iterator, Mapping

import numpy as np

from .verdicts import CALL, GROUPS, NEEDED, Answer, Array, Part, Request, Row, Verdict, group_of

NOTHING_GIVEN = (Verdict.NOT_SUPPORTED, Verdict.RAISED, Verdict.CRASHED, Verdict.TIMED_OUT, Verdict.GARBAGE)
"""Where a call ended like this, nobody asks for what it did not give."""

LEAST_BITS = {"float64": 64, "complex128": 64, "float32": 32, "complex64": 32, "float16": 16, "bfloat16": 16}
"""Bits of a real number of the lowest precision that an answer may have, by what the candidate works in."""


def judge(request: Request, expected: Mapping[str, Array], allowed: Mapping[str, Array], answer: Answer) -> list[Row]:
    """Return the verdict on every quantity that was given or should have been.

    Parameters
    ----------
    request : what was asked
    expected : the reference, quantity -> array
    allowed : quantity -> array of its shape, the largest absolute error of each entry
    answer : what the candidate gave

    Returns
    -------
    list of Row
        In the order of the groups; what is wrong without a comparison comes first in each.
    """
    call = answer.get(CALL, Part())
    rows = _fault_rows(request, call)
    broken = any(fault.verdict in NOTHING_GIVEN for fault in call.faults)
    if call.has(Verdict.NOT_SUPPORTED):
        return rows
    for group in GROUPS:
        part = answer.get(group)
        if part is None or (broken and not part.arrays):
            continue
        rows += _fault_rows(request, part)
        rows += _missing(request, group, part, expected, broken)
        named = {fault.quantity for fault in part.faults}
        for quantity, given in part.arrays.items():
            if quantity not in named:
                rows += _judge_one(request, quantity, given, expected, allowed)
    return rows


def _fault_rows(request: Request, part: Part) -> list[Row]:
    return [Row(request.name, fault.quantity, fault.verdict, detail=fault.detail) for fault in part.faults]


def _missing(request: Request, group: str, part: Part, expected: Mapping[str, Array], broken: bool) -> Iterator[Row]:
    """Return a row for each array that a needed group lacks, unless its call gave nothing at all."""
    if broken or group not in NEEDED:
        return
    if any(fault.verdict in NOTHING_GIVEN and fault.quantity == GROUPS[group] for fault in part.faults):
        return
    named = {fault.quantity for fault in part.faults}
    for quantity in expected:
        if group_of(quantity) == group and quantity not in part.arrays and quantity not in named:
            yield Row(request.name, quantity, Verdict.MISSING)


def _judge_one(
    request: Request, quantity: str, given: Array, expected: Mapping[str, Array], allowed: Mapping[str, Array]
) -> Iterator[Row]:
    """Return the row of one array; a state under a name of the candidate's own is passed over."""
    if quantity not in expected:
        if group_of(quantity) in NEEDED:
            yield Row(request.name, quantity, Verdict.EXTRA, detail=f"an array of shape {given.shape}")
        return
    right, bound = expected[quantity], allowed[quantity]
    array = as_asked(quantity, given, right)
    if array is None:
        text = f"shape {given.shape}, wanted {right.shape}"
        yield Row(request.name, quantity, Verdict.WRONG_SHAPE, detail=text)
    elif (problem := dtype_problem(array, right, request.dtype)) is not None:
        yield Row(request.name, quantity, Verdict.WRONG_DTYPE, detail=problem)
    else:
        yield compare(request.name, quantity, array, right, bound)


def as_asked(quantity: str, given: Array, right: Array) -> Array | None:
    """Return an array in the shape of the reference, or None; states may come flat, in C order."""
    if given.shape == right.shape:
        return given
    if group_of(quantity) not in NEEDED and given.size == right.size and given.ndim == 1:
        return given.reshape(right.shape)
    return None


def dtype_problem(given: Array, right: Array, dtype: str) -> str | None:
    """Return what is wrong with an array's dtype for a candidate that works in ``dtype``, or None."""
    if given.dtype.kind != right.dtype.kind:
        wanted = "complex" if right.dtype.kind == "c" else "real floating"
        return f"dtype {given.dtype}, wanted {wanted} numbers"
    bits = np.finfo(given.dtype).bits
    if bits < LEAST_BITS[dtype]:
        return f"dtype {given.dtype}, of lower precision than {dtype}"
    return None


def compare(case: str, quantity: str, given: Array, right: Array, bound: Array) -> Row:
    """Return the verdict on numbers: the row of the entry where error over allowed is largest."""
    wide = np.complex128 if right.dtype.kind == "c" else np.float64
    bound = np.broadcast_to(np.asarray(bound, np.float64), right.shape)
    bad = ~np.isfinite(given) & np.isfinite(bound)
    if bad.any():
        index = _index(bad.argmax(), right)
        text = f"{_number(given[index])} at {_place(index)}, expected {_number(right[index])}; {_count(bad)}"
        return Row(case, quantity, Verdict.NOT_FINITE, index=index, detail=text)
    with np.errstate(all="ignore"):
        error = np.abs(given.astype(wide) - right)
        error = np.where(np.isfinite(bound), error, 0.0)  # an infinite bound allows everything
        ratio = np.where(error == 0, 0.0, error / np.where(bound > 0, bound, 0.0))
    index = _index(ratio.argmax(), right)
    worst, most = float(error[index]), float(bound[index])
    wrong = error > bound
    if not wrong.any():
        return Row(case, quantity, Verdict.AGREES, worst, most, index)
    text = f"got {_number(given[index])}, expected {_number(right[index])} at {_place(index)}; {_count(wrong)}"
    return Row(case, quantity, Verdict.DIFFERS, worst, most, index, text)


def _index(flat: np.intp, right: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, right.shape))


def _number(value: complex) -> str:
    return f"{value:.10g}"


def _place(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]"


def _count(wrong: Array) -> str:
    return f"{int(wrong.sum())} of {wrong.size} entries"

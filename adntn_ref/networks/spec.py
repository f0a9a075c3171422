"""Reading and checking the entries of a specification, shared by the networks."""

from collections.abc import Sequence
from typing import Any

from adntn_ref.errors import SpecError
from adntn_ref.program.modes import Layout, as_positive, shown


def positive_integer(value: object, what: str) -> int:
    """Return ``value`` as an int from 1 to 2^64, or raise SpecError naming ``what``."""
    number = as_positive(value)
    if number is None:
        raise SpecError(f"{what} must be an integer >= 1, at most 2^64, got {shown(value)}")
    return number


def chosen_of(allowed: Sequence[str], value: object, what: str) -> str:
    """Return ``value`` if it is among ``allowed``, or raise SpecError listing them."""
    if not isinstance(value, str) or value not in allowed:
        raise SpecError(f"{what} must be one of {', '.join(allowed)}, got {shown(value)}")
    return str(value)


def layout_spec(placement: Layout) -> dict[str, Any]:
    """Return the entries of a specification that say where the weight's entries stand."""
    if placement.kind == "flat":
        return {"shape": list(placement.shape), "modes": list(placement.modes)}
    return {
        "shape": list(placement.shape),
        "layout": placement.kind,
        "row_modes": list(placement.row_modes),
        "col_modes": list(placement.col_modes),
    }

"""Reading and checking the entries of a specification, shared by the networks."""

from collections.abc import Sequence
from typing import Any

from adntn_ref.errors import SpecError
from adntn_ref.program.modes import Layout


def positive_integer(value: object, what: str) -> int:
    """Return ``value`` as an int >= 1, or raise SpecError naming ``what``."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 1:
        raise SpecError(f"{what} must be an integer >= 1, got {value!r}")
    return int(value.__index__())


def chosen_of(allowed: Sequence[str], value: object, what: str) -> str:
    """Return ``value`` if it is among ``allowed``, or raise SpecError listing them."""
    if value not in allowed:
        raise SpecError(f"{what} must be one of {', '.join(allowed)}, got {value!r}")
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

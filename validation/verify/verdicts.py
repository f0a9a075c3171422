"""What can be said of a candidate's answer: the verdicts, and the records that carry them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

GROUPS = {"weight": "generate", "gradient": "vjp", "state": "states", "adjoint": "adjoint_states"}
"""Groups of quantities, and the candidate's function that gives each; the last two are optional."""
NEEDED = ("weight", "gradient")
CALL = "call"
"""Stands where the name of a quantity would, for a fault of a program's run as a whole; for a fault of one call the
name of the function stands there."""


class Verdict(Enum):
    """A verdict: its name in reports, a sentence, and whether the candidate fails by it."""

    AGREES = ("agrees", "Every entry is within the allowed error.", False)
    DIFFERS = ("differs", "Some entry is further from the reference than rounding explains.", True)
    NOT_SUPPORTED = ("not supported", "The candidate says that it does not do this specification.", False)
    RAISED = ("raised", "The candidate raised an exception, or its command ended with an error.", True)
    CRASHED = ("crashed", "The candidate's process ended: an exit, a signal, a segmentation fault.", True)
    TIMED_OUT = ("timed out", "The candidate did not answer within the limit of a case.", True)
    WRONG_SHAPE = ("wrong shape", "An array has another shape than the one asked for.", True)
    WRONG_DTYPE = ("wrong dtype", "An array has a dtype of another kind or of lower precision than asked for.", True)
    MISSING = ("missing core", "The answer lacks an array: a weight, or a core in the gradient.", True)
    EXTRA = ("extra core", "The answer has an array that was not asked for.", True)
    NOT_FINITE = ("not finite", "An array holds NaN or infinity where the reference is finite.", True)
    VIEW = ("view of its input", "An array shares writable memory with an input: changing one changes the other.", True)
    CHANGED = ("input changed", "The candidate changed the arrays or the specification that it was given.", True)
    GARBAGE = ("garbage", "The answer cannot be read: not an array, not a dict, not an .npy file.", True)
    NOT_RUN = ("not run", "The time limit was reached before this case.", False)

    def __init__(self, label: str, sentence: str, failed: bool) -> None:
        self.label = label
        self.sentence = sentence
        self.failed = failed

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True)
class Fault:
    """Something wrong with an answer that is seen without comparing numbers.

    Attributes
    ----------
    quantity : quantity, or the name of the function where the whole call is meant, or ``"call"``
    verdict : what is wrong
    detail : one line on it
    """

    quantity: str
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True)
class Part:
    """What one of the candidate's functions gave: arrays by quantity, and what is wrong with them."""

    arrays: Mapping[str, Array] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()

    def has(self, verdict: Verdict) -> bool:
        """Return whether a fault has this verdict."""
        return any(fault.verdict is verdict for fault in self.faults)

    @property
    def refuses_all(self) -> bool:
        """Whether ``generate`` does not do this specification, so that nothing else is asked."""
        return any(f.quantity == "generate" and f.verdict is Verdict.NOT_SUPPORTED for f in self.faults)


Answer = dict[str, Part]
"""What a candidate gave for a case, by group."""


@dataclass(frozen=True)
class Request:
    """What a candidate is asked: a specification, parameters, a cotangent, and what is wanted.

    Attributes
    ----------
    name : name of the case
    spec : specification, as of ``net.to_spec()``
    params : cores, and the frozen weights of deltas under ``"frozen/<sha256>"``
    cotangent : array of the weight's shape; for a stack a dict of them
    shapes : shape of every quantity that can be judged
    dtype : what the candidate works in
    """

    name: str
    spec: dict[str, Any]
    params: Mapping[str, Array]
    cotangent: Any
    shapes: Mapping[str, tuple[int, ...]]
    dtype: str = "float64"

    @property
    def several(self) -> bool:
        """Whether there are several weights (a stack)."""
        return isinstance(self.cotangent, Mapping)

    def wants(self, group: str) -> bool:
        """Return whether there is a quantity of this group."""
        return any(group_of(quantity) == group for quantity in self.shapes)


@dataclass(frozen=True)
class Row:
    """The verdict on one quantity of one case.

    ``error`` and ``allowed`` are those of the entry where error over allowed is largest, at ``index``; None where no
    numbers were compared.
    """

    case: str
    quantity: str
    verdict: Verdict
    error: float | None = None
    allowed: float | None = None
    index: tuple[int, ...] | None = None
    detail: str = ""

    @property
    def group(self) -> str:
        """The group of the quantity."""
        return group_of(self.quantity)

    @property
    def ratio(self) -> float:
        """Error over allowed error; 0 where no numbers were compared, infinite where none was allowed."""
        if self.error is None or self.allowed is None or self.error == 0:
            return 0.0
        return self.error / self.allowed if self.allowed > 0 else float("inf")

    def to_json(self) -> dict[str, Any]:
        """Return the row as a JSON-able dict; an infinite number is written as the string "inf"."""
        return {
            "case": self.case,
            "quantity": self.quantity,
            "verdict": self.verdict.label,
            "error": _json_number(self.error),
            "allowed": _json_number(self.allowed),
            "index": None if self.index is None else list(self.index),
            "detail": self.detail,
        }


def group_of(quantity: str) -> str:
    """Return the group of a quantity, ``"gradient"`` of ``"gradient/core0"`` and of ``"vjp"``."""
    first = quantity.partition("/")[0]
    return next((group for group, function in GROUPS.items() if function == first), first)


def one_line(value: object, most: int = 300) -> str:
    """Return a value's text in one line that any terminal can show; a candidate's objects may fail even at that."""
    try:
        words = " ".join(str(value).split())
    except Exception:
        words = f"a {type(value).__name__} without a text"
    text = "".join(c if c.isprintable() else "\ufffd" for c in words)
    return text if len(text) <= most else text[: most - 3] + "..."


def _json_number(value: float | None) -> float | str | None:
    return value if value is None or np.isfinite(value) else str(value)

"""Who is timed: a way to compute the loss and its gradients, and the comparison that comes before the clock."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from adntn_ref.errors import DisagreementError
from adntn_ref.program.memory import memory_limit

from .workload import Answer, Workload

TOLERANCE = {"float32": 1e-4, "float64": 1e-11}
"""Largest relative difference from the package's answer, in norm; measured up to 2^22 entries: at most 2e-5 and 1e-14.
"""
LONG = 2**22
"""Entries from which on more is allowed, in proportion: plain sums in float32 lose digits (torch 2.5e-4 at 2^24)."""
SMALL = 1e-2
"""Gradients below this share of the largest one are compared with that share of it instead of with themselves."""


@dataclass(frozen=True)
class Prepared:
    """A candidate bound to a workload, in arrays of its own library.

    Attributes
    ----------
    run : what is timed; returns only when everything is computed
    answer : puts what ``run`` returned into NumPy arrays
    """

    run: Callable[[], Any]
    answer: Callable[[Any], Answer]


@dataclass(frozen=True)
class Candidate:
    """A way to compute a workload.

    Parameters
    ----------
    name : what the column is called
    prepare : binds it to a workload; imports its library
    needs : the packages it needs
    largest : log2 of the largest number of entries it is run on, for its time; None for no limit
    outputs : about how much memory it takes at four layers, in units of the weight
    """

    name: str
    prepare: Callable[[Workload], Prepared]
    needs: tuple[str, ...] = ()
    largest: int | None = None
    outputs: float = 0.0

    def missing(self) -> str:
        """Return why it cannot run here, or an empty text."""
        absent = [name for name in self.needs if not installed(name)]
        return f"not installed: {', '.join(absent)}" if absent else ""

    def refuses(self, workload: Workload) -> str:
        """Return why it is not run on a workload, or an empty text."""
        if self.largest is not None and workload.entries > 2**self.largest:
            return f"run up to 2^{self.largest} entries only, for its time"
        needed = self.outputs * workload.output_bytes * getattr(workload.network, "layers", 4) / 4
        if needed > memory_limit():
            return f"takes about {needed / 2**30:.3g} GiB, and {memory_limit() / 2**30:.3g} are allowed"
        return self.missing()


def installed(name: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    return find_spec(name) is not None


def check(name: str, dtype: str, answer: Answer, expected: Answer, entries: int = 1) -> None:
    """Compare an answer with the package's; ``entries`` are those of the generated weight.

    Raises
    ------
    DisagreementError
        Naming the candidate, the loss or the core, and the difference. A wrong candidate is not timed.
    """
    allowed = TOLERANCE[dtype] * max(1.0, entries / LONG)
    off = abs(answer.loss - expected.loss) / abs(expected.loss)
    if not off <= allowed:
        raise DisagreementError(f"{name}: the loss is {answer.loss:.9g}, the package's is {expected.loss:.9g}")
    if answer.gradients.keys() != expected.gradients.keys():
        differ = sorted(answer.gradients.keys() ^ expected.gradients.keys())
        raise DisagreementError(f"{name}: gradients that one has and the other has not: {', '.join(differ[:5])}")
    least = SMALL * max(float(np.linalg.norm(g)) for g in expected.gradients.values())
    for core, wanted in expected.gradients.items():
        got = answer.gradients[core]
        if got.shape != wanted.shape or got.dtype != wanted.dtype:
            raise DisagreementError(f"{name}: the gradient of {core} is {got.dtype} {got.shape}, not {wanted.dtype}")
        off = float(np.linalg.norm(got - wanted)) / max(float(np.linalg.norm(wanted)), least)
        if not off <= allowed:
            raise DisagreementError(
                f"{name}: the gradient of {core} differs from the package's by {off:.3g} of its size;"
                f" allowed in {dtype}: {allowed:g}"
            )

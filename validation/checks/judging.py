"""What a check allows, what it says where that is exceeded, and what it reports where all is well."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .containers import Array

FULL_LIMIT = 400
"""Largest number of entries of which a check compares every one; of larger inputs it takes directions and samples."""
SAMPLES = 40
DIRECTIONS = 4
COMPLEX_RTOL = 1e-12
CENTRAL_RTOL = {"float32": 3e-3, "complex64": 3e-3, "float64": 1e-6, "complex128": 1e-6}
ROUNDING = {"float32": 1e-4, "complex64": 1e-4, "float64": COMPLEX_RTOL, "complex128": COMPLEX_RTOL}
"""What the rounding of an honest derivative of this dtype may be, relative to the largest entry."""
SAFETY = 4.0
"""How many times its own estimated error a numerical derivative may be off."""
NEAR_KINKS = 0.2
"""Largest share of the comparisons that may be left out because of kinks that nobody named."""


class GradientMismatch(AssertionError):
    """A claimed derivative that differs from the numerical one."""


@dataclass
class Report:
    """What a check that passed has compared.

    Attributes
    ----------
    compared : number of derivatives compared
    left_out : where a kink was too near to compare, as in ``"index (3,) of x"``
    methods : how the derivatives of each input were found, by the input's name
    worst : largest error, relative to what was allowed, and where
    """

    compared: int = 0
    left_out: list[str] = field(default_factory=list)
    methods: dict[str, str] = field(default_factory=dict)
    worst: tuple[float, str] = (0.0, "")

    def add(self, where: str, off: float, allowed: float) -> None:
        """Count a comparison that passed."""
        self.compared += 1
        ratio = off / allowed if allowed else 0.0
        if ratio > self.worst[0]:
            self.worst = (ratio, where)

    def merge(self, other: "Report") -> None:
        """Add what another check has compared."""
        self.compared += other.compared
        self.left_out += other.left_out
        self.methods |= other.methods
        self.worst = max(self.worst, other.worst)

    def settle(self, label: str, share: float, total: int) -> None:
        """Raise GradientMismatch where kinks have left too little: nothing, or less than all but ``share`` of it."""
        out = len(self.left_out)
        if total and not self.compared:
            raise GradientMismatch(f"every entry of {label} lies too near a kink; nothing was compared")
        if out > max(1.0, share * total):
            raise GradientMismatch(
                f"{out} of {total} derivatives of {label} lie too near a kink, allowed is a share of {share:g}: "
                f"{', '.join(self.left_out[:5])}{', …' if out > 5 else ''}; check at another x, or allow more "
                "with near_kinks="
            )


@dataclass(frozen=True)
class Tolerance:
    """What is allowed between a claimed number and a numerical one.

    With ``rtol`` given: ``atol + rtol * scale``. Without: what the numerical derivative is known to (four times its
    estimated error) plus rounding, and never more than the default rtol of the method times the scale.
    """

    rtol: float | None
    atol: float
    dtype: str
    """Dtype of the claimed derivative's input."""
    coarse: bool
    """Whether the differences are taken in that dtype; False where they are in double precision."""

    def cap(self, scale: Any, method: str) -> Any:
        """Return the most that is ever allowed."""
        if self.rtol is not None:
            return self.atol + self.rtol * scale
        if method == "complex step":
            return self.atol + ROUNDING[self.dtype] * scale
        usual = CENTRAL_RTOL[self.dtype if self.coarse else "float64"]
        return self.atol + max(usual, ROUNDING[self.dtype]) * scale

    def allowed(self, scale: Any, error: Any, method: str) -> Any:
        """Return what is allowed of a numerical derivative with this error."""
        most = self.cap(scale, method)
        if self.rtol is not None:
            return most
        return np.minimum(most, self.atol + ROUNDING[self.dtype] * scale + SAFETY * error)


def mismatch(where: str, got: Any, expected: Any, method: str, allowed: float, error: float = 0.0) -> GradientMismatch:
    """Return the error that names the place, both values, how one was found, both errors and what was allowed."""
    off = abs(got - expected)
    relative = off / abs(expected) if expected else np.inf
    coarse = f"; the difference is only known to {error:.3g}, too coarse to judge by" if error > off else ""
    return GradientMismatch(
        f"{where}: got {got!r}, expected {expected!r} by {method}, absolute error {off:.3g}, "
        f"relative error {relative:.3g}, allowed {allowed:.3g}{coarse}"
    )


def check_shape(what: str, name: str, got: Array, part: Array) -> None:
    """Raise GradientMismatch unless the claimed derivative has the shape and kind of its input."""
    if got.shape != part.shape:
        raise GradientMismatch(f"the {what} of {name} has shape {got.shape}, its input {part.shape}")
    if got.dtype.kind not in "fciub":
        raise GradientMismatch(f"the {what} of {name} has dtype {got.dtype}, its input {part.dtype}")
    if np.iscomplexobj(got) and not np.iscomplexobj(part):
        raise GradientMismatch(f"the {what} of {name} is complex ({got.dtype}), its input is real ({part.dtype})")

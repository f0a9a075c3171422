"""Independent checks: code here computes what the package computes by other means, and shares none of its formulas."""

from .gradients import (
    GradientMismatch,
    central_directional,
    central_gradient,
    check_gradient,
    check_vjp,
    complex_step_directional,
    complex_step_gradient,
)

__all__ = [
    "GradientMismatch",
    "central_directional",
    "central_gradient",
    "check_gradient",
    "check_vjp",
    "complex_step_directional",
    "complex_step_gradient",
]

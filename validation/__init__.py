"""Independent checks: code here computes what the package computes by other means, and shares none of its formulas."""

from .checks.frameworks import differentiable
from .checks.gradients import check_gradient
from .checks.hessians import check_hvp
from .checks.judging import GradientMismatch, Report
from .checks.numerical import (
    central_directional,
    central_gradient,
    complex_step_directional,
    complex_step_gradient,
)
from .checks.pullbacks import check_vjp

__all__ = [
    "GradientMismatch",
    "Report",
    "central_directional",
    "central_gradient",
    "check_gradient",
    "check_hvp",
    "check_vjp",
    "complex_step_directional",
    "complex_step_gradient",
    "differentiable",
]

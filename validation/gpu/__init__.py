"""Checks and measurements on a GPU, by one command: ``python -m adntn_ref.validation.gpu``.

Every network, dtype, schedule and way to run against NumPy in float64; the same bits twice; no waiting inside a step;
memory against the cost model; both stages. Then times beside PyTorch and JAX on the same device in the same run, and
one table last. Without a GPU nothing is checked, and the command says so.
"""

from .checks import Finding, run_checks
from .probe import CupyProbe, Probe

__all__ = ["CupyProbe", "Finding", "Probe", "run_checks"]

"""Tolerances with a reason: what an honest implementation may be off by, in float64, float32, float16 and bfloat16.

The error of an honest program is a sum of many small roundings, of either sign. :func:`allowed_errors` runs the network
many times with such roundings put in at random, as large as they may be in any order of summation, and allows a stated
multiple of the root mean square of what comes out. The reasoning is in ``docs/tolerances.md``;
``python -m adntn_ref.validation.tolerance --cases 1000`` measures it against honest implementations of many kinds, and
against planted mistakes.
"""

from .allowed import allowed_errors
from .precision import PRECISIONS, Precision, precision_of

__all__ = ["PRECISIONS", "Precision", "allowed_errors", "precision_of"]

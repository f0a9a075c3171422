"""Verify: whether an implementation computes the same as the reference.

``python -m adntn_ref.validation --against my_pkg.my_module``, or from Python::

    from adntn_ref.validation.verify import verify
    report = verify("my_pkg.my_module")

The pages ``docs/verify.md`` and ``docs/protocol.md`` describe it.
"""

from .candidate import Candidate, FunctionsCandidate
from .command import CommandCandidate
from .process import ModuleCandidate
from .results import ResultsCandidate
from .run import Report, verify
from .verdicts import Request, Row, Verdict

__all__ = [
    "Candidate",
    "CommandCandidate",
    "FunctionsCandidate",
    "ModuleCandidate",
    "Report",
    "Request",
    "ResultsCandidate",
    "Row",
    "Verdict",
    "verify",
]

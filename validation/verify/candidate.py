"""Candidates: implementations that are verified, and the simplest kind, functions in our own process."""

import time
from types import ModuleType
from typing import Any, Protocol

from .calls import call
from .verdicts import GROUPS, Answer, Fault, Part, Request, Verdict
from .worker import check_functions, functions_of


class Candidate(Protocol):
    """An implementation that can be asked; see :class:`FunctionsCandidate`."""

    name: str
    """What reports call it."""
    can_be_asked: bool
    """Whether it computes what it is asked, or has made its files already."""

    def start(self, limit: float) -> None:
        """Make ready, within ``limit`` seconds; raises CandidateError where it cannot."""

    def ask(self, request: Request, limit: float) -> Answer:
        """Return what it gives for a case within ``limit`` seconds, by group; never raises for what it does."""

    def close(self) -> None:
        """End what was started."""


class FunctionsCandidate:
    """A module or an object with the functions, called in this process: quick, and not proof against a crash or a hang.

    Parameters
    ----------
    functions : has ``generate(spec, params)`` and ``vjp(spec, params, cotangent)``, and may have
        ``states(spec, params)`` and ``adjoint_states(spec, params, cotangent)``
    name : what reports call it

    Raises
    ------
    CandidateError
        If one of the two needed functions is missing.
    """

    can_be_asked = True

    def __init__(self, functions: object, name: str = "") -> None:
        own = functions.__name__ if isinstance(functions, ModuleType) else type(functions).__name__
        self.name = name or own
        check_functions(functions, self.name)
        self._functions = functions

    def start(self, limit: float) -> None:
        """Do nothing: it is here already."""

    def ask(self, request: Request, limit: float) -> Answer:
        """Call every function for which there is something to judge; a call that takes too long is named afterwards."""
        answer: Answer = {}
        begun = time.monotonic()
        for group in wanted_groups(request, functions_of(self._functions)):
            answer[group] = call(self._functions, group, request)
            if time.monotonic() - begun > limit:
                answer[group] = Part(faults=(Fault(GROUPS[group], Verdict.TIMED_OUT, f"over {limit:.3g} s"),))
            if answer[group].refuses_all:
                break
        return answer

    def close(self) -> None:
        """Do nothing."""


def wanted_groups(request: Request, functions: Any) -> list[str]:
    """Return the groups that are asked for: those with something to judge and a function that gives them."""
    return [group for group, name in GROUPS.items() if name in functions and request.wants(group)]

"""Asking the diagnosis which known mistake explains what differs."""

from collections.abc import Sequence

from .judge import as_asked
from .prepare import Prepared
from .verdicts import Answer, Array, one_line

MOST_FAILING = 24
MOST_PASSING = 40
"""So many of the smallest cases are looked at; those that agree rule explanations out."""
Answered = tuple[Prepared, Answer]


def explain(failing: Sequence[Answered], passing: Sequence[Answered] = ()) -> str:
    """Return what the diagnosis says of failing cases, or an empty text where no numbers differ.

    A failure of the diagnosis itself is put in words and goes no further: the report stands without it.
    """
    try:
        from ..diagnosis import Observation, diagnose

        def observed(answered: Sequence[Answered], most: int) -> list[Observation]:
            found: list[Observation] = []
            for prepared, answer in sorted(answered, key=lambda pair: pair[0].size):
                got = _given(prepared, answer)
                if got and len(found) < most:
                    found.append(Observation(prepared.case, got, prepared.expected, prepared.allowed))
            return found

        wrong = observed(failing, MOST_FAILING)
        return str(diagnose(wrong + observed(passing, MOST_PASSING)).text) if wrong else ""
    except Exception as error:
        return f"No diagnosis: it failed itself ({type(error).__name__}: {one_line(error)})."


def _given(prepared: Prepared, answer: Answer) -> dict[str, Array]:
    """Return what a candidate gave of the quantities there are, shaped as they are where the sizes fit."""
    got = {}
    for part in answer.values():
        for quantity, array in part.arrays.items():
            if quantity in prepared.expected:
                fitting = as_asked(quantity, array, prepared.expected[quantity])
                got[quantity] = array if fitting is None else fitting
    return got

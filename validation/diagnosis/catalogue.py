"""The catalogue of known mistakes, by name."""

from .entries_backward import BACKWARD
from .entries_forward import FORWARD
from .entries_networks import NETWORKS
from .entry import Mistake

MISTAKES: dict[str, Mistake] = {mistake.name: mistake for mistake in (*FORWARD, *NETWORKS, *BACKWARD)}
"""Mistake by name, in the order of the page; those that change the weight first."""


def sentence_of(names: tuple[str, ...]) -> str:
    """Return the sentence that says what an output with these mistakes equals.

    Examples
    --------
    >>> sentence_of(("inputs-swapped",))
    'your output equals the reference with the two input legs of each brick and mixing core swapped'
    """
    mistakes = [MISTAKES[name] for name in names]
    what = "your gradient equals" if all(m.backward for m in mistakes) else "your output equals"
    return f"{what} the reference with {', and with '.join(m.sentence for m in mistakes)}"

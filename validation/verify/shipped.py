"""The shipped cases, as the vectors give them."""

from collections.abc import Mapping

from ..case import Case
from ..vectors import load
from .verdicts import GROUPS, Array, group_of


def load_shipped() -> list[tuple[Case, Mapping[str, Array]]]:
    """Return the shipped cases that are a generator and its gradient, with their reference."""
    return [(case, {q: x for q, x in expected.items() if group_of(q) in GROUPS}) for case, expected in load()]

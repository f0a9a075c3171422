"""What a known mistake is: a name, a sentence, and where to read about it."""

from dataclasses import dataclass

PAGE = "docs/known-mistakes.md"


@dataclass(frozen=True)
class Mistake:
    """A mistake that implementations of these networks make.

    Attributes
    ----------
    name : short name, also the anchor on the page of known mistakes
    sentence : what the output then equals, after "the reference with"
    right : the right formula
    wrong : what goes wrong, and how it comes about
    group : heading under which it stands
    page : page of the documentation with the definition
    backward : whether the weight stays right and the gradient alone is wrong
    """

    name: str
    sentence: str
    right: str
    wrong: str
    group: str
    page: str
    backward: bool = False

    @property
    def where(self) -> str:
        """Where to read about it: page and anchor."""
        return f"{PAGE}#{self.name}"

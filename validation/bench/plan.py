"""What a run does: which tables, how large, how long."""

from collections.abc import Callable
from dataclasses import dataclass

from .timing import Rounds


@dataclass(frozen=True)
class Plan:
    """Settings of a run.

    Attributes
    ----------
    quick : small sizes and few rounds
    q : sizes of the brick-walls, log2 of the number of entries
    layers : their layers, of two columns each
    dtype : float32 or float64
    rounds : samples a candidate
    pause : seconds of rest before each sample
    say : called with a line about what is done now
    """

    quick: bool = False
    q: tuple[int, ...] = (12, 16, 20, 22)
    layers: int = 4
    dtype: str = "float32"
    rounds: int = 9
    pause: float = 0.12
    say: Callable[[str], None] = lambda _: None

    def timing(self, budget: float) -> Rounds:
        """Return the rounds of a row with a budget in seconds, a fifth of it for a quick run."""
        return Rounds(self.rounds, 0.005 if self.quick else 0.02, budget / 5 if self.quick else budget, self.pause)

"""Ghost runs: a schedule run on sizes instead of arrays, to know before anything runs what it takes.

A ghost stands for an array, and lives as long as the array would: the schedule's own code holds it and lets it go. A
meter adds up what is alive and remembers the most, and counts the operations and the bytes of every segment as they are
met. So the report cannot differ from what the schedule does.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Work:
    """Operations, and entries moved."""

    flops: int = 0
    moved: int = 0


@dataclass(frozen=True)
class Row:
    """One step in numbers: its verbs, the entries of the state it makes and of what it keeps for its adjoint."""

    name: str
    forward: Work
    again: Work
    back: Work
    state: int
    kept: int


@dataclass(frozen=True)
class Segment:
    """A segment in numbers: its steps, and the entries each verb holds besides what goes in and comes out.

    ``record`` are the entries of its record beyond the state it reads. ``in_place``: the cotangent of its input may be
    written over that of its output; else the room of ``back`` has it.
    """

    rows: tuple[Row, ...]
    forward_room: int = 0
    keeping_room: int = 0
    again_room: int = 0
    back_room: int = 0
    record: int = 0
    in_place: bool = False

    @property
    def state(self) -> int:
        """Entries of the state it makes."""
        return self.rows[-1].state


@dataclass
class Meter:
    """What is alive, and the most that was."""

    live: int = 0
    peak: int = 0

    def take(self, entries: int) -> None:
        """Hold so many entries more."""
        self.live += entries
        self.peak = max(self.peak, self.live)


class Ghost:
    """An array of so many entries."""

    def __init__(self, meter: Meter, entries: int) -> None:
        self.meter, self.entries = meter, entries
        meter.take(entries)

    def __del__(self) -> None:
        self.meter.live -= self.entries


@dataclass
class GhostRun:
    """A chain of segments in numbers; ``counts`` says how often each verb of each segment was met.

    Before ``turned`` is set a forward run counts as "ahead", after it as "rerun".
    """

    first: Segment
    segments: tuple[Segment, ...]
    meter: Meter = field(default_factory=Meter)

    def __post_init__(self) -> None:
        self.count = len(self.segments)
        self.turned = False
        self.counts: Counter[tuple[str, int]] = Counter()

    def _met(self, verb: str, k: int, room: int) -> None:
        self.counts[verb, k] += 1
        self.meter.peak = max(self.meter.peak, self.meter.live + room)

    def start(self) -> Any:
        """Hold the start state."""
        return Ghost(self.meter, self.first.state)

    def forward(self, k: int, x: Any) -> Any:
        """Hold the next state."""
        y = Ghost(self.meter, self.segments[k].state)
        self._met("rerun" if self.turned else "ahead", k, self.segments[k].forward_room)
        return y

    def keeping(self, k: int, x: Any) -> tuple[Any, Any]:
        """Hold the next state and the record, which holds the state it begins with."""
        record = (x, Ghost(self.meter, self.segments[k].record))
        y = Ghost(self.meter, self.segments[k].state)
        self._met("ahead", k, self.segments[k].keeping_room)
        return y, record

    def again(self, k: int, x: Any) -> Any:
        """Hold the record alone."""
        record = (x, Ghost(self.meter, self.segments[k].record))
        self._met("again", k, self.segments[k].again_room)
        return record

    def back(self, k: int, record: Any, g: Any, owned: bool, found: dict[Any, Any]) -> Any:
        """Hold the next cotangent."""
        segment, before = self.segments[k], (self.segments[k - 1] if k else self.first).state
        if segment.in_place:
            out = g if owned else Ghost(self.meter, before)
            self._met("back", k, segment.back_room)
            return out
        self._met("back", k, segment.back_room)
        return Ghost(self.meter, before)

    def finish(self, g: Any, found: dict[Any, Any]) -> Any:
        """Return what was found."""
        return found

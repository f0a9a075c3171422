"""Ghost runs: a schedule run on sizes instead of arrays, to know before anything runs what it takes.

States are sized arrays (:mod:`adntn_ref.ad.sized`), and live as long as the arrays would: the schedule's own code
holds them and lets them go. Their meter adds up what is alive and remembers the most; the run counts how often the
verbs of every segment are met. So the report cannot differ from what the schedule does.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from adntn_ref.ad.sized import Library, Meter, Sized


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
class GhostRun:
    """A chain of segments in numbers; ``counts`` says how often each verb of each segment was met.

    Before ``turned`` is set a forward run counts as "ahead", after it as "rerun". ``whole`` are the entries alive at
    the worst moment of a run that keeps nothing, ``cores`` the names of those whose gradients each segment finds; the
    others are found at the end. ``lasting``: what verbs need besides is scratch memory that is not given back.
    """

    first: Segment
    segments: tuple[Segment, ...]
    whole: int
    cores: tuple[tuple[str, ...], ...]
    shapes: dict[str, tuple[int, ...]]
    library: Library
    lasting: bool = False

    def __post_init__(self) -> None:
        self.count = len(self.segments)
        self.turned = False
        self.counts: Counter[tuple[str, int]] = Counter()

    @property
    def meter(self) -> Meter:
        """What is alive, and the most that was."""
        return self.library.meter

    def _hold(self, entries: int) -> Sized:
        return self.library.new((entries,))

    def last_state(self) -> Sized:
        """Hold the last state."""
        if self.lasting:  # a plan runs in place: one state, and the scratch memory
            self.meter.keep(self.whole - self.segments[-1].state)
        else:
            self.meter.peak = max(self.meter.peak, self.meter.live + self.whole)
        return self._hold((self.segments or (self.first,))[-1].state)

    def _met(self, verb: str, k: int, room: int) -> None:
        self.counts[verb, k] += 1
        if self.lasting:
            self.meter.keep(room)
            room = 0
        self.meter.peak = max(self.meter.peak, self.meter.live + room)

    def start(self) -> Any:
        """Hold the start state."""
        return self._hold(self.first.state)

    def forward(self, k: int, x: Any) -> Any:
        """Hold the next state."""
        y = self._hold(self.segments[k].state)
        self._met("rerun" if self.turned else "ahead", k, self.segments[k].forward_room)
        return y

    def keeping(self, k: int, x: Any) -> tuple[Any, Any]:
        """Hold the next state and the record, which holds the state it begins with."""
        record = (x, self._hold(self.segments[k].record))
        y = self._hold(self.segments[k].state)
        self._met("ahead", k, self.segments[k].keeping_room)
        return y, record

    def again(self, k: int, x: Any) -> Any:
        """Hold the record alone."""
        record = (x, self._hold(self.segments[k].record))
        self._met("again", k, self.segments[k].again_room)
        return record

    def back(self, k: int, record: Any, g: Any, owned: bool, found: dict[Any, Any]) -> Any:
        """Hold the next cotangent."""
        segment, before = self.segments[k], (self.segments[k - 1] if k else self.first).state
        if segment.in_place:
            out = g if owned else self._hold(before)
            self._met("back", k, segment.back_room)
        else:
            self._met("back", k, segment.back_room)
            out = self._hold(before)
        found.update({name: self.library.new(self.shapes[name]) for name in self.cores[k]})
        return out

    def finish(self, g: Any, found: dict[Any, Any]) -> Any:
        """Return what was found, and the gradients of the start."""
        return {name: found.get(name) or self.library.new(shape) for name, shape in self.shapes.items()}

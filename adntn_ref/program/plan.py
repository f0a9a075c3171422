"""Plans: a program of columns and activations as stages that a backend can run chunk by chunk.

A stage is an activation (if any) and the columns after it, covered by windows (:mod:`adntn_ref.program.stairs`). Its
windows are grouped into phases. A phase acts on a range of neighbouring indices, so the state, read as (left, middle,
right), falls into chunks of some columns that the phase treats one by one: all its windows, and the activation, run on
a chunk while it is in the cache, and the state passes through memory once a phase instead of once a column.

A plan is data alone, and is itself only (no two are compared), so that looking something up by it costs nothing. Whoever runs it keeps the input of each stage (and phase, if memory allows) and computes the
states between the windows of a phase again, chunk by chunk, when the adjoint needs them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

from adntn_ref.ad.activations import Activation
from adntn_ref.program.stairs import Gate, Stair, stairs_of
from adntn_ref.program.steps import Activate, Mix, Product, Program

CHUNK = 2**18
"""Entries of a chunk: large enough that Python and the handing over of its lock between threads weigh little."""
LEADING = 2**10
"""Largest middle of a phase that is not the last: a chunk then holds at least 256 columns."""


@dataclass(frozen=True)
class Placed:
    """Window number ``number`` of the plan, in its phase: ``before * side * after`` is the phase's middle."""

    number: int
    before: int
    side: int
    after: int


@dataclass(frozen=True, eq=False)
class Phase:
    """Windows on neighbouring indices; the state is read as (left, middle, right)."""

    left: int
    middle: int
    right: int
    windows: tuple[Placed, ...]

    @cached_property
    def chunk(self) -> tuple[int, int]:
        """How many of left and of right a chunk takes, with the whole middle: about ``CHUNK`` entries."""
        columns = min(self.right, max(1, CHUNK // self.middle))
        rows = max(1, CHUNK // (self.middle * columns)) if columns == self.right else 1
        return min(rows, self.left), columns

    @cached_property
    def chunks(self) -> list[tuple[slice, slice]]:
        """The chunks as slices of left and right."""
        rows, columns = self.chunk
        return [
            (slice(l, min(l + rows, self.left)), slice(r, min(r + columns, self.right)))
            for l in range(0, self.left, rows)
            for r in range(0, self.right, columns)
        ]


@dataclass(frozen=True, eq=False)
class Stage:
    """An activation on the stage's input, if any, and the phases that follow it."""

    name: str
    activation: Activation | None
    phases: tuple[Phase, ...]

    @cached_property
    def parts(self) -> tuple[tuple[Phase, Activation | None], ...]:
        """The phases, each with the activation that it begins with: the stage's for the first, none for the others."""
        return tuple((phase, self.activation if k == 0 else None) for k, phase in enumerate(self.phases))


@dataclass(frozen=True)
class Pattern:
    """Windows that hold the same bricks in the same places: their matrices are made, and split, all at once.

    ``names`` are the bricks of each window, ``numbers`` the windows.
    """

    side: int
    gates: tuple[Gate, ...]
    numbers: tuple[int, ...]
    names: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """A program as stages. ``entries`` is the size of every state."""

    start: Product
    entries: int
    stages: tuple[Stage, ...]
    patterns: tuple[Pattern, ...]


@lru_cache(maxsize=256)
def plan_of(program: Program) -> Plan | None:
    """Return the plan of a program, or None where it holds an expansion or a mixing around the end, or no step."""
    parts = _parts(program)
    if parts is None:
        return None
    dims = program.start.out_dims
    stairs: list[Stair] = []
    stages = []
    for activation, columns in parts:
        covered = stairs_of(dims, [column.pairs for column in columns])
        name = " ".join(column.name for column in columns)
        stages.append(Stage(name, activation, _phases(dims, covered, len(stairs))))
        stairs.extend(covered)
    return Plan(program.start, prod(dims), tuple(stages), _patterns(stairs))


def _parts(program: Program) -> list[tuple[Activation | None, list[Mix]]] | None:
    """Return for each stage its activation and its columns: two at most, for windows of more columns grow."""
    parts: list[tuple[Activation | None, list[Mix]]] = []
    activation: Activation | None = None
    fresh = True
    for step in program.steps:
        if isinstance(step, Activate):
            fresh = fresh or step.activation.name != "identity"
            activation = step.activation if step.activation.name != "identity" else activation
        elif isinstance(step, Mix) and all(q + 1 < len(step.dims) for q, _ in step.pairs):
            if fresh or len(parts[-1][1]) == 2:
                parts.append((activation, []))
                activation, fresh = None, False
            parts[-1][1].append(step)
        else:
            return None
    return parts or None


def _phases(dims: tuple[int, ...], stairs: Sequence[Stair], number: int) -> tuple[Phase, ...]:
    """Group windows into phases, from the last: as many as fit a chunk, and before them as many as fit ``LEADING``."""
    phases: list[Phase] = []
    end, limit = len(stairs), CHUNK
    while end:
        begin = end - 1
        while begin and _span(dims, stairs[begin - 1 : end])[2] <= limit:
            begin -= 1
        first, last, middle = _span(dims, stairs[begin:end])
        windows = tuple(
            Placed(number + begin + k, prod(dims[first : s.first]), s.side, prod(dims[s.last : last]))
            for k, s in enumerate(stairs[begin:end])
        )
        phases.append(Phase(prod(dims[:first]), middle, prod(dims[last:]), windows))
        end, limit = begin, LEADING
    return tuple(reversed(phases))


def _span(dims: tuple[int, ...], stairs: Sequence[Stair]) -> tuple[int, int, int]:
    first, last = min(s.first for s in stairs), max(s.last for s in stairs)
    return first, last, prod(dims[first:last])


def _patterns(stairs: Sequence[Stair]) -> tuple[Pattern, ...]:
    alike: dict[tuple[int, tuple[Gate, ...]], list[int]] = {}
    for number, stair in enumerate(stairs):
        alike.setdefault((stair.side, stair.gates), []).append(number)
    return tuple(
        Pattern(side, gates, tuple(numbers), tuple(stairs[number].names for number in numbers))
        for (side, gates), numbers in alike.items()
    )

"""How much memory a plan takes besides the states: the scratch arrays of its chunks, in entries.

Counted from how the NumPy backend runs a chunk. A scratch array has a number, and is kept from one phase to the next,
by every thread; what an activation's formula makes, and an environment, lives for a moment.
"""

from math import ceil, prod

from adntn_ref.ad.activations import Activation
from adntn_ref.program.plan import Phase, Plan
from adntn_ref.program.steps import Product
from adntn_ref.program.workers import threads_for

IN_PLACE = ("relu", "tanh", "sin")
"""Activations that are written where they are wanted; the others make an array of their own."""
_SIGMA = {"leaky_relu": 2, "sigmoid": 2, "gelu": 3, "silu": 2}
_SLOPE = {"relu": 0, "tanh": 2, "sin": 1, "leaky_relu": 2, "sigmoid": 2, "gelu": 3, "silu": 2}
"""Arrays alive at once, at most, while sigma or sigma' is computed, those that go in left out."""
GROUPS = 32
"""Groups of chunks, at most, that each add up environments of their own."""
SHARED = 0, 1, 2
"""The chunk's input or its sigma, and two arrays that its windows fill in turn, forward and back."""
INPUTS = 3
"""From here on: sigma where the input was copied, and what each window but the first was applied to."""


def forward_room(plan: Plan, in_place: bool) -> int:
    """Return the entries that running all phases forward takes; ``in_place``: each over its own input."""
    slots: dict[int, int] = {}
    moment = 0
    for phase, activation in _phases(plan):
        last, gathers = len(phase.windows) - 1, _strided(phase)
        direct = not gathers and not (last == 0 and in_place)
        used = {1 + k % 2 for k in range(last + 1 - direct)}
        if gathers or (activation is not None and activation.name in IN_PLACE):
            used.add(0)
        _use(slots, used, phase, phase.chunk_count)
        if activation is not None:
            threads = threads_for(plan.entries, phase.chunk_count)
            moment = max(moment, _sigma(activation) * _chunk(phase) * threads)
    return sum(slots.values()) + moment


def back_room(plan: Plan, kept: bool) -> int:
    """Return the entries that the adjoint of all phases takes; ``kept``: what windows were applied to is at hand."""
    slots: dict[int, int] = {}
    moment = 0
    for phase, activation in _phases(plan):
        groups = min(GROUPS, phase.chunk_count)
        gathers, count = _strided(phase), len(phase.windows)
        used = {1, 2} if gathers or count > 1 else {2}
        used |= set() if kept else {INPUTS + 1 + k for k in range(count - 1)}
        if gathers:
            used.add(0)
        if activation is not None and activation.name in IN_PLACE:
            used.add(INPUTS if gathers else 0)
        _use(slots, used, phase, groups)
        threads = threads_for(plan.entries, groups)
        found = sum(window.side**2 for window in phase.windows) * groups
        moment = max(moment, ceil(_momentary(phase, activation) * _chunk(phase)) * threads + found)
    return sum(slots.values()) + max(moment, _start_room(plan.start))


def _start_room(start: Product) -> int:
    """Return the entries of the outer products that the start's adjoint makes: factors k, k + 1, ... for each k > 0."""
    sizes = [prod(factor.dims) for factor in start.factors]
    return sum(prod(sizes[k:]) for k in range(1, len(sizes)))


def _momentary(phase: Phase, activation: Activation | None) -> float:
    """Return the most chunks alive for a moment during an adjoint: an environment's copies and parts, or sigma'."""
    held = 0 if activation is None or activation.name in IN_PLACE else 1
    most = 0.0 if activation is None else float(max(_SLOPE.get(activation.name, 3) + held, _sigma(activation)))
    for window in phase.windows:
        right = window.after * phase.chunk[1]
        copies = 2 if 1 < right <= 2 * window.side else 0
        most = max(most, held + copies + window.side / max(64, min(right, 256)))
    return most


def _sigma(activation: Activation) -> int:
    """Return the arrays alive while sigma is computed, its result among them; of one of a user's own, about two."""
    return 0 if activation.name in IN_PLACE else _SIGMA.get(activation.name, 2)


def _phases(plan: Plan) -> list[tuple[Phase, Activation | None]]:
    return [part for stage in plan.stages for part in stage.parts]


def _use(slots: dict[int, int], used: set[int], phase: Phase, tasks: int) -> None:
    room = _chunk(phase) * threads_for(phase.left * phase.middle * phase.right, tasks)
    for slot in used:
        slots[slot] = max(slots.get(slot, 0), room)


def _strided(phase: Phase) -> bool:
    """Return whether a chunk is copied to lie in one piece."""
    return phase.chunk[1] < phase.right


def _chunk(phase: Phase) -> int:
    rows, columns = phase.chunk
    return rows * phase.middle * columns

"""What a network costs: operations, bytes moved and bytes held, step by step, before anything runs."""

from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from adntn_ref.ad.arrays import COMPLEX, REAL
from adntn_ref.errors import DTypeError, SpecError
from adntn_ref.program.frames import Frames
from adntn_ref.program.schedule import SCHEDULES
from adntn_ref.program.steps import Program, Step

ITEM_BYTES = {"float32": 4, "float64": 8, "complex64": 8, "complex128": 16}


@dataclass(frozen=True)
class StepCost:
    """Cost of one step.

    ``flops_*`` are real multiplications and additions of a real network, ``bytes_*`` what is read from and written to
    memory if nothing stays in a cache, ``state_bytes`` the size of the state after the step and ``kept_bytes`` what the
    schedule holds for the adjoint.
    """

    step: str
    flops_forward: int
    flops_backward: int
    bytes_forward: int
    bytes_backward: int
    state_bytes: int
    kept_bytes: int


@dataclass(frozen=True)
class Cost:
    """Cost of generating one weight, and of its adjoint; bytes and floating-point operations."""

    dtype: str
    schedule: str
    parameters: int
    weights: int
    flops_forward: int
    flops_backward: int
    bytes_forward: int
    bytes_backward: int
    peak_bytes_forward: int
    peak_bytes_backward: int
    largest_state_bytes: int
    steps: tuple[StepCost, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        return asdict(self)


def program_cost(program: Program | Frames, parameters: int, weights: int, dtype: str, schedule: str) -> Cost:
    """Count a program under a schedule.

    Complex operations count as four real ones. Peak bytes are the arrays that are alive at the worst moment: two states
    forward (one where the start alone runs), and for the adjoint all that is kept plus two cotangents.

    Raises
    ------
    DTypeError, SpecError
        For an unknown dtype or schedule.
    """
    if dtype not in ITEM_BYTES:
        raise DTypeError(f"no cost for dtype {dtype}; allowed: {', '.join((*REAL, *COMPLEX))}")
    if schedule not in SCHEDULES:
        raise SpecError(f"no schedule is called {schedule!r}; allowed: {', '.join(SCHEDULES)}")
    item = ITEM_BYTES[dtype]
    factor = 4 if dtype in COMPLEX else 1
    if isinstance(program, Frames):
        return _frames_cost(program, parameters, weights, dtype, schedule)
    steps = [_start_cost(program, item, factor)]
    steps += [_step_cost(step, item, factor) for step in program.steps]
    largest = max(s.state_bytes for s in steps)
    backward = sum(s.kept_bytes for s in steps) + steps[-1].state_bytes + 2 * largest
    peaks = (_peak_forward(program, item), backward)
    return total_cost(steps, peaks, parameters=parameters, weights=weights, dtype=dtype, schedule=schedule)


def total_cost(
    steps: list[StepCost], peaks: tuple[int, int], *, parameters: int, weights: int, dtype: str, schedule: str
) -> Cost:
    """Add up the costs of steps; ``peaks`` are the bytes alive at the worst moment forward and with the adjoint."""
    return Cost(
        dtype=dtype,
        schedule=schedule,
        parameters=parameters,
        weights=weights,
        flops_forward=sum(s.flops_forward for s in steps),
        flops_backward=sum(s.flops_backward for s in steps),
        bytes_forward=sum(s.bytes_forward for s in steps),
        bytes_backward=sum(s.bytes_backward for s in steps),
        peak_bytes_forward=peaks[0],
        peak_bytes_backward=peaks[1],
        largest_state_bytes=max(s.state_bytes for s in steps),
        steps=tuple(steps),
    )


def _frames_cost(program: Frames, parameters: int, weights: int, dtype: str, schedule: str) -> Cost:
    item, factor = ITEM_BYTES[dtype], 4 if dtype in COMPLEX else 1
    steps = []
    for frame in program.frames:
        inner = frame is not program.frames[-1]
        t = frame.rows[0] * frame.bonds[1] * frame.bonds[2]
        moved = (2 * t + (3 if inner else 1) * frame.size) * item
        flops, kept = frame.flops() * factor, (t + 2 * frame.size) * item
        ops = inner * frame.size * factor
        steps.append(StepCost(frame.core, flops + ops, 2 * (flops + ops), moved, 2 * moved, frame.size * item, kept))
    peaks = tuple(entries * item for entries in program.peak_entries())
    return total_cost(
        steps, (peaks[0], peaks[1]), parameters=parameters, weights=weights, dtype=dtype, schedule=schedule
    )


def _start_cost(program: Program, item: int, factor: int) -> StepCost:
    forward, backward = program.start.flops()
    state = prod(program.start.out_dims) * item
    return StepCost(program.start.name, factor * forward, factor * backward, 2 * state, 3 * state, state, 0)


def _step_cost(step: Step, item: int, factor: int) -> StepCost:
    forward, backward = step.flops()
    # A pass reads one state and writes the next; its adjoint reads both for the environment, and again for gx.
    # Turning a state, and turning it back, reads and writes it twice.
    moved = (sum(before + after for before, after in step.sizes()) + 4 * sum(step.scratch())) * item
    kept = sum(before for before, _ in step.sizes()) * item
    return StepCost(step.name, factor * forward, factor * backward, moved, 2 * moved, prod(step.out_dims) * item, kept)


def _peak_forward(program: Program, item: int) -> int:
    """Return the bytes of the two states of the worst pass, or of the start where there is nothing else."""
    held = [
        sum(pair) + scratch
        for step in program.steps
        for pair, scratch in zip(step.sizes(), step.scratch(), strict=True)
    ]
    return max([prod(program.start.out_dims), *held]) * item

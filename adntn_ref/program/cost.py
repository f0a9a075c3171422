"""What a network costs: operations, bytes moved and bytes held, step by step, before anything runs."""

from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from adntn_ref.ad.arrays import COMPLEX, REAL
from adntn_ref.ad.sized import Library
from adntn_ref.errors import DTypeError
from adntn_ref.program.frames import Frames
from adntn_ref.program.ghost import GhostRun, Row
from adntn_ref.program.numbers import numbers_of
from adntn_ref.program.plan import plan_of
from adntn_ref.program.runs import segments_of
from adntn_ref.program.schedule import run_adjoint, run_keeping
from adntn_ref.program.steps import Program

ITEM_BYTES = {"float32": 4, "float64": 8, "complex64": 8, "complex128": 16}


def check_dtype(dtype: object) -> None:
    """Refuse a dtype for which no cost is known.

    Raises
    ------
    DTypeError
    """
    if dtype not in ITEM_BYTES:
        raise DTypeError(f"no cost for dtype {dtype}; allowed: {', '.join((*REAL, *COMPLEX))}")


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


def ghost_run(program: Program, shapes: dict[str, tuple[int, ...]], library: Library, fused: bool) -> GhostRun:
    """Return a program as a run on sized arrays; ``fused``: as the NumPy backend runs it, where it has its own way."""
    first, segments, whole = numbers_of(program, fused)
    if fused and plan_of(program) is not None:  # environments are taken apart at the end
        return GhostRun(first, segments, whole, ((),) * len(segments), shapes, library, lasting=True)
    names = tuple(tuple(n for step in steps for n in step.core_names) for steps in segments_of(program))
    return GhostRun(first, segments, whole, names, shapes, library)


def program_cost(
    program: Program | Frames,
    shapes: dict[str, tuple[int, ...]],
    peaks: tuple[int, int],
    *,
    weights: int,
    dtype: str,
    schedule: str,
    fused: bool = True,
) -> Cost:
    """Count what the steps of a program do under a schedule.

    Complex operations count as four real ones. The schedule is run on sizes instead of arrays
    (:mod:`adntn_ref.program.ghost`). ``shapes`` are those of the cores, ``peaks`` the bytes alive at the worst moment
    forward and with the adjoint. ``fused``: as the NumPy backend runs it, where it has its own way.

    Raises
    ------
    SpecError
        For an unknown schedule.
    """
    first, segments, whole = numbers_of(program, fused)
    run = GhostRun(first, segments, whole, ((),) * len(segments), shapes, Library(dtype))
    weight, saved = run_keeping(run, schedule)
    run.turned = True
    held = set(range(run.count)) if saved.slots is None else set(saved.inputs)
    run_adjoint(run, saved, weight)
    item, factor = ITEM_BYTES[dtype], 4 if dtype in COMPLEX else 1
    steps = [_step_cost(row, (1, 0, 0, 1), row.kept, item, factor) for row in first.rows if row.state]
    for k, segment in enumerate(segments):
        times = tuple(run.counts[verb, k] for verb in ("ahead", "rerun", "again", "back"))
        for n, row in enumerate(segment.rows):
            kept = row.kept
            if saved.slots is not None:  # of what the steps keep, the schedule holds a segment's input alone
                kept = (segments[k - 1] if k else first).state if k in held and n == 0 else 0
            steps.append(_step_cost(row, times, kept, item, factor))
    parameters = sum(prod(shape) for shape in shapes.values())
    return total_cost(steps, peaks, parameters=parameters, weights=weights, dtype=dtype, schedule=schedule)


def _step_cost(row: Row, times: tuple[int, ...], kept: int, item: int, factor: int) -> StepCost:
    """Return the cost of a step that is run ahead, again to reach a state, again for its record, and back so often."""
    ahead, rerun, again, back = times
    behind = [
        rerun * getattr(row.forward, what) + again * getattr(row.again, what) + back * getattr(row.back, what)
        for what in ("flops", "moved")
    ]
    return StepCost(
        row.name,
        factor * ahead * row.forward.flops,
        factor * behind[0],
        ahead * row.forward.moved * item,
        behind[1] * item,
        row.state * item,
        kept * item,
    )


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

"""Programs in numbers: what every verb of every segment of a run takes, counted from the formulas, not measured."""

from dataclasses import replace
from functools import lru_cache
from math import prod

from adntn_ref.program.frames import Frames
from adntn_ref.program.ghost import Row, Segment, Work
from adntn_ref.program.plan import Pattern, Plan, Stage, plan_of
from adntn_ref.program.rooms import back_room, forward_room
from adntn_ref.program.runs import segments_of
from adntn_ref.program.stairs import is_brick
from adntn_ref.program.steps import Activate, Product, Program, Step
from adntn_ref.program.workers import thread_count

Numbers = tuple[Segment, tuple[Segment, ...], int]
"""The start, the segments, and the entries alive at the worst moment of a run that keeps nothing."""


def numbers_of(program: Program | Frames, fused: bool) -> Numbers:
    """Return a program in numbers; ``fused`` as a backend's own runner runs it, where there is a plan."""
    return _numbers_of(program, fused, thread_count())


@lru_cache(maxsize=256)
def _numbers_of(program: Program | Frames, fused: bool, threads: int) -> Numbers:
    if isinstance(program, Frames):
        return _of_frames(program)
    plan = plan_of(program) if fused else None
    return _of_steps(program) if plan is None else _of_plan(plan)


def _start(start: Product) -> Row:
    forward, backward = start.flops()
    size = prod(start.out_dims)
    return Row(start.name, Work(forward, 2 * size), Work(), Work(backward, 3 * size), size, 0)


def _of_steps(program: Program) -> Numbers:
    first = Segment((_start(program.start),))
    segments = []
    for steps in segments_of(program):
        sizes = [pair for step in steps for pair in step.sizes()]
        scratch = [entries for step in steps for entries in step.scratch()]
        room = max(
            (pair[0] if k else 0) + (pair[1] if k + 1 < len(sizes) else 0) + extra
            for k, (pair, extra) in enumerate(zip(sizes, scratch, strict=True))
        )
        segments.append(
            Segment(
                tuple(_step(step) for step in steps),
                forward_room=room,
                keeping_room=max(scratch),
                again_room=max(scratch) + sizes[-1][1],
                back_room=_room_back(steps),
                record=sum(before for before, _ in sizes[1:]),
            )
        )
    worst = [
        sum(pair) + extra for step in program.steps for pair, extra in zip(step.sizes(), step.scratch(), strict=True)
    ]
    return first, tuple(segments), max([first.state, *worst])


def _step(step: Step) -> Row:
    forward, back = step.flops()
    # A pass reads one state and writes the next; its adjoint reads both for the environment, and again for gx.
    # Turning a state, and turning it back, reads and writes it twice.
    moved = sum(sum(pair) for pair in step.sizes()) + 4 * sum(step.scratch())
    kept = sum(before for before, _ in step.sizes())
    work = Work(forward, moved)
    return Row(step.name, work, work, Work(back, 2 * moved), prod(step.out_dims), kept)


def _room_back(steps: tuple[Step, ...]) -> int:
    """Return the entries that the adjoint of some steps holds besides the record and the cotangent that comes in."""
    worst, mine = 0, 0  # ``mine``: the cotangent between two passes; the first is the caller's
    for step in reversed(steps):
        if isinstance(step, Activate):
            if step.activation.name != "identity":
                size = prod(step.out_dims)
                worst, mine = max(worst, mine + 2 * size), size
            continue
        for window in reversed(step.windows):
            before, _ = window.entries
            extra = 2 * window.scratch
            worst = max(worst, mine + window.environment_room + extra, mine + before + extra)
            mine = before
    return worst


def _of_frames(frames: Frames) -> Numbers:
    rows = []
    for frame in frames.frames:
        inner = frame is not frames.frames[-1]
        t = frame.rows[0] * frame.bonds[1] * frame.bonds[2]
        flops = frame.flops() + inner * frame.size
        moved = 2 * t + (3 if inner else 1) * frame.size
        work = Work(flops, moved)
        rows.append(
            Row(
                frame.core, work, work, Work(2 * flops, 2 * moved), frame.size, frame.passing + (1 + inner) * frame.size
            )
        )
    size = frames.frames[-1].size
    forward, kept, room = frames.peak_entries()
    nothing = Row("leaves", Work(), Work(), Work(), 0, 0)
    whole = Segment(tuple(rows), forward_room=forward - size, again_room=size, back_room=room, record=kept - size)
    return Segment((nothing,)), (whole,), forward


def _of_plan(plan: Plan) -> Numbers:
    small_room = sum(_matrix_room(pattern) for pattern in plan.patterns)
    rooms = small_room + forward_room(plan, in_place=False), small_room + back_room(plan)
    segments = tuple(_of_stage(stage, plan.entries, rooms) for stage in plan.stages)
    first = _start(plan.start)
    # The windows' matrices are made with the start, once, and their environments taken apart at the end.
    small = [pattern_flops(pattern) for pattern in plan.patterns]
    forward = replace(first.forward, flops=first.forward.flops + sum(made for made, _ in small))
    back = replace(first.back, flops=first.back.flops + sum(apart for _, apart in small))
    row = replace(first, forward=forward, back=back)
    return Segment((row,)), segments, row.state + small_room + forward_room(plan, in_place=True)


def _matrix_room(pattern: Pattern) -> int:
    """Return the entries of a pattern's matrices, with the partial products that their split needs."""
    bricks = sum(gate.size**2 for gate in pattern.gates)
    partial = 0 if is_brick(pattern.gates, pattern.side) else pattern.side**2 * len(pattern.gates)
    return (2 * bricks + partial) * len(pattern.numbers)


def pattern_flops(pattern: Pattern) -> tuple[int, int]:
    """Return the operations that make the matrices of a pattern's windows, and that split their environments."""
    if is_brick(pattern.gates, pattern.side):
        return 0, 0
    each = [2 * gate.size * pattern.side**2 * len(pattern.numbers) for gate in pattern.gates]
    return sum(each), 2 * sum(each) - each[0]


def _of_stage(stage: Stage, entries: int, rooms: tuple[int, int]) -> Segment:
    sides = [[window.side for window in phase.windows] for phase in stage.phases]
    bend = entries if stage.activation is not None else 0
    forward = bend + sum(2 * side * entries for phase in sides for side in phase)
    within = bend + sum(2 * side * entries for phase in sides for side in phase[:-1])
    again = sum(2 * side * entries for phase in sides[:-1] for side in phase) + (bend if len(sides) > 1 else 0)
    back = within + 2 * (forward - bend) + 2 * bend
    count = len(sides)
    row = Row(
        stage.name,
        Work(forward, 2 * count * entries),
        Work(again, 2 * (count - 1) * entries),
        Work(back, 3 * count * entries),
        entries,
        count * entries,
    )
    return Segment(
        (row,),
        forward_room=rooms[0],
        keeping_room=rooms[0],
        again_room=rooms[0],
        back_room=rooms[1],
        record=(count - 1) * entries,
        in_place=True,
    )

"""Every state and every cotangent of a program by name, for a reader or another implementation to compare with."""

from collections.abc import Iterator
from typing import Any

from adntn_ref.ad.arrays import Array
from adntn_ref.program.frames import Frames
from adntn_ref.program.steps import Cores, Program


def run_states(program: Program | Frames, cores: Cores) -> dict[str, Array]:
    """Return the state after the start and after each step, by the step's name, each of shape (P_step,)."""
    return dict(walk_states(program, cores))


def walk_states(program: Program | Frames, cores: Cores) -> Iterator[tuple[str, Array]]:
    """Yield each state of :func:`run_states` with its name as it is made; of a program no more than two are held."""
    if isinstance(program, Frames):
        yield from program.states(cores).items()
        return
    x = program.start.forward(cores)[0]
    yield program.start.name, x
    for step in program.steps:
        for one_pass in step.passes(cores):
            x = one_pass(x)
        yield step.name, x


def run_adjoint_states(program: Program | Frames, cores: Cores, g: Array) -> dict[str, Array]:
    """Return the cotangent of every state, by the name of the step that made it, each of shape (P_step,).

    Where an activation follows a step, this is the pre-activation adjoint of the step's state.
    """
    found = dict(_walk_back(program, cores, g))
    return {step.name: found[step.name] for step in program.all_steps}


def _walk_back(program: Program | Frames, cores: Cores, g: Array) -> Iterator[tuple[str, Array]]:
    """Yield each step's name and the cotangent of the state it made, the last first."""
    if isinstance(program, Frames):
        for name, _, cotangent in program.walk_back(cores, program.run(cores)[1], g):
            yield name, cotangent
        return
    x = program.start.forward(cores)[0]
    record: list[Any] = []
    for step in program.steps:
        x, kept = step.forward(cores, x)
        record.append(kept)
    for step, kept in zip(reversed(program.steps), reversed(record), strict=True):
        yield step.name, g
        g = step.adjoint(cores, kept, g)[0]
    yield program.start.name, g

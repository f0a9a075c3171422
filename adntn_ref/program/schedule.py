"""Running a program: forward, keeping what the adjoint needs, and the adjoint.

A schedule interprets a program and knows nothing of topologies. There is one so far, ``keep``: every state stays in
memory until the adjoint has used it.
"""

from collections.abc import Iterator
from typing import Any

from adntn_ref.ad.arrays import Array
from adntn_ref.program.frames import Frames
from adntn_ref.program.steps import Cores, Program

SCHEDULES = ("keep",)

Back = tuple[str, Cores, Array]
"""A step's name, the environments of its cores, and the cotangent of the state it made."""


def run_forward(program: Program | Frames, cores: Cores) -> Array:
    """Return the last state, shape (P,); earlier states are dropped as soon as they are used.

    Pass by pass, so that never more than two states are held, whatever the number of windows of a column.
    """
    if isinstance(program, Frames):
        return program.run(cores)[0]
    x = program.start.forward(cores)[0]
    for step in program.steps:
        for one_pass in step.passes(cores):
            x = one_pass(x)
    return x


def run_states(program: Program | Frames, cores: Cores) -> dict[str, Array]:
    """Return the state after the start and after each step, by the step's name, each of shape (P_step,)."""
    if isinstance(program, Frames):
        return program.states(cores)
    x = program.start.forward(cores)[0]
    states = {program.start.name: x}
    for step in program.steps:
        for one_pass in step.passes(cores):
            x = one_pass(x)
        states[step.name] = x
    return states


def run_keeping(program: Program | Frames, cores: Cores) -> tuple[Array, list[Any]]:
    """Return the last state and what each step keeps for its adjoint, in the order of ``program.all_steps``."""
    if isinstance(program, Frames):
        return program.run(cores)
    x, kept = program.start.forward(cores)
    record: list[Any] = [kept]
    for step in program.steps:
        x, kept_by_step = step.forward(cores, x)
        record.append(kept_by_step)
    return x, record


def run_adjoint(program: Program | Frames, cores: Cores, record: list[Any], g: Array) -> Cores:
    """Carry the cotangent g of the last state, shape (P,), back through the program.

    Returns
    -------
    dict
        The environment of every core, by name: the gradient of <g, last state> with respect to it.
    """
    found: Cores = {}
    for _, environments, _ in walk_back(program, cores, record, g):
        found.update(environments)
    return found


def run_adjoint_states(program: Program | Frames, cores: Cores, record: list[Any], g: Array) -> dict[str, Array]:
    """Return the cotangent of every state, by the name of the step that made it, each of shape (P_step,).

    Where an activation follows a step, this is the pre-activation adjoint of the step's state.
    """
    found = {name: cotangent for name, _, cotangent in walk_back(program, cores, record, g)}
    return {step.name: found[step.name] for step in program.all_steps}


def walk_back(
    program: Program | Frames, cores: Cores, record: list[Any], g: Array
) -> Iterator[tuple[str, Cores, Array]]:
    """Yield for each step, the last first: its name, the environments of its cores, the cotangent of its state."""
    if isinstance(program, Frames):
        yield from program.walk_back(cores, record, g)
        return
    for step, kept in zip(reversed(program.steps), reversed(record[1:]), strict=True):
        after = g
        g, environments = step.adjoint(cores, kept, g)
        yield step.name, environments, after
    yield program.start.name, program.start.adjoint(cores, record[0], g), g

r"""The named starts in decimals: what given normal numbers become.

Every core is read as a matrix M (outputs x inputs); a core of the start state, and the root, has one input.

- ``orthogonal``: M = Q R with the diagonal of R positive, by Gram and Schmidt; with more inputs than outputs, of the
  transpose. Cores of the start state stay as they are.
- ``calibrated_orthogonal``: that, and then step after step, each state brought to root mean square 1 and the weight to
  standard deviation ``std``; the factor is shared evenly among the cores of the step.
- ``isometric``: orthogonal, not calibrated. ``normal``: M / sqrt(inputs). ``near_identity``: the unit matrix + M / 10.
"""

from dataclasses import dataclass
from decimal import Decimal
from math import prod

import numpy as np

from adntn_ref.networks import ATTN, MERA, TTN, BrickWall
from adntn_ref.networks.programmed import ProgramNetwork
from adntn_ref.program.steps import Program

from .cases import Numbers
from .decimals import ONE, ZERO, Array, exact
from .exact import take
from .programs import Run

Cores = dict[str, Array]


@dataclass(frozen=True, eq=False)
class StartCase:
    """A start by name, of a network, from given normal numbers; ``std`` for the calibrated one."""

    name: str
    start: str
    network: ProgramNetwork
    seed: int
    normal: Cores
    std: float | None = None


def start_cases() -> list[StartCase]:
    """Return the starts, in the order of the file."""
    wall = BrickWall((5, 6), 2, activation="relu")
    trainable = BrickWall((5, 4), 2, (2, 5, 2), "tanh", "trainable")
    found: list[StartCase] = []
    for name, start, network, std in (
        ("start/calibrated-brickwall", "calibrated_orthogonal", wall, 0.25),
        ("start/calibrated-trainable", "calibrated_orthogonal", trainable, 1.0),
        ("start/calibrated-mera", "calibrated_orthogonal", MERA((5, 6), 3), 0.5),
        ("start/isometric-ttn", "isometric", TTN((5, 6), 3), None),
        ("start/normal-brickwall", "normal", wall, None),
        ("start/near-identity-attn", "near_identity", ATTN((5, 6), 3), None),
    ):
        seed = 3 + len(found)
        numbers = Numbers(seed)
        normal = {core: numbers.draw(shape) for core, shape in network.core_shapes.items()}
        found.append(StartCase(name, start, network, seed, normal, std))
    return found


def run(case: StartCase) -> Cores:
    """Return the cores of a start, in decimals."""
    program = case.network.program
    assert isinstance(program, Program)
    vectors = set(program.start.core_names)
    cores = {name: _first(case.start, exact(normal), name in vectors) for name, normal in case.normal.items()}
    return _calibrated(case, program, cores) if case.start == "calibrated_orthogonal" else cores


def _first(start: str, normal: Array, is_vector: bool) -> Array:
    inputs = prod(normal.shape[2:])
    if start == "near_identity":
        unit = np.full((normal.size // inputs, inputs), ZERO, object)
        unit[range(1 if is_vector else min(unit.shape)), range(1 if is_vector else min(unit.shape))] = ONE
        return np.asarray(unit.reshape(normal.shape) + normal * Decimal.from_float(0.1))
    if is_vector:
        return normal
    if start == "normal":
        return np.asarray(normal / Decimal(inputs).sqrt())
    matrix = normal.reshape(-1, inputs)
    wide = matrix.shape[0] < inputs
    q = _orthogonal(matrix.T if wide else matrix)
    return (q.T if wide else q).reshape(normal.shape)


def _orthogonal(matrix: Array) -> Array:
    columns: list[Array] = []
    for column in matrix.T:
        for other in columns:
            column = column - other * (other * column).sum()
        columns.append(column / (column * column).sum().sqrt())
    return np.stack(columns, axis=1)


def _calibrated(case: StartCase, program: Program, cores: Cores) -> Cores:
    steps = [step for step in program.all_steps if step.core_names]
    for step in steps:
        state = Run(program, cores, case.network.activation).states[step.name]
        if step is steps[-1]:
            weight = take(case.network, state).reshape(-1)
            weight = weight - weight.sum() / weight.size
            size = Decimal.from_float(case.std or 1.0) / ((weight * weight).sum() / weight.size).sqrt()
        else:
            size = 1 / ((state * state).sum() / state.size).sqrt()
        share = size ** (ONE / len(step.core_names))
        cores = cores | {name: cores[name] * share for name in step.core_names}
    return cores

"""One step of Adam on the 76 bricks of a brick-wall: on one packed array, against torch's ways."""

from collections.abc import Callable
from typing import Any

import numpy as np

from adntn_ref import BrickWall
from adntn_ref.compression.optimisers import Adam, Packing
from adntn_ref.errors import DisagreementError

from .candidate import installed
from .plan import Plan
from .table import Row, Table
from .timing import alternate
from .workload import Array

RATE = 1e-2
Step = Callable[[], Any]
State = Callable[[], dict[str, Array]]
WAYS: dict[str, dict[str, bool]] = {
    "torch default": {},
    "torch foreach": {"foreach": True},
    "torch fused": {"fused": True},
}


def own(params: dict[str, Array], gradients: dict[str, Array], packs: bool) -> tuple[Step, State]:
    """Return a step on the packed vector (``packs``: with packing the gradients), and what it makes of the cores."""
    packing, adam = Packing(params), Adam()
    vector = packing.pack(params)
    state, packed = adam.start(vector), packing.pack(gradients)
    at = [0]

    def step() -> None:
        adam.update(vector, packing.pack(gradients) if packs else packed, state, at[0], RATE)
        at[0] += 1

    return step, lambda: dict(packing.unpack(vector))


def torch_way(params: dict[str, Array], gradients: dict[str, Array], how: dict[str, bool]) -> tuple[Step, State]:
    """Return a step of ``torch.optim.Adam``, and what it makes of the cores."""
    from ..adapters.torch_adapter import torch

    cores = {name: torch.tensor(core, requires_grad=True) for name, core in params.items()}
    for name, core in cores.items():
        core.grad = torch.tensor(gradients[name])
    step: Step = torch.optim.Adam(list(cores.values()), lr=RATE, **how).step
    return step, lambda: {name: core.detach().numpy() for name, core in cores.items()}


def optimiser(plan: Plan) -> Table:
    """Measure a step; all must have made the same of the cores after three steps."""
    plan.say("a step of Adam")
    rng = np.random.default_rng(2)
    shapes = BrickWall((2**20,), layers=4).core_shapes
    params, gradients = (
        {name: rng.standard_normal(shape).astype(plan.dtype) for name, shape in shapes.items()} for _ in range(2)
    )
    ways = {
        "ours": own(params, gradients, packs=False),
        "ours, with packing": own(params, gradients, packs=True),
    }
    table = Table("optimiser", f"One step of Adam, {plan.dtype}, ms (ours / theirs)", "ms", "cores")
    row = Row(f"{len(gradients)} bricks", {"cores": len(gradients), "dtype": plan.dtype})
    for name, how in WAYS.items():
        if installed("torch"):
            ways[name] = torch_way(params, gradients, how)
        else:
            row.left_out[name] = "not installed: torch"
    agree(ways)
    timed = alternate({name: step for name, (step, _) in ways.items()}, plan.timing(20.0))
    row.samples = {name: [1e3 * s for s in found] for name, found in timed.samples.items()}
    row.values = {name: 1e3 * seconds for name, seconds in timed.medians.items()}
    row.ratios_to("ours")
    table.rows.append(row)
    return table


def agree(ways: dict[str, tuple[Step, State]], steps: int = 3) -> None:
    """Take some steps and compare what they make of the cores.

    Raises
    ------
    DisagreementError
        Where a core differs by more than 1e-5.
    """
    for step, _ in ways.values():
        for _ in range(steps):
            step()
    expected = ways["ours"][1]()
    for name, (_, state) in ways.items():
        found = state()
        off = max(float(np.max(np.abs(found[core] - expected[core]))) for core in expected)
        if not off <= 1e-5:
            raise DisagreementError(
                f"{name}: after {steps} steps of Adam a core differs from the package's by {off:.3g}"
            )

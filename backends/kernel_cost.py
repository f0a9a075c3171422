"""What the tile kernels cost, counted from their plan: bytes through memory, through the caches, operations.

These are counts, not times: no figure here was measured on a GPU. A multiplication and an addition are two operations;
a brick applied to a state of n entries takes 8 n.
"""

from dataclasses import dataclass

from .fused_tiles import bind
from .kernel_plan import BACK, ENTRIES, Layer, Limits, Pass, passes_of, slots_for, walk_back


@dataclass(frozen=True)
class Cost:
    """Counts of one direction.

    ``states`` read or written in global memory; ``memory`` bytes of them and of the blocks' partial environments;
    ``scratch`` bytes of tiles kept in the level-2 cache; ``shared`` bytes of tiles in shared memory; ``flops``.
    """

    states: int
    memory: int
    scratch: int
    shared: int
    flops: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.states + other.states,
            self.memory + other.memory,
            self.scratch + other.scratch,
            self.shared + other.shared,
            self.flops + other.flops,
        )


def forward_cost(one: Pass, bits: int, limits: Limits) -> Cost:
    """Return the cost of one pass forward: a state read, one written, the tile once through each round."""
    state = limits.itemsize << bits
    return Cost(2, 2 * state, 0, (2 + 2 * len(one.rounds)) * state, 8 * len(one.bricks) << bits)


def backward_cost(one: Pass, bits: int, blocks: int, limits: Limits) -> Cost:
    """Return the cost of one pass back: two states read, one written, the walk, the environments of ``blocks`` blocks.

    A round back reads its input once a brick, makes the states between its bricks again, and takes 16 operations an
    entry and brick: 8 for the environment, 8 for the cotangent.
    """
    state, entries = limits.itemsize << bits, 1 << bits
    shared, spilled = slots_for(one, limits)
    scratch = state if spilled else 0
    traffic, flops = 2 * state + (0 if spilled else state), 0
    for op in walk_back(len(one.rounds), shared + spilled):
        part = one.rounds[op.round]
        bricks = len(part.bricks)
        if op.source < spilled:
            scratch += state  # a round back first fetches its input into a slot that is free
        if op.kind == BACK:
            traffic += (bricks + part.activate + 2 + (op.source < spilled)) * state
            flops += (16 * bricks + 8 * (bricks * (bricks - 1) // 2)) * entries
            continue
        traffic += state * (op.source >= spilled) + state * (op.target >= spilled)
        scratch += state * (op.target < spilled)
        flops += 8 * bricks * entries
    partials = 2 * blocks * len(one.bricks) * ENTRIES * limits.itemsize
    return Cost(3, 3 * state + partials, scratch, traffic, flops)


def wall_cost(bits: int, layers: tuple[Layer, ...], limits: Limits) -> tuple[Cost, Cost]:
    """Return the cost of a brick-wall of binary modes forward, and back with the inputs of all passes kept.

    The start product is left out: one state written, and one read by its adjoint.
    """
    forward = back = Cost(0, 0, 0, 0, 0)
    for one in passes_of(bits, layers, limits):
        forward += forward_cost(one, bits, limits)
        back += backward_cost(one, bits, bind(one, bits, limits, 0).blocks, limits)
    return forward, back

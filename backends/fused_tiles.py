"""Runs of brick-walls of binary modes, tile by tile: one kernel a pass over the state, forward and back."""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array, dtype_name
from adntn_ref.program.steps import Activate, Cores, Mix, Product, Program

from .fused_vectors import product_start, sum_partials
from .kernel_plan import (
    ENTRIES,
    Brick,
    Layer,
    Limits,
    Pass,
    passes_of,
    round_table,
    slots_for,
    walk_back,
    walk_table,
)
from .launch import Instance, Launcher, activation_refusal, limits_of

RESIDENT = 8
"""Most blocks of 256 threads that a processor holds."""


@dataclass(frozen=True)
class Wall:
    """A brick-wall of binary modes: bricks by number, and the factors of its start as the kernels read them."""

    bits: int
    names: tuple[str, ...]
    layers: tuple[Layer, ...]
    activation: str
    start: Product
    factors: tuple[tuple[int, int, int], ...]

    @property
    def start_entries(self) -> int:
        """Entries of the start's named factors."""
        return sum(prod(f.dims) for f in self.start.factors if f.name is not None)


@lru_cache(maxsize=256)
def wall_of(program: Program) -> Wall | str:
    """Read a program as a brick-wall of binary modes, or return a sentence that says why it is none."""
    dims = program.start.out_dims
    if (refusal := activation_refusal(program)) is not None:
        return refusal
    if set(dims) != {2}:
        return "the tile kernels need modes of size 2"
    names: list[str] = []
    layers: list[tuple[bool, list[Brick]]] = []
    activations = {step.activation.name for step in program.steps if isinstance(step, Activate)} - {"identity"}
    if len(activations) > 1:
        return "the tile kernels take one activation, not several"
    for step in program.steps:
        if isinstance(step, Activate):
            layers.append((step.activation.name != "identity", []))
        elif isinstance(step, Mix) and all(q + 1 < len(dims) for q, _ in step.pairs):
            if not layers:
                layers.append((False, []))
            layers[-1][1].extend(Brick(len(names) + k, len(dims) - 2 - q) for k, (q, _) in enumerate(step.pairs))
            names += [name for _, name in step.pairs]
        else:
            return "the tile kernels take columns of neighbouring pairs alone"
    if not layers or not all(bricks for _, bricks in layers):
        return "the tile kernels need a brick in every layer"
    made = tuple(Layer(activate, tuple(bricks)) for activate, bricks in layers)
    activation = next(iter(activations), "identity")
    return Wall(len(dims), tuple(names), made, activation, program.start, _factors(program.start))


def _factors(start: Product) -> tuple[tuple[int, int, int], ...]:
    """Return for each factor where its entries begin among those of all (-1: a unit vector), lowest bit, bits."""
    bit, at, found = len(start.out_dims), 0, []
    for factor in start.factors:
        bit -= len(factor.dims)
        found.append((at if factor.name is not None else -1, bit, len(factor.dims)))
        at += prod(factor.dims) if factor.name is not None else 0
    return tuple(found)


@dataclass(frozen=True)
class Bound:
    """A pass as it is launched: where its table begins, its threads, slots, and blocks of the adjoint."""

    plan: Pass
    at: int
    threads: int
    slots: int
    spilled: int
    ops: int
    tiles: int
    blocks: int
    forward_shared: int
    back_shared: int

    @property
    def tile(self) -> tuple[int, int, int]:
        """The tile as the kernels take it."""
        return self.plan.tile.low, self.plan.tile.high, self.plan.tile.shift


def bind(one: Pass, bits: int, limits: Limits, at: int) -> Bound:
    """Return how a pass is launched, its table beginning at ``at``."""
    shared, spilled = slots_for(one, limits)
    threads, tile = limits.threads(one.tile.bits), limits.itemsize << one.tile.bits
    tiles = 1 << max(0, bits - one.tile.bits)
    back = limits.cores(one.tile.bits, len(one.bricks)) + (shared + 1) * tile
    resident = min(RESIDENT, max(1, limits.shared // back))
    return Bound(
        plan=one,
        at=at,
        threads=threads,
        slots=shared + spilled,
        spilled=spilled,
        ops=len(walk_back(len(one.rounds), shared + spilled)),
        tiles=tiles,
        blocks=min(tiles, limits.processors * resident),
        forward_shared=limits.itemsize * ENTRIES * len(one.bricks) + tile,
        back_shared=back,
    )


@lru_cache(maxsize=256)
def bound_passes(wall: Wall, limits: Limits) -> tuple[tuple[Bound, ...], Array]:
    """Return the passes of a brick-wall as they are launched, and their tables end to end, on the host."""
    table: list[int] = []
    found = []
    for one in passes_of(wall.bits, wall.layers, limits):
        bound = bind(one, wall.bits, limits, len(table))
        found.append(bound)
        table += [*one.bricks, *round_table(one.rounds, limits.most)]
        table += walk_table(walk_back(len(one.rounds), bound.slots))
    return tuple(found), np.array(table, dtype=np.int32)


class TileRun:
    """A brick-wall bound to its cores; each segment is one pass over the state."""

    def __init__(self, wall: Wall, cores: Cores, launcher: Launcher) -> None:
        self.wall, self.cores, self.launcher = wall, cores, launcher
        self.xp, self.dtype = launcher.xp, next(iter(cores.values())).dtype
        self.limits = limits_of(launcher, self.dtype)
        self.passes, table = bound_passes(wall, self.limits)
        self.count = len(self.passes)
        self.size = 1 << wall.bits
        self.table = launcher.constant(table)
        self.stacked = self.xp.concatenate([cores[name].reshape(-1) for name in wall.names])
        self.kernels = Instance("tiles", dtype_name(self.stacked), wall.activation)

    def start(self) -> Array:
        """Return the start state."""
        named = [self.cores[f.name].reshape(-1) for f in self.wall.start.factors if f.name is not None]
        return product_start(self.launcher, self.xp.concatenate(named), self.wall.factors, self.size)

    def last_state(self) -> Array:
        """Return the last state; every pass writes over its input: a block reads its tile before it writes it."""
        x = self.start()
        for bound in self.passes:
            self._run(bound, x, x)
        return x

    def forward(self, k: int, x: Array) -> Array:
        """Run a pass."""
        y = self.xp.empty_like(x)
        self._run(self.passes[k], x, y)
        return y

    def keeping(self, k: int, x: Array) -> tuple[Array, Array]:
        """Run a pass; its record is its input."""
        return self.forward(k, x), x

    def again(self, k: int, x: Array) -> Array:
        """Return the record: the input itself."""
        return x

    def _run(self, bound: Bound, x: Array, y: Array) -> None:
        plan = bound.plan
        arguments = (
            x,
            y,
            self.stacked,
            self.table,
            bound.at,
            len(plan.bricks),
            len(plan.rounds),
            self.size,
            *bound.tile,
        )
        grid = (bound.tiles, 1)
        self.launcher.launch(self.kernels, "tile_forward", grid, bound.threads, bound.forward_shared, arguments)

    def back(self, k: int, record: Array, g: Array, owned: bool, found: dict[Any, Array]) -> Array:
        """Carry a cotangent back through a pass; ``found[k]`` takes the environments of its bricks."""
        bound, plan, empty = self.passes[k], self.passes[k].plan, self.xp.empty
        if not owned:
            g = self.xp.ascontiguousarray(g, dtype=self.dtype)
        gx = g if owned else empty(self.size, self.dtype)
        entries = len(plan.bricks) * ENTRIES
        partials = empty(bound.blocks * entries, self.dtype)
        scratch = empty(bound.blocks * bound.spilled << plan.tile.bits, self.dtype)
        counts = (len(plan.bricks), len(plan.rounds), bound.ops, bound.slots, bound.spilled)
        arguments = (
            record,
            g,
            gx,
            partials,
            scratch,
            self.stacked,
            self.table,
            bound.at,
            *counts,
            self.size,
            bound.tiles,
        )
        self.launcher.launch(
            self.kernels,
            "tile_backward",
            (bound.blocks, 1),
            bound.threads,
            bound.back_shared,
            (*arguments, *bound.tile),
        )
        found[k] = sum_partials(self.launcher, partials, bound.blocks, entries)
        return gx

    def finish(self, g: Array, found: dict[Any, Array]) -> Cores:
        """Give every brick its environment, and add those of the start's factors, which take the plain path."""
        environments: Cores = {}
        for k, bound in enumerate(self.passes):
            bricks = found[k].reshape(-1, 2, 2, 2, 2)
            environments.update({self.wall.names[n]: bricks[i] for i, n in enumerate(bound.plan.bricks)})
        factors = self.wall.start.factors
        kept = [
            self.cores[f.name].reshape(-1) if f.name is not None else ops.unit_vector(f.dims[0], self.stacked)
            for f in factors
        ]
        return {**environments, **self.wall.start.adjoint(self.cores, kept, g)}

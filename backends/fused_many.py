"""Many small networks at once: each in one block, from the start product to Adam, in one launch.

For brick-walls of at most 12 binary modes, all of one program: the layers of a model that share a shape, or one layer
under many seeds. The parameters of all networks are one array of shape (networks, parameters).
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array
from adntn_ref.program.steps import Cores, Program

from .fused_tiles import Wall, wall_of
from .kernel_plan import Limits, round_table, walk_back, walk_table, whole_rounds
from .launch import REALS, Instance, Launcher, limits_of

MOST_BITS = 12


def whole_networks(program: Program, dtype: str, launcher: Launcher) -> "WholeNetworks | str":
    """Return who runs many networks of a program at once, or a sentence that says why nobody does."""
    if dtype not in REALS:
        return f"fused kernels are written for float32 and float64, got {dtype}"
    wall = wall_of(program)
    if isinstance(wall, str):
        return wall
    if wall.bits > MOST_BITS:
        return f"a network of {wall.bits} modes is not run by one block: at most {MOST_BITS}"
    limits = limits_of(launcher, dtype)
    if limits.slots(max(wall.bits, limits.window), len(wall.names)) < 2:
        return f"two states and the cores do not fit {limits.shared} bytes of shared memory"
    return WholeNetworks(wall, dtype, launcher, limits)


class WholeNetworks:
    """Losses, gradients and fits of many networks of one program."""

    def __init__(self, wall: Wall, dtype: str, launcher: Launcher, limits: Limits) -> None:
        self.wall, self.dtype, self.launcher, self.limits = wall, np.dtype(dtype), launcher, limits
        self.kernels = Instance("whole", dtype, wall.activation)
        self.size, self.bits = 1 << wall.bits, max(wall.bits, limits.window)
        self.rounds = whole_rounds(wall.bits, wall.layers, limits)
        # One tile a round and one for the generated state, or as many as fit.
        self.slots = min(len(self.rounds) + 1, limits.slots(self.bits, len(wall.names)))
        self.ops = walk_back(len(self.rounds), self.slots, loss=True)
        factors = [number for factor in wall.factors for number in factor]
        table = [*factors, *round_table(self.rounds, limits.most), *walk_table(self.ops)]
        self.table = launcher.constant(np.array(table, dtype=np.int32))
        self.threads = limits.threads(self.bits)
        self.shared = limits.cores(self.bits, len(wall.names)) + (self.slots + 1) * (limits.itemsize << self.bits)
        named = [f for f in wall.start.factors if f.name is not None]
        shapes = [(name, (2, 2, 2, 2)) for name in wall.names] + [(str(f.name), f.dims) for f in named]
        self.shapes: list[tuple[str, tuple[int, ...]]] = shapes
        self.parameters = sum(prod(shape) for _, shape in shapes)

    def pack(self, params: Sequence[Cores]) -> Array:
        """Return the cores of several networks as one array of shape (networks, parameters)."""
        xp = self.launcher.xp
        return xp.stack([xp.concatenate([cores[name].reshape(-1) for name, _ in self.shapes]) for cores in params])

    def unpack(self, stacked: Array) -> list[Cores]:
        """Return the cores, or environments, of every network: views into ``stacked``."""
        found: list[Cores] = [{} for _ in range(len(stacked))]
        at = 0
        for name, shape in self.shapes:
            for cores, row in zip(found, stacked, strict=True):
                cores[name] = row[at : at + prod(shape)].reshape(shape)
            at += prod(shape)
        return found

    def gradient(self, stacked: Array, targets: Array) -> tuple[Array, Array]:
        """Return each network's loss sum (W - T)^2 / sum T^2, and its gradient.

        Parameters
        ----------
        stacked : array of shape (networks, parameters)
        targets : array of shape (networks, N), N at most the numbers that a network generates; the others are padding

        Returns
        -------
        losses of shape (networks,), gradients of shape (networks, parameters)
        """
        found, losses = self._outputs(stacked, 1)
        self._launch(stacked, found, losses, targets)
        return losses.reshape(-1), found

    def pullback(self, stacked: Array, cotangents: Array) -> tuple[Array, Array]:
        """Return what each network generates, shape (networks, 2^modes), and the gradient of <cotangent, weight>."""
        found, losses = self._outputs(stacked, 1)
        made = self.launcher.xp.empty((len(stacked), self.size), self.dtype)
        self._launch(stacked, found, losses, cotangents, made=made, pull=1)
        return made, found

    def fit(
        self, stacked: Array, targets: Array, rates: Sequence[float], state: dict[str, Array], first_step: int = 0
    ) -> Array:
        """Take ``len(rates)`` steps of Adam with every network, in one launch.

        Changes ``stacked`` and ``state`` (``first`` and ``second``, shaped like it) in place; steps count from
        ``first_step``. Returns the losses before each step, shape (networks, steps).
        """
        found, losses = self._outputs(stacked, len(rates))
        device_rates = self.launcher.asarray(np.array(rates, dtype=np.float64))
        moments = (state["first"], state["second"], device_rates)
        self._launch(stacked, found, losses, targets, moments=moments, steps=(len(rates), first_step))
        return losses

    def _outputs(self, stacked: Array, steps: int) -> tuple[Array, Array]:
        xp = self.launcher.xp
        return xp.empty_like(stacked), xp.empty((len(stacked), steps), self.dtype)

    def _launch(
        self,
        stacked: Array,
        found: Array,
        losses: Array,
        targets: Array,
        made: Array | None = None,
        pull: int = 0,
        moments: tuple[Any, Any, Any] = (None, None, None),
        steps: tuple[int, int] = (0, 0),
    ) -> None:
        counts = (len(self.wall.factors), len(self.wall.names), self.parameters, len(self.rounds), len(self.ops))
        sizes = (self.slots, 1 << self.bits, self.size, int(targets.shape[1]), pull, *steps)
        arguments = (stacked, found, losses, targets, made, *moments, self.table, *counts, *sizes, 0.9, 0.999, 1e-8)
        grid = (len(stacked), 1)
        self.launcher.launch(self.kernels, "whole_network", grid, self.threads, self.shared, arguments)

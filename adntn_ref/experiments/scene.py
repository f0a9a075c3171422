"""A network laid out to be drawn, whatever draws it: boxes, legs and the sizes of bonds, with their places.

The order is that of the computation, upward: the start state is the lowest row, the weight's modes are at the top.
Places are in units of a mode: the weight's modes stand at 0, 1, ..., Q - 1, and a bond stands over the middle of what
it expands into.
"""

from dataclasses import dataclass, replace
from typing import Any

from adntn_ref.compression.alive import single_networks
from adntn_ref.networks.base import Network
from adntn_ref.networks.combination import Combination
from adntn_ref.networks.cp import CP
from adntn_ref.networks.delta import Delta
from adntn_ref.networks.lowrank import LowRank
from adntn_ref.networks.programmed import ProgramNetwork
from adntn_ref.networks.train import MPO, Chain
from adntn_ref.networks.tree import TreeNetwork
from adntn_ref.networks.tucker import Tucker
from adntn_ref.program.frames import Frames
from adntn_ref.program.steps import Activate, Expand, Mix, Product, Program


@dataclass(frozen=True)
class Box:
    """A core: its name (None for a unit vector), where its legs come from below and go to above.

    ``wrapped``: it mixes the last index (its left leg) with the first.
    """

    name: str | None
    below: tuple[float, ...]
    above: tuple[float, ...]
    wrapped: bool = False


@dataclass(frozen=True)
class Row:
    """A step: ``kind`` is "start", "mix", "expand" or "activate"; ``through`` are indices that it leaves alone.

    ``bonds`` are (place, size) of every index of the state after it.
    """

    kind: str
    label: str
    boxes: tuple[Box, ...]
    through: tuple[float, ...]
    bonds: tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class Layered:
    """A program: rows from the start upward."""

    title: str
    rows: tuple[Row, ...]
    modes: tuple[int, ...]
    note: str = ""


@dataclass(frozen=True)
class Line:
    """A chain of cores: ``legs`` are (upper size, lower size or None), ``bonds`` one fewer; ``what`` names the legs."""

    title: str
    names: tuple[str, ...]
    legs: tuple[tuple[int, int | None], ...]
    bonds: tuple[int, ...]
    what: tuple[str, str]
    note: str = ""


@dataclass(frozen=True)
class Star:
    """Factors on a hub: ``legs`` are their modes, ``links`` their bonds to the hub; ``hub`` is the core or the sum."""

    title: str
    names: tuple[str, ...]
    legs: tuple[int, ...]
    links: tuple[int, ...]
    hub: str
    note: str = ""


Scene = Layered | Line | Star


def scenes_of(network: Network) -> list[Scene]:
    """Return the scenes of a network, one for each network that a combination is made of."""
    if not isinstance(network, Combination):
        return [_scene(network)]
    found = []
    for prefix, part in single_networks(network):
        scene, name = _scene(part), f"part {prefix.rstrip('.')}" if prefix else "its network"
        note = "added to a frozen weight W0" if isinstance(network, Delta) else scene.note
        found.append(replace(scene, title=f"{name}: {scene.title}", note=note))
    return found


def summary(network: Network) -> str:
    """Return one line: name, weights, numbers, ratio."""
    name = network.to_spec()["network"]
    shape = " x ".join(map(str, network.placement.shape))
    numbers = f"{network.weights:,} weights from {network.parameter_count:,} numbers"
    return f"{name}, {shape}: {numbers} (ratio {network.compression_ratio:,.1f})"


def _scene(network: Network) -> Scene:
    title = summary(network)
    if isinstance(network, ProgramNetwork):
        return _layered(network, title)
    shapes = network.core_shapes
    if isinstance(network, MPO):
        legs: Any = tuple(zip(network.row_modes or (), network.col_modes or (), strict=True))
        return Line(title, tuple(shapes), legs, network.bonds[1:-1], ("rows", "columns"))
    if isinstance(network, Chain):
        modes = network.placement.modes
        return Line(title, tuple(shapes), tuple((d, None) for d in modes), network.bonds[1:-1], ("modes", ""))
    if isinstance(network, LowRank):
        (rows, rank), (_, columns) = shapes.values()
        return Line(title, tuple(shapes), ((rows, None), (columns, None)), (rank,), ("rows, columns", ""))
    factors = {name: shape for name, shape in shapes.items() if name != "core"}
    hub = f"sum over {network.rank} terms" if isinstance(network, CP) else "core"
    assert isinstance(network, CP | Tucker)
    legs, links = zip(*factors.values(), strict=True)
    return Star(title, tuple(factors), legs, links, hub)


def _layered(network: ProgramNetwork, title: str) -> Layered:
    """Lay a program out: places are found from the top, where the modes are, downward."""
    program, note = network.program, ""
    if isinstance(program, Frames):
        assert isinstance(network, TreeNetwork)
        note = f"{network.activation} acts on the frame of every node, from the leaves down to the root"
        program = replace(network, activation_site="level").program
    assert isinstance(program, Program)
    steps = [step for step in program.all_steps if not (note and isinstance(step, Activate))]
    places = _places(steps)
    rows = tuple(_row(step, below, above) for step, below, above in zip(steps, [(), *places], places, strict=False))
    return Layered(title, rows, network.placement.modes, note)


def _places(steps: list[Any]) -> list[tuple[float, ...]]:
    """Return the places of the indices after each step."""
    at: tuple[float, ...] = tuple(float(q) for q in range(len(steps[-1].out_dims)))
    found = [at]
    for step in reversed(steps[1:]):
        if isinstance(step, Expand):
            expanded, below, q = {p for p, _, _ in step.at}, [], 0
            for p in range(len(step.dims)):
                below.append((at[q] + at[q + 1]) / 2 if p in expanded else at[q])
                q += 2 if p in expanded else 1
            at = tuple(below)
        found.append(at)
    return found[::-1]


def _row(step: Any, below: tuple[float, ...], above: tuple[float, ...]) -> Row:
    bonds = tuple(zip(above, step.out_dims, strict=True))
    if isinstance(step, Product):
        boxes, q = [], 0
        for factor in step.factors:
            boxes.append(Box(factor.name, (), above[q : q + len(factor.dims)]))
            q += len(factor.dims)
        return Row("start", step.name, tuple(boxes), (), bonds)
    if isinstance(step, Activate):
        return Row("activate", step.activation.name, (), above, bonds)
    if isinstance(step, Mix):
        last = len(above) - 1
        pairs = [(q, (q + 1) % len(above), name) for q, name in step.pairs]
        boxes = [Box(name, (above[q], above[r]), (above[q], above[r]), q == last) for q, r, name in pairs]
        touched = {index for q, r, _ in pairs for index in (q, r)}
        return Row("mix", step.name, tuple(boxes), tuple(x for q, x in enumerate(above) if q not in touched), bonds)
    names, boxes, through, q = {p: name for p, name, _ in step.at}, [], [], 0
    for p, x in enumerate(below):
        if p in names:
            boxes.append(Box(names[p], (x,), (above[q], above[q + 1])))
        else:
            through.append(x)
        q += 2 if p in names else 1
    return Row("expand", step.name, tuple(boxes), tuple(through), bonds)

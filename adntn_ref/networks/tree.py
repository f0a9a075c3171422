"""The binary tree over the modes, and the steps that a network on it takes.

The tree is Cichocki and Więtczak's (arXiv 2606.00130) in name; its shapes are fixed here after the tensor-network
literature. The node of modes [i, j) with j - i >= 2 splits after i + ceil((j - i) / 2); a node of one mode is a leaf.
The state at depth k has one index for each node of depth k and each leaf above it, from the left.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod
from typing import Any, ClassVar

from adntn_ref.ad.activations import get_activation
from adntn_ref.networks.programmed import ProgramNetwork
from adntn_ref.networks.spec import chosen_of, layout_spec, positive_integer
from adntn_ref.program.frames import Frame, Frames
from adntn_ref.program.modes import Layout, resolve_layout
from adntn_ref.program.steps import Activate, Expand, Factor, Mix, Product, Program, Step

Shapes = dict[str, tuple[int, ...]]
Node = tuple[int, int]
"""A node of the tree: the modes i, ..., j - 1 as (i, j)."""


@dataclass(frozen=True)
class Tree:
    """The tree over modes with bonds of at most ``chi``."""

    modes: tuple[int, ...]
    chi: int

    def bond(self, node: Node) -> int:
        """Return the size of the index above ``node``.

        ``min(chi, product of the modes under it, product of those outside it)``; a leaf's is its mode, whatever chi.
        """
        i, j = node
        if j - i == 1:
            return self.modes[i]
        return min(self.chi, prod(self.modes[i:j]), prod(self.modes[:i]) * prod(self.modes[j:]))

    def levels(self) -> tuple[tuple[Node, ...], ...]:
        """Return the nodes that the state has indices for, at depth 1, 2, ..., the last with leaves alone."""
        level: tuple[Node, ...] = children((0, len(self.modes)))
        found = [level]
        while any(j - i > 1 for i, j in level):
            level = tuple(node for parent in level for node in (children(parent) if is_inner(parent) else (parent,)))
            found.append(level)
        return tuple(found)

    def dims(self, level: tuple[Node, ...]) -> tuple[int, ...]:
        """Return the sizes of the indices of a state."""
        return tuple(self.bond(node) for node in level)


def is_inner(node: Node) -> bool:
    """Return whether a node has children."""
    return node[1] - node[0] > 1


def children(node: Node) -> tuple[Node, Node]:
    """Return the two children of an inner node: the left one gets the larger half."""
    i, j = node
    middle = i + (j - i + 1) // 2
    return (i, middle), (middle, j)


@lru_cache(maxsize=4096)
def _cuts(count: int) -> dict[int, tuple[int, Node]]:
    """Return, for each place where a node splits, the depth of that node and the node."""
    found = {}
    level: list[Node] = [(0, count)]
    depth = 0
    while level:
        for node in level:
            found[children(node)[0][1]] = (depth, node)
        level = [child for node in level for child in children(node) if is_inner(child)]
        depth += 1
    return found


def lateral_pairs(count: int, level: tuple[Node, ...], periodic: bool = False) -> tuple[int, ...]:
    """Return the left positions of the pairs that mix at a level.

    Candidates are neighbours whose nodes have different parents, that is, whose cut no node of the level above splits
    at; they are taken in the order of the cut they straddle (nearest the root first, from the left among equals),
    skipping one that shares an index with a pair already taken. ``periodic`` adds (last, first), as position
    ``len(level) - 1``, where both are still free. Returned from the left, the periodic one last.
    """
    cuts = _cuts(count)
    candidates = []
    for q in range(len(level) - 1):
        depth, node = cuts[level[q][1]]
        if children(node) != (level[q], level[q + 1]):
            candidates.append((depth, q))
    taken: set[int] = set()
    chosen = []
    for _, q in sorted(candidates):
        if not {q, q + 1} & taken:
            taken |= {q, q + 1}
            chosen.append(q)
    last = len(level) - 1
    wrap = (last,) if periodic and last > 0 and not {0, last} & taken else ()
    return (*sorted(chosen), *wrap)


@dataclass(frozen=True)
class TreeNetwork(ProgramNetwork):
    """What TTN, aTTN and MERA share: root, expansions, activations; they differ in the depths at which indices mix.

    State at depth 1: the root core ``root`` (chi_left, chi_right). From depth k to k + 1 every inner node [i, j) is
    expanded by its core ``node{i}_{j}`` (chi_left, chi_right, chi); leaves stay. Mixing cores after an expansion to
    depth k are ``mix{k}.{q}`` on the positions (q, q + 1) of that state. sigma acts after every depth (after its
    mixing), and not after the last.
    """

    shape: tuple[int, ...]
    chi: int
    modes: tuple[int, ...] | None = None
    activation: str = "tanh"
    activation_site: str = "level"
    layout: str = "flat"
    row_modes: tuple[int, ...] | None = None
    col_modes: tuple[int, ...] | None = None
    placement: Layout = field(init=False, repr=False, compare=False)

    SITES: ClassVar[tuple[str, ...]] = ("level",)
    NAME: ClassVar[str]

    def __post_init__(self) -> None:
        placement = resolve_layout(self.shape, self.modes, self.layout, self.row_modes, self.col_modes)
        for name, value in {
            "placement": placement,
            "shape": placement.shape,
            "modes": placement.modes,
            "row_modes": placement.row_modes or None,
            "col_modes": placement.col_modes or None,
            "chi": positive_integer(self.chi, "chi"),
            "activation": get_activation(self.activation).name,
            "activation_site": chosen_of(self.SITES, self.activation_site, "activation_site"),
        }.items():
            object.__setattr__(self, name, value)

    @property
    def tree(self) -> Tree:
        """The tree over the modes."""
        return Tree(self.placement.modes, self.chi)

    def mixing_positions(self, depth: int, level: tuple[Node, ...], last: bool) -> tuple[int, ...]:
        """Return the left positions of the pairs that mix after an expansion to ``depth``; none in a plain tree."""
        return ()

    @property
    def _built(self) -> tuple[Program | Frames, Shapes]:
        return _build(self) if self.activation_site == "level" else _build_frames(self)

    def to_spec(self) -> dict[str, Any]:
        """Return the specification as a JSON-able dict; ``ar.from_spec`` reads it back."""
        spec: dict[str, Any] = {"network": self.NAME, **layout_spec(self.placement)}
        return {**spec, "chi": self.chi, "activation": self.activation, "activation_site": self.activation_site}


@lru_cache(maxsize=512)
def _build(net: TreeNetwork) -> tuple[Program, Shapes]:
    """List the steps and the core shapes of a network on a tree."""
    tree, activation = net.tree, get_activation(net.activation)
    levels = tree.levels()
    dims = tree.dims(levels[0])
    shapes: Shapes = {"root": dims}
    steps: list[Step] = []
    for depth, level in enumerate(levels[1:], start=2):
        steps.append(Activate(f"depth{depth - 1}.activation", dims, activation))
        steps.append(_expansion(tree, f"depth{depth}.expand", levels[depth - 2], shapes))
        dims = tree.dims(level)
        positions = net.mixing_positions(depth, level, last=depth == len(levels))
        if positions:
            pairs = tuple((q, f"mix{depth}.{q}") for q in positions)
            shapes.update({name: (dims[q], dims[(q + 1) % len(dims)]) * 2 for q, name in pairs})
            steps.append(Mix(f"depth{depth}.mix", dims, pairs))
    return Program(Product("depth1", (Factor("root", shapes["root"]),)), tuple(steps)), shapes


def _expansion(tree: Tree, name: str, level: tuple[Node, ...], shapes: Shapes) -> Expand:
    """Return the expansion of every inner node of a level, and note the shapes of its cores."""
    at = []
    for position, node in enumerate(level):
        if is_inner(node):
            left, right = (tree.bond(child) for child in children(node))
            core = f"node{node[0]}_{node[1]}"
            shapes[core] = (left, right, tree.bond(node))
            at.append((position, core, (left, right)))
    return Expand(name, tree.dims(level), tuple(at))


@lru_cache(maxsize=512)
def _build_frames(net: TreeNetwork) -> tuple[Frames, Shapes]:
    """List the frames of a tree, children first, and the core shapes in the order of :func:`_build`."""
    tree, count = net.tree, len(net.placement.modes)

    def name_of(node: Node) -> str | None:
        if not is_inner(node):
            return None
        return "root" if node == (0, count) else f"node{node[0]}_{node[1]}"

    found: list[Frame] = []
    for level in ((((0, count),), *tree.levels()))[::-1]:
        for node in level:
            core = name_of(node)
            if core is None or any(frame.core == core for frame in found):
                continue
            left, right = children(node)
            rows = (prod(tree.modes[slice(*left)]), prod(tree.modes[slice(*right)]))
            p = 1 if core == "root" else tree.bond(node)
            found.append(Frame(core, name_of(left), name_of(right), rows, (tree.bond(left), tree.bond(right), p)))
    shapes = _build(replace(net, activation_site="level"))[1]
    return Frames(tuple(found), get_activation(net.activation)), shapes

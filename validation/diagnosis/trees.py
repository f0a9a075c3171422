"""TTN, aTTN and MERA with the activation on the levels as lists of steps, right and wrong."""

from itertools import pairwise
from math import prod
from typing import Any

from .brickwall import mixing
from .parts import Activate, Apply, Core, Impossible, Positions, Program, Wrong, numbers
from .places import places_of
from .sigma import sigma_of

Node = tuple[int, int]
"""The node of the modes i, ..., j - 1 as (i, j)."""


class Tree:
    """The binary tree over the modes, its bonds, and its levels from depth 1 to the leaves."""

    def __init__(self, modes: tuple[int, ...], chi: int, wrong: Wrong) -> None:
        self.modes, self.chi = modes, chi
        self.floor = "split-floor" in wrong
        self.levels: list[list[Node]] = [list(self.children((0, len(modes))))]
        while any(j - i > 1 for i, j in self.levels[-1]):
            self.levels.append([c for node in self.levels[-1] for c in self.children(node)])

    def children(self, node: Node) -> tuple[Node, ...]:
        """Return the two halves of a node, the larger first; a leaf alone."""
        i, j = node
        if j - i == 1:
            return (node,)
        middle = i + (j - i) // 2 if self.floor else i + (j - i + 1) // 2
        return (i, middle), (middle, j)

    def bond(self, node: Node) -> int:
        """Return min(chi, product of the modes under the node, product of those outside); a leaf's is its mode."""
        i, j = node
        if j - i == 1:
            return self.modes[i]
        return min(self.chi, prod(self.modes[i:j]), prod(self.modes[:i]) * prod(self.modes[j:]))

    def cut_depth(self, cut: int) -> int:
        """Return the depth of the node that splits at a place between two modes: their lowest common ancestor."""
        node, depth = (0, len(self.modes)), 0
        while self.children(node)[0][1] != cut:
            left, right = self.children(node)
            node, depth = (left if cut < left[1] else right), depth + 1
        return depth

    def inner(self) -> list[Node]:
        """Return the nodes below the root that split, level by level from the left."""
        return [node for level in self.levels for node in level if node[1] - node[0] > 1]


def core_names(tree: Tree) -> dict[Node, str]:
    """Return the core of every inner node; a tree split otherwise takes the cores in the right tree's order."""
    right = Tree(tree.modes, tree.chi, ()).inner()
    mine = tree.inner()
    if len(set(right)) != len(set(mine)):
        raise Impossible("another number of nodes")
    return {node: f"node{i}_{j}" for node, (i, j) in zip(mine, right, strict=True)}


def mixed_pairs(tree: Tree, level: list[Node]) -> list[int]:
    """Return the left positions of the pairs that mix: neighbours of different parents, across high cuts first."""
    nodes = {(0, len(tree.modes)), *tree.inner()}
    siblings = {tree.children(node) for node in nodes}
    candidates = [
        (tree.cut_depth(right[0]), q)
        for q, (left, right) in enumerate(pairwise(level))
        if (left, right) not in siblings
    ]
    chosen: set[int] = set()
    for _, q in sorted(candidates):
        if not {q - 1, q, q + 1} & chosen:
            chosen.add(q)
    return sorted(chosen)


def tree_program(spec: dict[str, Any], wrong: Wrong) -> Program:
    """Return the program of a tree with the given mistakes."""
    tree = Tree(tuple(spec["modes"]), spec["chi"], wrong)
    names, depths = core_names(tree), len(tree.levels)
    sigma = Activate(sigma_of(spec["activation"], wrong))
    root: Positions = numbers([tree.bond(node) for node in tree.levels[0]])
    steps: list[Apply | Activate] = []
    for depth in range(1, depths + 1):
        mix = _mixing(spec, tree, depth, wrong)
        if depth > 1:
            if "mix-before-expand" in wrong:
                steps += mix
                mix = []
            steps += _expansion(tree, tree.levels[depth - 2], names, wrong)
        acts = _activated(depth, depths, wrong)
        if acts and "activation-before-mixing" in wrong:
            steps += [sigma, *mix]
        else:
            steps += [*mix, sigma] if acts else mix
    dims = [tree.bond(node) for node in tree.levels[-1]]
    if "root-transposed" in wrong:
        root = root.transpose()
    return Program((Core("root", root),), tuple(steps), places_of(spec, dims, wrong))


def _activated(depth: int, depths: int, wrong: Wrong) -> bool:
    if "activation-missing" in wrong or ("root-activation-missing" in wrong and depth == 1 and depths > 1):
        return False
    return depth < depths or "activation-after-last" in wrong


def _expansion(tree: Tree, level: list[Node], names: dict[Node, str], wrong: Wrong) -> list[Apply | Activate]:
    """Return the expansions of a level, the last index first, so that positions before it keep their place."""
    steps: list[Apply | Activate] = []
    for p in reversed(range(len(level))):
        if level[p][1] - level[p][0] > 1:
            l, r = (tree.bond(child) for child in tree.children(level[p]))
            bond = tree.bond(level[p])
            where: Positions = numbers((l, r, bond))
            for mistake in wrong:
                if mistake == "node-bond-first":
                    where = where.reshape(bond, l, r).transpose(1, 2, 0)
                if mistake == "children-swapped":
                    where = where.transpose(1, 0, 2)
            steps.append(Apply(Core(names[level[p]], where), (p,), (p, p + 1), "expand"))
    return steps


def _mixing(spec: dict[str, Any], tree: Tree, depth: int, wrong: Wrong) -> list[Apply | Activate]:
    """Return the mixing steps after the expansion to a depth, in the order of the column."""
    last = depth == len(tree.levels)
    if depth == 1 or spec["network"] == "ttn" or "mix-missing" in wrong:
        return []
    if not last and (spec["network"] == "attn" or "mix-last-only" in wrong):
        return []
    if last and "mix-last-missing" in wrong:
        return []
    level = tree.levels[depth - 1]
    count, dims = len(level), [tree.bond(node) for node in level]
    pairs = mixed_pairs(tree, level)
    steps: list[Apply | Activate] = []
    for q in pairs:
        steps.append(mixing(f"mix{depth}.{q}", _moved(tree, depth, q, wrong), (dims[q], dims[q + 1]), wrong))
    busy = {i for q in pairs for i in (q, q + 1)}
    if spec.get("periodic") and count > 1 and not {0, count - 1} & busy and "periodic-missing" not in wrong:
        if "mix-before-expand" in wrong:
            ends = (len(tree.levels[depth - 2]) - 1, 0)
        else:
            ends = (0, count - 1) if "periodic-swapped" in wrong else (count - 1, 0)
        steps.append(mixing(f"mix{depth}.{count - 1}", ends, (dims[-1], dims[0]), wrong))
    return steps


def _moved(tree: Tree, depth: int, q: int, wrong: Wrong) -> tuple[int, int]:
    """Return the indices that the core of the pair (q, q + 1) acts on."""
    count = len(tree.levels[depth - 1])
    if "mix-before-expand" in wrong:  # on the parents of the two
        above = tree.levels[depth - 2]
        left, right = (
            next(p for p, node in enumerate(above) if node[0] <= tree.levels[depth - 1][i][0] < node[1])
            for i in (q, q + 1)
        )
        return left, right
    shift = ("pairs-one-right" in wrong) - ("pairs-one-left" in wrong)
    if not 0 <= q + shift < count - 1:
        raise Impossible("no pair there")
    return q + shift, q + shift + 1

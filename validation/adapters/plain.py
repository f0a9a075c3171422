"""What the adapters share: where things stand, in plain Python, written from the definitions in the documentation.

Nothing here touches an array, and nothing comes from the package: the positions of modes, the nodes of a tree and the
pairs that mix are worked out a second time, so that a mistake in the package's own bookkeeping shows.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

Spec = Mapping[str, Any]
Node = tuple[int, int]

FROZEN = "frozen/"
"""Parameters under this prefix are the frozen weights of deltas: given, not trained."""

STEPWISE = ("brickwall", "ttn", "attn", "mera")
"""Networks that are programs of steps, whose states have names."""

KINDS = (*STEPWISE, "lowrank", "tt", "mpo", "cp", "tucker", "sum", "split", "stack", "delta")


def modes(spec: Spec) -> tuple[int, ...]:
    """Return the sizes of the generated tensor's indices, in the order in which the network holds them.

    For the layouts "axes" and "interleaved" these are the row and column modes in their order; an MPO holds its own
    interleaved.
    """
    if "modes" in spec:
        return tuple(spec["modes"])
    sizes = {("row", k): d for k, d in enumerate(spec["row_modes"])}
    sizes |= {("column", k): d for k, d in enumerate(spec["col_modes"])}
    return tuple(sizes[index] for index in _order(spec))


def _order(spec: Spec) -> list[tuple[str, int]]:
    """Return which row or column mode each index is."""
    rows = [("row", k) for k in range(len(spec["row_modes"]))]
    columns = [("column", k) for k in range(len(spec["col_modes"]))]
    if spec["network"] != "mpo" and spec["layout"] == "axes":
        return rows + columns
    both = min(len(rows), len(columns))
    return [index for pair in zip(rows, columns, strict=False) for index in pair] + rows[both:] + columns[both:]


def matrix_axes(spec: Spec) -> tuple[int, ...] | None:
    """Return the indices' positions, those of rows first, or None where the weight is read as a vector ("flat")."""
    if "modes" in spec:
        return None
    order = _order(spec)
    return tuple(order.index(index) for index in sorted(order, key=lambda index: index[0] == "column"))


def matrix_sizes(spec: Spec) -> tuple[int, int]:
    """Return the numbers of rows and columns of the weight's matrix, without padding."""
    shape = spec["shape"]
    return shape[0], prod(shape[1:])


def brick_columns(sites: int) -> dict[str, list[int]]:
    """Return the left positions of the bricks in the two columns of a layer; a column without bricks is left out."""
    columns = {"even": list(range(0, sites - 1, 2)), "odd": list(range(1, sites - 1, 2))}
    return {name: bricks for name, bricks in columns.items() if bricks}


def children(node: Node) -> tuple[Node, Node]:
    """Return the two halves of the modes [i, j); the left one is the longer where they differ."""
    i, j = node
    middle = i + (j - i + 1) // 2
    return (i, middle), (middle, j)


def is_leaf(node: Node) -> bool:
    """Return whether a node holds one mode."""
    return node[1] - node[0] == 1


def depths(sites: int) -> list[list[Node]]:
    """Return the nodes whose bonds are the state's indices, depth after depth, beginning at depth 1."""
    found = [list(children((0, sites)))]
    while not all(is_leaf(node) for node in found[-1]):
        found.append([part for node in found[-1] for part in ([node] if is_leaf(node) else children(node))])
    return found


def ancestors(node: Node, sites: int) -> list[Node]:
    """Return the nodes above one, from the root down."""
    above, here = [], (0, sites)
    while here != node:
        above.append(here)
        left, right = children(here)
        here = left if node[1] <= left[1] else right
    return above


def mixing_pairs(nodes: list[Node], sites: int, periodic: bool = False) -> list[tuple[int, int]]:
    """Return the positions (left, right) of the indices that mix at a depth, from the left, the periodic pair last.

    Neighbours with different parents, those first whose lowest common ancestor is nearest the root; none shares an
    index with one taken before.
    """
    lines = [ancestors(node, sites) for node in nodes]
    candidates = [q for q in range(len(nodes) - 1) if lines[q][-1] != lines[q + 1][-1]]
    candidates.sort(key=lambda q: sum(a == b for a, b in zip(lines[q], lines[q + 1], strict=False)))  # stable
    taken: list[tuple[int, int]] = []
    for q in candidates:
        if not {q, q + 1} & {index for pair in taken for index in pair}:
            taken.append((q, q + 1))
    taken.sort()
    ends = (len(nodes) - 1, 0)
    if periodic and len(nodes) > 2 and not set(ends) & {index for pair in taken for index in pair}:
        taken.append(ends)
    return taken


def node_name(node: Node) -> str:
    """Return the name of a tree node's core."""
    return f"node{node[0]}_{node[1]}"


def numbered(cores: Mapping[str, Any], stem: str) -> list[str]:
    """Return the names ``stem0``, ``stem1``, … that are there, in order."""
    names: list[str] = []
    while f"{stem}{len(names)}" in cores:
        names.append(f"{stem}{len(names)}")
    return names


def part_of(params: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the parameters of one part of a combination, under the part's own names; frozen weights go with them."""
    prefix = f"{number}."
    own = {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}
    return own | {name: value for name, value in params.items() if name.startswith(FROZEN)}


def trained(params: Mapping[str, Any]) -> list[str]:
    """Return the names of the parameters that have a gradient."""
    return [name for name in params if not name.startswith(FROZEN)]

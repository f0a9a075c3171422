"""The backward pass: cotangents from one node of the tape to the leaves."""

from heapq import heappop, heappush
from typing import Any

from adntn_ref.ad.arrays import Array
from adntn_ref.ad.tape import FUNCTIONS, Node, Var


def backward(root: Node, g: Array, leaf_nodes: list[Node], *, free: bool) -> list[Array | None]:
    """Carry the cotangent ``g`` of ``root`` to ``leaf_nodes``.

    Nodes are visited in reverse order of creation, which is a topological order; each is visited once, after all its
    uses. With ``free`` a node is emptied as soon as it was used.

    Returns
    -------
    list
        One cotangent a leaf; None where ``root`` does not depend on it.
    """
    cotangents: dict[Node, Any] = {root: g}
    owned: set[Node] = set()  # nodes whose cotangent is a sum we allocated, and may therefore add to in place
    waiting = [(-root.order, root)]
    wanted = set(leaf_nodes)
    while waiting:
        _, node = heappop(waiting)
        if node in wanted:
            continue
        owned.discard(node)
        contributions = node.pull(cotangents.pop(node))
        if free:
            node.release()
        for parent, contribution in contributions:
            if parent not in cotangents:
                cotangents[parent] = contribution
                heappush(waiting, (-parent.order, parent))
            else:
                cotangents[parent] = _accumulate(cotangents[parent], contribution, parent in owned)
                owned.add(parent)
    return [cotangents.get(node) for node in leaf_nodes]


def _accumulate(total: Array, term: Array, in_place: bool) -> Array:
    """Return ``total + term``; reuse ``total``'s memory where it is a raw array of ours."""
    if in_place and type(total) is type(term) is not Var and total.dtype == term.dtype:
        total += term
        return total
    return FUNCTIONS["add"](total, term)

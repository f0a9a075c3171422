"""Trees: dicts, tuples and lists, nested at will, whose leaves are arrays.

The transforms of the tape take and return trees, so that the parameters of a model can stay in the container that their
owner likes. A dict is walked in its own order; a named tuple keeps its type.
"""

from collections.abc import Callable, Iterator
from typing import Any

from adntn_ref.errors import TapeError

Tree = Any
"""An array, or a dict, tuple or list of trees."""


def leaves(tree: Tree) -> list[Any]:
    """Return the leaves of ``tree`` in order.

    Examples
    --------
    >>> leaves({"a": 1.0, "b": (2.0, [3.0])})
    [1.0, 2.0, 3.0]
    """
    return [leaf for _, leaf in named_leaves(tree)]


def named_leaves(tree: Tree, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``(path, leaf)`` for every leaf; the path reads like the Python that reaches it."""
    if isinstance(tree, dict):
        for key, branch in tree.items():
            yield from named_leaves(branch, f"{path}[{key!r}]")
    elif isinstance(tree, (tuple, list)):
        for position, branch in enumerate(tree):
            yield from named_leaves(branch, f"{path}[{position}]")
    else:
        yield path, tree


def rebuild(tree: Tree, new_leaves: list[Any]) -> Tree:
    """Return a tree shaped like ``tree`` that holds ``new_leaves``, in order.

    Raises
    ------
    TapeError
        If the number of leaves differs.
    """
    if len(new_leaves) != len(leaves(tree)):
        raise TapeError(f"got {len(new_leaves)} leaves for a tree of {len(leaves(tree))}")
    return _rebuild(tree, iter(new_leaves))


def _rebuild(tree: Tree, supply: Iterator[Any]) -> Tree:
    if isinstance(tree, dict):
        return {key: _rebuild(branch, supply) for key, branch in tree.items()}
    if isinstance(tree, (tuple, list)):
        branches = [_rebuild(branch, supply) for branch in tree]
        if hasattr(tree, "_fields"):
            return type(tree)(*branches)
        return type(tree)(branches)
    return next(supply)


def map_leaves(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Apply ``function`` leaf by leaf to trees of one structure and return the tree of results.

    Examples
    --------
    >>> map_leaves(lambda a, b: a + b, {"x": 1.0}, {"x": 2.0})
    {'x': 3.0}
    """
    columns = [leaves(tree), *(leaves(other) for other in others)]
    if len({len(column) for column in columns}) != 1:
        counts = ", ".join(str(len(column)) for column in columns)
        raise TapeError(f"trees of different numbers of leaves: {counts}")
    return rebuild(tree, [function(*row) for row in zip(*columns, strict=True)])

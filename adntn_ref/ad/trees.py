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


def aligned(tree: Tree, other: Tree, what: str = "the other tree") -> list[Any]:
    """Return the leaves of ``other`` in the order of ``tree``; dicts are matched by key, sequences by position.

    Raises
    ------
    TapeError
        If the trees differ in structure, naming the place and ``what``.

    Examples
    --------
    >>> aligned({"a": 1.0, "b": 2.0}, {"b": 20.0, "a": 10.0})
    [10.0, 20.0]
    """
    return list(_aligned(tree, other, what, ""))


def _aligned(tree: Tree, other: Tree, what: str, path: str) -> Iterator[Any]:
    branches, others = _branches(tree), _branches(other)
    if branches is None and others is None:
        yield other
        return
    if branches is None or others is None or branches.keys() != others.keys() or _is_dict(tree) != _is_dict(other):
        place = f" at {path}" if path else ""
        raise TapeError(f"{what} does not fit{place}: it has {_structure(other)}, where {_structure(tree)} is needed")
    for key, branch in branches.items():
        yield from _aligned(branch, others[key], what, f"{path}[{key!r}]")


def _is_dict(tree: Tree) -> bool:
    return isinstance(tree, dict)


def _branches(tree: Tree) -> dict[Any, Tree] | None:
    if isinstance(tree, dict):
        return tree
    return dict(enumerate(tree)) if isinstance(tree, (tuple, list)) else None


def _structure(tree: Tree) -> str:
    if isinstance(tree, dict):
        return f"a dict of {', '.join(map(repr, tree))}" if tree else "an empty dict"
    return f"a {type(tree).__name__} of {len(tree)}" if isinstance(tree, (tuple, list)) else "a leaf"


def map_leaves(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Apply ``function`` leaf by leaf to trees of one structure and return the tree of results.

    Raises
    ------
    TapeError
        If the trees differ in structure.

    Examples
    --------
    >>> map_leaves(lambda a, b: a + b, {"x": 1.0}, {"x": 2.0})
    {'x': 3.0}
    """
    columns = [leaves(tree), *(aligned(tree, other) for other in others)]
    return rebuild(tree, [function(*row) for row in zip(*columns, strict=True)])

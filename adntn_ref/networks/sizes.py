"""The largest network of a family within a number of parameters, for comparisons at equal count."""

from collections.abc import Callable
from typing import Any

from adntn_ref.errors import SpecError
from adntn_ref.networks.base import Network
from adntn_ref.networks.registry import NETWORKS, size_field
from adntn_ref.networks.spec import positive_integer
from adntn_ref.program.modes import MAX_ENTRIES, shown

LINEAR = ("layers", "rank")
"""Sizes of which each further one adds as many parameters as the second."""


def at_most(family: str | type[Network], shape: tuple[int, ...], *, parameters: int, **options: Any) -> Network:
    """Return the largest network of a family with at most ``parameters`` parameters.

    What varies is the number of layers of a brick-wall, the bond of trees, tensor trains and matrix product operators,
    the rank of low-rank and CP networks, and the common rank of a Tucker network. Where a larger bond no longer adds
    parameters the smallest of the largest is taken.

    Parameters
    ----------
    family : name of a network as in specifications, or its class
    shape : shape of the weight
    parameters : the most it may have
    **options : its other arguments, modes for instance

    Raises
    ------
    SpecError
        If the family is unknown, the size itself is given, an option is wrong, or the smallest network is too large.

    Examples
    --------
    >>> net = at_most("mpo", (784, 256), parameters=1100, row_modes=(4, 7, 7, 4), col_modes=(4, 4, 4, 4))
    >>> net.chi, net.parameter_count
    (4, 1024)
    """
    name, kind = _family(family)
    limit, field = positive_integer(parameters, "parameters"), size_field(name)
    if field in options:
        raise SpecError(f"at_most finds {field} of a {name}; leave it out")
    if unknown := sorted(options.keys() - set(NETWORKS[name][1])):
        raise SpecError(f"a {name} takes no {', '.join(unknown)}; allowed: {', '.join(NETWORKS[name][1])}")

    def make(size: int) -> Network:
        return kind(**{"shape": shape, field: size, **options})

    smallest = make(1).parameter_count
    if smallest > limit:
        raise SpecError(f"even with {field} = 1 this {name} has {smallest} parameters, more than {limit}")
    return make(_on_a_line(make, limit) if field in LINEAR else _by_bisection(make, limit))


def _family(family: object) -> tuple[str, type[Network]]:
    for name, (kind, _) in NETWORKS.items():
        if family is kind or (isinstance(family, str) and family == name):
            return name, kind
    raise SpecError(f"at_most knows no family {shown(family)}; allowed: {', '.join(NETWORKS)}")


def _on_a_line(make: Callable[[int], Network], limit: int) -> int:
    """Return the largest size up to ``limit`` where each layer or rank after the first adds as much; size 1 fits.

    Nothing larger than size 2 is counted, and of what can be made only the specification.
    """
    first = make(1).parameter_count
    each = make(2).parameter_count - first
    size = 1 + (limit - first) // each

    def impossible(size: int) -> bool:
        try:
            make(size)
        except SpecError:
            return True
        return False

    return _first(impossible, 1, size + 1) - 1


def _by_bisection(make: Callable[[int], Network], limit: int) -> int:
    """Return the size with the most parameters up to ``limit``, the smallest among equals; size 1 fits.

    Doubling finds a size that does not fit, or adds nothing any more; bisection the last that fits. No network of more
    than twice the answer's size is made, or four times where a larger bond adds no parameters.
    """

    def count(size: int) -> int:
        return make(size).parameter_count

    low, high = 1, 2
    while high <= MAX_ENTRIES and count(low) < count(high) <= limit:
        low, high = high, 2 * high
    if high <= MAX_ENTRIES and count(high) <= limit:  # grown out
        most = count(high)
        return _first(lambda size: count(size) == most, low // 2, low)
    return _first(lambda size: size > MAX_ENTRIES or count(size) > limit, low, high) - 1


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Return the first size above ``low`` for which ``holds``, which it does from there on; ``high`` if none before."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high

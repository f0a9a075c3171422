"""The frozen weights that a network's specification does not hold: taken out for files, and put in again."""

from collections.abc import Sequence
from typing import Any

from adntn_ref.ad.arrays import Array
from adntn_ref.errors import SpecError
from adntn_ref.networks.base import Network
from adntn_ref.networks.combination import Combination, Identity
from adntn_ref.networks.delta import Delta, identify
from adntn_ref.networks.registry import from_spec


def frozen_weights(network: Network) -> list[Array]:
    """Return the frozen weights of all deltas in a network, each once, the outermost first.

    Examples
    --------
    >>> import numpy as np
    >>> from adntn_ref.networks.shallow import LowRank
    >>> [w.shape for w in frozen_weights(Delta(np.eye(3), LowRank((3, 3), rank=1)))]
    [(3, 3)]
    """
    return list(_by_identity(network).values())


def with_frozen(network: Network, weights: Sequence[Array]) -> Network:
    """Return a network with other frozen weights, in the order of :func:`frozen_weights`.

    Raises
    ------
    SpecError
        For another number of them, or another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from adntn_ref.networks.shallow import LowRank
    >>> low = LowRank((3, 3), rank=1)
    >>> with_frozen(Delta(np.eye(3), low), [np.ones((3, 3))]) == Delta(np.ones((3, 3)), low)
    True
    """
    before = _by_identity(network)
    shapes = [tuple(x.shape) for x in before.values()], [tuple(x.shape) for x in weights]
    if shapes[0] != shapes[1]:
        raise SpecError(f"frozen weights of shapes {shapes[0]} cannot become weights of shapes {shapes[1]}")
    new = dict(zip(before, map(identify, weights), strict=True))
    return from_spec(_replaced(network.to_spec(), new), base=list(weights) or None)


def _by_identity(network: Network) -> dict[Identity, Array]:
    found = {network.identity: network.base} if isinstance(network, Delta) else {}
    for part in network._parts if isinstance(network, Combination) else ():
        found |= _by_identity(part)
    return found


def _replaced(spec: dict[str, Any], new: dict[Identity, Identity]) -> dict[str, Any]:
    """Return a specification whose deltas name other frozen weights."""
    changed = dict(spec)
    if "base" in spec:
        base = spec["base"]
        shape, dtype, digest = new[tuple(base["shape"]), base["dtype"], base["sha256"]]
        changed["base"] = {"shape": list(shape), "dtype": dtype, "sha256": digest}
    if "net" in spec:
        changed["net"] = _replaced(spec["net"], new)
    if "parts" in spec:
        changed["parts"] = [_replaced(part, new) for part in spec["parts"]]
    return changed

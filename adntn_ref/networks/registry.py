"""Networks by name, and reading a specification back."""

from typing import Any

from adntn_ref.errors import SpecError
from adntn_ref.networks.attn import ATTN
from adntn_ref.networks.base import Network
from adntn_ref.networks.brickwall import BrickWall
from adntn_ref.networks.combination import MAX_DEPTH, Bases
from adntn_ref.networks.combine import Split, Sum
from adntn_ref.networks.delta import Delta, bases_of
from adntn_ref.networks.mera import MERA
from adntn_ref.networks.shallow import CP, MPO, LowRank, TensorTrain, Tucker
from adntn_ref.networks.stack import Stack
from adntn_ref.networks.ttn import TTN
from adntn_ref.program.modes import shown

LAYOUT_KEYS = ("layout", "row_modes", "col_modes")
TREE_KEYS = ("shape", "chi", "modes", "activation", "activation_site", *LAYOUT_KEYS)
NETWORKS: dict[str, tuple[type[Network], tuple[str, ...]]] = {
    "brickwall": (BrickWall, ("shape", "layers", "modes", "activation", "boundary", "activation_every", *LAYOUT_KEYS)),
    "ttn": (TTN, TREE_KEYS),
    "attn": (ATTN, TREE_KEYS),
    "mera": (MERA, (*TREE_KEYS, "periodic")),
    "mpo": (MPO, ("shape", "chi", "row_modes", "col_modes")),
    "lowrank": (LowRank, ("shape", "rank")),
    "tt": (TensorTrain, ("shape", "chi", "modes", *LAYOUT_KEYS)),
    "cp": (CP, ("shape", "rank", "modes", *LAYOUT_KEYS)),
    "tucker": (Tucker, ("shape", "ranks", "modes", *LAYOUT_KEYS)),
}
"""Network name -> (class, the entries its specification may have).

The first two entries are needed: the shape, and the size that the number of parameters grows with.
"""

COMBINATIONS: dict[str, tuple[type[Sum | Split | Stack | Delta], tuple[str, ...]]] = {
    "sum": (Sum, ("parts",)),
    "split": (Split, ("shape", "parts")),
    "stack": (Stack, ("shapes", "net")),
    "delta": (Delta, ("base", "net", "alpha")),
}
"""Combination name -> (class, the entries its specification has, all of them)."""


def size_field(name: str) -> str:
    """Return the argument that the number of parameters of a network grows with: layers, chi, rank, ranks."""
    return NETWORKS[name][1][1]


def from_spec(spec: dict[str, Any], base: Any = None) -> Network:
    """Return the network that a specification describes.

    Parameters
    ----------
    spec : dict
        What ``to_spec`` returns: ``{"network": "brickwall", "shape": [120, 84], "layers": 3, ...}``.
    base : array, or dict, list or tuple of arrays
        The frozen weights of the specification's deltas, in any order: each finds its own by the sha256.

    Raises
    ------
    SpecError
        For anything that is not such a dict, an unknown network, missing or unknown entries, and combinations nested
        more than 20 deep.

    Examples
    --------
    >>> net = BrickWall((120, 84), layers=3)
    >>> from_spec(net.to_spec()) == net
    True
    """
    return _read(spec, bases_of(base), 0)


def _read(spec: Any, bases: Bases, depth: int) -> Network:
    if not isinstance(spec, dict):
        raise SpecError(f"a specification is a dict, got a {type(spec).__name__}")
    name = spec.get("network")
    if not isinstance(name, str) or name not in (*NETWORKS, *COMBINATIONS):
        raise SpecError(f"no network is called {shown(name)}; allowed: {', '.join((*NETWORKS, *COMBINATIONS))}")
    entries = {key: value for key, value in spec.items() if key != "network"}
    if name in NETWORKS:
        kind, allowed = NETWORKS[name]
        _check_entries(name, entries, allowed, allowed[:2])
        return kind(**entries)
    if depth >= MAX_DEPTH:
        raise SpecError(f"combinations nest at most {MAX_DEPTH} deep")
    combination, needed = COMBINATIONS[name]
    _check_entries(name, entries, needed, needed)
    return combination._from_entries(entries, lambda part: _read(part, bases, depth + 1), bases)


def _check_entries(name: str, entries: dict[str, Any], allowed: tuple[str, ...], needed: tuple[str, ...]) -> None:
    if unknown := sorted(str(key) for key in entries.keys() - set(allowed)):
        raise SpecError(f"a {name} has no entries {', '.join(unknown)}; allowed: {', '.join(allowed)}")
    if missing := [key for key in needed if key not in entries]:
        raise SpecError(f"the specification of a {name} lacks {', '.join(missing)}")

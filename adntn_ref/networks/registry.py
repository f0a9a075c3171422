"""Networks by name, and reading a specification back."""

from typing import Any

from adntn_ref.errors import SpecError
from adntn_ref.networks.attn import ATTN
from adntn_ref.networks.base import Network
from adntn_ref.networks.brickwall import BrickWall
from adntn_ref.networks.mera import MERA
from adntn_ref.networks.shallow import MPO
from adntn_ref.networks.ttn import TTN

LAYOUT_KEYS = ("layout", "row_modes", "col_modes")
TREE_KEYS = ("shape", "chi", "modes", "activation", "activation_site", *LAYOUT_KEYS)
NETWORKS: dict[str, tuple[type[Network], tuple[str, ...]]] = {
    "brickwall": (BrickWall, ("shape", "layers", "modes", "activation", "boundary", "activation_every", *LAYOUT_KEYS)),
    "ttn": (TTN, TREE_KEYS),
    "attn": (ATTN, TREE_KEYS),
    "mera": (MERA, (*TREE_KEYS, "periodic")),
    "mpo": (MPO, ("shape", "chi", "row_modes", "col_modes")),
}
"""Network name -> (class, the entries its specification may have)."""


def from_spec(spec: dict[str, Any]) -> Network:
    """Return the network that a specification describes.

    Parameters
    ----------
    spec : dict
        What ``to_spec`` returns: ``{"network": "brickwall", "shape": [120, 84], "layers": 3, ...}``.

    Raises
    ------
    SpecError
        For anything that is not such a dict, an unknown network, and missing or unknown entries.

    Examples
    --------
    >>> net = BrickWall((120, 84), layers=3)
    >>> from_spec(net.to_spec()) == net
    True
    """
    if not isinstance(spec, dict):
        raise SpecError(f"a specification is a dict, got a {type(spec).__name__}")
    name = spec.get("network")
    if not isinstance(name, str) or name not in NETWORKS:
        raise SpecError(f"no network is called {name!r}; allowed: {', '.join(NETWORKS)}")
    kind, allowed = NETWORKS[name]
    entries = {key: value for key, value in spec.items() if key != "network"}
    if unknown := sorted(str(key) for key in entries.keys() - set(allowed)):
        raise SpecError(f"a {name} has no entries {', '.join(unknown)}; allowed: {', '.join(allowed)}")
    if missing := [key for key in (allowed[0], allowed[1]) if key not in entries]:
        raise SpecError(f"the specification of a {name} lacks {', '.join(missing)}")
    return kind(**entries)

"""The options that describe a network on the command line."""

import argparse
from typing import Any

from adntn_ref.ad.activations import ACTIVATIONS
from adntn_ref.errors import SpecError
from adntn_ref.networks.base import Network
from adntn_ref.networks.brickwall import ACTIVATION_EVERY, BOUNDARIES
from adntn_ref.networks.registry import NETWORKS, from_spec
from adntn_ref.program.modes import LAYOUTS

_NEEDED = {"brickwall": "layers", "mpo": "chi"}


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--network`` and what goes with it."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--network", default="brickwall", metavar="NAME", help=f"{', '.join(NETWORKS)} (default brickwall)"
    )
    group.add_argument("--layers", type=int, metavar="M", help="layers of a brick-wall")
    group.add_argument("--chi", type=int, metavar="CHI", help="largest bond of an MPO")
    group.add_argument("--modes", type=_sizes, metavar="2,2,...", help="sizes of the modes (default: twos)")
    group.add_argument("--row-modes", type=_sizes, metavar="4,7,...", help="modes of the rows")
    group.add_argument("--col-modes", type=_sizes, metavar="4,4,...", help="modes of the columns")
    group.add_argument("--layout", metavar="NAME", help=f"{', '.join(LAYOUTS)} (default flat)")
    group.add_argument("--activation", metavar="NAME", help=f"{', '.join(ACTIVATIONS)} (default relu)")
    group.add_argument("--activation-every", metavar="NAME", help=f"{', '.join(ACTIVATION_EVERY)} (default layer)")
    group.add_argument("--boundary", metavar="NAME", help=f"{', '.join(BOUNDARIES)} (default constant)")


def _sizes(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of integers such as 2,2,3") from None


def network_for(options: argparse.Namespace, shape: tuple[int, ...]) -> Network:
    """Return the network that the options describe for a weight of ``shape``.

    Raises
    ------
    SpecError
        For an unknown network, a size that is missing, or options that do not belong to the network.
    """
    name = options.network
    if name not in NETWORKS:
        raise SpecError(f"no network is called {name!r}; allowed: {', '.join(NETWORKS)}")
    spec: dict[str, Any] = {"network": name, "shape": list(shape)}
    for key in (
        "layers",
        "chi",
        "modes",
        "row_modes",
        "col_modes",
        "layout",
        "activation",
        "activation_every",
        "boundary",
    ):
        if getattr(options, key) is not None:
            spec[key] = getattr(options, key)
    if _NEEDED[name] not in spec:
        raise SpecError(f"--network {name} needs --{_NEEDED[name]}")
    return from_spec(spec)

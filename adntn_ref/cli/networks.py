"""The options that describe a network on the command line."""

import argparse
from typing import Any

from adntn_ref.ad.activations import ACTIVATIONS
from adntn_ref.errors import SpecError
from adntn_ref.networks.base import Network
from adntn_ref.networks.brickwall import ACTIVATION_EVERY, BOUNDARIES
from adntn_ref.networks.registry import NETWORKS, from_spec, size_field
from adntn_ref.networks.sizes import at_most
from adntn_ref.program.modes import LAYOUTS


def add_network_options(parser: argparse.ArgumentParser, named: bool = True) -> None:
    """Add ``--network`` (if ``named``) and what goes with it."""
    group = parser.add_argument_group("network")
    if named:
        group.add_argument(
            "--network", default="brickwall", metavar="NAME", help=f"{', '.join(NETWORKS)} (default brickwall)"
        )
    group.add_argument("--layers", type=int, metavar="M", help="layers of a brick-wall")
    group.add_argument("--chi", type=int, metavar="CHI", help="largest bond of trees, tensor trains and MPOs")
    group.add_argument("--rank", type=int, metavar="R", help="rank of low-rank and CP networks")
    group.add_argument("--ranks", type=_sizes, metavar="R,...", help="ranks of a Tucker network, one or one a mode")
    group.add_argument(
        "--parameters", type=int, metavar="N", help="the largest network of at most N parameters instead"
    )
    group.add_argument("--modes", type=_sizes, metavar="2,2,...", help="sizes of the modes (default: twos)")
    group.add_argument("--row-modes", type=_sizes, metavar="4,7,...", help="modes of the rows")
    group.add_argument("--col-modes", type=_sizes, metavar="4,4,...", help="modes of the columns")
    group.add_argument("--layout", metavar="NAME", help=f"{', '.join(LAYOUTS)} (default flat)")
    group.add_argument("--activation", metavar="NAME", help=f"{', '.join(ACTIVATIONS)} (default relu; tanh for trees)")
    group.add_argument("--activation-every", metavar="NAME", help=f"{', '.join(ACTIVATION_EVERY)} (default layer)")
    group.add_argument("--activation-site", metavar="NAME", help="level, or node for a TTN (default level)")
    group.add_argument("--boundary", metavar="NAME", help=f"{', '.join(BOUNDARIES)} (default constant)")
    group.add_argument("--periodic", action="store_true", default=None, help="MERA: mix the last index with the first")


OPTIONS = (
    "layers",
    "chi",
    "rank",
    "ranks",
    "modes",
    "row_modes",
    "col_modes",
    "layout",
    "activation",
    "activation_every",
    "activation_site",
    "boundary",
    "periodic",
)


def _sizes(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of integers such as 2,2,3") from None


def _ranks(text: str) -> int | list[int]:
    ranks = _sizes(text)
    return ranks[0] if len(ranks) == 1 else ranks


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
    entries: dict[str, Any] = {key: getattr(options, key) for key in OPTIONS if getattr(options, key, None) is not None}
    if "ranks" in entries and len(entries["ranks"]) == 1:
        entries["ranks"] = entries["ranks"][0]
    if options.parameters is not None:
        return at_most(name, shape, parameters=options.parameters, **entries)
    needed = size_field(name)
    if needed not in entries:
        raise SpecError(f"--network {name} needs --{needed} or --parameters")
    return from_spec({"network": name, "shape": list(shape), **entries})

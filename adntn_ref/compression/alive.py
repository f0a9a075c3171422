"""How much of a generator is dead: entries of its states through which no gradient passes."""

from itertools import pairwise

from adntn_ref.ad.activations import Activation
from adntn_ref.ad.arrays import Array, number
from adntn_ref.errors import StartError
from adntn_ref.networks.base import Network, Params
from adntn_ref.networks.combination import Combination
from adntn_ref.networks.programmed import ProgramNetwork
from adntn_ref.program.frames import Frames
from adntn_ref.program.steps import Activate, Program


def dead_share(network: Network, params: Params) -> dict[str, float]:
    """Return, for each activation of a network, the share of entries with sigma'(z) = 0 (for relu: those that are 0).

    Networks without activations have nothing to report: an empty dict. The parts of a combination have the prefixes of
    their cores.

    Examples
    --------
    >>> from adntn_ref.networks import BrickWall
    >>> net = BrickWall((4, 4), layers=2)
    >>> dead_share(net, net.init(0))
    {'layer0.activation': 0.5}
    """
    found = {}
    for prefix, part in single_networks(network):
        activated = _activated(part.program) if isinstance(part, ProgramNetwork) else {}
        if isinstance(part, ProgramNetwork) and activated:
            before: Array = None
            for name, state in part.walk_states({name: params[prefix + name] for name in part.core_shapes}):
                if name in activated:
                    found[prefix + name] = number((activated[name].first(before, state) == 0).mean())
                before = state
    return found


def single_networks(network: Network, prefix: str = "") -> list[tuple[str, Network]]:
    """Return the networks that a combination is made of, to the bottom, each with the prefix of its cores' names.

    Examples
    --------
    >>> from adntn_ref.networks import MPO, BrickWall, Sum
    >>> [(prefix, type(part).__name__) for prefix, part in single_networks(Sum(MPO((4, 4), 1), BrickWall((4, 4), 1)))]
    [('0.', 'MPO'), ('1.', 'BrickWall')]
    """
    if not isinstance(network, Combination):
        return [(prefix, network)]
    return [found for name, part in network._named for found in single_networks(part, prefix + name)]


def _activated(program: Program | Frames) -> dict[str, Activation]:
    """Return the activations by the names of the states after them; each follows the state before it at once."""
    pairs = pairwise(program.all_steps)
    if isinstance(program, Frames):
        return {b.name: program.activation for a, b in pairs if b.name == f"{a.name}.activation"}
    return {b.name: b.activation for _, b in pairs if isinstance(b, Activate)}


def require_alive(shares: dict[str, float], network: Network) -> None:
    """Refuse a start from which no core before some activation could learn.

    Raises
    ------
    StartError
        Naming the first state all of whose entries are dead.
    """
    for name, share in shares.items():
        if share == 1.0:
            raise StartError(
                f"{network!r}: every entry of the state after {name} is dead, so that no gradient reaches the cores"
                " before it; take another seed, the calibrated_orthogonal start, or another activation"
            )

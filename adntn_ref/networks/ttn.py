"""The tree tensor network as a weight generator (arXiv 2606.00130)."""

from dataclasses import dataclass
from typing import ClassVar

from adntn_ref.networks.tree import TreeNetwork


@dataclass(frozen=True)
class TTN(TreeNetwork):
    """Binary tree without mixing; see :class:`~adntn_ref.networks.tree.TreeNetwork`.

    ``activation_site="node"`` evaluates it from the leaves instead, with an activation at every node but the root; see
    :mod:`adntn_ref.program.frames`. With the identity both are the same tensor.

    Examples
    --------
    >>> TTN((2**12, 2**12), chi=2).parameter_count
    180
    """

    SITES: ClassVar[tuple[str, ...]] = ("level", "node")
    NAME: ClassVar[str] = "ttn"

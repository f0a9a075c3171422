"""The augmented tree tensor network: a tree with disentanglers on the physical legs (arXiv 2606.00130).

The place of the disentanglers is that of Felser, Notarnicola and Montangero (arXiv 2011.08200).
"""

from dataclasses import dataclass
from typing import ClassVar

from adntn_ref.networks.tree import Node, TreeNetwork, lateral_pairs


@dataclass(frozen=True)
class ATTN(TreeNetwork):
    """Tree whose last state is mixed across the cuts of the tree; see :class:`~adntn_ref.networks.tree.TreeNetwork`.

    With every mixing core the identity it is the TTN, exactly.

    Examples
    --------
    >>> ATTN((2**12, 2**12), chi=2).parameter_count
    308
    """

    NAME: ClassVar[str] = "attn"

    def mixing_positions(self, depth: int, level: tuple[Node, ...], last: bool) -> tuple[int, ...]:
        """Return the pairs that mix: at the last depth only."""
        return lateral_pairs(len(self.placement.modes), level) if last else ()

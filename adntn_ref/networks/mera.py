"""MERA, the multiscale entanglement renormalisation ansatz as a weight generator (arXiv 2606.00130)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from adntn_ref.errors import SpecError
from adntn_ref.networks.tree import Node, TreeNetwork, lateral_pairs
from adntn_ref.program.modes import shown


@dataclass(frozen=True)
class MERA(TreeNetwork):
    """Tree whose state is mixed after every expansion; see :class:`~adntn_ref.networks.tree.TreeNetwork`.

    ``periodic=True`` mixes the last index with the first as well, where both are free. With every mixing core above the
    last depth the identity it is the aTTN, exactly.

    Examples
    --------
    >>> MERA((2**12, 2**12), chi=2).parameter_count
    484
    """

    periodic: bool = False

    NAME: ClassVar[str] = "mera"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.periodic, bool):
            raise SpecError(f"periodic must be True or False, got {shown(self.periodic)}")

    def mixing_positions(self, depth: int, level: tuple[Node, ...], last: bool) -> tuple[int, ...]:
        """Return the pairs that mix: at every depth from the second on."""
        return lateral_pairs(len(self.placement.modes), level, self.periodic)

    def to_spec(self) -> dict[str, Any]:
        """Return the specification as a JSON-able dict; ``ar.from_spec`` reads it back."""
        return {**super().to_spec(), "periodic": self.periodic}

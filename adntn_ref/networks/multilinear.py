"""What the shallow networks share: a weight that is linear in every core, made by a few plain products.

There is no activation to keep alive, so the start is normal numbers and one factor for all cores; the gradient comes
from the tape; the cost is read off the list of products.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from adntn_ref.ad.arrays import COMPLEX
from adntn_ref.errors import SpecError, StartError
from adntn_ref.networks.base import Network, Params, check_init, placed
from adntn_ref.networks.peaks import peak_bytes
from adntn_ref.program.cost import ITEM_BYTES, Cost, StepCost, check_dtype
from adntn_ref.program.cost import total_cost as sum_of_steps
from adntn_ref.program.modes import Layout, resolve_layout
from adntn_ref.program.starts import default_std, spread


@dataclass(frozen=True)
class Product:
    """One product of a contraction: its name, operations, and the entries held before and written by it.

    ``back`` are the operations of its adjoint, twice as many by default.
    """

    name: str
    flops: int
    read: int
    written: int
    back: int | None = None


class Multilinear(Network):
    """A network whose weight is linear in every core.

    Subclasses give the cores, ``_generate``, the products it runs, and the scale of each core at the start.
    """

    title: ClassVar[str]
    """What errors call it."""

    @abstractmethod
    def _products(self) -> Iterable[Product]:
        """The products that ``_generate`` runs, in order, for a real network."""

    @abstractmethod
    def _summed(self, name: str) -> int:
        """How many terms the start's scale of a core allows for: its normal entries have variance one over this."""

    @property
    def _order(self) -> Layout:
        """Where the weight's entries stand in the tensor that the products make."""
        return self.placement

    def init(
        self,
        rng: int | np.random.Generator = 0,
        dtype: str = "float64",
        std: float | None = None,
        start: str = "calibrated_orthogonal",
        backend: str | None = None,
    ) -> Params:
        """Draw normal cores and rescale them evenly, so that the weight has standard deviation ``std``.

        There are no activations to keep alive: ``"calibrated_orthogonal"`` (the name all networks share for their
        default) and ``"normal"`` differ in the rescaling alone. See :meth:`Network.init`.

        Raises
        ------
        SpecError
            For another start, and for ``std`` with ``"normal"``.
        """
        check_init(dtype, std, backend)
        if start not in ("calibrated_orthogonal", "normal"):
            raise SpecError(f"{self.title} starts as calibrated_orthogonal or normal, got {start!r}")
        if start == "normal" and std is not None:
            raise SpecError(f"std goes with the calibrated start, not with start={start!r}")
        self.require_memory("float64", backward=False)
        generator = np.random.default_rng(rng)
        cores = {k: generator.standard_normal(n) / np.sqrt(self._summed(k)) for k, n in self.core_shapes.items()}
        if start == "calibrated_orthogonal":
            size = spread(self._generate(cores))
            if not np.isfinite(size) or size == 0:
                raise StartError(f"the generated weight has standard deviation {size}")
            wanted = default_std(self.placement.shape) if std is None else float(std)
            cores = self.scaled(cores, wanted / size)
        return placed(cores, backend, dtype)

    def scaled(self, params: Params, factor: float) -> Params:
        """Return parameters whose weight is ``factor`` > 0 times as large: every core takes an even share of it."""
        return {name: core * factor ** (1 / len(params)) for name, core in params.items()}

    def cost(self, dtype: str = "float32", schedule: str = "keep") -> Cost:
        """Count the products that are run, and their adjoints; see :class:`Cost`."""
        check_dtype(dtype)
        if schedule != "keep":
            raise SpecError(f"{self.title} runs by the schedule keep alone, got {schedule!r}")
        item, factor = ITEM_BYTES[dtype], 4 if dtype in COMPLEX else 1
        products = list(self._products())
        steps = [_step(p, item, factor) for p in products]
        return total_cost(self, dtype, schedule, steps, peak_bytes(self, dtype, schedule))


def _step(product: Product, item: int, factor: int) -> StepCost:
    moved, written = item * (product.read + product.written), item * product.written
    back = 2 * product.flops if product.back is None else product.back
    return StepCost(product.name, factor * product.flops, factor * back, moved, 2 * moved, written, written)


def total_cost(network: Network, dtype: str, schedule: str, steps: list[StepCost], peaks: tuple[int, int]) -> Cost:
    """Add up the steps of a network; ``peaks`` are the bytes held at once forward, and with the adjoint."""
    counts: dict[str, Any] = {"dtype": dtype, "schedule": schedule}
    return sum_of_steps(steps, peaks, parameters=network.parameter_count, weights=network.weights, **counts)


def place(network: Any, **values: Any) -> Layout:
    """Resolve the layout fields of a frozen network, set them and ``values`` on it, and return the placement."""
    placement = resolve_layout(network.shape, network.modes, network.layout, network.row_modes, network.col_modes)
    fix(
        network,
        placement=placement,
        shape=placement.shape,
        modes=placement.modes,
        row_modes=placement.row_modes or None,
        col_modes=placement.col_modes or None,
        **values,
    )
    return placement


def fix(network: Any, **values: Any) -> None:
    """Set fields of a frozen dataclass while it is made."""
    for name, value in values.items():
        object.__setattr__(network, name, value)


def caps(sizes: Sequence[int], chi: int) -> tuple[int, ...]:
    """Return the bonds b_0, ..., b_K of a chain: min(chi, what stands to the left, what stands to the right).

    Examples
    --------
    >>> caps((4, 4, 4), chi=5)
    (1, 4, 4, 1)
    """
    return tuple(min(chi, prod(sizes[:k]), prod(sizes[k:])) for k in range(len(sizes) + 1))

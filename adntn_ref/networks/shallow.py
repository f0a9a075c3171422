"""Shallow tensor networks: the rivals a deep generator is compared with at equal parameter count.

The matrix product operator is the baseline of this line of work (Gao et al., arXiv 1904.06194). Its gradient comes from
the tape.
"""

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import COMPLEX, Array
from adntn_ref.ad.einsum import contract
from adntn_ref.errors import DTypeError, SpecError, StartError
from adntn_ref.networks.base import Network, Params, check_init
from adntn_ref.networks.spec import positive_integer
from adntn_ref.program.cost import ITEM_BYTES, Cost, StepCost
from adntn_ref.program.modes import Layout, resolve_layout
from adntn_ref.program.starts import default_std, spread


@dataclass(frozen=True)
class MPO(Network):
    """Matrix product operator (tensor-train matrix) on the weight's rows and columns.

    ``W[(i_0 .. i_{K-1}), (j_0 .. j_{K-1})] = sum over bonds of prod_k core{k}[b_{k-1}, i_k, j_k, b_k]``, with
    ``b_0 = b_K = 1`` and every bond min(chi, what stands to its left, what stands to its right).

    Parameters
    ----------
    shape : shape of the weight, read as shape[0] rows and the rest columns
    chi : largest bond
    row_modes, col_modes : sizes r_k and c_k, default twos; the shorter list is padded with ones. Their products may
        exceed rows and columns: what is generated beyond them is dropped, as with ``layout="axes"``.

    Examples
    --------
    >>> net = MPO((784, 256), chi=4, row_modes=(4, 7, 7, 4), col_modes=(4, 4, 4, 4))
    >>> net.core_shapes["core1"], net.parameter_count
    ((4, 7, 4, 4), 1024)
    """

    shape: tuple[int, ...]
    chi: int
    row_modes: tuple[int, ...] | None = None
    col_modes: tuple[int, ...] | None = None
    placement: Layout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        placement = resolve_layout(self.shape, None, "axes", self.row_modes, self.col_modes)
        length = max(len(placement.row_modes), len(placement.col_modes))
        rows = placement.row_modes + (1,) * (length - len(placement.row_modes))
        columns = placement.col_modes + (1,) * (length - len(placement.col_modes))
        padded = resolve_layout(self.shape, None, "axes", rows, columns)
        for name, value in {
            "shape": padded.shape,
            "chi": positive_integer(self.chi, "chi"),
            "row_modes": rows,
            "col_modes": columns,
            "placement": padded,
        }.items():
            object.__setattr__(self, name, value)

    @property
    def _sizes(self) -> list[tuple[int, int]]:
        return list(zip(self.placement.row_modes, self.placement.col_modes, strict=True))

    @property
    def bonds(self) -> tuple[int, ...]:
        """b_0, ..., b_K."""
        pairs = [r * c for r, c in self._sizes]
        return tuple(min(self.chi, prod(pairs[:k]), prod(pairs[k:])) for k in range(len(pairs) + 1))

    @property
    def core_shapes(self) -> dict[str, tuple[int, ...]]:
        """``core{k}`` of shape (b_{k-1}, r_k, c_k, b_k)."""
        b = self.bonds
        return {f"core{k}": (b[k], r, c, b[k + 1]) for k, (r, c) in enumerate(self._sizes)}

    def to_spec(self) -> dict[str, Any]:
        """Return the specification as a JSON-able dict; ``ar.from_spec`` reads it back."""
        place = self.placement
        modes = {"row_modes": list(place.row_modes), "col_modes": list(place.col_modes)}
        return {"network": "mpo", "shape": list(self.shape), **modes, "chi": self.chi}

    def init(
        self,
        rng: int | np.random.Generator = 0,
        dtype: str = "float64",
        std: float | None = None,
        start: str = "calibrated_orthogonal",
    ) -> Params:
        """Draw normal cores and rescale them evenly, so that the weight has standard deviation ``std``.

        A chain of cores has no activations to keep alive: ``"calibrated_orthogonal"`` (the name all networks share for
        their default) and ``"normal"`` differ in the rescaling alone.
        """
        check_init(dtype, std)
        if start not in ("calibrated_orthogonal", "normal"):
            raise SpecError(f"an MPO starts as calibrated_orthogonal or normal, got {start!r}")
        self.require_memory("float64", backward=False)
        generator = np.random.default_rng(rng)
        cores = {k: generator.standard_normal(shape) / np.sqrt(shape[0]) for k, shape in self.core_shapes.items()}
        if start == "calibrated_orthogonal":
            size = spread(self._generate(cores))
            if not np.isfinite(size) or size == 0:
                raise StartError(f"the generated weight has standard deviation {size}")
            factor = (default_std(self.shape) if std is None else float(std)) / size
            cores = {name: core * factor ** (1 / len(cores)) for name, core in cores.items()}
        elif std is not None:
            raise SpecError(f"std goes with the calibrated start, not with start={start!r}")
        return {name: np.ascontiguousarray(core, dtype=dtype) for name, core in cores.items()}

    def _generate(self, params: Params) -> Array:
        """Contract from the left; the state has shape (rows so far, columns so far, bond)."""
        state = params["core0"][0]
        for k in range(1, len(self._sizes)):
            core = params[f"core{k}"]
            # labels: 0 rows, 1 columns, 2 bond, 3 r, 4 c, 5 next bond
            state = contract(state, core, inputs=((0, 1, 2), (2, 3, 4, 5)), output=(0, 3, 1, 4, 5))
            rows, r, columns, c, bond = state.shape
            state = ops.reshape(state, shape=(rows * r, columns * c, bond))
        return self.placement.extract(ops.reshape(state, shape=(-1,)))

    def cost(self, dtype: str = "float32", schedule: str = "keep") -> Cost:
        """Count the contraction from the left, one step a core, and its adjoint of twice the operations."""
        if dtype not in ITEM_BYTES:
            raise DTypeError(f"no cost for dtype {dtype}; allowed: {', '.join(ITEM_BYTES)}")
        if schedule != "keep":
            raise SpecError(f"an MPO runs by the schedule keep alone, got {schedule!r}")
        item, factor = ITEM_BYTES[dtype], 4 if dtype in COMPLEX else 1
        steps: list[StepCost] = []
        entries, before = 1, 0
        for k, (b, r, c, b_next) in enumerate(self.core_shapes.values()):
            entries *= r * c
            flops = 2 * entries * b * b_next * factor if k else 0
            state = entries * b_next * item
            steps.append(StepCost(f"core{k}", flops, 2 * flops, before + state, 2 * (before + state), state, state))
            before = state
        largest = max(step.state_bytes for step in steps)
        kept = sum(step.kept_bytes for step in steps)
        return Cost(
            dtype=dtype,
            schedule=schedule,
            parameters=self.parameter_count,
            weights=self.weights,
            flops_forward=sum(step.flops_forward for step in steps),
            flops_backward=sum(step.flops_backward for step in steps),
            bytes_forward=sum(step.bytes_forward for step in steps),
            bytes_backward=sum(step.bytes_backward for step in steps),
            peak_bytes_forward=2 * largest,
            peak_bytes_backward=kept + 2 * largest,
            largest_state_bytes=largest,
            steps=tuple(steps),
        )

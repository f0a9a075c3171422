"""The brick-wall ADTN of Qing, Li, Zhou and Ran (arXiv 2305.06058).

``W = L(M) sigma(L(M-1) ... sigma(L(1) v_0 (x) v_1 (x) ... (x) v_{Q-1}))``: a product state goes through M layers,
each two columns of small cores ("bricks") on neighbouring modes, pairs (0,1), (2,3), ... and then (1,2), (3,4), ...;
an activation stands between layers. O(M Q) parameters make 2^Q weights.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import Any

from adntn_ref.ad.activations import get_activation
from adntn_ref.errors import SpecError
from adntn_ref.networks.programmed import ProgramNetwork
from adntn_ref.networks.spec import chosen_of, layout_spec, positive_integer
from adntn_ref.program.modes import Layout, matrix_shape, resolve_layout
from adntn_ref.program.steps import Activate, Factor, Mix, Product, Program, Step

BOUNDARIES = ("constant", "trainable")
ACTIVATION_EVERY = ("layer", "column")
MAX_BRICKS = 100_000
"""More bricks than this are a mistake or an attack, and are refused before anything is built."""

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class BrickWall(ProgramNetwork):
    """Brick-wall network.

    Cores are ``layer{m}.brick{q}`` on the modes (q, q+1), shape (d_q, d_{q+1}, d_q, d_{q+1}), outputs first. With the
    constant boundary only the slice ``A[:, :, 0, 0]`` of a first-column brick of layer 0 reaches the output; these are
    stored as that slice, of shape (d_q, d_{q+1}).

    Parameters
    ----------
    shape : tuple of int
        Shape of the weight.
    layers : int
        M >= 1.
    modes : tuple of int
        Sizes of the modes, default twos; for ``layout="flat"``.
    activation : str
        Name of sigma, which acts after layers 0 .. M-2 and never after the last.
    boundary : str
        ``"constant"`` start vectors (1, 0, ..., 0), or ``"trainable"`` ones called ``start{q}``.
    activation_every : str
        ``"layer"`` as in the paper, or ``"column"``, after every column but the last of the network.
    layout, row_modes, col_modes
        Where the weight's entries stand; see :mod:`adntn_ref.program.modes`.

    Raises
    ------
    SpecError
        For sizes that are not positive integers, unknown names, or modes too small for the weight.

    Examples
    --------
    The two linear layers of VGG-16 in the paper, from 424 numbers:

    >>> BrickWall((512, 4096), layers=1).parameter_count + BrickWall((4096, 4096), layers=1).parameter_count
    424
    """

    shape: tuple[int, ...]
    layers: int
    modes: tuple[int, ...] | None = None
    activation: str = "relu"
    boundary: str = "constant"
    activation_every: str = "layer"
    layout: str = "flat"
    row_modes: tuple[int, ...] | None = None
    col_modes: tuple[int, ...] | None = None
    placement: Layout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        placement = resolve_layout(self.shape, self.modes, self.layout, self.row_modes, self.col_modes)
        values: dict[str, Any] = {
            "placement": placement,
            "shape": placement.shape,
            "modes": placement.modes,
            "row_modes": placement.row_modes or None,
            "col_modes": placement.col_modes or None,
            "layers": positive_integer(self.layers, "layers"),
            "activation": get_activation(self.activation).name,
            "boundary": chosen_of(BOUNDARIES, self.boundary, "boundary"),
            "activation_every": chosen_of(ACTIVATION_EVERY, self.activation_every, "activation_every"),
        }
        if values["layers"] * len(placement.modes) > MAX_BRICKS:
            raise SpecError(f"{values['layers']} layers on {len(placement.modes)} modes are over {MAX_BRICKS} bricks")
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def rank_at_most(self) -> int:
        """The largest rank that the weight's matrix (``shape[0]`` rows) can have by its structure.

        Where rows and columns stand apart, only the bricks on the pair at their border tie them, one in a layer. Each
        raises the rank by the factor min(d, d')^2 at most, for modes of sizes d and d', and by min(d, d') if it is of
        the first column, which acts on a product state. Activations in between, interleaved modes and flat modes that
        cross the border know no such limit.

        Examples
        --------
        >>> BrickWall((512, 4096), layers=1).rank_at_most, BrickWall((4096, 4096), layers=1).rank_at_most
        (2, 4)
        >>> BrickWall((4096, 4096), layers=1, layout="interleaved").rank_at_most
        4096
        """
        rows, columns = matrix_shape(self.shape)
        modes, most = self.placement.modes, min(rows, columns)
        borders = [k for k in range(1, len(modes)) if prod(modes[k:]) == columns] if self.layout == "flat" else []
        if self.layout == "axes":
            borders = [len(self.placement.row_modes)]
        if not borders or not self.linear:
            return most
        step = min(modes[borders[0] - 1 : borders[0] + 1])
        bricks = 2 * self.layers - borders[0] % 2  # a first-column brick counts half
        return min(most, prod([step] * min(bricks, most.bit_length())))  # more factors of 2 are beyond ``most`` anyway

    @property
    def _built(self) -> tuple[Program, Shapes]:
        return _build(self)

    def to_spec(self) -> dict[str, Any]:
        """Return the specification as a JSON-able dict; ``ar.from_spec`` reads it back."""
        spec: dict[str, Any] = {"network": "brickwall", **layout_spec(self.placement)}
        spec.update(layers=self.layers, activation=self.activation, boundary=self.boundary)
        if self.activation_every != "layer":
            spec["activation_every"] = self.activation_every
        return spec


@lru_cache(maxsize=512)
def _build(net: BrickWall) -> tuple[Program, Shapes]:
    """List the steps and the core shapes of a brick-wall."""
    modes = net.placement.modes
    columns = [(m, side) for m in range(net.layers) for side in ("even", "odd") if _pairs(m, side, modes)]
    start, shapes = _start(net, modes)
    if net.boundary == "constant":
        columns = columns[1:]  # the start is the state after the first column
    after = _activated_columns(net, modes)
    steps: list[Step] = []
    activation = get_activation(net.activation)
    if start.name in after:
        steps.append(Activate(after[start.name], modes, activation))
    for m, side in columns:
        pairs = _pairs(m, side, modes)
        shapes.update({name: (modes[q], modes[q + 1]) * 2 for q, name in pairs})
        steps.append(Mix(f"layer{m}.{side}", modes, pairs))
        if f"layer{m}.{side}" in after:
            steps.append(Activate(after[f"layer{m}.{side}"], modes, activation))
    return Program(start, tuple(steps)), shapes


def _pairs(layer: int, side: str, modes: tuple[int, ...]) -> tuple[tuple[int, str], ...]:
    """Return the bricks of a column as (left mode, core name)."""
    return tuple((q, f"layer{layer}.brick{q}") for q in range(0 if side == "even" else 1, len(modes) - 1, 2))


def _start(net: BrickWall, modes: tuple[int, ...]) -> tuple[Product, Shapes]:
    """Return the start state: product vectors, or with the constant boundary what the first column makes of them."""
    if net.boundary == "trainable":
        shapes = {f"start{q}": (d,) for q, d in enumerate(modes)}
        return Product("start", tuple(Factor(name, dims) for name, dims in shapes.items())), dict(shapes)
    pairs = _pairs(0, "even", modes)
    shapes_of_slices = {name: (modes[q], modes[q + 1]) for q, name in pairs}
    factors = [Factor(name, dims) for name, dims in shapes_of_slices.items()]
    if len(modes) % 2:
        factors.append(Factor(None, modes[-1:]))
    return Product("layer0.even", tuple(factors)), dict(shapes_of_slices)


def _activated_columns(net: BrickWall, modes: tuple[int, ...]) -> dict[str, str]:
    """Return which columns an activation follows, as {column: name of the activation}; never the last column."""
    columns = [(m, side) for m in range(net.layers) for side in ("even", "odd") if _pairs(m, side, modes)]
    if net.activation_every == "column":
        return {f"layer{m}.{side}": f"layer{m}.{side}.activation" for m, side in columns[:-1]}
    last_side = dict(columns)
    return {f"layer{m}.{last_side[m]}": f"layer{m}.activation" for m in range(net.layers - 1)}

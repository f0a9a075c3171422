"""What a layer with a generated weight costs at a batch size, against the dense layer, before anything runs.

Four ways to the same outputs ``y = x @ W.T``, for n products between two updates of the cores:

- ``dense``: W is a parameter, n products.
- ``generate``: W is generated at every product.
- ``cached``: W is generated once and kept until the cores change.
- ``sites``: W is never made; the inputs go through the cores one by one, see :mod:`adntn_ref.networks.sites`.

All figures are counts. Operations are no seconds: many small products run at a lower rate than one large one, so a way
that takes fewer operations by a little may well be slower.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import REAL, Array
from adntn_ref.ad.tape import is_raw
from adntn_ref.errors import DTypeError, SpecError
from adntn_ref.networks.base import Network, Params
from adntn_ref.networks.peaks import Work, applied, library_of, work_of
from adntn_ref.networks.spec import positive_integer
from adntn_ref.networks.words import sentences
from adntn_ref.program.cost import ITEM_BYTES
from adntn_ref.program.modes import matrix_shape

BONDS = ("chi", "rank")
"""Sizes of a network that its product site by site grows with."""


@dataclass(frozen=True)
class WayCost:
    """One way to the outputs: all products between two updates; ``training`` is forward and backward.

    ``flops`` are multiplications and additions, ``bytes_moved`` what is read and written if nothing stays in a cache,
    ``peak_bytes`` what is alive at the worst moment of one product, parameters and inputs included.
    """

    way: str
    flops: int
    bytes_moved: int
    peak_bytes: int
    training_flops: int
    training_bytes_moved: int
    training_peak_bytes: int


@dataclass(frozen=True)
class Crossover:
    """Where one way becomes cheaper than another, in operations of the forward pass.

    ``generate_batch`` is the least batch at which generating at every product costs at most twice the dense layer,
    ``cached_uses`` the least number of products an update at which generating once does, at the batch asked for.

    What follows is None where there is no product site by site. ``sites_batch`` is the least batch at which it costs at
    most as much as the dense layer (None: at none). ``sites_until_batch`` is the largest batch at which it costs less
    than generating at every product (0: at none; None: there is no largest). ``sites_bond`` is the largest bond or rank
    at which it costs at most as much as the dense layer, at the batch asked for (0: none); ``bond`` says what that size
    is called (None: the network has not one such size).
    """

    generate_batch: int
    cached_uses: int
    sites_batch: int | None
    sites_until_batch: int | None
    sites_bond: int | None
    bond: str | None


@dataclass(frozen=True)
class LayerCost:
    """What a layer costs in every way there is; made by :func:`layer_cost`."""

    rows: int
    columns: int
    batch: int
    uses: int
    dtype: str
    schedule: str
    weights: int
    parameters: int
    ways: tuple[WayCost, ...]
    crossover: Crossover
    sites_refusal: str

    def __getitem__(self, way: str) -> WayCost:
        """Return the cost of one way by its name."""
        for found in self.ways:
            if found.way == way:
                return found
        raise SpecError(f"no way is called {way!r} here; there are {', '.join(w.way for w in self.ways)}")

    @property
    def words(self) -> tuple[str, ...]:
        """The verdict in sentences."""
        return sentences(self)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict, the sentences included."""
        return {**asdict(self), "words": list(self.words)}


def layer_cost(
    network: Network, batch: int, dtype: str = "float32", uses: int = 1, schedule: str = "keep"
) -> LayerCost:
    """Count what a layer with this weight costs at a batch size, against the dense layer; nothing runs.

    The weight is read as a matrix of ``shape[0]`` rows and the rest columns, and a product is ``x @ W.T`` with x of
    shape (batch, columns). For a convolution the batch counts the places that a filter is laid on, of all images.

    Parameters
    ----------
    network : of one weight
    batch : inputs a product
    dtype : "float32" or "float64"
    uses : products between two updates of the cores; 1 in training, many in inference
    schedule : of the generation's adjoint, see :mod:`adntn_ref.program.schedule`

    Returns
    -------
    LayerCost

    Raises
    ------
    SpecError
        For a batch or uses that are no integers >= 1, an unknown schedule, or a stack, which makes several weights.
    DTypeError
        For another dtype.

    Examples
    --------
    >>> from adntn_ref.networks.shallow import MPO
    >>> cost = layer_cost(MPO((1024, 1024), chi=2), batch=64)
    >>> cost["dense"].flops == 2 * 64 * 1024 * 1024, cost["sites"].flops < cost["dense"].flops
    (True, True)
    """
    batch, uses = positive_integer(batch, "batch"), positive_integer(uses, "uses")
    if dtype not in REAL:
        raise DTypeError(f"layers are of {' or '.join(REAL)}, got {dtype}")
    if getattr(network, "several", False) or not isinstance(network, Network):
        raise SpecError(f"a layer has one weight, which a {type(network).__name__} does not make")
    ways = [_dense(network, batch, dtype, uses), *_generating(network, batch, dtype, uses, schedule)]
    if not network.apply_refusal:
        ways.append(_sites(network, batch, dtype, uses))
    rows, columns = matrix_shape(network.placement.shape)
    return LayerCost(
        rows=rows,
        columns=columns,
        batch=batch,
        uses=uses,
        dtype=dtype,
        schedule=schedule,
        weights=network.weights,
        parameters=network.parameter_count,
        ways=tuple(ways),
        crossover=_crossover(network, batch, dtype, schedule),
        sites_refusal=network.apply_refusal,
    )


def _product(weight: Array, x: Array, columns: int) -> Array:
    return ops.matrix_product(x, ops.transpose(ops.reshape(weight, shape=(-1, columns))))


def _repeated(way: str, once: Work, training: Work, uses: int, parameters: int, item: int, kept: int = 0) -> WayCost:
    """Return the cost of ``uses`` equal products; each further one adds its gradients to those before."""
    more = (uses - 1) * parameters
    return WayCost(
        way,
        uses * once.flops,
        uses * once.bytes_moved,
        once.peak_bytes,
        uses * training.flops + more,
        uses * training.bytes_moved + 3 * more * item,
        training.peak_bytes + (uses > 1) * kept * item,
    )


def _dense(network: Network, batch: int, dtype: str, uses: int) -> WayCost:
    n, item = network.weights, ITEM_BYTES[dtype]
    once, training = _dense_work(network, batch, dtype)
    return _repeated("dense", once, training, uses, n, item, kept=n)


def _dense_work(network: Network, batch: int, dtype: str) -> tuple[Work, Work]:
    rows, columns = matrix_shape(network.placement.shape)

    def product(params: Params, x: Array) -> Array:
        return _product(params["weight"], x, columns)

    return work_of(product, lambda: library_of(dtype), {"weight": (rows, columns)}, (batch, columns))


def _sites(network: Network, batch: int, dtype: str, uses: int) -> WayCost:
    once, training = applied(network, dtype, batch)
    count = network.parameter_count
    return _repeated("sites", once, training, uses, count, ITEM_BYTES[dtype], kept=count)


def _generating(network: Network, batch: int, dtype: str, uses: int, schedule: str) -> list[WayCost]:
    """Return the costs of generating at every product, and once."""
    cost, item, n = network.cost(dtype, schedule), ITEM_BYTES[dtype], network.weights
    columns = matrix_shape(network.placement.shape)[1]

    def layer(params: Params, x: Array) -> Array:
        made = network._made(params) if all(map(is_raw, params.values())) else network._taped(params, schedule)
        return _product(made, x, columns)

    once, training = (
        w.peak_bytes for w in work_of(layer, lambda: library_of(dtype), network.core_shapes, (batch, columns))
    )
    product, both = _dense_work(network, batch, dtype)
    generation = Work(cost.flops_forward, cost.bytes_forward, 0)
    adjoint = Work(cost.flops_backward, cost.bytes_backward, 0)
    count = network.parameter_count
    every = _repeated(
        "generate",
        _sum(generation, product, once),
        _sum(_sum(generation, adjoint, 0), both, training),
        uses,
        count,
        item,
        kept=count,
    )
    more = (uses - 1) * n
    cached = WayCost(
        "cached",
        generation.flops + uses * product.flops,
        generation.bytes_moved + uses * product.bytes_moved,
        max(cost.peak_bytes_forward, product.peak_bytes) + count * item,
        generation.flops + adjoint.flops + uses * both.flops + more,
        generation.bytes_moved + adjoint.bytes_moved + uses * both.bytes_moved + 3 * more * item,
        training + (uses > 1) * n * item,
    )
    return [every, cached]


def _sum(a: Work, b: Work, peak: int) -> Work:
    return Work(a.flops + b.flops, a.bytes_moved + b.bytes_moved, peak)


def _crossover(network: Network, batch: int, dtype: str, schedule: str) -> Crossover:
    generation = network.cost(dtype, schedule).flops_forward
    each = 2 * prod(matrix_shape(network.placement.shape))
    found: dict[str, Any] = {"sites_batch": None, "sites_until_batch": None, "sites_bond": None, "bond": None}
    if not network.apply_refusal:
        one, two = (applied(network, dtype, b)[0].flops for b in (1, 2))
        slope = two - one  # operations grow with the batch along a line
        fixed = one - slope
        if slope < each or (slope == each and not fixed):
            found["sites_batch"] = max(1, -(-fixed // (each - slope))) if slope < each else 1
        if slope > each:
            found["sites_until_batch"] = max(0, -(-(generation - fixed) // (slope - each)) - 1)
        found["bond"] = next((name for name in BONDS if hasattr(network, name)), None)
        if found["bond"] is not None:
            found["sites_bond"] = _largest_bond(network, found["bond"], batch, dtype, each)
    return Crossover(max(1, -(-generation // each)), max(1, -(-generation // (each * batch))), **found)


def _largest_bond(network: Any, name: str, batch: int, dtype: str, each: int) -> int:
    """Return the largest bond at which site by site costs at most as much as the dense layer; 0 if 1 costs more.

    Bonds are capped; where not even the largest costs more, it is the least that the cap makes equal to it.
    """

    def made(bond: int) -> Any:
        return replace(network, **{name: bond})

    def pays(bond: int) -> bool:
        return applied(made(bond), dtype, batch)[0].flops <= each * batch

    def differs(bond: int) -> bool:
        return made(bond).core_shapes != made(network.weights).core_shapes  # type: ignore[no-any-return]

    if pays(network.weights):
        return 1 + _last(differs, network.weights)
    return _last(pays, network.weights)


def _last(holds: Callable[[int], bool], limit: int) -> int:
    """Return the largest number below ``limit`` up to which a condition holds, 0 if it does not hold for 1."""
    least, step = 0, 1
    while least + step < limit and holds(least + step):
        least, step = least + step, 2 * step
    most = min(least + step, limit)
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if holds(middle) else (least, middle)
    return least

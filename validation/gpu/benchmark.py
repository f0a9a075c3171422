"""Times of weight and gradients of a brick-wall on one device: ours beside PyTorch and JAX, in one run.

The least time there could be is that of memory or that of arithmetic. Memory: with one pass over memory a layer the
state is read and written forward, and the state and two cotangents backward, 5 states a layer; that over the
bandwidth measured by a copy. Arithmetic: the cost model's operations over the rate measured by a large matrix product.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import namespace
from adntn_ref.ad.moving import to_backend
from adntn_ref.networks import BrickWall

from . import rivals
from .cases import drawn, ways
from .probe import Probe, Step

LAYERS = 8
STATES_A_LAYER = 5
DTYPE = "float32"
ITEM = 4
MODES = (12, 14, 16, 18, 20, 22, 24, 26)
QUICK_MODES = (10, 12)
COPY_BYTES = 2**30
PRODUCT_SIDE = 8192


@dataclass(frozen=True)
class Limits:
    """What the device reached here: bytes a second in a copy (read and written), operations a second in a product."""

    bandwidth: float
    arithmetic: float


@dataclass(frozen=True)
class Row:
    """One time, or why there is none. Shares are of what the limits would allow at best."""

    modes: int
    who: str
    seconds: float | None
    bandwidth_share: float | None = None
    arithmetic_share: float | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        return asdict(self)


def measure_limits(probe: Probe, copy_bytes: int = COPY_BYTES, side: int = PRODUCT_SIDE) -> Limits:
    """Measure the copy bandwidth and the rate of float32 products."""
    x = to_backend(np.zeros(copy_bytes // (2 * ITEM), DTYPE), probe.backend.name)
    y = namespace(x).zeros_like(x)

    def copy() -> None:
        y[...] = x

    a = to_backend(np.ones((side, side), DTYPE), probe.backend.name)
    seconds = probe.seconds(copy, 10), probe.seconds(lambda: a @ a, 5)
    return Limits(copy_bytes / seconds[0], 2 * side**3 / seconds[1])


def benchmark(probe: Probe, limits: Limits, modes: tuple[int, ...], others: tuple[str, ...]) -> Iterator[Row]:
    """Yield the times of weight and gradients for every size: our ways to run, and other frameworks'.

    Parameters
    ----------
    others : names in :data:`~adntn_ref.validation.gpu.rivals.RIVALS`; one that is not installed, cannot use the device
        or has not the memory gives a row that says so
    """
    for count in modes:
        network = BrickWall((2**count,), LAYERS)
        params, cotangent = drawn(network, DTYPE)
        cost = network.cost(DTYPE)
        least = STATES_A_LAYER * LAYERS * ITEM * 2**count / limits.bandwidth
        busy = (cost.flops_forward + cost.flops_backward) / limits.arithmetic
        repeats = 20 if count < 22 else 5

        def row(who: str, time: Callable[[], float]) -> Row:
            try:
                seconds = time()
            except Exception as error:  # one that fails is told, and the others go on
                return Row(count, who, None, note=_shortened(error))  # noqa: B023
            finally:
                probe.release()
            return Row(count, who, seconds, least / seconds, busy / seconds)  # noqa: B023

        for way in ways(probe.backend):
            yield row(f"ours, {way}", lambda: probe.seconds(_ours(network, params, cotangent, probe), repeats))  # noqa: B023
        for name in others:
            yield row(name, lambda: rivals.RIVALS[name](network.to_spec(), params, cotangent, repeats))  # noqa: B023


def _ours(network: BrickWall, params: Any, cotangent: Any, probe: Probe) -> Step:
    there = to_backend((params, cotangent), probe.backend.name)

    def step() -> Any:
        weight, pullback = network.vjp(there[0])
        return weight, pullback(there[1])

    return step


def _shortened(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:80]}"


def table(rows: list[Row]) -> list[str]:
    """Return the rows as lines of text."""
    lines = [f"{'Q':>3}  {'who':<16} {'ms':>10} {'of copy bandwidth':>18} {'of arithmetic':>14}"]
    for row in rows:
        if row.seconds is None:
            lines.append(f"{row.modes:>3}  {row.who:<16} {'-':>10}  {row.note}")
        else:
            shares = f"{row.bandwidth_share:>18.1%} {row.arithmetic_share:>14.1%}"
            lines.append(f"{row.modes:>3}  {row.who:<16} {1e3 * row.seconds:>10.3f} {shares}")
    return lines

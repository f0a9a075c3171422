"""How much memory a fit takes beside its network's own run, and the refusal before anything of it is allocated."""

import os

from adntn_ref.errors import MemoryLimitError
from adntn_ref.networks.base import Network
from adntn_ref.networks.fitting import SMALL_BYTES, peaks
from adntn_ref.program.cost import ITEM_BYTES
from adntn_ref.program.memory import LIMIT_VARIABLE, memory_limit, require_memory

START_BYTES = 24
"""Bytes an entry of the weight while the target's standard deviation is taken, in float64."""
DRAWN_BYTES = 16
"""Bytes an entry beside the run in float64 by which a start is calibrated."""
VECTORS = 8
"""Vectors as long as the parameters: these, the best ones, gradients, moments, and what an update needs."""
LBFGS_VECTORS = 60
"""The same of L-BFGS, which keeps 20 pairs of steps and gradient changes, twice in parts."""


def beside(network: Network, dtype: str, objective: str, optimiser: str) -> int:
    """Return the bytes that a fit holds at its worst moment beside the run of the network with its adjoint.

    By distance: the difference, its square, and the cotangent. By outputs: products with the covariances in float64,
    and the cotangent. L-BFGS works in float64 and has a copy of the target.
    """
    wide = "float64" if optimiser == "lbfgs" else dtype
    item = ITEM_BYTES[wide]
    an_entry = 3 * item if objective == "euclidean" else 4 * 8 + 2 * item
    an_entry += 8 if optimiser == "lbfgs" else 0
    vectors = LBFGS_VECTORS if optimiser == "lbfgs" else VECTORS
    return an_entry * network.weights + vectors * item * network.parameter_count


def require_fit_memory(network: Network, dtype: str, objective: str, optimiser: str, backend: str = "numpy") -> None:
    """Refuse a fit above the memory limit; small ones pass unless a limit is set, as a network's own run does.

    Raises
    ------
    MemoryLimitError
        Naming the network, and what the fit needs and may take.
    """
    wide = "float64" if optimiser == "lbfgs" else dtype
    more = beside(network, dtype, objective, optimiser)
    start = max(START_BYTES * network.weights, peaks(network, "float64")[0] + DRAWN_BYTES * network.weights)
    largest = max(peaks(network, wide, "keep", backend)[1] + more, start)
    if largest < SMALL_BYTES and LIMIT_VARIABLE not in os.environ:
        return
    what = f"the fit of a weight of shape {network.placement.shape} in {dtype}"
    require_memory(start, f"the start of {what}")
    allowed = memory_limit(None, backend)
    left = max(0, allowed - more)
    try:
        network.choose_schedule(wide, "auto", left, backend)
    except MemoryLimitError as error:
        shares = [f"{amount / 2**30:.3g} GiB" for amount in (more, left, allowed)]
        raise MemoryLimitError(
            f"{what} needs {shares[0]} beside its network, and {shares[1]} of {shares[2]} are left for that: {error}"
        ) from error

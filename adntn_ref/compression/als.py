"""Alternating least squares for networks whose weight is linear in each core: every core in turn solved exactly.

With all other cores held, the weight is ``W(core) = W(0) + sum_j core_j (W(e_j) - W(0))``, e_j the unit cores, so the
columns of the least-squares problem come from the network itself, whatever its topology (Kroonenberg and de Leeuw,
Psychometrika 45, 1980, for Tucker; Holtz, Rohwedder, Schneider, SIAM J. Sci. Comput. 34, 2012, for tensor trains). A
solution is taken only if it does not raise the loss, so a sweep cannot either.
"""

import time
from math import isfinite, prod

import numpy as np

from adntn_ref.ad.arrays import Array
from adntn_ref.compression.objectives import WeightLoss
from adntn_ref.compression.training import Callback, History, Minimised, Tick
from adntn_ref.errors import DivergedError, SpecError
from adntn_ref.networks.base import Network, Params
from adntn_ref.program.memory import require_memory

CONVERGED = 1e-12
"""A sweep that lowers the loss by less than this share of it was the last."""

COPIES = 3
"""How often the design matrix is held at once: ours, and those of the singular value decomposition."""


def require_linear(network: Network) -> None:
    """Refuse a network whose weight is not linear in each core.

    Raises
    ------
    SpecError
    """
    if not network.linear:
        raise SpecError(
            f"optimiser='als' needs a weight that is linear in each core, and {network!r} has activations; take"
            " adam or lbfgs, or activation='identity'"
        )


def require_design_memory(network: Network) -> None:
    """Refuse a network whose largest design matrix would not fit the memory limit, before anything is allocated.

    Raises
    ------
    MemoryLimitError
        Naming the core.
    """
    name, size = max(((k, prod(s)) for k, s in network.core_shapes.items()), key=lambda pair: pair[1])
    need = COPIES * 8 * network.weights * size
    require_memory(need, f"the least-squares problem of core {name} ({network.weights} x {size}, float64)")


def minimise_als(
    network: Network,
    loss: WeightLoss,
    params: Params,
    *,
    steps: int,
    patience: int | None = None,
    callback: Callback | None = None,
) -> Minimised:
    """Minimise a quadratic loss of the weight by sweeps over the cores; one sweep is a step of the history.

    Parameters
    ----------
    network : linear in each core
    loss : of float64 weights
    params : float64 cores; not changed
    steps : most sweeps
    patience : sweeps without a lower loss after which it stops
    callback : called after each sweep; returning True stops

    Returns
    -------
    Minimised
        ``stopped_by`` is ``"steps"``, ``"converged"``, ``"patience"`` or ``"callback"``.

    Raises
    ------
    SpecError, MemoryLimitError
    DivergedError
        Where the loss or a core's least-squares problem stops being finite; ``best`` holds the cores before.
    """
    require_linear(network)
    require_design_memory(network)
    began, history, stale, stopped_by = time.perf_counter(), History(), 0, "steps"
    cores, goal = dict(params), loss.goal
    value = float(loss(network.generate(cores))[0])
    if not isfinite(value):
        raise _diverged(network, f"the loss is {value}", 0, cores)
    history.score.append(value)
    history.score_steps.append(0)
    for step in range(steps):
        before = value
        for name in network.core_shapes:
            cores, value = _improved(network, loss, goal, cores, name, value, step)
        history.loss.append(before)
        history.norm.append(0.0)
        history.rate.append(1.0)
        history.score.append(value)
        history.score_steps.append(step + 1)
        stale = stale + 1 if value >= before else 0
        if callback is not None and callback(Tick(step + 1, steps, before, value)):
            stopped_by = "callback"
            break
        if patience is not None and stale >= patience:
            stopped_by = "patience"
            break
        if before - value <= CONVERGED * before:
            stopped_by = "converged"
            break
    return Minimised(cores, value, history, stopped_by, time.perf_counter() - began)


def design_matrix(network: Network, loss: WeightLoss, cores: Params, name: str) -> tuple[Array, Array]:
    """Return the columns ``half(W(e_j)) - half(W(0))`` of a core, shape (weights, core size), and ``half(W(0))``."""
    shape = network.core_shapes[name]
    size = prod(shape)
    core = np.zeros(size)
    others = {key: value for key, value in cores.items() if key != name}

    def image() -> Array:
        return loss.half(network.generate({**others, name: core.reshape(shape)}))

    offset = image()
    columns = np.empty((offset.size, size), order="F")
    for j in range(size):
        core[j] = 1.0
        columns[:, j] = image() - offset
        core[j] = 0.0
    return columns, offset


def _improved(
    network: Network, loss: WeightLoss, goal: Array, cores: Params, name: str, value: float, step: int
) -> tuple[Params, float]:
    """Return the cores with one solved for, and their loss; the old ones where rounding made it worse."""
    with np.errstate(over="ignore", invalid="ignore"):
        columns, offset = design_matrix(network, loss, cores, name)
    if not (np.isfinite(columns).all() and np.isfinite(offset).all()):
        raise _diverged(network, f"the least-squares problem of core {name} is not finite", step, cores)
    # By singular values: normal equations would square a condition number that nothing bounds here.
    solution = np.linalg.lstsq(columns, goal - offset, rcond=None)[0]
    solved = {**cores, name: solution.reshape(network.core_shapes[name])}
    reached = float(loss(network.generate(solved))[0])
    return (solved, reached) if reached <= value else (cores, value)


def _diverged(network: Network, what: str, step: int, cores: Params) -> DivergedError:
    error = DivergedError(f"fit of {network.to_spec()}: {what} at step {step}; start from smaller cores")
    error.best = cores
    return error

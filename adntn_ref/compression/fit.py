"""Stage 1: fitting a network to one trained weight by Euclidean distance (Qing et al., arXiv 2305.06058)."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import REAL, Array, dtype_name, is_array, namespace, require_finite, require_inexact
from adntn_ref.ad.tape import Var
from adntn_ref.compression.checkpoints import fingerprint
from adntn_ref.compression.progress import Progress, no_progress
from adntn_ref.compression.training import Callback, History, Tick, Training, minimise
from adntn_ref.errors import ArrayError, SpecError
from adntn_ref.networks.base import Network, Params
from adntn_ref.program.starts import spread

START_SHARE = 0.1
"""Standard deviation of the first generated weight over the target's. From 1 the fit first shrinks the weight to
nothing and stays a while on the plateau of relative error 1."""


@dataclass(frozen=True)
class FitResult:
    """The outcome of a fit: best parameters, their relative error ||W - T|| / ||T||, history, seed and seconds."""

    network: Network
    params: Params
    relative_error: float
    history: History
    stopped_by: str
    seed: int
    seconds: float

    def generate(self) -> Array:
        """Return the fitted weight."""
        return self.network.generate(self.params)


def fit(
    network: Network,
    target: Array,
    *,
    steps: int = 1000,
    rate: float = 5e-3,
    optimiser: str = "adam",
    schedule: str = "cosine",
    warmup: int = 0,
    clip: float | None = None,
    patience: int | None = None,
    rng: int = 0,
    start: str = "calibrated_orthogonal",
    params: Params | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = False,
    callback: Callback | None = None,
) -> FitResult:
    """Fit a network to a weight: minimise ``sum |W - T|^2 / sum |T|^2`` with closed-form gradients.

    Parameters
    ----------
    network : specification whose shape is the target's
    target : array of the network's shape, float32 or float64; the fit runs in its dtype
    steps, rate, optimiser, schedule, warmup, clip, patience : see :class:`~adntn_ref.compression.training.Training`
    rng : seed of the start
    start : name of the start; the calibrated one begins at a tenth of the target's standard deviation
    params : parameters to start from instead
    checkpoint : file to write as it goes, and to resume from
    progress : whether to show a progress bar (needs the extra ``demo``)
    callback : called after every step; returning True stops

    Raises
    ------
    ArrayError, DTypeError, NonFiniteError
        For a target of another shape, of a dtype that is not real floating, holding NaN, or all zero.
    DivergedError
        If the loss stops being finite.

    Examples
    --------
    >>> import numpy as np
    >>> from adntn_ref.networks import BrickWall
    >>> target = np.outer(np.arange(1.0, 5), np.arange(1.0, 5))
    >>> fit(BrickWall((4, 4), layers=1), target, steps=300, rate=0.02).relative_error < 0.2
    True
    """
    dtype = check_target(network, target)
    if params is None:
        std = START_SHARE * spread(np.asarray(target, dtype=np.float64))
        params = network.init(rng, dtype, std=std if start == "calibrated_orthogonal" else None, start=start)
    elif network.check_params(params) != dtype:
        raise SpecError(f"the parameters given are {network.check_params(params)}, the target {dtype}")
    plan = Training(
        steps, rate, optimiser, schedule=schedule, warmup=warmup, clip=clip, patience=patience, evaluate_every=10
    )
    with Progress("fitting", steps) if progress else no_progress() as bar:
        result = minimise(
            euclidean_objective(network, target),
            params,
            plan,
            callback=both(bar, callback),
            checkpoint=checkpoint,
            label=f"fit of {network.to_spec()}",
            facts={"target": fingerprint([target])} if checkpoint is not None else None,
        )
    error = relative_error(network.generate(result.params), target)
    return FitResult(network, result.params, error, result.history, result.stopped_by, rng, result.seconds)


def euclidean_objective(network: Network, target: Array) -> Callable[[int, Params], tuple[Any, Params]]:
    """Return ``params -> (sum |W - T|^2 / sum |T|^2, gradients)``; the cotangent of W is ``2 (W - T) / sum |T|^2``."""
    scale = 1.0 / float((target * target).sum())

    def objective(step: int, params: Params) -> tuple[Any, Params]:
        weight, pullback = network.vjp(params)
        difference = weight - target
        return (difference * difference).sum() * scale, pullback(difference * (2.0 * scale))

    return objective


def relative_error(weight: Array, target: Array) -> float:
    """Return ||W - T||_F / ||T||_F."""
    xp = namespace(target)
    return float(xp.linalg.norm((weight - target).reshape(-1)) / xp.linalg.norm(target.reshape(-1)))


def check_target(network: Network, target: Array) -> str:
    """Refuse a target that the network cannot be fitted to; return its dtype.

    Raises
    ------
    ArrayError, DTypeError, NonFiniteError
    """
    if isinstance(target, Var) or not is_array(target):
        raise ArrayError(f"the target must be an array, got a {type(target).__name__}")
    require_inexact(target, "the target", REAL)
    shape = network.placement.shape
    if tuple(target.shape) != shape:
        raise ArrayError(f"the target has shape {tuple(target.shape)}, the network makes {shape}")
    require_finite(target, "the target")
    if not bool((target != 0).any()):
        raise ArrayError("the target is zero everywhere; a relative error means nothing there")
    with np.errstate(over="ignore", under="ignore"):
        squares = float((target * target).sum())
    if not 0 < squares < inf:
        raise ArrayError(f"the target's sum of squares is {squares} in {dtype_name(target)}; rescale it")
    return dtype_name(target)


def both(*callbacks: Callback | None) -> Callback | None:
    """Return one callback that calls all; it stops the training if any of them does."""
    given = [callback for callback in callbacks if callback is not None]
    if not given:
        return None

    def call_all(tick: Tick) -> bool:
        answers = [callback(tick) for callback in given]  # every one is told, also after one said stop
        return any(bool(answer) for answer in answers)

    return call_all

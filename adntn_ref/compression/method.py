"""One fit of stage 1, described and carried out: what :func:`~adntn_ref.compression.fit.fit` does for each start."""

from dataclasses import dataclass, field, replace
from math import inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import REAL, Array, backend_of, dtype_name, is_array, number, require_finite, require_inexact
from adntn_ref.ad.moving import move, on_host
from adntn_ref.ad.tape import Var
from adntn_ref.backend import get_backend
from adntn_ref.compression.alive import dead_share, require_alive, single_networks
from adntn_ref.compression.als import minimise_als, require_design_memory, require_linear
from adntn_ref.compression.checkpoints import fingerprint
from adntn_ref.compression.isometry import isometric_start, penalised, retraction
from adntn_ref.compression.lbfgs import minimise_lbfgs
from adntn_ref.compression.objectives import (
    OutputsLoss,
    make_loss,
    network_objective,
    output_error,
    relative_error,
)
from adntn_ref.compression.room import require_fit_memory
from adntn_ref.compression.statistics import OutputStatistics
from adntn_ref.compression.training import Callback, History, Minimised, Training, minimise
from adntn_ref.errors import ArrayError, SpecError
from adntn_ref.networks.base import Network, Params
from adntn_ref.networks.programmed import ProgramNetwork
from adntn_ref.program.starts import spread

LARGEST_START_SHARE = 0.1
"""Largest standard deviation of the first generated weight over the target's."""

STEPS = {"adam": 1000, "sgd": 1000, "lbfgs": 300, "als": 30}
"""Optimisers of stage 1, and how many steps (iterations, sweeps) each takes unless told."""

RATE = 1e-2
"""Highest default learning rate of Adam and gradient descent."""

RATE_TIMES_DEPTH = 0.05
"""Every update of Adam changes each number of a core by about the rate, and so the weight, in relative terms, by about
rate times depth. On the weights of LeNet-5 brick-walls of 3, 5 and 10 layers (6, 10 and 20 columns) fitted well up to
0.04 ... 0.06 of that and collapsed to zero from 0.10 ... 0.12 on."""


@dataclass(frozen=True)
class Restart:
    """What one start of a fit reached; ``loss`` is infinite where it diverged."""

    seed: int
    loss: float
    stopped_by: str


@dataclass(frozen=True)
class FitResult:
    """The outcome of a fit.

    Parameters
    ----------
    network, params : the specification and its best parameters by the objective
    relative_error : ||W - T|| / ||T||, whatever the objective
    history, stopped_by, seconds : of the best start; the seconds of all starts
    seed : of the best start
    objective : what was minimised
    output_error : mean squared difference of the layer's outputs over the variance of the dense ones, all outputs
        alike (``"outputs"``, ``"logits"``)
    bias_shift : to be added to the dense layer's bias, shape (outputs,) (``"outputs"``, ``"logits"``)
    dead_share : activation -> share of its entries through which no gradient passes, at the start and at the end
    restarts : every start, in order
    """

    network: Network
    params: Params
    relative_error: float
    history: History
    stopped_by: str
    seed: int
    seconds: float
    objective: str = "euclidean"
    output_error: float | None = None
    bias_shift: Array | None = None
    dead_share: dict[str, tuple[float, float]] = field(default_factory=dict)
    restarts: tuple[Restart, ...] = ()

    def generate(self) -> Array:
        """Return the fitted weight."""
        return self.network.generate(self.params)


def default_rate(network: Network) -> float:
    """Return a learning rate that fits without tuning: 0.01, less for deep programs (0.05 over the steps with cores).

    Examples
    --------
    >>> from adntn_ref.networks import BrickWall
    >>> [default_rate(BrickWall((8, 8), layers)) for layers in (1, 5, 10)]
    [0.01, 0.005, 0.0025]
    """
    programs = [part.program for _, part in single_networks(network) if isinstance(part, ProgramNetwork)]
    depths = [sum(bool(getattr(step, "core_names", ())) for step in program.all_steps) for program in programs]
    return min(RATE, RATE_TIMES_DEPTH / max([1, *depths]))


def default_start_share(entries: int) -> float:
    """Return the standard deviation of the first generated weight over the target's: 1 / sqrt(entries), at most 0.1.

    A random weight W of N entries has about ``<W, T> = |W| |T| / sqrt(N)`` in common with the target. Where ``|W|`` is
    much larger than ``|T| / sqrt(N)``, the gradient of ``|W - T|^2`` is mostly that of ``|W|^2``: the fit first shrinks
    the weight to nothing and stays on the plateau of relative error 1. (Ours.)

    Examples
    --------
    >>> default_start_share(12), default_start_share(10_000)
    (0.1, 0.01)
    """
    return min(LARGEST_START_SHARE, 1 / sqrt(entries))


@dataclass(frozen=True)
class Method:
    """How a fit is done: the options of :func:`fit` that are the same for every start."""

    network: Network
    target: Array
    objective: str = "euclidean"
    statistics: OutputStatistics | None = None
    steps: int | None = None
    rate: float | None = None
    optimiser: str = "adam"
    schedule: str = "cosine"
    warmup: int = 0
    clip: float | None = None
    patience: int | None = None
    orthogonality: float = 0.0
    retract: bool = False
    start: str = "calibrated_orthogonal"
    start_share: float | None = None

    def __post_init__(self) -> None:
        if self.optimiser != "als":  # whose own matrices are larger, see below
            self._require_memory()
        check_target(self.network, self.target)
        share = self.start_share
        if share is not None and not (
            isinstance(share, (int, float)) and not isinstance(share, bool) and 0 < share < inf
        ):
            raise SpecError(f"start_share must be positive and finite, got {share!r}")
        if not isinstance(self.optimiser, str) or self.optimiser not in STEPS:
            raise SpecError(f"no optimiser is called {self.optimiser!r}; allowed: {', '.join(STEPS)}")
        _ = self.plan
        if self.optimiser in ("lbfgs", "als"):
            given = {"rate": self.rate, "warmup": self.warmup, "clip": self.clip, "retract": self.retract}
            given.update({"orthogonality": self.orthogonality} if self.optimiser == "als" else {})
            if wrong := [name for name, value in given.items() if value]:
                raise SpecError(f"optimiser={self.optimiser!r} takes no {', '.join(wrong)}; adam and sgd do")
        if self.optimiser in ("lbfgs", "als") and not backend_of(self.target).on_host:
            raise SpecError(
                f"optimiser={self.optimiser!r} runs on the host, the target is on {backend_of(self.target).name}; take"
                " adam or sgd, or backend='numpy'"
            )
        if self.optimiser == "als":
            require_linear(self.network)
            require_design_memory(self.network)
        _ = self.loss(self.target), penalised(lambda step, p: (0.0, p), self.network, self.orthogonality)

    def _require_memory(self) -> None:
        """Refuse what would not fit; what is no target at all is for :func:`check_target` to refuse."""
        target = self.target
        if is_array(target) and not isinstance(target, Var) and dtype_name(target) in REAL:
            require_fit_memory(
                self.network, dtype_name(target), self.objective, self.optimiser, backend_of(target).name
            )

    @property
    def plan(self) -> Training:
        """The options of the training loop."""
        by_steps = self.optimiser in ("adam", "sgd")
        return Training(
            STEPS[self.optimiser] if self.steps is None else self.steps,
            default_rate(self.network) if self.rate is None else self.rate,
            self.optimiser if by_steps else "adam",
            schedule=self.schedule,
            warmup=self.warmup,
            clip=self.clip,
            patience=self.patience,
            evaluate_every=10,
        )

    def loss(self, target: Array) -> Any:
        """Return the loss of a weight, in the dtype of ``target``."""
        return make_loss(self.objective, target, self.statistics)

    def run_objective(self, target: Array) -> Any:
        """Return the loss of the cores, penalty included, in the dtype of ``target``."""
        return penalised(network_objective(self.network, self.loss(target)), self.network, self.orthogonality)

    def start_params(self, seed: int, given: Params | None) -> Params:
        """Return the parameters to start from, in the target's dtype.

        Raises
        ------
        SpecError
            For given parameters of another dtype.
        StartError
            If some state is dead altogether.
        """
        dtype, where = dtype_name(self.target), backend_of(self.target).name
        share = default_start_share(self.target.size) if self.start_share is None else self.start_share
        std = share * spread(np.asarray(on_host(self.target), dtype=np.float64))
        if given is not None:
            if self.network.check_params(given) != dtype:
                raise SpecError(f"the parameters given are {self.network.check_params(given)}, the target {dtype}")
            params = {name: move(core, get_backend(where)) for name, core in given.items()}
        else:
            calibrated = self.start == "calibrated_orthogonal"
            params = self.network.init(seed, dtype, std=std if calibrated else None, start=self.start, backend=where)
        if self.retract:
            params = isometric_start(self.network, params, None if given is not None else std)
        require_alive(dead_share(self.network, params), self.network)
        return params

    def facts(self) -> dict[str, Any]:
        """Return what tells this fit from others beside its start, for a checkpoint."""
        known: dict[str, Any] = {"target": fingerprint([self.target]), "objective": self.objective}
        if self.statistics is not None:
            known["statistics"] = fingerprint(self.statistics.arrays())
        return {**known, "orthogonality": self.orthogonality, "retract": self.retract}

    def minimise(self, params: Params, checkpoint: str | Path | None, callback: Callback | None) -> Minimised:
        """Run one fit from ``params``."""
        plan, label = self.plan, f"fit of {self.network.to_spec()}"
        if self.optimiser in ("adam", "sgd"):
            return minimise(
                self.run_objective(self.target),
                params,
                plan,
                project=retraction(self.network) if self.retract else None,
                callback=callback,
                checkpoint=checkpoint,
                label=label,
                facts=self.facts() if checkpoint is not None else None,
            )
        wide = {name: core.astype("float64") for name, core in params.items()}
        target = self.target.astype("float64")
        options: dict[str, Any] = {"steps": plan.steps, "patience": plan.patience, "callback": callback}
        if self.optimiser == "als":
            found = minimise_als(self.network, self.loss(target), wide, **options)
        else:
            found = minimise_lbfgs(self.run_objective(target), wide, label=label, **options)
        dtype = dtype_name(self.target)
        return replace(found, params={name: core.astype(dtype) for name, core in found.params.items()})

    def result(self, found: Minimised, start: Params, seed: int) -> FitResult:
        """Return the record of one fit."""
        weight = self.network.generate(found.params)
        before, after = dead_share(self.network, start), dead_share(self.network, found.params)
        made = FitResult(
            self.network,
            found.params,
            relative_error(weight, self.target),
            found.history,
            found.stopped_by,
            seed,
            found.seconds,
            objective=self.objective,
            dead_share={name: (share, after[name]) for name, share in before.items()},
            restarts=(Restart(seed, found.score, found.stopped_by),),
        )
        if self.statistics is None:
            return made
        error = output_error(weight, self.target, self.statistics)
        shift = OutputsLoss(self.target, self.statistics).bias_shift(weight)
        return replace(made, output_error=error, bias_shift=shift)


def not_fitted(network: Network, target: Array, seed: int, backend: str) -> FitResult:
    """Return a network as it starts, at the target's standard deviation: the control of every fit."""
    check_target(network, target)
    std = spread(np.asarray(on_host(target), dtype=np.float64))
    params = network.init(seed, dtype_name(target), std=std, backend=backend)
    shares = dead_share(network, params)
    return FitResult(
        network,
        params,
        relative_error(network.generate(params), target),
        History(),
        "not fitted",
        seed,
        0.0,
        objective="none",
        dead_share={name: (share, share) for name, share in shares.items()},
    )


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
    if not number((target != 0).any()):
        raise ArrayError("the target is zero everywhere; a relative error means nothing there")
    with np.errstate(over="ignore", under="ignore"):
        squares = number((target * target).sum())
    if not 0 < squares < inf:
        raise ArrayError(f"the target's sum of squares is {squares} in {dtype_name(target)}; rescale it")
    return dtype_name(target)

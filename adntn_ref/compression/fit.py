"""Stage 1: fitting a network to one trained weight.

By Euclidean distance (Qing et al., arXiv 2305.06058), or by the layer's outputs, all alike or by what the logits feel
of them (ours).
"""

from dataclasses import replace
from math import inf
from pathlib import Path

from adntn_ref.ad.arrays import Array, is_array
from adntn_ref.ad.moving import choose_backend, to_backend
from adntn_ref.ad.tape import Var
from adntn_ref.compression.method import FitResult, Method, Restart
from adntn_ref.compression.progress import Progress, no_progress
from adntn_ref.compression.statistics import OutputStatistics
from adntn_ref.compression.training import Callback, Tick
from adntn_ref.errors import DivergedError, SpecError, StartError
from adntn_ref.networks.base import Network, Params

RESTART_STRIDE = 1_000
"""Restart r of a fit with seed s starts from seed s + 1000 r, which no neighbouring layer's fit uses."""


def fit(
    network: Network,
    target: Array,
    *,
    objective: str = "euclidean",
    statistics: OutputStatistics | None = None,
    steps: int | None = None,
    rate: float | None = None,
    optimiser: str = "adam",
    schedule: str = "cosine",
    warmup: int = 0,
    clip: float | None = None,
    patience: int | None = None,
    orthogonality: float = 0.0,
    retract: bool = False,
    rng: int = 0,
    restarts: int = 1,
    start: str = "calibrated_orthogonal",
    start_share: float | None = None,
    params: Params | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = False,
    callback: Callback | None = None,
    backend: str | None = None,
) -> FitResult:
    """Fit a network to a weight, with closed-form gradients.

    ``objective="euclidean"`` minimises ``sum |W - T|^2 / sum |T|^2``; ``objective="outputs"`` the mean squared
    difference of the layer's outputs, of which ``statistics`` tells all that is needed, with the bias at its best;
    ``objective="logits"`` the same in the metric of the statistics.

    Parameters
    ----------
    network : specification whose shape is the target's
    target : array of the network's shape, float32 or float64; the parameters have its dtype
    objective : ``"euclidean"`` (default), ``"outputs"`` or ``"logits"``
    statistics : of the layer's inputs, for ``"outputs"`` and ``"logits"``; see
        :func:`~adntn_ref.compression.statistics.layer_statistics` and
        :func:`~adntn_ref.compression.sensitivity.output_metric`
    optimiser : ``"adam"`` (default), ``"sgd"``; ``"lbfgs"`` (SciPy) and ``"als"`` (alternating least squares, for
        networks linear in each core), both in float64 and without checkpoints
    steps : default 1000 for adam and sgd, 300 iterations of lbfgs, 30 sweeps of als
    rate : for adam and sgd, as are schedule, warmup and clip; by default 0.01, less for deep networks, see
        :func:`~adntn_ref.compression.method.default_rate`
    schedule, warmup, clip, patience : see :class:`~adntn_ref.compression.training.Training`
    orthogonality : weight of a penalty that pulls cores to isometries; ``retract=True`` puts them there after each step
        (see :mod:`~adntn_ref.compression.isometry`)
    rng : seed of the start; restart r starts from rng + 1000 r
    restarts : how many starts; the best by the objective is kept, and all are recorded
    start : name of the start
    start_share : standard deviation of the first weight over the target's, for the calibrated start; by default
        1 / sqrt(entries), at most 0.1, see :func:`~adntn_ref.compression.method.default_start_share`
    params : parameters to start from instead
    checkpoint : file to write as it goes, and to resume from; a restart adds its number to the name
    progress : whether to show a progress bar (needs the extra ``demo``)
    callback : called after every step; returning True stops, and no further restart begins
    backend : where to fit, by :func:`~adntn_ref.ad.moving.choose_backend`: by default where the target is; target,
        statistics and given parameters are moved there, and the result stays there

    Raises
    ------
    ArrayError, DTypeError, NonFiniteError
        For a target of another shape, of a dtype that is not real floating, holding NaN, or all zero.
    SpecError
        For options that are unknown or do not go together.
    StartError
        If in every start some state is dead altogether.
    MemoryLimitError
        If the matrices of als would not fit.
    DivergedError
        If the loss of every start stops being finite.

    Examples
    --------
    >>> import numpy as np
    >>> from adntn_ref.networks import MPO, BrickWall
    >>> target = np.outer(np.arange(1.0, 5), np.arange(1.0, 5))
    >>> fit(BrickWall((4, 4), layers=1), target, steps=300, rate=0.02).relative_error < 0.2
    True
    >>> fit(MPO((4, 4), chi=4), target, optimiser="als").relative_error < 1e-12
    True
    """
    target, statistics = inputs_on(backend, target, statistics)
    method = Method(
        network,
        target,
        objective=objective,
        statistics=statistics,
        steps=steps,
        rate=rate,
        optimiser=optimiser,
        schedule=schedule,
        warmup=warmup,
        clip=clip,
        patience=patience,
        orthogonality=orthogonality,
        retract=retract,
        start=start,
        start_share=start_share,
    )
    _check_options(method, restarts, params, checkpoint)
    results: list[FitResult] = []
    records: list[Restart] = []
    with Progress("fitting", method.plan.steps) if progress else no_progress() as bar:
        for r in range(restarts):
            seed = rng + RESTART_STRIDE * r
            try:
                first = method.start_params(seed, params)
                found = method.minimise(first, _checkpoint_of(checkpoint, r), both(bar, callback))
            except (DivergedError, StartError) as error:
                records.append(Restart(seed, inf, "diverged" if isinstance(error, DivergedError) else "dead"))
                if r == restarts - 1 and not results:
                    raise
                continue
            results.append(method.result(found, first, seed))
            records.extend(results[-1].restarts)
            if found.stopped_by == "callback":
                break
    best = min(results, key=lambda result: result.restarts[0].loss)
    return replace(best, restarts=tuple(records), seconds=sum(result.seconds for result in results))


def inputs_on(
    backend: str | None, target: Array, statistics: OutputStatistics | None
) -> tuple[Array, OutputStatistics | None]:
    """Return target and statistics on the backend to fit on; what is no array, as it is, for later to refuse."""
    where = choose_backend(backend, [target]).name
    moved = to_backend(target, where) if is_array(target) and not isinstance(target, Var) else target
    return moved, statistics.on(where) if isinstance(statistics, OutputStatistics) else statistics


def _checkpoint_of(path: str | Path | None, restart: int) -> Path | None:
    if path is None:
        return None
    path = Path(path)
    return path if restart == 0 else path.with_name(f"{path.stem}-restart{restart}{path.suffix}")


def _check_options(method: Method, restarts: int, params: Params | None, checkpoint: str | Path | None) -> None:
    if not isinstance(restarts, int) or isinstance(restarts, bool) or restarts < 1:
        raise SpecError(f"restarts must be an integer >= 1, got {restarts!r}")
    if params is not None and restarts > 1:
        raise SpecError("restarts draw their own starts; give either params or restarts")
    if checkpoint is not None and method.optimiser in ("lbfgs", "als"):
        raise SpecError(f"optimiser={method.optimiser!r} keeps no checkpoints: its fits are short; adam and sgd do")


def both(*callbacks: Callback | None) -> Callback | None:
    """Return one callback that calls all; it stops the training if any of them does."""
    given = [callback for callback in callbacks if callback is not None]
    if not given:
        return None

    def call_all(tick: Tick) -> bool:
        answers = [callback(tick) for callback in given]  # every one is told, also after one said stop
        return any(bool(answer) for answer in answers)

    return call_all

"""L-BFGS by SciPy (Byrd, Lu, Nocedal and Zhu, SIAM J. Sci. Comput. 16, 1995) behind the face of the training loop.

It runs in float64 whatever the dtype of the parameters: its line search compares losses that differ by less than
float32 can tell. SciPy is imported when it is asked for.
"""

import time
from collections.abc import Callable
from importlib import import_module
from math import inf, isfinite
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array
from adntn_ref.ad.trees import Tree, map_leaves
from adntn_ref.compression.optimisers import Packing
from adntn_ref.compression.training import Callback, History, Minimised, Objective, Tick
from adntn_ref.errors import DivergedError

MEMORY = 20
"""Pairs of steps and gradient changes that the Hessian is estimated from."""

EVALUATIONS = 20
"""Most evaluations an iteration may need on average."""

EVALUATE_EVERY = 10
"""Iterations between entries of the score, as in fits by gradient steps."""


class _Stop(Exception):
    """Ends SciPy's loop from the callback."""


class _Recorder:
    """Counts iterations, keeps the best parameters and stops as the training loop does."""

    def __init__(
        self, evaluate: Callable[[Tree], tuple[Any, Tree]], packing: Packing, steps: int, patience: int | None
    ) -> None:
        self.evaluate, self.packing, self.steps, self.patience = evaluate, packing, steps, patience
        self.history = History()
        self.best: Array = None
        self.best_score = inf
        self.stale = 0
        self.latest: tuple[float, float] = (inf, inf)  # loss and gradient norm where the next iteration starts
        self.norm = inf  # of the last evaluation, which is where an accepted step ends
        self.callback: Callback | None = None
        self.label = ""
        self.stopped_by = "converged"

    def __call__(self, vector: Array) -> tuple[float, Array]:
        """Return loss and gradient at a vector, and keep the best."""
        loss, gradients = self.evaluate(self.packing.unpack(vector))
        g, value = self.packing.pack(gradients), float(loss)
        norm = float(np.linalg.norm(g))
        if not (isfinite(value) and isfinite(norm)):
            step = len(self.history.loss)
            what = f"the loss is {value}" if not isfinite(value) else f"the gradient has norm {norm}"
            error = DivergedError(f"{self.label}: {what} at step {step}; the best so far (score {self.best_score:.6g})")
            error.best = None if self.best is None else self.packing.unpack(self.best)
            raise error
        self.norm = norm
        if self.best is None:
            self.latest = (value, norm)
        if value <= self.best_score:
            self.best, self.best_score = vector.copy(), value
        return value, g

    def score(self) -> None:
        """Record the best loss so far, as the training loop records the score."""
        history = self.history
        self.stale = 0 if not history.score or self.best_score < min(history.score) else self.stale + 1
        history.score.append(self.best_score)
        history.score_steps.append(len(history.loss))

    def iteration(self, intermediate_result: Any) -> None:
        """Note an iteration; the loss of a step is that before it, as in the training loop."""
        history = self.history
        if len(history.loss) % EVALUATE_EVERY == 0 and history.loss:
            self.score()
        history.loss.append(self.latest[0])
        history.norm.append(self.latest[1])
        history.rate.append(1.0)
        self.latest = (float(intermediate_result.fun), self.norm)
        tick = Tick(len(history.loss), self.steps, history.loss[-1], self.best_score)
        if self.callback is not None and self.callback(tick):
            self.stopped_by = "callback"
            raise _Stop
        if self.patience is not None and self.stale >= self.patience:
            self.stopped_by = "patience"
            raise _Stop


def minimise_lbfgs(
    objective: Objective,
    params: Tree,
    *,
    steps: int,
    patience: int | None = None,
    callback: Callback | None = None,
    label: str = "training",
) -> Minimised:
    """Minimise ``objective`` from ``params`` by L-BFGS; one iteration is a step of the history.

    Parameters
    ----------
    objective : ``(step, float64 parameters) -> (loss, gradients)``; it must not depend on the step
    params : tree of float64 arrays; not changed
    steps : most iterations
    patience : scores (one every ten iterations) without a better one after which it stops
    callback : called after each iteration; returning True stops
    label : says what is minimised, in error messages

    Returns
    -------
    Minimised
        ``stopped_by`` is ``"steps"``, ``"converged"`` (no step lowers the loss any more), ``"patience"`` or
        ``"callback"``.

    Raises
    ------
    DivergedError
        At the first loss or gradient that is not finite.
    """
    began = time.perf_counter()
    packing = Packing(params)
    recorder = _Recorder(lambda tree: objective(0, tree), packing, steps, patience)
    recorder.callback, recorder.label = callback, label
    options = {"maxiter": steps, "maxfun": EVALUATIONS * steps, "maxcor": MEMORY, "ftol": 0.0, "gtol": 1e-12}
    try:
        found = import_module("scipy.optimize").minimize(
            recorder,
            packing.pack(params),
            jac=True,
            method="L-BFGS-B",
            callback=lambda intermediate_result: recorder.iteration(intermediate_result),
            options=options,
        )
        if found.status == 1:  # the limit of iterations, or of evaluations
            recorder.stopped_by = "steps"
    except _Stop:
        pass
    recorder.score()
    best = map_leaves(lambda x: x.copy(), packing.unpack(recorder.best))
    return Minimised(best, recorder.best_score, recorder.history, recorder.stopped_by, time.perf_counter() - began)

"""Stage 1 on many weights at once: one stacked array of parameters, one optimiser step for all."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf, isfinite
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array, backend_of
from adntn_ref.ad.trees import map_leaves
from adntn_ref.compression.fit import fit, inputs_on
from adntn_ref.compression.isometry import penalised, retraction
from adntn_ref.compression.method import FitResult, Method
from adntn_ref.compression.optimisers import Packing, clip_norm, make_optimiser, rate_at
from adntn_ref.compression.statistics import OutputStatistics
from adntn_ref.compression.training import History, Minimised, Training
from adntn_ref.errors import ArrayError, DivergedError, SpecError
from adntn_ref.networks.base import Network, Params
from adntn_ref.networks.together import vjp_many

TOGETHER = 2**20
"""Entries of the weights that are generated together."""


@dataclass
class _Member:
    """One weight's fit: its loss, what is added to it, and what the training loop keeps of it."""

    loss: Any
    objective: Any
    start: Params
    best: Array
    best_score: float = inf
    stale: int = 0
    history: History = field(default_factory=History)
    stopped_by: str = "steps"

    def evaluate(self, score: float, row: Array, step: int) -> None:
        """Record a score and keep the parameters if none was better."""
        self.history.score.append(score)
        self.history.score_steps.append(step)
        self.stale = 0 if score < self.best_score else self.stale + 1
        if score <= self.best_score:
            self.best_score, self.best = score, row.copy()


def fit_many(
    network: Network,
    targets: Sequence[Array],
    *,
    statistics: Sequence[OutputStatistics] | None = None,
    rng: int = 0,
    **options: Any,
) -> list[FitResult]:
    """Fit one specification to many weights in one pass; the k-th result equals ``fit(..., rng=rng + k)``, bit for bit.

    What is batched: parameters, moments and gradients lie in arrays of one row a weight, so that an optimiser step is a
    few array operations for all of them; and the weights and their adjoints are made together, one batched product a
    window (:func:`~adntn_ref.networks.together.vjp_many`), ``TOGETHER`` entries at a time. Each weight has its own
    loss, history, best parameters and early stop; one that stopped leaves the arrays.

    Parameters
    ----------
    network : specification of every weight
    targets : arrays of the network's shape and of one dtype; an array of shape (K, ...) is taken too
    statistics : one a weight, for ``objective="outputs"``
    rng : seed of the first start; the k-th weight's is ``rng + k``
    options : of :func:`~adntn_ref.compression.fit.fit`: objective, steps, rate, optimiser (``"adam"`` or ``"sgd"``),
        schedule, warmup, clip, patience, orthogonality, retract, start, backend (on a device one fit follows another)

    Raises
    ------
    SpecError
        For no targets, options that cannot be batched, or as many statistics as there are not targets.
    ArrayError
        For targets of different dtypes.
    DivergedError
        If the loss of a weight stops being finite, naming it; ``best`` holds the best parameters of all.

    Examples
    --------
    >>> import numpy as np
    >>> from adntn_ref.networks import BrickWall
    >>> targets = np.random.default_rng(0).standard_normal((3, 4, 4))
    >>> [result.seed for result in fit_many(BrickWall((4, 4), layers=1), targets, steps=5)]
    [0, 1, 2]
    """
    methods = _methods(network, targets, statistics, options)
    if not backend_of(methods[0].target).on_host:  # there a step of one weight fills the device, and the same is done
        known = statistics if statistics is not None else [None] * len(targets)
        pairs = zip(targets, known, strict=True)
        return [fit(network, t, statistics=s, rng=rng + k, **options) for k, (t, s) in enumerate(pairs)]
    began, plan = time.perf_counter(), methods[0].plan
    starts = [method.start_params(rng + k, None) for k, method in enumerate(methods)]
    packing = Packing(starts[0])
    rows = [packing.pack({name: start[name] for name in starts[0]}) for start in starts]
    members = [
        _Member(method.loss(method.target), method.run_objective(method.target), start, row)
        for method, start, row in zip(methods, starts, rows, strict=True)
    ]
    objectives = partial(_objectives, network, methods[0].orthogonality, packing)
    _run(members, np.stack(rows), packing, plan, retraction(network) if methods[0].retract else None, objectives)
    seconds = (time.perf_counter() - began) / len(members)
    found = []
    for k, (method, member) in enumerate(zip(methods, members, strict=True)):
        best = _tree(packing, member.best)
        outcome = Minimised(best, member.best_score, member.history, member.stopped_by, seconds)
        found.append(method.result(outcome, member.start, rng + k))
    return found


def _methods(
    network: Network, targets: Sequence[Array], statistics: Sequence[OutputStatistics] | None, options: dict[str, Any]
) -> list[Method]:
    """Return the checked fit of every weight."""
    if len(targets) == 0:
        raise SpecError("fit_many needs at least one target")
    if statistics is not None and len(statistics) != len(targets):
        raise SpecError(f"{len(targets)} targets need as many statistics, got {len(statistics)}")
    if options.get("optimiser", "adam") not in ("adam", "sgd"):
        raise SpecError(f"fit_many takes the optimisers adam and sgd, got {options['optimiser']!r}; see fit")
    known = statistics if statistics is not None else [None] * len(targets)
    given = {name: value for name, value in options.items() if name != "backend"}
    placed = [inputs_on(options.get("backend"), t, s) for t, s in zip(targets, known, strict=True)]
    methods = [Method(network, t, statistics=s, **given) for t, s in placed]
    if len(dtypes := {str(target.dtype) for target in targets}) > 1:
        raise ArrayError(f"targets fitted together must have one dtype, got {', '.join(sorted(dtypes))}")
    return methods


def _objectives(
    network: Network, strength: float, packing: Packing, members: list[_Member], block: Array
) -> Iterator[tuple[Any, Params]]:
    """Return the loss and the gradients of every member at its row of ``block``, the weights made together."""
    size = max(1, TOGETHER // network.weights)
    for first in range(0, len(members), size):
        rows = block[first : first + size]
        weights, pullback = vjp_many(network, packing.unpack_rows(rows))
        made = [member.loss(weight) for member, weight in zip(members[first : first + size], weights, strict=True)]
        gradients = pullback(np.stack([cotangent for _, cotangent in made]))
        for k, (value, _) in enumerate(made):
            mine = value, {name: g[k] for name, g in gradients.items()}
            yield penalised(partial(_known, mine), network, strength)(0, packing.unpack(rows[k]))


def _known(found: tuple[Any, Params], step: int, params: Params) -> tuple[Any, Params]:
    """Return a loss and gradients that were found before, as an objective."""
    return found


def _run(members: list[_Member], block: Array, packing: Packing, plan: Training, project: Any, objectives: Any) -> None:
    """Train all members; ``block`` has one row for each that still runs."""
    optimiser = make_optimiser(plan.optimiser, plan.momentum)
    moments, active = optimiser.start(block), list(range(len(members)))
    for step in range(plan.steps):
        going = [i for i, k in enumerate(active) if plan.patience is None or members[k].stale < plan.patience]
        if len(going) < len(active):
            for k in set(active) - {active[i] for i in going}:
                members[k].stopped_by = "patience"
            active = [active[i] for i in going]
            block, moments = block[going], {name: value[going] for name, value in moments.items()}
        if not active:
            return
        factor = plan.rate * rate_at(step, plan.steps, plan.schedule, plan.warmup)
        gradients = np.empty_like(block)
        found = objectives([members[k] for k in active], block)
        for row, (k, one) in enumerate(zip(active, found, strict=True)):
            gradients[row] = _gradient(members, k, step, block[row], one, packing, plan, factor)
        optimiser.update(block, gradients, moments, step, factor)
        if project is not None:
            for row in block:
                project(packing.unpack(row))
        _require_finite(members, active, block, packing, step + 1)
    for row, k in enumerate(active):
        score = float(members[k].objective(plan.steps, packing.unpack(block[row]))[0])
        if not isfinite(score):
            raise _diverged(members, k, f"the loss is {score}", packing, plan.steps)
        members[k].evaluate(score, block[row], plan.steps)


def _require_finite(members: list[_Member], active: list[int], block: Array, packing: Packing, step: int) -> None:
    """Refuse parameters that an update left infinite, which a loss need not show."""
    if not np.isfinite(block).all():
        k = next(k for row, k in enumerate(active) if not np.isfinite(block[row]).all())
        raise _diverged(members, k, "a parameter is not finite", packing, step)


def _diverged(members: list[_Member], k: int, what: str, packing: Packing, step: int) -> DivergedError:
    error = DivergedError(f"fit of weight {k}: {what} at step {step}; a lower learning rate usually mends it")
    error.best = [_tree(packing, one.best) for one in members]
    return error


def _gradient(
    members: list[_Member],
    k: int,
    step: int,
    row: Array,
    found: tuple[Any, Params],
    packing: Packing,
    plan: Training,
    factor: float,
) -> Array:
    """Return the clipped gradient of a member's loss, and note the step in its history."""
    member = members[k]
    loss, gradients = found
    g, norm = clip_norm(packing.pack(gradients), plan.clip)
    if not (isfinite(loss) and isfinite(norm)):
        what = f"the loss is {float(loss)}" if not isfinite(loss) else f"the gradient has norm {norm}"
        raise _diverged(members, k, what, packing, step)
    if step % plan.evaluate_every == 0:
        member.evaluate(float(loss), row, step)
    member.history.loss.append(float(loss))
    member.history.norm.append(norm)
    member.history.rate.append(factor)
    return g


def _tree(packing: Packing, row: Array) -> Params:
    tree: Params = map_leaves(lambda x: x.copy(), packing.unpack(row))
    return tree

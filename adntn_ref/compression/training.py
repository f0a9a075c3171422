"""The one training loop: stage 1, stage 2 and the training of dense models all run here.

It minimises a function of a tree of parameters by gradient steps, keeps the best parameters seen, stops early if
asked to, writes checkpoints from which it resumes to the same bits, and refuses to go on from a loss that is not
finite.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array, backend_of, namespace, number
from adntn_ref.ad.trees import Tree, map_leaves, named_leaves
from adntn_ref.compression.checkpoints import fingerprint, load_checkpoint, save_checkpoint
from adntn_ref.compression.optimisers import OPTIMISERS, SCHEDULES, Packing, clip_norm, make_optimiser, pieces, rate_at
from adntn_ref.errors import DivergedError, SpecError

Objective = Callable[[int, Tree], tuple[Any, Tree]]
"""``(step, parameters) -> (loss, gradients)``; the gradients are shaped like the parameters."""


@dataclass(frozen=True)
class Training:
    """How to train.

    Parameters
    ----------
    steps : number of updates
    rate : learning rate at its highest; with several groups each has its own and this is a factor on all
    optimiser : ``"adam"`` or ``"sgd"`` (gradient descent with ``momentum``)
    schedule : ``"cosine"`` to zero, or ``"constant"``
    warmup : steps over which the rate rises linearly
    clip : largest Euclidean norm of the gradient, None for no limit
    evaluate_every : steps between evaluations of the score; the best-scoring parameters are kept
    patience : evaluations without a better score after which training stops, None for never
    """

    steps: int
    rate: float = 1.0
    optimiser: str = "adam"
    momentum: float = 0.9
    schedule: str = "cosine"
    warmup: int = 0
    clip: float | None = None
    evaluate_every: int = 100
    patience: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("evaluate_every", 1), ("warmup", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise SpecError(f"{name} must be an integer >= {least}, got {value!r}")
        if not (isfinite(self.rate) and self.rate > 0):
            raise SpecError(f"the learning rate must be positive and finite, got {self.rate}")
        if self.clip is not None and not self.clip > 0:
            raise SpecError(f"clip must be positive, got {self.clip}")
        if self.patience is not None and self.patience < 1:
            raise SpecError(f"patience must be at least 1, got {self.patience}")
        for value, allowed, what in (
            (self.optimiser, OPTIMISERS, "optimiser"),
            (self.schedule, SCHEDULES, "schedule"),
        ):
            if value not in allowed:
                raise SpecError(f"no {what} is called {value!r}; allowed: {', '.join(allowed)}")


@dataclass(frozen=True)
class Tick:
    """What a callback is told after each step; returning True from the callback stops the training.

    On a device ``loss`` is the last one that was read, at most ``evaluate_every`` steps old: no step waits for its own.
    """

    step: int
    steps: int
    loss: float
    best_score: float


Callback = Callable[[Tick], bool | None]


@dataclass
class History:
    """Loss, gradient norm and rate factor of every step, and the score of every evaluation (``score_steps``)."""

    loss: list[float] = field(default_factory=list)
    norm: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    score_steps: list[int] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return first, last and best figures as a JSON-able dict."""
        return {
            "steps": len(self.loss),
            "first_loss": self.loss[0] if self.loss else None,
            "last_loss": self.loss[-1] if self.loss else None,
            "best_score": min(self.score, default=None),
        }


@dataclass(frozen=True)
class Minimised:
    """The outcome: the best parameters by score, the history, and why it ended (``"steps"``, ``"patience"``, ...).

    ``buffers`` are those that go with the best parameters.
    """

    params: Tree
    score: float
    history: History
    stopped_by: str
    seconds: float
    buffers: dict[str, Array] = field(default_factory=dict)


@dataclass
class _State:
    """Everything a resumed run needs; ``vector``, ``moments`` and ``buffers`` are changed in place."""

    vector: Array
    moments: dict[str, Array]
    best: Array
    buffers: dict[str, Array] = field(default_factory=dict)
    best_buffers: dict[str, Array] = field(default_factory=dict)
    best_score: float = float("inf")
    step: int = 0
    stale: int = 0
    seconds: float = 0.0
    history: History = field(default_factory=History)
    unread: list[tuple[int, Any, Any, float]] = field(default_factory=list)
    """Step, loss, gradient norm and rate factor of the steps whose numbers are still on the device."""


def minimise(
    objective: Objective,
    params: Tree,
    training: Training,
    *,
    rates: Tree | None = None,
    score: Callable[[Tree], float] | None = None,
    project: Callable[[Tree], None] | None = None,
    callback: Callback | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 200,
    label: str = "",
    facts: dict[str, Any] | None = None,
    buffers: dict[str, Array] | None = None,
) -> Minimised:
    """Minimise ``objective`` from ``params``.

    Parameters
    ----------
    objective : see :data:`Objective`; batches must depend on the step alone, so that a resumed run sees the same ones
    params : tree of arrays of one dtype; not changed
    rates : tree like ``params`` of one learning rate a leaf, default 1 each
    score : what to keep the best of (lower is better), default the loss of the step
    project : changes the parameters in place after every update, to put them back where they belong
    checkpoint : file to write every ``checkpoint_every`` steps, and to resume from if it exists
    label : says what is trained, in error messages and in the checkpoint, which refuses another's
    facts : what else tells this training from another, JSON-able; a checkpoint with other facts, another start or other
        rates is refused
    buffers : arrays that the objective replaces in this very dict as it goes (running means); they are saved in
        checkpoints, put back into the dict on resuming, and kept with the best parameters

    Raises
    ------
    DivergedError
        At the first loss, gradient, parameter or buffer that is not finite, naming it and the step; the best parameters
        so far are in the checkpoint, if there is one, and in the exception's ``best``. On a device losses are read
        every ``evaluate_every`` steps and before a checkpoint, and so it is noticed then.
    """
    packing = Packing(params)
    optimiser = make_optimiser(training.optimiser, training.momentum)
    vector = packing.pack(params)
    backend = backend_of(vector)
    state = _State(vector, optimiser.start(vector), vector.copy(), {} if buffers is None else buffers)
    spread = 1.0 if rates is None else packing.spread(rates)
    rate_vector = spread if rates is None or backend.name == "numpy" else backend.asarray(spread)
    identity: dict[str, Any] = {}
    if checkpoint is not None:
        identity = _identity(label, training, packing, facts, vector, spread)
        if state.buffers:
            identity["buffers"] = fingerprint(state.buffers.values())
        if Path(checkpoint).exists():
            _restore(state, *load_checkpoint(checkpoint, identity))
    start, stopped_by = time.perf_counter() - state.seconds, "steps"
    while state.step < training.steps:
        if training.patience is not None and state.stale >= training.patience:
            stopped_by = "patience"
            break
        factor = training.rate * rate_at(state.step, training.steps, training.schedule, training.warmup)
        tree, before = packing.unpack(state.vector), dict(state.buffers)
        loss, gradients = objective(state.step, tree)
        g, norm = clip_norm(packing.pack(gradients), training.clip)
        state.unread.append((state.step, loss, norm, factor))
        evaluating = state.step % training.evaluate_every == 0
        saving = checkpoint is not None and (state.step + 1) % checkpoint_every == 0
        if backend.on_host or evaluating or saving:
            try:
                _read(state, packing, label)
                _require_finite(state, packing, label)
            except DivergedError:
                _forget_step(state, before)
                if checkpoint is not None:
                    _save(checkpoint, identity, state)
                raise
        if evaluating:
            _evaluate(state, score(tree) if score else state.history.loss[-1])
        optimiser.update(state.vector, g, state.moments, state.step, rate_vector, factor)
        if project is not None:
            project(packing.unpack(state.vector))
        state.step += 1
        state.seconds = time.perf_counter() - start
        if saving and checkpoint is not None:
            _save(checkpoint, identity, state)
        last = state.history.loss[-1] if state.history.loss else nan
        if callback is not None and callback(Tick(state.step, training.steps, last, state.best_score)):
            stopped_by = "callback"
            break
    _read(state, packing, label)
    _require_finite(state, packing, label)
    if stopped_by != "patience":  # there the last evaluation has found nothing better
        _evaluate(state, _final_score(objective, score, packing, state, label))
    if checkpoint is not None:
        _save(checkpoint, identity, state)
    best = map_leaves(lambda x: x.copy(), packing.unpack(state.best))
    return Minimised(best, state.best_score, state.history, stopped_by, state.seconds, dict(state.best_buffers))


def _final_score(
    objective: Objective, score: Callable[[Tree], float] | None, packing: Packing, state: _State, label: str
) -> float:
    tree = packing.unpack(state.vector)
    if score:
        return score(tree)
    loss = number(objective(state.step, tree)[0])
    if not isfinite(loss):
        raise _diverged(f"the loss is {loss}", state.step, state, packing, label)
    return loss


def _require_finite(state: _State, packing: Packing, label: str) -> None:
    """Refuse parameters and buffers that are not finite, which a loss need not show.

    An infinite variance makes batch norm's output zero, an infinite bias below relu too.

    Raises
    ------
    DivergedError
    """
    for name, value in state.buffers.items():
        if not number(namespace(value).isfinite(value).all()):
            raise _diverged(f"the buffer {name} is not finite", state.step, state, packing, label)
    finite = namespace(state.vector).isfinite
    if not all(number(finite(state.vector[part]).all()) for part in pieces(state.vector)):
        wrong = next(n for n, x in named_leaves(packing.unpack(state.vector)) if not number(finite(x).all()))
        raise _diverged(f"the parameter {wrong} is not finite", state.step, state, packing, label)


def _forget_step(state: _State, buffers: dict[str, Array]) -> None:
    """Put back what a step that diverged has changed: buffers, and what is noted of it."""
    state.buffers.update(buffers)
    for series in (state.history.loss, state.history.norm, state.history.rate):
        del series[state.step :]


def _read(state: _State, packing: Packing, label: str) -> None:
    """Read the losses and norms that are still unread, all at once, into the history.

    Raises
    ------
    DivergedError
        At the first that is not finite.
    """
    waiting, state.unread = state.unread, []
    losses, norms = (_numbers([row[k] for row in waiting]) for k in (1, 2))
    for (step, _, _, factor), loss, norm in zip(waiting, losses, norms, strict=True):
        if not (isfinite(loss) and isfinite(norm)):
            what = f"the loss is {loss}" if not isfinite(loss) else f"the gradient has norm {norm}"
            raise _diverged(what, step, state, packing, label)
        state.history.loss.append(loss)
        state.history.norm.append(norm)
        state.history.rate.append(factor)


def _numbers(values: list[Any]) -> list[float]:
    """Return numbers as floats; those on a device come in one transfer."""
    if len(values) < 2 or any(backend_of(value).on_host for value in values):
        return [number(value) for value in values]
    stacked = namespace(values[0]).stack(values)
    return [float(value) for value in backend_of(stacked).to_host(stacked)]


def _evaluate(state: _State, score: float) -> None:
    """Record a score and keep the parameters if none was better; of equals the later, a score of NaN never."""
    if state.history.score_steps and state.history.score_steps[-1] == state.step:
        return  # a finished run that was resumed was scored here before
    state.history.score.append(score)
    state.history.score_steps.append(state.step)
    state.stale = 0 if score < state.best_score else state.stale + 1
    if score <= state.best_score:
        state.best_score = score
        state.best = state.vector.copy()
        state.best_buffers = dict(state.buffers)


def _identity(
    label: str, training: Training, packing: Packing, facts: dict[str, Any] | None, start: Array, rates: Any
) -> dict[str, Any]:
    """Return what a checkpoint must agree on to be of this training."""
    return {
        "label": label,
        "training": asdict(training),
        "names": packing.names,
        "shapes": packing.shapes,
        "dtype": packing.dtype,
        "start": fingerprint([start]),
        "rates": rates if isinstance(rates, float) else fingerprint([rates]),
        "facts": facts or {},
    }


def _diverged(what: str, step: int, state: _State, packing: Packing, label: str) -> DivergedError:
    error = DivergedError(
        f"{label or 'training'}: {what} at step {step}; the best state so far (score {state.best_score:.6g}) was"
        " kept. A lower learning rate, warm-up or gradient clipping usually mends it"
    )
    error.best = packing.unpack(state.best)
    return error


def _save(path: str | Path, identity: dict[str, Any], state: _State) -> None:
    arrays = {"vector": state.vector, "best": state.best}
    arrays.update({f"buffer.{name}": value for name, value in state.buffers.items()})
    arrays.update({f"best_buffer.{name}": value for name, value in state.best_buffers.items()})
    arrays.update({f"moment.{name}": value for name, value in state.moments.items()})
    arrays = {name: backend_of(value).to_host(value) for name, value in arrays.items()}
    arrays.update({f"history.{name}": np.asarray(value) for name, value in asdict(state.history).items()})
    numbers = {k: getattr(state, k) for k in ("best_score", "step", "stale", "seconds")}
    save_checkpoint(path, identity, arrays, numbers)


def _restore(state: _State, arrays: dict[str, Array], numbers: dict[str, Any]) -> None:
    backend = backend_of(state.vector)
    state.vector[...] = backend.asarray(arrays["vector"])
    state.best = backend.asarray(arrays["best"])
    for kept, prefix in ((state.buffers, "buffer."), (state.best_buffers, "best_buffer.")):
        kept.update({k.removeprefix(prefix): backend.asarray(v) for k, v in arrays.items() if k.startswith(prefix)})
    for name in state.moments:
        state.moments[name][...] = backend.asarray(arrays[f"moment.{name}"])
    state.history = History(**{name: arrays[f"history.{name}"].tolist() for name in asdict(History())})
    for key, value in numbers.items():
        setattr(state, key, value)

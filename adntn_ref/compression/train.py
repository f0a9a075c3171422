"""Stage 2: training a model on its task, through generated weights where it has any.

The same loop trains dense models, so that rows of a table differ in what is generated and in nothing else. Every update
generates each weight once; what is frozen enters as a constant, and a frozen generated weight is expanded once for all.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array, backend_of, namespace, require_finite, require_inexact
from adntn_ref.ad.losses import cross_entropy, soft_cross_entropy, softmax
from adntn_ref.ad.moving import choose_backend, move, to_backend
from adntn_ref.ad.transforms import value_and_grad
from adntn_ref.ad.trees import Tree, leaves, named_leaves
from adntn_ref.compression.checkpoints import fingerprint
from adntn_ref.compression.fit import both
from adntn_ref.compression.progress import Progress, no_progress
from adntn_ref.compression.training import Callback, History, Training, minimise
from adntn_ref.errors import ArrayError, SpecError
from adntn_ref.nn.augment import Augmentation, Choices
from adntn_ref.nn.cached import CachedWeights
from adntn_ref.nn.data import Part, Split
from adntn_ref.nn.models import Generated, Model, Params, Sequential, accuracy, select

LOSSES = ("labels", "distil")
"""What stage 2 minimises: the cross entropy with the labels, or with what a teacher says."""

_DROPOUT = 1  # the order of the images and augmentation draw from other streams of the same seed


@dataclass(frozen=True)
class Rates:
    """Learning rates: of the cores, and of everything else."""

    cores: float = 5e-3
    rest: float = 1e-3


@dataclass(frozen=True)
class TrainResult:
    """The outcome of a training: parameters, accuracy on the validation part, history, seconds.

    ``first_accuracy`` is that before the first update. The scores of the history are shares of wrong answers; with a
    teacher a right answer is the teacher's.
    """

    params: Params
    validation_accuracy: float
    history: History
    stopped_by: str
    seconds: float
    first_accuracy: float


def train(
    model: Model,
    params: Params,
    data: Split,
    *,
    epochs: int,
    batch_size: int = 64,
    rates: Rates | None = None,
    frozen: Iterable[str] = (),
    optimiser: str = "adam",
    schedule: str = "cosine",
    warmup_epochs: float = 0.0,
    clip: float | None = None,
    patience: int | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: str = "",
    callback: Callback | None = None,
    backend: str | None = None,
    augmentation: Augmentation | None = None,
    teacher: Params | None = None,
) -> TrainResult:
    """Minimise the cross entropy on the train part, and keep the epoch that is best on the validation part.

    With a ``teacher`` no label is read but for the accuracies that are reported: the loss is the cross entropy with the
    softmax of the teacher's logits, and the epoch is kept that agrees with the teacher on most images of the validation
    part (distillation; Hinton, Vinyals, Dean, arXiv 1503.02531, at temperature 1).

    The model runs as in training: dropout drops, batch norm takes the batch's statistics and moves its running ones,
    and these are kept with the parameters that they go with. For the accuracy it is evaluated.

    Parameters
    ----------
    model : dense or generated model
    params : its parameters and buffers; not changed
    data : the split; its test part is not touched
    epochs, batch_size : passes over the train part, and images an update
    rates : learning rates of cores and of the rest
    frozen : glob patterns of names of parameters and buffers that stay as they are
    warmup_epochs : epochs over which the rates rise linearly
    seed : of the order of the images, which in epoch e depends on (seed, e) alone, and of dropout, which in update t
        depends on (seed, t) alone
    augmentation : changes the train images at random, in epoch e by (seed, e) alone
    teacher : dense parameters of the same model, which sees the same images, after any augmentation
    progress : title of a progress bar, none if empty
    backend : where to train, by :func:`~adntn_ref.ad.moving.choose_backend`: by default where the parameters are;
        parameters, and the images once, are moved there, and the result stays there
    optimiser, schedule, clip, patience, checkpoint, callback : see :func:`~adntn_ref.compression.training.minimise`

    Raises
    ------
    ArrayError, NonFiniteError, ParameterError
        For images of a wrong shape, NaN in parameters or images, parameters that are not the model's.
    NothingSelected
        For a frozen pattern that matches nothing.
    """
    if not isinstance(epochs, int) or epochs < 1 or not isinstance(batch_size, int) or batch_size < 1:
        raise SpecError(f"epochs and batch_size must be integers >= 1, got {epochs!r} and {batch_size!r}")
    where = choose_backend(backend, leaves(params)).name
    params = to_backend(params, where)
    check_inputs(model, params, data)
    images, validation = data.train.on(where), data.validation.on(where)
    constant = set(select(params, frozen))
    fixed, trained, buffers = _split(model, params, constant)
    dense = _dense(model)
    taught = None if teacher is None else to_backend(_checked_teacher(dense, teacher), where)
    aim = validation if taught is None else answered(dense, taught, validation)
    per_epoch = -(-len(data.train) // batch_size)
    chosen = rates or Rates()
    cache = CachedWeights(model)
    plan = Training(
        epochs * per_epoch,
        optimiser=optimiser,
        schedule=schedule,
        warmup=round(warmup_epochs * per_epoch),
        clip=clip,
        patience=patience,
        evaluate_every=per_epoch,
    )
    with Progress(progress, plan.steps) if progress else no_progress() as bar:
        result = minimise(
            task_objective(model, fixed, images, batch_size, seed, cache, buffers, augmentation, data.black, taught),
            trained,
            plan,
            rates={name: _rates_of(value, chosen) for name, value in trained.items()},
            score=lambda tree: 1.0 - accuracy(dense, {**fixed, **buffers, **cache.take(tree)}, aim),
            callback=both(bar, callback),
            checkpoint=checkpoint,
            checkpoint_every=per_epoch,
            label=f"training of {', '.join(trained)} with seed {seed}",
            facts=_facts(fixed, data, batch_size, augmentation, taught) if checkpoint is not None else None,
            buffers=buffers,
        )
    best = {**result.params, **result.buffers}
    final = {name: best.get(name, params[name]) for name in params}
    if taught is None:
        reached, first = 1.0 - result.score, 1.0 - result.history.score[0]
    else:
        reached, first = (accuracy(dense, model.expand(tree), validation) for tree in (final, params))
    return TrainResult(final, reached, result.history, result.stopped_by, result.seconds, first)


def untrained(model: Model, params: Params, data: Split, why: str = "no epochs") -> TrainResult:
    """Return what a training of no epochs would: the parameters as they are, and their accuracy."""
    reached = accuracy(_dense(model), model.expand(params), data.validation)
    return TrainResult(params, reached, History(), why, 0.0, reached)


def answered(model: Sequential, params: Params, part: Part, batch_size: int = 500) -> Part:
    """Return a part with what the model says in place of the labels, on the backend of the parameters."""
    here = part.on(backend_of(next(iter(params.values()))).name)
    said = [model(params, images).argmax(axis=1) for images, _ in here.batches(batch_size)]
    return Part(here.images, namespace(said[0]).concatenate(said).astype("int64"))


def _checked_teacher(model: Sequential, teacher: Params) -> Params:
    """Refuse a teacher whose parameters are not the dense model's, or not finite."""
    model.check_params(teacher)
    for path, value in named_leaves(teacher):
        require_finite(value, f"the teacher's parameter {path}")
    return teacher


def _facts(
    fixed: Params, data: Split, batch_size: int, augmentation: Augmentation | None, teacher: Params | None
) -> dict[str, Any]:
    """Return what the result depends on beside the parameters that are trained, for the checkpoint."""
    parts = [array for part in (data.train, data.validation) for array in (part.images, part.labels)]
    facts = {"batch_size": batch_size, "data": fingerprint(parts), "fixed": fingerprint(leaves(fixed))}
    if augmentation is not None:
        facts["augmentation"] = repr(augmentation)
    return facts if teacher is None else {**facts, "teacher": fingerprint(leaves(teacher))}


def _rates_of(value: Any, rates: Rates) -> Any:
    """Return the learning rate of a parameter: the cores' for each core of a generated one, else the rest's."""
    return dict.fromkeys(value, rates.cores) if isinstance(value, dict) else rates.rest


def _split(model: Model, params: Params, constant: set[str]) -> tuple[Params, Params, Params]:
    """Return what stays constant (dense: generated weights are expanded here, once), what is trained, the buffers."""
    fixed = {name: params[name] for name in constant}
    networks = dict(model.networks) if isinstance(model, Generated) else {}
    expanded = {k: networks[k].generate(v) if k in networks else v for k, v in fixed.items()}
    moving = {name: value for name, value in params.items() if name not in constant}
    known = _dense(model).buffer_shapes
    buffers = {name: moving.pop(name) for name in list(moving) if name in known}
    return expanded, moving, buffers


def _dense(model: Model) -> Sequential:
    return model.model if isinstance(model, Generated) else model


def task_objective(
    model: Model,
    fixed: Params,
    part: Part,
    batch_size: int,
    seed: int,
    cache: CachedWeights | None = None,
    buffers: Params | None = None,
    augmentation: Augmentation | None = None,
    black: Array = 0.0,
    teacher: Params | None = None,
) -> Callable[[int, Tree], tuple[Any, Tree]]:
    """Return ``(step, trained parameters) -> (cross entropy of the step's batch, gradients)``.

    The weights of the first step of an epoch, after which the model is evaluated, are put into the cache. ``buffers``
    is a dict that every step changes: the new running statistics are put into it. ``black`` is what the augmentation
    pads with. With a ``teacher`` its softmax on the same images stands for the labels.
    """
    dense, moving, backend = _dense(model), {} if buffers is None else buffers, backend_of(part.labels)
    black = move(black, backend)
    per_epoch = -(-len(part) // batch_size)
    order: dict[int, Array] = {}
    changes: dict[int, Choices] = {}

    def objective(step: int, trained: Tree) -> tuple[Any, Tree]:
        epoch, batch = divmod(step, per_epoch)
        if epoch not in order:
            order.clear()
            drawn = np.random.default_rng([seed, epoch]).permutation(len(part))
            order[epoch] = move(drawn, backend)
        chosen = order[epoch][batch * batch_size : (batch + 1) * batch_size]
        images, labels = part.images[chosen], part.labels[chosen]
        if augmentation is not None:
            if epoch not in changes:
                changes.clear()
                changes[epoch] = augmentation.choices(seed, epoch, len(part)).on(backend.name)
            images = augmentation.apply(images, changes[epoch], chosen, black)
        soft = None if teacher is None else softmax(dense(teacher, images), axis=1)

        def loss(p: Tree) -> tuple[Any, Tree]:
            made = model.expand(p)
            rng = np.random.default_rng([seed, step, _DROPOUT])
            logits, updates = dense.in_training({**fixed, **moving, **made}, images, rng)
            value = cross_entropy(logits, labels) if soft is None else soft_cross_entropy(logits, soft)
            return value, (updates, made if cache and not batch else {})

        (value, (updates, made)), gradients = value_and_grad(loss, has_aux=True)(trained)
        moving.update({name: new for name, new in updates.items() if name in moving})
        if made and cache is not None:
            cache.put(trained, made)
        return value, gradients

    return objective


def check_inputs(model: Model, params: Params, data: Split) -> None:
    """Refuse parameters and images that do not fit the model, before any work starts."""
    if not isinstance(data, Split):
        raise SpecError(f"data must be a Split of three Parts (adntn_ref.nn.data), got a {type(data).__name__}")
    dense = model.model if isinstance(model, Generated) else model
    if params.keys() != dense.state_shapes.keys():
        missing = sorted(dense.state_shapes.keys() - params.keys())
        extra = sorted(params.keys() - dense.state_shapes.keys())
        raise SpecError(f"the parameters differ from the model's: missing {missing}, unknown {extra}")
    model.check_params(params)
    for path, value in named_leaves(params):
        require_finite(value, f"parameter {path}")
    for name, part in (("train", data.train), ("validation", data.validation)):
        require_inexact(part.images, f"the {name} images")
        require_finite(part.images, f"the {name} images")
        if tuple(part.images.shape[1:]) != dense.in_shape:
            got = tuple(part.images.shape[1:])
            raise ArrayError(f"the {name} images have shape {got}, the model takes {dense.in_shape}")
        if int(part.labels.min()) < 0 or int(part.labels.max()) >= dense.out_shape[-1]:
            top = int(part.labels.max())
            raise ArrayError(f"the {name} labels reach {top}, the model has classes 0 .. {dense.out_shape[-1] - 1}")

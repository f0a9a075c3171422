"""The work of an experiment, piece by piece: each function makes one row for one seed, and says what it found.

Shared by :mod:`~adntn_ref.experiments.run`, which records them in a folder, and
:mod:`~adntn_ref.experiments.tasks`, which hands them to other processes.
"""

import resource
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref.ad.moving import to_backend
from adntn_ref.compression.alive import dead_share
from adntn_ref.compression.compress import Compressed, compress, corrected_bias
from adntn_ref.compression.files import Entry, load_compressed, save_compressed
from adntn_ref.compression.objectives import relative_error
from adntn_ref.compression.tensorfile import TensorFile, write_tensors
from adntn_ref.compression.train import Rates, TrainResult, train, untrained
from adntn_ref.experiments.catalogue import first_images, load_data
from adntn_ref.experiments.plan import Plan
from adntn_ref.nn.data import Part, Split, resized_to
from adntn_ref.nn.models import Params, Sequential, accuracy, select

RANDOM_SEED = 1_000
"""Added to the seed for the weights of the frozen-random control, so that they are not the dense network's start."""

Facts = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """One row for one seed: dense parameters, or a compressed model; what is recorded; seconds."""

    facts: Facts
    timing: Facts
    params: Params
    compressed: Compressed | None = None


def data_of(plan: Plan, seed: int) -> Split:
    """Return the data of a seed, its parts cut to what the configuration says, the test part sealed."""
    data = plan.config.data
    split = load_data(data.name, data.folder, seed, plan.config.dtype)
    split = first_images(split, data.train, data.validation, data.test)
    return split if data.size is None else resized_to(split, data.size)


def peak_memory() -> int:
    """Return the largest size this process had in memory so far, in bytes (``getrusage``, resident set)."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size


def dense_baseline(
    plan: Plan, data: Split, seed: int, checkpoints: Path | None, progress: str = "", backend: str = "numpy"
) -> Made:
    """Train the dense model from its start."""
    dense = plan.config.dense
    result = train(
        plan.model,
        plan.model.init(seed, plan.config.dtype, backend=backend),
        data,
        epochs=dense.epochs,
        batch_size=dense.batch_size,
        rates=Rates(rest=dense.rate),
        seed=seed,
        checkpoint=checkpoints / "train.npz" if checkpoints else None,
        progress=progress,
        backend=backend,
    )
    return _made_dense("dense", seed, result)


def control(
    plan: Plan,
    row: str,
    data: Split,
    dense: Params,
    seed: int,
    checkpoints: Path | None,
    progress: str = "",
    backend: str = "numpy",
) -> Made:
    """Train a row without networks through stage 2: ``"dense_stage2"``, or ``"frozen_random"``.

    The latter has fresh random weights in place of those that are compressed in other rows, and leaves them alone.
    """
    params, frozen = dict(dense), set(select(dense, plan.config.stage2.frozen))
    if row == "frozen_random":
        drawn = plan.model.init(RANDOM_SEED + seed, plan.config.dtype, backend="numpy")
        params.update({name: drawn[name] for name in plan.layers})
        frozen |= set(plan.layers)
    else:
        frozen -= set(plan.layers)  # they are trained in every other row too, if through networks
    if frozen >= set(plan.model.param_shapes):
        return _made_dense(row, seed, untrained(plan.model, params, data, "nothing to train"))
    stage2 = plan.config.stage2
    if stage2.epochs == 0:
        return _made_dense(row, seed, untrained(plan.model, params, data))
    few = stage2.labels_per_class
    result = train(
        plan.model,
        params,
        data if few is None else data.fewer_labels(few),
        frozen=sorted(frozen),
        checkpoint=checkpoints / "train.npz" if checkpoints else None,
        progress=progress,
        backend=backend,
        teacher=dense if stage2.loss == "distil" else None,
        **_stage2(plan, seed, stage2.cores_rates[0]),
    )
    return _made_dense(row, seed, result)


def compressed_row(
    plan: Plan,
    row: str,
    data: Split,
    dense: Params,
    seed: int,
    rate: float,
    checkpoints: Path | None,
    progress: str = "",
    backend: str = "numpy",
) -> Made:
    """Compress the dense model in both stages with the networks of a row."""
    stage1, stage2 = plan.config.stage1, plan.config.stage2
    options: Facts = {"optimiser": stage1.optimiser, "restarts": stage1.restarts, "start_share": stage1.start_share}
    compressed = compress(
        plan.model,
        plan.networks[row],
        data,
        dense,
        objective=stage1.objective,
        stage1_steps=stage1.steps,
        stage1_rate=stage1.rate if stage1.optimiser in ("adam", "sgd") else None,
        stage1_options=options,
        epochs_between=stage2.epochs_between,
        order=stage2.order,
        loss=stage2.loss,
        labels_per_class=stage2.labels_per_class,
        frozen=stage2.frozen,
        checkpoints=checkpoints,
        progress=progress,
        backend=backend,
        **_stage2(plan, seed, rate),
    )
    made = _on_host(compressed)
    facts: Facts = {
        "row": row,
        "seed": seed,
        "cores_rate": rate,
        "validation_accuracy": made.validation_accuracy,
        # evaluated before the first update of each stage 2, that is, right after the fits before it
        "stage1_validation_accuracies": [training.first_accuracy for training in made.trainings],
        "layers": {name: _layer(made, name, dense) for name in plan.layers},
        "stage2": [_curve(training) for training in made.trainings],
    }
    fits = {name: fit.seconds for name, fit in made.fits.items()}
    timing = {
        "seconds": made.seconds,
        "stage1_seconds": sum(fits.values()),
        "stage2_seconds": sum(training.seconds for training in made.trainings),
        "stage1_seconds_by_layer": fits,
        "peak_memory_bytes": peak_memory(),
    }
    return Made(facts, timing, made.params, made)


def _on_host(made: Compressed) -> Compressed:
    """Return a compressed model with its arrays on the host, where records are written."""
    fits = {
        name: replace(fit, params=to_backend(fit.params, "numpy"), bias_shift=to_backend(fit.bias_shift, "numpy"))
        for name, fit in made.fits.items()
    }
    trainings = [replace(one, params=to_backend(one.params, "numpy")) for one in made.trainings]
    return replace(made, params=to_backend(made.params, "numpy"), fits=fits, trainings=trainings)


def _stage2(plan: Plan, seed: int, rate: float) -> Facts:
    """Return the options of stage 2 that all rows share."""
    stage2 = plan.config.stage2
    return {
        "epochs": stage2.epochs,
        "batch_size": stage2.batch_size,
        "rates": Rates(rate, stage2.rest_rate),
        "warmup_epochs": min(stage2.warmup_epochs, stage2.epochs / 2),
        "seed": seed + 1,
    }


def _made_dense(row: str, seed: int, result: TrainResult) -> Made:
    facts = {"row": row, "seed": seed, "validation_accuracy": result.validation_accuracy, "stage2": [_curve(result)]}
    timing = {"seconds": result.seconds, "peak_memory_bytes": peak_memory()}
    return Made(facts, timing, to_backend(result.params, "numpy"))


def _curve(result: TrainResult) -> Facts:
    history = result.history
    return {
        "loss": history.loss,
        "validation_accuracy": [1 - score for score in history.score],
        "validation_steps": history.score_steps,
        "stopped_by": result.stopped_by,
    }


def _layer(made: Compressed, name: str, dense: Params) -> Facts:
    """Return what is recorded of one generated weight."""
    fit, network = made.fits[name], made.fits[name].network
    weight = network.generate(made.params[name])
    return {
        "spec": network.to_spec(),
        "weights": network.weights,
        "parameters": network.parameter_count,
        "ratio": network.compression_ratio,
        "relative_error": fit.relative_error,
        "relative_error_after_stage2": relative_error(weight, dense[name]),
        "output_error": fit.output_error,
        "dead_share_start": {key: start for key, (start, _) in fit.dead_share.items()},
        "dead_share_stage1": {key: end for key, (_, end) in fit.dead_share.items()},
        "dead_share_stage2": dead_share(network, made.params[name]),
        "stage1": {
            "loss": fit.history.loss,
            "stopped_by": fit.stopped_by,
            "seed": fit.seed,
            "restarts": [[r.seed, r.loss, r.stopped_by] for r in fit.restarts],
        },
    }


def save_model(path: Path, params: Params, made: Compressed | None, seed: int) -> None:
    """Write a model: the cores of generated weights, all else as it is."""
    if made is None:
        write_tensors(path, params, {}, force=True)
        return
    networks = dict(made.model.networks)
    entries = {name: Entry(network, params[name]) for name, network in networks.items()}
    rest = {name: value for name, value in params.items() if name not in networks}
    save_compressed(path, entries, rest, seed=seed, force=True)


def after_stage1(dense: Params, made: Compressed) -> Params:
    """Return the model right after stage 1: the dense one with fitted cores, and the biases that go with them."""
    found = dict(dense)
    for name, fit in made.fits.items():
        found.update({**corrected_bias(name, fit, dense), name: fit.params})
    return found


def load_model(model: Sequential, path: Path) -> Params:
    """Read a model's dense parameters, generated weights expanded, in the model's order."""
    file = TensorFile(path)
    if "adntn_ref" in file.metadata:
        found = load_compressed(path).expand()
    else:
        found = {name: file.load(name) for name in file.names}
    params = {name: found[name] for name in model.state_shapes}
    model.check_params(params)
    return params


def right_answers(model: Sequential, params: Params, part: Part, backend: str = "numpy") -> int:
    """Return how many images of a part the model tells right."""
    return int(np.rint(accuracy(model, to_backend(params, backend), part) * len(part)))

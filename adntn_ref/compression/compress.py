"""Compressing a trained model: stage 1 on each weight, stage 2 on the task, layer by layer (Qing et al.)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adntn_ref.ad.moving import choose_backend, to_backend
from adntn_ref.compression.atomic import make_folder
from adntn_ref.compression.fit import fit
from adntn_ref.compression.method import FitResult, not_fitted
from adntn_ref.compression.objectives import BY_OUTPUTS, OBJECTIVES
from adntn_ref.compression.sensitivity import output_metric
from adntn_ref.compression.statistics import OutputStatistics, check_layer, layer_statistics
from adntn_ref.compression.train import LOSSES, Rates, TrainResult, check_inputs, train, untrained
from adntn_ref.errors import SpecError
from adntn_ref.networks.base import Network
from adntn_ref.nn.data import Part, Split
from adntn_ref.nn.models import Generated, Params, Sequential, select

ORDERS = ("layer_by_layer", "together")

FIRST_STAGES = (*OBJECTIVES, "none")
"""What stage 1 may do; with ``"none"`` networks begin stage 2 as they start, at the target's standard deviation."""


@dataclass(frozen=True)
class Compressed:
    """A compressed model: generated model, parameters, the fits of stage 1 and the trainings of stage 2."""

    model: Generated
    params: Params
    fits: dict[str, FitResult]
    trainings: list[TrainResult] = field(default_factory=list)

    @property
    def validation_accuracy(self) -> float:
        """Accuracy on the validation part after the last training."""
        return self.trainings[-1].validation_accuracy

    @property
    def seconds(self) -> float:
        """Time spent in both stages."""
        return sum(f.seconds for f in self.fits.values()) + sum(t.seconds for t in self.trainings)

    def dense_params(self) -> Params:
        """Return the parameters of the dense model with every generated weight expanded."""
        return self.model.expand(self.params)


def fit_layers(
    model: Sequential,
    networks: Mapping[str, Network],
    params: Params,
    *,
    objective: str = "euclidean",
    data: Part | None = None,
    seed: int = 0,
    checkpoints: Path | None = None,
    backend: str | None = None,
    **options: Any,
) -> dict[str, FitResult]:
    """Run stage 1 on each named weight of a trained model.

    With ``objective="outputs"`` or ``"logits"`` the layers are fitted in the order in which the model applies them,
    each to give the dense model's outputs from the inputs that it has behind the layers already fitted, their biases
    corrected. ``"logits"`` weighs differences of outputs by what the dense model's logits feel of them.

    Parameters
    ----------
    model, params : the trained dense model
    networks : parameter name -> network of its shape; the k-th starts from ``seed + k``
    objective : ``"euclidean"``, ``"outputs"``, ``"logits"``, or ``"none"`` for networks left as they start
    data : images for ``"outputs"`` and ``"logits"``; their labels are not read
    checkpoints : folder for checkpoints of fits by adam or sgd
    backend : where to fit, by :func:`~adntn_ref.ad.moving.choose_backend`
    options : go to :func:`~adntn_ref.compression.fit.fit`

    Raises
    ------
    NothingSelected, SpecError
        For names the model does not have, networks of other shapes, an unknown objective, missing data.
    """
    Generated(model, tuple(networks.items()))  # checks names and shapes before work starts
    where = choose_backend(backend, params.values()).name
    params = to_backend(params, where)
    _check_objective(objective, model, networks, data)
    names = list(networks)
    order = list(model.param_shapes) if objective in BY_OUTPUTS else names
    current, fits = dict(params), {}
    for name in (name for name in order if name in networks):
        if objective == "none":
            fits[name] = not_fitted(networks[name], params[name], seed + names.index(name), where)
            continue
        known: dict[str, Any] = {"objective": objective, "rng": seed + names.index(name), "backend": where, **options}
        if checkpoints is not None and known.get("optimiser", "adam") in ("adam", "sgd"):
            known["checkpoint"] = checkpoints / f"stage1-{name}.npz"
        if objective in BY_OUTPUTS and data is not None:
            known["statistics"] = _statistics(model, params, current, name.rpartition(".")[0], data, objective)
        fits[name] = fit(networks[name], params[name], **known)
        current.update({name: fits[name].generate(), **corrected_bias(name, fits[name], params)})
    return {name: fits[name] for name in names}


def _statistics(
    model: Sequential, dense: Params, current: Params, layer: str, data: Part, objective: str
) -> OutputStatistics:
    """Return what an objective needs to know of a layer's inputs, and of its outputs."""
    found = layer_statistics(model, dense, current, layer, data)
    return replace(found, metric=output_metric(model, dense, layer, data)) if objective == "logits" else found


def corrected_bias(name: str, result: FitResult, params: Params) -> Params:
    """Return the new bias that goes with a fitted weight, ``{"fc1.bias": ...}``; empty where none changes."""
    bias = f"{name.rpartition('.')[0]}.bias"
    if result.bias_shift is None or bias not in params:
        return {}
    return {bias: params[bias] + result.bias_shift.astype(params[bias].dtype)}


def default_objective(model: Sequential, names: Iterable[str], frozen: Iterable[str] = ()) -> str:
    """Return ``"logits"`` if each weight acts as one matrix, with a bias that may change, else ``"euclidean"``."""
    layers, still = dict(model.layers), set(frozen)
    for layer, _, key in (name.rpartition(".") for name in names):
        try:
            check_layer(layer, layers[layer])
        except SpecError:
            return "euclidean"
        if key != "weight" or f"{layer}.bias" in still:
            return "euclidean"
    return "logits"


def _check_objective(objective: str, model: Sequential, networks: Mapping[str, Network], data: Part | None) -> None:
    """Refuse an objective that is unknown, or outputs of what has none, before any work starts."""
    if objective not in FIRST_STAGES:
        raise SpecError(f"no objective is called {objective!r}; allowed: {', '.join(FIRST_STAGES)}")
    if objective not in BY_OUTPUTS:
        return
    if data is None:
        raise SpecError(f"objective={objective!r} needs data: images to take the layers' inputs from")
    layers = dict(model.layers)
    for name in networks:
        layer, _, key = name.rpartition(".")
        if key != "weight":
            raise SpecError(f"{name} is no weight: outputs are matched for weights of Linear and Conv2d")
        check_layer(layer, layers[layer])


def compress(
    model: Sequential,
    networks: Mapping[str, Network],
    data: Split,
    params: Params,
    *,
    objective: str | None = None,
    stage1_steps: int | None = 300,
    stage1_rate: float | None = None,
    stage1_options: Mapping[str, Any] | None = None,
    epochs: int = 15,
    epochs_between: int = 3,
    batch_size: int = 64,
    rates: Rates | None = None,
    warmup_epochs: float = 2.0,
    loss: str = "labels",
    labels_per_class: int | None = None,
    order: str = "layer_by_layer",
    frozen: Iterable[str] = (),
    seed: int = 0,
    checkpoints: str | Path | None = None,
    progress: str = "",
    backend: str | None = None,
) -> Compressed:
    """Replace weights of a trained model by generated ones, in two stages.

    Stage 1 fits each network to the trained weight, by Euclidean distance or by the layer's outputs; stage 2 trains the
    cores, and all of the model that is not frozen, on the task's loss, or to say what the dense model says. Layer by
    layer, as in the paper: compress one layer, both stages, then the next, the earlier ones kept as networks.

    Parameters
    ----------
    model, params : the trained dense model
    networks : parameter name -> network of its shape, in the order of compression
    data : the split; its test part is not touched
    objective : of stage 1: ``"euclidean"`` as in the paper; ``"outputs"`` or ``"logits"`` (ours), which read the images
        of the train part and correct biases, frozen ones too; or ``"none"``. By default ``"logits"`` where every weight
        is that of a Linear or a Conv2d of one group whose bias is not frozen, else ``"euclidean"``
    stage1_steps, stage1_rate : of each fit
    stage1_options : more options of :func:`~adntn_ref.compression.fit.fit`, such as ``{"optimiser": "lbfgs"}``
    epochs, epochs_between : of stage 2 after the last layer, and after each earlier one; 0 leaves it out
    rates, warmup_epochs, batch_size : of stage 2
    loss : of stage 2: ``"labels"``, or ``"distil"``, which reads none: the dense model, ``params``, is the teacher
    labels_per_class : how many images of each class stage 2 may use; stage 1 uses all, without their labels
    order : ``"layer_by_layer"`` or ``"together"``, all fits first and one stage 2
    frozen : glob patterns of parameters that stage 2 leaves alone
    checkpoints : folder for checkpoints, from which the same call resumes to the same bits
    progress : prefix of the progress bars' titles, no bars if empty
    backend : where both stages run, by :func:`~adntn_ref.ad.moving.choose_backend`: by default where the parameters
        are; the result stays there

    Raises
    ------
    NothingSelected, SpecError
        For names the model does not have, networks of other shapes, an unknown order or loss.
    """
    for what, value, allowed in (("order", order, ORDERS), ("loss", loss, LOSSES)):
        if value not in allowed:
            raise SpecError(f"{what} must be one of {', '.join(allowed)}, got {value!r}")
    if not networks:
        raise SpecError("no networks were given: name at least one parameter to generate")
    Generated(model, tuple(networks.items()))
    where = choose_backend(backend, params.values()).name
    params = to_backend(params, where)
    check_inputs(model, params, data)
    frozen = select(params, frozen)  # checked before work starts; a list, for every training reads it
    objective = default_objective(model, networks, frozen) if objective is None else objective
    _check_objective(objective, model, networks, data.train)
    second = data if labels_per_class is None else data.fewer_labels(labels_per_class)
    teacher = params if loss == "distil" else None
    folder = _folder(checkpoints)
    names = list(networks)
    groups = [[name] for name in names] if order == "layer_by_layer" else [names]
    current, fits, trainings = dict(params), {}, []
    done: dict[str, Network] = {}
    for position, group in enumerate(groups):
        made = fit_layers(
            model,
            {name: networks[name] for name in group},
            Generated(model, tuple(done.items())).expand(current),
            objective=objective,
            data=data.train,
            seed=seed + names.index(group[0]),
            checkpoints=folder,
            backend=where,
            steps=stage1_steps,
            rate=stage1_rate,
            **(stage1_options or {}),
        )
        for name in group:
            current.update({**corrected_bias(name, made[name], current), name: made[name].params})
            done[name] = networks[name]
        fits.update(made)
        last = position == len(groups) - 1
        generated, rounds = Generated(model, tuple(done.items())), epochs if last else epochs_between
        if rounds == 0:
            trainings.append(untrained(generated, current, second))
            continue
        result = train(
            generated,
            current,
            second,
            epochs=rounds,
            batch_size=batch_size,
            rates=rates,
            frozen=frozen,
            warmup_epochs=min(warmup_epochs, rounds / 2) if not last else warmup_epochs,
            teacher=teacher,
            seed=seed,
            checkpoint=folder / f"stage2-{group[-1]}.npz" if folder else None,
            progress=f"{progress}: {', '.join(group)}" if progress else "",
            backend=where,
        )
        current = result.params
        trainings.append(result)
    return Compressed(Generated(model, tuple(networks.items())), current, fits, trainings)


def _folder(path: str | Path | None) -> Path | None:
    if path is None:
        return None
    make_folder(Path(path))
    return Path(path)

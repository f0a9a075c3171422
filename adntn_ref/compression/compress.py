"""Compressing a trained model: stage 1 on each weight, stage 2 on the task, layer by layer (Qing et al.)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adntn_ref.ad.moving import choose_backend, to_backend
from adntn_ref.compression.atomic import make_folder
from adntn_ref.compression.fit import fit
from adntn_ref.compression.method import FitResult
from adntn_ref.compression.objectives import OBJECTIVES
from adntn_ref.compression.statistics import check_layer, layer_statistics
from adntn_ref.compression.train import Rates, TrainResult, check_inputs, train
from adntn_ref.errors import SpecError
from adntn_ref.networks.base import Network
from adntn_ref.nn.data import Part, Split
from adntn_ref.nn.models import Generated, Params, Sequential, select

ORDERS = ("layer_by_layer", "together")


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

    With ``objective="outputs"`` the layers are fitted in the order in which the model applies them, each to give the
    dense model's outputs from the inputs that it has behind the layers already fitted, their biases corrected.

    Parameters
    ----------
    model, params : the trained dense model
    networks : parameter name -> network of its shape; the k-th starts from ``seed + k``
    objective : ``"euclidean"`` or ``"outputs"``
    data : images for ``"outputs"``; their labels are not read
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
    order = list(model.param_shapes) if objective == "outputs" else names
    current, fits = dict(params), {}
    for name in (name for name in order if name in networks):
        known: dict[str, Any] = {"objective": objective, "rng": seed + names.index(name), "backend": where, **options}
        if checkpoints is not None and known.get("optimiser", "adam") in ("adam", "sgd"):
            known["checkpoint"] = checkpoints / f"stage1-{name}.npz"
        if objective == "outputs" and data is not None:
            known["statistics"] = layer_statistics(model, params, current, name.rpartition(".")[0], data)
        fits[name] = fit(networks[name], params[name], **known)
        current.update({name: fits[name].generate(), **corrected_bias(name, fits[name], params)})
    return {name: fits[name] for name in names}


def corrected_bias(name: str, result: FitResult, params: Params) -> Params:
    """Return the new bias that goes with a fitted weight, ``{"fc1.bias": ...}``; empty where none changes."""
    bias = f"{name.rpartition('.')[0]}.bias"
    if result.bias_shift is None or bias not in params:
        return {}
    return {bias: params[bias] + result.bias_shift.astype(params[bias].dtype)}


def _check_objective(objective: str, model: Sequential, networks: Mapping[str, Network], data: Part | None) -> None:
    """Refuse an objective that is unknown, or outputs of what has none, before any work starts."""
    if objective not in OBJECTIVES:
        raise SpecError(f"no objective is called {objective!r}; allowed: {', '.join(OBJECTIVES)}")
    if objective == "euclidean":
        return
    if data is None:
        raise SpecError("objective='outputs' needs data: images to take the layers' inputs from")
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
    objective: str = "euclidean",
    stage1_steps: int | None = 300,
    stage1_rate: float | None = None,
    stage1_options: Mapping[str, Any] | None = None,
    epochs: int = 15,
    epochs_between: int = 3,
    batch_size: int = 64,
    rates: Rates | None = None,
    warmup_epochs: float = 2.0,
    order: str = "layer_by_layer",
    frozen: Iterable[str] = (),
    seed: int = 0,
    checkpoints: str | Path | None = None,
    progress: str = "",
    backend: str | None = None,
) -> Compressed:
    """Replace weights of a trained model by generated ones, in two stages.

    Stage 1 fits each network to the trained weight, by Euclidean distance or by the layer's outputs; stage 2 trains the
    cores, and all of the model that is not frozen, on the task's loss. Layer by layer, as in the paper: compress one
    layer, both stages, then the next, the earlier ones kept as networks.

    Parameters
    ----------
    model, params : the trained dense model
    networks : parameter name -> network of its shape, in the order of compression
    data : the split; its test part is not touched
    objective : of stage 1: ``"euclidean"`` as in the paper, or ``"outputs"`` (ours), which reads the images of the
        train part and corrects biases, frozen ones too
    stage1_steps, stage1_rate : of each fit
    stage1_options : more options of :func:`~adntn_ref.compression.fit.fit`, such as ``{"optimiser": "lbfgs"}``
    epochs, epochs_between : of stage 2 after the last layer, and after each earlier one
    rates, warmup_epochs, batch_size : of stage 2
    order : ``"layer_by_layer"`` or ``"together"``, all fits first and one stage 2
    frozen : glob patterns of parameters that stage 2 leaves alone
    checkpoints : folder for checkpoints, from which the same call resumes to the same bits
    progress : prefix of the progress bars' titles, no bars if empty
    backend : where both stages run, by :func:`~adntn_ref.ad.moving.choose_backend`: by default where the parameters
        are; the result stays there

    Raises
    ------
    NothingSelected, SpecError
        For names the model does not have, networks of other shapes, an unknown order.
    """
    if order not in ORDERS:
        raise SpecError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
    if not networks:
        raise SpecError("no networks were given: name at least one parameter to generate")
    Generated(model, tuple(networks.items()))
    where = choose_backend(backend, params.values()).name
    params = to_backend(params, where)
    check_inputs(model, params, data)
    _check_objective(objective, model, networks, data.train)
    frozen = select(params, frozen)  # checked before work starts; a list, for every training reads it
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
        result = train(
            Generated(model, tuple(done.items())),
            current,
            data,
            epochs=epochs if last else epochs_between,
            batch_size=batch_size,
            rates=rates,
            frozen=frozen,
            warmup_epochs=warmup_epochs if last else min(warmup_epochs, epochs_between / 2),
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

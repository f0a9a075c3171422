"""Compressing a trained model: stage 1 on each weight, stage 2 on the task, layer by layer (Qing et al.)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adntn_ref.compression.fit import FitResult, fit
from adntn_ref.compression.train import Rates, TrainResult, check_inputs, train
from adntn_ref.errors import OutputError, SpecError
from adntn_ref.networks.base import Network
from adntn_ref.nn.data import Split
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
    model: Sequential, networks: Mapping[str, Network], params: Params, *, seed: int = 0, **options: Any
) -> dict[str, FitResult]:
    """Run stage 1 on each named weight of a trained model; ``options`` go to :func:`~adntn_ref.compression.fit.fit`."""
    Generated(model, tuple(networks.items()))  # checks names and shapes before work starts
    return {
        name: fit(network, params[name], rng=seed + i, **options) for i, (name, network) in enumerate(networks.items())
    }


def compress(
    model: Sequential,
    networks: Mapping[str, Network],
    data: Split,
    params: Params,
    *,
    stage1_steps: int = 300,
    stage1_rate: float = 5e-3,
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
) -> Compressed:
    """Replace weights of a trained model by generated ones, in two stages.

    Stage 1 fits each network to the trained weight by Euclidean distance; stage 2 trains the cores, and all of the
    model that is not frozen, on the task's loss. Layer by layer, as in the paper: compress one layer, both stages,
    then the next, the earlier ones kept as networks.

    Parameters
    ----------
    model, params : the trained dense model
    networks : parameter name -> network of its shape, in the order of compression
    data : the split; its test part is not touched
    stage1_steps, stage1_rate : of each fit
    epochs, epochs_between : of stage 2 after the last layer, and after each earlier one
    rates, warmup_epochs, batch_size : of stage 2
    order : ``"layer_by_layer"`` or ``"together"``, all fits first and one stage 2
    frozen : glob patterns of parameters that stage 2 leaves alone
    checkpoints : folder for checkpoints, from which the same call resumes to the same bits
    progress : prefix of the progress bars' titles, no bars if empty

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
    check_inputs(model, params, data)
    frozen = select(params, frozen)  # checked before work starts; a list, for every training reads it
    folder = _folder(checkpoints)
    names = list(networks)
    groups = [[name] for name in names] if order == "layer_by_layer" else [names]
    current, fits, trainings = dict(params), {}, []
    done: dict[str, Network] = {}
    for position, group in enumerate(groups):
        for name in group:
            fits[name] = fit(
                networks[name],
                current[name],
                steps=stage1_steps,
                rate=stage1_rate,
                rng=seed + names.index(name),
                checkpoint=folder / f"stage1-{name}.npz" if folder else None,
            )
            current[name] = fits[name].params
            done[name] = networks[name]
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
        )
        current = result.params
        trainings.append(result)
    return Compressed(Generated(model, tuple(networks.items())), current, fits, trainings)


def _folder(path: str | Path | None) -> Path | None:
    if path is None:
        return None
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} for checkpoints cannot be made: {error.strerror}") from error
    return folder

"""The models and data sets that experiments know by name: one place where further ones plug in."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path

from adntn_ref.errors import ConfigError, SpecError
from adntn_ref.nn import data as sources
from adntn_ref.nn.data import Part, Split
from adntn_ref.nn.models import Sequential, fc2, lenet5

Shape = tuple[int, ...]


@dataclass(frozen=True)
class DataSet:
    """A data set: shape of its images, classes, and how it is read: ``load(folder, seed, dtype)``."""

    in_shape: Shape
    classes: int
    load: Callable[[str | None, int, str], Split]
    needs_folder: bool = False


def _idx(folder: str | None, seed: int, dtype: str) -> Split:
    return sources.idx_folder(str(folder), seed=seed, dtype=dtype)


MODELS: dict[str, Callable[[Shape, int], Sequential]] = {
    "fc2": lambda in_shape, classes: fc2(prod(in_shape), classes=classes),
    "lenet5": lambda in_shape, classes: lenet5(classes),
}
"""Model -> how it is made for images of a shape and a number of classes."""

DATA: dict[str, DataSet] = {
    "digits": DataSet((1, 8, 8), 10, lambda folder, seed, dtype: sources.digits(seed, dtype)),
    "mnist5k": DataSet((1, 28, 28), 10, lambda folder, seed, dtype: sources.mnist5k(seed, dtype)),
    "mnist": DataSet((1, 28, 28), 10, _idx, needs_folder=True),
    "fashion-mnist": DataSet((1, 28, 28), 10, _idx, needs_folder=True),
}
"""Data set -> what it is. Those that need a folder are read from idx files there."""


def make_model(name: str, data: str) -> Sequential:
    """Return a model for the images of a data set.

    Raises
    ------
    ConfigError
        If the model cannot take such images.
    """
    kind = DATA[data]
    try:
        model = MODELS[name](kind.in_shape, kind.classes)
    except SpecError as error:
        raise ConfigError(f"the model {name} cannot be made for {data}: {error}") from error
    if model.in_shape != kind.in_shape:
        raise ConfigError(f"the model {name} takes images of shape {model.in_shape}, {data} has {kind.in_shape}")
    return model


def check_folder(name: str, folder: str | None) -> None:
    """Refuse a folder that a data set needs and has not, or is given and does not read.

    Raises
    ------
    ConfigError
    """
    if DATA[name].needs_folder and folder is None:
        raise ConfigError(f"the data set {name} is read from files: say where with data.folder, or --data FOLDER")
    if not DATA[name].needs_folder and folder is not None:
        raise ConfigError(f"the data set {name} comes with a package and takes no folder")
    if folder is not None and not Path(folder).is_dir():
        raise ConfigError(f"there is no folder {folder} with the data set {name}")


def load_data(name: str, folder: str | None, seed: int, dtype: str) -> Split:
    """Return a data set, split by the seed; its test part is sealed.

    Raises
    ------
    ConfigError, DataError
        For a folder amiss, and files that are not what they should be.
    """
    check_folder(name, folder)
    return DATA[name].load(folder, seed, dtype)


def first_images(split: Split, train: int | None, validation: int | None, test: int | None) -> Split:
    """Return a split with the first so many images of each part (None: all); the test part stays sealed."""
    wanted = zip((split.train, split.validation, split._test), (train, validation, test), strict=True)
    parts = [part if n is None else Part(part.images[:n], part.labels[:n]) for part, n in wanted]
    made = Split(*parts, name=split.name, classes=split.classes, seed=split.seed, mean=split.mean, std=split.std)
    made._opened = split._opened
    return made

"""The models and data sets that experiments know by name: one place where further ones plug in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adntn_ref.errors import ConfigError, SpecError
from adntn_ref.nn import data as sources
from adntn_ref.nn.data import Part, Split
from adntn_ref.nn.models import Sequential
from adntn_ref.nn.zoo import MODELS, model

Shape = tuple[int, ...]
__all__ = ["DATA", "MODELS", "DataSet", "check_folder", "first_images", "load_data", "make_model", "needs_folder"]


@dataclass(frozen=True)
class DataSet:
    """A data set: the shape of its images, and how many classes they have."""

    in_shape: Shape
    classes: int = 10


DATA = {
    "digits": DataSet((1, 8, 8)),
    "mnist5k": DataSet((1, 28, 28)),
    "mnist": DataSet((1, 28, 28)),
    "fashion-mnist": DataSet((1, 28, 28)),
    "cifar10": DataSet((3, 32, 32)),
    "cifar100": DataSet((3, 32, 32), 100),
}
"""Data set -> what it is; :func:`adntn_ref.nn.data.load` reads it."""


def make_model(name: str, data: str, options: Mapping[str, Any] | None = None, side: int | None = None) -> Sequential:
    """Return a model for the images of a data set; ``options`` are those of the model's function.

    ``side`` is the size that the images are interpolated to, if they are.

    Raises
    ------
    ConfigError
        If the model cannot take such images, or has no such options.
    """
    channels, height, width = DATA[data].in_shape
    if side is not None:
        height = width = side
    sizes: dict[str, Any] = {"size": height, "channels": channels}
    if name == "fc2":
        sizes = {"inputs": channels * height * width}
    try:
        made = model(name, **{"classes": DATA[data].classes, **sizes, **(options or {})})
    except SpecError as error:
        raise ConfigError(f"the model {name} cannot be made for {data}: {error}") from error
    if made.in_shape != (channels, height, width):
        raise ConfigError(
            f"the model {name} takes images of shape {made.in_shape}, {data} has {(channels, height, width)}"
        )
    return made


def needs_folder(name: str) -> bool:
    """Return whether a data set is read from files, rather than coming with a package."""
    return name not in sources.PACKAGED


def check_folder(name: str, folder: str | None) -> None:
    """Refuse a data set whose files are not there, or a folder given for one that has none.

    Raises
    ------
    ConfigError
    """
    if not needs_folder(name):
        if folder is not None:
            raise ConfigError(f"the data set {name} comes with a package and takes no folder")
        return
    where = sources.data_folder() / name if folder is None else Path(folder)
    if not sources.is_folder(where):
        fetched = f" (adntn-ref data fetch {name} gets it)" if name in sources.FETCHED else ""
        raise ConfigError(
            f"there is no folder {where} with the data set {name}; say where it is with data.folder, or --data FOLDER"
            + fetched
        )


def load_data(name: str, folder: str | None, seed: int, dtype: str) -> Split:
    """Return a data set, split by the seed; its test part is sealed.

    Raises
    ------
    ConfigError, DataError
        For a folder amiss, and files that are not what they should be.
    """
    check_folder(name, folder)
    return sources.load(name, folder, seed=seed, dtype=dtype)


def first_images(split: Split, train: int | None, validation: int | None, test: int | None) -> Split:
    """Return a split with the first so many images of each part (None: all); the test part stays sealed."""
    counts = iter((train, validation, test))

    def cut(part: Part) -> Part:
        count = next(counts)  # the parts come in this order
        return part if count is None else Part(part.images[:count], part.labels[:count])

    return split.changed(cut)

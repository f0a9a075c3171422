"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from the binary files of their author.

A record of CIFAR-10 is one byte of label and 3,072 of pixels: 1,024 red, 1,024 green, 1,024 blue, each 32 rows of 32.
One of CIFAR-100 has two labels in front, the coarse (0..19) and the fine (0..99). The files have neither a magic number
nor a count; what shows a wrong file is its size and its labels.
"""

import os
from pathlib import Path
from typing import TypeAlias

import numpy as np

from adntn_ref.errors import DataError
from adntn_ref.nn.parts import Bytes, Ints, Split, check_options, held_back, standardised

Pathlike: TypeAlias = str | os.PathLike[str]

SHAPE = (3, 32, 32)
PIXELS = 3072
CIFAR10_TRAIN = tuple(f"data_batch_{k}.bin" for k in range(1, 6))


def cifar10(
    folder: Pathlike,
    seed: int = 0,
    validation: int | None = None,
    dtype: str = "float32",
    complete: bool = True,
) -> Split:
    """Read CIFAR-10 from ``data_batch_1.bin`` ... ``data_batch_5.bin`` and ``test_batch.bin``.

    Parameters
    ----------
    folder : holds the six files, or the folder ``cifar-10-batches-bin`` of the published archive
    seed : chooses between train and validation, stratified by class; the test part is ``test_batch.bin``, in order
    validation : how many training images to set aside for validation, 5,000 unless given
    dtype : of the images (N, 3, 32, 32), each channel standardised: "float32" or "float64"; else DTypeError
    complete : whether each file must have its 10,000 images; False takes excerpts

    Raises
    ------
    DataError
        If the folder or a file is missing, a file has another size than its records, or a label is not 0..9.
    """
    check_options(seed, dtype)
    where = _folder(folder, "cifar-10-batches-bin", (*CIFAR10_TRAIN, "test_batch.bin"))
    count = 10_000 if complete else None
    batches = [read_cifar(where / name, classes=(10,), count=count) for name in CIFAR10_TRAIN]
    train, labels = (np.concatenate([batch[k] for batch in batches]) for k in (0, 1))
    test = read_cifar(where / "test_batch.bin", classes=(10,), count=count)
    return _split((train, labels[:, 0]), (test[0], test[1][:, 0]), "cifar10", 10, seed, validation, dtype)


def cifar100(
    folder: Pathlike,
    seed: int = 0,
    validation: int | None = None,
    dtype: str = "float32",
    complete: bool = True,
    coarse: bool = False,
) -> Split:
    """Read CIFAR-100 from ``train.bin`` and ``test.bin``.

    Parameters
    ----------
    folder : holds the two files, or the folder ``cifar-100-binary`` of the published archive
    complete : whether the files must have their 50,000 and 10,000 images; False takes excerpts
    coarse : whether labels are the 20 coarse classes instead of the 100 fine ones
    seed, validation, dtype : as in :func:`cifar10`

    Raises
    ------
    DataError
        As :func:`cifar10`; both labels of every image are checked.
    """
    check_options(seed, dtype)
    where = _folder(folder, "cifar-100-binary", ("train.bin", "test.bin"))
    counts = (50_000, 10_000) if complete else (None, None)
    train, test = (
        read_cifar(where / name, classes=(20, 100), count=count)
        for name, count in zip(("train.bin", "test.bin"), counts, strict=True)
    )
    which, classes = (0, 20) if coarse else (1, 100)
    pairs = [(images, labels[:, which]) for images, labels in (train, test)]
    return _split(pairs[0], pairs[1], "cifar100", classes, seed, validation, dtype)


def read_cifar(path: Pathlike, classes: tuple[int, ...] = (10,), count: int | None = None) -> tuple[Bytes, Ints]:
    """Read one binary file.

    Parameters
    ----------
    path : the file
    classes : how many classes each label byte in front of the pixels has: ``(10,)`` or ``(20, 100)``
    count : how many images it must hold; None for any number from 1

    Returns
    -------
    images : uint8, (N, 3, 32, 32), red, green and blue
    labels : int64, (N, len(classes))

    Raises
    ------
    DataError
        If there is no such file, its size is not that of its records, or a label is out of range.
    """
    where = Path(path)
    record = len(classes) + PIXELS
    try:
        if not where.is_file():
            raise DataError(f"{where}: got no such file, expected records of {record} bytes")
        size = where.stat().st_size  # looked at before anything is read: a wrong file may be huge
        if size % record or size == 0 or (count is not None and size != count * record):
            wanted = "one or more" if count is None else f"{count:,}"
            raise DataError(f"{where}: got {size:,} bytes, expected {wanted} records of {record} bytes")
        data = np.fromfile(where, dtype=np.uint8)
    except (OSError, MemoryError) as error:
        raise DataError(f"{where}: got a file that cannot be read ({error})") from error
    if data.size != size:
        raise DataError(f"{where}: got {data.size:,} bytes, expected {size:,} as the file's size was")
    records = data.reshape(-1, record)
    for k, allowed in enumerate(classes):
        wrong = np.flatnonzero(records[:, k] >= allowed)
        if wrong.size:
            got = f"label {records[wrong[0], k]} in record {wrong[0]}"
            raise DataError(f"{where}: got {got}, allowed are 0..{allowed - 1}")
    labels = records[:, : len(classes)].astype(np.int64)
    return np.ascontiguousarray(records[:, len(classes) :]).reshape(-1, *SHAPE), labels


def _folder(folder: Pathlike, inner: str, names: tuple[str, ...]) -> Path:
    """Return the folder that holds the files: the one given or the archive's own inside it."""
    where = Path(folder)
    if not where.is_dir():
        raise DataError(f"{where}: got no such folder, expected one that holds {', '.join(names)}")
    found = where / inner if (where / inner).is_dir() else where
    missing = [name for name in names if not (found / name).is_file()]
    if missing:
        raise DataError(f"{found}: got no {', '.join(missing)}, expected the files of the binary version, unpacked")
    return found


def _split(
    train: tuple[Bytes, Ints],
    test: tuple[Bytes, Ints],
    name: str,
    classes: int,
    seed: int,
    validation: int | None,
    dtype: str,
) -> Split:
    images, labels = train
    rest, kept = held_back(labels, validation, seed, name)
    parts = ((images[rest], labels[rest]), (images[kept], labels[kept]), test)
    return standardised(parts, name, 255, seed, dtype, classes)

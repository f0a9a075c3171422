"""Full MNIST, Fashion-MNIST and their like, in the idx files that their authors publish."""

import gzip
import math
import os
import sys
import zlib
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from adntn_ref.errors import DataError
from adntn_ref.nn.parts import Bytes, Ints, Split, check_labels, check_options, held_back, standardised

Pathlike: TypeAlias = str | os.PathLike[str]

CLASSES = 10
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
MAX_RATIO = 1032  # deflate cannot expand further: at best 258 bytes come from two bits
_CHUNK = 1 << 20


def idx_folder(
    folder: Pathlike, seed: int = 0, validation: int | None = None, dtype: str = "float32", name: str | None = None
) -> Split:
    """Read full MNIST, Fashion-MNIST or their like from a folder of four idx files.

    Parameters
    ----------
    folder : path
        Holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
        ``t10k-labels-idx1-ubyte``, plain or ``.gz``, or with a dot as in ``train-images.idx3-ubyte``.
    seed : int
        Chooses between train and validation, stratified by class. The test part is the ``t10k`` files, in order.
    validation : int, optional
        How many training images to set aside for validation; a tenth of them, rounded down, unless given.
    dtype : str
        Of the images (N, 1, H, W), standardised: "float32" or "float64"; else :class:`DTypeError`.
    name : str, optional
        The data set's name; the folder's unless given.

    Raises
    ------
    DataError
        If the folder or a file is missing, a file is no idx file or not of bytes, the numbers of images and labels
        differ, a label is not 0..9, train and test images differ in size, or ``validation`` leaves no train image.
    """
    check_options(seed, dtype)
    where = Path(folder)
    paths = _find_idx(where)
    train, labels = _idx_pair(*paths[:2])
    test, test_labels = _idx_pair(*paths[2:])
    if train.shape[1:] != test.shape[1:]:
        raise DataError(f"{paths[2]}: got images of {test.shape[1:]} pixels, expected {train.shape[1:]} as in train")
    rest, kept = held_back(labels, validation, seed, str(where))
    parts = ((train[rest], labels[rest]), (train[kept], labels[kept]), (test, test_labels))
    return standardised(parts, name or where.resolve().name, 255, seed, dtype)


def read_idx(path: Pathlike, *, max_bytes: int = 1 << 30) -> npt.NDArray[Any]:
    """Read one idx file, plain or gzipped (told by its first bytes, not by its name), as an array.

    The file holds two zero bytes, a type code, the number of dimensions, each dimension as a big-endian 32-bit number
    and the big-endian elements, last index fastest. The array has the declared shape and is uint8, int8, int16, int32,
    float32 or float64 in the machine's byte order.

    Parameters
    ----------
    path : path
        The file.
    max_bytes : int
        The largest array to accept. What a header declares is checked before any of it is allocated, and memory then
        grows only with the data that are really there.

    Raises
    ------
    DataError
        If the file cannot be read, has a wrong magic number, type code or number of dimensions, declares more than
        it can hold or than ``max_bytes``, is truncated, or has bytes after its data.
    """
    where = Path(path)
    try:
        if not where.is_file():
            raise DataError(f"{where}: got no such file, expected an idx file")
        with where.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if zipped else raw
            return _read_idx(stream, where, os.fstat(raw.fileno()).st_size * (MAX_RATIO if zipped else 1), max_bytes)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{where}: got a file that cannot be read ({error}), expected an idx file") from error


def _read_idx(stream: BinaryIO, where: Path, most: int, max_bytes: int) -> npt.NDArray[Any]:
    """Read an idx stream that cannot be longer than ``most`` bytes."""
    dtype, shape = _idx_header(stream, where)
    declared = math.prod(shape) * dtype.itemsize
    room = most - 4 - 4 * len(shape)
    # A header is cheap to forge: compare it with what the file can hold before believing it.
    if declared > room:
        raise DataError(f"{where}: got room for {room} bytes of data, expected {declared} for the shape {shape}")
    if declared > max_bytes:
        raise DataError(f"{where}: got {declared} bytes for the shape {shape}, allowed are max_bytes={max_bytes}")
    data = bytearray()  # grows with the data, not with the claim; one byte more than declared shows trailing ones
    while len(data) <= declared and (chunk := stream.read(min(_CHUNK, declared + 1 - len(data)))):
        data += chunk
    if len(data) != declared:
        got = f"{len(data)} bytes of data" if len(data) < declared else "bytes after the data"
        raise DataError(f"{where}: got {got}, expected {declared} bytes for the shape {shape}")
    array = np.frombuffer(data, dtype=dtype)
    if sys.byteorder == "little":
        array.byteswap(inplace=True)
    return array.reshape(shape)


def _idx_header(stream: BinaryIO, where: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the element type, in the machine's byte order, and the shape, both checked."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DataError(f"{where}: got the magic number 0x{magic.hex()}, expected 4 bytes that begin with 0x0000")
    code, ndim = magic[2], magic[3]
    if code not in _IDX_TYPES:
        raise DataError(f"{where}: got type code 0x{code:02x}, expected {', '.join(f'0x{c:02x}' for c in _IDX_TYPES)}")
    if not 1 <= ndim <= 64:  # the most that NumPy has
        raise DataError(f"{where}: got {ndim} dimensions, expected 1 to 64")
    sizes = stream.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise DataError(f"{where}: got {len(sizes)} bytes for {ndim} dimensions, expected {4 * ndim}")
    dtype = np.dtype(_IDX_TYPES[code])
    shape = tuple(int(d) for d in np.frombuffer(sizes, dtype=">u4"))
    # Even without data: NumPy leaves out the zeros and multiplies an empty array's other dimensions.
    if math.prod(max(d, 1) for d in shape) * dtype.itemsize > sys.maxsize:
        raise DataError(f"{where}: got the shape {shape}, expected dimensions of at most {sys.maxsize} bytes")
    return dtype, shape


def _find_idx(folder: Path) -> list[Path]:
    """Return the paths of train images, train labels, test images and test labels."""
    if not folder.is_dir():
        raise DataError(f"{folder}: got no such folder, expected one that holds the four idx files")
    found, missing = [], []
    for stem, ndim in (("train-images", 3), ("train-labels", 1), ("t10k-images", 3), ("t10k-labels", 1)):
        names = [f"{stem}{joint}idx{ndim}-ubyte{end}" for joint in "-." for end in ("", ".gz")]
        here = [folder / name for name in names if (folder / name).is_file()]
        found += here[:1]
        missing += [] if here else names[:1]
    if missing:
        raise DataError(f"{folder}: got no {', '.join(missing)}, expected all four idx files, each plain or with .gz")
    return found


def _idx_pair(image_path: Path, label_path: Path) -> tuple[Bytes, Ints]:
    """Read images (N, H, W) and labels (N,) that belong together."""
    images, labels = read_idx(image_path), read_idx(label_path)
    for path, array, ndim in ((image_path, images, 3), (label_path, labels, 1)):
        if array.ndim != ndim or array.dtype != np.uint8 or array.size == 0:
            got = f"shape {array.shape} of {array.dtype.name}"
            raise DataError(f"{path}: got {got}, expected {ndim} dimensions, none of them 0, of uint8")
    if len(images) != len(labels):
        raise DataError(f"{label_path}: got {len(labels)} labels, expected {len(images)}, one for each image")
    check_labels(labels, str(label_path), CLASSES)
    return images, labels.astype(np.int64)

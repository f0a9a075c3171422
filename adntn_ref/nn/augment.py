"""Changing training images at random: shifted crops and mirror images, from (seed, epoch) alone; and other sizes.

What happens to image i in epoch e is drawn for the whole epoch at once, so that it does not depend on the batch that
the image is in, and a training that is resumed sees the same images.
"""

from dataclasses import dataclass

import numpy as np

from adntn_ref.ad.arrays import Array, namespace
from adntn_ref.ad.moving import to_backend
from adntn_ref.errors import DataError
from adntn_ref.nn.parts import Part, Split, whole

_STREAM = 2  # the order of the images and dropout draw from other streams of the same seed


@dataclass(frozen=True, eq=False)
class Choices:
    """What happens to each image of an epoch: ``shifts`` (N, 2), rows and columns, and ``mirrored`` (N,)."""

    shifts: Array
    mirrored: Array

    def on(self, backend: str) -> "Choices":
        """Return them on a backend; arrays that are there are not copied."""
        return Choices(*to_backend((self.shifts, self.mirrored), backend))


@dataclass(frozen=True)
class Augmentation:
    """Random crops of the padded image, and mirror images (He et al., arXiv 1512.03385, for CIFAR).

    Parameters
    ----------
    padding : pixels of black put around the image before a crop of the old size is taken; 0 for no crops
    mirror : whether each image is mirrored, left to right, with probability 1/2; not for digits

    Raises
    ------
    DataError
        If padding is no whole number from 0.
    """

    padding: int = 4
    mirror: bool = True

    def __post_init__(self) -> None:
        whole(self.padding, "padding of an augmentation")

    def choices(self, seed: int, epoch: int, count: int) -> Choices:
        """Draw what happens to ``count`` images in an epoch."""
        rng = np.random.default_rng([seed, epoch, _STREAM])
        shifts = rng.integers(-self.padding, self.padding + 1, size=(count, 2))
        mirrored = rng.random(count) < 0.5
        return Choices(shifts, mirrored if self.mirror else np.zeros(count, dtype=bool))

    def apply(self, images: Array, choices: Choices, rows: Array, black: Array) -> Array:
        """Return changed copies of images.

        Parameters
        ----------
        images : (batch, channels, height, width)
        choices : of the whole epoch, where the images are
        rows : (batch,), which of its images these are
        black : a number, or (channels, 1, 1) where the images are: what a black pixel is after standardising
        """
        xp = namespace(images)
        n, channels, height, width = images.shape
        p, shifts = self.padding, choices.shifts[rows]
        padded = xp.empty((n, channels, height + 2 * p, width + 2 * p), dtype=images.dtype)
        padded[...] = black
        padded[:, :, p : p + height, p : p + width] = images
        # One index array an axis, broadcast to (n, height, width); a mirrored image counts its columns backwards.
        columns = xp.arange(width) + p + shifts[:, 1:]
        columns = xp.where(choices.mirrored[rows][:, None], columns[:, ::-1], columns)
        down = xp.arange(height) + p + shifts[:, :1]
        picked = padded[xp.arange(n)[:, None, None], :, down[:, :, None], columns[:, None, :]]
        return xp.ascontiguousarray(picked.transpose(0, 3, 1, 2))


def padded_to(split: Split, size: int) -> Split:
    """Return the data set with black borders around its images, so that they have ``size`` x ``size`` pixels.

    28x28 becomes 32x32 by two black pixels on each side, as LeCun fed MNIST to LeNet-5; nothing is interpolated. An odd
    border has its larger half below and on the right. The test part stays sealed, and mean and std those of the images
    without borders.

    Raises
    ------
    DataError
        If the images are larger than that.
    """
    height, width = split.train.images.shape[2:]
    if size < max(height, width):
        raise DataError(f"{split.name}: images of {height}x{width} pixels cannot be padded to {size}x{size}")
    top, left = (size - height) // 2, (size - width) // 2

    def larger(part: Part) -> Part:
        images = np.empty((*part.images.shape[:2], size, size), dtype=part.images.dtype)
        images[...] = split.black
        images[:, :, top : top + height, left : left + width] = part.images
        return Part(images, part.labels)

    return split.changed(larger)


def resized_to(split: Split, size: int) -> Split:
    """Return the data set with its images interpolated bilinearly to ``size`` x ``size`` pixels.

    Pixel centres lie at half numbers, and what is beyond the border is its last pixel, as in PyTorch's ``interpolate(
    mode="bilinear", align_corners=False)``. Made for enlarging: nothing is averaged where an image gets smaller. The
    test part stays sealed; mean and std are those of the images as they were.

    Raises
    ------
    DataError
        If size is no whole number from 1.
    """
    whole(size, "size of resized images", least=1)

    def resized(part: Part) -> Part:
        dtype = part.images.dtype
        down, across = (_interpolation(old, size).astype(dtype) for old in part.images.shape[2:])
        return Part(np.ascontiguousarray(down @ part.images @ across.T), part.labels)

    return split.changed(resized)


def _interpolation(old: int, new: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the matrix (new, old) that interpolates linearly between the centres of pixels."""
    place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(old)))

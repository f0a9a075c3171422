"""Data files and small parts that the tests of data sets share."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adntn_ref.nn.data import Part, Split

CODES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
Loader = Callable[..., Split]


def header(code: int, *shape: int) -> bytes:
    return bytes([0, 0, code, len(shape)]) + b"".join(d.to_bytes(4, "big") for d in shape)


def idx(array: npt.NDArray[Any]) -> bytes:
    code = next(c for c, t in CODES.items() if np.dtype(t) == array.dtype)
    return header(code, *array.shape) + array.astype(array.dtype.newbyteorder(">")).tobytes()


def raw_images(part: Part, split: Split, top: int) -> list[bytes]:
    levels = part.images.astype(np.float64) * split.std + split.mean
    whole = np.rint(levels * top)
    np.testing.assert_allclose(levels * top, whole, atol=1e-4)
    return [image.tobytes() for image in whole.astype(np.uint8)]


def make_folder(folder: Path, ending: str = "", dot: bool = False, **replaced: npt.NDArray[Any]) -> Path:
    rng = np.random.default_rng(5)
    arrays = {
        "train_images": rng.integers(0, 256, (60, 4, 3), dtype=np.uint8),
        "train_labels": np.repeat(np.arange(10, dtype=np.uint8), 6),
        "t10k_images": rng.integers(0, 256, (20, 4, 3), dtype=np.uint8),
        "t10k_labels": np.arange(20, dtype=np.uint8) % 10,
    } | replaced
    folder.mkdir(exist_ok=True)
    for name, array in zip(FILES, arrays.values(), strict=True):
        content = idx(array)
        path = folder / ((name.replace("-idx", ".idx") if dot else name) + ending)
        path.write_bytes(gzip.compress(content) if ending else content)
    return folder


def small_part(count: int = 7, dtype: str = "float64") -> Part:
    return Part(np.arange(count * 2, dtype=dtype).reshape(count, 1, 2, 1), np.arange(count) % 3)

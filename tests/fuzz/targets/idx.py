"""idx files, plain and packed."""

import gzip
import io
from pathlib import Path

import numpy as np
from data_files import idx

from adntn_ref.nn.idx import MAX_RATIO, _read_idx, read_idx
from fuzz.harness import Target, file_of

FILES = [idx(np.arange(6, dtype=kind).reshape(2, 3)) for kind in ("u1", "i1", "i2", "i4", "f4", "f8")]


def plain(data: bytes) -> None:
    read_idx(file_of(data, "idx"))


def packed(data: bytes) -> None:
    """What stands inside of a gzip stream, unpacked already: a fuzzer cannot make checksums."""
    _read_idx(io.BytesIO(data), Path("idx.gz"), len(data), 2**20)


COVERED = ("adntn_ref.nn.idx",)
TARGETS = [
    Target("idx", plain, lambda: [*FILES, *map(gzip.compress, FILES)], unpacked=MAX_RATIO, covered=COVERED),
    Target("idx-stream", packed, lambda: FILES, covered=COVERED),
]

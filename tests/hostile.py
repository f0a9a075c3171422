"""What the tests of hostile input share: a call that must be refused at once, and files that lie."""

import io
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adntn_ref.errors import AdntnError
from adntn_ref.networks.brickwall import MAX_BRICKS

ONE = {"network": "lowrank", "shape": [4, 4], "rank": 1}
WALL = {"network": "brickwall", "shape": [2**20], "layers": MAX_BRICKS // 40}


def quickly(act: Callable[[], Any], error: type[Exception] = AdntnError, mebibytes: float = 8) -> None:
    """Call what must be refused within a second of CPU time, holding next to nothing."""
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(error) as caught:
            act()
        assert time.process_time() - started < 1
        assert tracemalloc.get_traced_memory()[1] < mebibytes * 2**20
        assert len(str(caught.value)) < 4000
    finally:
        tracemalloc.stop()


def deep(depth: int) -> Any:
    found: Any = []
    for _ in range(depth):
        found = [found]
    return found


def npy_bytes(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def claiming(shape: str, descr: str = "<f8", version: int = 1, data: bytes = b"") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


def in_zip(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def h5(path: Path, make: Callable[[Any, Any], None]) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        make(file, h5py)
    return path

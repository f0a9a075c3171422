"""The safetensors format, read and written here: eight bytes of length, a JSON header, the arrays one after another.

The package ``safetensors`` does three things that must not happen here. It maps a file into memory, so that a file that
is cut short by someone else while it is read ends the process (SIGBUS); it writes metadata of several entries in
another order each time, so that the same model is never the same bytes; and its writer works in a file of its own
beside ours, which stays there if the process is killed. The bytes are the package's wherever it has a choice of one.
"""

import json
import struct
from collections.abc import Mapping
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from adntn_ref.ad.arrays import Array
from adntn_ref.errors import FileFormatError

METADATA_ENTRY = "__metadata__"
DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "C64": "complex64",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
}
"""Names of the format and of NumPy; arrays are written from the last of these to the first, then by name."""
READ_DTYPES = frozenset(DTYPES.values()) - {"bfloat16"}
_MAX_HEADER = 100_000_000
_KINDS = {name: kind for kind, name in DTYPES.items()}
_RANKS = {name: rank for rank, name in enumerate(DTYPES.values())}


class SafeHeader:
    """What the header of a file says: shapes, dtypes and places of its tensors, and its metadata.

    Parameters
    ----------
    stream : the file, at its start
    size : its bytes
    path : for messages

    Raises
    ------
    FileFormatError
        For a header that does not fit the file or is no table, and a tensor beyond the file's end.
    """

    def __init__(self, stream: BinaryIO, size: int, path: Path) -> None:
        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}
        self.places: dict[str, tuple[int, int]] = {}
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if 8 + length > size or length > _MAX_HEADER:
            raise FileFormatError(f"{path} is truncated or no safetensors file: its header does not fit {size} bytes")
        header = json.loads(stream.read(length))
        if not isinstance(header, dict):
            raise FileFormatError(f"{path} is no safetensors file: its header is not a table")
        self.metadata = {str(k): str(v) for k, v in header.pop(METADATA_ENTRY, {}).items()}
        for name, entry in header.items():
            self._add(name, entry, 8 + length, size)
        self._require_whole(8 + length, size)

    def _add(self, name: str, entry: Any, base: int, size: int) -> None:
        begin, end = entry["data_offsets"]
        shape = tuple(int(n) for n in entry["shape"])
        whole = type(begin) is type(end) is int and min(shape, default=0) >= 0
        if not whole or not 0 <= begin <= end <= size - base:
            raise FileFormatError(f"{self.path} is truncated: tensor {name!r} lies beyond its end")
        self.shapes[name] = shape
        self.dtypes[name] = DTYPES.get(entry["dtype"], str(entry["dtype"]).lower())
        self.places[name] = (base + begin, base + end)

    def _require_whole(self, base: int, size: int) -> None:
        """Refuse bytes that belong to no tensor, and to two."""
        end = base
        for begin, after in sorted(self.places.values()):
            if begin != end:
                raise FileFormatError(f"{self.path} is no safetensors file: its tensors overlap or leave a gap")
            end = after
        if end != size:
            raise FileFormatError(f"{self.path} is no safetensors file: it has bytes after its last tensor")

    def read(self, stream: BinaryIO, name: str) -> Array:
        """Read one tensor, of a dtype in :data:`READ_DTYPES`, from the open file.

        Raises
        ------
        FileFormatError
            If its place is not as large as its shape, or the file ends within it.
        """
        begin, end = self.places[name]
        shape, dtype = self.shapes[name], np.dtype(self.dtypes[name]).newbyteorder("<")
        if prod(shape) * dtype.itemsize != end - begin:
            raise FileFormatError(
                f"tensor {name} of {self.path} has {end - begin} bytes, {shape} of {self.dtypes[name]} another number"
            )
        array = np.empty(prod(shape), dtype)
        stream.seek(begin)
        if stream.readinto(array.view(np.uint8)) != array.nbytes:  # type: ignore[attr-defined]
            raise FileFormatError(f"{self.path} is truncated: it ends within tensor {name!r}")
        return array.reshape(shape).astype(self.dtypes[name], copy=False)


def write_safetensors(stream: BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write C-contiguous arrays of dtypes in :data:`READ_DTYPES`; the same arrays and metadata give the same bytes."""
    names = sorted(arrays, key=lambda name: (-_RANKS[arrays[name].dtype.name], name.encode()))
    header: dict[str, Any] = {METADATA_ENTRY: dict(metadata)}
    end = 0
    for name in names:
        array, begin = arrays[name], end
        end += array.nbytes
        header[name] = {
            "dtype": _KINDS[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    stream.write(struct.pack("<Q", len(text)) + text)
    for name in names:
        little = arrays[name].astype(arrays[name].dtype.newbyteorder("<"), copy=False)
        stream.write(little.reshape(-1).view(np.uint8))


def in_bytes(arrays: Mapping[str, Array]) -> bytes:
    """Return arrays as a safetensors file in memory."""
    stream = BytesIO()
    write_safetensors(stream, {name: np.asarray(array, order="C") for name, array in arrays.items()}, {})
    return stream.getvalue()


def from_bytes(content: bytes) -> dict[str, Array]:
    """Return the arrays of a safetensors file in memory.

    Examples
    --------
    >>> from_bytes(in_bytes({"w": np.ones(2)}))
    {'w': array([1., 1.])}
    """
    stream = BytesIO(content)
    header = SafeHeader(stream, len(content), Path("these bytes"))
    return {name: header.read(stream, name) for name in header.shapes}

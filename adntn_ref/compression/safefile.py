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
from adntn_ref.compression.jsontext import parse_json
from adntn_ref.compression.npy import UNREADABLE, reason
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
MAX_HEADER = 25_000_000
"""Bytes of a header: about 250,000 tensors; as Python's objects they take some 30 times as much."""
_ITEM_BYTES = {name: 2 if name == "bfloat16" else np.dtype(name).itemsize for name in DTYPES.values()}
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
        if 8 + length > size or length > MAX_HEADER:
            raise FileFormatError(f"{path} is truncated or no safetensors file: its header does not fit {size} bytes")
        header = parse_json(stream.read(length))
        if not isinstance(header, dict):
            raise FileFormatError(f"{path} is no safetensors file: its header is not a table")
        self.metadata = texts(header.pop(METADATA_ENTRY, {}))
        for name, entry in header.items():
            self._add(name, entry, 8 + length, size)
        self._require_whole(8 + length, size)

    def _add(self, name: str, entry: Any, base: int, size: int) -> None:
        """Take in an entry, compared with the place of its data."""
        begin, end = entry["data_offsets"]
        shape, dtype = tuple(entry["shape"]), DTYPES.get(entry["dtype"], str(entry["dtype"]).lower())
        if any(type(n) is not int or n < 0 for n in (begin, end, *shape)):
            raise FileFormatError(f"{self.path} is no safetensors file: tensor {name!r} has sizes that are none")
        if not begin <= end <= size - base:
            raise FileFormatError(f"{self.path} is truncated: tensor {name!r} lies beyond its end")
        if dtype in _ITEM_BYTES and prod(shape) * _ITEM_BYTES[dtype] != end - begin:
            raise FileFormatError(f"{self.path} is truncated: tensor {name!r} of shape {shape} has {end - begin} bytes")
        self.shapes[name], self.dtypes[name], self.places[name] = shape, dtype, (base + begin, base + end)

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
        """Read one tensor from the open file; a bfloat16 as float32, whose upper half it is.

        Raises
        ------
        FileFormatError
            If the file ends within it.
        """
        shape, name_of = self.shapes[name], self.dtypes[name]
        dtype = np.dtype("uint16" if name_of == "bfloat16" else name_of).newbyteorder("<")
        array = np.empty(prod(shape), dtype)
        stream.seek(self.places[name][0])
        if stream.readinto(array.view(np.uint8)) != array.nbytes:  # type: ignore[attr-defined]
            raise FileFormatError(f"{self.path} is truncated: it ends within tensor {name!r}")
        if name_of == "bfloat16":
            wide = array.astype(np.uint32)
            wide <<= 16
            return wide.view(np.float32).reshape(shape)
        return array.reshape(shape).astype(name_of, copy=False)


def texts(table: Any) -> dict[str, str]:
    """Return metadata, which is text by name; numbers and the like are shown as such."""
    return {str(k): str(v) for k, v in table.items()}


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

    Raises
    ------
    FileFormatError
        If they are none.

    Examples
    --------
    >>> from_bytes(in_bytes({"w": np.ones(2)}))
    {'w': array([1., 1.])}
    """
    stream = BytesIO(content)
    try:
        header = SafeHeader(stream, len(content), Path("these bytes"))
        return {name: header.read(stream, name) for name in header.shapes}
    except FileFormatError:
        raise
    except UNREADABLE as error:
        raise FileFormatError(f"these bytes are no readable safetensors file: {reason(error)}") from error

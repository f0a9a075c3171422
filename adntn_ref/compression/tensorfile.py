"""Files of named tensors: safetensors and npz, read one tensor at a time and written atomically.

No pickle is read or written. What a file declares is checked against its size before anything is allocated.
"""

import json
import struct
import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array
from adntn_ref.compression.atomic import require_new, write_atomically
from adntn_ref.compression.jsontext import parse_json
from adntn_ref.compression.npy import UNREADABLE, Npz, reason
from adntn_ref.errors import DTypeError, FileFormatError, NothingSelected
from adntn_ref.extras import need

SUFFIXES = (".safetensors", ".npz")
METADATA_ENTRY = "__metadata__"
MAX_HEADER = 25_000_000
"""Bytes of a safetensors header: about 250,000 tensors; as Python's objects they take some 30 times as much."""
_SAFE_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
HALF = ("float16", "bfloat16")
_ITEM_BYTES = {name: 2 if kind == "bfloat16" else np.dtype(kind).itemsize for name, kind in _SAFE_DTYPES.items()}
_READ_DTYPES = frozenset(_SAFE_DTYPES.values()) - {"bfloat16"}


class TensorFile:
    """An open file of named tensors; ``shapes`` and ``dtypes`` are known without reading the tensors.

    With ``widen`` float16 and bfloat16 are read as float32, which holds each of their numbers exactly.

    Raises
    ------
    FileFormatError
        If the file is missing, has another suffix, is truncated, or is not what its suffix says.
    """

    def __init__(self, path: str | Path, *, widen: bool = False) -> None:
        self.path = Path(path)
        self.kind = suffix_of(self.path)
        self.widen = widen
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}
        self.metadata: dict[str, str] = {}
        self._spans: dict[str, tuple[int, int]] = {}
        self._stored: dict[str, str] = {}  # dtypes as the file has them
        try:
            if not self.path.is_file():
                raise FileFormatError(f"there is no file {self.path}")
            if self.kind == ".safetensors":
                self._open_safetensors()
            else:
                self._open_npz()
        except FileFormatError:
            raise
        except (*UNREADABLE, MemoryError) as error:
            raise FileFormatError(f"{self.path} is no readable {self.kind[1:]} file: {reason(error)}") from error
        self._stored = dict(self.dtypes)
        if widen:
            self.dtypes = {name: "float32" if dtype in HALF else dtype for name, dtype in self.dtypes.items()}

    @property
    def names(self) -> list[str]:
        """The names of the tensors, in the order of the file."""
        return list(self.shapes)

    def load(self, name: str) -> Array:
        """Read one tensor.

        Raises
        ------
        NothingSelected
            For a name that the file does not have.
        DTypeError
            For a dtype that NumPy does not have (bfloat16, 8-bit floats).
        FileFormatError
            If its bytes cannot be read.
        """
        if name not in self.shapes:
            raise NothingSelected(f"{self.path} has no tensor {name!r}; it has {', '.join(self.names[:20])}")
        if self.kind == ".safetensors" and self.dtypes[name] not in _READ_DTYPES:
            raise DTypeError(
                f"tensor {name} of {self.path} is {self.dtypes[name]}, which NumPy lacks; convert it to float32 first,"
                " or read bfloat16 widened (--widen)"
            )
        try:
            if self._stored.get(name) == "bfloat16":
                return self._read_bfloat16(name)
            read = self._read_npz(name) if self.kind == ".npz" else self._read_safetensors(name)
            return read.astype("float32") if self.widen and self._stored.get(name) in HALF else read
        except FileFormatError as error:
            raise FileFormatError(f"tensor {name} of {self.path} cannot be read: {error}") from error
        except (*UNREADABLE, MemoryError) as error:
            raise FileFormatError(f"tensor {name} of {self.path} cannot be read: {reason(error)}") from error

    def _read_safetensors(self, name: str) -> Array:
        package = need("safetensors", "demo")
        try:
            with package.safe_open(self.path, framework="numpy") as archive:
                return archive.get_tensor(name)
        except package.SafetensorError as error:
            raise FileFormatError(str(error)) from error

    def _read_bfloat16(self, name: str) -> Array:
        """Return the tensor as float32: a bfloat16 is the upper half of one."""
        shape, (start, size) = self.shapes[name], self._spans[name]
        if size != 2 * prod(shape):
            raise FileFormatError(f"tensor {name} of {self.path} has {size} bytes, its shape {shape} needs others")
        upper = np.fromfile(self.path, "<u2", prod(shape), offset=start)
        return (upper.astype(np.uint32) << 16).view(np.float32).reshape(shape)

    def _read_npz(self, name: str) -> Array:
        with zipfile.ZipFile(self.path) as archive:
            return Npz(archive, self.path.stat().st_size).read(name)

    def _open_safetensors(self) -> None:
        """Read the header ourselves: its names and sizes are wanted even where the package is not installed."""
        size = self.path.stat().st_size
        with self.path.open("rb") as stream:
            start = stream.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            if 8 + length > size or length > MAX_HEADER:
                raise FileFormatError(
                    f"{self.path} is truncated or no safetensors file: its header does not fit {size} bytes"
                )
            header = parse_json(stream.read(length))
        if not isinstance(header, dict):
            raise FileFormatError(f"{self.path} is no safetensors file: its header is not a table")
        self.metadata = _texts(header.pop(METADATA_ENTRY, {}))
        for name, entry in header.items():
            self.shapes[name], self.dtypes[name] = self._tensor(name, entry, size - 8 - length)
            begin, end = entry["data_offsets"]
            self._spans[name] = (8 + length + begin, end - begin)
        if sum(end - begin for begin, end in (entry["data_offsets"] for entry in header.values())) > size - 8 - length:
            raise FileFormatError(f"{self.path} is truncated, or its tensors lie over one another")

    def _tensor(self, name: str, entry: dict[str, Any], room: int) -> tuple[tuple[int, ...], str]:
        """Return shape and dtype of an entry of a safetensors header, compared with the place of its data."""
        begin, end = entry["data_offsets"]
        shape, dtype = tuple(entry["shape"]), str(entry["dtype"])
        if any(type(n) is not int or n < 0 for n in (begin, end, *shape)):
            raise FileFormatError(f"{self.path} is no safetensors file: tensor {name!r} has sizes that are none")
        if not begin <= end <= room:
            raise FileFormatError(f"{self.path} is truncated: tensor {name!r} lies beyond its end")
        if dtype in _SAFE_DTYPES and prod(shape) * _ITEM_BYTES[dtype] != end - begin:
            raise FileFormatError(f"{self.path} is truncated: tensor {name!r} of shape {shape} has {end - begin} bytes")
        return shape, _SAFE_DTYPES.get(dtype, dtype.lower())

    def _open_npz(self) -> None:
        with zipfile.ZipFile(self.path) as archive:
            entries = Npz(archive, self.path.stat().st_size)
            for name in entries.members:
                shape, dtype = entries.header(name)
                self.shapes[name], self.dtypes[name] = shape, dtype.name
            if METADATA_ENTRY in self.shapes:
                self.metadata = _texts(parse_json(bytes(entries.read(METADATA_ENTRY))))
                del self.shapes[METADATA_ENTRY], self.dtypes[METADATA_ENTRY]


def _texts(table: Any) -> dict[str, str]:
    """Return metadata, which is text by name; numbers and the like are shown as such."""
    return {str(k): str(v) for k, v in table.items()}


def require_storable(path: str | Path, dtypes: Mapping[str, str]) -> None:
    """Refuse names and dtypes that a file of this suffix cannot hold, before any work starts.

    Raises
    ------
    FileFormatError, DTypeError
        For a suffix that is not allowed, a name that is reserved, and a dtype that the format lacks.
    """
    kind = suffix_of(path)
    if METADATA_ENTRY in dtypes:
        raise FileFormatError(f"no tensor can be called {METADATA_ENTRY}: tensor files keep their metadata there")
    for name, dtype in dtypes.items():
        if kind == ".safetensors" and dtype not in _READ_DTYPES:
            raise DTypeError(f"tensor {name} is {dtype}, which a safetensors file cannot hold; an npz file may")
        if dtype == "object":
            raise DTypeError(f"tensor {name} holds Python objects, which are never written")


def suffix_of(path: str | Path) -> str:
    """Return the suffix of a tensor file, or raise FileFormatError listing those allowed."""
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise FileFormatError(f"{path} must end in {' or '.join(SUFFIXES)}")
    return suffix


def write_tensors(
    path: str | Path, tensors: Mapping[str, Array], metadata: Mapping[str, str], *, force: bool = False
) -> None:
    """Write named tensors and text metadata.

    Raises
    ------
    OutputError
        If the path exists and ``force`` is not set, or cannot be written; what was there before is untouched.
    FileFormatError, DTypeError
        For a suffix that is not allowed, a reserved name, or a dtype that the format lacks.
    """
    kind = suffix_of(path)
    require_new(path, force)
    # safetensors' writer takes memory as it lies: anything but C order would be scrambled
    arrays = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    require_storable(path, {name: array.dtype.name for name, array in arrays.items()})
    if kind == ".safetensors":
        save_file = need("safetensors.numpy", "demo").save_file
        write_atomically(path, lambda temporary: save_file(arrays, temporary, metadata=dict(metadata)))
        return
    arrays[METADATA_ENTRY] = np.frombuffer(json.dumps(dict(metadata)).encode(), dtype=np.uint8)

    def write(temporary: Path) -> None:
        # Not np.savez, to which a tensor called "file" would be its file; and undated, so that bytes are reproducible.
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, array, allow_pickle=False)

    write_atomically(path, write)

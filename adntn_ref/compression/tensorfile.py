"""Files of named tensors: safetensors and npz, read one tensor at a time and written atomically.

No pickle is read or written. What a file declares is checked against its size before anything is allocated.
"""

import ast
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
from adntn_ref.errors import DTypeError, FileFormatError, NothingSelected
from adntn_ref.extras import need

SUFFIXES = (".safetensors", ".npz")
METADATA_ENTRY = "__metadata__"
_MAX_HEADER = 100_000_000
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


class TensorFile:
    """An open file of named tensors; ``shapes`` and ``dtypes`` are known without reading the tensors.

    Raises
    ------
    FileFormatError
        If the file is missing, has another suffix, is truncated, or is not what its suffix says.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.kind = suffix_of(self.path)
        if not self.path.is_file():
            raise FileFormatError(f"there is no file {self.path}")
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}
        self.metadata: dict[str, str] = {}
        try:
            if self.kind == ".safetensors":
                self._open_safetensors()
            else:
                self._open_npz()
        except (OSError, ValueError, KeyError, TypeError, struct.error, zipfile.BadZipFile, SyntaxError) as error:
            if isinstance(error, FileFormatError):
                raise
            raise FileFormatError(f"{self.path} is no readable {self.kind[1:]} file: {error}") from error

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
            For a dtype that NumPy does not have (bfloat16).
        FileFormatError
            If its bytes cannot be read.
        """
        if name not in self.shapes:
            raise NothingSelected(f"{self.path} has no tensor {name!r}; it has {', '.join(self.names[:20])}")
        if self.dtypes[name] == "bfloat16":
            raise DTypeError(
                f"tensor {name} of {self.path} is bfloat16, which NumPy lacks; convert it to float32 first"
            )
        try:
            if self.kind == ".npz":
                with np.load(self.path, allow_pickle=False) as archive:
                    return archive[name]
            with need("safetensors", "demo").safe_open(self.path, framework="numpy") as archive:
                return archive.get_tensor(name)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.error) as error:
            raise FileFormatError(f"tensor {name} of {self.path} cannot be read: {error}") from error

    def _open_safetensors(self) -> None:
        """Read the header ourselves: its names and sizes are wanted even where the package is not installed."""
        size = self.path.stat().st_size
        with self.path.open("rb") as stream:
            start = stream.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            if 8 + length > size or length > _MAX_HEADER:
                raise FileFormatError(
                    f"{self.path} is truncated or no safetensors file: its header does not fit {size} bytes"
                )
            header = json.loads(stream.read(length))
        if not isinstance(header, dict):
            raise FileFormatError(f"{self.path} is no safetensors file: its header is not a table")
        self.metadata = {str(k): str(v) for k, v in header.pop(METADATA_ENTRY, {}).items()}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            shape = tuple(int(n) for n in entry["shape"])
            if not 0 <= begin <= end <= size - 8 - length or min(shape, default=0) < 0:
                raise FileFormatError(f"{self.path} is truncated: tensor {name!r} lies beyond its end")
            self.shapes[name] = shape
            self.dtypes[name] = _SAFE_DTYPES.get(entry["dtype"], str(entry["dtype"]).lower())

    def _open_npz(self) -> None:
        with zipfile.ZipFile(self.path) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                with archive.open(member) as stream:
                    shape, dtype = _npy_header(stream)
                if prod(shape) * dtype.itemsize > member.file_size:
                    raise FileFormatError(f"{self.path} is truncated: array {name!r} is larger than its file entry")
                self.shapes[name], self.dtypes[name] = shape, dtype.name
        if METADATA_ENTRY in self.shapes:
            text = bytes(self.load(METADATA_ENTRY)).decode()
            self.metadata = {str(k): str(v) for k, v in json.loads(text).items()}
            del self.shapes[METADATA_ENTRY], self.dtypes[METADATA_ENTRY]


def _npy_header(stream: Any) -> tuple[tuple[int, ...], Any]:
    """Read shape and dtype of an npy entry without its data."""
    start = stream.read(8)
    if len(start) != 8 or start[:6] != b"\x93NUMPY" or start[6] not in (1, 2, 3):
        raise FileFormatError("an entry is no npy array")
    wide = start[6] > 1
    length = int.from_bytes(stream.read(4 if wide else 2), "little")
    if length > 1_000_000:
        raise FileFormatError("an entry has an unreasonable npy header")
    header = ast.literal_eval(stream.read(length).decode("utf8"))
    dtype = np.dtype(header["descr"])
    if dtype.hasobject:
        raise FileFormatError("an entry holds Python objects, which are never read")
    return tuple(int(n) for n in header["shape"]), dtype


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
    FileFormatError
        For a suffix that is not allowed.
    """
    kind = suffix_of(path)
    require_new(path, force)
    # safetensors' writer takes memory as it lies: anything but C order would be scrambled
    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    if kind == ".safetensors":
        save_file = need("safetensors.numpy", "demo").save_file
        write_atomically(path, lambda temporary: save_file(arrays, temporary, metadata=dict(metadata)))
        return
    arrays[METADATA_ENTRY] = np.frombuffer(json.dumps(dict(metadata)).encode(), dtype=np.uint8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    write_atomically(path, write)

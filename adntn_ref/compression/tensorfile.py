"""Files of named tensors: safetensors and npz, read one tensor at a time and written atomically.

No pickle is read or written. What a file declares is checked against its size before anything is allocated.
"""

import ast
import json
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from adntn_ref.ad.arrays import Array
from adntn_ref.compression.atomic import require_new, write_atomically
from adntn_ref.compression.safefile import METADATA_ENTRY, READ_DTYPES, SafeHeader, write_safetensors
from adntn_ref.errors import DTypeError, FileFormatError, NothingSelected

SUFFIXES = (".safetensors", ".npz")
_MAX_RATIO = 1032  # deflate cannot expand further
# What broken bytes make json, ast, zipfile, its decompressors and NumPy raise: by no means all of it ValueError.
_UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    EOFError,
    SyntaxError,
    RuntimeError,  # encrypted or of an unknown compression; RecursionError too
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


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
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}
        self.metadata: dict[str, str] = {}
        self._members: dict[str, str] = {}
        try:
            if not self.path.is_file():
                raise FileFormatError(f"there is no file {self.path}")
            with self.path.open("rb") as stream:
                self._state = state_of(os.fstat(stream.fileno()))
                if self.kind == ".safetensors":
                    self._header = SafeHeader(stream, self._state[0], self.path)
                    self.shapes, self.dtypes = self._header.shapes, self._header.dtypes
                    self.metadata = self._header.metadata
                else:
                    self._open_npz(stream)
                self._require_unchanged(stream)
        except FileFormatError:
            raise
        except (*_UNREADABLE, MemoryError) as error:
            raise FileFormatError(f"{self.path} is no readable {self.kind[1:]} file: {_reason(error)}") from error

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
            If its bytes cannot be read, or the file changed since it was opened.
        """
        if name not in self.shapes:
            raise NothingSelected(f"{self.path} has no tensor {name!r}; it has {', '.join(self.names[:20])}")
        if self.kind == ".safetensors" and self.dtypes[name] not in READ_DTYPES:
            raise DTypeError(
                f"tensor {name} of {self.path} is {self.dtypes[name]}, which NumPy lacks; convert it to float32 first"
            )
        try:
            with self.path.open("rb") as stream:
                self._require_unchanged(stream)
                array = self._read_npz(stream, name) if self.kind == ".npz" else self._header.read(stream, name)
                self._require_unchanged(stream)
                return array
        except FileFormatError:
            raise
        except _UNREADABLE as error:
            raise FileFormatError(f"tensor {name} of {self.path} cannot be read: {_reason(error)}") from error

    def _require_unchanged(self, stream: BinaryIO) -> None:
        if state_of(os.fstat(stream.fileno())) != self._state:
            raise FileFormatError(f"{self.path} changed while it was read; try again when nobody writes to it")

    def _read_npz(self, stream: BinaryIO, name: str) -> Array:
        with zipfile.ZipFile(stream) as archive, archive.open(self._members[name]) as entry:
            array = np.lib.format.read_array(entry, allow_pickle=False)
            if entry.read(1):  # reading to the end lets zipfile compare the checksum
                raise FileFormatError(f"tensor {name} of {self.path} has bytes after its data")
            return array

    def _open_npz(self, file: BinaryIO) -> None:
        size = self._state[0]
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name in self.shapes:
                    raise FileFormatError(f"{self.path} holds two arrays called {name!r}")
                with archive.open(member) as stream:
                    shape, dtype = _npy_header(stream)
                # The directory's word on the size of an entry is as cheap to forge as the array's header.
                room = min(member.file_size, size * (1 if member.compress_type == zipfile.ZIP_STORED else _MAX_RATIO))
                if min(shape, default=0) < 0 or prod(shape) * dtype.itemsize > room:
                    raise FileFormatError(f"{self.path} is truncated: array {name!r} is larger than its file entry")
                self.shapes[name], self.dtypes[name], self._members[name] = shape, dtype.name, member.filename
        if METADATA_ENTRY in self.shapes:
            text = bytes(self._read_npz(file, METADATA_ENTRY)).decode()
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


def state_of(found: os.stat_result) -> tuple[int, int, int, int]:
    """Return what tells whether a file was changed or put in another's place: size, time, inode and device."""
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


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
        if kind == ".safetensors" and dtype not in READ_DTYPES:
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

        def write_safe(temporary: Path) -> None:
            with temporary.open("wb") as stream:
                write_safetensors(stream, arrays, metadata)

        write_atomically(path, write_safe)
        return
    arrays[METADATA_ENTRY] = np.frombuffer(json.dumps(dict(metadata)).encode(), dtype=np.uint8)

    def write(temporary: Path) -> None:
        # Not np.savez, to which a tensor called "file" would be its file; and undated, so that bytes are reproducible.
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, array, allow_pickle=False)

    write_atomically(path, write)

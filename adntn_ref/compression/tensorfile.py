"""Files of named tensors: safetensors and npz, read one tensor at a time and written atomically.

No pickle is read or written. What a file declares is checked against its size before anything is allocated.
"""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from adntn_ref.ad.arrays import Array
from adntn_ref.compression.atomic import require_new, write_atomically
from adntn_ref.compression.jsontext import parse_json
from adntn_ref.compression.npy import UNREADABLE, Npz, reason
from adntn_ref.compression.safefile import METADATA_ENTRY, READ_DTYPES, SafeHeader, texts, write_safetensors
from adntn_ref.errors import DTypeError, FileFormatError, NothingSelected

SUFFIXES = (".safetensors", ".npz")
HALF = ("float16", "bfloat16")


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
        self._stored: dict[str, str] = {}  # dtypes as the file has them
        try:
            if not self.path.is_file():
                raise FileFormatError(f"there is no file {self.path}")
            with self.path.open("rb") as stream:
                self._state = state_of(os.fstat(stream.fileno()))
                if self.kind == ".safetensors":
                    self._header = SafeHeader(stream, self._state[0], self.path)
                    self.shapes, self.dtypes = dict(self._header.shapes), dict(self._header.dtypes)
                    self.metadata = self._header.metadata
                else:
                    self._open_npz(stream)
                self._require_unchanged(stream)
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
            If its bytes cannot be read, or the file changed since it was opened.
        """
        if name not in self.shapes:
            raise NothingSelected(f"{self.path} has no tensor {name!r}; it has {', '.join(self.names[:20])}")
        if self.kind == ".safetensors" and self.dtypes[name] not in READ_DTYPES:
            raise DTypeError(
                f"tensor {name} of {self.path} is {self.dtypes[name]}, which NumPy lacks; convert it to float32 first,"
                " or read bfloat16 widened (--widen)"
            )
        try:
            with self.path.open("rb") as stream:
                self._require_unchanged(stream)
                read = self._read_npz(stream, name) if self.kind == ".npz" else self._header.read(stream, name)
                self._require_unchanged(stream)
            return read.astype("float32", copy=False) if self.widen and self._stored[name] in HALF else read
        except FileFormatError:
            raise
        except (*UNREADABLE, MemoryError) as error:
            raise FileFormatError(f"tensor {name} of {self.path} cannot be read: {reason(error)}") from error

    def _require_unchanged(self, stream: BinaryIO) -> None:
        if state_of(os.fstat(stream.fileno())) != self._state:
            raise FileFormatError(f"{self.path} changed while it was read; try again when nobody writes to it")

    def _read_npz(self, stream: BinaryIO, name: str) -> Array:
        try:
            with zipfile.ZipFile(stream) as archive:
                return Npz(archive, self._state[0]).read(name)
        except FileFormatError as error:
            raise FileFormatError(f"tensor {name} of {self.path} cannot be read: {error}") from error

    def _open_npz(self, stream: BinaryIO) -> None:
        with zipfile.ZipFile(stream) as archive:
            entries = Npz(archive, self._state[0])
            for name in entries.members:
                shape, dtype = entries.header(name)
                self.shapes[name], self.dtypes[name] = shape, dtype.name
            if METADATA_ENTRY in self.shapes:
                self.metadata = texts(parse_json(bytes(entries.read(METADATA_ENTRY))))
                del self.shapes[METADATA_ENTRY], self.dtypes[METADATA_ENTRY]


def state_of(found: os.stat_result) -> tuple[int, int, int, int]:
    """Return what tells whether a file was changed or put in another's place: size, time, inode and device."""
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev


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

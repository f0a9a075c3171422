"""Arrays in the .npy format, alone and in npz archives, from files that anybody may have written.

What a header declares is compared with the room that its data have before anything is allocated; nothing is unpickled.
"""

import ast
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from adntn_ref.ad.arrays import Array
from adntn_ref.errors import FileFormatError

MAX_RATIO = 1032
"""Deflate cannot expand further: at best 258 bytes come from two bits."""
MAX_HEADER = 10_000
"""NumPy's own limit for the text of a header, below which it is safe to parse."""
MAX_ITEM = 4096
"""Bytes of an entry of an empty array; NumPy allocates one."""
PACKED = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: MAX_RATIO}
"""How an archive may be packed, and how many bytes come from one at most; bzip2 and lzma have no such limit."""

# What broken bytes make ast, zipfile, its decompressors and NumPy raise: by no means all of it ValueError.
UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    EOFError,
    SyntaxError,
    tokenize.TokenError,  # of NumPy, for brackets without end
    RuntimeError,  # encrypted or of an unknown compression; RecursionError too
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


def read_npy(stream: BinaryIO, room: int) -> Array:
    """Read an .npy stream from its start to its end.

    Parameters
    ----------
    stream : binary stream that can seek
    room : bytes that it may have at most, header and all

    Raises
    ------
    FileFormatError
        If it is no .npy stream, holds Python objects, declares more than ``room``, is truncated, or goes on after its
        data.
    """
    try:
        npy_header(stream, room)
        stream.seek(0)
        array = np.lib.format.read_array(stream, allow_pickle=False)
        if stream.read(1):  # reading to the end lets zipfile compare the checksum
            raise FileFormatError("it has bytes after its data")
        return np.asarray(array)
    except FileFormatError:
        raise
    except UNREADABLE as error:
        raise FileFormatError(f"an array cannot be read: {reason(error)}") from error


def npy_header(stream: BinaryIO, room: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read shape and dtype of an .npy stream without its data, and compare them with the room that it has.

    Raises
    ------
    FileFormatError
        As :func:`read_npy`.
    Exception
        One of ``UNREADABLE`` for a header that cannot be parsed.
    """
    start = stream.read(8)
    if len(start) != 8 or start[:6] != b"\x93NUMPY" or start[6] not in (1, 2, 3):
        raise FileFormatError("an entry is no npy array")
    length = int.from_bytes(stream.read(4 if start[6] > 1 else 2), "little")
    if length > MAX_HEADER:
        raise FileFormatError("an entry has an unreasonable npy header")
    header = _literal(stream.read(length).decode("utf8"))
    dtype = np.dtype(header["descr"])
    if dtype.hasobject:
        raise FileFormatError("an entry holds Python objects, which are never read")
    shape = tuple(header["shape"])
    if any(type(n) is not int or n < 0 for n in shape):
        raise FileFormatError("an array has a shape that is none")
    if prod(shape) * dtype.itemsize > room or (dtype.itemsize > MAX_ITEM and not prod(shape)):
        raise FileFormatError("it is truncated: an array is larger than its file entry")
    return shape, dtype


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except MemoryError:  # so the parser complains of too many signs; no memory was asked for
        pass
    raise FileFormatError("an entry has a nested npy header")


class Npz:
    """The entries of an open archive, none of which is larger than the file can hold.

    Parameters
    ----------
    archive : the archive
    size : bytes of the file

    Raises
    ------
    FileFormatError
        For two entries of one name, a way to pack that has no limit, and entries that lie over one another.
    """

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self.archive = archive
        self.members: dict[str, zipfile.ZipInfo] = {}
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name in self.members:
                raise FileFormatError(f"it holds two arrays called {name!r}")
            if member.compress_type not in PACKED:
                raise FileFormatError(f"array {name!r} is packed by another method than deflate")
            self.members[name] = member
        if sum(member.compress_size for member in self.members.values()) > size:
            raise FileFormatError("it is truncated, or its entries lie over one another: they are larger than the file")

    def room(self, name: str) -> int:
        """Return how many bytes an entry can have: the directory's word on its size is cheap to forge."""
        member = self.members[name]
        return min(member.file_size, member.compress_size * PACKED[member.compress_type])

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return shape and dtype of an array; see :func:`npy_header`."""
        with self.archive.open(self.members[name]) as stream:
            return npy_header(stream, self.room(name))  # type: ignore[arg-type]

    def read(self, name: str) -> Array:
        """Return an array; see :func:`read_npy`."""
        with self.archive.open(self.members[name]) as stream:
            return read_npy(stream, self.room(name))  # type: ignore[arg-type]


def read_npz(path: str | Path) -> dict[str, Array]:
    """Read every array of an npz file.

    Raises
    ------
    FileFormatError
        If the file is missing, truncated or no npz file, or its entries declare more than the file can hold.
    """
    return dict(_arrays(Path(path)))


def _arrays(path: Path) -> Iterator[tuple[str, Array]]:
    try:
        # Opened here: zipfile leaves a broken archive open.
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            entries = Npz(archive, path.stat().st_size)
            for name in entries.members:
                yield name, entries.read(name)
    except FileFormatError as error:
        raise FileFormatError(f"{path} is no readable npz file: {error}") from error
    except (*UNREADABLE, MemoryError) as error:
        raise FileFormatError(f"{path} is no readable npz file: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Return an error's kind and text."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

"""Messages between two processes: a length, a JSON header, and arrays in the .npy format; nothing is unpickled."""

import io
import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from adntn_ref.compression.jsontext import parse_json
from adntn_ref.compression.npy import read_npy
from adntn_ref.errors import FileFormatError

from .verdicts import Array

MAGIC = b"ADNTNMSG"
LARGEST_HEADER = 2**24
CHUNK = 2**20


class BrokenMessage(FileFormatError):
    """What came in is no message; the other side has written on the pipe, or has ended."""


def write_message(stream: BinaryIO, header: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
    """Write a message.

    Parameters
    ----------
    stream : binary stream
    header : JSON-able dict
    arrays : arrays of numbers by name
    """
    blobs = {name: _npy(array) for name, array in (arrays or {}).items()}
    head = json.dumps({"header": header, "arrays": [[name, len(blob)] for name, blob in blobs.items()]}).encode()
    stream.write(MAGIC + struct.pack("<Q", len(head)) + head)
    for blob in blobs.values():
        stream.write(blob)
    stream.flush()


def read_message(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read a message: its header and its arrays.

    Raises
    ------
    BrokenMessage
        At the end of the stream, or where something else stands in it.
    """
    start = _exactly(stream, len(MAGIC) + 8)
    if start[: len(MAGIC)] != MAGIC:
        raise BrokenMessage(f"{start[:16]!r} is no start of a message")
    length = struct.unpack("<Q", start[len(MAGIC) :])[0]
    if length > LARGEST_HEADER:
        raise BrokenMessage(f"a header of {length} bytes")
    try:
        head = parse_json(_exactly(stream, length), any_text=True)
        header, listed = head["header"], [(name, size) for name, size in head["arrays"]]
        if not isinstance(header, dict) or not all(_is_entry(*entry) for entry in listed):
            raise BrokenMessage("a header that is no table, or names of arrays without sizes")
        return header, {name: _array(_exactly(stream, size)) for name, size in listed}
    except BrokenMessage:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenMessage(f"a message that cannot be read: {error}") from error


def _npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _array(blob: bytes) -> Array:
    return np.asarray(read_npy(io.BytesIO(blob), len(blob)))


def _is_entry(name: object, size: object) -> bool:
    return isinstance(name, str) and type(size) is int and size >= 0


def _exactly(stream: BinaryIO, count: int) -> bytes:
    """Read so many bytes; memory grows with what comes, not with what was announced."""
    data = bytearray()
    while len(data) < count:
        piece = stream.read(min(CHUNK, count - len(data)))
        if not piece:
            raise BrokenMessage("the stream has ended")
        data += piece
    return bytes(data)

"""Messages between two processes: a length, a JSON header, and arrays in the .npy format; nothing is unpickled."""

import io
import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from .verdicts import Array

MAGIC = b"ADNTNMSG"
LARGEST_HEADER = 2**26


class BrokenMessage(Exception):
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
        head = json.loads(_exactly(stream, length))
        arrays = {name: _array(_exactly(stream, size)) for name, size in head["arrays"]}
        return dict(head["header"]), arrays
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenMessage(f"a message that cannot be read: {error}") from error


def _npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _array(blob: bytes) -> Array:
    return np.asarray(np.load(io.BytesIO(blob), allow_pickle=False))


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise BrokenMessage("the stream has ended")
    return data

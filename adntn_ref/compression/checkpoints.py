"""Checkpoints: the whole state of a training in one npz file, written atomically, read without pickle."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array, backend_of
from adntn_ref.compression.atomic import write_atomically
from adntn_ref.compression.jsontext import parse_json
from adntn_ref.compression.npy import read_npz
from adntn_ref.errors import FileFormatError

VERSION = 1
HEADER = "__adntn_ref_checkpoint__"


def fingerprint(arrays: Iterable[Array]) -> str:
    """Return a short text that tells arrays of other values, shapes or dtypes apart."""
    digest = hashlib.sha256()
    for array in arrays:
        host = np.ascontiguousarray(backend_of(array).to_host(array))
        digest.update(f"{host.dtype.str}{array.shape}".encode())
        digest.update(host.data)
    return digest.hexdigest()[:32]


def save_checkpoint(
    path: str | Path, identity: dict[str, Any], arrays: dict[str, Array], numbers: dict[str, Any]
) -> None:
    """Write arrays and numbers; ``identity`` says which training this is and is compared on loading.

    Raises
    ------
    OutputError
        If the file cannot be written; an older checkpoint stays as it was.
    """
    header = json.dumps({"version": VERSION, "identity": identity, "numbers": numbers}, sort_keys=True)
    entries = {HEADER: np.frombuffer(header.encode(), dtype=np.uint8), **arrays}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **entries)

    write_atomically(path, write)


def load_checkpoint(path: str | Path, identity: dict[str, Any]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the arrays and numbers of a checkpoint.

    Raises
    ------
    FileFormatError
        If the file is not a checkpoint, of a newer version, truncated, or of a training with other settings.
    """
    arrays = read_npz(path)
    header = _header(path, arrays)
    if header["version"] != VERSION:
        raise FileFormatError(f"{path} has checkpoint version {header['version']}; this release reads {VERSION}")
    wanted, found = json.loads(json.dumps(identity)), header["identity"]
    if found != wanted:
        different = sorted(key for key in wanted if found.get(key) != wanted[key])
        raise FileFormatError(
            f"{path} belongs to another training: {', '.join(different)} differ; remove it to restart"
        )
    return arrays, header["numbers"]


def _header(path: str | Path, arrays: dict[str, Array]) -> dict[str, Any]:
    """Take the header out of the arrays: version, identity and numbers."""
    try:
        header = parse_json(bytes(arrays.pop(HEADER)))
        if not isinstance(header, dict) or not isinstance(header["version"], int):
            raise ValueError("its header is not a table with a version")
        if not isinstance(header.get("identity"), dict) or not isinstance(header.get("numbers"), dict):
            raise ValueError("its header lacks the tables identity and numbers")
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"{path} is no readable checkpoint ({type(error).__name__}: {error})") from error
    return header

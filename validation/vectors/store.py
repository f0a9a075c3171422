"""The two files: ``index.json``, to be read by people and programs, and ``arrays.npz``, plain ``.npy`` files in a zip.

Both are written byte for byte alike from the same arrays: names sorted as they are listed, fixed times, no compression
(whose bytes would depend on the version of zlib). See ``docs/vectors.md`` for the format.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adntn_ref.compression.atomic import write_atomically
from adntn_ref.compression.jsontext import parse_json
from adntn_ref.compression.npy import read_npz
from adntn_ref.errors import FileFormatError, OutputError

Array = NDArray[Any]
Index = dict[str, Any]
FORMAT, VERSION = "adntn_ref vectors", 1
INDEX_FILE, ARRAYS_FILE = "index.json", "arrays.npz"
SECTIONS = ("cases", "starts", "losses", "fits")
DTYPES = {"<f8": "float64", "<f4": "float32", "<c16": "complex128", "<c8": "complex64", "<i8": "int64"}
FIELDS: dict[str, type] = {"name": str, "arrays": dict, "dtype": str, "provenance": dict}
MORE_FIELDS: dict[str, dict[str, type]] = {
    "cases": {"spec": dict, "note": str},
    "starts": {"spec": dict, "start": str},
    "losses": {"loss": str, "arguments": dict},
    "fits": {"spec": dict, "plans": dict},
}
"""What every entry of the index has, and those of each section."""
_TIME = (1980, 1, 1, 0, 0, 0)


def describe(array: Array) -> dict[str, Any]:
    """Return shape, dtype and sha256 of an array; the hash is of its entries in C order, least byte first."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
    digest = sha256(little.tobytes()).hexdigest()
    return {"shape": list(array.shape), "dtype": little.dtype.str, "sha256": digest}


def index_text(index: Index) -> str:
    """Return the index as JSON: an entry a line, so that a change shows as the lines it changes."""
    head = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in index.items() if key not in SECTIONS]
    sections = []
    for section in SECTIONS:
        records = ",\n".join(_record_text(record) for record in index[section])
        sections.append(f" {json.dumps(section)}: [\n{records}\n ]")
    return "{\n" + ",\n".join(head + sections) + "\n}\n"


def _record_text(record: Mapping[str, Any]) -> str:
    lines = [f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items() if key != "arrays"]
    arrays = ",\n".join(f"    {json.dumps(name)}: {json.dumps(facts)}" for name, facts in record["arrays"].items())
    return "  {\n" + ",\n".join([*lines, f'   "arrays": {{\n{arrays}\n   }}']) + "\n  }"


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """Return an npz file of arrays by name, stored without compression."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name in sorted(arrays):
            array = np.asarray(arrays[name])
            member = io.BytesIO()
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
            np.lib.format.write_array(member, little, version=(1, 0), allow_pickle=False)
            facts = zipfile.ZipInfo(f"{name}.npy", _TIME)
            facts.create_system, facts.external_attr = 3, 0o644 << 16
            archive.writestr(facts, member.getvalue())
    return buffer.getvalue()


def write(folder: str | Path, index: Index, arrays: Mapping[str, Array]) -> None:
    """Write both files into a folder, which is made if it is missing; each appears whole or not at all.

    Raises
    ------
    OutputError
        If the folder cannot be made or a file not written.
    """
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {place} cannot be made: {error.strerror or error}") from error
    data, text = npz_bytes(arrays), index_text(index)
    write_atomically(place / ARRAYS_FILE, lambda path: _write(path, data))
    write_atomically(place / INDEX_FILE, lambda path: _write(path, text.encode()))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def read(folder: str | Path) -> tuple[Index, dict[str, Array]]:
    """Read and verify both files.

    Returns
    -------
    index : dict, as in the file
    arrays : dict, npz key -> array

    Raises
    ------
    FileFormatError
        If a file is missing, truncated, of another kind, of a newer format version, or an array is missing, not named
        in the index, of another shape or dtype, or has other bytes than its sha256 says.
    """
    place = Path(folder)
    index = _read_index(place / INDEX_FILE)
    arrays = read_npz(place / ARRAYS_FILE)
    named: set[str] = set()
    for section in SECTIONS:
        for record in index[section]:
            for name, facts in record["arrays"].items():
                key = f"{record['name']}/{name}"
                named.add(key)
                if key not in arrays:
                    raise FileFormatError(f"{place / ARRAYS_FILE} lacks the array {key}, which the index names")
                found = describe(arrays[key])
                for what in ("shape", "dtype", "sha256"):
                    if found[what] != facts.get(what):
                        said = f"has {what} {found[what]}, the index says {facts.get(what)}"
                        raise FileFormatError(f"{place / ARRAYS_FILE}: the array {key} {said}")
    if unknown := sorted(arrays.keys() - named):
        raise FileFormatError(
            f"{place / ARRAYS_FILE} has arrays that the index does not name: {', '.join(unknown[:5])}"
        )
    return index, arrays


def _read_index(path: Path) -> Index:
    try:
        index = parse_json(path.read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} is no readable index of vectors: {error}") from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise FileFormatError(f"{path} is no index of vectors: its entry 'format' is not {FORMAT!r}")
    version = index.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise FileFormatError(f"{path}: format_version must be an integer >= 1, got {version!r}")
    if version > VERSION:
        raise FileFormatError(f"{path} has format version {version}, this package reads up to {VERSION}; update it")
    for section in SECTIONS:
        if not isinstance(index.get(section), list) or not all(_is_record(r, section) for r in index[section]):
            needed = ", ".join((*FIELDS, *MORE_FIELDS[section]))
            raise FileFormatError(f"{path}: {section} must be a list of entries with {needed}")
    names = [record["name"] for section in SECTIONS for record in index[section]]
    if len(set(names)) < len(names):
        raise FileFormatError(f"{path}: two entries have one name")
    return index


def _is_record(record: object, section: str) -> bool:
    if not isinstance(record, dict):
        return False
    fields = {**FIELDS, **MORE_FIELDS[section]}
    if not all(isinstance(record.get(field), kind) for field, kind in fields.items()):
        return False
    return all(isinstance(facts, dict) for facts in record["arrays"].values())

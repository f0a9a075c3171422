"""npz archives and the npy streams inside of them: tensor files, checkpoints."""

import io
import json
import struct
import zipfile
import zlib

import numpy as np

from adntn_ref.compression.checkpoints import HEADER, load_checkpoint
from adntn_ref.compression.npy import MAX_RATIO, read_npy, read_npz
from adntn_ref.compression.tensorfile import METADATA_ENTRY, TensorFile
from fuzz.harness import Target, file_of
from fuzz.mutate import of_json, of_npy

IDENTITY = {"model": "a", "steps": 3}


def tensors(data: bytes) -> None:
    file = TensorFile(file_of(data, "t.npz"))
    for name in file.names:
        file.load(name)


def stream(data: bytes) -> None:
    read_npy(io.BytesIO(data), len(data))


def archive(data: bytes) -> None:
    read_npz(file_of(data, "a.npz"))


def checkpoint(data: bytes) -> None:
    load_checkpoint(file_of(data, "c.npz"), IDENTITY)


def checkpoint_header(data: bytes) -> None:
    """The header of a checkpoint, whose checksum a fuzzer cannot make."""
    load_checkpoint(file_of(around(HEADER, data), "c.npz"), IDENTITY)


def metadata(data: bytes) -> None:
    """The metadata of a tensor file, likewise."""
    TensorFile(file_of(around(METADATA_ENTRY, data), "t.npz"))


def npy(array: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def npz(arrays: dict[str, object], packed: bool = False, raw: bytes | None = None) -> bytes:
    """Return an archive of arrays, or of one stream under all their names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as made:
        for name, array in arrays.items():
            made.writestr(zipfile.ZipInfo(f"{name}.npy"), npy(array) if raw is None else raw, made.compression)
    return buffer.getvalue()


def around(name: str, data: bytes) -> bytes:
    """Return an archive of these bytes, as an array of that name, alone; zipfile takes ten times as long to make it."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(data)},), }}".encode()
    stream = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + data
    file, crc, size = f"{name}.npy".encode(), zlib.crc32(stream), len(stream)
    facts = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, crc, size, size, len(file), 0)  # stored, 1980-01-01
    entry = b"PK\3\4" + facts + file + stream
    central = b"PK\1\2" + struct.pack("<H", 20) + facts + bytes(14) + file
    return entry + central + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(entry), 0)


def header(**changes: object) -> bytes:
    return json.dumps({"version": 1, "identity": IDENTITY, "numbers": {"step": 2}, **changes}).encode()


def _arrays() -> list[object]:
    matrix = np.arange(6.0).reshape(2, 3)
    kinds = [matrix.astype(kind) for kind in ("f4", ">f8", "i8", "?", "c16", "f2")]
    return [*kinds, np.asfortranarray(matrix), np.zeros((0, 3)), np.array(3), np.array(["a", "bc"])]


def _files() -> list[bytes]:
    named = {f"a{k}": array for k, array in enumerate(_arrays())}
    some = {METADATA_ENTRY: np.frombuffer(b'{"format": "pt"}', np.uint8), "w": np.ones((2, 2), "f4")}
    return [npz(named), npz(some), npz(some, packed=True), npz({"z": np.zeros(10_000)}, packed=True)]


def _checkpoints() -> list[bytes]:
    made = {HEADER: np.frombuffer(header(), np.uint8), "a": np.ones(2)}
    return [npz(made), npz(made, packed=True), npz({"a": np.ones(2)})]


WORDS = ("version", "identity", "numbers", "model", "steps", "NaN", "null")
COVERED = ("adntn_ref.compression",)
TARGETS = [
    Target("npz", tensors, _files, unpacked=MAX_RATIO, covered=COVERED),
    Target("npz-all", archive, _files, unpacked=MAX_RATIO, covered=COVERED),
    Target(
        "npy",
        stream,
        lambda: list(map(npy, _arrays())),
        words=("descr", "fortran_order", "shape", "True", "<f8"),
        mutate=of_npy,
        covered=COVERED,
    ),
    Target("checkpoint", checkpoint, _checkpoints, unpacked=MAX_RATIO, covered=COVERED),
    Target(
        "checkpoint-head",
        checkpoint_header,
        lambda: [header(), header(version=2), header(identity={})],
        words=WORDS,
        mutate=of_json,
        covered=COVERED,
    ),
    Target(
        "npz-metadata",
        metadata,
        lambda: [b'{"format": "pt"}', b'{"adntn_ref": "{}"}'],
        words=("adntn_ref",),
        mutate=of_json,
        covered=COVERED,
    ),
]

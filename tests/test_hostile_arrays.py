"""Bombs of numbers: npy, npz, messages, safetensors and HDF5 whose headers lie."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import ONE, claiming, deep, h5, in_zip, npy_bytes, quickly

from adntn_ref.compression.checkpoints import load_checkpoint
from adntn_ref.compression.h5file import H5File
from adntn_ref.compression.npy import read_npy, read_npz
from adntn_ref.compression.tensorfile import TensorFile
from adntn_ref.errors import AdntnError, FileFormatError
from adntn_ref.validation.verify.files import read_request
from adntn_ref.validation.verify.framing import BrokenMessage, read_message

BOMBS = {
    "declares a terabyte": claiming("(1000000, 200000)"),
    "declares more than there is": claiming("(1000000000000000000000,)"),
    "an empty array of large entries": claiming("(0,)", "|V2000000000"),
    "negative": claiming("(-1,)"),
    "a length that is no number": claiming("('1',)"),
    "true": claiming("(True,)", data=bytes(8)),
    "many brackets": claiming("(" * 3000),
    "many signs": claiming("-" * 9000 + "1"),
    "a header without end": b"\x93NUMPY\2\0\xff\xff\xff\x7f",
    "objects": npy_bytes(np.array([{}], object), allow_pickle=True),
    "objects inside": claiming("(1,)", "|O"),
    "bytes after its data": npy_bytes(np.ones(2)) + b"x",
    "no npy": b"PK\3\4" + bytes(100),
}


@pytest.mark.parametrize("what", BOMBS)
def test_npy_bombs(what: str, tmp_path: Path) -> None:
    """The same stream in all files that hold one."""
    data = BOMBS[what]
    quickly(lambda: read_npy(io.BytesIO(data), len(data)), FileFormatError)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = in_zip(tmp_path / "a.npz", {"a.npy": data, "b.npy": npy_bytes(np.ones(2))}, method)
        quickly(lambda path=path: read_npz(path), FileFormatError)  # type: ignore[misc]
        quickly(lambda path=path: load_checkpoint(path, {}), FileFormatError)  # type: ignore[misc]
        quickly(lambda path=path: TensorFile(path).load("a"), FileFormatError)  # type: ignore[misc]
    head = json.dumps({"header": {}, "arrays": [["a", len(data)]]}).encode()
    message = b"ADNTNMSG" + len(head).to_bytes(8, "little") + head + data
    quickly(lambda: read_message(io.BytesIO(message)), BrokenMessage)
    (tmp_path / "a.npy").write_bytes(data)
    facts = {"protocol": 1, "case": "a", "spec": ONE, "params": {"x": "a.npy"}, "cotangent": "a.npy"}
    (tmp_path / "request.json").write_text(json.dumps(facts))
    quickly(lambda: read_request(tmp_path / "request.json"), FileFormatError)


def test_archives_whose_entries_lie_over_one_another(tmp_path: Path) -> None:
    """One stored array under a thousand names: a small file that would be read as a large one."""
    data = npy_bytes(np.zeros(20_000))
    path = in_zip(tmp_path / "a.npz", {"n0000.npy": data})
    whole = path.read_bytes()
    start = whole.index(b"PK\1\2")
    end = whole.index(b"PK\5\6")
    entry = whole[start:end]
    names = 1000
    central = b"".join(entry.replace(b"n0000.npy", f"n{k:04}.npy".encode()) for k in range(names))
    tail = bytearray(whole[end:])
    tail[8:10] = tail[10:12] = names.to_bytes(2, "little")
    tail[12:16] = len(central).to_bytes(4, "little")
    path.write_bytes(whole[:start] + central + tail)
    for act in (lambda: read_npz(path), lambda: TensorFile(path), lambda: load_checkpoint(path, {})):
        with pytest.raises(FileFormatError, match="lie over one another"):
            act()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_packed_without_limit(method: int, tmp_path: Path) -> None:
    path = in_zip(tmp_path / "a.npz", {"a.npy": npy_bytes(np.zeros(10**6))}, method)
    assert path.stat().st_size < 3000
    for act in (lambda: read_npz(path), lambda: TensorFile(path)):
        quickly(act, FileFormatError)


@pytest.mark.parametrize("announced", [2**62, 2**40, -1, -(2**62), 1.5, True, "1", None])
def test_messages_that_announce_more_than_comes(announced: Any) -> None:
    head = json.dumps({"header": {}, "arrays": [["a", announced]]}).encode()
    message = b"ADNTNMSG" + len(head).to_bytes(8, "little") + head + npy_bytes(np.ones(3))
    quickly(lambda: read_message(io.BytesIO(message)), BrokenMessage)
    quickly(lambda: read_message(io.BytesIO(b"ADNTNMSG" + b"\xff" * 8)), BrokenMessage)
    assert issubclass(BrokenMessage, AdntnError)


def test_a_safetensors_header_that_is_forged(tmp_path: Path) -> None:
    def entry(shape: Any, begin: Any = 0, end: Any = 8, dtype: Any = "F64") -> dict[str, Any]:
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    path = tmp_path / "a.safetensors"
    for header in (
        {"a": entry([10**9, 10**9])},
        {"a": entry([1], 0, 10**12)},
        {"a": entry(["1"])},
        {"a": entry([1.0])},
        {"a": entry([True])},
        {"a": entry([1], False, 8)},
        {f"a{k}": entry([1]) for k in range(1000)},
        {"a": deep(90)},
    ):
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
        quickly(lambda: TensorFile(path), FileFormatError)
    path.write_bytes((10**7).to_bytes(8, "little") + b"[" * 10**7)
    quickly(lambda: TensorFile(path), FileFormatError, 32)


def test_hdf5_bombs(tmp_path: Path) -> None:
    def sparse(file: Any, h5py: Any) -> None:
        file.create_dataset("a", (10**6, 10**6), "f8", chunks=(1000, 1000))

    def packed(file: Any, h5py: Any) -> None:
        file.create_dataset("a", (10**5, 10**5), "f8", chunks=(100, 100), compression="gzip")[0, 0] = 1

    def empty(file: Any, h5py: Any) -> None:
        file.create_dataset("a", data=h5py.Empty("f8"))

    for make in (sparse, packed, empty):
        quickly(lambda make=make: H5File(h5(tmp_path / "w.h5", make)), FileFormatError)  # type: ignore[misc]

    def whole(file: Any, h5py: Any) -> None:
        file.create_dataset("a", data=np.zeros((300, 300)), chunks=True, compression="gzip", shuffle=True)
        file.create_dataset("none", data=np.zeros((0, 3)))

    found = H5File(h5(tmp_path / "w.h5", whole))
    assert (found.load("a").sum(), found.load("none").shape) == (0, (0, 3))

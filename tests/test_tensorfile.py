"""Files of named tensors: bits in, bits out, and one kind of error for everything broken or forged."""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import same

import adntn_ref as ar
from adntn_ref.compression import safefile, tensorfile
from adntn_ref.compression.files import read_header
from adntn_ref.compression.tensorfile import METADATA_ENTRY, TensorFile, require_storable, suffix_of, write_tensors
from adntn_ref.errors import DTypeError, FileFormatError, NothingSelected

SUFFIXES = [".safetensors", ".npz"]


def sample(dtype: str = "float32") -> dict[str, Any]:
    rng = np.random.default_rng(1)
    square = rng.standard_normal((4, 6)).astype(dtype)
    return {
        "plain": square,
        "fortran": np.asfortranarray(square),
        "strided": square[::2, ::-3],
        "turned": square.T,
        "scalar": np.array(3, np.int64),
        "empty": np.zeros((0, 3), dtype),
        "special": np.array([np.nan, np.inf, -0.0, 1e-45], dtype),
        "bool": np.array([True, False]),
        "half": square.astype(np.float16),
        "a/b.c::d": square[:1],
        "file": square[0],
        "allow_pickle": square[1],
        "x": square[2],
        "x.npy": square[3],
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tensors_round_trip(suffix: str, dtype: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    write_tensors(path, sample(dtype), {"epoch": "3"})
    file = TensorFile(path)
    assert set(file.names) == set(sample())
    assert file.metadata == {"epoch": "3"}
    for name, value in sample(dtype).items():
        assert same(file.load(name), value), name
        assert (file.shapes[name], file.dtypes[name]) == (value.shape, value.dtype.name)
    first = path.read_bytes()
    write_tensors(path, sample(dtype), {"epoch": "3"}, force=True)
    assert path.read_bytes() == first
    with pytest.raises(NothingSelected, match="has no tensor 'nothing'"):
        file.load("nothing")


def test_others_read_our_files_and_we_theirs(tmp_path: Path) -> None:
    import safetensors.numpy

    value = np.arange(6.0).reshape(2, 3)
    write_tensors(tmp_path / "a.npz", {"w": value}, {})
    write_tensors(tmp_path / "a.safetensors", {"w": value.T}, {})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert same(archive["w"], value)
    assert same(safetensors.numpy.load_file(tmp_path / "a.safetensors")["w"], value.T)
    np.savez_compressed(tmp_path / "b.npz", w=value, big=value.astype(">f4"))
    theirs = TensorFile(tmp_path / "b.npz")
    assert same(theirs.load("w"), value)
    np.testing.assert_array_equal(theirs.load("big"), value)
    assert read_header(theirs) is None
    with pytest.raises(FileFormatError, match="no generated weights"):
        ar.load_compressed(tmp_path / "b.npz")


def safe(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape: Any = (2,), offsets: Any = (0, 8), dtype: Any = "F32") -> dict[str, Any]:
    return {"shape": shape, "data_offsets": offsets, "dtype": dtype}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        b"\xff" * 8,
        safe(b"{"),
        safe([]),
        safe(b"[" * 200_000),
        safe({"w": []}, bytes(8)),
        safe({"w": entry(offsets=(0, 9))}, bytes(8)),
        safe({"w": entry(offsets=(-1, 8))}, bytes(8)),
        safe({"w": entry(offsets=(8, 0))}, bytes(8)),
        safe({"w": entry(offsets=(0.5, 8))}, bytes(8)),
        safe({"w": entry(offsets=(0,))}, bytes(8)),
        safe({"w": entry(shape=(-2,))}, bytes(8)),
        safe(b'{"w": {"shape": [1e999], "data_offsets": [0, 8], "dtype": "F32"}}', bytes(8)),
        safe({"w": entry(), METADATA_ENTRY: ["x"]}, bytes(8)),
        safe({"w": entry(), METADATA_ENTRY: "x"}, bytes(8)),
    ],
)
def test_no_safetensors_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(FileFormatError):
        TensorFile(path)


@pytest.mark.parametrize(
    ("header", "error"),
    [
        ({"w": entry(shape=(3,))}, FileFormatError),
        ({"w": entry(offsets=(0, 4), shape=(1,))}, FileFormatError),  # a hole at the end
        ({"w": entry(dtype="BF16", shape=(4,))}, DTypeError),
        ({"w": entry(dtype="F8_E4M3", shape=(8,))}, DTypeError),
        ({"w": entry(dtype=7)}, DTypeError),
    ],
)
def test_tensor_that_cannot_be_read(header: Any, error: type[Exception], tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(safe(header, bytes(8)))
    with pytest.raises(error):
        TensorFile(path).load("w")


def npz(path: Path, content: bytes, claim: int | None = None, twice: bool = False) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", content)
        if twice:
            archive.writestr("w", content)
    if claim is not None:  # the directory lies about the size
        raw = path.read_bytes()
        path.write_bytes(raw.replace(len(content).to_bytes(4, "little"), claim.to_bytes(4, "little")))
    return path


def npy(shape: Any, data: bytes = b"", descr: Any = "<f8", version: int = 1) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": (1,)})
    raw = stream.getvalue().replace(b"(1,)", str(shape).encode())
    text = raw[10:]
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 if version == 1 else 4, "little") + text + data


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (npy((10**9,), bytes(8)), {}),
        (npy((10**9,), bytes(8)), {"claim": 2**32 - 2}),
        (npy((-1,), bytes(8)), {}),
        (npy((-(2**40),), bytes(8)), {}),
        (npy(7, bytes(8)), {}),
        (npy("(1,", bytes(8)), {}),
        (npy((1,), bytes(8), descr="|O"), {}),
        (npy((1,), bytes(8), version=9), {}),
        (npy((1,), bytes(8)).replace(b"<f8", b"zzz"), {}),
        (b"\x93NUMPY\x02\x00" + b"\xff" * 4, {}),
        (b"no array", {}),
        (npy((1,), bytes(8)), {"twice": True}),
    ],
)
def test_lying_npz(content: bytes, options: Any, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError):
        TensorFile(npz(tmp_path / "x.npz", content, **options))


def test_npz_entries_of_every_version_and_trailing_bytes(tmp_path: Path) -> None:
    for version in (1, 2):
        content = npy((1,), np.array([2.5]).tobytes(), version=version)
        assert TensorFile(npz(tmp_path / "x.npz", content)).load("w") == [2.5]
    with pytest.raises(FileFormatError, match="bytes after its data"):
        TensorFile(npz(tmp_path / "x.npz", npy((1,), bytes(16)))).load("w")


def test_pickles_are_neither_read_nor_written(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}, None], dtype=object)
    np.savez(tmp_path / "x.npz", allow_pickle=True, w=objects)
    with pytest.raises(FileFormatError, match="holds Python objects, which are never read"):
        TensorFile(tmp_path / "x.npz")
    for suffix in SUFFIXES:
        with pytest.raises(DTypeError):
            write_tensors(tmp_path / f"y{suffix}", {"w": objects}, {})
    assert not list(tmp_path.glob("*y*"))


def test_names_and_suffixes(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"x.pt must end in \.safetensors or \.npz"):
        suffix_of("x.pt")
    with pytest.raises(FileFormatError, match="there is no file"):
        TensorFile(tmp_path / "x.npz")
    with pytest.raises(FileFormatError, match="no readable npz file"):
        TensorFile(tmp_path / f"{'x' * 300}.npz")
    with pytest.raises(FileFormatError, match="no tensor can be called __metadata__"):
        write_tensors(tmp_path / "x.npz", {METADATA_ENTRY: np.ones(2)}, {})
    with pytest.raises(DTypeError, match="tensor w is complex128, which a safetensors file cannot hold"):
        require_storable("x.safetensors", {"w": "complex128"})


def test_the_same_model_is_the_same_bytes(tmp_path: Path) -> None:
    """Metadata of several entries keep their order; the package safetensors wrote them in another one each time."""
    metadata = {"format": "pt", "z": "ä\n", "adntn_ref": "{}", "a": "1"}
    for k in range(3):
        write_tensors(tmp_path / f"{k}.safetensors", sample(), metadata)
    first = (tmp_path / "0.safetensors").read_bytes()
    assert all((tmp_path / f"{k}.safetensors").read_bytes() == first for k in (1, 2))
    assert list(TensorFile(tmp_path / "0.safetensors").metadata.items()) == list(metadata.items())


@pytest.mark.parametrize("metadata", [{}, {"adntn_ref": '{"a": "ä \\" \x01"}'}])
def test_the_bytes_are_those_of_the_package(metadata: dict[str, str], tmp_path: Path) -> None:
    import safetensors.numpy

    kinds = ["bool", "u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "c8", "f8", "i8", "u8"]
    arrays = {f"{k % 3}.{kind}": np.arange(k).astype(kind) for k, kind in enumerate(kinds)}
    arrays |= {name: np.asarray(value, order="C") for name, value in sample().items()}
    write_tensors(tmp_path / "x.safetensors", arrays, metadata)
    wanted = safetensors.numpy.save(arrays, metadata=metadata)
    assert (tmp_path / "x.safetensors").read_bytes() == wanted


def test_nobody_elses_files_beside_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one temporary file is the one that a later start clears away."""
    seen: list[list[str]] = []
    real = safefile.write_safetensors

    def looking(*arguments: Any) -> None:
        real(*arguments)
        seen.append([path.name for path in tmp_path.iterdir()])

    monkeypatch.setattr(tensorfile, "write_safetensors", looking)
    write_tensors(tmp_path / "x.safetensors", sample(), {})
    assert [re.sub("[0-9a-f]{12}", "*", name) for name in seen[0]] == [".x.safetensors.*.part"]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"a": entry(offsets=(0, 4), shape=(1,)), "b": entry(offsets=(0, 8))}, "overlap or leave a gap"),
        ({"a": entry(offsets=(4, 8), shape=(1,))}, "overlap or leave a gap"),
        ({"a": entry(offsets=(0, 4), shape=(1,))}, "bytes after its last tensor"),
    ],
)
def test_bytes_of_nobody_and_of_two(header: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(safe(header, bytes(8)))
    with pytest.raises(FileFormatError, match=words):
        TensorFile(path)

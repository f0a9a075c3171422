"""Compressed files: cores in, cores out, old files, and one kind of error for everything broken."""

import contextlib
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small import hide, same

import adntn_ref as ar
from adntn_ref.compression.atomic import require_new, write_atomically
from adntn_ref.compression.files import HEADER
from adntn_ref.compression.tensorfile import TensorFile, write_tensors
from adntn_ref.errors import AdntnError, FileFormatError, OutputError, SpecError

SUFFIXES = [".safetensors", ".npz"]
FIXTURES = Path(__file__).parent / "fixtures"
NET = ar.BrickWall((4, 3), 2, activation="tanh")
# Of the weight in fixtures/format1.*, written by write_fixtures below with release 0.1.0.
FIXTURE_CORNER = (-0.5625, -1.5)
HWIO = (3, 2, 0, 1)


def exact_cores(net: ar.Network, seed: int = 0) -> dict[str, Any]:
    """Cores of few binary digits, so that the fixtures' weight is the same on every machine."""
    rng = np.random.default_rng(seed)
    return {name: rng.integers(-4, 5, shape) / 4 for name, shape in net.core_shapes.items()}


def linear() -> ar.Network:
    return ar.MPO((4, 4), 2, (2, 2), (2, 2))


def kernel() -> ar.Network:
    return ar.MPO((4, 2, 2, 1), 2, (2, 2), (2, 2))


def write_fixtures(folder: Path = FIXTURES) -> None:
    """How tests/fixtures were made. Never run again: old files must stay readable."""
    folder.mkdir(exist_ok=True)
    for suffix in SUFFIXES:
        entries = {"conv": ar.Entry(kernel(), exact_cores(kernel()), {}, HWIO)}
        ar.save_compressed(folder / f"format2{suffix}", entries, {}, seed=7, force=True)
        entries = {"fc.weight": ar.Entry(linear(), exact_cores(linear()), {"note": "old"})}
        dense = {"fc.bias": np.arange(4, dtype=np.float32)}
        ar.save_compressed(folder / f"format1{suffix}", entries, dense, seed=7, metadata={"source": "test"}, force=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_old_files_load(suffix: str) -> None:
    old = ar.load_compressed(FIXTURES / f"format1{suffix}")
    assert (old.header["format_version"], old.header["seed"]) == (1, 7)
    assert old.metadata == {"source": "test"}
    assert old.entries["fc.weight"].network == linear()
    assert old.entries["fc.weight"].info == {"note": "old"}
    assert same(old.entries["fc.weight"].params, exact_cores(linear()))
    np.testing.assert_array_equal(old.dense["fc.bias"], np.arange(4, dtype=np.float32))
    weight = old.expand()["fc.weight"]
    assert weight.shape == (4, 4)
    assert (weight[0, 0], weight[3, 3]) == FIXTURE_CORNER


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_of_format_2_load(suffix: str) -> None:
    """With axes: the kernel of a Keras convolution, (2, 1, 2, 4), made as (4, 2, 2, 1)."""
    old = ar.load_compressed(FIXTURES / f"format2{suffix}")
    assert old.header["format_version"] == 2
    entry = old.entries["conv"]
    assert (entry.network, entry.axes, entry.tensor_shape) == (kernel(), HWIO, (2, 1, 2, 4))
    ours, theirs = kernel().generate(exact_cores(kernel())), old.expand()["conv"]
    assert theirs.shape == (2, 1, 2, 4)
    assert theirs.flags.c_contiguous
    for o, i, h in np.ndindex(4, 2, 2):
        assert theirs[h, 0, i, o] == ours[o, i, h, 0]
    assert len(np.unique(theirs)) > 8


def compressed(path: Path, params: Any = None, net: ar.Network = NET) -> Path:
    entry = ar.Entry(net, net.init(0, "float32") if params is None else params, {"relative_error": 0.5})
    ar.save_compressed(path, {"fc.weight": entry}, {"fc.bias": np.ones(4, np.float32)}, seed=11, metadata={"a": "b"})
    return path


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_compressed_round_trip(suffix: str, dtype: str, tmp_path: Path) -> None:
    params = {name: np.asfortranarray(core) for name, core in NET.init(0, dtype).items()}
    read = ar.load_compressed(compressed(tmp_path / f"c{suffix}", params))
    assert read.entries["fc.weight"].network == NET
    assert same(read.entries["fc.weight"].params, params)
    assert same(read.expand(), {"fc.bias": np.ones(4, np.float32), "fc.weight": NET.generate(params)})
    assert read.metadata == {"a": "b"}
    assert read.header == {
        "format_version": 1,
        "library_version": ar.__version__,
        "seed": 11,
        "entries": {"fc.weight": {"spec": NET.to_spec(), "dtype": dtype, "info": {"relative_error": 0.5}}},
        "complex": [],
    }


def other_header(path: Path, **facts: Any) -> Path:
    """A compressed file whose one entry says more, or otherwise; format 2 unless said."""

    def change(header: dict[str, Any]) -> None:
        header["format_version"] = facts.pop("format_version", 2)
        header["entries"]["fc.weight"].update(facts)

    return rewritten(compressed(path), change)


def test_only_files_with_axes_are_of_format_2(tmp_path: Path) -> None:
    """Readers of format 1 go on reading what they understand, and refuse what they would get wrong."""
    entries = {"a": ar.Entry(NET, NET.init(0)), "b": ar.Entry(NET, NET.init(1), {}, (1, 0))}
    ar.save_compressed(tmp_path / "both.npz", entries, {}, seed=0)
    read = ar.load_compressed(tmp_path / "both.npz")
    assert read.header["format_version"] == 2
    assert "axes" not in read.header["entries"]["a"]
    assert read.header["entries"]["b"]["axes"] == [1, 0]
    assert (read.entries["a"].tensor_shape, read.entries["b"].tensor_shape) == ((4, 3), (3, 4))
    assert same(read.expand(), {"a": NET.generate(NET.init(0)), "b": NET.generate(NET.init(1)).T.copy()})
    ar.save_compressed(tmp_path / "one.npz", {"a": entries["a"]}, {}, seed=0)
    assert ar.load_compressed(tmp_path / "one.npz").header["format_version"] == 1


@pytest.mark.parametrize("axes", [[0], [0, 0], [1, 2], [-1, 0], [True, False], [1.0, 0.0], "10", {}, 3])
def test_axes_that_are_none(axes: Any, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="disagree: axes must be a permutation of 0 to 1, got"):
        ar.load_compressed(other_header(tmp_path / "c.npz", axes=axes))
    with pytest.raises(SpecError, match="axes must be a permutation"):
        ar.Entry(NET, NET.init(0), {}, axes)


def test_axes_in_a_file_of_format_1(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"format version 1 has no axes, but fc\.weight has"):
        ar.load_compressed(other_header(tmp_path / "c.npz", axes=[1, 0], format_version=1))
    assert ar.load_compressed(other_header(tmp_path / "d.npz")).entries["fc.weight"].axes is None


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_complex_cores(suffix: str, kind: Any, tmp_path: Path) -> None:
    """Bit for bit: real + 1j * imag would lose the sign of a zero."""
    params = {k: (v - 1j * v).astype(kind) for k, v in exact_cores(linear()).items()}
    first = next(iter(params.values())).reshape(-1)
    first[:2] = complex(-0.0, -0.0), complex(-0.0, 1.0)
    path = compressed(tmp_path / f"c{suffix}", params, linear())
    assert same(ar.load_compressed(path).entries["fc.weight"].params, params)


def rewritten(path: Path, change: Any, drop: str = "", tensors: Any = None) -> Path:
    """The file with another header or other cores."""
    file = TensorFile(path)
    header = json.loads(file.metadata[HEADER])
    other = change(header)  # in place, or another text
    header = other if isinstance(other, str) else header
    arrays = {name: file.load(name) for name in file.names if name != drop}
    arrays.update(tensors or {})
    text = header if isinstance(header, str) else json.dumps(header)
    write_tensors(path, arrays, {HEADER: text}, force=True)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda h: h.update(format_version=4), {}, "format version 4; this release .* reads 1 to 3. A newer release"),
        (lambda h: h.update(format_version=0), {}, "format version 0"),
        (lambda h: h.update(format_version="1"), {}, "format version 1"),
        (lambda h: h.pop("format_version") and None, {}, "header of .* cannot be read"),
        (lambda h: "no json", {}, "header of .* cannot be read"),
        (lambda h: "[]", {}, "header of .* cannot be read"),
        (lambda h: "[" * 100_000, {}, "header of .* cannot be read"),
        (lambda h: h.pop("entries"), {}, "header"),
        (lambda h: h.update(complex=None), {}, "lacks its tables"),
        (lambda h: h.update(complex=["fc.weight::layer0.brick0"]), {}, "disagree"),
        (lambda h: h.update(complex=[[1]]), {}, "disagree"),
        (lambda h: h.update(entries={"fc.weight": []}), {}, "disagree"),
        (lambda h: h.update(entries={"fc.weight": {}}), {}, "disagree"),
        (lambda h: h["entries"]["fc.weight"].update(dtype="float64"), {}, "are float32, the header says float64"),
        (lambda h: h["entries"]["fc.weight"].update(info=[1]), {}, "disagree"),
        (lambda h: h["entries"]["fc.weight"]["spec"].update(layers=3), {}, "lacks the core fc.weight::layer2"),
        (lambda h: h["entries"]["fc.weight"]["spec"].update(shape=[40, 2]), {}, "disagree"),
        (lambda h: h["entries"]["fc.weight"]["spec"].update(network="tree"), {}, "no network is called 'tree'"),
        (lambda h: h.update(complex=["fc.bias", "fc.weight::layer0.brick1"]), {}, "disagree"),
        (
            lambda h: h.update(complex=["fc.weight::layer0.brick0"]),
            {"tensors": {"fc.weight::layer0.brick0": np.ones((2, 2), int)}},
            "pairs of reals",
        ),
        (lambda h: None, {"drop": "fc.weight::layer0.brick0"}, "lacks the core fc.weight::layer0.brick0"),
        (lambda h: None, {"tensors": {"fc.weight::layer0.brick0": np.ones(3, "f4")}}, r"disagree: .* shape \(3,\)"),
        (lambda h: None, {"tensors": {"fc.weight::layer0.brick0": np.ones((2, 2))}}, "disagree: .* float64"),
        (lambda h: None, {"tensors": {"fc.weight::layer0.brick0": np.ones((2, 2), int)}}, "disagree: .* int64"),
    ],
)
def test_header_and_cores_must_agree(suffix: str, change: Any, options: Any, message: str, tmp_path: Path) -> None:
    path = rewritten(compressed(tmp_path / f"c{suffix}"), change, **options)
    with pytest.raises(FileFormatError, match=message):
        ar.load_compressed(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated(suffix: str, tmp_path: Path) -> None:
    """A file cut at any place is refused, or, where nothing was lost, read whole."""
    whole = compressed(tmp_path / f"c{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    for length in [*range(40), *range(40, len(whole), 1 + len(whole) // 150), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError):
            ar.load_compressed(path)


def damaged(suffix: str) -> bytes:
    return (FIXTURES / f"format1{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_raise_nothing_else(suffix: str, data: st.DataObject, tmp_path: Path) -> None:
    whole = bytearray(damaged(suffix))
    kind = data.draw(st.sampled_from(["random", "flip", "splice"]))
    if kind == "random":
        whole = bytearray(data.draw(st.binary(max_size=200)))
    elif kind == "flip":
        for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=6)):
            whole[place] = data.draw(st.integers(0, 255))
    else:
        start = data.draw(st.integers(0, len(whole)))
        whole[start : start + data.draw(st.integers(0, 50))] = data.draw(st.binary(max_size=20))
    path = tmp_path / f"d{suffix}"
    path.write_bytes(whole)
    with contextlib.suppress(AdntnError):
        ar.load_compressed(path).expand()


def test_existing_output_needs_force(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already; choose another path or pass --force"):
        write_tensors(path, {"w": np.ones(2)}, {})
    assert path.read_bytes() == b"old"
    write_tensors(path, {"w": np.ones(2)}, {}, force=True)
    assert TensorFile(path).names == ["w"]


def test_bad_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for path, message in (
        (tmp_path, "is a folder; name a file"),
        (tmp_path / "none" / "x.npz", "there is no folder"),
        (tmp_path / "file" / "x.npz", "there is no folder"),
        (tmp_path / f"{'x' * 300}.npz", "cannot be written"),
    ):
        with pytest.raises(OutputError, match=message):
            require_new(path, force=True)
    with pytest.raises(OutputError, match="cannot be written"):
        write_atomically(tmp_path / "none" / "x.npz", lambda path: None)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="no permission in"):
        require_new(tmp_path / "x.npz", force=False)
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_RDONLY))
    with pytest.raises(OutputError, match="cannot be written: Read-only file system: "):
        require_new(tmp_path / "x.npz", force=False)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("bug"), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [b"old", None])
def test_failure_leaves_what_was_there(error: BaseException, old: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    if old is not None:
        path.write_bytes(old)

    def broken(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise error

    wanted = OutputError if isinstance(error, OSError) else type(error)
    with pytest.raises(wanted):
        write_atomically(path, broken)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == ([("x.npz", old)] if old else [])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_written_file_has_the_usual_permissions(suffix: str, tmp_path: Path) -> None:
    write_tensors(tmp_path / f"x{suffix}", {"w": np.ones(2)}, {})
    (tmp_path / "y").touch()
    assert (tmp_path / f"x{suffix}").stat().st_mode == (tmp_path / "y").stat().st_mode


def test_without_the_package_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "safetensors")
    path = compressed(tmp_path / "c.safetensors")
    assert TensorFile(path).load("fc.bias").shape == (4,)


def test_generated_or_dense(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="w cannot be generated and dense at once"):
        ar.save_compressed(tmp_path / "x.npz", {"w": ar.Entry(NET, NET.init())}, {"w": np.ones(2)}, seed=0)

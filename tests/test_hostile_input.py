"""Bombs, files that point elsewhere, and pickles: each refused at once, by an error of ours."""

import ast
import io
import json
import pickle
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.cli import main
from adntn_ref.compression.checkpoints import HEADER, load_checkpoint
from adntn_ref.compression.h5file import H5File
from adntn_ref.compression.jsontext import MAX_DEPTH, parse_json
from adntn_ref.compression.npy import read_npy, read_npz
from adntn_ref.compression.tensorfile import TensorFile
from adntn_ref.errors import AdntnError, ConfigError, FileFormatError, RecordError, SpecError
from adntn_ref.experiments.config import config_of
from adntn_ref.experiments.record import read_json
from adntn_ref.experiments.shapes import require_result, require_shape
from adntn_ref.experiments.tomltext import MAX_DOTS, parse_toml, read_toml
from adntn_ref.networks.brickwall import MAX_BRICKS
from adntn_ref.validation.verify.files import load_case, read_request
from adntn_ref.validation.verify.framing import BrokenMessage, read_message

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for part in ("adntn_ref", "backends", "validation") for path in (ROOT / part).rglob("*.py"))
ONE = {"network": "lowrank", "shape": [4, 4], "rank": 1}
WALL = {"network": "brickwall", "shape": [2**20], "layers": MAX_BRICKS // 40}


def quickly(act: Callable[[], Any], error: type[Exception] = AdntnError, mebibytes: float = 8) -> None:
    """Call what must be refused within a second of CPU time, holding next to nothing."""
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(error) as caught:
            act()
        assert time.process_time() - started < 1
        assert tracemalloc.get_traced_memory()[1] < mebibytes * 2**20
        assert len(str(caught.value)) < 4000
    finally:
        tracemalloc.stop()


def nested(depth: int, kind: str = "sum") -> dict[str, Any]:
    spec: dict[str, Any] = ONE
    for _ in range(depth):
        spec = {"network": kind, "parts": [spec]}
    return spec


def deep(depth: int) -> Any:
    found: Any = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize(
    "spec",
    [
        {"network": "brickwall", "shape": [2**20], "layers": 10**9},
        {"network": "brickwall", "shape": [2**20], "layers": MAX_BRICKS // 20 + 1},
        {"network": "brickwall", "shape": [4], "layers": 1, "modes": [2] * 10**6},
        {"network": "ttn", "shape": [4], "chi": 2, "modes": list(range(1, 10**5))},
        {"network": "mera", "shape": [2**64, 2], "chi": 10**9},
        {"network": "ttn", "shape": [10**9] * 900, "chi": 2},
        {"network": "tt", "shape": [4], "chi": 10**4000},
        {"network": "cp", "shape": [4, 4], "rank": float("nan")},
        {"network": "cp", "shape": [4, 4], "rank": float("inf")},
        {"network": "tucker", "shape": [4, 4], "ranks": [10**400] * 2},
        {"network": "mpo", "shape": [4, 4], "chi": 2, "row_modes": deep(5000)},
        {"network": "brickwall", "shape": [4, 4], "layers": 2, "layout": deep(5000)},
        {"network": "brickwall", "shape": [4, 4], "layers": 2, "activation": deep(5000)},
        {"network": "brickwall", "shape": [4, 4], "layers": 2, "boundary": deep(5000)},
        {"network": "mera", "shape": [4, 4], "chi": 2, "periodic": deep(5000)},
        {"network": deep(5000)},
        {"network": "x" * 10**6},
        {"network": "lowrank", "shape": [4, 4], "rank": 1, "y" * 10**6: 1},
        nested(21),
        nested(900),
        {"network": "sum", "parts": [ONE] * 1001},
        {"network": "sum", "parts": [nested(1)] * 500 + [nested(2)] * 501},
        {"network": "sum", "parts": [WALL, WALL, WALL]},
        {"network": "split", "shape": [2**60], "parts": [ONE] * 10**6},
        {"network": "stack", "shapes": [[f"w{k}", [1]] for k in range(10**5)], "net": ONE},
    ],
    ids=range(25),
)
def test_specification_bombs(spec: Any) -> None:
    quickly(lambda: ar.from_spec(spec), SpecError)


def test_a_frozen_weight_with_a_number_that_no_float_holds() -> None:
    base = np.ones((4, 4))
    spec = {**ar.Delta(base, ar.LowRank((4, 4), 1)).to_spec(), "alpha": 10**400}
    quickly(lambda: ar.from_spec(spec, base=base), SpecError)


def test_the_largest_networks_are_described_at_once() -> None:
    started = time.process_time()
    assert len(ar.from_spec({**WALL, "layers": MAX_BRICKS // 20}).core_shapes) < MAX_BRICKS
    assert ar.from_spec({"network": "mera", "shape": [2**63], "chi": 10**9}).parameter_count > 10**9
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    "text", ["[" * 10**5, '{"a":' * 10**5, "[" * 102 + "]" * 102, "1" * 5000, '"\\ud800"', b"\xff"]
)
def test_json_bombs(text: str | bytes) -> None:
    quickly(lambda: parse_json(text), ValueError)


def test_json_as_deep_as_allowed() -> None:
    assert parse_json("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) == deep(MAX_DEPTH)
    with pytest.raises(ValueError, match="nested deeper than 100"):
        parse_json("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2))
    assert parse_json('"\\ud800"', any_text=True) == "\ud800"
    assert parse_json('"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000 + "]" * 5000,
        "a = " + "{b = " * 500 + "1" + "}" * 500,
        "a." * 30_000 + "a = 1",
        "[" + "a." * 30_000 + "a]",
        "a = 0x" + "f" * 50_000,
        "a = " + "9" * 5000,
        "a = 1979-05-27T07:32:00Z",
        "a = 07:32:00",
        "a = 1\n" * 2,
        "a = '" + "x" * 70_000 + "'",
    ],
    ids=range(10),
)
def test_toml_bombs(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text)
    quickly(lambda: read_toml(tmp_path / "a.toml"), ConfigError)
    assert main(["experiment", "run", "digits-fc2-brickwall", "--out", str(tmp_path / "o"), "--set", text]) == 2


def test_toml_with_as_many_dots_as_allowed() -> None:
    assert parse_toml("a" + ".a" * 90 + " = 1", "it")["a"]["a"]
    assert parse_toml("a = '" + "." * MAX_DOTS + "'", "it") == {"a": "." * MAX_DOTS}
    with pytest.raises(ConfigError, match=r"it cannot be read as TOML: allowed are 65536 bytes and 250 dots in a line"):
        parse_toml("a = '" + "." * (MAX_DOTS + 1) + "'", "it")


@pytest.mark.parametrize("value", [10**400, float("nan"), 2**64 + 1, deep(500), {1: object()}, b"a", 1j])
def test_configurations_of_odd_values(value: Any) -> None:
    facts = {
        "title": "a",
        "model": {"name": "fc2", "options": {"hidden": 8}},
        "data": {"name": "digits"},
        "compress": {"layers": ["fc1.weight"]},
        "network": {"name": "brickwall", "layers": 2},
    }
    assert config_of(facts).model.options == {"hidden": 8}
    for changed in ({"dense": {"rate": value}}, {"seeds": [value]}, {"stage2": {"cores_rates": [value]}}):
        quickly(lambda changed=changed: config_of({**facts, **changed}), ConfigError)  # type: ignore[misc]


def npy_bytes(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def claiming(shape: str, descr: str = "<f8", version: int = 1, data: bytes = b"") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


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


def in_zip(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


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


def h5(path: Path, make: Callable[[Any, Any], None]) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        make(file, h5py)
    return path


def test_hdf5_stays_in_its_file(tmp_path: Path) -> None:
    secret = h5(tmp_path / "secret.h5", lambda file, h5py: file.create_dataset("a", data=np.arange(4.0)))
    (tmp_path / "raw").write_bytes(bytes(32))

    def external(file: Any, h5py: Any) -> None:
        file.create_dataset("a", (4,), "f8", external=[(str(tmp_path / "raw"), 0, 32)])

    def virtual(file: Any, h5py: Any) -> None:
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "a", (4,))
        file.create_virtual_dataset("a", layout)

    def linked(file: Any, h5py: Any) -> None:
        file["b"] = np.ones(2)
        file["a"] = h5py.ExternalLink(str(secret), "a")
        file["c"] = h5py.SoftLink("/a")

    for make in (external, virtual):
        with pytest.raises(FileFormatError, match="does not lie in this file"):
            H5File(h5(tmp_path / "w.h5", make))
    assert H5File(h5(tmp_path / "w.h5", linked)).names == ["b"]


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


@pytest.mark.parametrize("outside", ["../secret.npz", "/etc/passwd", "a/../../secret.npz", "link.npz"])
def test_cases_stay_in_their_folder(outside: str, tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    folder.mkdir()
    np.savez(tmp_path / "secret.npz", a=np.ones(2))
    np.save(tmp_path / "secret.npy", np.ones(2))
    (folder / "link.npz").symlink_to(tmp_path / "secret.npz")
    case = {"adntn_ref_case": 1, "name": "a", "spec": ONE, "arrays": outside}
    request = {"protocol": 1, "case": "a", "spec": ONE, "params": {"x": outside.replace("npz", "npy")}}
    (folder / "a.json").write_text(json.dumps(case))
    (folder / "request.json").write_text(json.dumps({**request, "cotangent": "b.npy"}))
    (folder / "link.npy").symlink_to(tmp_path / "secret.npy")
    with pytest.raises(FileFormatError, match="lies outside of"):
        load_case(folder / "a.json")
    with pytest.raises(FileFormatError, match="lies outside of"):
        read_request(folder / "request.json")


@pytest.mark.parametrize("row", ["../a", "a/b", "/a", "..", ".", "", "a\0", "a\\b", "a" * 300])
def test_rows_are_names_of_files_in_the_record(row: str) -> None:
    facts = {
        "title": "a",
        "model": {"name": "fc2"},
        "data": {"name": "digits"},
        "compress": {"layers": ["fc1.weight"]},
        "network": {"name": "brickwall", "layers": 2, "row": row},
    }
    with pytest.raises(ConfigError, match=r"network\.row must"):
        config_of(facts)


def test_pictures_of_tensors_with_any_name_stay_in_their_folder(tmp_path: Path) -> None:
    from adntn_ref.compression.files import Entry, save_compressed

    net = ar.LowRank((4, 4), 1)
    names = ("../../a", "/etc/b", "w", "c\0d")
    save_compressed(tmp_path / "m.npz", {n: Entry(net, net.init()) for n in names if "\0" not in n}, {}, seed=0)
    assert main(["draw", str(tmp_path / "m.npz"), "-o", str(tmp_path / "out.svg")]) == 0
    drawn = sorted(path.name for path in tmp_path.glob("out*"))
    assert drawn == ["out-%2Fetc%2Fb.svg", "out-..%2F..%2Fa.svg", "out-w.svg"]


def test_records_are_read_as_what_they_should_be(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    for text in ("[]", "1", "[" * 10**5, "{", '{"a": "\\ud800"}', "\0"):
        path.write_text(text)
        quickly(lambda: read_json(path), RecordError)
    quickly(lambda: require_result(path, {"title": 1}), RecordError)
    for value, shape in (
        (10**300, int),
        (10**300, float),
        (float("nan"), float),
        (True, int),
        ([1], (int, int)),
        (1, [int]),
    ):
        with pytest.raises(RecordError, match="here must be a"):
            require_shape("here", value, shape)
    require_shape("here", {"a": [1, 2.5], "b": None}, {"a": (int, float)})


def test_commands_on_forged_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a page or a table needs and the record does not hold ends in one line, not in a traceback."""
    from fuzz.targets.records import CONFIG, FOUND, RESULT, TIMING, _config

    (tmp_path / CONFIG).write_bytes(_config())
    page = str(tmp_path / "page.html")
    commands = (["report", str(tmp_path), "-o", page], ["experiment", "show", str(tmp_path)])
    for result, timing in (({}, {}), (FOUND, {}), ({**FOUND, "rows": [1]}, {}), (FOUND, [])):
        (tmp_path / RESULT).write_text(json.dumps(result))
        (tmp_path / TIMING).write_text(json.dumps(timing))
        for command in commands:
            assert main(command) == 2
            assert str(tmp_path) in capsys.readouterr().err
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    for summary in ({}, {"seeds": 1}, {"seeds": [1], "title": 1, "model": "a", "data": "b", "points": [{}]}):
        (sweep / "summary.json").write_text(json.dumps(summary))
        assert main(["report", str(sweep), "-o", page]) == 2
        assert "is broken" in capsys.readouterr().err
    assert not Path(page).exists()


def test_pickles_are_refused(tmp_path: Path) -> None:
    class Danger:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "bare.npz").write_bytes(pickle.dumps(Danger()))
    np.savez(tmp_path / "inside.npz", a=np.array([Danger()], object), **{HEADER: np.array([Danger()], object)})
    (tmp_path / "bare.npy").write_bytes(pickle.dumps(Danger()))
    np.save(tmp_path / "inside.npy", np.array([Danger()], object), allow_pickle=True)
    for name in ("bare.npz", "inside.npz"):
        for read in (read_npz, TensorFile, lambda path: load_checkpoint(path, {})):
            with pytest.raises(FileFormatError):
                read(tmp_path / name)
    for name in ("bare.npy", "inside.npy"):
        facts = {"protocol": 1, "case": "a", "spec": ONE, "params": {"x": name}, "cotangent": name}
        (tmp_path / "request.json").write_text(json.dumps(facts))
        with pytest.raises(FileFormatError):
            read_request(tmp_path / "request.json")
    assert not (tmp_path / "ran").exists()


UNPICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def pickles_in(path: Path) -> list[str]:
    """Return what a source file does that may unpickle: imports, ``np.load``, or reading without a word on pickles."""
    found = []
    tree = ast.parse(path.read_text(encoding="utf8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    own = [call.func for call in calls if ast.unparse(call) == "exec('pass')"]  # see adntn_ref/ending.py
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(alias.name for alias in node.names)]
        found += [f"{path.name}:{node.lineno} imports {name}" for name in names if name.partition(".")[0] in UNPICKLING]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            whose = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            if (whose, node.func.attr) in (("np", "load"), ("numpy", "load"), ("torch", "load")):
                found.append(f"{path.name}:{node.lineno} calls {whose}.load")
            if node.func.attr in ("read_array", "save", "write_array") and whose in ("np", "numpy", "format", ""):
                allowed = [k.value for k in node.keywords if k.arg == "allow_pickle"]
                if not any(isinstance(value, ast.Constant) and value.value is False for value in allowed):
                    found += [f"{path.name}:{node.lineno} {node.func.attr} without allow_pickle=False"]
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            found.append(f"{path.name}:{node.lineno} allows pickles")
        if isinstance(node, ast.Name) and node.id in ("eval", "exec") and node not in own:
            found.append(f"{path.name}:{node.lineno} evaluates text")
    return found


def test_no_source_unpickles(tmp_path: Path) -> None:
    assert len(SOURCES) > 200
    assert [line for path in SOURCES for line in pickles_in(path)] == []
    for bad in (
        "import pickle",
        "from pickle import loads",
        "np.load(x)",
        "np.load(x, allow_pickle=True)",
        "eval('1')",
    ):
        (tmp_path / "bad.py").write_text(bad)
        assert pickles_in(tmp_path / "bad.py"), bad

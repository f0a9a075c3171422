"""Weights of several files: shards by glob, by index and by folder, half precision, and indices that lie."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import peers
import pytest
from small import same
from test_tensorfile import safe

import adntn_ref as ar
from adntn_ref.cli import main
from adntn_ref.compression.sources import INDEX, SINGLE, ShardedFile, open_tensors
from adntn_ref.compression.tensorfile import TensorFile, write_tensors
from adntn_ref.compression.weights import compress_file
from adntn_ref.errors import AdntnError, DTypeError, FileFormatError, NothingSelected

NAMES = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def weights() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = {"fc1.weight": (4, 6), "fc1.bias": (4,), "fc2.weight": (3, 4), "fc2.bias": (3,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def shards(folder: Path, **index: Any) -> Path:
    """A model in two files with its index; ``index`` replaces entries of it."""
    where = {name: NAMES[name.startswith("fc2")] for name in weights()}
    for shard in NAMES:
        write_tensors(folder / shard, {k: v for k, v in weights().items() if where[k] == shard}, {"format": "pt"})
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 172}, "weight_map": where, **index}))
    return folder


@pytest.mark.parametrize("how", ["", INDEX, "model-*.safetensors", "model-0000?-of-00002.safetensors"])
def test_shards_are_one_file(how: str, tmp_path: Path) -> None:
    file = open_tensors(shards(tmp_path) / how)
    assert isinstance(file, ShardedFile)
    assert sorted(file.names) == sorted(weights())
    assert (file.kind, file.metadata) == (".safetensors", {"format": "pt"})
    for name, value in weights().items():
        assert (file.shapes[name], file.dtypes[name]) == (value.shape, "float32")
        assert same(file.load(name), value)
    with pytest.raises(NothingSelected, match=r"has no tensor 'fc3'; it has fc1\."):
        file.load("fc3")


def test_only_the_shards_asked_for_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = open_tensors(shards(tmp_path))
    read: list[str] = []
    load = TensorFile.load
    monkeypatch.setattr(TensorFile, "load", lambda self, name: (read.append(self.path.name), load(self, name))[1])
    file.load("fc2.weight")
    assert read == [NAMES[1]]
    (tmp_path / NAMES[0]).unlink()
    assert same(file.load("fc2.bias"), weights()["fc2.bias"])


def test_a_folder_of_one_file(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"holds neither model.safetensors nor model.safetensors.index.json"):
        open_tensors(tmp_path)
    write_tensors(tmp_path / SINGLE, weights(), {})
    assert open_tensors(tmp_path).names == open_tensors(tmp_path / SINGLE).names
    with pytest.raises(FileFormatError, match=r"no file matches .*shard-\*"):
        open_tensors(tmp_path / "shard-*.safetensors")
    with pytest.raises(FileFormatError, match=r"must end in .safetensors or .npz"):
        open_tensors(tmp_path / "*")


def test_a_file_whose_name_looks_like_a_glob(tmp_path: Path) -> None:
    write_tensors(tmp_path / "model[1].safetensors", weights(), {})
    assert sorted(open_tensors(tmp_path / "model[1].safetensors").names) == sorted(weights())


def test_hugging_faces_own_shards(tmp_path: Path) -> None:
    torch, safe_torch = peers.need("torch"), peers.need("safetensors.torch")
    state = {name: torch.tensor(value) for name, value in weights().items()}
    halves = {NAMES[0]: ["fc1.weight", "fc2.bias"], NAMES[1]: ["fc1.bias", "fc2.weight"]}
    for shard, names in halves.items():
        safe_torch.save_file({name: state[name] for name in names}, tmp_path / shard, metadata={"format": "pt"})
    where = {name: shard for shard, names in halves.items() for name in names}
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": where}, indent=2))
    file = open_tensors(tmp_path)
    assert all(same(file.load(name), value) for name, value in weights().items())


# Compressing


def options(layers: int = 2) -> Any:
    return lambda shape: ar.BrickWall(shape, layers)


def test_chosen_layers_of_shards_are_compressed(tmp_path: Path) -> None:
    facts = compress_file(shards(tmp_path), tmp_path / "small.safetensors", ["fc2.*eight"], options(), steps=3)
    assert [row["name"] for row in facts["layers"]] == ["fc2.weight"]
    small = ar.load_compressed(tmp_path / "small.safetensors")
    assert list(small.entries) == ["fc2.weight"]
    assert same(small.dense, {k: v for k, v in weights().items() if k != "fc2.weight"})
    whole = tmp_path / "whole.safetensors"
    write_tensors(whole, weights(), {"format": "pt"})
    compress_file(whole, tmp_path / "same.safetensors", ["fc2.*eight"], options(), steps=3)
    assert same(ar.load_compressed(tmp_path / "same.safetensors").expand(), small.expand())


def test_the_command_takes_globs_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shards(tmp_path)
    arguments = ["--layer", "fc1.weight", "--layers", "1", "--steps", "2", "--json"]
    for source, out in ((folder, "a.npz"), (folder / "model-*.safetensors", "b.npz"), (folder / INDEX, "c.npz")):
        assert main(["compress", str(source), *arguments, "-o", str(tmp_path / out)]) == 0
        assert json.loads(capsys.readouterr().out)["layers"][0]["shape"] == [4, 6]
        assert main(["info", str(source), "--json"]) == 0
        assert sorted(json.loads(capsys.readouterr().out)["tensors"]) == sorted(weights())
    assert same(ar.load_compressed(tmp_path / "a.npz").expand(), ar.load_compressed(tmp_path / "b.npz").expand())


def test_shards_that_are_compressed_already_are_refused(tmp_path: Path) -> None:
    net = ar.BrickWall((4, 6), 1)
    shards(tmp_path)
    ar.save_compressed(tmp_path / "model-3.safetensors", {"w": ar.Entry(net, net.init(0))}, {}, seed=0)
    with pytest.raises(FileFormatError, match="holds generated weights already"):
        compress_file(tmp_path / "model-*.safetensors", tmp_path / "o.npz", ["fc1.weight"], options(1))


# Half precision


def halves(path: Path) -> np.ndarray:
    """Write a bfloat16 and a float16 tensor; return the first one's numbers."""
    upper = np.array([0x3F80, 0xBF80, 0x4049, 0x7F80, 0x0001, 0x8000], np.uint16)
    half = np.array([1.5, -2.0, 65504.0, 6e-8], np.float16)
    header = {
        "w": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
        "h": {"dtype": "F16", "shape": [2, 2], "data_offsets": [12, 20]},
    }
    path.write_bytes(safe(header, upper.tobytes() + half.tobytes()))
    return np.array([[1.0, -1.0, 3.140625], [np.inf, 9.18354962e-41, -0.0]], np.float32)


def test_half_precision_is_widened_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    expected = halves(path)
    file = open_tensors(path, widen=True)
    assert file.dtypes == {"w": "float32", "h": "float32"}
    assert same(file.load("w"), expected)
    assert same(file.load("h"), np.array([[1.5, -2.0], [65504.0, np.float16(6e-8)]], np.float32))
    plain = open_tensors(path)
    assert plain.dtypes == {"w": "bfloat16", "h": "float16"}
    assert plain.load("h").dtype == np.float16
    with pytest.raises(DTypeError, match=r"is bfloat16, which NumPy lacks; .* or read bfloat16 widened \(--widen\)"):
        plain.load("w")


@pytest.mark.parametrize("shape", [[10**9, 10**9], [2, 2], [7]], ids=str)
def test_a_forged_shape_is_refused_before_anything_is_allocated(shape: list[int], tmp_path: Path) -> None:
    header = {"w": {"dtype": "BF16", "shape": shape, "data_offsets": [0, 12]}}
    (tmp_path / "f.safetensors").write_bytes(safe(header, bytes(12)))
    with pytest.raises(FileFormatError, match=r"tensor 'w' of shape .* has 12 bytes"):
        open_tensors(tmp_path / "f.safetensors", widen=True).load("w")


def test_widened_numbers_are_torchs(tmp_path: Path) -> None:
    torch, safe_torch = peers.need("torch"), peers.need("safetensors.torch")
    value = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    safe_torch.save_file({"a": torch.zeros(3, dtype=torch.int8), "w": value}, tmp_path / "t.safetensors")
    read = open_tensors(tmp_path / "t.safetensors", widen=True).load("w")
    assert same(read, value.float().numpy())


def test_a_model_in_half_precision_is_compressed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    upper = np.arange(24, dtype=np.uint16) + 0x3F00
    bias = np.array([0x3F80] * 4, np.uint16)
    header = {
        "fc.weight": {"dtype": "BF16", "shape": [4, 6], "data_offsets": [0, 48]},
        "fc.bias": {"dtype": "BF16", "shape": [4], "data_offsets": [48, 56]},
    }
    (tmp_path / SINGLE).write_bytes(safe(header, upper.tobytes() + bias.tobytes()))
    arguments = ["compress", str(tmp_path), "--layer", "fc.weight", "--layers", "1", "--steps", "2", "--quiet"]
    assert main([*arguments, "-o", str(tmp_path / "o.npz")]) == 2
    assert "half precision: --widen" in capsys.readouterr().err
    assert main([*arguments, "-o", str(tmp_path / "o.npz"), "--widen"]) == 0
    assert same(ar.load_compressed(tmp_path / "o.npz").dense["fc.bias"], np.ones(4, np.float32))


def test_half_precision_in_npz_and_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    value = np.array([[1.5, -2.0]], np.float16)
    np.savez(tmp_path / "h.npz", w=value)
    with h5py.File(tmp_path / "h.h5", "w") as file:
        file["w"] = value
    for name in ("h.npz", "h.h5"):
        assert same(open_tensors(tmp_path / name, widen=True).load("w"), value.astype(np.float32))
        assert same(open_tensors(tmp_path / name).load("w"), value)


# Broken and hostile


def astray(name: Any) -> dict[str, Any]:
    return {"weight_map": {**dict.fromkeys(weights(), NAMES[0]), "fc2.bias": name}}


HOSTILE: list[tuple[str, dict[str, Any], str]] = [
    *(
        (f"leaves: {name!r}", astray(name), "allowed: names of files in its own folder")
        for name in (
            *("../secret.safetensors", "/etc/secret.safetensors", "sub/w.safetensors", "..\\w.safetensors"),
            *("C:w.safetensors", "", "..", ".", ".w.safetensors", "w.safetensors\0"),
        )
    ),
    ("another suffix", astray("weights.bin"), "must end in .safetensors or .npz"),
    ("no file", astray("model-00003.safetensors"), "needs model-00003.safetensors, which is not there"),
    ("wrong shard", astray(NAMES[0]), f"disagree: {NAMES[0]} does not hold fc2.weight, fc2.bias"),
    ("not all named", {"weight_map": {"fc1.weight": NAMES[0]}}, "disagree: it does not name fc1.bias"),
    ("no table", {"weight_map": [1]}, "no table weight_map"),
    ("empty", {"weight_map": {}}, "no table weight_map"),
    ("numbers", {"weight_map": {"fc1.weight": 1}}, "no table weight_map"),
    ("nested", {"weight_map": {"fc1.weight": {"a": "b"}}}, "no table weight_map"),
]


@pytest.mark.parametrize(("what", "index", "phrase"), HOSTILE, ids=[what for what, *_ in HOSTILE])
def test_indices_that_lie(what: str, index: dict[str, Any], phrase: str, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    write_tensors(tmp_path / "secret.safetensors", {"fc2.bias": weights()["fc2.bias"]}, {})
    with pytest.raises(FileFormatError, match=phrase):
        open_tensors(shards(tmp_path / "m", **index))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", "[" * 100_000, '{"weight_map": {"a"', "\xff\xfe", '{"weight_map": null}']
)
def test_broken_indices(text: str, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_bytes(text.encode("latin1"))
    with pytest.raises(FileFormatError, match="index"):
        open_tensors(tmp_path)


def test_an_index_cut_anywhere_gives_one_error(tmp_path: Path) -> None:
    whole = (shards(tmp_path) / INDEX).read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / INDEX).write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match="is no readable index"):
            open_tensors(tmp_path)


def test_shards_cut_or_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shards(tmp_path) / NAMES[1]
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(FileFormatError, match=f"{NAMES[1]} is truncated"):
        open_tensors(tmp_path)
    path.write_bytes((tmp_path / NAMES[0]).read_bytes())
    with pytest.raises(FileFormatError, match=f"{NAMES[0]} and {NAMES[1]} both hold fc1.bias, fc1.weight"):
        open_tensors(tmp_path / "model-*.safetensors")
    monkeypatch.setattr("adntn_ref.compression.sources.MAX_SHARDS", 1)
    with pytest.raises(FileFormatError, match="names 2 files; allowed: 1"):
        open_tensors(tmp_path)
    with pytest.raises(FileFormatError, match=r"model-\*.safetensors matches 2 files; allowed: 1"):
        open_tensors(tmp_path / "model-*.safetensors")
    monkeypatch.setattr("adntn_ref.compression.sources.MAX_INDEX", 10)
    with pytest.raises(AdntnError, match="larger than an index may be"):
        open_tensors(tmp_path)

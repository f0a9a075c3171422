"""HDF5 files of weights, as Keras writes them, and the comparison of families on them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.cli import main
from adntn_ref.compression.h5file import H5File, open_tensors
from adntn_ref.compression.tensorfile import TensorFile, write_tensors
from adntn_ref.errors import ArrayError, FileFormatError, MissingExtra, NothingSelected
from adntn_ref.validation import equal_count

h5py = pytest.importorskip("h5py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file["conv/kernel:0"] = rng.standard_normal((3, 3, 4, 8)).astype("float32")
        file["dense/kernel:0"] = rng.standard_normal((16, 8))
        file["dense/bias:0"] = np.zeros(8, "float32")
        file["names"] = np.array([b"conv", b"dense"])
    return tmp_path / "model.h5"


def test_what_a_file_holds(path: Path) -> None:
    file = open_tensors(path)
    assert isinstance(file, H5File)
    assert file.shapes == {"conv/kernel:0": (3, 3, 4, 8), "dense/bias:0": (8,), "dense/kernel:0": (16, 8)}
    assert file.dtypes["dense/kernel:0"] == "float64"
    assert file.names == list(file.shapes)
    assert file.load("dense/kernel:0").shape == (16, 8)


def test_other_files_open_as_before(tmp_path: Path) -> None:
    write_tensors(tmp_path / "w.npz", {"a": np.eye(2)}, {})
    assert isinstance(open_tensors(tmp_path / "w.npz"), TensorFile)


def test_bad_files(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="there is no file"):
        open_tensors(tmp_path / "none.h5")
    broken = tmp_path / "broken.hdf5"
    broken.write_bytes(path.read_bytes()[:700])
    with pytest.raises(FileFormatError, match="no readable HDF5 file"):
        open_tensors(broken)
    file = H5File(path)
    with pytest.raises(NothingSelected, match="no tensor 'other'"):
        file.load("other")
    with h5py.File(path, "a") as changed:
        del changed["dense/bias:0"]
        del changed["dense/kernel:0"]
        changed["dense/kernel:0"] = np.zeros((2, 2))
    with pytest.raises(FileFormatError, match="cannot be read"):
        file.load("dense/bias:0")
    with pytest.raises(FileFormatError, match="changed while it was read"):
        file.load("dense/kernel:0")


def test_without_the_package(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adntn_ref.compression.h5file.need", _missing)
    with pytest.raises(MissingExtra, match="h5"):
        H5File(path)


def _missing(module: str, extra: str) -> Any:
    raise MissingExtra(f"needs {module}, extra {extra}")


def test_keras_order_is_turned_into_ours(path: Path) -> None:
    file = open_tensors(path)
    turned = equal_count.weight_of(file, "conv/kernel:0", "hwio")
    assert turned.shape == (8, 4, 3, 3)
    assert turned.flags.c_contiguous
    assert turned[5, 2, 1, 0] == file.load("conv/kernel:0")[1, 0, 2, 5]
    assert equal_count.weight_of(file, "conv/kernel:0", "oihw").shape == (3, 3, 4, 8)
    with pytest.raises(ArrayError, match="has shape"):
        equal_count.weight_of(file, "dense/bias:0", "oihw")


def test_families_at_equal_count(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(path), "--layer", "*kernel:0", "--order", "hwio", "--share", "0.4", "--steps", "5"]
    assert equal_count.main([*arguments, "--json"]) == 0
    conv, dense = json.loads(capsys.readouterr().out)
    assert (conv["shape"], conv["most"]) == ([8, 4, 3, 3], 115)
    assert [row["family"] for row in dense["rows"]] == list(ar.NETWORKS)
    fitted = [row for row in (*conv["rows"], *dense["rows"]) if row["parameters"] is not None]
    assert all(row["parameters"] <= 115 for row in fitted)
    assert all(0 < row["relative_error"] < 1.2 for row in fitted)
    svd = next(row for row in dense["rows"] if row["family"] == "lowrank")
    values = np.linalg.svd(open_tensors(path).load("dense/kernel:0"), compute_uv=False)
    expected = np.sqrt((values[2:] ** 2).sum() / (values**2).sum())
    assert (svd["parameters"], svd["relative_error"]) == (48, pytest.approx(expected))
    assert equal_count.main([*arguments, "--families", "ttn"]) == 0
    assert "at most 115 parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--share": "2"}, "--share must be above 0"),
        ({"--layer": "zz"}, "matches none"),
        ({"--layer": "*bias*"}, "shape"),
    ],
)
def test_bad_options(path: Path, changed: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"--layer": "*kernel:0", "--share": "0.4", **changed}
    assert equal_count.main([str(path), *(word for pair in options.items() for word in pair)]) == 2
    assert message in capsys.readouterr().err


def test_a_family_that_is_too_large_gets_a_row_without_an_error() -> None:
    (row,) = equal_count.compare(np.eye(8), 3, ["mera"], steps=1, seed=0)
    assert (row["parameters"], row["relative_error"], row["how"]) == (None, None, "too large")


def test_compress_and_info_read_it(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "small.npz")
    options = ["--layer", "dense/kernel*", "--layers", "2", "--steps", "5", "--json"]
    assert main(["compress", str(path), "-o", output, *options]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["weights"]) for row in facts["layers"]] == [("dense/kernel:0", 128)]
    loaded = ar.load_compressed(output)
    assert loaded.entries["dense/kernel:0"].generate().shape == (16, 8)
    np.testing.assert_array_equal(loaded.dense["conv/kernel:0"], H5File(path).load("conv/kernel:0"))
    assert main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tensors"]["conv/kernel:0"]["shape"] == [3, 3, 4, 8]

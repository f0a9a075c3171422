"""HDF5 files of weights, as Keras writes them, and Keras's order of axes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.cli import main
from adntn_ref.compression.h5file import H5File
from adntn_ref.compression.sources import open_tensors
from adntn_ref.compression.tensorfile import TensorFile, write_tensors
from adntn_ref.compression.weights import compress_file, read_weight
from adntn_ref.errors import ArrayError, FileFormatError, MissingExtra, NonFiniteError, NothingSelected, SpecError

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
    turned = read_weight(file, "conv/kernel:0", "hwio")
    assert turned.shape == (8, 4, 3, 3)
    assert turned.flags.c_contiguous
    stored = file.load("conv/kernel:0")
    for o, i, h, w in np.ndindex(8, 4, 3, 3):
        assert turned[o, i, h, w] == stored[h, w, i, o]
    np.testing.assert_array_equal(read_weight(file, "dense/kernel:0", "hwio"), file.load("dense/kernel:0").T)
    np.testing.assert_array_equal(read_weight(file, "conv/kernel:0"), stored)
    with pytest.raises(ArrayError, match="has shape"):
        read_weight(file, "dense/bias:0", "oihw")
    with pytest.raises(SpecError, match="order must be one of oihw, hwio, got 'HWIO'"):
        read_weight(file, "conv/kernel:0", "HWIO")


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize("network", ["brickwall", "mera", "mpo"])
def test_a_keras_file_there_and_back(
    suffix: str, network: str, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """compress --order hwio fits (outputs, inputs, ...), and expand writes the file's own order, to the bit."""
    small, dense = str(tmp_path / f"small.{suffix}"), str(tmp_path / f"dense.{suffix}")
    more = ["--network", network, "--parameters", "120", "--steps", "8", "--seed", "5", "--order", "hwio"]
    optimiser = ["--optimiser", "als"] if network == "mpo" else []
    assert main(["compress", str(path), "--layer", "*kernel:0", "-o", small, *more, *optimiser, "--json"]) == 0
    conv, matrix = json.loads(capsys.readouterr().out)["layers"]
    assert (conv["shape"], conv["axes"]) == ([3, 3, 4, 8], [3, 2, 0, 1])
    assert (matrix["shape"], matrix["axes"]) == ([16, 8], [1, 0])
    entry = ar.load_compressed(small).entries["conv/kernel:0"]
    assert entry.network.placement.shape == (8, 4, 3, 3)
    # the very fit of the turned weight
    target = H5File(path).load("conv/kernel:0").transpose(3, 2, 0, 1).copy()
    options = {"optimiser": "als"} if optimiser else {}
    result = ar.fit(ar.at_most(network, target.shape, parameters=120), target, steps=8, rng=5, **options)
    assert (entry.info["relative_error"], conv["relative_error"]) == (result.relative_error, result.relative_error)

    assert main(["expand", small, "-o", dense, "--quiet"]) == 0
    back, source = open_tensors(dense), H5File(path)
    assert {name: back.shapes[name] for name in back.names} == source.shapes
    assert {name: back.dtypes[name] for name in back.names} == source.dtypes
    made = result.generate().transpose(2, 3, 1, 0)
    assert np.ascontiguousarray(made).tobytes() == back.load("conv/kernel:0").tobytes()
    difference = np.linalg.norm(back.load("conv/kernel:0") - source.load("conv/kernel:0"))
    assert difference / np.linalg.norm(source.load("conv/kernel:0")) == pytest.approx(result.relative_error, rel=1e-5)

    assert main(["info", small, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["generated"]["conv/kernel:0"]
    assert (facts["shape"], facts["axes"], facts["spec"]["shape"]) == ([3, 3, 4, 8], [3, 2, 0, 1], [8, 4, 3, 3])
    assert main(["info", small]) == 0
    assert "3 x 3 x 4 x 8" in capsys.readouterr().out


def test_the_table_of_turned_weights(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--layer", "*kernel:0", "--layers", "1", "--steps", "2", "-o", str(tmp_path / "s.npz")]
    assert main(["compress", str(path), *options, "--order", "hwio"]) == 0
    shown = capsys.readouterr().out
    for text in ("hwio, fitted as (outputs, inputs, ...)", "3 x 3 x 4 x 8", "16 x 8", "relative error", "seconds"):
        assert text in shown
    assert main(["compress", str(path), *options, "--force"]) == 0
    assert "hwio" not in capsys.readouterr().out
    assert ar.load_compressed(tmp_path / "s.npz").header["format_version"] == 1


def test_no_other_order(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--layer", "*kernel:0", "--layers", "1", "-o", str(tmp_path / "s.npz"), "--order", "iohw"]
    with pytest.raises(SystemExit) as done:
        main(["compress", str(path), *options])
    assert done.value.code == 2
    assert "invalid choice: 'iohw'" in capsys.readouterr().err
    with pytest.raises(SpecError, match="order must be one of oihw, hwio, got 'iohw'"):
        compress_file(path, tmp_path / "s.npz", ["*kernel:0"], lambda shape: ar.BrickWall(shape, 1), order="iohw")
    assert not (tmp_path / "s.npz").exists()


def test_an_entry_that_is_not_finite_is_named_by_its_place_in_the_file(path: Path, tmp_path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["conv/kernel:0"][2, 1, 3, 5] = np.nan
    with pytest.raises(NonFiniteError, match=r"the first is at index \(2, 1, 3, 5\)"):
        compress_file(path, tmp_path / "s.npz", ["conv*"], lambda shape: ar.BrickWall(shape, 1), order="hwio")


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

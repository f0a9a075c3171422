"""Files that others change while we read them: one error, never a crash, never a mixture of old and new."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import same

from adntn_ref.cli import main
from adntn_ref.compression import weights
from adntn_ref.compression.sources import open_tensors
from adntn_ref.compression.tensorfile import TensorFile, write_tensors
from adntn_ref.errors import FileFormatError

OLD = {"a": np.arange(6000.0), "b": np.ones((3, 4))}
NEW = {"a": np.arange(6000.0) + 1, "b": np.zeros((3, 4))}


def write(path: Path, tensors: dict[str, Any]) -> None:
    if path.suffix == ".h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            for name, value in tensors.items():
                file[name] = value
    else:
        write_tensors(path, tensors, {}, force=True)


def replaced(path: Path) -> None:
    write(path.with_stem("other"), NEW)
    path.with_stem("other").replace(path)


def rewritten(path: Path) -> None:
    write(path.with_stem("other"), NEW)
    path.write_bytes(path.with_stem("other").read_bytes())
    later = path.stat().st_mtime_ns + 1
    os.utime(path, ns=(later, later))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


CHANGES: list[Callable[[Path], None]] = [replaced, rewritten, cut, emptied]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("suffix", ["safetensors", "npz", "h5"])
def test_between_two_tensors(suffix: str, change: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    write(path, OLD)
    file = open_tensors(path)
    assert same(file.load("b"), OLD["b"])
    change(path)
    with pytest.raises(FileFormatError, match=r"changed while it was read|cannot be read"):
        file.load("a")
    path.unlink()
    with pytest.raises(FileFormatError, match="cannot be read"):
        file.load("a")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
@pytest.mark.parametrize("moment", [1, 2])
def test_while_a_tensor_is_read(
    moment: int, suffix: str, change: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right after the file was found unchanged: nothing is mapped, so that a cut ends in an error and no signal."""
    path = tmp_path / f"x.{suffix}"
    write(path, OLD)
    file, calls = TensorFile(path), [0]
    real = TensorFile._require_unchanged

    def then_change(self: TensorFile, stream: Any) -> None:
        calls[0] += 1
        if calls[0] == 2 == moment:
            change(path)
        if change is not replaced or calls[0] == 1:  # the open stream still is the old file, whole
            real(self, stream)
        if calls[0] == moment == 1:
            change(path)

    monkeypatch.setattr(TensorFile, "_require_unchanged", then_change)
    if change is replaced:
        assert same(file.load("a"), OLD["a"])
        return
    with pytest.raises(FileFormatError, match=r"changed while it was read|is truncated|cannot be read"):
        file.load("a")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A training that writes its model anew under ``compress``: exit code 2, no output."""
    source = tmp_path / "model.npz"
    write(source, {"w": np.ones((4, 6)) + np.eye(4, 6), "v": np.eye(4)})
    real = weights.read_weight

    def reading(file: Any, name: str, order: str) -> Any:
        found = real(file, name, order)
        write(source, {"w": np.ones((4, 6)), "v": np.eye(4)})
        return found

    monkeypatch.setattr(weights, "read_weight", reading)
    arguments = ["compress", str(source), "--layer", "w", "--layers", "1", "-o", str(tmp_path / "o.npz")]
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        f"adntn-ref compress: {source} changed while it was read; try again when nobody writes to it\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]

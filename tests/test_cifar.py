"""CIFAR-10 and CIFAR-100 from binary files that the tests make, whole and wrong."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adntn_ref.errors import DataError, DTypeError
from adntn_ref.nn.data import cifar10, cifar100, load, read_cifar

TEN = (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin")


def records(count: int, classes: tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    labels = np.stack([(np.arange(count) + seed) % c for c in classes], axis=1)
    return np.concatenate([labels, rng.integers(0, 256, (count, 3072))], axis=1).astype(np.uint8)


def ten(folder: Path, count: int = 20) -> Path:
    folder.mkdir(exist_ok=True)
    for k, name in enumerate(TEN):
        (folder / name).write_bytes(records(count, (10,), k).tobytes())
    return folder


def hundred(folder: Path, counts: tuple[int, int] = (300, 40)) -> Path:
    folder.mkdir(exist_ok=True)
    for k, (name, count) in enumerate(zip(("train.bin", "test.bin"), counts, strict=True)):
        (folder / name).write_bytes(records(count, (20, 100), k).tobytes())
    return folder


def levels(images: Any, split: Any) -> np.ndarray:
    return np.rint((images.astype(np.float64) * split.std + split.mean) * 255).astype(np.uint8)


def test_cifar10(tmp_path: Path) -> None:
    split = cifar10(ten(tmp_path), complete=False, dtype="float64")
    assert (len(split.train), len(split.validation), split.test_size) == (90, 10, 20)
    assert (split.name, split.classes) == ("cifar10", 10)
    test = split.open_test()
    wanted = records(20, (10,), 5)
    np.testing.assert_array_equal(test.labels, wanted[:, 0])
    np.testing.assert_array_equal(levels(test.images, split).reshape(20, -1), wanted[:, 1:])
    assert test.images[0, 1, 2, 3] * split.std[1, 0, 0] + split.mean[1, 0, 0] == pytest.approx(
        wanted[0, 1 + 1024 + 2 * 32 + 3] / 255
    )
    np.testing.assert_allclose(split.train.images.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(split.train.images.std(axis=(0, 2, 3)), 1, atol=1e-12)
    assert split.mean.shape == split.std.shape == split.black.shape == (3, 1, 1)
    assert np.bincount(split.validation.labels).tolist() == [1] * 10
    everything = np.concatenate([records(20, (10,), k) for k in range(5)])
    seen = np.concatenate([levels(part.images, split).reshape(-1, 3072) for part in (split.train, split.validation)])
    assert {row.tobytes() for row in seen} == {row[1:].tobytes() for row in everything}


def test_split_by_seed_alone(tmp_path: Path) -> None:
    folder = ten(tmp_path)
    splits = [cifar10(folder, seed=seed, complete=False, validation=20) for seed in (0, 0, 1)]
    held = [levels(split.validation.images, split).tobytes() for split in splits]
    assert held[0] == held[1] != held[2]
    assert {len(split.validation) for split in splits} == {20}
    tests = [levels(split.open_test().images, split).tobytes() for split in splits]
    assert tests[0] == tests[2]


def test_cifar100(tmp_path: Path) -> None:
    fine = cifar100(hundred(tmp_path), complete=False)
    coarse = cifar100(tmp_path, complete=False, coarse=True)
    wanted = records(40, (20, 100), 1)
    np.testing.assert_array_equal(fine.open_test().labels, wanted[:, 1])
    np.testing.assert_array_equal(coarse.open_test().labels, wanted[:, 0])
    assert (fine.classes, coarse.classes, fine.train.images.dtype) == (100, 20, np.float32)
    assert np.bincount(coarse.train.labels).size == 20


def test_folder_of_the_archive(tmp_path: Path) -> None:
    ten(tmp_path / "cifar-10-batches-bin")
    hundred(tmp_path / "cifar-100-binary")
    assert cifar10(tmp_path, complete=False).test_size == 20
    assert cifar100(tmp_path, complete=False).test_size == 40


def test_official_sizes_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of CIFAR-100's size, by name, from the folder that the environment names."""
    ten(tmp_path / "cifar10")
    monkeypatch.setenv("ADNTN_REF_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"data_batch_1.bin: got 61,460 bytes, expected 10,000 records of 3073 bytes"):
        load("cifar10")
    with pytest.raises(DataError, match=r"'cifar100': got no folder .*cifar100 \(its files, unpacked, belong there\)"):
        load("cifar100")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got 0 bytes, expected one or more records of 3073 bytes"),
        (records(2, (10,), 0).tobytes()[:-1], "got 6,145 bytes, expected one or more records"),
        (records(2, (10,), 0).tobytes() + b"x", "got 6,147 bytes"),
        (records(2, (20, 100), 0).tobytes(), "got 6,148 bytes, expected one or more records of 3073"),
        (bytes([9]) + bytes(3072) + bytes([10]) + bytes(3072), "got label 10 in record 1, allowed are 0..9"),
    ],
)
def test_wrong_files(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{re.escape(str(path))}: {message}"):
        read_cifar(path)


def test_both_labels_of_cifar100_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    for labels, message in (((20, 3), "label 20 in record 0, allowed are 0..19"), ((19, 100), "label 100 in record 0")):
        path.write_bytes(bytes(labels) + bytes(3072))
        with pytest.raises(DataError, match=message):
            read_cifar(path, classes=(20, 100))
    path.write_bytes(bytes([19, 99]) + bytes(3072))
    images, found = read_cifar(path, classes=(20, 100), count=1)
    assert (images.shape, found.tolist()) == ((1, 3, 32, 32), [[19, 99]])


def test_missing_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"got no such folder, expected one that holds data_batch_1.bin"):
        cifar10(tmp_path / "none")
    with pytest.raises(DataError, match="got no such file"):
        read_cifar(tmp_path / "none")
    (ten(tmp_path / "ten") / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"got no data_batch_3.bin, expected the files of the binary version, unpacked"):
        cifar10(tmp_path / "ten", complete=False)
    with pytest.raises(DataError, match="got 100 images for validation, allowed are 1 to 99"):
        cifar10(ten(tmp_path / "whole"), complete=False, validation=100)
    with pytest.raises(DTypeError, match="float16"):
        cifar10(tmp_path / "none", dtype="float16")

    def refuse(*args: Any, **more: Any) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(np, "fromfile", refuse)
    with pytest.raises(DataError, match=r"cannot be read \(not yours\)"):
        read_cifar(tmp_path / "whole" / "test_batch.bin")
    monkeypatch.setattr(np, "fromfile", lambda *args, **more: np.zeros(5, np.uint8))
    with pytest.raises(DataError, match=r"got 5 bytes, expected 61,460 as the file's size was"):
        read_cifar(tmp_path / "whole" / "test_batch.bin")

"""idx files and folders of them, as MNIST and Fashion-MNIST come."""

import gzip
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import CODES, FILES, header, idx, make_folder, raw_images

from adntn_ref.errors import DataError
from adntn_ref.nn.data import idx_folder, load, read_idx

# --- idx files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", CODES.values())
def test_idx_round_trip(kind: str, zipped: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for shape in ((5,), (3, 4), (2, 3, 4), (0, 5), (1,) * 64):
        array = (rng.standard_normal(shape) * 100).astype(kind)
        path = tmp_path / "x"
        path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
        back = read_idx(path)
        assert back.dtype == np.dtype(kind)
        assert back.dtype.isnative
        assert back.flags.writeable
        np.testing.assert_array_equal(back, array)
    assert read_idx(str(path)).shape == (1,) * 64


def test_idx_bytes_as_in_the_format(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes([0, 0, 0x0B, 1, 0, 0, 0, 2, 0x01, 0x02, 0xFF, 0xFE]))
    assert read_idx(path).tolist() == [258, -2]


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_truncated_anywhere_or_too_long(zipped: bool, tmp_path: Path) -> None:
    content = idx(np.arange(6, dtype=np.int16).reshape(2, 3))
    path = tmp_path / "x"
    pack = gzip.compress if zipped else bytes
    for part in [content[:end] for end in range(len(content))] + [content + b"\0", content + bytes(1000)]:
        path.write_bytes(pack(part))
        with pytest.raises(DataError, match=f"{re.escape(str(path))}: got .* expected"):
            read_idx(path)


def test_gz_truncated_or_damaged(tmp_path: Path) -> None:
    content = gzip.compress(idx(np.arange(200, dtype=np.int32)))
    path = tmp_path / "x.gz"
    for end in range(len(content)):
        path.write_bytes(content[:end])
        with pytest.raises(DataError, match=f"{re.escape(str(path))}: got .* expected"):
            read_idx(path)
    for place in (1, 2, len(content) // 2, len(content) - 6, len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        with pytest.raises(DataError, match="expected"):
            read_idx(path)
    path.write_bytes(content + b"rest")
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "magic number 0x, expected 4 bytes"),
        (b"\0\1\x08\1" + bytes(4), "magic number 0x00010801"),
        (b"\x89PNG", "magic number 0x89504e47"),
        (header(0x0A, 1) + b"\0", "type code 0x0a, expected 0x08, 0x09, 0x0b"),
        (header(0x08) + b"\0", "0 dimensions, expected 1 to 64"),
        (header(0x08, *[1] * 65) + b"\0", "65 dimensions, expected 1 to 64"),
        (header(0x08, 2, 2) + bytes(3), "room for 3 bytes of data, expected 4"),
        (header(0x08, 2, 2) + bytes(5), "bytes after the data, expected 4"),
        (header(0x08, *[2**32 - 1] * 5), "expected dimensions of at most"),
        (header(0x0E, 0, *[2**32 - 1] * 2), "expected dimensions of at most"),
    ],
)
def test_idx_errors(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    for pack in (bytes, gzip.compress):
        path.write_bytes(pack(content))
        # A zipped file is not known to be too short before it is read.
        expected = message.replace("room for ", "") if pack is gzip.compress else message
        with pytest.raises(DataError, match=f"{re.escape(str(path))}: got .*{expected}"):
            read_idx(path)


def test_idx_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="no such file, expected an idx file"):
            read_idx(path)


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(idx(np.zeros(3, dtype=np.uint8)))

    def refuse(*_: Any) -> None:
        raise PermissionError("refused")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"cannot be read \(refused\)"):
        read_idx(path)


def test_huge_claims_allocate_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    bomb = gzip.compress(header(0x08, 3) + bytes(1 << 24))  # 16 MiB behind a claim of 3 bytes
    lie = gzip.compress(header(0x08, 1 << 29) + np.random.default_rng(0).bytes(1 << 20))  # half a GiB from 1 MiB
    plain = header(0x08, 2**32 - 1) + bytes(10)
    small = gzip.compress(header(0x08, 2**32 - 1) + bytes(10))
    for content in (plain, small, bomb, lie):
        path.write_bytes(content)
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match="expected"):
                read_idx(path)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 8 << 20


def test_max_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(idx(np.zeros(10, dtype=np.int32)))
    assert read_idx(path, max_bytes=40).shape == (10,)
    with pytest.raises(DataError, match=r"got 40 bytes .* allowed are max_bytes=39"):
        read_idx(path, max_bytes=39)


# --- Folders of idx files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dot", [False, True])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_folder(ending: str, dot: bool, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "fashion", ending, dot)
    split = idx_folder(folder, validation=20)
    assert (len(split.train), len(split.validation), split.test_size) == (40, 20, 20)
    assert (split.name, split.classes) == ("fashion", 10)
    assert split.train.images.shape == (40, 1, 4, 3)
    assert np.bincount(split.train.labels).tolist() == [4] * 10
    assert np.bincount(split.validation.labels).tolist() == [2] * 10
    rng = np.random.default_rng(5)
    train, test = (rng.integers(0, 256, (n, 4, 3), dtype=np.uint8) for n in (60, 20))
    label_of = {image.tobytes(): i // 6 for i, image in enumerate(train)}
    seen = raw_images(split.train, split, 255) + raw_images(split.validation, split, 255)
    assert sorted(seen) == sorted(label_of)
    assert [label_of[image] for image in seen] == [*split.train.labels, *split.validation.labels]
    opened = split.open_test()
    assert raw_images(opened, split, 255) == [image.tobytes() for image in test]
    assert opened.labels.tolist() == [*range(10), *range(10)]
    wide = idx_folder(folder, validation=20, dtype="float64").train.images
    np.testing.assert_allclose([wide.mean(), wide.std()], [0, 1], atol=1e-12)


def test_idx_folder_options(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "m")
    split = idx_folder(str(folder), name="mine", dtype="float64")
    assert (split.name, len(split.validation), split.train.images.dtype.name) == ("mine", 6, "float64")
    other = idx_folder(folder, seed=1)
    assert set(raw_images(other.validation, other, 255)) != set(raw_images(split.validation, split, 255))
    by_name = load("idx", folder, seed=1)
    assert by_name.train.images.tobytes() == other.train.images.tobytes()
    for wrong in (0, 60, 1.5, True):
        with pytest.raises(DataError, match="validation"):
            idx_folder(folder, validation=wrong)  # type: ignore[arg-type]
    assert len(idx_folder(folder, validation=59).train) == 1


def test_idx_folder_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        idx_folder(tmp_path / "none")
    folder = make_folder(tmp_path / "m")
    (folder / FILES[1]).unlink()
    (folder / FILES[2]).unlink()
    with pytest.raises(DataError, match=f"got no {FILES[1]}, {FILES[2]}, expected all four"):
        idx_folder(folder)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"train_images": np.zeros((60, 12), dtype=np.uint8)}, "train-images.*expected 3 dimensions"),
        ({"train_images": np.zeros((60, 4, 3), dtype=np.float32)}, "of float32, expected 3 .* of uint8"),
        ({"train_images": np.zeros((60, 0, 3), dtype=np.uint8)}, "none of them 0"),
        ({"train_labels": np.zeros((60, 1), dtype=np.uint8)}, "train-labels.*expected 1 dimensions"),
        ({"train_labels": np.zeros(59, dtype=np.uint8)}, "got 59 labels, expected 60"),
        ({"t10k_labels": np.full(20, 10, dtype=np.uint8)}, r"t10k-labels.*got labels 10\.\.10, allowed are 0\.\.9"),
        ({"t10k_images": np.zeros((20, 3, 4), dtype=np.uint8)}, r"got images of \(3, 4\) pixels, expected \(4, 3\)"),
        ({"train_images": np.full((60, 4, 3), 7, dtype=np.uint8)}, "pixels are all equal"),
    ],
)
def test_idx_folder_inconsistent(replaced: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        idx_folder(make_folder(tmp_path / "m", **replaced))

"""ONNX files that lie, or hold more than the package onnx could be given: weights in them are found all the same."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import peers
import pytest
from hostile import quickly

import adntn_ref as ar
from adntn_ref.compression import onnxfile
from adntn_ref.compression.onnxwire import MAX_DIMS, MAX_FIELDS, as_varint, find
from adntn_ref.errors import FileFormatError, NothingSelected

onnx = peers.need("onnx")
W = np.arange(6, dtype=np.float32).reshape(2, 3)
NODE, TENSOR = b"\x0a", b"\x2a"


def field(tag: bytes, content: bytes) -> bytes:
    return tag + as_varint(len(content)) + content


def file_of(*graphs: bytes) -> bytes:
    return b"".join(field(b"\x3a", graph) for graph in graphs)


def tensor(name: str = "w", array: Any = W, **changes: Any) -> bytes:
    made = onnx.numpy_helper.from_array(array, name)
    for key, value in changes.items():
        setattr(made, key, value)
    return field(TENSOR, made.SerializeToString())


def update(data: bytes, folder: Path, **weights: Any) -> bytes:
    (folder / "a.onnx").write_bytes(data)
    ar.update_onnx(folder / "a.onnx", weights, folder / "b.onnx", force=True)
    return (folder / "b.onnx").read_bytes()


def test_all_but_the_weights_stays_byte_for_byte(tmp_path: Path) -> None:
    """Other weights first, before and after one another, and everything that this package knows nothing of."""
    odd = field(b"\xfa\x3e", b"of nobody") + b"\xf8\x3e\1" + b"\xfd\x3e1234" + b"\xf9\x3e12345678"
    around = (b"\x08\x07" + odd, odd)
    old = odd + tensor("b") + field(NODE, odd) + tensor("w") + odd + tensor("c") + odd
    data = around[0] + file_of(old) + around[1]
    new = update(data, tmp_path, c=W + 3, w=W + 2)
    expected = odd + tensor("b") + field(NODE, odd) + tensor("w", W + 2) + odd + tensor("c", W + 3) + odd
    assert new == around[0] + file_of(expected) + around[1]
    assert update(data, tmp_path) == data
    assert len(onnx.load_model_from_string(new).graph.initializer) == 3


def test_shapes_are_read_in_both_forms(tmp_path: Path) -> None:
    name, kind = field(b"\x42", b"w"), b"\x10\x01"
    raw = field(b"\x4a", W.tobytes())
    for dims in (b"\x08\2\x08\3", field(b"\x0a", b"\2\3"), b"\x08\2" + field(b"\x0a", b"\3"), b"\x08\x82\x00\x08\x03"):
        data = file_of(field(TENSOR, dims + kind + raw + name))
        assert list(onnx.load_model_from_string(data).graph.initializer[0].dims) == [2, 3]
        assert update(data, tmp_path, w=W) == file_of(tensor("w"))


@pytest.mark.parametrize(
    ("data", "phrase"),
    [
        (b"", "it has no graph"),
        (b"\x08\x07", "it has no graph"),
        (b"\x38\x07", "it has no graph"),
        (file_of(tensor(), tensor("b")), "it has two graphs"),
        (file_of(tensor() + tensor()), "it has two initializers called w"),
        (file_of(tensor(data_location=1)), "it keeps w in a file beside it"),
        (file_of(field(TENSOR, field(b"\x42", b"w\x1b") + b"\x70\1")), "it keeps w. in a file beside it"),
        (file_of(tensor())[:-1], "it is truncated or broken at byte 0"),
        (file_of(field(TENSOR, b"\x0a\5\1")), "it is truncated or broken at byte"),
        (file_of(b"\x2b\x2c"), "a field at byte 2 is of no known kind"),
        (file_of(b"\x02\0"), "it is truncated or broken at byte 2"),
        (file_of(b"\xff" * 12), "it is truncated or broken at byte 2"),
        (file_of(b"\x2a" + b"\xff" * 9 + b"\1"), "it is truncated or broken at byte 2"),
        (file_of(field(TENSOR, b"\x08\1" * (MAX_DIMS + 1))), "a tensor has more than 64 axes"),
        (file_of(field(TENSOR, field(b"\x0a", b"\1" * 10**6))), "a tensor has more than 64 axes"),
        (file_of(tensor(data_type=99)), "is of an unknown dtype, 99"),
        (file_of(tensor(data_type=0)), "is of an unknown dtype, 0"),
    ],
    ids=range(17),
)
def test_what_is_refused(data: bytes, phrase: str, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=phrase):
        update(data, tmp_path, w=W)
    assert not (tmp_path / "b.onnx").exists()


@pytest.mark.parametrize(
    "unit", [field(NODE, b""), field(TENSOR, b""), field(TENSOR, b"\x42\5abcde"), b"\x08\1", b"\xfa\x3e\0"]
)
def test_fields_without_end(unit: bytes) -> None:
    """onnx would hold up to a hundred times the bytes of such a file."""
    data = file_of(unit * (3 * MAX_FIELDS))
    started = time.process_time()
    with pytest.raises(FileFormatError, match="it has more than 250,000 fields"):
        find(data, ["w"])
    assert time.process_time() - started < 2
    few = file_of(unit * 10_000 + tensor())
    quickly(lambda: require_nothing(few), NothingSelected, 1)


def require_nothing(data: bytes) -> None:
    """Look for the initializers, and end as update_onnx does where the wanted one is missing."""
    model = find(data, ["w", "v"])
    assert model.found["w"].dims == (2, 3)
    assert len(model.names) <= 20
    raise NothingSelected("v")


def test_nothing_is_parsed_into_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("load", "load_model_from_string", "ModelProto"):
        monkeypatch.delattr(onnx, name)
    assert update(file_of(tensor()), tmp_path, w=W + 1) == file_of(tensor("w", W + 1))


def test_names_that_are_no_text(tmp_path: Path) -> None:
    data = file_of(field(TENSOR, field(b"\x42", b"\xff\x1b[2J")))
    with pytest.raises(NothingSelected) as caught:
        update(data, tmp_path, w=W)
    assert "\x1b" not in str(caught.value)
    with pytest.raises(NothingSelected):
        update(data, tmp_path, **{"\ud800": W})


def test_files_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = file_of(tensor())
    monkeypatch.setattr(onnxfile, "MAX_BYTES", len(data) - 1)
    with pytest.raises(FileFormatError, match="holds at most 2 GiB"):
        update(data, tmp_path, w=W)
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]

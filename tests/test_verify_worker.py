"""The worker's side of the conversation, and the messages themselves."""

import io
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from verify_cases import CANDIDATES, RANK, WALL

from adntn_ref.validation.case import reference
from adntn_ref.validation.verify import worker
from adntn_ref.validation.verify.framing import MAGIC, BrokenMessage, read_message, write_message
from adntn_ref.validation.verify.prepare import Prepared
from adntn_ref.validation.verify.process import _arrays
from adntn_ref.validation.verify.verdicts import Verdict


def serve(monkeypatch: pytest.MonkeyPatch, module: str, *cases: object) -> io.BytesIO:
    """Let the worker answer in this process, as far as its input goes; return what it wrote."""
    requests, answers = io.BytesIO(), io.BytesIO()
    write_message(requests, {"module": module, "path": ["/a/folder/of/its/own"]})
    for case in cases:
        request = Prepared(case, case.dtype, reference(case)).request
        write_message(requests, worker.request_header(request, ["weight", "gradient"]), _arrays(request))
    requests.seek(0)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(worker, "_private_streams", lambda: (requests, answers))
    assert worker.main() == 0
    assert "/a/folder/of/its/own" in sys.path
    answers.seek(0)
    return answers


def test_a_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = serve(monkeypatch, str(CANDIDATES / "wrong.py"), RANK, WALL)
    assert read_message(answers)[0] == {"functions": ["generate", "vjp"]}
    header, arrays = read_message(answers)  # of the low rank: it is refused as a whole
    assert (header["faults"], arrays) == ([["generate", Verdict.NOT_SUPPORTED.name, ""]], {})
    right = reference(WALL)
    header, arrays = read_message(answers)
    np.testing.assert_array_equal(arrays["weight"], right["weight"], strict=True)
    header, arrays = read_message(answers)
    assert set(arrays) == {quantity for quantity in right if quantity.startswith("gradient/")}
    with pytest.raises(BrokenMessage):
        read_message(answers)


def test_what_cannot_be_imported_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = serve(monkeypatch, "no.such.module")
    assert read_message(answers)[0] == {"error": "there is no module no.such.module"}


def test_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_private_streams", lambda: (io.BytesIO(), io.BytesIO()))
    assert worker.main() == 0


def test_a_files_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_helper_of_one_test.py").write_text("def generate(): ...\n", encoding="utf8")
    text = "from my_helper_of_one_test import generate\nvjp = generate\n"
    (tmp_path / "mine_of_one_test.py").write_text(text, encoding="utf8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    module = worker.load_functions(str(tmp_path / "mine_of_one_test.py"))
    assert worker.functions_of(module) == ["generate", "vjp"]


@pytest.mark.parametrize("dtype", ["float64", "<f4", ">f8", "complex128", "float16", "bool", "int64"])
def test_messages_keep_every_bit(dtype: str) -> None:
    stream = io.BytesIO()
    array = (np.arange(6).reshape(2, 3) - 2).astype(dtype)
    write_message(
        stream, {"a": [1, "\ud800"]}, {"x/y": array, "": array[:, ::2], "none": array[:0], "one": array[0, 0]}
    )
    stream.seek(0)
    header, arrays = read_message(stream)
    assert header == {"a": [1, "\ud800"]}
    np.testing.assert_array_equal(arrays["x/y"], array, strict=True)
    np.testing.assert_array_equal(arrays[""], array[:, ::2], strict=True)
    assert (arrays["none"].shape, arrays["one"].shape) == ((0, 3), ())


def message(head: bytes, *blobs: bytes) -> bytes:
    return MAGIC + struct.pack("<Q", len(head)) + head + b"".join(blobs)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MAGIC,
        b"hello, this is no message",
        message(b"{}"),
        message(b"no JSON"),
        message(b"\xff\xfe"),
        message(b'{"header": {}, "arrays": [["x", 100]]}', b"short"),
        message(b'{"header": {}, "arrays": [["x", 4]]}', b"none"),
        message(b'{"header": {}, "arrays": 3}'),
        message(b'{"header": 3, "arrays": []}'),
        MAGIC + struct.pack("<Q", 2**60) + b"{}",
    ],
)
def test_broken_messages(data: bytes) -> None:
    with pytest.raises(BrokenMessage):
        read_message(io.BytesIO(data))

"""ONNX files that get another weight; what comes out is compared with what the package onnx makes of it."""

import random
from importlib.util import find_spec
from typing import Any

import numpy as np

from adntn_ref.compression.onnxfile import update_onnx
from adntn_ref.extras import need
from fuzz.harness import Target, file_of, folder
from fuzz.mutate import of_bytes

NEW = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}
INSIDE = {(): (7,), (7,): (1, 5)}
"""Path of a message -> its fields that are messages: ModelProto.graph, GraphProto.node and .initializer."""
NUMBERS = (0, 1, 2, 3, 6, 8, 127, 128, 2**31, 2**32 - 1, 2**63, 2**64 - 1)


def one(data: bytes) -> None:
    out = folder() / "out.onnx"
    update_onnx(file_of(data, "in.onnx"), NEW, out, force=True)
    before, after = _parsed(data), _parsed(out.read_bytes())
    if before is None:  # broken where it is not looked at
        return
    assert after is not None
    assert len(after.graph.node) == len(before.graph.node)
    assert len(after.graph.initializer) == len(before.graph.initializer)
    held = [tensor for tensor in after.graph.initializer if (tensor.dims, tensor.data_type) == ([2, 3], 1)]
    assert any(tensor.raw_data == NEW["w"].tobytes() for tensor in held)


def _parsed(data: bytes) -> Any:
    try:
        return need("onnx", "onnx").load_model_from_string(data)
    except need("google.protobuf.message", "onnx").DecodeError:
        return None


def of_fields(data: bytes, rng: random.Random, path: tuple[int, ...] = ()) -> bytes:
    """Change one field of a message, or of a message inside, with all lengths made right."""
    try:
        fields = _split(data)
    except IndexError:
        return of_bytes(data, rng)
    if not fields:
        return of_bytes(data, rng)
    k = rng.randrange(len(fields))
    tag, content = fields[k]
    kind = rng.randrange(8)
    if tag & 7 == 2 and tag >> 3 in INSIDE.get(path, ()) and kind > 1:
        content = of_fields(content, rng, (*path, tag >> 3))
    elif kind == 0:
        fields.insert(rng.randrange(len(fields) + 1), fields[k])
    elif kind == 1:
        del fields[k]
        return b"".join(map(_joined, fields))
    elif kind == 2:
        tag = rng.choice((tag ^ 2, tag + 8, rng.randrange(256)))
    elif tag & 7 == 0:
        content = _varint(rng.choice(NUMBERS))
    else:
        content = of_bytes(content, rng)
    fields[k] = (tag, content)
    return b"".join(map(_joined, fields))


def _split(data: bytes) -> list[tuple[int, bytes]]:
    """Cut a message into tags and contents; IndexError where it is broken."""
    fields, at = [], 0
    while at < len(data):
        tag, at = _number(data, at)
        start, end = at, at + {1: 8, 5: 4}.get(tag & 7, 0)
        if tag & 7 == 0:
            end = _number(data, at)[1]
        elif tag & 7 == 2:
            length, start = _number(data, at)
            end = start + length
        fields.append((tag, data[start:end]))
        at = end
    return fields


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value, shift = value | (data[at] & 127) << shift, shift + 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def _varint(value: int) -> bytes:
    return b"" if value < 0 else bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


def _joined(field: tuple[int, bytes]) -> bytes:
    tag, content = field
    return _varint(tag) + (_varint(len(content)) if tag & 7 == 2 else b"") + content


def _files() -> list[bytes]:
    onnx = need("onnx", "onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    w = onnx.numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    listed = helper.make_tensor("w", kinds.FLOAT, (2, 3), [0.5] * 6)
    bias = onnx.numpy_helper.from_array(np.zeros(2, np.float32), "b")
    beside = helper.make_tensor("w", kinds.FLOAT, (2, 3), [0.5] * 6)
    beside.data_location = kinds.EXTERNAL
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)
    ends = [helper.make_tensor_value_info(name, kinds.FLOAT, ["n", size]) for name, size in (("x", 3), ("y", 2))]
    found = []
    for tensors in ([w, bias], [bias, listed], [beside]):
        graph = helper.make_graph([node], "g", ends[:1], ends[1:], tensors)
        found.append(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return found


COVERED = ("adntn_ref.compression.onnxwire", "adntn_ref.compression.onnxfile")
TARGETS = [Target("onnx", one, _files, mutate=of_fields, covered=COVERED)] if find_spec("onnx") else []

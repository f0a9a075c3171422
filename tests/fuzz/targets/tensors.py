"""safetensors files, compressed models and models by name."""

import json

import numpy as np

import adntn_ref as ar
from adntn_ref.compression.files import HEADER, load_compressed
from adntn_ref.compression.modelfile import load_model
from adntn_ref.compression.tensorfile import METADATA_ENTRY, TensorFile
from adntn_ref.nn.zoo import model
from fuzz.harness import Target, file_of
from fuzz.mutate import of_json, with_length
from fuzz.targets.spec import KEYS, NAMES, TEXTS

SPEC = {"network": "lowrank", "shape": [2, 3], "rank": 1}
MODEL = model("fc2", inputs=2, hidden=2, classes=2)


def tensors(data: bytes) -> None:
    file = TensorFile(file_of(data, "t.safetensors"))
    for name in file.names:
        file.load(name)


def head(data: bytes) -> None:
    """The header of a safetensors file alone, its length made right, before 64 bytes of data."""
    file = TensorFile(file_of(len(data).to_bytes(8, "little") + data + bytes(64), "t.safetensors"))
    for name in file.names:
        file.load(name)


def compressed(data: bytes) -> None:
    """The header of a compressed model: as text in the metadata, beside cores that fit the seeds."""
    header = {METADATA_ENTRY: {HEADER: data.decode("utf8", "replace")}, **CORES}
    load_compressed(file_of(safe(header, bytes(56)), "c.safetensors")).expand()


def named(data: bytes) -> None:
    load_model(MODEL, file_of(data, "m.safetensors"), dtype="float64")


def safe(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


CORES = {
    "w::left": entry("F64", [2, 1], 0, 16),
    "w::right": entry("F64", [1, 3], 16, 40),
    "b": entry("F64", [2], 40, 56),
}


def _headers() -> list[object]:
    return [
        {
            "w": entry("F32", [2, 2], 0, 16),
            "b": entry("I64", [], 16, 24),
            "u": entry("U8", [40], 24, 64),
            "__metadata__": {"format": "pt"},
        },
        {"h": entry("F16", [2, 4], 0, 16), "z": entry("F64", [0, 3], 16, 16), "i": entry("I32", [12], 16, 64)},
        {"m": entry("BF16", [32], 0, 64)},
        {"c": entry("C64", [8], 0, 64)},
        {},
    ]


def _files() -> list[bytes]:
    return [safe(header, bytes(size)) for header, size in zip(_headers(), (64, 64, 64, 64, 0), strict=True)]


def _models() -> list[bytes]:
    header, end = {}, 0
    for name, shape in MODEL.state_shapes.items():
        size = 4 * int(np.prod(shape))
        header[name], end = entry("F32", list(shape), end, end + size), end + size
    return [safe(header, bytes(end)), *_files()]


def _compressed() -> list[bytes]:
    entry = {"spec": SPEC, "dtype": "float64", "info": {"seed": 1}}
    facts = {"format_version": 1, "library_version": ar.__version__, "seed": 0, "entries": {"w": entry}, "complex": []}
    turned = {**facts, "format_version": 2, "entries": {"w": {**entry, "axes": [1, 0]}}}
    return [json.dumps(found).encode() for found in (facts, turned, {**facts, "complex": ["w::left", "w::right"]})]


SAFE_WORDS = ("dtype", "shape", "data_offsets", "__metadata__", "F32", "BF16", "U8", "BOOL", "F8_E4M3")
HEADER_WORDS = (
    "format_version",
    "entries",
    "complex",
    "spec",
    "dtype",
    "info",
    "axes",
    "float64",
    *KEYS,
    *NAMES,
    *TEXTS,
)
TARGETS = [
    Target("safetensors", tensors, _files, words=SAFE_WORDS, mutate=with_length(b"")),
    Target("safetensors-head", head, lambda: [safe(h)[8:] for h in _headers()], words=SAFE_WORDS, mutate=of_json),
    Target("compressed", compressed, _compressed, words=HEADER_WORDS, mutate=of_json),
    Target("model", named, _models, words=SAFE_WORDS, mutate=with_length(b"")),
]

"""Inputs that once broke a promise: (target, input, what it did)."""

import json
import tomllib

from fuzz.targets import TARGETS
from fuzz.targets.config import BLOCKS, SMALL
from fuzz.targets.npz import npz

LONG = "0x" + "f" * 4000
"""An integer that Python reads and cannot write."""


ENDLESS = f"""title = "a"
base = "digits-fc2-brickwall"
seeds = {list(range(120))}
rates = {[k / 1000 for k in range(1, 60)]}
[[networks]]
name = "mpo"
sizes = {list(range(1, 40))}
"""


PARTS = """title = "a"
base = "digits-fc2-brickwall"
[[networks]]
name = "brickwall"
sizes = [1, 2]
parts = 1000000000
combine = "sum"
"""


def claiming(shape: str) -> bytes:
    """Return an npy stream without data that declares a shape."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text


def inside(stream: bytes) -> bytes:
    """Return an archive that holds a broken stream."""
    return npz({"a": [0.0]}, raw=stream)


def onnx(*fields: bytes) -> bytes:
    """Return an ONNX file of a graph with one initializer of these fields."""
    tensor = b"".join(fields)
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    return b"\x3a" + bytes([len(graph)]) + graph


NAMED = b"\x42\1w"
LAYER_PARAMETERS = """title = "a"
base = "digits-fc2-brickwall"
[[networks]]
name = "mpo"
parameters = [400]
[networks.layer."fc1.weight"]
parameters = "a"
"""
KIND = '{"model_type": "adntn_ref", "format_version": 1, "in_shape": [2], "layers": [{"name": "a", "kind": []}]}'
FOUND: list[tuple[str, bytes, str]] = [
    ("config", SMALL.replace("hidden = 8", f"hidden = {LONG}").encode(), "ValueError: no text for an integer"),
    ("config", SMALL.replace("train = 10", f"train = -{9 * '9'}").encode(), "a negative number of images"),
    ("config", SMALL.replace("train = 10", f"train = {LONG}").encode(), "ValueError in the message"),
    ("config", SMALL.replace("hidden = 8", "hidden = " + "9" * 4400).encode(), "ValueError of int()"),
    ("config", SMALL.replace("hidden = 8", "hidden = 1979-05-27").encode(), "TypeError: a date is no JSON"),
    ("config", SMALL.replace("hidden = 8", "name = 1").encode(), "TypeError: model() got two values for name"),
    ("config", b"a = " + b"[" * 2000 + b"]" * 2000, "RecursionError of tomllib"),
    ("config-built", b'{"dense": {"rate": 1' + b"0" * 400 + b"}}", "OverflowError of isfinite()"),
    ("sweep", b'title = "a"\nnetworks = []\nbase = "' + b"a" * 300 + b'"', "OSError: file name too long"),
    (
        "config-built",
        json.dumps(tomllib.loads(SMALL) | {"stage1": {"steps": None}}).encode(),
        "steps that were none, and 300 when read again",
    ),
    ("sweep", LAYER_PARAMETERS.encode(), "TypeError: a text as the parameters of one layer"),
    ("results", b'{"key": []}\n', "TypeError: unhashable"),
    ("results", b'{"key": "a"}\n', "KeyError in the engine of sweeps"),
    ("starts", b"[]\n", "TypeError"),
    ("starts", b"\xff\n", "UnicodeDecodeError"),
    ("result", b"{}", "KeyError in the comparison"),
    ("checkpoint", inside(claiming("(1000000, 200000)")), "MemoryError: 1.5 TiB"),
    ("checkpoint", inside(claiming("(400000000,)")), "3 GiB allocated for a file of 300 bytes"),
    ("checkpoint", inside(claiming("(" * 3000)), "tokenize.TokenError of NumPy"),
    ("checkpoint", inside(claiming("-" * 9000 + "1")), "MemoryError of the parser"),
    ("checkpoint-head", b"[" * 5000, "RecursionError of json"),
    ("checkpoint-head", b'{"version": 1, "identity": [1]}', "AttributeError"),
    ("checkpoint-head", b'{"version": 1, "identity": {"model": "a", "steps": 3}}', "KeyError: numbers"),
    ("npy", claiming("(1000000, 200000)"), "MemoryError in messages"),
    ("npy", claiming("(" * 3000), "tokenize.TokenError in messages"),
    ("framing", b"ADNTNMSG" + (5000).to_bytes(8, "little") + b"[" * 5000, "RecursionError of json"),
    ("pretrained", KIND.encode(), "TypeError: unhashable"),
    ("safe-bytes", (2).to_bytes(8, "little") + b"[]", "raised as it came"),
    ("safe-bytes", (6).to_bytes(8, "little") + b'{"a":1', "ValueError of json"),
    ("case", b"[" * 5000, "RecursionError of json"),
    ("config", BLOCKS.replace("depth = 2", "depth = 1000000000").encode(), "3 GB of blocks, and more to come"),
    ("sweep", ENDLESS.encode(), "a minute and more to list 283,200 tasks"),
    ("sweep", PARTS.encode(), "50 s and 600 MB, then ended by hand"),
    ("shards", b'{"weight_map": {"a": "' + b"b" * 300 + b'.safetensors"}}', "OSError: file name too long"),
    ("onnx", onnx(b"\x08\2\x08\3\x10\x7f", NAMED), "KeyError: no dtype has that number"),
    ("onnx", onnx(b"\x42\1\xff"), "TypeError in the message: a name that is no UTF-8"),
    ("onnx", onnx(b"\x08\1" * 65, NAMED), "more axes than an array has"),
]
FOUND = [found for found in FOUND if found[0] in TARGETS]  # onnx is an extra
"""What the test-suite gives to every one again."""

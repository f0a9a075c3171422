"""Messages of a candidate's process."""

import io

import numpy as np

from adntn_ref.validation.verify.framing import MAGIC, read_message, write_message
from adntn_ref.validation.verify.process import functions_in, part_in
from adntn_ref.validation.verify.worker import request_from
from fuzz.harness import Target
from fuzz.mutate import with_length


def message(header: object, **arrays: object) -> bytes:
    stream = io.BytesIO()
    write_message(stream, header, arrays)
    return stream.getvalue()


def frames(data: bytes) -> None:
    stream = io.BytesIO(data)
    for _ in range(3):
        read_message(stream)


def answer(data: bytes) -> None:
    part_in(*read_message(io.BytesIO(data)))


def start(data: bytes) -> None:
    functions_in(read_message(io.BytesIO(data))[0])


def request(data: bytes) -> None:
    request_from(*read_message(io.BytesIO(data)))


def _messages() -> list[bytes]:
    weight = np.arange(4.0).reshape(2, 2)
    facts = {"name": "a", "spec": {}, "shapes": {"weight": [2, 2]}, "dtype": "float64", "groups": ["weight"]}
    return [
        message({"functions": ["generate", "vjp"]}),
        message({"error": "there is no module x"}),
        message({"group": "weight", "faults": []}, weight=weight),
        message({"group": "gradient", "faults": [["vjp", "RAISED", "no"]]}, **{"gradient/core0": weight[0]}),
        message({**facts, "several": False}, **{"params/core0": weight, "cotangent": weight}),
        message({**facts, "several": True}, **{"params/core0": weight, "cotangent/a": weight}),
        3 * message({}, weight=weight),
    ]


WORDS = (
    "ADNTNMSG",
    "header",
    "arrays",
    "group",
    "faults",
    "functions",
    "error",
    "weight",
    "RAISED",
    "GARBAGE",
    "shapes",
)
COVERED = ("adntn_ref.validation.verify", "adntn_ref.compression")
TARGETS = [
    Target("framing", frames, _messages, words=WORDS, mutate=with_length(MAGIC), covered=COVERED),
    Target("answer", answer, _messages, words=WORDS, mutate=with_length(MAGIC), covered=COVERED),
    Target("start", start, _messages, words=WORDS, mutate=with_length(MAGIC), covered=COVERED),
    Target("request", request, _messages, words=WORDS, mutate=with_length(MAGIC), covered=COVERED),
]

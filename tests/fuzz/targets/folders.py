"""Folders of models: the config, the index of shards, and a baseline's bytes."""

import json

import numpy as np

from adntn_ref.compression.pretrained import CONFIG, load_pretrained, save_pretrained
from adntn_ref.compression.safefile import from_bytes, in_bytes
from adntn_ref.compression.sources import INDEX, open_tensors
from fuzz.harness import Target, folder
from fuzz.mutate import of_json, with_length
from fuzz.targets.tensors import MODEL

NAMES = ("a.safetensors", "b.safetensors")


def pretrained(data: bytes) -> None:
    where = folder() / "pretrained"
    if not where.exists():
        save_pretrained(MODEL, MODEL.init(0), where)
    (where / CONFIG).write_bytes(data)
    load_pretrained(where)


def index(data: bytes) -> None:
    where = folder() / "shards"
    where.mkdir(exist_ok=True)
    for name in NAMES:
        (where / name).write_bytes(in_bytes({name[0]: np.ones(2)}))
    (where / INDEX).write_bytes(data)
    file = open_tensors(where)
    for name in file.names:
        file.load(name)


def in_memory(data: bytes) -> None:
    from_bytes(data)


def _configs() -> list[bytes]:
    where = folder() / "config"
    save_pretrained(MODEL, MODEL.init(0), where, force=True)
    return [(where / CONFIG).read_bytes()]


def _indices() -> list[bytes]:
    found = {"a": NAMES[0], "b": NAMES[1]}
    return [
        json.dumps({"weight_map": shards}).encode() for shards in (found, {"a": "../a.safetensors"}, {"a": NAMES[1]})
    ]


TARGETS = [
    Target("pretrained", pretrained, _configs, mutate=of_json),
    Target("shards", index, _indices, mutate=of_json, words=("weight_map", *NAMES)),
    Target("safe-bytes", in_memory, lambda: [in_bytes({"a": np.ones(2)}), in_bytes({})], mutate=with_length(b"")),
]

"""The four commands that are killed: what they are given, which files they leave, and when those are as good as others.

Each is small (a second or two), and writes into one folder. A :class:`Victim` says how it is started and how its files
are read without what depends on the machine's speed.
"""

import json
import re
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref.compression.tensorfile import TensorFile, write_tensors

FIT = """
import sys
import numpy as np
import adntn_ref as ar

target = np.random.default_rng(3).standard_normal((24, 20))
net = ar.BrickWall((24, 20), layers=2)
found = ar.fit(net, target, steps=500, restarts=2, checkpoint=sys.argv[1] + "/fit.npz")
entry = ar.Entry(net, found.params, {"loss": found.history.loss, "error": found.relative_error})
ar.save_compressed(sys.argv[1] + "/found.safetensors", {"w": entry}, {}, seed=0, force=True)
"""
EXPERIMENT = """
title = "to be killed"
seeds = [0]
[model]
name = "fc2"
[data]
name = "digits"
train = 200
validation = 50
test = 40
[compress]
layers = ["fc1.weight", "fc2.weight"]
[network]
name = "brickwall"
layers = 2
[dense]
epochs = 3
[stage1]
steps = 30
[stage2]
epochs = 2
epochs_between = 1
cores_rates = [0.002, 0.01]
"""
SWEEP = """
title = "to be killed"
base = "experiment.toml"
layers = [["fc1.weight"]]
rates = [0.01]
[[networks]]
name = "brickwall"
sizes = [1, 2]
[[networks]]
name = "mpo"
parameters = [100]
"""
TEMPORARY = re.compile(r"\..*\.part|\.tmp.*")
SPEED = ("timing.json", "environment.json", "starts.jsonl")
"""Ends of the names of files that depend on the machine's speed, or say when a start was."""
Read = Callable[[Path], Any]


@dataclass(frozen=True)
class Victim:
    """A command.

    Parameters
    ----------
    read : returns what of a finished file must come out the same, bytes unless it holds seconds
    output : a file that the command refuses to overwrite: once it is there, it has finished
    """

    name: str
    command: Callable[[Path, Path], list[str]]
    read: Read
    output: str | None = None

    def finished(self, out: Path) -> bool:
        """Whether a start that was killed had finished all the same."""
        return self.output is not None and (out / self.output).exists()


def prepare(home: Path) -> None:
    """Write what the commands are given into ``home``."""
    rng = np.random.default_rng(1)
    tensors = {f"fc{k}.weight": rng.standard_normal((20, 30 + k)).astype("float32") for k in range(3)}
    tensors["fc0.bias"] = np.zeros(20, "float32")
    write_tensors(home / "model.safetensors", tensors, {"format": "pt", "by": "tests", "for": "kills"})
    (home / "fit.py").write_text(FIT)
    (home / "experiment.toml").write_text(EXPERIMENT)
    (home / "sweep.toml").write_text(SWEEP)


def _ours(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "adntn_ref", *arguments, "--quiet"]


def _compress(home: Path, out: Path) -> list[str]:
    source = [str(home / "model.safetensors"), "--layer", "*.weight", "--layers", "2", "--steps", "120"]
    return _ours("compress", *source, "-o", str(out / "small.safetensors"))


def _bytes(path: Path) -> Any:
    return path.read_bytes()


def _read_fit(path: Path) -> Any:
    """Return a file of a fit; its checkpoint also says how many seconds it took."""
    if path.suffix != ".npz":
        return path.read_bytes()
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(bytes(arrays.pop("__adntn_ref_checkpoint__")))
    del header["numbers"]["seconds"]
    return header, {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}


def _read_sweep(path: Path) -> Any:
    """Return a file of a sweep: its results by key, in whatever order they came, and all without seconds."""
    if path.name == "results.jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len({line["key"] for line in lines}) == len(lines), "a result is there twice"
        return {line["key"]: {k: v for k, v in line.items() if k != "timing"} for line in lines}
    if path.name == "summary.json":
        facts = json.loads(path.read_text())
        for point in facts["points"]:
            point.pop("seconds", None)
        return facts
    return path.read_bytes()


VICTIMS = (
    Victim("compress", _compress, _bytes, "small.safetensors"),
    Victim("fit", lambda home, out: [sys.executable, str(home / "fit.py"), str(out)], _read_fit),
    Victim("experiment run", lambda home, out: _ours("experiment", "run", f"{home}/experiment.toml", "--out", str(out)),
           _bytes),
    Victim("sweep", lambda home, out: _ours("sweep", f"{home}/sweep.toml", "--out", str(out), "--workers", "2"),
           _read_sweep),
)  # fmt: skip


def files_of(folder: Path) -> dict[str, Path]:
    """Return all files of a folder by their names in it."""
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def temporary(folder: Path) -> list[str]:
    """Return the names of files that are being written, or were when the process was killed."""
    return [name for name, path in files_of(folder).items() if TEMPORARY.fullmatch(path.name)]


def contents(victim: Victim, folder: Path) -> dict[str, Any]:
    """Return what a finished folder holds, of files that tell the machine's speed only that they are there."""
    return {
        name: None if name.endswith(SPEED) or name == "lock" else victim.read(path)
        for name, path in files_of(folder).items()
    }


def half_written(folder: Path) -> list[str]:
    """Return the names of files that are not whole, under the name by which others read them."""
    return [name for name, path in files_of(folder).items() if not TEMPORARY.fullmatch(path.name) and not _whole(path)]


def _whole(path: Path) -> bool:
    try:
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".jsonl":  # appended to: a last line without its end is cut off by the next start
            content = path.read_bytes()
            [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
        elif path.suffix == ".safetensors":
            file = TensorFile(path)
            [file.load(name) for name in file.names]
        elif path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return archive.testzip() is None
    except Exception:
        return False
    return True

"""Pickles: refused by every reader, and no source file reads one."""

import ast
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import ONE

from adntn_ref.compression.checkpoints import HEADER, load_checkpoint
from adntn_ref.compression.npy import read_npz
from adntn_ref.compression.tensorfile import TensorFile
from adntn_ref.errors import FileFormatError
from adntn_ref.validation.verify.files import read_request

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for part in ("adntn_ref", "backends", "validation") for path in (ROOT / part).rglob("*.py"))


def test_pickles_are_refused(tmp_path: Path) -> None:
    class Danger:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "bare.npz").write_bytes(pickle.dumps(Danger()))
    np.savez(tmp_path / "inside.npz", a=np.array([Danger()], object), **{HEADER: np.array([Danger()], object)})
    (tmp_path / "bare.npy").write_bytes(pickle.dumps(Danger()))
    np.save(tmp_path / "inside.npy", np.array([Danger()], object), allow_pickle=True)
    for name in ("bare.npz", "inside.npz"):
        for read in (read_npz, TensorFile, lambda path: load_checkpoint(path, {})):
            with pytest.raises(FileFormatError):
                read(tmp_path / name)
    for name in ("bare.npy", "inside.npy"):
        facts = {"protocol": 1, "case": "a", "spec": ONE, "params": {"x": name}, "cotangent": name}
        (tmp_path / "request.json").write_text(json.dumps(facts))
        with pytest.raises(FileFormatError):
            read_request(tmp_path / "request.json")
    assert not (tmp_path / "ran").exists()


UNPICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def pickles_in(path: Path) -> list[str]:
    """Return what a source file does that may unpickle: imports, ``np.load``, or reading without a word on pickles."""
    found = []
    tree = ast.parse(path.read_text(encoding="utf8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    own = [call.func for call in calls if ast.unparse(call) == "exec('pass')"]  # see adntn_ref/ending.py
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(alias.name for alias in node.names)]
        found += [f"{path.name}:{node.lineno} imports {name}" for name in names if name.partition(".")[0] in UNPICKLING]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            whose = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            if (whose, node.func.attr) in (("np", "load"), ("numpy", "load"), ("torch", "load")):
                found.append(f"{path.name}:{node.lineno} calls {whose}.load")
            if node.func.attr in ("read_array", "save", "write_array") and whose in ("np", "numpy", "format", ""):
                allowed = [k.value for k in node.keywords if k.arg == "allow_pickle"]
                if not any(isinstance(value, ast.Constant) and value.value is False for value in allowed):
                    found += [f"{path.name}:{node.lineno} {node.func.attr} without allow_pickle=False"]
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            found.append(f"{path.name}:{node.lineno} allows pickles")
        if isinstance(node, ast.Name) and node.id in ("eval", "exec") and node not in own:
            found.append(f"{path.name}:{node.lineno} evaluates text")
    return found


def test_no_source_unpickles(tmp_path: Path) -> None:
    assert len(SOURCES) > 200
    assert [line for path in SOURCES for line in pickles_in(path)] == []
    for bad in (
        "import pickle",
        "from pickle import loads",
        "np.load(x)",
        "np.load(x, allow_pickle=True)",
        "eval('1')",
    ):
        (tmp_path / "bad.py").write_text(bad)
        assert pickles_in(tmp_path / "bad.py"), bad

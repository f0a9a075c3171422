"""Programs for the command protocol, good and bad: ``program.py KIND REQUEST``."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from honest import adjoint_states, generate, states, vjp

kind, path = sys.argv[1], Path(sys.argv[2])
folder, request = path.parent, json.loads(path.read_text(encoding="utf8"))


def load(files):
    if isinstance(files, dict):
        return {name: np.load(folder / file) for name, file in files.items()}
    return np.load(folder / files)


def save(files, arrays):
    for name, file in files.items() if isinstance(files, dict) else [("", files)]:
        np.save(folder / file, arrays[name] if isinstance(arrays, dict) else arrays)


if kind == "hangs":
    time.sleep(1000)
if kind == "signal":
    os.kill(os.getpid(), signal.SIGABRT)
if kind == "refuses":
    sys.exit(3)
spec, params, cotangent = request["spec"], load(request["params"]), load(request["cotangent"])
save(request["weight"], generate(spec, params))
if kind == "fails":
    print("a first line", file=sys.stderr)
    sys.exit("no gradient today")
gradient = vjp(spec, params, cotangent)
if kind == "missing":
    gradient_files = dict(list(request["gradient"].items())[1:])
else:
    gradient_files = request["gradient"]
save(gradient_files, gradient)
if "state" in request:
    save(request["state"], {name: x.reshape(-1) for name, x in states(spec, params).items()})
    save(request["adjoint"], adjoint_states(spec, params, cotangent))
first = next(iter(request["params"].values()))
if kind == "changes":
    np.save(folder / first, 2 * np.load(folder / first))
if kind == "link":
    (folder / request["weight"]).unlink()
    (folder / request["weight"]).symlink_to(folder / request["cotangent"])
if kind == "garbage":
    (folder / request["weight"]).write_bytes(b"not an array")

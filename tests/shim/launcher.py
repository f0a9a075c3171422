"""A launcher that runs the kernels' CUDA source on the CPU: compiled by g++ with ``shim.h``, called through ctypes.

Libraries are cached under the temporary folder by the hash of all that goes into them.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref.ad.activations import ACTIVATIONS
from adntn_ref.backends.launch import FILES, Constants, Instance, checked, source_of

HERE = Path(__file__).parent
ROOM = 227 * 1024
COMPILER = shutil.which("g++")
ORDERS = {"ascending": 0, "descending": 1, "shuffled": 2}
FLAGS = os.environ.get("ADNTN_REF_SHIM_FLAGS", "-O1").split()
"""The slow job adds sanitizers here."""
THREADED = "-fsanitize=thread" in FLAGS
"""The race detector sees threads of the operating system, not fibers."""

TAIL = """
alignas(128) REAL shared_memory[SHIM_ROOM];
{kernels}
extern "C" const char *shim_message() {{ return shim::message; }}
extern "C" long long shim_place(long long i, long long block, int low, int high, int shift)
{{
    return place(i, block, low, high, shift);
}}
extern "C" int shim_bank(int i) {{ return bank(i); }}
extern "C" int shim_group(int j, int at) {{ return group(j, at); }}
extern "C" double shim_factor(const REAL *start, const int *factor, long long i)
{{
    return factor_at(start, factor, i);
}}
"""
COLUMN = """
extern "C" long long shim_column(long long pair, long long side, long long right) { return column(pair, side, right); }
"""


def text_of(file: str, dtype: str, change: Callable[[str], str] = lambda text: text) -> str:
    """The C++ source of a library with the kernels of a file; ``change`` may plant a mistake in the kernels."""
    source = change(source_of(Instance(file, dtype), "(shim::activation)"))
    itemsize = np.dtype(dtype).itemsize
    kernels = "\n".join(f"SHIM_KERNEL({name})" for name in FILES[file])
    head = f'#include "shim.h"\n#define SHIM_ROOM {ROOM // itemsize}\n'
    return head + source + '\n#line 1 "tail"\n' + TAIL.format(kernels=kernels) + (COLUMN if file == "windows" else "")


@cache
def library(text: str) -> ctypes.CDLL:
    """Compile (or find) and load a library."""
    assert COMPILER is not None
    key = hashlib.sha256("\0".join([text, (HERE / "shim.h").read_text(), *FLAGS]).encode()).hexdigest()[:20]
    folder = Path(tempfile.gettempdir()) / f"adntn_ref_shim_{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{key}.so"
    if not target.exists():
        made = folder / f"{key}.{os.getpid()}"
        made.with_suffix(".cpp").write_text(text)
        command = [COMPILER, "-std=c++17", "-g", "-fPIC", "-shared", "-pthread", "-Wall", "-Wno-unknown-pragmas"]
        command += [*FLAGS, "-I", str(HERE), str(made.with_suffix(".cpp")), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "warning" not in done.stderr, done.stderr
        made.with_suffix(".cpp").unlink()
        made.replace(target)
    found = ctypes.CDLL(str(target))
    found.shim_message.restype = ctypes.c_char_p
    found.shim_place.argtypes = [ctypes.c_longlong, ctypes.c_longlong, *[ctypes.c_int] * 3]
    found.shim_place.restype = ctypes.c_longlong
    found.shim_factor.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_longlong]
    found.shim_factor.restype = ctypes.c_double
    if hasattr(found, "shim_column"):
        found.shim_column.argtypes = [ctypes.c_longlong] * 3
        found.shim_column.restype = ctypes.c_longlong
    return found


class ShimLauncher:
    """The launcher of the tests; counts what it launches."""

    xp = np

    def __init__(
        self,
        order: str = "ascending",
        shared: int = ROOM,
        processors: int = 4,
        cache: int = 50 << 20,
        change: Callable[[str], str] = lambda text: text,
    ) -> None:
        self.order, self.shared, self.processors, self.cache, self.change = order, shared, processors, cache, change
        self.constant = Constants(self.asarray)
        self.launched: list[tuple[str, tuple[int, int], int, int]] = []

    def asarray(self, host: Any) -> Any:
        return np.array(host, order="C")

    def launch(
        self,
        instance: Instance,
        kernel: str,
        grid: tuple[int, int],
        threads: int,
        shared: int,
        arguments: Sequence[Any],
    ) -> None:
        assert shared <= self.shared
        self.launched.append((kernel, grid, threads, shared))
        values = [_value(x, np.dtype(instance.dtype)) for x in checked(arguments)]
        pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
        run = getattr(library(text_of(instance.file, instance.dtype, self.change)), f"run_{kernel}")
        number = list(ACTIVATIONS).index(instance.activation)
        if run(*grid, threads, ctypes.c_size_t(shared), ORDERS[self.order], int(THREADED), number, pointers):
            found = library(text_of(instance.file, instance.dtype, self.change)).shim_message()
            raise AssertionError(f"{kernel}: {found.decode()}")


def _value(x: Any, dtype: np.dtype[Any]) -> Any:
    """An argument as the C value that the kernel takes."""
    if x is None:
        return ctypes.c_void_p(0)
    if isinstance(x, (int, np.integer)):
        return ctypes.c_longlong(int(x))
    if isinstance(x, float):
        return ctypes.c_double(x)
    assert x.dtype in (dtype, np.dtype(np.int32), np.dtype(np.float64)), x.dtype
    return ctypes.c_void_p(x.ctypes.data)

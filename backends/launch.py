"""Launching the fused kernels: their source with its constants, and who compiles and runs it.

An instance is a file of kernels with the dtype and the activation put in as macros, so that its kernels have plain C
names. Two launchers offer the same verb: CuPy's, which compiles with NVRTC, and one in the tests that runs the same
source on the CPU.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from adntn_ref.errors import BackendUnavailable
from adntn_ref.extras import need
from adntn_ref.program.steps import Activate, Program

from .kernel_plan import THREADS, Limits

KERNELS = Path(__file__).with_name("kernels")
FILES: dict[str, tuple[str, ...]] = {
    "tiles": ("tile_forward", "tile_backward"),
    "whole": ("whole_network",),
    "windows": ("window_forward", "window_backward"),
    "vectors": ("product_start", "sum_partials", "adam"),
}
"""The kernels of each file."""
_HEADERS = {
    "tiles": ("common", "rounds"),
    "whole": ("common", "rounds"),
    "windows": ("common",),
    "vectors": ("common",),
}
REALS = {"float32": "float", "float64": "double"}
WRITTEN = ("identity", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu", "sin")
"""The activations that the kernels hold, in the order of the list in ``common.cuh``; a user's own is none of them."""


@dataclass(frozen=True)
class Instance:
    """A file of kernels for a dtype and an activation; ``vectors`` has no use for the latter."""

    file: str
    dtype: str
    activation: str = "identity"


class Launcher(Protocol):
    """Who runs kernels; ``xp`` is the namespace of its arrays."""

    xp: Any
    shared: int
    """Bytes of shared memory that a block may have."""
    processors: int
    """Processors that run a block each."""
    cache: int
    """Bytes of level-2 cache."""

    def asarray(self, host: np.ndarray[Any, Any]) -> Any:
        """Copy a host array to where the kernels run."""
        ...

    def constant(self, host: np.ndarray[Any, Any]) -> Any:
        """Return a copy of a small array that nobody writes to; the same bytes are copied once."""
        ...

    def launch(
        self,
        instance: Instance,
        kernel: str,
        grid: tuple[int, int],
        threads: int,
        shared: int,
        arguments: Sequence[Any],
    ) -> None:
        """Run a kernel; integers go as ``long long``, floats as ``double``, arrays as pointers, None as null."""
        ...


def activation_refusal(program: Program) -> str | None:
    """Return a sentence that says which activation the kernels do not hold, or None where they hold all."""
    names = {step.activation.name for step in program.steps if isinstance(step, Activate)}
    unknown = sorted(names.difference(WRITTEN))
    return f"the kernels hold no activation {', '.join(unknown)}; they hold {', '.join(WRITTEN)}" if unknown else None


def instances() -> Iterator[Instance]:
    """Yield every instance there is."""
    for dtype in REALS:
        yield Instance("vectors", dtype)
        for file in ("tiles", "whole", "windows"):
            for activation in WRITTEN:
                yield Instance(file, dtype, activation)


@cache
def source_of(instance: Instance, activation: str | None = None) -> str:
    """Return the CUDA source of an instance; ``activation`` is the text that stands for ACT, default its number."""
    limits = Limits(0, np.dtype(instance.dtype).itemsize)
    constants = {
        "REAL": REALS[instance.dtype],
        "ACT": WRITTEN.index(instance.activation) if activation is None else activation,
        "WINDOW": limits.window,
        "MOST": limits.most,
        "THREADS": THREADS,
    }
    parts = [f"#define {name} {value}\n" for name, value in constants.items()]
    names = [f"{header}.cuh" for header in _HEADERS[instance.file]] + [f"{instance.file}.cu"]
    # The line numbers in a compiler's messages are then those of the files.
    parts += [f'#line 1 "{name}"\n' + (KERNELS / name).read_text(encoding="ascii") for name in names]
    return "".join(parts)


def limits_of(launcher: Launcher, dtype: Any) -> Limits:
    """Return what a launcher's device allows a dtype."""
    return Limits(launcher.shared, np.dtype(dtype).itemsize, launcher.processors, launcher.cache)


def checked(arguments: Sequence[Any]) -> Sequence[Any]:
    """Return the arguments of a launch; kernels read bare memory, so every array must be C-contiguous.

    Raises
    ------
    ValueError
        For an array that is not.
    """
    for number, argument in enumerate(arguments):
        if hasattr(argument, "flags") and not argument.flags.c_contiguous:
            raise ValueError(f"argument {number} of a kernel, of shape {argument.shape}, is not C-contiguous")
    return arguments


class Constants:
    """The plans' tables where the kernels run: a copy from the host would make a training step wait."""

    most = 1024

    def __init__(self, asarray: Callable[[np.ndarray[Any, Any]], Any]) -> None:
        self._asarray, self._held = asarray, dict[bytes, Any]()

    def __call__(self, host: np.ndarray[Any, Any]) -> Any:
        """Return the copy of an array of int32."""
        key = host.tobytes()
        if key not in self._held:
            if len(self._held) >= self.most:
                self._held.clear()
            self._held[key] = self._asarray(host)
        return self._held[key]


class CupyLauncher:
    """Kernels compiled by NVRTC and launched by CuPy, on the current stream of the device that is current when made."""

    def __init__(self) -> None:
        self.xp = need("cupy", "cuda")
        if not self.xp.cuda.is_available():
            raise BackendUnavailable("cupy is installed, but there is no CUDA device or driver")
        attributes = self.xp.cuda.Device().attributes
        self.shared: int = attributes["MaxSharedMemoryPerBlockOptin"]
        self.processors: int = attributes["MultiProcessorCount"]
        self.cache: int = attributes["L2CacheSize"]
        self.constant = Constants(self.asarray)

    def asarray(self, host: np.ndarray[Any, Any]) -> Any:
        """Copy a host array to the device."""
        return self.xp.asarray(host)

    def launch(
        self,
        instance: Instance,
        kernel: str,
        grid: tuple[int, int],
        threads: int,
        shared: int,
        arguments: Sequence[Any],
    ) -> None:
        """Launch a kernel on the current stream."""
        function = _cupy_function(instance, kernel, self.xp.cuda.Device().id)
        function.max_dynamic_shared_size_bytes = max(function.max_dynamic_shared_size_bytes, shared)
        function(grid, (threads,), tuple(_scalar(x) for x in checked(arguments)), shared_mem=shared)


@lru_cache(maxsize=512)
def _cupy_function(instance: Instance, kernel: str, device: int) -> Any:
    return _cupy_module(instance, device).get_function(kernel)


@lru_cache(maxsize=256)
def _cupy_module(instance: Instance, device: int) -> Any:
    return need("cupy", "cuda").RawModule(code=source_of(instance), options=("--std=c++17",), backend="nvrtc")


def _scalar(x: Any) -> Any:
    if x is None:
        return np.uintp(0)
    if isinstance(x, (int, np.integer)):
        return np.int64(x)
    return np.float64(x) if isinstance(x, float) else x

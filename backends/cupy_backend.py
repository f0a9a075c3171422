"""The CuPy backend: the same programs on one NVIDIA GPU.

Programs run by fused kernels where these are installed and know the program, else by plain array operations
(:mod:`~adntn_ref.backends.rotation`). Which way was taken is never a secret: :attr:`CupyBackend.path` says it, the
logger ``adntn_ref.backends`` tells it once, and :attr:`CupyBackend.kernels` chooses.

Nothing is imported before it is used, so this module is there without CuPy and without a GPU.
"""

import logging
from functools import cached_property
from importlib import import_module
from typing import Any

from adntn_ref.errors import ArrayError, BackendUnavailable, SpecError
from adntn_ref.program.steps import Cores, Program

from .rotation import rotating_run
from .scatter import ordered_scatter_add

LOGGER = logging.getLogger("adntn_ref.backends")
_HERE = __name__.rpartition(".")[0]
KERNELS = ("auto", "fused", "plain")


class CupyBackend:
    """CuPy on the current CUDA device.

    ``kernels`` says how programs are run: ``"auto"`` (fused where it can be), ``"fused"`` (or not at all), ``"plain"``.
    ``path`` says how the last program was run, and why.
    """

    name = "cupy"
    on_host = False

    def __init__(self) -> None:
        self.kernels = "auto"
        self.path = "nothing was run yet"
        self._launchers: dict[int, Any] = {}

    # Whether it is there

    @cached_property
    def _cupy(self) -> Any:
        """CuPy, imported; whether there is a device is another question."""
        try:
            return import_module("cupy")
        except ImportError as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == "cupy"
            what = "cupy is not installed" if missing else f"cupy cannot be imported ({error})"
            raise BackendUnavailable(f'{what}; pip install "adntn-ref[cuda]" installs it') from error

    def require_available(self) -> None:
        """Raise BackendUnavailable where CuPy, a CUDA driver that is new enough, or a device is missing."""
        runtime = self._cupy.cuda.runtime
        try:
            driver, needed = int(runtime.driverGetVersion()), int(runtime.runtimeGetVersion())
        except Exception as error:  # CuPy's own errors, and those of a driver library that cannot be loaded
            raise BackendUnavailable(f"no CUDA device or driver: {error}") from error
        if driver == 0:
            raise BackendUnavailable("no CUDA device or driver: no NVIDIA driver is installed")
        if driver // 1000 < needed // 1000:
            raise BackendUnavailable(
                f"the NVIDIA driver is too old: it supports CUDA {_version(driver)}, this CuPy needs"
                f" {_version(needed)}; update the driver or install the CuPy of its version (cupy-cuda12x, say)"
            )
        try:
            devices = int(runtime.getDeviceCount())
        except Exception as error:
            raise BackendUnavailable(f"no CUDA device or driver: {error}") from error
        if devices == 0:
            raise BackendUnavailable("no CUDA device or driver: the driver sees no device (CUDA_VISIBLE_DEVICES?)")

    # Arrays

    def asarray(self, host: Any) -> Any:
        """Copy a NumPy array to the current device, C-contiguous, of the same shape and dtype."""
        self.require_available()
        return self._cupy.array(host, order="C")

    def to_host(self, x: Any) -> Any:
        """Copy an array to a new C-contiguous NumPy array; waits until the device has computed it."""
        return self._cupy.asnumpy(x, order="C")

    def erf(self, x: Any) -> Any:
        """Return erf(x), elementwise, in the dtype of ``x``, which must be real.

        Raises
        ------
        ArrayError
            For a complex array: CUDA has no complex error function.
        """
        if x.dtype.kind == "c":
            raise ArrayError("the error function of complex numbers runs on NumPy only; ar.to_backend(x, 'numpy')")
        return import_module("cupyx.scipy.special").erf(x)

    def scatter_add(self, values: Any, index: Any, shape: tuple[int, ...], distinct: bool = False) -> Any:
        """Return zeros of ``shape`` with ``values`` added at ``index``: without atomics, so always the same bits."""
        return ordered_scatter_add(self._cupy, values, index, shape, distinct)

    # Memory and devices

    def free_bytes(self) -> int:
        """Return the free memory of the current device, with what CuPy's pool holds and does not use."""
        free = int(self._cupy.cuda.runtime.memGetInfo()[0])
        return free + int(self._cupy.get_default_memory_pool().free_bytes())

    @property
    def out_of_memory(self) -> tuple[type[BaseException], ...]:
        """The exceptions that say that the device's memory is full."""
        return (self._cupy.cuda.memory.OutOfMemoryError,)

    def require(self, x: Any, what: str) -> None:
        """Refuse an array that lies on another device than the current one.

        Raises
        ------
        ArrayError
        """
        where, current = int(x.data.device_id), int(self._cupy.cuda.runtime.getDevice())
        if where != current:
            raise ArrayError(
                f"{what} is on CUDA device {where}, the current one is {current}; run inside"
                f" `with cupy.cuda.Device({where}):`, or make the arrays on one device"
            )

    # Programs

    def program_run(self, program: Program, cores: Cores) -> Any:
        """Bind a program to its cores: by fused kernels, or by array operations; ``path`` says by which, and why.

        Raises
        ------
        BackendUnavailable
            Where ``kernels`` is ``"fused"`` and there are none for this program.
        """
        if self.kernels not in KERNELS:
            raise SpecError(f"kernels must be one of {', '.join(KERNELS)}, got {self.kernels!r}")
        run = "asked for" if self.kernels == "plain" else self._fused(program, cores)
        if not isinstance(run, str):
            self._say("fused kernels")
            return run
        if self.kernels == "fused":
            raise BackendUnavailable(f"kernels='fused': {run}; kernels='plain' runs it by array operations")
        self._say(f"plain: {run}")
        return rotating_run(program, cores)

    def _fused(self, program: Program, cores: Cores) -> Any:
        """Return a run of the fused kernels, or a sentence that says why there is none."""
        try:
            fused, launch = import_module(f"{_HERE}.fused"), import_module(f"{_HERE}.launch")
        except ModuleNotFoundError as error:
            if error.name not in (f"{_HERE}.fused", f"{_HERE}.launch"):
                raise
            return "the fused kernels are not installed"
        scattered = [name for name, core in cores.items() if not core.flags.c_contiguous]
        if scattered:
            return f"core {scattered[0]} is not C-contiguous, and kernels read memory as it lies"
        device = int(self._cupy.cuda.runtime.getDevice())
        if device not in self._launchers:
            self._launchers[device] = launch.CupyLauncher()
        return fused.fused_run(program, cores, self._launchers[device])

    def _say(self, path: str) -> None:
        if path != self.path:
            LOGGER.info("cupy runs programs by %s", path)
        self.path = path


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


CUPY = CupyBackend()

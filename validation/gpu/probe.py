"""What the checks ask of a device beyond its arrays: time, memory, and whether a step waits for it."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any, Protocol

from adntn_ref.backend import Backend, get_backend
from adntn_ref.extras import need

Step = Callable[[], Any]

SPIN_CYCLES = 3_000_000_000
"""How long the device is kept busy while a step is watched: over a second at 2 GHz, far more than a step takes."""

SPIN_SOURCE = r"""
extern "C" __global__ void spin(long long cycles) {
    const long long begin = clock64();
    while (clock64() - begin < cycles) {}
}
"""


class Probe(Protocol):
    """A device as the checks see it. Tests put another one in the place of a GPU's."""

    backend: Backend

    def facts(self) -> dict[str, str]:
        """Return what a reader of the results must know of the machine."""
        ...

    def seconds(self, step: Step, repeats: int) -> float:
        """Return the median time of a step on the device."""
        ...

    def waits(self, step: Step) -> bool:
        """Return whether a step, warmed up, waits for the device before it returns."""
        ...

    def peak_bytes(self, step: Step) -> int:
        """Return the most bytes that were allocated at once in a step, beyond those that were before."""
        ...

    def release(self) -> None:
        """Give back memory that is not in use, so that others on the device find it."""
        ...


class CupyProbe:
    """The current CUDA device, through CuPy."""

    def __init__(self) -> None:
        self.backend = get_backend("cupy")
        self.backend.require_available()
        self.cupy: Any = need("cupy", "cuda")

    def facts(self) -> dict[str, str]:
        """Return the device's name and memory, and the versions of driver, CUDA and CuPy."""
        runtime = self.cupy.cuda.runtime
        properties = runtime.getDeviceProperties(runtime.getDevice())
        return {
            "device": properties["name"].decode(),
            "memory": f"{properties['totalGlobalMem'] / 2**30:.1f} GiB",
            "driver": str(runtime.driverGetVersion()),
            "runtime": str(runtime.runtimeGetVersion()),
            "cupy": str(self.cupy.__version__),
        }

    def seconds(self, step: Step, repeats: int) -> float:
        """Return the median time of a step, between two events, after two runs that are not counted."""
        for _ in range(2):
            step()
        found = []
        for _ in range(repeats):
            begin, end = self.cupy.cuda.Event(), self.cupy.cuda.Event()
            self.cupy.cuda.runtime.deviceSynchronize()
            begin.record()
            step()
            end.record()
            end.synchronize()
            found.append(self.cupy.cuda.get_elapsed_time(begin, end) / 1e3)
        return float(median(found))

    def waits(self, step: Step) -> bool:
        """Keep the device busy, run the step, and see whether it came back before the device was done.

        This finds every copy to the host and every synchronisation, whoever makes it. Memory is taken from the driver,
        and kernels are compiled, the first time. Two more times are behind a busy device: CuPy copies lists of
        pointers through pinned memory, a piece for each that is under way, and taking more of it from the driver waits.
        """
        spin = self.cupy.RawKernel(SPIN_SOURCE, "spin")
        step()
        waited = True
        for _ in range(3):
            self.cupy.cuda.runtime.deviceSynchronize()
            spin((1,), (1,), (SPIN_CYCLES,))
            busy = self.cupy.cuda.Event()
            busy.record()
            kept = step()
            waited = bool(busy.done)
            self.cupy.cuda.runtime.deviceSynchronize()
            del kept
        return waited

    def peak_bytes(self, step: Step) -> int:
        """Count what CuPy's memory pool hands out and takes back."""
        hook = _peak_hook(self.cupy)
        self.cupy.get_default_memory_pool().free_all_blocks()
        with hook:
            kept = step()
            self.cupy.cuda.runtime.deviceSynchronize()
        del kept
        return int(hook.peak)

    def release(self) -> None:
        """Empty CuPy's memory pool."""
        self.cupy.get_default_memory_pool().free_all_blocks()


def _peak_hook(cupy: Any) -> Any:
    """Return a hook of CuPy's memory pool whose ``peak`` is the most bytes alive since it was entered."""

    class Peak(cupy.cuda.MemoryHook):  # type: ignore[misc]
        name = "adntn_ref peak"

        def __init__(self) -> None:
            self.alive: dict[int, int] = {}
            self.held = self.peak = 0

        def malloc_postprocess(self, **given: Any) -> None:
            self.alive[given["pmem_id"]] = given["mem_size"]
            self.held += given["mem_size"]
            self.peak = max(self.peak, self.held)

        def free_postprocess(self, **given: Any) -> None:
            self.held -= self.alive.pop(given["pmem_id"], 0)

    return Peak()


def wall_seconds(step: Step, repeats: int, finish: Step) -> float:
    """Return the median time of a step by the host's clock, ``finish`` waiting for the device, after two runs."""
    found = []
    for k in range(repeats + 2):
        finish()
        begin = time.perf_counter()
        step()
        finish()
        if k >= 2:
            found.append(time.perf_counter() - begin)
    return median(found)

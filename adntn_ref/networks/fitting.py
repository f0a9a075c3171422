"""What fits the memory of the host or of a device: bytes at the worst moment, the schedule, and the refusals."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from adntn_ref.backend import Backend
from adntn_ref.errors import DeviceMemoryError
from adntn_ref.program import memory
from adntn_ref.program.cost import ITEM_BYTES
from adntn_ref.program.workers import thread_count

SMALL_BYTES = 2**26
"""Networks below this size are run without asking the system how much memory is free."""


def choose_schedule(network: Any, dtype: str, schedule: str, limit: str | int | None, backend: str = "numpy") -> str:
    """Return ``schedule``, or for "auto" the fastest that fits; see :meth:`ProgramNetwork.choose_schedule`."""
    if schedule != "auto":
        if _is_large(network, dtype, schedule, backend) or limit is not None:
            _require(network, dtype, schedule, limit, backend)
        return schedule
    if limit is None and not _is_large(network, dtype, "keep", backend):
        return "keep"
    allowed = memory.memory_limit(limit, backend)
    for name in ("keep", "recompute"):
        if peaks(network, dtype, name, backend)[1] <= allowed:
            return name
    slots, best = len(network.cost(dtype).steps), ""
    least, most = 0, slots
    while least <= most:  # the more states are kept, the less is run again
        middle = (least + most) // 2
        name = f"checkpoints:{middle}"
        if peaks(network, dtype, name, backend)[1] <= allowed:
            best, least = name, middle + 1
        else:
            most = middle - 1
    if not best:
        _require(network, dtype, "checkpoints:0", limit, backend)
    return best


def _is_large(network: Any, dtype: str, schedule: str, backend: str) -> bool:
    """Return whether a run with its adjoint takes so much that the free memory has to be asked for."""
    return memory.LIMIT_VARIABLE in os.environ or peaks(network, dtype, schedule, backend)[1] >= SMALL_BYTES


def _require(network: Any, dtype: str, schedule: str, limit: str | int | None, backend: str) -> None:
    what = _described(network, dtype, schedule)
    memory.require_memory(peaks(network, dtype, schedule, backend)[1], what, limit, backend)


def _described(network: Any, dtype: str, schedule: str) -> str:
    made = f"of shape {network.placement.shape} from {len(network.placement.modes)} modes in {dtype}"
    how = f" (schedule {schedule})" if schedule != "keep" else ""
    return f"generating the weight and its gradient {made}{how}"


def peaks(network: Any, dtype: str, schedule: str = "keep", backend: str = "numpy") -> tuple[int, int]:
    """Return the bytes held at once on a backend, forward, and with the adjoint, the parameters included."""
    return _peaks_with(network, dtype, schedule, backend, thread_count())


@lru_cache(maxsize=1024)
def _peaks_with(network: Any, dtype: str, schedule: str, backend: str, threads: int) -> tuple[int, int]:
    cost, cores = network._cost_on(dtype, schedule, backend), network.parameter_count * ITEM_BYTES[dtype]
    return cost.peak_bytes_forward + cores, cost.peak_bytes_backward + cores


@contextmanager
def naming_memory(network: Any, dtype: str, schedule: str, backend: Backend) -> Iterator[None]:
    """Turn a device's complaint that its memory is full into one that says what was planned.

    Raises
    ------
    DeviceMemoryError
    """
    try:
        yield
    except getattr(backend, "out_of_memory", ()) as error:
        needed, free = peaks(network, dtype, schedule, backend.name)[1], backend.free_bytes()
        raise DeviceMemoryError(
            f"{backend.name}: the device's memory was full while {_described(network, dtype, schedule)}: planned were"
            f" {needed / 2**30:.3g} GiB, free are {free / 2**30:.3g} GiB; schedule='recompute' or 'checkpoints:n' holds"
            " less, and so do arrays that are let go of"
        ) from error

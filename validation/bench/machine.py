"""On what a benchmark ran: processor, cores, versions, threads, date."""

import os
import platform
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from adntn_ref import __version__
from adntn_ref.program.workers import thread_count

from .candidate import installed

PEERS = ("numpy", "scipy", "torch", "jax", "autograd")


def facts() -> dict[str, Any]:
    """Return the machine, the versions and the date, JSON-able."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "adntn_ref": __version__,
        "versions": {name: _version(name) for name in PEERS},
        "threads": {"ours": thread_count(), "torch": _torch_threads()},
        "environment": {
            name: value for name, value in os.environ.items() if name.endswith(("_NUM_THREADS", "_THREADS"))
        },
    }


def line(found: dict[str, Any]) -> str:
    """Return the facts in one line."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items() if number is not None)
    return (
        f"{found['date'][:10]}, {found['cores']} cores of {found['processor']}, Python {found['python']},"
        f" adntn_ref {found['adntn_ref']}, {versions}; threads: ours {found['threads']['ours']}"
        + (f", torch {found['threads']['torch']}" if found["threads"]["torch"] is not None else "")
    )


def cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Return the processor's name as the system gives it."""
    try:
        for row in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if row.startswith("model name"):
                return row.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _torch_threads() -> int | None:
    """Return torch's number of threads, which it takes from the system; None where it is not installed."""
    if not installed("torch"):
        return None
    return int(import_module("torch").get_num_threads())

"""How much memory planned work may take, and the refusal where it takes more."""

import os
import re
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

from adntn_ref.backend import get_backend
from adntn_ref.errors import MemoryLimitError, SpecError

LIMIT_VARIABLE = "ADNTN_REF_MEMORY_LIMIT"
SHARE_OF_FREE = 0.75

_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_UNITS["tb"] = 10**12


def parse_bytes(text: str | int) -> int:
    """Return a number of bytes from ``"2GiB"``, ``"500 MB"`` or a plain number.

    Examples
    --------
    >>> parse_bytes("2GiB")
    2147483648
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(text))
    if match is None or match.group(2).lower() not in _UNITS:
        raise SpecError(f"cannot read {text!r} as an amount of memory; write 2GiB, 500MB or a number of bytes")
    return min(int(Decimal(match.group(1)) * _UNITS[match.group(2).lower()]), 2**63)


def free_bytes() -> int:
    """Return the memory that is free for this process now, in bytes, as far as the system says.

    The least of what Linux calls available, what is left under the limits of the control groups that the process is in,
    and what is left of its address space (``ulimit -v``); a large number elsewhere.
    """
    known = [amount for amount in (_available(), *_left_in_groups(), _left_of_addresses()) if amount is not None]
    return min(known, default=2**46)


def _available() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return int(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return None


def _left_in_groups() -> list[int]:
    """Return what is left in the process's own control groups and all above, of either version of them."""
    groups: list[tuple[Path, str, str, str]] = []
    for line in _lines(Path("/proc/self/cgroup")) or ["0::/"]:
        _, controllers, inside = line.split(":", 2)
        if not controllers:
            base, names = Path("/sys/fs/cgroup"), ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = Path("/sys/fs/cgroup/memory")
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        below = Path(inside.lstrip("/"))
        groups += [(base / part, *names) for part in (below, *below.parents)]
    left = [_left_in_group(*group) for group in groups]
    return [amount for amount in left if amount is not None]


def _left_in_group(group: Path, most: str, used: str, cached: str) -> int | None:
    """Return a group's limit less what it uses; of that the file pages that the kernel would drop do not count."""
    try:
        limit, taken = (group / most).read_text().strip(), int((group / used).read_text())
        if limit == "max":
            return None
        droppable = [int(line.split()[1]) for line in _lines(group / "memory.stat") if line.startswith(f"{cached} ")]
        return max(0, int(limit) - taken + sum(droppable))
    except (OSError, ValueError):
        return None


def _left_of_addresses() -> int | None:
    """Return the limit of the address space less what is mapped, where there is such a limit."""
    try:
        resource: Any = import_module("resource")  # not on Windows
        limit = int(resource.getrlimit(resource.RLIMIT_AS)[0])
        if limit == resource.RLIM_INFINITY:
            return None
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return max(0, limit - pages * int(resource.getpagesize()))
    except (ImportError, OSError, ValueError):
        return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def memory_limit(limit: str | int | None = None, backend: str = "numpy") -> int:
    """Return the limit in bytes: the argument, else the environment variable, else 3/4 of what is free.

    What is free is the host's memory, or that of a backend's device.
    """
    chosen = limit if limit is not None else os.environ.get(LIMIT_VARIABLE)
    if chosen is not None:
        return parse_bytes(chosen)
    return int(SHARE_OF_FREE * (free_bytes() if backend == "numpy" else get_backend(backend).free_bytes()))


def require_memory(needed: int, what: str, limit: str | int | None = None, backend: str = "numpy") -> None:
    """Refuse work that needs more than the limit allows; see :func:`memory_limit`.

    Raises
    ------
    MemoryLimitError
        Naming ``what``, the amount it needs and the amount allowed, in GiB.
    """
    allowed = memory_limit(limit, backend)
    if needed > allowed:
        raise MemoryLimitError(
            f"{what} needs {needed / 2**30:.3g} GiB, and the limit is {allowed / 2**30:.3g} GiB"
            f" ({SHARE_OF_FREE:.0%} of what is free, or {LIMIT_VARIABLE}); take smaller modes or raise the limit"
        )

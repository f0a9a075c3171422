"""How much memory planned work may take, and the refusal where it takes more."""

import os
import re
from decimal import Decimal
from pathlib import Path

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

    The least of what Linux calls available and what is left under the control group's limit; a large number elsewhere.
    """
    known = [amount for amount in (_available(), _left_in_group()) if amount is not None]
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


def _left_in_group() -> int | None:
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - used)


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

"""What runs in a fresh process: one request a line on standard input, one answer a line on standard output.

- ``{"task": "prepare", "candidate", "q", "layers", "dtype"}`` prepares a brick-wall, then ``{"task": "run"}`` runs it;
- ``{"task": "peak", ...}`` is the most memory it takes;
- ``{"task": "traced", "schedule", ...}`` is the most that arrays take, as ``tracemalloc`` sees it;
- ``{"task": "gemm", "dtype", "side"}`` prepares a product of matrices.
"""

import gc
import json
import re
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from . import limits, walls
from .candidate import Candidate
from .own_side import closed_form
from .workload import brickwall

SCHEDULES = tuple(Candidate(f"ours {name}", partial(closed_form, schedule=name)) for name in ("keep", "recompute"))
Request = dict[str, Any]


class Worker:
    """Answers requests; keeps what was prepared."""

    def __init__(self) -> None:
        self.prepared: Callable[[], Any] = lambda: None

    def answer(self, request: Request) -> dict[str, Any]:
        """Return the answer to one request."""
        found = getattr(self, request["task"])(request)
        return found if isinstance(found, dict) else {}

    def prepare(self, request: Request) -> None:
        """Prepare a candidate, run it twice, and collect no garbage from then on."""
        self.prepared = _prepared(request)
        for _ in range(2):
            self.prepared()
        gc.collect()
        gc.disable()

    def gemm(self, request: Request) -> dict[str, float]:
        """Prepare a product of matrices; return its number of operations."""
        self.prepared, flops = limits.gemm(request["dtype"], request["side"])
        self.prepared()
        return {"flops": flops}

    def run(self, request: Request) -> None:
        """Run what was prepared."""
        self.prepared()

    def peak(self, request: Request) -> dict[str, int]:
        """Return how far the resident memory rises above what it is after imports and a run on 2^6 entries."""
        _prepared({**request, "q": 6})()
        gc.collect()
        before = resident("VmRSS")
        forget_peak()
        _prepared(request)()
        return {"bytes": resident("VmHWM") - before}

    def traced(self, request: Request) -> dict[str, int]:
        """Return the most bytes that weight, cotangent and all between take, without target and parameters."""
        workload = brickwall(request["q"], request["layers"], request["dtype"])
        tracemalloc.start()
        weight, pullback = workload.network.vjp(workload.params, schedule=request["schedule"])  # type: ignore[call-arg]
        cotangent = weight - workload.target
        pullback(cotangent)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return {"bytes": most}


def _prepared(request: Request) -> Callable[[], Any]:
    (candidate,) = (c for c in (*walls.CANDIDATES, *SCHEDULES) if c.name == request["candidate"])
    return candidate.prepare(brickwall(request["q"], request["layers"], request["dtype"])).run


def resident(what: str) -> int:
    """Return ``VmRSS`` (resident now) or ``VmHWM`` (the most so far) in bytes; the most so far where Linux is not."""
    try:
        found = re.search(rf"^{what}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    if found is not None:
        return 1024 * int(found.group(1))
    import resource  # where there is no /proc there may be no such module either

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def forget_peak() -> None:
    """Let the most so far begin anew, where the system can do that; what imports took may count otherwise."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return


def main() -> None:
    """Answer until there are no more requests."""
    worker = Worker()
    for line in sys.stdin:
        print(json.dumps(worker.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()

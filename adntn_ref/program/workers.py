"""How many threads run the chunks of a state: known here, so that the cost of a run can be counted before it runs."""

import os

THREADS_VARIABLE = "ADNTN_REF_THREADS"
BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
LEAST = 2**19
"""Entries of the smallest state that is worth handing to threads: below, handing over takes longer than it saves."""


def thread_count() -> int:
    """Return how many threads may run: an environment variable's number, at most the cores at hand."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for variable in (THREADS_VARIABLE, *BLAS_VARIABLES):
        text = os.environ.get(variable, "")
        if text.isdecimal() and int(text) > 0:
            return min(int(text), cores)
    return cores


def threads_for(entries: int, tasks: int) -> int:
    """Return how many threads run so many tasks on a state of so many entries."""
    return 1 if entries < LEAST or tasks < 2 else min(thread_count(), tasks)

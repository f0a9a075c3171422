"""Fresh processes: for memory, and for numbers of threads, which are settled when a process begins."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from adntn_ref.errors import CandidateError

THREADS = ("ADNTN_REF_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


class Fresh:
    """A process of its own that answers requests, one JSON object a line; a context manager.

    Parameters
    ----------
    threads : how many threads everything in it may use; None for what the environment says
    """

    def __init__(self, threads: int | None = None) -> None:
        environment = dict(os.environ)
        if threads is not None:
            environment.update(dict.fromkeys(THREADS, str(threads)))
        command = [sys.executable, "-m", "adntn_ref.validation.bench.worker"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, encoding="utf-8"
        )

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises
        ------
        CandidateError
            If the process ends without one; it has written why to standard error.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise CandidateError("the process has no standard streams")
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            answer = stdout.readline()
        except OSError:
            answer = ""
        if not answer:
            raise CandidateError(f"the process ended with code {self._process.wait()}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def __enter__(self) -> "Fresh":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()


def ask_once(request: Mapping[str, Any], threads: int | None = None) -> dict[str, Any]:
    """Return the answer of a process that is started for it."""
    with Fresh(threads) as process:
        return process.ask(request)

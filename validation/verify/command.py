"""A candidate that is any program: it reads a request's JSON and .npy files and writes .npy files."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from adntn_ref.errors import CandidateError

from .files import inputs_changed, read_answer, write_request
from .process import ending
from .verdicts import CALL, Answer, Fault, Part, Request, Verdict, one_line

UNSUPPORTED = 3
"""The exit code by which a program says that it does not do a specification."""


class CommandCandidate:
    """A program that is started once a case, with the path of the request as its last argument.

    Parameters
    ----------
    command : the program and its arguments, split as a shell would

    Raises
    ------
    CandidateError
        If there is no such program.
    """

    can_be_asked = True

    def __init__(self, command: str) -> None:
        self.name = command
        try:
            self._arguments = shlex.split(command)
        except ValueError as error:
            raise CandidateError(f"the command {command!r} cannot be read: {error}") from error
        if not self._arguments or shutil.which(self._arguments[0]) is None:
            raise CandidateError(f"there is no program {self._arguments[0] if self._arguments else command!r}")

    def start(self, limit: float) -> None:
        """Do nothing: it is started anew for every case."""

    def ask(self, request: Request, limit: float) -> Answer:
        """Write the request into a temporary folder, run the program on it, and read what it wrote."""
        groups = ("weight", "gradient", "state", "adjoint")
        with tempfile.TemporaryDirectory(prefix="adntn-verify-") as temporary:
            folder = Path(temporary)
            path = write_request(folder, request, groups)
            fault = self._run(path, limit)
            if fault is not None and fault.verdict is Verdict.NOT_SUPPORTED:
                return {CALL: Part(faults=(fault,))}
            answer = read_answer(folder, request)
            faults = [fault] if fault is not None else []
            if changed := inputs_changed(folder, request):
                faults.append(Fault(CALL, Verdict.CHANGED, f"files: {', '.join(changed[:3])}"))
            return {**answer, CALL: Part(faults=tuple(faults))}

    def _run(self, path: Path, limit: float) -> Fault | None:
        """Run the program on a request and say what is wrong with how it ended."""
        group: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {}
        with tempfile.TemporaryFile() as printed:
            try:
                process = subprocess.Popen(
                    [*self._arguments, str(path)], stdin=subprocess.DEVNULL, stdout=printed, stderr=printed, **group
                )
            except OSError as error:
                return Fault(CALL, Verdict.CRASHED, f"it cannot be started: {error.strerror or error}")
            try:
                code = process.wait(max(limit, 0.0))
            except subprocess.TimeoutExpired:
                return Fault(CALL, Verdict.TIMED_OUT, f"no answer within {limit:.3g} s")
            finally:
                _kill(process)
            if code in (0, UNSUPPORTED):
                return None if code == 0 else Fault(CALL, Verdict.NOT_SUPPORTED, f"exit code {code}")
            printed.seek(max(0, printed.seek(0, os.SEEK_END) - 4096))
            lines = [line.strip() for line in printed.read().decode(errors="replace").splitlines() if line.strip()]
        text = ending(code) + (f": {one_line(lines[-1])}" if lines else "")
        return Fault(CALL, Verdict.CRASHED if code < 0 else Verdict.RAISED, text)

    def close(self) -> None:
        """Do nothing: every run has ended."""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the program with what it started, if it has not ended."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
    process.wait()

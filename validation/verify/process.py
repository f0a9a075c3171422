"""A candidate module in a process of its own, so that its crashes and hangs are survived."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from typing import IO, Any, BinaryIO, cast

from adntn_ref.errors import CandidateError

from .candidate import wanted_groups
from .framing import BrokenMessage, read_message, write_message
from .verdicts import CALL, GROUPS, Answer, Array, Fault, Part, Request, Verdict, one_line
from .worker import request_header

START_LIMIT = 120.0
"""Seconds that importing a candidate may take."""
TAIL = 50
"""Lines of a candidate's output that are kept for messages."""

Message = tuple[dict[str, Any], dict[str, Array]]


class ModuleCandidate:
    """A module that is imported in a worker process, which is started again after a crash or a hang.

    Parameters
    ----------
    module : dotted name as for ``import``, or a file that ends with ``.py``
    """

    can_be_asked = True

    def __init__(self, module: str) -> None:
        self.name = module
        self.functions: list[str] = []
        self._module = module
        self._worker: _Worker | None = None

    def start(self, limit: float = START_LIMIT) -> None:
        """Import the module in a new process.

        Raises
        ------
        CandidateError
            If there is no such module, it lacks a function, or importing it fails, ends the process or takes too long.
        """
        self.close()
        worker = _Worker()
        try:
            worker.send({"module": self._module, "path": [entry for entry in sys.path if entry]})
            header, _ = worker.receive(limit)
        except TimeoutError as error:
            worker.kill()
            raise CandidateError(f"importing {self._module} took more than {limit:.3g} s") from error
        except (BrokenMessage, OSError) as error:
            raise CandidateError(f"importing {self._module} ended the process: {worker.end()[1]}") from error
        except BaseException:  # a Ctrl-C: nobody else knows of this process yet
            worker.kill()
            raise
        try:
            self.functions, self._worker = functions_in(header), worker
        except BrokenMessage as error:
            worker.kill()
            raise CandidateError(f"importing {self._module} gave no answer: {error}") from error
        except CandidateError:
            worker.kill()
            raise

    def ask(self, request: Request, limit: float) -> Answer:
        """Ask for everything that can be judged; after a crash or a hang the next case begins with a new process."""
        groups = wanted_groups(request, self.functions or list(GROUPS.values()))
        answer: Answer = {}
        if self._worker is None:
            try:
                self.start(START_LIMIT)
            except CandidateError as error:  # it could be started before
                return {CALL: _only(CALL, Verdict.CRASHED, str(error))}
        worker, deadline = cast(_Worker, self._worker), time.monotonic() + limit
        try:
            worker.send(request_header(request, groups), _arrays(request))
            for group in groups:
                header, arrays = worker.receive(deadline - time.monotonic())
                answer[group] = part_in(header, arrays, group)
                if answer[group].refuses_all:
                    break
        except TimeoutError:
            answer[group] = _only(GROUPS[group], Verdict.TIMED_OUT, f"no answer within {limit:.3g} s")
            self.close()
        except (BrokenMessage, OSError):
            broken = next(g for g in groups if g not in answer)
            # What stands on the pipe and is no message of ours was written there by the candidate.
            ended, how = worker.end()
            answer[broken] = _only(GROUPS[broken], Verdict.CRASHED if ended else Verdict.GARBAGE, how)
            self._worker = None
        return answer

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None


class _Worker:
    """The process, a thread that reads its answers, and one that keeps the last lines of what it prints."""

    def __init__(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "adntn_ref.validation.verify.worker"]
        group: dict[str, Any] = {"start_new_session": True} if os.name == "posix" else {}
        pipe = subprocess.PIPE
        # Where the package is found by the current folder or by PYTHONPATH alone, the worker finds it the same way.
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, **group)
        self._messages: queue.Queue[Message | None] = queue.Queue()
        self._printed: deque[str] = deque(maxlen=TAIL)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()
        self._listener.start()

    def send(self, header: dict[str, Any], arrays: dict[str, Array] | None = None) -> None:
        write_message(cast(BinaryIO, self._process.stdin), header, arrays)

    def receive(self, limit: float) -> Message:
        try:
            message = self._messages.get(timeout=max(limit, 0.0))
        except queue.Empty:
            raise TimeoutError from None
        if message is None:
            raise BrokenMessage
        return message

    def end(self) -> tuple[bool, str]:
        """End the process; return whether it had ended by itself, and how, with the last line that it printed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)  # its pipes close a moment before it has ended
        code = self._process.returncode
        how = "what came on the pipe of the answers is no answer" if code is None else ending(code)
        self.kill()
        lines = [line for line in self._printed if line.strip()]
        said = f"; it printed last: {one_line(lines[-1], 200)}" if lines else ""
        return code is not None, how + said

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGKILL)  # the worker leads a group of its own, children included
            else:
                self._process.kill()
        self._process.wait()
        for thread in (self._reader, self._listener):
            thread.join(2.0)
        # A child that left the group may hold a pipe open, and its reader; closing would then wait for ever.
        streams = [(self._process.stdout, self._reader), (self._process.stderr, self._listener)]
        free = [stream for stream, thread in streams if not thread.is_alive()]
        for stream in (self._process.stdin, *free):
            with contextlib.suppress(OSError):
                cast(IO[bytes], stream).close()

    def _read(self) -> None:
        stream = cast(BinaryIO, self._process.stdout)
        while True:
            try:
                message = read_message(stream)
            except (BrokenMessage, OSError, ValueError, MemoryError):
                self._messages.put(None)
                return
            self._messages.put(message)

    def _listen(self) -> None:
        stream = cast(IO[bytes], self._process.stderr)
        with contextlib.suppress(OSError, ValueError):
            while line := stream.readline(4096):
                self._printed.append(line.decode(errors="replace"))


def functions_in(header: dict[str, Any]) -> list[str]:
    """Return the functions of a candidate that has started, as its first message says.

    Raises
    ------
    CandidateError
        With what the worker says, if it could not import the candidate.
    BrokenMessage
        If the message says neither.
    """
    if "error" in header:
        raise CandidateError(one_line(header["error"], 2000))
    functions = header.get("functions")
    if not isinstance(functions, list) or not all(isinstance(name, str) for name in functions):
        raise BrokenMessage("no list of functions")
    return functions


def part_in(header: dict[str, Any], arrays: dict[str, Array], group: str | None = None) -> Part:
    """Return the answer that a message holds, for ``group`` if it is given.

    Raises
    ------
    BrokenMessage
        If it is none, or for another group.
    """
    faults = header.get("faults")
    if not isinstance(header.get("group"), str) or group not in (None, header["group"]) or not isinstance(faults, list):
        raise BrokenMessage("no answer for the group that was asked for")
    return Part(arrays, tuple(map(_fault, faults)))


def _fault(entry: Any) -> Fault:
    if not isinstance(entry, list) or len(entry) != 3 or not all(isinstance(text, str) for text in entry):
        raise BrokenMessage("a fault that is none")
    quantity, verdict, detail = entry
    if verdict not in Verdict.__members__:
        raise BrokenMessage(f"no verdict is called {one_line(verdict)}")
    return Fault(quantity, Verdict[verdict], detail)


def ending(code: int) -> str:
    """Say how a process ended, by its exit code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"


def _only(quantity: str, verdict: Verdict, detail: str) -> Part:
    return Part(faults=(Fault(quantity, verdict, detail),))


def _arrays(request: Request) -> dict[str, Array]:
    """Return the arrays of a request by their names in a message."""
    arrays = {f"params/{name}": core for name, core in request.params.items()}
    if request.several:
        return {**arrays, **{f"cotangent/{name}": g for name, g in request.cotangent.items()}}
    return {**arrays, "cotangent": request.cotangent}

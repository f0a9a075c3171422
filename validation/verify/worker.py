"""The process that holds a candidate module: ``python -m adntn_ref.validation.verify.worker``.

It is told what to import and what to compute on its standard input and answers on its standard output, in the messages
of :mod:`adntn_ref.validation.verify.framing`. Both are put out of the candidate's reach before it is imported: what the
candidate prints goes to the standard error, and what it reads is empty.
"""

import importlib
import importlib.util
import os
import sys
import traceback
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from adntn_ref.errors import CandidateError

from .calls import call
from .framing import BrokenMessage, read_message, write_message
from .verdicts import GROUPS, Part, Request, one_line

NEEDED = ("generate", "vjp")


def main() -> int:
    """Serve requests until the standard input ends."""
    requests, answers = _private_streams()
    try:
        first, _ = read_message(requests)
        sys.path.extend(entry for entry in first["path"] if entry not in sys.path)
        functions = load_functions(first["module"])
    except BrokenMessage:
        return 0
    except CandidateError as error:
        write_message(answers, {"error": str(error)})
        return 0
    write_message(answers, {"functions": functions_of(functions)})
    while True:
        try:
            header, arrays = read_message(requests)
        except BrokenMessage:
            return 0
        request = request_from(header, arrays)
        for group in header["groups"]:
            part = call(functions, group, request)
            write_message(answers, part_header(group, part), part.arrays)
            if part.refuses_all:
                break


def _private_streams() -> tuple[BinaryIO, BinaryIO]:
    """Return the two pipes on handles of their own, and leave the candidate an empty input and our error output."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return requests, answers


def load_functions(name: str) -> ModuleType:
    """Import a candidate: a module by its dotted name, or a file that ends with ``.py``.

    Raises
    ------
    CandidateError
        If there is no such module or file, if importing it fails, or if it lacks ``generate`` or ``vjp``.
    """
    try:
        module = _load_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise CandidateError(f"there is no module {name}") from error
        raise CandidateError(f"importing {name} failed: {one_line(error)}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        last = (traceback.extract_tb(error.__traceback__) or [None])[-1]
        where = "" if last is None else f" [{last.filename}:{last.lineno}]"
        raise CandidateError(f"importing {name} failed: {type(error).__name__}: {one_line(error)}{where}") from error
    check_functions(module, name)
    return module


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise CandidateError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise CandidateError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    sys.path.insert(0, str(path.resolve().parent))
    spec.loader.exec_module(module)
    return module


def check_functions(functions: object, name: str) -> None:
    """Refuse a candidate without the two functions.

    Raises
    ------
    CandidateError
        Naming those it lacks.
    """
    if missing := [f for f in NEEDED if not callable(getattr(functions, f, None))]:
        raise CandidateError(f"{name} has no function {' and no function '.join(missing)}")


def functions_of(functions: object) -> list[str]:
    """Return the names of the functions that a candidate has, among those it may have."""
    return [name for name in GROUPS.values() if callable(getattr(functions, name, None))]


def request_header(request: Request, groups: list[str]) -> dict[str, Any]:
    """Return the header of a request; its arrays are ``params/NAME`` and ``cotangent`` or ``cotangent/NAME``."""
    shapes = {quantity: list(shape) for quantity, shape in request.shapes.items()}
    facts = {"name": request.name, "spec": request.spec, "shapes": shapes, "dtype": request.dtype}
    return {**facts, "groups": groups, "several": request.several}


def request_from(header: dict[str, Any], arrays: dict[str, Any]) -> Request:
    """Return the request of a message; see :func:`request_header`.

    Raises
    ------
    BrokenMessage
        If it is none.
    """
    try:
        return _request_from(header, arrays)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BrokenMessage(f"no request: {type(error).__name__}: {error}") from error


def _request_from(header: dict[str, Any], arrays: dict[str, Any]) -> Request:
    params = {name.removeprefix("params/"): x for name, x in arrays.items() if name.startswith("params/")}
    several = {name.removeprefix("cotangent/"): x for name, x in arrays.items() if name.startswith("cotangent/")}
    cotangent = several if header["several"] else arrays["cotangent"]
    shapes = {quantity: tuple(shape) for quantity, shape in header["shapes"].items()}
    return Request(header["name"], header["spec"], params, cotangent, shapes, header["dtype"])


def part_header(group: str, part: Part) -> dict[str, Any]:
    """Return the header of an answer; its arrays are the quantities."""
    return {"group": group, "faults": [[f.quantity, f.verdict.name, f.detail] for f in part.faults]}


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the candidate's warnings are its own affair
    sys.exit(main())

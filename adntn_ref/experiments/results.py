"""The results of a sweep: a file of JSON lines, appended one by one, each brought to the disk before the next."""

import json
from pathlib import Path
from typing import Any

from adntn_ref.errors import RecordError
from adntn_ref.experiments.record import append_line, cut_torn_line


class Results:
    """Results by task key, read from a file and appended to it; the folder's lock must be held to append.

    Raises
    ------
    RecordError
        For a line that is no result; a last line without its end, which a killed process left, is dropped.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path, self.found = path, {}
        if path.is_file():
            if not read_only:
                cut_torn_line(path)
            self.found = _read(path)

    found: dict[str, dict[str, Any]]

    def add(self, key: str, result: dict[str, Any]) -> None:
        """Append a result, once: a key that is there already is an error of the program."""
        if key in self.found:
            raise RecordError(f"the result of task {key} is in {self.path} already")
        line = {"key": key, **result}
        append_line(self.path, line)
        self.found[key] = line


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror or error}") from error
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            result = json.loads(line)
            key = result["key"]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise RecordError(f"line {number} of {path} is no result: {error}") from error
        if key in found:
            raise RecordError(f"line {number} of {path} has the result of task {key} a second time")
        found[key] = result
    return found

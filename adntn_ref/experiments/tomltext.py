"""TOML from files that anybody may have written."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adntn_ref.compression.jsontext import require_shallow
from adntn_ref.errors import ConfigError
from adntn_ref.program.modes import MAX_ENTRIES

MAX_BYTES = 2**16
"""Larger files are refused: a configuration has some hundred lines."""
MAX_DOTS = 250
"""Lines with more dots are refused: the time that Python takes for a key of n parts grows as n squared."""


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    ConfigError
        For a file that cannot be read, and all that :func:`parse_toml` refuses.
    """
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        text = content.decode("utf8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigError(f"{path} cannot be read as TOML: {reason}") from error
    return parse_toml(text, str(path))


def parse_toml(text: str, what: str) -> dict[str, Any]:
    """Return what a TOML text says: tables and lists of texts, numbers, true and false.

    Parameters
    ----------
    text : the text
    what : what errors call it

    Raises
    ------
    ConfigError
        If it is no TOML, too long, nested deeper than 100, has keys of too many parts, or values that
        :func:`require_plain` refuses.
    """
    if len(text) > MAX_BYTES or any(line.count(".") > MAX_DOTS for line in text.split("\n")):
        raise ConfigError(f"{what} cannot be read as TOML: allowed are {MAX_BYTES} bytes and {MAX_DOTS} dots in a line")
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # integers of 4,301 digits, and lists in lists in lists
        raise ConfigError(f"{what} cannot be read as TOML: {error}") from error
    require_plain(what, found)
    return found


def require_plain(place: str, tree: Any) -> None:
    """Refuse what JSON cannot hold or no setting is: dates, integers beyond 64 bits, nesting deeper than 100.

    Raises
    ------
    ConfigError
    """
    try:
        require_shallow(tree)
    except ValueError as error:
        raise ConfigError(f"{place} is {error}") from error
    for value in _leaves(tree):
        if not isinstance(value, str | int | float | None):
            raise ConfigError(f"{place} has a {type(value).__name__}; allowed are texts, numbers, lists and tables")
        if isinstance(value, int) and abs(value) > MAX_ENTRIES:
            raise ConfigError(f"{place} has an integer beyond 2^64")


def _leaves(tree: Any) -> Iterator[Any]:
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str | int | float):
            yield value
        elif isinstance(value, Mapping):
            waiting.extend((*value, *value.values()))
        elif isinstance(value, list | tuple):
            waiting.extend(value)
        else:
            yield value

"""Checks of single values of a configuration: each returns the value, or says where it stands and what is allowed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

from adntn_ref.errors import ConfigError

Check = Callable[[str, Any], Any]
"""``(place, value) -> value``; raises :class:`ConfigError`."""


def text(place: str, value: Any) -> str:
    """Take a string."""
    if not isinstance(value, str):
        raise ConfigError(f"{place} must be a text, got {value!r}")
    return value


def number(place: str, value: Any) -> float:
    """Take a positive finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value <= 0:
        raise ConfigError(f"{place} must be a positive number, got {value!r}")
    return float(value)


def warmup(place: str, value: Any) -> float:
    """Take a number from 0."""
    return 0.0 if value == 0 and not isinstance(value, bool) else number(place, value)


def names(place: str, value: Any) -> tuple[str, ...]:
    """Take a list of strings without repetition."""
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        raise ConfigError(f"{place} must be a list of names, got {value!r}")
    if len(set(value)) < len(value):
        raise ConfigError(f"{place} has a name twice: {', '.join(value)}")
    return tuple(value)


def rates(place: str, value: Any) -> tuple[float, ...]:
    """Take a list of different positive numbers, at least one."""
    if not isinstance(value, list | tuple) or not value or len(set(map(str, value))) < len(value):
        raise ConfigError(f"{place} must be a list of different positive numbers, got {value!r}")
    return tuple(number(f"{place}[{k}]", rate) for k, rate in enumerate(value))


def seeds(place: str, value: Any) -> tuple[int, ...]:
    """Take a list of different integers from 0, at least one."""
    good = isinstance(value, list | tuple) and len(value) > 0
    if not good or not all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in value):
        raise ConfigError(f"{place} must be a list of integers >= 0, got {value!r}")
    if len(set(value)) < len(value):
        raise ConfigError(f"{place} must be different, got {list(value)}")
    return tuple(value)


def table(place: str, value: Any) -> dict[str, Any]:
    """Take a table."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{place} must be a table, got {value!r}")
    return dict(value)


def count(least: int) -> Check:
    """Return a check that takes an integer from ``least``."""

    def check(place: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{place} must be an integer >= {least}, got {value!r}")
        return value

    return check


def one_of(what: str, allowed: Iterable[str]) -> Check:
    """Return a check that takes one of some names."""

    def check(place: str, value: Any) -> str:
        known = list(allowed)
        if not isinstance(value, str) or value not in known:
            raise ConfigError(f"{place}: no {what} is called {value!r}; allowed: {', '.join(known)}")
        return value

    return check


def optional(check: Check) -> Check:
    """Return a check that takes None too."""
    return lambda place, value: None if value is None else check(place, value)


def check_table(place: str, table: Any, allowed: Sequence[str], needed: Iterable[str]) -> None:
    """Refuse what is no table, lacks a key, or has one that is not allowed.

    Raises
    ------
    ConfigError
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"{place} must be a table, got {table!r}")
    if unknown := [str(key) for key in table if key not in allowed]:
        raise ConfigError(f"{place} has no {', '.join(unknown)}; allowed: {', '.join(allowed)}")
    if missing := [key for key in needed if key not in table]:
        raise ConfigError(f"{place} lacks {', '.join(missing)}")

"""JSON from files that anybody may have written."""

import json
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 100
"""Lists and tables nested deeper than this are refused; what is nested less can be shown, copied and compared."""


def parse_json(text: str | bytes, *, any_text: bool = False) -> Any:
    """Return what a JSON text says.

    ``any_text`` takes texts with half a surrogate pair in them, which no file and no terminal takes.

    Raises
    ------
    ValueError
        For whatever cannot be used: no JSON, not in UTF-8, nested deeper than 100, integers of more than 4,300 digits
        (as Python refuses to read), and halves of surrogate pairs.

    Examples
    --------
    >>> parse_json('{"a": [1, 2]}')
    {'a': [1, 2]}
    """
    try:
        written = text if isinstance(text, str) else text.decode("utf8")
        found = json.loads(written)
        if "\\u" in written and not any_text:
            json.dumps(found, ensure_ascii=False).encode("utf8")
    except RecursionError as error:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from error
    require_shallow(found)
    return found


def require_shallow(tree: Any) -> None:
    """Refuse lists and tables that are nested deeper than 100.

    Raises
    ------
    ValueError
    """
    level, depth = [tree], 0
    while level := [inside for value in level for inside in _inside(value)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")


def _inside(value: Any) -> Any:
    if value is None or isinstance(
        value, (str, int, float)
    ):  # nearly all; to ask for a Mapping takes ten times as long
        return ()
    return value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()

"""Changes of an input that keep its form: what comes out still parses, and is wrong in one place."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Mutate = Callable[[bytes, random.Random], bytes]

DEEP: Any = []
for _ in range(90):
    DEEP = [DEEP]
ODD: tuple[Any, ...] = (
    *(10**9, 2**31, 2**63, 2**64, 2**64 + 1, 10**400, -1, 0, 1, 2, 3, 0.5, 1e308),
    *(float("nan"), float("inf"), float("-inf"), True, False, None),
    *("", "a" * 1000, "\x1b[2J\x07", "\ud800", "\0", "../../etc/passwd", "/etc/passwd", "é\u2028", "1"),
    *([], {}, [[]], {"": {}}, DEEP, {"a": DEEP}, [0] * 200),
)
ODD_TOML = (
    *(
        "1000000000",
        "-1",
        "0",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "true",
        "'a'",
        "''",
        "[]",
        "{}",
        "[[[]]]",
        "0x" + "f" * 4000,
    ),
    *("1" * 4400, "1979-05-27T07:32:00Z", "07:32:00", "1979-05-27", "[1, 'a', 2.5]", "{a = 1979-05-27}", "9" * 400),
    *(
        "'''\n'''",
        '"\\u001b"',
        '"\\ud800"',
        "[" * 60 + "]" * 60,
        "{a = {b = {c = []}}}",
        "'../../x'",
        "'" + "a" * 2000 + "'",
    ),
)


def of_bytes(data: bytes, rng: random.Random) -> bytes:
    """Cut, double, flip or overwrite some bytes."""
    begin = rng.randrange(len(data) + 1)
    end = min(len(data), begin + rng.choice((1, 1, 2, 4, 8, 64)))
    kind = rng.randrange(5)
    if kind == 0:
        return data[:begin] + data[end:]
    if kind == 1:
        return data[:end] + data[begin:]
    if kind == 2:
        return data[:begin]
    new = rng.randbytes(end - begin) if kind == 3 else rng.choice((b"\0", b"\xff", b"\x7f", b"\x01")) * (end - begin)
    return data[:begin] + new + data[end:]


def of_json(data: bytes, rng: random.Random) -> bytes:
    """Replace, remove, rename or double one value of a JSON text."""
    try:
        tree = json.loads(data)
        changed = _changed(tree, rng)
        return json.dumps(changed).encode()
    except (ValueError, RecursionError):
        return of_bytes(data, rng)


def _changed(tree: Any, rng: random.Random) -> Any:
    places = list(_places(tree))
    if not places:
        return rng.choice(ODD)
    where, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0:
        del where[key]
    elif kind == 1:
        other, at = rng.choice(places)
        where[key] = json.loads(json.dumps(other[at]))
    elif kind == 2 and isinstance(where, dict):
        where[rng.choice([*map(str, ODD[:3]), "name", "", "a" * 300, *where])] = where.pop(key)
    elif kind == 3 and isinstance(where, list):
        where[:] = where * rng.choice((2, 3))
    else:
        where[key] = rng.choice(ODD)
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (list or table, key in it)."""
    waiting = [tree]
    while waiting:
        here = waiting.pop()
        for key in list(here) if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ():
            yield here, key
            waiting.append(here[key])


def of_toml(data: bytes, rng: random.Random) -> bytes:
    """Replace, remove or double the value of one line of a TOML text."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    key, equals, _ = lines[at].partition(b"=")
    kind = rng.randrange(5)
    if kind == 0 or not equals:
        return of_bytes(data, rng) if rng.randrange(2) else b"\n".join(lines[:at] + lines[at + 1 :])
    if kind == 1:
        other = rng.choice(lines).partition(b"=")
        lines[at] = key + b"=" + other[2] if rng.randrange(2) else other[0] + lines[at][len(key) :]
    else:
        lines[at] = key + b"= " + rng.choice(ODD_TOML).encode()
    return b"\n".join(lines)


ODD_NPY = (
    *("(2, 3)", "(6,)", "()", "(0,)", "(-1,)", "(2.0,)", "(True,)", "[6]", "6", "None", "(10**9,)", "(1000000000, 8)"),
    *("'<f8'", "'>i4'", "'|b1'", "'|O'", "'<U2'", "'|V0'", "'<M8[s]'", "[('a', '<f4')]", "'f8,i4'", "('<f4', (2,))"),
    *("True", "False", "0", "''", "{}", "(" * 90 + ")" * 90, "'" + "a" * 500 + "'", "9" * 400),
)


def of_npy(data: bytes, rng: random.Random) -> bytes:
    """Replace a value in the header of an .npy stream, its length made right; else some bytes."""
    size = int.from_bytes(data[8:10], "little")
    head, body = data[10 : 10 + size], data[10 + size :]
    if len(head) < size or rng.randrange(4) == 0:
        return of_bytes(data, rng)
    key = rng.choice((b"'descr': ", b"'shape': ", b"'fortran_order': "))
    before, found, after = head.partition(key)
    if not found:
        return of_bytes(data, rng)
    ends = [at for at in (after.find(b", '"), after.rfind(b", }"), after.rfind(b"}")) if at >= 0]
    head = before + key + rng.choice(ODD_NPY).encode() + after[min(ends, default=0) :]
    return data[:8] + len(head).to_bytes(2, "little") + head + body


def with_length(magic: bytes, rest: Mutate = of_bytes) -> Mutate:
    """Return a change of what has a magic number, eight bytes of length, a JSON text of that length, and data."""

    def change(data: bytes, rng: random.Random) -> bytes:
        start = len(magic) + 8
        length = int.from_bytes(data[len(magic) : start], "little")
        if not data.startswith(magic) or start + length > len(data) or rng.randrange(8) == 0:
            return of_bytes(data, rng)
        head, body = data[start : start + length], data[start + length :]
        if rng.randrange(4) == 0:
            body = rest(body, rng)
        else:
            head = of_json(head, rng)
        return magic + len(head).to_bytes(8, "little") + head + body

    return change

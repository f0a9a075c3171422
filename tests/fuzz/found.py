"""Inputs that once broke a promise, the smallest of each place: (target, input, what it did)."""

from fuzz.targets.config import SMALL

FOUND: list[tuple[str, bytes, str]] = [
    ("config", SMALL.replace("hidden = 8", "hidden = 0x" + "f" * 4000).encode(), "an integer that has no decimal text"),
    ("config", SMALL.replace("hidden = 8", "hidden = " + "9" * 4400).encode(), "ValueError of int()"),
    ("config", SMALL.replace("hidden = 8", "hidden = 1979-05-27").encode(), "a date, which is no JSON"),
    ("config", b"a = " + b"[" * 2000 + b"]" * 2000, "RecursionError of tomllib"),
    ("config", SMALL.replace("train = 10", "train = 0x" + "f" * 4000).encode(), "a message with such an integer"),
    ("config-built", b'{"dense": {"rate": 1' + b"0" * 400 + b"}}", "OverflowError of isfinite"),
    ("sweep", b'title = "a"\nnetworks = []\nbase = "' + b"a" * 300 + b'"', "OSError: file name too long"),
    ("results", b'{"key": []}\n', "a key that cannot be looked up"),
    ("starts", b"[]\n", "TypeError"),
    ("result", b"[]", "a list in place of a table"),
]
"""What tests and the command run again."""

"""Every reader on valid inputs, on such with a few changes, and on those that once broke a promise.

``python tests/fuzz/run.py`` runs the same harnesses under a fuzzer; see ``docs/hostile-input.md``.
"""

import random

import pytest
from fuzz.found import FOUND
from fuzz.harness import BASE_BYTES, Finding, Target, check
from fuzz.mutate import DEEP, of_bytes, of_json, of_npy, of_toml, with_length
from fuzz.targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

from adntn_ref.errors import LONGEST, SpecError

EXAMPLES = {"sweep": 30, "config": 100, "config-built": 100, "vectors-index": 100}
NOTHING_VALID = ("spec-built",)
"""Targets whose seeds are programs of a generator, of which few make a network."""


@pytest.mark.parametrize("name", TARGETS)
def test_valid_inputs_are_read(name: str) -> None:
    target = TARGETS[name]
    accepted = [check(target, seed).accepted for seed in target.seeds()]
    assert any(accepted)
    assert all(accepted) or name in NOTHING_VALID or len(accepted) > 1


@pytest.mark.parametrize("name", TARGETS)
def test_changed_inputs_are_read_or_refused(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()

    @settings(max_examples=EXAMPLES.get(name, 200), deadline=None, derandomize=True, database=None)
    @given(st.integers(0, len(seeds) - 1), st.lists(st.tuples(st.booleans(), st.integers(0, 2**32)), max_size=3))
    def run(which: int, changes: list[tuple[bool, int]]) -> None:
        data = seeds[which]
        for formed, seed in changes:
            data = (target.mutate if formed else of_bytes)(data, random.Random(seed))
        check(target, data)

    run()


@pytest.mark.parametrize(("name", "data", "what"), FOUND, ids=lambda value: value if isinstance(value, str) else "")
def test_what_was_found_is_refused(name: str, data: bytes, what: str) -> None:
    assert not check(TARGETS[name], data).accepted


def made(one: object) -> Target:
    return Target("made", one, lambda: [b""])  # type: ignore[arg-type]


def raising(error: BaseException) -> Target:
    def one(data: bytes) -> None:
        raise error

    return made(one)


def test_the_harness_finds_what_it_is_for() -> None:
    with pytest.raises(Finding, match="bytes held for an input of 3, allowed are"):
        check(made(lambda data: bytearray(BASE_BYTES + 1000)), b"abc")
    with pytest.raises(ZeroDivisionError):
        check(made(lambda data: 1 / 0), b"")
    hidden = SpecError("no room")
    hidden.__cause__ = MemoryError()
    with pytest.raises(Finding, match="memory was asked for"):
        check(raising(hidden), b"")

    class Loud(SpecError):
        def __str__(self) -> str:
            return self.args[0]

    with pytest.raises(Finding, match="control characters"):
        check(raising(Loud("a\x1b[2J")), b"")
    with pytest.raises(Finding, match="a message of 9,000 characters"):
        check(raising(Loud("a" * 9000)), b"")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fuzz.harness.SECONDS", 0.01)
        with pytest.raises(Finding, match="s for an input of 0 bytes"):
            check(made(lambda data: sum(range(10**7))), b"", memory=False)
    assert not check(raising(SpecError("no")), b"").accepted


def test_messages_are_cut_and_obey_nobody() -> None:
    assert str(SpecError("a\x1b[2J\r\u202eb\nc")) == "a\ufffd[2J\ufffd\ufffdb\nc"
    assert str(SpecError("x" * (LONGEST + 1))) == "x" * LONGEST + " ..."
    assert str(SpecError("x" * LONGEST)) == "x" * LONGEST


def test_changes_keep_the_form() -> None:
    rng = random.Random(1)
    texts = {of_json(b'{"a": [1, {"b": 2}]}', rng) for _ in range(200)}
    assert len(texts) > 50
    assert of_json(b"{", rng) != of_json(b'{"a": 1}', rng)
    lines = {of_toml(b"a = 1\nb = [2]\n[c]\nd = 'e'\n", rng) for _ in range(200)}
    assert len(lines) > 50
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }"
    start = b"\x93NUMPY\1\0"
    streams = [of_npy(start + len(header).to_bytes(2, "little") + header + bytes(16), rng) for _ in range(200)]
    whole = [s for s in streams if s[:8] == start and s[10 + int.from_bytes(s[8:10], "little") :] == bytes(16)]
    assert len(set(whole)) > 20
    change, data = with_length(b"MM"), b"MM" + (2).to_bytes(8, "little") + b"{}rest"
    lengths = [int.from_bytes(change(data, rng)[2:10], "little") for _ in range(50)]
    assert len(set(lengths)) > 5
    assert DEEP[0][0] != []

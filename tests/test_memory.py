"""The memory limit: how it is read, what is free, and the refusal."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.errors import MemoryLimitError, SpecError
from adntn_ref.program import memory
from adntn_ref.program.memory import LIMIT_VARIABLE, free_bytes, memory_limit, parse_bytes, require_memory


@pytest.mark.parametrize(
    ("text", "amount"),
    [("0", 0), (7, 7), (" 12 ", 12), ("2GiB", 2**31), ("500 mb", 500_000_000), ("1.5KiB", 1536), ("1TB", 10**12),
     ("0.1B", 0), ("9007199254740993", 9007199254740993), ("9" * 400, 2**63)],
)  # fmt: skip
def test_amounts(text: str | int, amount: int) -> None:
    assert parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "lots", "-1", "1e9", "2 GiB 3", "2XB", ".5GB", "nan", "inf"])
def test_no_amounts(text: str) -> None:
    with pytest.raises(SpecError, match="as an amount of memory; write 2GiB, 500MB or a number of bytes"):
        parse_bytes(text)


@given(st.text())
def test_any_text_is_an_amount_or_refused(text: str) -> None:
    try:
        assert parse_bytes(text) >= 0
    except SpecError:
        return


def test_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    monkeypatch.setattr(memory, "free_bytes", lambda: 1000)
    assert memory_limit() == 750
    assert memory_limit("3kB") == 3000
    monkeypatch.setenv(LIMIT_VARIABLE, "2kB")
    assert memory_limit() == 2000
    assert memory_limit(5) == 5
    require_memory(2000, "work")
    with pytest.raises(MemoryLimitError, match=r"work needs 1 GiB, and the limit is 0.5 GiB"):
        require_memory(2**30, "work", "0.5GiB")


def test_set_limit_holds_for_small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks are run unasked only where nobody has set a limit."""
    net = ar.BrickWall((64, 64), 1)
    params = net.init()
    monkeypatch.setenv(LIMIT_VARIABLE, "1kB")
    with pytest.raises(MemoryLimitError):
        net.generate(params)
    monkeypatch.delenv(LIMIT_VARIABLE)
    monkeypatch.setattr(memory, "free_bytes", lambda: 0)
    net.generate(params)


def test_free_bytes() -> None:
    assert 2**20 < free_bytes() < 2**50


def test_free_bytes_of_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: dict[str, str] = {}

    def read_text(self: Path, *given: Any) -> str:
        if self.name in texts:
            return texts[self.name]
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr("os.sysconf", lambda name: 3, raising=False)
    assert free_bytes() == 9
    monkeypatch.delattr("os.sysconf")
    assert free_bytes() == 2**46  # nothing is known
    texts["meminfo"] = "MemTotal: 9 kB\nMemAvailable: 5 kB\n"
    assert free_bytes() == 5120
    texts.update({"memory.max": "4000\n", "memory.current": "1000\n"})
    assert free_bytes() == 3000
    texts["memory.current"] = "5000"
    assert free_bytes() == 0
    texts["memory.max"] = "max\n"
    assert free_bytes() == 5120
    texts["meminfo"] = "MemTotal: 9 kB\n"
    assert free_bytes() == 2**46

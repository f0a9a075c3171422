"""Files appear whole or not at all, with the permissions that the process gives its files."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from small import hide

from adntn_ref.compression.atomic import write_atomically


def _one(path: Path) -> None:
    path.write_bytes(b"1")


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_the_umask_decides_who_may_read(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "x", _one)
        assert os.umask(mask) == mask, "the process's umask was changed"
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~mask
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_file_and_folder_reach_the_disk_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(stat.S_ISDIR(os.fstat(handle).st_mode)))
    write_atomically(tmp_path / "x", _one)
    assert synced == [False, True]


def test_a_folder_that_cannot_be_synced_is_left_to_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refused(path: object, flags: int, *more: int) -> int:
        if Path(str(path)) == tmp_path:
            raise PermissionError(13, "no handle for a folder")
        return real(path, flags, *more)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "open", refused)
    write_atomically(tmp_path / "x", _one)
    assert (tmp_path / "x").read_bytes() == b"1"


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    """Whose lock is free, and only of this target; what somebody is writing stays."""
    fcntl = pytest.importorskip("fcntl")
    left, held = tmp_path / ".x.0123456789ab.part", tmp_path / ".x.0123456789ac.part"
    others = [
        ".y.0123456789ab.part",
        ".x.part",
        ".x.0123456789.part",
        ".x.npz.0123456789ab.part",
        "x.0123456789ab.part",
    ]
    for path in (left, held, *(tmp_path / name for name in others)):
        path.write_bytes(b"half")
    with held.open("rb+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        write_atomically(tmp_path / "x", _one)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["x", held.name, *others])
    write_atomically(tmp_path / "x", _one)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["x", *others])


def test_many_write_one_file(tmp_path: Path) -> None:
    """None takes another's temporary file for one that was left, and the file is always somebody's, whole."""

    def write(k: int) -> None:
        for _ in range(20):
            write_atomically(tmp_path / "x", lambda path: _fill(path, k))
            assert len(set((tmp_path / "x").read_bytes())) == 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def _fill(path: Path, k: int) -> None:
    path.write_bytes(bytes([k]) * 5000)


def test_systems_without_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is cleared away there, for nobody could tell what is held."""
    hide(monkeypatch, "fcntl")
    (tmp_path / ".x.0123456789ab.part").write_bytes(b"half")
    write_atomically(tmp_path / "x", _one)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".x.0123456789ab.part", "x"]

"""Files appear whole or not at all, with the permissions that the process gives its files."""

import os
import stat
from pathlib import Path

import pytest

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

"""A disk that is full, read-only or forbidden: one error of ours, what was there untouched, nothing half-written."""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slow.victims import EXPERIMENT, SWEEP, files_of, temporary

import adntn_ref as ar
from adntn_ref.cli import main
from adntn_ref.compression.atomic import make_folder, write_atomically
from adntn_ref.compression.tensorfile import write_tensors
from adntn_ref.errors import OutputError, RecordError, WriteError
from adntn_ref.experiments import report
from adntn_ref.experiments.page import Page
from adntn_ref.experiments.record import append_line
from adntn_ref.experiments.results import Results
from adntn_ref.validation.verify import cli as verify

NET = ar.BrickWall((6, 4), 2)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file grows beyond ``size`` bytes: the system's own error, as of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN  # Python asks for the error in place of the signal
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with something for every command."""
    folder = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(1)
    write_tensors(folder / "model.safetensors", {"fc.weight": rng.standard_normal((20, 30))}, {})
    (folder / "experiment.toml").write_text(EXPERIMENT)
    (folder / "sweep.toml").write_text(SWEEP)
    assert main([*compress(folder), "-o", str(folder / "small.safetensors")]) == 0
    return folder


@pytest.fixture(autouse=True)
def quick_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of one heading: what they write is drawn elsewhere, and how it is written is asked here."""
    page = Page("a report", "of nothing")
    page.text("words " * 500)
    monkeypatch.setattr(report, "is_record", lambda folder: True)
    monkeypatch.setattr(report, "read_record", lambda folder: None)
    monkeypatch.setattr(report, "_experiment", lambda record: (page, {}))


def compress(home: Path) -> list[str]:
    return ["compress", str(home / "model.safetensors"), "--layer", "*", "--layers", "2", "--steps", "3", "--quiet"]


COMMANDS: dict[str, Callable[[Path, Path], list[str]]] = {
    "compress": lambda home, out: [*compress(home), "-o", str(out / "x.npz")],
    "compress to safetensors": lambda home, out: [*compress(home), "-o", str(out / "x.safetensors")],
    "expand": lambda home, out: ["expand", str(home / "small.safetensors"), "-o", str(out / "x.npz")],
    "draw": lambda home, out: ["draw", "mera", "-o", str(out / "x.png")],
    "report": lambda home, out: ["report", str(home / "record"), "-o", str(out / "x.html")],
    "experiment": lambda home, out: ["experiment", "run", str(home / "experiment.toml"), "--out", str(out)],
    "sweep": lambda home, out: ["sweep", str(home / "sweep.toml"), "--out", str(out), "--workers", "1"],
    "demo": lambda home, out: ["demo", "--quick", "--epochs", "1", "--out", str(out)],
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("sweep", "demo")])
def test_full_disk(name: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, one line; nothing half-written stays, and with room the same command succeeds."""
    arguments = COMMANDS[name](home, tmp_path)
    size = 6000 if name == "experiment" else 1000
    with files_of_at_most(size):
        assert main(arguments) == 1
    complaint = capsys.readouterr().err
    assert re.fullmatch(r"adntn-ref \w+: \S+ cannot be written: File too large\n", complaint)
    assert temporary(tmp_path) == []
    assert all(path.stat().st_size <= size for path in files_of(tmp_path).values())
    assert main(arguments) == 0
    assert temporary(tmp_path) == []


@pytest.mark.parametrize("name", ["npz", "safetensors"])
def test_what_was_there_stays(name: str, home: Path, tmp_path: Path) -> None:
    out = tmp_path / f"x.{name}"
    assert main([*compress(home), "-o", str(out)]) == 0
    before = out.read_bytes()
    with files_of_at_most(1000):
        assert main([*compress(home), "-o", str(out), "--force", "--seed", "1"]) == 1
    assert files_of(tmp_path) == {out.name: out}
    assert out.read_bytes() == before


def test_full_disk_under_a_checkpoint(tmp_path: Path) -> None:
    """The fit ends with our error; its last checkpoint is whole, and the same call goes on from it to the same bits."""
    target = np.random.default_rng(0).standard_normal((6, 4))
    wanted = ar.fit(NET, target, steps=450)
    path = tmp_path / "c.npz"

    def fill(tick: Any) -> None:
        if tick.step == 201:  # one checkpoint is written by then
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(WriteError, match=r"c\.npz cannot be written: File too large"):
            ar.fit(NET, target, steps=450, checkpoint=path, callback=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(files_of(tmp_path)) == ["c.npz"]
    steps: list[int] = []
    found = ar.fit(NET, target, steps=450, checkpoint=path, callback=lambda tick: steps.append(tick.step))
    assert steps[0] == 201
    assert all(np.array_equal(found.params[name], core) for name, core in wanted.params.items())


def test_a_line_that_does_not_fit_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    append_line(path, {"key": "a"})
    before = path.read_bytes()
    with files_of_at_most(len(before) + 5), pytest.raises(WriteError, match=r"lines\.jsonl cannot be written"):
        append_line(path, {"key": "b"})
    assert path.read_bytes() == before
    append_line(path, {"key": "b"})
    assert list(Results(path).found) == ["a", "b"]


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, WriteError, 1),
        (errno.EDQUOT, WriteError, 1),
        (errno.EIO, WriteError, 1),
        (errno.EROFS, OutputError, 2),
        (errno.EACCES, OutputError, 2),
    ],
)
def test_what_the_system_says(number: int, kind: type[OutputError], code: int, tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(kind, match=f"x cannot be written: {os.strerror(number)}") as caught:
        write_atomically(tmp_path / "x", refuse)
    assert type(caught.value) is kind
    assert caught.value.exit_code == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_lets_nobody_write(
    name: str, number: int, home: Path, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every file and folder that is made in it is refused by the system: exit code 2, and one line."""
    out = tmp_path / "forbidden"
    out.mkdir()

    def refusing(real: Any) -> Any:
        def call(path: Any, *rest: Any, **options: Any) -> Any:
            writes = real is os.mkdir or (bool(rest) and rest[0] & (os.O_WRONLY | os.O_RDWR))
            if writes and str(path).startswith(str(out)):
                raise OSError(number, os.strerror(number), str(path))
            return real(path, *rest, **options)

        return call

    with monkeypatch.context() as patch:
        for call in ("open", "mkdir"):
            patch.setattr(os, call, refusing(getattr(os, call)))
        patch.setattr(Path, "touch", lambda self, **options: os.close(os.open(self, os.O_WRONLY | os.O_CREAT)))
        assert main(COMMANDS[name](home, out)) == 2
    assert re.fullmatch(
        rf"adntn-ref \w+: \S+ cannot be (written|made): {os.strerror(number)}\n", capsys.readouterr().err
    )
    assert list(out.iterdir()) == []


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/x cannot be made: Not a directory"):
        make_folder(tmp_path / "file" / "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_no_permission(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o555)
    assert main([*compress(home), "-o", str(tmp_path / "x.npz")]) == 2
    assert "no permission in" in capsys.readouterr().err


def test_a_record_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text('{"key": "a"}\n')
    before = Path.read_bytes

    def refused(self: Path) -> bytes:
        if self.name == "results.jsonl":
            raise PermissionError(errno.EACCES, "Permission denied")
        return before(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        with pytest.raises(RecordError, match=r"results\.jsonl cannot be read: Permission denied"):
            Results(tmp_path / "results.jsonl", read_only=True)


@pytest.mark.parametrize("arguments", [["cost", "--shape", "8", "8", "--layers", "2"], ["info", "FILE", "--json"],
                                       ["experiment", "list", "--json"]])  # fmt: skip
def test_standard_output_that_is_full(arguments: list[str], home: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "adntn_ref",
        *(str(home / "small.safetensors") if a == "FILE" else a for a in arguments),
    ]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    said = f"adntn-ref {arguments[0]}: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_verify_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    candidate = str(Path(__file__).parent / "candidates" / "honest.py")
    arguments = [
        "--against",
        candidate,
        "--only",
        "mera*",
        "--cases",
        "0",
        "--quiet",
        "--json",
        str(tmp_path / "r.json"),
    ]
    with files_of_at_most(500):
        assert verify.main(arguments) == 2
    assert capsys.readouterr().err == f"adntn_ref.validation: {tmp_path}/r.json cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == []

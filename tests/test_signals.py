"""Ctrl-C and SIGTERM: exit codes 130 and 143, one word, nothing half-written, and the same command goes on."""

import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slow.victims import VICTIMS, contents, prepare, temporary

from adntn_ref.cli import main
from adntn_ref.compression import training
from adntn_ref.ending import Terminated, ended, terminable
from adntn_ref.experiments import engine
from adntn_ref.validation.verify import cli as verify
from adntn_ref.validation.verify import process

SIGNALS = [(signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "terminated\n")]
BY_NAME = {victim.name: victim for victim in VICTIMS}


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """A shell starts what it runs in the background deaf to SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands are given, and what they leave undisturbed."""
    folder = tmp_path_factory.mktemp("home")
    prepare(folder)
    for name in ("compress", "experiment run"):
        (folder / f"{name} undisturbed").mkdir()
        assert call(name, folder, folder / f"{name} undisturbed") == 0
    return folder


def call(name: str, home: Path, out: Path) -> int:
    """Run one of the commands in this process."""
    return main(BY_NAME[name].command(home, out)[3:])


def striking(real: Any, number: int, at: int) -> Any:
    """Return a function that sends this process a signal when it is called for the ``at``-th time."""
    calls = [0]

    def strike(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == at:
            signal.raise_signal(number)
        return real(*arguments, **options)

    return strike


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
@pytest.mark.parametrize(("name", "at"), [("compress", 100), ("experiment run", 60)])
def test_a_command_goes_on(
    name: str, at: int, number: int, code: int, word: str, home: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(training, "rate_at", striking(training.rate_at, number, at))
        assert call(name, home, tmp_path) == code
    assert capsys.readouterr().err == word
    assert temporary(tmp_path) == []
    assert (tmp_path / "config.json").exists() == (name == "experiment run")
    assert call(name, home, tmp_path) == 0
    assert contents(BY_NAME[name], tmp_path) == contents(BY_NAME[name], home / f"{name} undisturbed")


def test_a_sweep_stops_its_workers(home: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(engine._Runner, "_record", striking(engine._Runner._record, signal.SIGTERM, 3))
        assert call("sweep", home, tmp_path) == 143
    assert capsys.readouterr().err == "terminated\n"
    for child in multiprocessing.active_children():
        # The executor's own thread waits for it too: who comes second is told at once that it cannot wait.
        deadline = time.monotonic() + 20
        while child.is_alive() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not child.is_alive()
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2
    assert temporary(tmp_path) == []


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
def test_verify_ends_its_worker(
    number: int, code: int, word: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    """The candidate never answers, and would go on for ever: its process is ended."""
    (tmp_path / "hung.py").write_text("def generate(spec, params):\n    while True: pass\n\nvjp = generate\n")
    begun: list[Any] = []
    real = process._Worker.__init__

    def noting(self: Any) -> None:
        real(self)
        begun.append(self._process)

    monkeypatch.setattr(process._Worker, "__init__", noting)
    monkeypatch.setattr(process._Worker, "receive", striking(process._Worker.receive, number, 2))
    assert verify.main(["--against", str(tmp_path / "hung.py"), "--cases", "0", "--quiet"]) == code
    assert capsys.readouterr().err == word
    assert begun[0].wait(20) == -signal.SIGKILL


def test_whose_signal_it_is() -> None:
    """Handlers of others stay, threads leave signals alone, and afterwards all is as before."""
    mine = lambda number, frame: None
    before = signal.signal(signal.SIGTERM, mine)
    try:
        with terminable():
            assert signal.getsignal(signal.SIGTERM) is mine
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        seen: list[Any] = []

        def in_a_thread() -> None:
            with terminable():
                seen.append(signal.getsignal(signal.SIGTERM))

        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()
        assert seen == [signal.SIG_DFL]
        with pytest.raises(Terminated), terminable():
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 1, "it: the memory was full in the middle of the work\n"),
        (MemoryError("Unable to allocate 9 GiB"), 1, "work: Unable to allocate 9 GiB\n"),
        (PermissionError(13, "Permission denied", "x.toml"), 1, "it: Permission denied: x.toml\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_last_words(error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("it", error) == code
    assert capsys.readouterr().err.endswith(said)


def test_mistakes_of_ours_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        ended("it", ZeroDivisionError())

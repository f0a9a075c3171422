"""The record of an experiment on disk, from which the same command resumes after a kill at any moment.

::

    DIR/config.json               the configuration, whole
    DIR/environment.json          versions and machine of the first start
    DIR/starts.jsonl              a line for every start: time, process, versions, backend
    DIR/seed0/STEP.json           a finished step: settings, histories, errors, accuracies
    DIR/seed0/STEP.safetensors    the model it made
    DIR/seed0/STEP.timing.json    seconds and memory
    DIR/seed0/STEP.checkpoints/   of a step that is under way
    DIR/result.json, timing.json  the whole, once everything is done

A step is finished when its json file is there: it is written last, in one move. What depends on the machine's speed
stands in files of its own (``*timing.json``, ``environment.json``, ``starts.jsonl``); all others come out the same to
the bit, whether the run was interrupted or not.
"""

import errno
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from math import sqrt
from pathlib import Path
from typing import Any

from adntn_ref._version import __version__
from adntn_ref.compression.atomic import make_folder, write_atomically, writing
from adntn_ref.compression.jsontext import parse_json
from adntn_ref.errors import AdntnError, OutputError, RecordError
from adntn_ref.experiments.config import Config, config_of
from adntn_ref.experiments.locking import LOCK, locked
from adntn_ref.experiments.shapes import TIMES, require_result, require_shape
from adntn_ref.program.modes import shown

FORMAT = 1
CONFIG, RESULT, TIMING, ENVIRONMENT, STARTS = (
    "config.json",
    "result.json",
    "timing.json",
    "environment.json",
    "starts.jsonl",
)
PACKAGES = ("numpy", "scipy", "autoray", "threadpoolctl")


class Record:
    """The record in a folder; made by :func:`open_record` (to write) or :func:`read_record` (to look at)."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder, self.config = folder, config

    def done(self, step: str) -> bool:
        """Whether a step is finished."""
        return self.path(step, ".json").is_file()

    def path(self, step: str, suffix: str) -> Path:
        """Return the path of one of a step's files."""
        return self.folder / f"{step}{suffix}"

    def read(self, step: str) -> dict[str, Any]:
        """Return what a finished step recorded."""
        return read_json(self.path(step, ".json"))

    def timing(self, step: str) -> dict[str, Any]:
        """Return the seconds and the memory of a finished step."""
        return read_json(self.path(step, ".timing.json"))

    def checkpoints(self, step: str) -> Path:
        """Return the folder for a step's checkpoints, made if need be."""
        folder = self.path(step, ".checkpoints")
        make_folder(folder)
        return folder

    def finish(self, step: str, facts: dict[str, Any], timing: dict[str, Any]) -> None:
        """Record a step as finished; its checkpoints go."""
        write_json(self.path(step, ".timing.json"), timing)
        write_json(self.path(step, ".json"), facts)
        self.tidy(step)

    def tidy(self, step: str) -> None:
        """Remove the checkpoints of a finished step."""
        shutil.rmtree(self.path(step, ".checkpoints"), ignore_errors=True)

    def mixed_versions(self) -> dict[str, list[str]]:
        """Return the packages of which several versions took part in the record, which may have rounded differently."""
        path = self.folder / STARTS
        starts = [_versions(path, line) for line in whole_lines(path)] if path.is_file() else []
        found = {name: sorted({start.get(name, "none") for start in starts}) for start in starts for name in start}
        return {name: numbers for name, numbers in found.items() if len(numbers) > 1}

    @property
    def result(self) -> dict[str, Any] | None:
        """The result, None before everything is done; RecordError for a table of results that is none."""
        path = self.folder / RESULT
        if not path.is_file():
            return None
        found = read_json(path)
        require_result(path, found)
        return found

    @property
    def times(self) -> dict[str, Any]:
        """Seconds and memory of a finished experiment; RecordError where they are not there."""
        found = read_json(self.folder / TIMING)
        require_shape(str(self.folder / TIMING), found, TIMES)
        return found


@contextmanager
def unbroken(folder: Path) -> Iterator[None]:
    """Say so where a record lacks what its page or its table shows, or has it of another kind.

    Raises
    ------
    RecordError
    """
    try:
        yield
    except AdntnError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise RecordError(f"the record in {folder} is broken: {type(error).__name__}: {error}") from error


@contextmanager
def open_record(folder: str | Path, config: Config, backend: str = "numpy") -> Iterator[Record]:
    """Begin or go on with a record, alone: the folder is locked meanwhile.

    Raises
    ------
    RecordError
        If the folder holds another experiment, or another process works on it.
    OutputError
        If the folder holds something else, or cannot be written to.
    """
    where = Path(folder)
    _refuse_strangers(where)
    with locked(where):
        if (where / CONFIG).is_file():
            _require_same(where, config)
        else:
            write_json(where / CONFIG, {"format": FORMAT, "identity": config.identity, "config": config.to_dict()})
        if not (where / ENVIRONMENT).is_file():
            write_json(where / ENVIRONMENT, environment())
        append_line(
            where / STARTS, {"time": time.time(), "pid": os.getpid(), "versions": versions(), "backend": backend}
        )
        yield Record(where, config)


def read_record(folder: str | Path) -> Record:
    """Return a record to look at.

    Raises
    ------
    RecordError
        If the folder holds no experiment.
    """
    where = Path(folder)
    facts = _config_facts(where)
    return Record(where, config_of(facts["config"]))


def is_record(folder: str | Path) -> bool:
    """Return whether a folder holds an experiment."""
    return (Path(folder) / CONFIG).is_file()


def _config_facts(where: Path) -> dict[str, Any]:
    if not is_record(where):
        raise RecordError(f"{where} holds no experiment: there is no {CONFIG}")
    facts = read_json(where / CONFIG)
    if facts.get("format") != FORMAT or "config" not in facts:
        found = shown(facts.get("format"))
        raise RecordError(f"{where / CONFIG} has format {found}; this release ({__version__}) reads {FORMAT}")
    return facts


def _refuse_strangers(where: Path) -> None:
    """Refuse a folder with files in it that are not of an experiment."""
    if where.exists() and not where.is_dir():
        raise OutputError(f"{where} is a file; name a folder")
    if where.is_dir() and not is_record(where):
        others = sorted(path.name for path in where.iterdir() if path.name != LOCK and not path.name.endswith(".part"))
        if others:
            raise OutputError(f"{where} holds {', '.join(others[:3])} and no experiment; choose another folder")


def _require_same(where: Path, config: Config) -> None:
    """Refuse to go on with another experiment, saying what differs."""
    before = config_of(_config_facts(where)["config"])
    if before.identity == config.identity:
        return
    old, new = before.to_dict(), config.to_dict()
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key) and key not in ("title", "about", "quick")]
    differ = "; ".join(f"{key}: {_short(old.get(key))} there, {_short(new.get(key))} now" for key in keys)
    raise RecordError(f"{where} holds another experiment ({differ}); choose another folder")


def _short(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of the record, a table.

    Raises
    ------
    RecordError
        If it cannot be read.
    """
    try:
        found = parse_json(path.read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise RecordError(f"{path} cannot be read: it is no table")
    return found


def whole_lines(path: Path) -> list[bytes]:
    """Return the lines of a file that have their end; a last one without was left by a killed process.

    Raises
    ------
    RecordError
        If the file cannot be read.
    """
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror or error}") from error


def _versions(path: Path, line: bytes) -> dict[str, str]:
    """Return the versions of a line of the starts."""
    try:
        found = parse_json(line)["versions"]
    except (ValueError, LookupError, TypeError) as error:
        raise RecordError(f"{path} has a line that is no start: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(number, str) for number in found.values()):
        raise RecordError(f"{path} has a line that is no start: its versions are none")
    return found


def write_json(path: Path, facts: Any) -> None:
    """Write a JSON file in one move, the same facts always as the same bytes."""
    text = json.dumps(facts, indent=1, sort_keys=False, allow_nan=True) + "\n"
    make_folder(path.parent)
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf8")


def append_line(path: Path, facts: dict[str, Any]) -> None:
    """Append a JSON line and bring it to the disk; a line that a killed process left torn is cut off before.

    Raises
    ------
    OutputError
        If it cannot be written; what of it is there is cut off again.
    """
    line = json.dumps(facts, sort_keys=True).encode() + b"\n"
    with writing(path):
        cut_torn_line(path)
        try:
            with path.open("ab", buffering=0) as stream:
                if stream.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(stream.fileno())
        except OSError:
            with suppress(OSError):  # else the next start cuts it off
                cut_torn_line(path)
            raise


def cut_torn_line(path: Path) -> None:
    """Cut off a last line without its end, which a killed process left.

    Raises
    ------
    OutputError
        If it cannot be done.
    """
    if not path.is_file():
        return
    with writing(path), path.open("rb+") as stream:
        content = stream.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            stream.truncate(whole)


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    found = {"adntn_ref": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def environment() -> dict[str, Any]:
    """Return versions and machine, for the record."""
    processor = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"versions": versions(), "system": platform.platform(), "processor": processor, "cores": cores}


def wilson(right: int, images: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return the Wilson score interval of a share, 95 % unless another z is given.

    ``(p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)`` (Wilson, J. Am. Stat. Assoc. 22, 209, 1927).

    Examples
    --------
    >>> low, high = wilson(95, 100)
    >>> round(low, 4), round(high, 4)
    (0.8882, 0.9785)
    """
    share, n = right / images, images
    middle = share + z * z / (2 * n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)

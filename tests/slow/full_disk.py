"""A disk that really is full, and one that really is read-only: ``python tests/slow/full_disk.py`` (as root, on Linux).

A tmpfs of a few hundred kibibytes is mounted and the commands write into it until it is full; then it is given room and
the same commands have to finish with the bytes of an undisturbed run. After that the undisturbed folders are mounted
read-only, and every command has to say so. Prints a line a command; exits 1 where something is wrong.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from slow.victims import VICTIMS, Victim, contents, half_written, prepare, temporary

SIZES = {"compress": 8, "fit": 40, "experiment run": 300, "sweep": 60}
"""KiB of the disk of each command: less than it writes, and enough to begin."""


def mount(*arguments: str) -> None:
    """Call the system's ``mount``."""
    subprocess.run(["mount", *arguments], check=True)


@contextmanager
def disk(folder: Path, kibibytes: int) -> Iterator[None]:
    """Mount a tmpfs of so many KiB."""
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def call(victim: Victim, home: Path, out: Path) -> tuple[int, str]:
    """Run a command and return its exit code and the last line of its complaint."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(victim.command(home, out), capture_output=True, text=True, check=False, env=environment)
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]


def check(victim: Victim, home: Path) -> list[str]:
    """Return what went wrong with a command."""
    out, wanted = home / "disk", home / f"{victim.name} undisturbed"
    wanted.mkdir()
    if call(victim, home, wanted)[0]:
        return ["failed undisturbed"]
    wrong: list[str] = []
    with disk(out, SIZES[victim.name]):
        code, said = call(victim, home, out)
        print(f"{victim.name}: full: exit code {code}: {said}")
        if code != 1 or "No space left on device" not in said:
            wrong.append("no word of the full disk")
        wrong += [f"left over: {name}" for name in temporary(out)]
        wrong += [f"half-written: {name}" for name in half_written(out)]
        mount("-o", "remount,size=64m", str(out))
        code, said = call(victim, home, out)
        if code or contents(victim, out) != contents(victim, wanted):
            wrong.append(f"with room again: exit code {code}: {said}, or other bytes")
        if victim.output is not None:  # which would be refused for being there
            (out / victim.output).unlink()
        mount("-o", "remount,ro", str(out))
        before = contents(victim, out)
        code, said = call(victim, home, out)
        print(f"{victim.name}: read-only: exit code {code}: {said}")
        refused = code in (1, 2) and "Read-only file system" in said
        if not refused or contents(victim, out) != before:
            wrong.append("a read-only folder is not refused")
    out.rmdir()
    return wrong


def main() -> int:
    """Run from the command line."""
    if os.geteuid() or not sys.platform.startswith("linux"):
        print("mounting takes root, and Linux")
        return 2
    faults = []
    with tempfile.TemporaryDirectory(prefix="adntn-full-") as folder:
        prepare(Path(folder))
        for victim in VICTIMS:
            faults += [f"{victim.name}: {fault}" for fault in check(victim, Path(folder))]
    print("\n".join(faults) or "all as it should be")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())

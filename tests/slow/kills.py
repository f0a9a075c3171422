"""Kill -9 at random moments of compress, fit, experiment run and sweep: ``python tests/slow/kills.py --moments 200``.

A command is started in an empty folder, killed at a random moment, started again, killed again, until a start gets
through; then every file is compared with those of an undisturbed run, byte by byte (but seconds), and the folder is
searched for what does not belong there. Then the next round begins in another empty folder, until the wanted number of
kills is reached. A sweep is killed with its workers and without them by turns. Moments are drawn between the end of the
imports and the time of an undisturbed run. Prints one table; exits 1 where something differs.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from slow.victims import VICTIMS, Victim, contents, half_written, prepare, temporary

IMPORTS = (sys.executable, "-m", "adntn_ref", "experiment", "list", "--quiet")


@dataclass
class Tally:
    """What the kills of one command came to."""

    name: str
    kills: int = 0
    rounds: int = 0
    in_writing: int = 0
    """Kills that left a temporary file, which a later start has to clear away."""
    begun: int = 0
    """Kills that found files in the folder: the command was past its imports and at work."""
    in_a_row: int = 0
    different: list[str] = field(default_factory=list)
    half: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def faults(self) -> list[str]:
        """Everything that went wrong, in words."""
        lists = {"differs": self.different, "half-written": self.half, "left over": self.left, "failed": self.failed}
        return [f"{self.name}: {what}: {name}" for what, names in lists.items() for name in names]


def start(command: list[str] | tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, its complaints kept."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, start_new_session=True)


def seconds_of(command: list[str] | tuple[str, ...]) -> float:
    """Run a command to its end and return its seconds."""
    began = time.perf_counter()
    process = start(command)
    _, complaint = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed undisturbed: {complaint.decode()}")
    return time.perf_counter() - began


def said(process: subprocess.Popen[bytes]) -> str:
    """Return what a process complained of; this ends when the last of its workers does."""
    if process.stderr is None:
        return ""
    with process.stderr as stream:
        return stream.read().decode()


def killed(process: subprocess.Popen[bytes], after: float, whole_group: bool) -> bool:
    """Kill a process after some seconds, with its group or alone; False if it ended before."""
    try:
        process.wait(after)
        return False
    except subprocess.TimeoutExpired:
        if whole_group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        return process.returncode == -signal.SIGKILL


def one_round(
    victim: Victim, home: Path, out: Path, tally: Tally, limits: "Limits", span: tuple[float, float], rng: random.Random
) -> None:
    """Start and kill in one folder until a start gets through, the last time in peace where a limit is reached."""
    row = 0
    while True:
        if row and row % 10 == 0:  # others may have come to the machine, and then every kill falls into the imports
            span = (seconds_of(IMPORTS), span[1] * 1.2)
        process = start(victim.command(home, out))
        alive = limits.leave(tally)
        if not killed(process, rng.uniform(*span) if alive else 600.0, whole_group=tally.kills % 2 == 0):
            break
        if process.stderr is not None:
            process.stderr.close()  # unread: a sweep's workers may live on for a moment, and meet the next start
        tally.kills, row = tally.kills + 1, row + 1
        tally.in_writing += bool(temporary(out))
        tally.begun += any(out.iterdir())
        tally.half += [f"{name} after kill {tally.kills}" for name in half_written(out)]
        if victim.finished(out):
            tally.rounds, tally.in_a_row = tally.rounds + 1, max(tally.in_a_row, row)
            return
    complaint = said(process)
    if process.returncode:
        tally.failed.append(f"exit code {process.returncode} after kill {tally.kills}: {complaint.strip()[-300:]}")
    tally.rounds, tally.in_a_row = tally.rounds + 1, max(tally.in_a_row, row)


def compare(victim: Victim, wanted: dict[str, object], out: Path, tally: Tally) -> None:
    """Compare what a round left with what an undisturbed run leaves."""
    if tally.failed:
        return
    found = contents(victim, out)
    tally.different += [f"{name} in {out}" for name in wanted if name not in found or found[name] != wanted[name]]
    tally.left += [f"{name} in {out}" for name in found if name not in wanted]


@dataclass(frozen=True)
class Limits:
    """How many kills, and how many seconds, a command is given."""

    moments: int
    seconds: float
    began: float = field(default_factory=time.perf_counter)

    def leave(self, tally: Tally) -> bool:
        """Whether there is to be another kill."""
        return tally.kills < self.moments and time.perf_counter() - self.began < self.seconds


def kill_command(victim: Victim, home: Path, limits: Limits, seed: int) -> Tally:
    """Kill one command at random moments."""
    tally, rng = Tally(victim.name), random.Random(f"{seed} {victim.name}")
    began = time.perf_counter()
    reference = home / f"{victim.name} undisturbed"
    reference.mkdir()
    span = (seconds_of(IMPORTS), seconds_of(victim.command(home, reference)))
    wanted = contents(victim, reference)
    while limits.leave(tally) and not tally.faults:
        out = home / f"{victim.name} {tally.rounds}"
        out.mkdir()
        span = (seconds_of(IMPORTS), span[1])
        before, started = tally.kills, time.perf_counter()
        one_round(victim, home, out, tally, limits, span, rng)
        if tally.kills == before:  # it was done before its moment: the machine is faster than it was at first
            span = (span[0], min(span[1], time.perf_counter() - started))
        compare(victim, wanted, out, tally)
    tally.seconds = time.perf_counter() - began
    return tally


COLUMNS = (
    "command", "kills", "with files there", "finished runs", "most in a row", "while writing",
    "different", "half-written", "left",
)  # fmt: skip


def shown(tallies: list[Tally]) -> str:
    """Return the table."""
    rows = [COLUMNS]
    for t in tallies:
        faults = (len(t.different), len(t.half), len(t.left))
        numbers = (t.kills, t.begun, t.rounds, t.in_a_row, t.in_writing, *faults)
        rows.append((t.name, *map(str, numbers)))
    widths = [max(len(row[k]) for row in rows) for k in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            text.ljust(w) if k == 0 else text.rjust(w) for k, (text, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def main() -> int:
    """Run from the command line."""
    names = [victim.name for victim in VICTIMS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=200, metavar="N", help="kills of each command (default 200)")
    parser.add_argument("--only", choices=names, action="append", help="this command alone; may be repeated")
    parser.add_argument("--minutes", type=float, default=600, metavar="M", help="no more of each command (default 600)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    options = parser.parse_args()
    tallies = []
    with tempfile.TemporaryDirectory(prefix="adntn-kills-") as folder:
        prepare(Path(folder))
        for victim in VICTIMS:
            if options.only is None or victim.name in options.only:
                limits = Limits(options.moments, 60 * options.minutes)
                tally = kill_command(victim, Path(folder), limits, options.seed)
                tallies.append(tally)
                print(f"{tally.name}: {tally.kills} kills in {tally.seconds:.0f} s", flush=True)
                for fault in tally.faults:
                    print(fault, flush=True)
    print(f"\nseed {options.seed}\n{shown(tallies)}")
    return int(any(tally.faults for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())

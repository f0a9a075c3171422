"""The process that fuzzes one target: ``worker.py MODULE COVERED NAME FOLDER RUNS``, then arguments of libFuzzer."""

import hashlib
import json
import random
import resource
import shutil
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[2])]

import atheris  # noqa: E402

with atheris.instrument_imports(include=sys.argv[2].split(",")):
    from fuzz.harness import Finding, Target, check, folder
    from fuzz.mutate import of_bytes

    TARGETS = {
        target.name: target for target in import_module(sys.argv[1]).TARGETS
    }  # no other: to instrument takes long

EVERY = 64
"""One execution of so many is measured for its memory, which slows it down; at the end so is all that was kept."""
ROOM = 2**30
"""Address space that is left to each process beyond what it has after its start: larger claims are no allocation."""


class Run:
    """Counts executions and keeps what is found."""

    def __init__(self, target: Target, where: Path, runs: int) -> None:
        self.target, self.where, self.runs = target, where, runs
        self.stats: dict[str, Any] = {"executions": 0, "accepted": 0, "slowest": 0.0, "peak": 0, "findings": {}}
        self.begun = self.told = time.monotonic()
        self.rng = random.Random(time.time_ns())

    def one(self, data: bytes) -> None:
        """Run an input; libFuzzer calls this."""
        stats = self.stats
        stats["executions"] += 1
        try:
            found = check(self.target, data, stats["executions"] % EVERY == 0)
            stats["accepted"] += found.accepted
            stats["slowest"], stats["peak"] = max(stats["slowest"], found.seconds), max(stats["peak"], found.peak)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            self.keep(data, error)
        if time.monotonic() - self.told > 0.5 or stats["executions"] == self.runs:
            self.tell()

    def changed(self, data: bytes, longest: int, seed: int) -> bytes:
        """Change an input: libFuzzer's way, or by one that keeps its form."""
        if seed % 3:
            return atheris.Mutate(data, longest)
        return self.target.mutate(data, self.rng)[:longest]

    def tell(self) -> None:
        """Write how far it is: libFuzzer ends the process without a word to Python."""
        self.told = time.monotonic()
        self.stats["seconds"], self.stats["cpu"] = self.told - self.begun, time.process_time()
        (self.where / "stats.json").write_text(json.dumps(self.stats), encoding="utf8")

    def keep(self, data: bytes, error: BaseException) -> None:
        """Keep an input that broke a promise, the first of each place."""
        own = [
            f
            for f in traceback.extract_tb(error.__traceback__)
            if "adntn_ref" in f.filename or "validation" in f.filename
        ]
        last = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "harness"
        text = str(error) if isinstance(error, Finding) else ""
        place = f"{type(error).__name__} {last}{' ' if text else ''}{''.join(c for c in text if not c.isdigit())[:40]}"
        if place not in self.stats["findings"]:
            name = hashlib.sha256(place.encode()).hexdigest()[:12]
            self.stats["findings"][place] = f"{name}: {ascii(str(error))[:150]}"
            (self.where / "findings" / name).write_bytes(data)
            (self.where / "findings" / f"{name}.txt").write_text(
                "".join(traceback.format_exception(error)), encoding="utf8", errors="replace"
            )
            self.tell()


def main() -> None:
    name, where, runs, *rest = sys.argv[3:]
    run = Run(TARGETS[name], Path(where), int(runs))
    for seed in TARGETS[name].seeds():  # imports and caches, before memory is limited
        run.one(seed)
    run.stats["executions"] = run.stats["accepted"] = 0
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    plain = TARGETS[name].mutate is of_bytes  # which libFuzzer does better
    atheris.Setup([sys.argv[0], *rest], run.one, **({} if plain else {"custom_mutator": run.changed}))
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(folder(), ignore_errors=True)


if __name__ == "__main__":
    main()

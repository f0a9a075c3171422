"""The command ``python -m adntn_ref.validation.bench``."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adntn_ref.compression.atomic import require_new, write_atomically
from adntn_ref.ending import ended, terminable
from adntn_ref.errors import AdntnError, SpecError
from adntn_ref.extras import need

from . import machine, report
from .goals import verdicts
from .plan import Plan
from .plot import DRAWN, draw
from .progress import Progress
from .results import to_dict
from .table import Table
from .tables import TABLES

DESCRIPTION = """Measure loss and gradients of tensor-network generators, the package and its peers side by side in one
run: alternating rounds, medians. Peers that are not installed are left out, and it is said so. Exit code 0 whatever the
goals say, 1 where a peer computes something else than the package, 2 for bad usage."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m adntn_ref.validation.bench", description=DESCRIPTION)
    made.add_argument("--quick", action="store_true", help="small sizes and few rounds, under a minute")
    made.add_argument(
        "--table", action="append", metavar="NAME", help=f"run one table; may be repeated: {', '.join(TABLES)}"
    )
    made.add_argument("--q", type=int, nargs="+", metavar="Q", help="brick-walls of 2^Q entries (default 12 16 20 22)")
    made.add_argument("--layers", type=int, default=4, help="of two columns each (default 4)")
    made.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    made.add_argument("--rounds", type=int, help="samples of each candidate (default 9; 3 with --quick)")
    made.add_argument("--pause", type=float, default=0.12, metavar="S", help="rest before each sample (default 0.12 s)")
    made.add_argument("--json", metavar="FILE", help="write everything as JSON; - for standard output alone")
    made.add_argument("--plot", type=Path, metavar="FILE", help="draw time against Q with the limit, PNG (matplotlib)")
    made.add_argument("--markdown", action="store_true", help="tables in Markdown, as in the documentation")
    made.add_argument("--force", action="store_true", help="write over files that exist")
    made.add_argument("--quiet", action="store_true", help="no progress")
    return made


def plan_of(options: argparse.Namespace) -> Plan:
    """Return the settings of a run.

    Raises
    ------
    SpecError
        For sizes, layers or rounds that cannot be run, or a table that is not there.
    """
    q = tuple(options.q) if options.q else ((8, 12) if options.quick else (12, 16, 20, 22))
    rounds = options.rounds if options.rounds is not None else (3 if options.quick else 9)
    if not all(4 <= size <= 26 for size in q):
        raise SpecError(f"--q must be from 4 to 26, got {' '.join(str(size) for size in q)}")
    if not 1 <= options.layers <= 64:
        raise SpecError(f"--layers must be from 1 to 64, got {options.layers}")
    if rounds < 1:
        raise SpecError(f"--rounds must be at least 1, got {rounds}")
    if not 0 <= options.pause <= 10:
        raise SpecError(f"--pause must be from 0 to 10 seconds, got {options.pause:g}")
    if unknown := [name for name in options.table or () if name not in TABLES]:
        raise SpecError(f"no table is called {', '.join(unknown)}; allowed: {', '.join(TABLES)}")
    return Plan(options.quick, q, options.layers, options.dtype, rounds, options.pause)


def run(options: argparse.Namespace) -> int:
    """Measure and print; see :func:`main`."""
    plan = plan_of(options)
    for path in (options.plot, None if options.json in (None, "-") else Path(options.json)):
        if path is not None:
            require_new(path, options.force)
    names = list(dict.fromkeys(options.table)) if options.table else list(TABLES)
    if options.plot is not None:
        need("matplotlib.figure", "demo")  # before minutes of measuring
        if not set(names) & set(DRAWN):
            raise SpecError(f"--plot draws the tables {' and '.join(DRAWN)}; asked for: {', '.join(names)}")
    began, talks = time.perf_counter(), options.json != "-"
    tables: list[Table] = []
    if talks:
        print(f"{machine.line(machine.facts())}\n{report.REMINDER}", flush=True)
    with Progress(names, quiet=options.quiet) as progress:
        for name in names:
            progress.begin(name)
            tables.append(TABLES[name](progress.watched(plan)))
            if talks:
                shown = report.markdown(tables[-1]) if options.markdown else report.text(tables[-1])
                progress.print(f"\n{shown}")
    found = verdicts(tables)
    if talks and found:
        print("\n" + (report.goals_markdown(found) if options.markdown else report.goals_text(found)))
    _write(options, to_dict(plan, tables, found, time.perf_counter() - began), tables)
    return 0


def _write(options: argparse.Namespace, results: dict[str, Any], tables: list[Table]) -> None:
    text = json.dumps(results, indent=1)
    if options.json == "-":
        print(text)
    elif options.json is not None:
        write_atomically(options.json, lambda path: _put(path, text + "\n"))
    if options.plot is not None:
        draw(tables, options.plot)


def _put(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; exit code 0, 1 where a peer computes something else, 2 for bad usage."""
    options = parser().parse_args(arguments)
    try:
        with terminable():
            return run(options)
    except AdntnError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, OSError, MemoryError) as error:
        return ended("bench", error)

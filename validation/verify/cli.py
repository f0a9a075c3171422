"""The command line of verify: ``python -m adntn_ref.validation``.

Exit codes: 0 agrees; 1 a disagreement; 2 could not be run; 130 interrupted; 143 terminated.
"""

import argparse
import contextlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from adntn_ref._version import __version__
from adntn_ref.compression.atomic import require_new, write_atomically
from adntn_ref.ending import ended, flush_stdout, terminable
from adntn_ref.errors import AdntnError, NothingSelected

from .candidate import Candidate
from .command import CommandCandidate
from .files import folder_of, load_case, write_request
from .junit import to_junit
from .prepare import DTYPES, prepare
from .process import ModuleCandidate
from .random_cases import draw_cases
from .report import progress, show
from .results import ResultsCandidate
from .run import Report, Shipped, select, shipped_cases, verify

STORAGE = "HYPOTHESIS_STORAGE_DIRECTORY"
EPILOG = """examples:
  python -m adntn_ref.validation --against my_pkg.my_module
  python -m adntn_ref.validation --command './my_program' --only 'brickwall/*'
  python -m adntn_ref.validation --write-requests cases   then, when the files are made:   --results cases
exit codes: 0 agrees, 1 a disagreement, 2 could not be run"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    parser = argparse.ArgumentParser(
        prog="python -m adntn_ref.validation",
        description="Compare an implementation of the networks with the reference, case by case.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"adntn-ref {__version__}")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--against", metavar="MODULE", help="a module (or a .py file) with generate and vjp")
    what.add_argument("--command", metavar="CMD", help="a program that reads a request and writes .npy files")
    what.add_argument("--results", metavar="DIR", help="a folder of .npy files made already")
    what.add_argument("--write-requests", metavar="DIR", help="write all requests into DIR, and do nothing else")
    what.add_argument("--list", action="store_true", help="list the shipped cases")
    parser.add_argument("--only", action="append", default=[], metavar="GLOB", help="these cases; may be repeated")
    parser.add_argument("--case", action="append", default=[], metavar="FILE", help="a case that --out wrote")
    parser.add_argument("--cases", type=_count, default=200, metavar="N", help="random cases (default 200)")
    parser.add_argument("--seed", type=_count, default=0, help="seed of the random cases (default 0)")
    parser.add_argument("--dtype", choices=DTYPES, default="float64", help="what it works in (default float64)")
    parser.add_argument("--time-limit", type=_seconds, default=300.0, metavar="S", help="seconds for all (default 300)")
    parser.add_argument("--case-limit", type=_seconds, default=30.0, metavar="S", help="seconds a case (default 30)")
    parser.add_argument("--out", metavar="DIR", help="write the smallest failing random case here")
    parser.add_argument("--json", metavar="FILE", help="write the whole report as JSON")
    parser.add_argument("--junit", metavar="FILE", help="write the report as JUnit XML")
    parser.add_argument("--all", action="store_true", help="a line in the table for every quantity of every case")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer >= 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        with terminable():
            code = run(options)
            flush_stdout()  # here, where a reader that has gone is met
            return code
    except AdntnError as error:
        print(f"adntn_ref.validation: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, OSError, MemoryError) as error:
        code = ended("adntn_ref.validation", error)
        return 2 if code == 1 and not isinstance(error, BrokenPipeError) else code  # 1 is a disagreement here


def run(options: argparse.Namespace) -> int:
    """Do what the options ask for.

    Raises
    ------
    AdntnError
        For what cannot be used: a candidate, a case, a file.
    """
    if options.list:
        for case, _ in select(shipped_cases(), options.only):
            print(f"{case.name:<44}  {case.note}" if case.note else case.name)
        return 0
    if options.write_requests is not None:
        return write_requests(options)
    candidate = candidate_of(options)
    for name in (options.json, options.junit):
        if name is not None:
            require_new(name, force=True)  # whether it can be written is seen now, not after the work
    with no_traces(), progress(options.quiet) as watch:
        report = verify(
            candidate,
            cases=cases_of(options, candidate),
            only=options.only,
            random=0 if options.case else options.cases,
            seed=options.seed,
            dtype=options.dtype,
            time_limit=options.time_limit,
            case_limit=options.case_limit,
            out=None if options.out is None else Path(options.out),
            watch=watch,
        )
    write_reports(report, options)
    if not options.quiet:
        show(report, every=options.all)
    return report.exit_code


@contextlib.contextmanager
def no_traces() -> Iterator[None]:
    """Let hypothesis keep its files elsewhere: it would make a folder in the one where the command is given."""
    if STORAGE in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="adntn-verify-") as folder:
        os.environ[STORAGE] = folder
        try:
            yield
        finally:
            del os.environ[STORAGE]


def candidate_of(options: argparse.Namespace) -> Candidate:
    """Return the candidate that the options name."""
    if options.against is not None:
        return ModuleCandidate(options.against)
    if options.command is not None:
        return CommandCandidate(options.command)
    return ResultsCandidate(options.results)


def cases_of(options: argparse.Namespace, candidate: Candidate) -> Shipped:
    """Return the cases: those of ``--case``, else the shipped ones and what else there are requests for."""
    if options.case:
        return [(load_case(Path(name)), {}) for name in options.case]
    shipped = list(shipped_cases())
    if isinstance(candidate, ResultsCandidate):
        names = {case.name for case, _ in shipped}
        shipped += [(case, {}) for case in candidate.own_cases() if case.name not in names]
    return shipped


def write_reports(report: Report, options: argparse.Namespace) -> None:
    """Write the report as JSON and as JUnit XML, where asked for."""
    if options.json is not None:
        text = json.dumps(report.to_json(), indent=1, allow_nan=False) + "\n"
        write_atomically(options.json, lambda part: _written(part.write_text(text, encoding="utf8")))
    if options.junit is not None:
        content = to_junit(report)
        write_atomically(options.junit, lambda part: _written(part.write_bytes(content)))


def _written(_: int) -> None:
    """Give nothing back."""


def write_requests(options: argparse.Namespace) -> int:
    """Write the requests of the shipped cases and of random ones, for a program on another machine."""
    root = Path(options.write_requests)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise NothingSelected(f"{root} exists already and is not an empty folder")
    cases = [case for case, _ in select(shipped_cases(), options.only)]
    with no_traces():
        cases += [] if options.only else draw_cases(options.cases, options.seed)
    written = 0
    for case in cases:
        prepared = prepare(case, options.dtype)
        if prepared is not None:
            write_request(folder_of(root, case.name), prepared.request)
            written += 1
    if not options.quiet:
        print(f"{written} requests in {root}; when their files are made: --results {root} --dtype {options.dtype}")
    return 0

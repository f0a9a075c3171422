"""The command line: ``adntn-ref`` and ``python -m adntn_ref``.

Exit codes: 0 done; 1 begun and failed; 2 input that cannot be used; 130 interrupted; 143 terminated.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from adntn_ref._version import __version__
from adntn_ref.ad.moving import available
from adntn_ref.backend import BACKEND_VARIABLE
from adntn_ref.cli import commands, data, demo, draw, experiment, export, report, sweep
from adntn_ref.cli.output import STDOUT, Output
from adntn_ref.compression.atomic import writing
from adntn_ref.ending import ended, flush_stdout, terminable
from adntn_ref.errors import AdntnError
from adntn_ref.program.memory import LIMIT_VARIABLE, parse_bytes

Command = Callable[[argparse.Namespace, Output], int]


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are JSON too where JSON was asked for."""

    wants_json = False

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong with it; exit with 2."""
        if Parser.wants_json:
            print(json.dumps({"error": message, "kind": "UsageError"}))
        super().error(message)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="adntn-ref",
        description="Tensor-network weight generators that compress neural networks.",
        epilog="To check an implementation of yours: python -m adntn_ref.validation --help",
    )
    parser.add_argument("--version", action="version", version=f"adntn-ref {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    adders = (demo.add, commands.add_compress, commands.add_expand, commands.add_cost, commands.add_info, data.add)
    seeded = [add(subparsers) for add in adders]
    for sub, run in (
        *seeded,
        *experiment.add(subparsers),
        *(more.add(subparsers) for more in (sweep, report, draw, export)),
    ):
        sub.formatter_class = argparse.RawDescriptionHelpFormatter
        sub.set_defaults(run=run)
        sub.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        sub.add_argument("--quiet", action="store_true", help="print nothing but errors")
        if any(sub is one for one, _ in seeded):
            sub.add_argument("--seed", type=_seed, default=0, help="seed of every random choice (default 0)")
        sub.add_argument("--memory-limit", metavar="2GiB", help="refuse work above this (default: 3/4 of what is free)")
        sub.add_argument("--backend", metavar="NAME", help="numpy (default) or cupy; also ADNTN_REF_BACKEND")
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer >= 0")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    Parser.wants_json = "--json" in (sys.argv[1:] if arguments is None else arguments)
    options = build_parser().parse_args(arguments)
    output = Output(options.json, options.quiet)
    before = {name: os.environ.get(name) for name in (LIMIT_VARIABLE, BACKEND_VARIABLE)}
    try:
        with terminable():
            if options.memory_limit is not None:
                os.environ[LIMIT_VARIABLE] = str(parse_bytes(options.memory_limit))
            if options.backend is not None:
                os.environ[BACKEND_VARIABLE] = available(options.backend).name
            run: Command = options.run
            code = run(options, output)
            with writing(STDOUT):
                flush_stdout()  # here, where a reader that has gone is met
            return code
    except AdntnError as error:
        print(f"adntn-ref {options.command}: {error}", file=sys.stderr)
        with suppress(OSError):  # standard output may be what is full
            if options.json:
                print(json.dumps({"error": str(error), "kind": type(error).__name__}))
            flush_stdout()
        return error.exit_code
    except (KeyboardInterrupt, OSError, MemoryError) as error:
        return ended(f"adntn-ref {options.command}", error)
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})

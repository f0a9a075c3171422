"""``python -m adntn_ref.validation.tolerance``: measure the margins of the tolerances."""

import argparse
import sys

from .hard import deep_cases, hardened
from .margins import margins_of, random_cases, table
from .precision import PRECISIONS


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return 1 where an honest implementation would be called wrong."""
    parser = argparse.ArgumentParser(prog="python -m adntn_ref.validation.tolerance", description=__doc__)
    parser.add_argument("--cases", type=int, default=100, help="number of random cases, all networks")
    parser.add_argument("--dtype", choices=tuple(PRECISIONS), default="float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, default=None, help="honest ways tried with a case; default: all")
    parser.add_argument("--mistake", type=float, default=None, help="relative size of the planted mistakes")
    parser.add_argument("--hard", action="store_true", help="cores of repeated, cancelling and widely ranging numbers")
    parser.add_argument("--deep", action="store_true", help="deep networks instead of random ones")
    given = parser.parse_args(arguments)
    if given.deep:
        cases = deep_cases(given.seed)
    else:
        cases = random_cases(given.cases, given.seed, PRECISIONS[given.dtype].complex)
    if given.hard:
        cases = [hardened(case, k) for k, case in enumerate(cases)]
    found = margins_of(cases, given.dtype, given.each, given.mistake)
    print(table(found))
    return int(any(margin.alarms for margin in found.ways.values()))


if __name__ == "__main__":
    sys.exit(main())

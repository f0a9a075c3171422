"""``python -m adntn_ref.validation.adapters``: count false alarms over random cases."""

import argparse
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the counts; exit code 1 after a false alarm, 2 where an adapter supports nothing."""
    from .counts import HEADER, QUANTITIES, READY, count

    parser = argparse.ArgumentParser(
        prog="python -m adntn_ref.validation.adapters",
        description="Compare the ready adapters with the package on random cases and count false alarms.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"adapters: {', '.join(READY)} (default: torch jax)")
    parser.add_argument("--cases", type=int, default=200, help="random cases a dtype (default 200)")
    parser.add_argument("--dtypes", nargs="+", default=["float64", "float32"], help="default: float64 float32")
    parser.add_argument("--quantities", nargs="+", choices=QUANTITIES, default=list(QUANTITIES), help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=128, help="most generated entries (default 128)")
    options = parser.parse_args(arguments)
    names = tuple(options.names) or ("torch", "jax")
    if unknown := sorted(set(names) - set(READY)):
        parser.error(f"no adapter is called {', '.join(unknown)}; ready: {', '.join(READY)}")
    print(HEADER)
    code = 0
    asked = (tuple(options.dtypes), options.seed, options.limit, tuple(options.quantities))
    for found in count(names, options.cases, *asked):
        print(found.line(), flush=True)
        for alarm in found.alarms[:5]:
            print(f"  {alarm}")
        code = max(code, 1 if found.alarms else 2 if found.cases == 0 else 0)
    return code


if __name__ == "__main__":
    sys.exit(main())

"""``python -m adntn_ref.validation.diagnosis``: print the catalogue of known mistakes."""

import argparse
import sys
from collections.abc import Sequence

from .catalogue import MISTAKES
from .page import page


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the catalogue as a table, or as the page of the documentation with ``--page``."""
    parser = argparse.ArgumentParser(
        prog="python -m adntn_ref.validation.diagnosis", description="Print the catalogue of known mistakes."
    )
    parser.add_argument("--page", action="store_true", help="print docs/known-mistakes.md instead")
    if parser.parse_args(arguments).page:
        sys.stdout.write(page())
        return 0
    wide = max(map(len, MISTAKES))
    group = ""
    for mistake in MISTAKES.values():
        if mistake.group != group:
            group = mistake.group
            print(f"\n{group}")
        print(f"  {mistake.name:{wide}}  {mistake.sentence}")
    print(
        f"\n{len(MISTAKES)} mistakes, {sum(m.backward for m in MISTAKES.values())} of them of the backward pass alone."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m adntn_ref.validation.bench``: see :mod:`adntn_ref.validation.bench.cli`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

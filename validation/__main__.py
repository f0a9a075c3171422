"""``python -m adntn_ref.validation``: see :mod:`adntn_ref.validation.verify.cli`."""

import sys

from .verify.cli import main

if __name__ == "__main__":
    sys.exit(main())

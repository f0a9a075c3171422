"""``python -m adntn_ref.validation.vectors``: generate, check, list, show."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

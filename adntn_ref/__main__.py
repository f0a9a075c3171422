"""``python -m adntn_ref``: the same as ``adntn-ref``."""

import sys

from adntn_ref.cli import main

sys.exit(main())

"""Asks for hypothesis before the other modules import it, so that the error names the extra."""

from adntn_ref.extras import need

need("hypothesis", "test")

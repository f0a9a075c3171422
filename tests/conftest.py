"""Hypothesis profiles, chosen by ADNTN_REF_HYPOTHESIS_PROFILE (``ci`` where CI=true)."""

import os

from hypothesis import settings

settings.register_profile("dev", max_examples=30, deadline=None, print_blob=True)
settings.register_profile("ci", max_examples=50, deadline=None, print_blob=True, derandomize=True)
settings.register_profile("nightly", max_examples=1000, deadline=None, print_blob=True)

default = "ci" if os.environ.get("CI") == "true" else "dev"
settings.load_profile(os.environ.get("ADNTN_REF_HYPOTHESIS_PROFILE") or default)

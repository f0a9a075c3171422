"""The frameworks that tests compare with: a test without its peer is skipped, or fails where peers are required."""

import importlib
import os
from typing import Any

import pytest

REQUIRED = os.environ.get("ADNTN_REF_REQUIRE_PEERS") == "1"


def need(name: str, optional: bool = False) -> Any:
    """Return the module ``name``; skip the test where it is not installed, fail with ADNTN_REF_REQUIRE_PEERS=1.

    An ``optional`` peer may be missing then too: the extra "peers" does not install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if REQUIRED and not optional:
            pytest.fail(f"ADNTN_REF_REQUIRE_PEERS=1, but {name} cannot be imported: {error}", pytrace=False)
        pytest.skip(f"{name} is not installed", allow_module_level=True)

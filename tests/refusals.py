"""What every refused specification has to show."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from adntn_ref.errors import SpecError


def refused(make: Callable[[], Any], sentence: str) -> None:
    """Ask for a SpecError at once, in one short line that holds ``sentence``."""
    start = time.perf_counter()
    with pytest.raises(SpecError) as caught:
        make()
    assert time.perf_counter() - start < 0.5
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)

"""What every refused specification has to show."""

from collections.abc import Callable
from typing import Any

import pytest
from counting import little

from adntn_ref.errors import SpecError


def refused(make: Callable[[], Any], sentence: str) -> None:
    """Ask for a SpecError at once, in one short line that holds ``sentence``."""
    with little(), pytest.raises(SpecError) as caught:
        make()
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)

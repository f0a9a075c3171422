"""Hypothesis profiles, chosen by ADNTN_REF_HYPOTHESIS_PROFILE (``ci`` where CI=true), and the backend under test.

``--backend NAME`` (or ADNTN_REF_BACKEND) says on which array backend the tests with the fixture ``backend`` run. By
default it is ``strict``, the stand-in for a GPU where there is none; ``--backend cupy`` runs them on one.
"""

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings

import adntn_ref.backend
from adntn_ref.ad.moving import available
from adntn_ref.backend import BACKEND_VARIABLE, get_backend

settings.register_profile("dev", max_examples=30, deadline=None, print_blob=True)
settings.register_profile("ci", max_examples=50, deadline=None, print_blob=True, derandomize=True)
settings.register_profile("nightly", max_examples=1000, deadline=None, print_blob=True)

default = "ci" if os.environ.get("CI") == "true" else "dev"
settings.load_profile(os.environ.get("ADNTN_REF_HYPOTHESIS_PROFILE") or default)


def pytest_addoption(parser: Any) -> None:
    # Taken out of the environment, or every test of NumPy would run there too.
    chosen = os.environ.pop(BACKEND_VARIABLE, None) or "strict"
    parser.addoption("--backend", default=chosen, help=f"array backend of the tests that take one (default {chosen})")


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The array backend under test; the strict one is offered as by the entry point of another package."""
    with pytest.MonkeyPatch.context() as patch:
        offered = adntn_ref.backend.entry_points
        strict = SimpleNamespace(name="strict", load=_strict)
        patch.setattr(adntn_ref.backend, "entry_points", lambda **group: [*offered(**group), strict])
        get_backend.cache_clear()
        yield available(request.config.getoption("--backend"))
        get_backend.cache_clear()


def _strict() -> Any:
    from strict import STRICT

    return STRICT

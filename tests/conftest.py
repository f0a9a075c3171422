"""Hypothesis profiles, chosen by ADNTN_REF_HYPOTHESIS_PROFILE (``ci`` where CI=true), and the backend under test.

``--backend NAME`` (or ADNTN_REF_BACKEND) says on which array backend the tests run that can: those with the fixture
``backend``, and those that call by :func:`elsewhere.there`. The others are NumPy's alone; they are skipped then, and
counted. Without the option the fixture is ``strict``, the stand-in for a GPU where there is none,
and all else runs on NumPy. ``--backend cupy`` is for a machine with a GPU.
"""

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import elsewhere
import pytest
from hypothesis import settings

import adntn_ref.backend
from adntn_ref.ad.moving import available
from adntn_ref.backend import BACKEND_VARIABLE, get_backend
from adntn_ref.errors import BackendUnavailable

settings.register_profile("dev", max_examples=30, deadline=None, print_blob=True)
settings.register_profile("ci", max_examples=50, deadline=None, print_blob=True, derandomize=True)
settings.register_profile("nightly", max_examples=1000, deadline=None, print_blob=True)

default = "ci" if os.environ.get("CI") == "true" else "dev"
settings.load_profile(os.environ.get("ADNTN_REF_HYPOTHESIS_PROFILE") or default)

NUMPY_ONLY = "NumPy's alone"


def pytest_addoption(parser: Any) -> None:
    # Taken out of the environment, or every test of NumPy would run there too.
    chosen = os.environ.pop(BACKEND_VARIABLE, None) or None
    parser.addoption("--backend", default=chosen, help="array backend of the tests that can run on another than NumPy")


def pytest_configure(config: pytest.Config) -> None:
    name = config.getoption("--backend")
    if name is None:
        return
    if name == "strict":
        patch = pytest.MonkeyPatch()
        _offer_strict(patch)
        config.add_cleanup(patch.undo)
    try:
        elsewhere.chosen = available(name).name
    except BackendUnavailable as error:
        raise pytest.UsageError(f"--backend {name}: {error}") from error


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what cannot run on the chosen backend: tests without the fixture, in modules that call nothing there."""
    if elsewhere.chosen != "numpy":
        for item in items:
            if not _takes_backend(item) and not _calls_there(item):
                item.add_marker(pytest.mark.skip(reason=NUMPY_ONLY))


def _takes_backend(item: pytest.Item) -> bool:
    return "backend" in getattr(item, "fixturenames", ())


def _calls_there(item: pytest.Item) -> bool:
    return getattr(getattr(item, "module", None), "there", None) is elsewhere.there


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Count a test that passed without a call on the chosen backend among those of NumPy."""
    before = elsewhere.calls
    yield
    if elsewhere.chosen != "numpy" and not _takes_backend(item) and elsewhere.calls == before:
        pytest.skip(NUMPY_ONLY)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if elsewhere.chosen == "numpy":
        return
    alone = sum(NUMPY_ONLY in str(report.longrepr) for report in terminalreporter.getreports("skipped"))
    ran = sum(len(terminalreporter.getreports(outcome)) for outcome in ("passed", "failed"))
    terminalreporter.write_line(f"{ran} tests ran on {elsewhere.chosen}; {alone} are {NUMPY_ONLY}")


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The array backend under test; the strict one is offered as by the entry point of another package."""
    with pytest.MonkeyPatch.context() as patch:
        _offer_strict(patch)
        yield available(request.config.getoption("--backend") or "strict")
    get_backend.cache_clear()


def _offer_strict(patch: pytest.MonkeyPatch) -> None:
    offered = adntn_ref.backend.entry_points
    strict = SimpleNamespace(name="strict", load=_strict)
    patch.setattr(adntn_ref.backend, "entry_points", lambda **group: [*offered(**group), strict])
    get_backend.cache_clear()


def _strict() -> Any:
    from strict import STRICT

    return STRICT

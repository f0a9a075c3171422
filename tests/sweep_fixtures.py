"""The fixtures of the tests of sweeps; a test's file takes them by ``pytest_plugins = ["sweep_fixtures"]``."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sweep_cases import BASE, SWEEP, TASKS, lines

from adntn_ref.experiments.engine import run_sweep
from adntn_ref.experiments.sweep import Sweep, read_sweep


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sweep's file, and with the run that others are compared with."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "base.toml").write_text(BASE)
    (folder / "sweep.toml").write_text(SWEEP)
    return folder


@pytest.fixture(scope="session")
def sweep(home: Path) -> Sweep:
    """The small sweep as it was read."""
    return read_sweep(home / "sweep.toml")


@pytest.fixture(scope="session")
def reference(sweep: Sweep, home: Path) -> dict[str, dict[str, Any]]:
    """The results by key, from one thread."""
    with ThreadPoolExecutor(1) as executor:
        run_sweep(sweep, home / "reference", executor)
    found = lines(home / "reference")
    assert len(found) == TASKS == len(sweep.tasks())
    return found

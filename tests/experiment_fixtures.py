"""The fixture of the tests of experiments; a test's file takes it by ``pytest_plugins = ["experiment_fixtures"]``."""

from pathlib import Path

import pytest
from experiment_cases import config

from adntn_ref.experiments.run import run_experiment


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small experiment, run to its end; nobody changes what is in it."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run_experiment(config(), folder)
    return folder

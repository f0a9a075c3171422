"""``pytest --backend NAME``: what runs there, what is skipped and counted, and what a call elsewhere moves."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import elsewhere
import numpy as np
import pytest
from small import same

import adntn_ref as ar
from adntn_ref.ad.arrays import backend_of

HERE = Path(__file__).parent


def pytest_with(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}  # coverage, side by side
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parent, env=env)


def test_tests_that_cannot_run_there_are_counted_and_none_is_lost() -> None:
    """8 that call there; of the same file 8 that call nothing; and a file that takes no backend at all."""
    files = ("tests/test_shallow.py", "tests/test_atomic.py")
    done = pytest_with("--backend", "strict", *files, "-k", "test_scaled or test_published_counts or test_atomic")
    assert done.returncode == 0, done.stdout
    totals = re.search(r"^8 passed, (\d+) skipped, \d+ deselected", done.stdout, re.MULTILINE)
    assert totals is not None, done.stdout
    assert int(totals[1]) > 8
    assert f"8 tests ran on strict; {totals[1]} are NumPy's alone\n" in done.stdout


def test_a_backend_that_is_not_there() -> None:
    done = pytest_with("--backend", "nimbus", "tests/test_atomic.py")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--backend nimbus: no array backend is called 'nimbus'" in done.stderr


def test_on_numpy_a_call_is_the_function_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "chosen", "numpy")
    x = np.ones(2)
    assert elsewhere.there(np.sin) is np.sin
    assert elsewhere.place(x) is x
    assert elsewhere.alike(x, x.copy())
    assert not elsewhere.alike(x, x + 1e-15)


def test_arguments_go_there_and_results_come_back(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "chosen", backend.name)
    before, seen = elsewhere.calls, []

    def function(tree: Any, number: Any, *, scale: Any) -> Any:
        seen.extend(backend_of(x).name for x in (*tree.values(), number, scale, elsewhere.place(np.ones(1))))
        return {"y": tree["a"] * scale}, lambda g: (seen.append(backend_of(g).name), g + tree["a"])[1]

    result, pullback = elsewhere.there(function)({"a": np.ones(2)}, np.float64(3.0), scale=np.full(2, 2.0))
    assert same(result, {"y": np.full(2, 2.0)})
    assert same(pullback(np.ones(2)), np.full(2, 2.0))
    assert seen == [backend.name] * 5
    assert elsewhere.calls == before + 2
    assert elsewhere.alike(np.ones(2), np.ones(2) + 1e-15)
    assert not elsewhere.alike(np.ones(2), np.ones(2) + 1e-9)
    assert ar.to_backend(elsewhere.place(np.ones(1)), "numpy") == 1.0

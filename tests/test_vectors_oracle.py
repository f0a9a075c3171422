"""The one door to the dense oracles, and that what stands behind it shares no code with the package."""

import ast
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.networks.programmed import ProgramNetwork
from adntn_ref.validation import dense, dense_shallow, dense_tree, oracle
from adntn_ref.validation.vectors import load

MODULES = (oracle, dense, dense_tree, dense_shallow)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rsplit(".", 1)[1])
def test_imports_nothing_of_the_package(module: Any) -> None:
    own = {each.__name__.rsplit(".", 1)[1] for each in MODULES}
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            roots = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert (node.level, bool({str(node.module), *(alias.name for alias in node.names)} & own)) == (1, True)
            continue
        elif isinstance(node, ast.ImportFrom):
            roots = {str(node.module).split(".")[0]}
        else:
            continue
        assert roots <= {"numpy", *sys.stdlib_module_names}


def test_every_state_of_every_case() -> None:
    """Names, order and numbers of the states are those of the package, where the oracles know them."""
    known = unknown = 0
    for case, expected in load():
        net = case.network
        if not isinstance(net, ProgramNetwork) or case.spec.get("activation_site") == "node":
            with pytest.raises(NotImplementedError, match="know no states"):
                oracle.states(case.spec, case.params)
            unknown += 1
            continue
        states = oracle.states(case.spec, case.params)
        assert list(states) == [step.name for step in net.program.all_steps]
        for name, state in states.items():
            want = expected[f"state/{name}"].reshape(-1)
            np.testing.assert_allclose(state, want, rtol=0, atol=1e-13 * (1e-6 + np.abs(want).max()))
        known += 1
    assert known > 80
    assert unknown > 30


def test_frozen_weights_are_taken_and_have_no_gradient() -> None:
    base = np.arange(6.0).reshape(2, 3)
    net = ar.Delta(base, ar.LowRank((2, 3), 1), 0.5)
    params = {"left": np.ones((2, 1)), "right": np.ones((1, 3)), "frozen/" + net.identity[2]: base}
    np.testing.assert_array_equal(oracle.generate(net.to_spec(), params), base + 0.5)
    assert set(oracle.vjp(net.to_spec(), params, np.ones((2, 3)))) == {"left", "right"}
    del params["frozen/" + net.identity[2]]
    with pytest.raises(KeyError):
        oracle.generate(net.to_spec(), params)

"""The plain way on a device, run on NumPy: the same numbers as the steps as they are written, by large products."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.backends.rotation import LARGEST, Rotating, Turn, rotating_run
from adntn_ref.backends.scatter import ordered_scatter_add
from adntn_ref.networks import ProgramNetwork
from adntn_ref.program.runs import StepsRun
from adntn_ref.program.schedule import run_adjoint, run_keeping
from adntn_ref.program.steps import Program
from adntn_ref.validation.strategies import brickwalls, parameters, trees

NETWORKS = st.one_of(brickwalls(), trees())


def run_both(net: Any, params: dict[str, Any], schedule: str) -> list[dict[str, Any]]:
    found = []
    for make in (StepsRun, rotating_run):
        run = make(net.program, params)
        state, saved = run_keeping(run, schedule)
        g = np.cos(np.arange(state.size)).astype(state.dtype)
        assert np.array_equal(run.last_state(), state)
        found.append({"state": state, **run_adjoint(run, saved, g)})
    return found


def close(got: dict[str, Any], expected: dict[str, Any], rtol: float) -> None:
    assert got.keys() == expected.keys()
    for name, wanted in expected.items():
        assert got[name].shape == wanted.shape, name
        assert got[name].dtype == wanted.dtype, name
        assert np.linalg.norm(got[name] - wanted) <= rtol * max(1.0, np.linalg.norm(wanted)), name


@given(NETWORKS, st.sampled_from(["keep", "recompute", "checkpoints:1"]), st.data())
def test_the_same_as_the_steps(net: ProgramNetwork, schedule: str, data: st.DataObject) -> None:
    close(*reversed(run_both(net, data.draw(parameters(net)), schedule)), rtol=1e-11)


@given(st.one_of(brickwalls(("identity",)), trees(("identity",))), st.data())
def test_complex_cores(net: ProgramNetwork, data: st.DataObject) -> None:
    close(*reversed(run_both(net, data.draw(parameters(net, "complex128")), "keep")), rtol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "net", [ar.BrickWall((2**7, 2**7), 3), ar.MERA((2**4, 2**6), 3, periodic=True)], ids=["w", "m"]
)
def test_larger(net: Any, dtype: str) -> None:
    close(*reversed(run_both(net, net.init(0, dtype), "keep")), rtol=1e-12 if dtype == "float64" else 1e-4)


def test_a_column_whose_ends_are_modes_alone() -> None:
    """Two turns of nothing but the same unit matrix, which is made once."""
    net = ar.BrickWall((324,), 1, modes=(3, 2, 3, 2, 3, 3))
    odd = rotating_run(net.program, net.init()).program.steps[0]
    assert isinstance(odd, Rotating)
    units = [k for k, turn in enumerate(odd.turns) if all(block.name is None for block in turn.blocks)]
    assert tuple(units) in odd.alike
    assert len(units) == 2
    close(*reversed(run_both(net, net.init(), "keep")), rtol=1e-12)


def test_every_product_is_large() -> None:
    """Q = 16: each column is 4 or 5 products over the whole state, none of more than 16 a side."""
    run = rotating_run(ar.BrickWall((2**16,), 3).program, {})
    assert isinstance(run.program, Program)
    columns: Any = [step for step in run.program.steps if isinstance(step, Rotating)]
    assert len(columns) == 5  # the first column is the start
    for column in columns:
        assert len(column.turns) in (4, 5)
        assert all(isinstance(turn, Turn) and turn.inputs <= LARGEST and turn.left == 1 for turn in column.turns)
        assert all(turn.inputs * turn.right == 2**16 for turn in column.turns)


def test_a_step_of_one_window_is_left_alone() -> None:
    run = rotating_run(ar.BrickWall((4, 4), 2).program, {})
    assert not any(
        isinstance(turn, Turn) for step in run.program.steps if isinstance(step, Rotating) for turn in step.turns
    )


# Adding in an order that is always the same


@given(st.integers(0, 40), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_scatter(count: int, places: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    index, values = rng.integers(0, places, count), rng.standard_normal(count)
    expected = np.zeros(places)
    np.add.at(expected, index, values)
    np.testing.assert_allclose(ordered_scatter_add(np, values, index, (places,)), expected, rtol=1e-13, atol=1e-13)


def test_scatter_into_several_axes_in_the_dtype_of_the_values() -> None:
    index = (np.array([[0], [2]]), slice(None), np.array([1, 1]))
    values = np.arange(2 * 2 * 3, dtype="float32").reshape(2, 2, 3)
    expected = np.zeros((3, 3, 2), "float32")
    np.add.at(expected, index, values)
    found = ordered_scatter_add(np, values, index, (3, 3, 2))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_scatter_keeps_what_is_not_finite_in_its_place() -> None:
    values = np.array([np.inf, 1.0, np.nan, 2.0])
    np.testing.assert_array_equal(
        ordered_scatter_add(np, values, np.array([1, 0, 2, 0]), (4,)), [3.0, np.inf, np.nan, 0.0]
    )


def test_scatter_of_distinct_places_assigns() -> None:
    found = ordered_scatter_add(np, np.array([1.0, 2.0]), np.array([3, 1]), (4,), distinct=True)
    np.testing.assert_array_equal(found, [0.0, 2.0, 0.0, 1.0])

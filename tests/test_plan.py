"""Plans: windows cover every brick once and in order, phases and chunks cover the state, and the numbers agree."""

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.ad.activations import ACTIVATIONS
from adntn_ref.backends import numpy_runner, numpy_windows
from adntn_ref.program import plan as plans
from adntn_ref.program import rooms, workers
from adntn_ref.program.plan import plan_of
from adntn_ref.program.runs import StepsRun, run_of
from adntn_ref.program.schedule import run_adjoint, run_keeping
from adntn_ref.program.stairs import LARGEST, stairs_of
from adntn_ref.validation.strategies import brickwalls, modes

LAYER = st.integers(1, 2)


def close(got: Any, wanted: Any, rtol: float = 1e-12) -> bool:
    return bool(np.abs(got - wanted).max() <= rtol * np.abs(wanted).max())


def columns_of(count: int, columns: int) -> list[list[tuple[int, str]]]:
    return [[(q, f"c{c}.{q}") for q in range(c % 2, count - 1, 2)] for c in range(columns)]


@given(modes(most=10, limit=4096), LAYER)
def test_windows_hold_every_brick_once_and_after_what_it_needs(dims: tuple[int, ...], columns: int) -> None:
    bricks = {name: q for column in columns_of(len(dims), columns) for q, name in column}
    stairs = stairs_of(dims, columns_of(len(dims), columns))
    order = [name for stair in stairs for name in stair.names]
    assert sorted(order) == sorted(bricks)
    for k, name in enumerate(order):
        touching = [other for other in order[:k] if abs(bricks[other] - bricks[name]) < 2]
        missing = [
            other
            for other in bricks
            if other[:2] < name[:2] and abs(bricks[other] - bricks[name]) < 2 and other not in touching
        ]
        assert not missing, f"{name} comes before {missing}"
    for stair in stairs:
        assert stair.side == prod(dims[stair.first : stair.last])
        assert stair.side <= LARGEST or len(stair.names) == 1
        for gate, name in zip(stair.gates, stair.names, strict=True):
            q = bricks[name]
            assert (gate.before, gate.size) == (prod(dims[stair.first : q]), dims[q] * dims[q + 1])
            assert gate.before * gate.size * gate.after == stair.side


def test_the_staircase_of_a_binary_layer() -> None:
    """A window of four indices with three bricks, then of three with two, and a large one where columns run out."""
    stairs = stairs_of((2,) * 16, columns_of(16, 2))
    assert [(s.first, s.last, len(s.names)) for s in stairs] == [
        (0, 4, 3),
        (3, 6, 2),
        (5, 8, 2),
        (7, 10, 2),
        (9, 12, 2),
        (11, 16, 4),
    ]


@given(modes(most=8, limit=2048), st.integers(0, 99))
def test_windows_multiply_to_the_columns(dims: tuple[int, ...], seed: int) -> None:
    """The product of all windows, as explicit matrices, is the product of the columns."""
    rng = np.random.default_rng(seed)
    net = ar.BrickWall((prod(dims),), layers=2, modes=dims, boundary="trainable", activation="identity")
    params = {name: rng.standard_normal(shape) for name, shape in net.core_shapes.items()}
    plan = plan_of(net.program)
    if plan is None:
        assert len(dims) < 2
        return
    stepwise = StepsRun(net.program, params).last_state()
    assert close(run_of(net.program, params).last_state(), stepwise)


def small_chunks(monkeypatch: pytest.MonkeyPatch, chunk: int = 16, leading: int = 8) -> None:
    """Cut even small states into several phases of several chunks, each on its own thread."""
    plan_of.cache_clear()
    monkeypatch.setattr(plans, "CHUNK", chunk)
    monkeypatch.setattr(plans, "LEADING", leading)
    monkeypatch.setattr(numpy_runner, "CHUNK", chunk)
    monkeypatch.setattr(numpy_windows, "COLUMNS", 4)
    monkeypatch.setattr(numpy_windows, "LONGEST", 32)
    monkeypatch.setattr(workers, "LEAST", 1)
    monkeypatch.setenv(workers.THREADS_VARIABLE, "2")
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)


@pytest.fixture
def chunked(monkeypatch: pytest.MonkeyPatch) -> Any:
    small_chunks(monkeypatch)
    yield
    plan_of.cache_clear()


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("net", [
    ar.BrickWall((4096,), layers=3, activation="identity"),
    ar.BrickWall((60, 60), layers=2, activation="identity", boundary="trainable"),
    ar.BrickWall((3 * 5 * 2 * 7,), layers=2, modes=(3, 5, 2, 7), activation="identity"),
    ar.BrickWall((1000,), layers=2, modes=(10, 10, 10), activation="identity"),
    ar.BrickWall((512,), layers=3, activation="identity", activation_every="column"),
], ids=repr)  # fmt: skip
def test_chunks_and_threads_agree_with_the_steps(net: ar.BrickWall, dtype: str) -> None:
    rng = np.random.default_rng(3)
    params: dict[str, np.ndarray] = {}
    for name, shape in net.core_shapes.items():
        params[name] = rng.standard_normal(shape).astype(dtype)
        if dtype == "complex128":
            params[name] = params[name] + 1j * rng.standard_normal(shape)
    compare(net, params)


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "sin"])
@pytest.mark.parametrize("every", ["layer", "column"])
def test_activations_between_the_stages(activation: str, every: str) -> None:
    net = ar.BrickWall((700,), layers=3, activation=activation, activation_every=every)
    compare(net, net.init(5))


def compare(net: ar.BrickWall, params: dict[str, np.ndarray]) -> None:
    plan = plan_of(net.program)
    assert plan is not None
    assert any(len(phase.chunks) > 1 for stage in plan.stages for phase in stage.phases)
    before = {name: core.copy() for name, core in params.items()}
    fast, slow = run_of(net.program, params), StepsRun(net.program, params)
    assert type(fast) is numpy_runner.NumpyRun
    g = np.random.default_rng(0).standard_normal(net.placement.generated).astype(next(iter(params.values())).dtype)
    kept_g = g.copy()
    values, gradients = [], []
    for run in (fast, slow):
        x, saved = run_keeping(run, "keep")
        values.append(x)
        gradients.append(run_adjoint(run, saved, g))
    assert close(values[0], values[1])
    assert close(fast.last_state(), values[1])
    assert gradients[0].keys() == gradients[1].keys()
    size = max(np.abs(x).max() for x in gradients[1].values())
    for name, wanted in gradients[1].items():
        assert np.abs(gradients[0][name] - wanted).max() <= 1e-12 * size, name
    assert np.array_equal(g, kept_g), "the caller's cotangent was written to"
    assert all(np.array_equal(params[name], before[name]) for name in params)


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    net = ar.BrickWall((2**18,), layers=2, activation="tanh")
    params = net.init(0, dtype="float32")
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    found = []
    for count in ("1", "2", "3"):
        monkeypatch.setenv(workers.THREADS_VARIABLE, count)
        weight, pullback = net.vjp(params)
        found.append((weight, pullback(weight)))
    for weight, gradient in found[1:]:
        assert np.array_equal(weight, found[0][0])
        assert all(np.array_equal(gradient[name], found[0][1][name]) for name in gradient)


@pytest.mark.parametrize(("said", "expected"), [("", 4), ("2", 2), ("9", 4), ("0", 4), ("x", 4)])
def test_how_many_threads(said: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in workers.BLAS_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setenv(workers.THREADS_VARIABLE, said)
    assert workers.thread_count() == expected
    monkeypatch.delenv(workers.THREADS_VARIABLE)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert workers.thread_count() == 1


@given(brickwalls())
def test_phases_and_chunks_cover_the_state_once(net: ar.BrickWall) -> None:
    plan = plan_of(net.program)
    if plan is None:
        assert len(net.program.steps) == 0
        return
    for stage in plan.stages:
        for phase in stage.phases:
            assert phase.left * phase.middle * phase.right == plan.entries
            seen = np.zeros((phase.left, phase.middle, phase.right), int)
            for l, r in phase.chunks:
                seen[l, :, r] += 1
            assert (seen == 1).all()
            for window in phase.windows:
                assert window.before * window.side * window.after == phase.middle


@pytest.mark.parametrize("net", [ar.MERA((64,), chi=2), ar.TTN((64,), chi=2, activation_site="node"),
                                 ar.BrickWall((4,), layers=1)], ids=repr)  # fmt: skip
def test_programs_without_a_plan_are_run_step_by_step(net: Any) -> None:
    assert type(run_of(net.program, net.init())) is not numpy_runner.NumpyRun


def test_what_is_counted_in_place_is_done_in_place() -> None:
    assert set(numpy_windows.IN_PLACE) == set(rooms.IN_PLACE)
    z = np.linspace(-2, 2, 9)
    for name, activation in ACTIVATIONS.items():
        room = np.zeros(9)
        x = numpy_windows.sigma(activation, z, room)
        assert np.array_equal(x, activation.sigma(z))
        assert np.shares_memory(x, room) == (name in rooms.IN_PLACE)
        g, out = np.cos(z), np.empty(9)
        numpy_windows.carry_back(activation, z, x, g, out)
        assert np.array_equal(out, g * activation.first(z, x))

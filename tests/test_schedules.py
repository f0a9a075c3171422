"""Schedules: the same bits whatever is kept, no more held than is said, and the fastest that fits is taken."""

from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pytest
from counting import held
from elsewhere import alike, place, there
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref import ad
from adntn_ref.errors import MemoryLimitError, SpecError
from adntn_ref.program import workers
from adntn_ref.program.ghost import GhostRun
from adntn_ref.program.runs import StepsRun
from adntn_ref.program.schedule import run_adjoint, run_keeping, slots_of, split
from adntn_ref.validation.strategies import brickwalls, parameters, trees

NAMED = ("keep", "recompute", "checkpoints:0", "checkpoints:1", "checkpoints:2", "checkpoints:7")
NETWORKS = st.one_of(brickwalls(), trees())


def gradient(net: Any, params: dict[str, np.ndarray], schedule: str) -> list[dict[str, np.ndarray]]:
    weight, pullback = there(net.vjp)(params, schedule=schedule)
    g = np.cos(np.arange(weight.size)).reshape(weight.shape).astype(weight.dtype)
    return [{"weight": weight, **pullback(g)}, {"weight": weight, **pullback(g)}]


@given(NETWORKS, st.sampled_from(NAMED[1:]), st.data())
def test_every_schedule_gives_the_same_bits(net: Any, schedule: str, data: st.DataObject) -> None:
    params = data.draw(parameters(net))
    expected = gradient(net, params, "keep")[0]
    for found in gradient(net, params, schedule):  # the second pullback makes again what the first has let go
        for name, wanted in expected.items():
            assert np.array_equal(found[name], wanted), name


@given(NETWORKS, st.sampled_from(NAMED), st.data())
def test_the_tape_takes_any_schedule(net: Any, schedule: str, data: st.DataObject) -> None:
    params = data.draw(parameters(net))
    expected = gradient(net, params, "keep")[0]
    g = np.cos(np.arange(net.weights)).reshape(net.shape)
    found = there(ad.grad(lambda p: ad.sum(net.generate(p, schedule=schedule) * place(g))))(params)
    for name in params:
        assert alike(found[name], expected[name]), name


@cache
def fewest(length: int, slots: int) -> int:
    """Forward segments that are run, by trying every place for the next state."""
    if length == 1:
        return 0
    if slots == 0:
        return length * (length - 1) // 2
    return min(m + fewest(length - m, slots - 1) + fewest(m, slots) for m in range(1, length))


@cache
def taken(length: int, slots: int) -> int:
    if length == 1:
        return 0
    if slots == 0:
        return length * (length - 1) // 2
    m = split(length, slots)
    assert 1 <= m < length
    return m + taken(length - m, slots - 1) + taken(m, slots)


@pytest.mark.parametrize("slots", range(8))
def test_places_of_states_are_the_best(slots: int) -> None:
    assert [taken(length, slots) for length in range(1, 40)] == [fewest(length, slots) for length in range(1, 40)]


class Watched:
    """A chain of segments x -> x + 1 that counts what is run and the states alive."""

    def __init__(self, count: int) -> None:
        self.count, self.runs, self.alive, self.most = count, Counter[str](), 0, 0

    def state(self, value: int) -> Any:
        watched = self

        class State:
            number = value

            def __init__(self) -> None:
                watched.alive += 1
                watched.most = max(watched.most, watched.alive)

            def __del__(self) -> None:
                watched.alive -= 1

        return State()

    def start(self) -> Any:
        return self.state(0)

    def forward(self, k: int, x: Any) -> Any:
        assert x.number == k
        self.runs["forward"] += 1
        return self.state(k + 1)

    def keeping(self, k: int, x: Any) -> Any:
        return self.forward(k, x), x

    def again(self, k: int, x: Any) -> Any:
        assert x.number == k
        self.runs["again"] += 1
        return x

    def back(self, k: int, record: Any, g: int, owned: bool, found: dict[Any, Any]) -> int:
        assert record.number == k
        assert g == k + 1
        assert owned == (g < self.count)
        return k

    def finish(self, g: int, found: dict[Any, Any]) -> Any:
        assert g == 0
        return found


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("slots", [0, 1, 2, 3, 8, 19, 30])
def test_what_is_run_and_held(count: int, slots: int) -> None:
    run: Any = Watched(count)
    last, saved = run_keeping(run, f"checkpoints:{slots}")
    assert last.number == count
    del last
    first = run.runs["forward"]
    assert first == count
    run_adjoint(run, saved, count)
    assert run.runs["again"] == count
    # The forward run has gone over all segments; of these steps those up to the last kept state are not run again.
    kept = min(slots, count - 1)
    assert run.runs["forward"] - first <= fewest(count, kept)
    assert run.most <= kept + 3, "the start, what is kept, the state that is made and the one it is made from"
    run_adjoint(run, saved, count)
    assert run.runs["again"] == 2 * count


@pytest.mark.parametrize("schedule", ["recompute", "checkpoints:3000"])
def test_more_segments_than_python_has_room_for_calls(schedule: str) -> None:
    run: Any = Watched(3000)
    saved = run_keeping(run, schedule)[1]
    assert run_adjoint(run, saved, 3000) == {}
    assert run.runs == {"forward": 3000, "again": 3000}
    deep = ar.BrickWall((4,), layers=1200)
    assert deep.cost("float64", schedule).peak_bytes_backward > 0
    params = deep.init(start="near_identity")
    assert np.array_equal(*(gradient(deep, params, name)[0]["layer0.brick0"] for name in (schedule, "keep")))


@pytest.mark.parametrize(
    "bad", ["store", "checkpoints", "checkpoints:-1", "checkpoints:x", "checkpoints:1.5", "", None, 3]
)
def test_unknown_schedules(bad: Any) -> None:
    net = ar.BrickWall((64,), layers=2)
    with pytest.raises(SpecError, match="no schedule is called"):
        net.vjp(net.init(), schedule=bad)
    with pytest.raises(SpecError, match="allowed: keep, recompute, checkpoints:n"):
        slots_of(bad, 3)
    with pytest.raises(SpecError, match="no schedule is called"):
        net.cost(schedule=bad)


@pytest.mark.parametrize("net", [ar.BrickWall((2**18,), layers=12), ar.MERA((2**12,), chi=4)], ids=["wall", "mera"])
def test_auto_takes_the_fastest_that_fits(net: Any) -> None:
    def peak(schedule: str) -> int:
        return net.cost("float64", schedule).peak_bytes_backward + 8 * net.parameter_count

    assert net.choose_schedule("float64") == "keep"
    assert net.choose_schedule("float64", memory_limit=peak("keep")) == "keep"
    assert net.choose_schedule("float64", memory_limit=peak("keep") - 1) == "recompute"
    below = net.choose_schedule("float64", memory_limit=peak("recompute") - 1)
    assert below.startswith("checkpoints:")
    slots = int(below.partition(":")[2])
    assert peak(below) <= peak("recompute") - 1 < peak(f"checkpoints:{slots + 1}")
    least = peak("checkpoints:0")
    assert peak(net.choose_schedule("float64", memory_limit=least)) <= least
    with pytest.raises(MemoryLimitError, match="checkpoints:0"):
        net.choose_schedule("float64", memory_limit=least - 1)
    with pytest.raises(MemoryLimitError, match="GiB"):
        net.vjp(net.init(), schedule="keep", memory_limit=peak("keep") - 1)


def test_a_limit_on_the_environment_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    net = ar.MERA((2**10,), chi=4)
    params, taken = net.init(), []

    def watched(run: Any, schedule: str) -> Any:
        if not isinstance(run, GhostRun):
            taken.append(schedule)
        return run_keeping(run, schedule)

    monkeypatch.setattr("adntn_ref.networks.programmed.run_keeping", watched)
    net.vjp(params)
    monkeypatch.setenv("ADNTN_REF_MEMORY_LIMIT", str(net.cost("float64", "keep").peak_bytes_backward))
    net.vjp(params)
    ad.grad(lambda p: ad.sum(net.generate(p)))(params)
    assert taken == ["keep", "recompute", "recompute"]


BIG: list[Any] = [
    ar.BrickWall((2**18,), layers=4),
    ar.BrickWall((2**18,), layers=3, activation="tanh"),
    ar.BrickWall((2**18,), layers=3, activation_every="column"),
    ar.BrickWall((2**16,), layers=3, activation="sigmoid"),
    ar.BrickWall((2**16,), layers=3, activation="gelu"),
    ar.BrickWall((2**17,), layers=3, boundary="trainable", activation="identity"),
    ar.TTN((2**16,), chi=4),
    ar.ATTN((2**16,), chi=4),
    ar.MERA((2**16,), chi=4),
    ar.MERA((2**16,), chi=3, periodic=True),
    ar.TTN((2**14,), chi=4, activation_site="node"),
]


@pytest.mark.parametrize("schedule", ["keep", "recompute", "checkpoints:1"])
@pytest.mark.parametrize("net", BIG, ids=repr)
def test_memory_as_it_is_held(net: Any, schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(workers.THREADS_VARIABLE, "1")
    params, cost = net.init(), net.cost("float64", schedule)

    def both() -> None:
        weight, pullback = net.vjp(params, schedule=schedule)
        pullback(weight.copy())

    assert abs(held(both, anew=True) / cost.peak_bytes_backward - 1) < (0.07 if isinstance(net, ar.BrickWall) else 0.1)


def test_a_periodic_pair_holds_a_third_state() -> None:
    net = ar.MERA((2**16,), 2, periodic=True)
    assert net.cost("float64").peak_bytes_forward == 3 * 8 * 2**16


@pytest.mark.parametrize("net", BIG, ids=repr)
def test_memory_of_generating(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(workers.THREADS_VARIABLE, "1")
    params = net.init()
    ratio = held(lambda: net.generate(params), anew=True) / net.cost("float64").peak_bytes_forward
    assert abs(ratio - 1) < (0.07 if isinstance(net, ar.BrickWall) else 0.1)


def test_a_cotangent_that_is_recorded_goes_step_by_step() -> None:
    """The derivative of the pullback along the cotangent: linear, so it is the pullback of the tangent."""
    net = ar.BrickWall((32,), layers=2, activation="tanh")
    params = net.init()
    g = np.sin(np.arange(32.0))

    def pulled(cotangent: Any) -> Any:
        return net.vjp(place(params))[1](cotangent)

    change = there(ad.jvp)(pulled, g, np.ones(32))
    expected = there(pulled)(np.ones(32))
    for name in params:
        assert np.abs(change[name] - expected[name]).max() <= 1e-13
    assert StepsRun(net.program, params).count == 2


LAID_OUT: list[Any] = [
    ar.TTN((250, 250), chi=4, layout="interleaved"),
    ar.MERA((250, 250), chi=4, layout="axes"),
    ar.TTN((250, 250), chi=4, layout="interleaved", activation_site="node"),
    ar.TTN((2**14,), chi=16, activation_site="node"),
    ar.TTN((2**14,), chi=2, activation_site="node", activation="gelu"),
]


@pytest.mark.parametrize("schedule", ["keep", "recompute", "checkpoints:1"])
@pytest.mark.parametrize("net", LAID_OUT, ids=repr)
def test_memory_with_layouts_and_at_nodes(net: Any, schedule: str) -> None:
    """Copies for the order of the modes and the padding count, and so do the gradients of large cores."""
    params, cost = net.init(), net.cost("float64", schedule)

    def both() -> None:
        weight, pullback = net.vjp(params, schedule=schedule)
        pullback(weight.copy())

    assert 0.97 < held(both, anew=True) / cost.peak_bytes_backward < 1.05
    assert 0.97 < held(lambda: net.generate(params), anew=True) / cost.peak_bytes_forward < 1.05


SIDE = (256, 256)
PADDED = (250, 250)
LOW = ar.LowRank(SIDE, 8)
TAPED: list[Any] = [
    LOW,
    ar.LowRank(SIDE, 200),
    ar.TensorTrain(SIDE, 16),
    ar.TensorTrain(PADDED, 8),
    ar.TensorTrain(PADDED, 8, layout="interleaved"),
    ar.TensorTrain(PADDED, 8, layout="axes"),
    ar.MPO(SIDE, 8),
    ar.MPO(PADDED, 16),
    ar.CP(SIDE, 8),
    ar.CP(PADDED, 8, layout="interleaved"),
    ar.Tucker(SIDE, 2),
    ar.Tucker(PADDED, 8, modes=(16, 16, 16, 16)),
    ar.Sum(LOW, ar.MPO(SIDE, 8), ar.TTN(SIDE, chi=4)),
    ar.Split(SIDE, 4, lambda chunk: ar.TensorTrain(chunk, 8)),
    ar.Stack({"a": (256, 128), "b": (128, 256)}, LOW),
    ar.Delta(np.cos(np.arange(2.0**16)).reshape(SIDE), ar.Sum(LOW, LOW), 2.0),
]


@pytest.mark.parametrize("net", TAPED, ids=lambda net: f"{type(net).__name__}-{net.placement.shape}")
def test_memory_on_the_tape(net: Any) -> None:
    params, cost = net.init(), net.cost("float64")

    def both() -> None:
        weight, pullback = net.vjp(params)
        copy = {k: v.copy() for k, v in weight.items()} if isinstance(weight, dict) else weight.copy()
        pullback(copy)

    assert 0.97 < held(both, anew=True) / cost.peak_bytes_backward < 1.1
    assert 0.97 < held(lambda: net.generate(params), anew=True) / cost.peak_bytes_forward < 1.05

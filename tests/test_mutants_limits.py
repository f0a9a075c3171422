"""What each call asks of the memory limit: just enough is enough, one byte less is refused with what it was for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.errors import MemoryLimitError
from adntn_ref.networks.decompose import checked
from adntn_ref.program import memory
from adntn_ref.program.memory import LIMIT_VARIABLE

SHAPE = (8, 8)
NETS: dict[str, Any] = {
    "brickwall": ar.BrickWall(SHAPE, 2),
    "node": ar.TTN(SHAPE, 2, activation_site="node"),
    "lowrank": ar.LowRank(SHAPE, 2),
    "sum": ar.Sum(ar.LowRank(SHAPE, 2), ar.BrickWall(SHAPE, 1)),
    "stack": ar.Stack({"a": (4, 4), "b": (6, 8)}, ar.LowRank(SHAPE, 2)),
}
WALL = NETS["brickwall"]


def needs(net: Any, backward: bool, dtype: str = "float64") -> int:
    """What the cost says, and the cores, which are there before."""
    cost, cores = net.cost(dtype), net.parameter_count * np.dtype(dtype).itemsize
    return int(cores + (cost.peak_bytes_backward if backward else cost.peak_bytes_forward))


def least(net: Any) -> int:
    """What the schedule needs that needs least; "auto" takes it before it refuses."""
    named = ("keep", "recompute", "checkpoints:0") if hasattr(net, "program") else ("keep",)
    peak = min(int(net.cost("float64", schedule).peak_bytes_backward) for schedule in named)
    return peak + 8 * int(net.parameter_count)


def edge(monkeypatch: pytest.MonkeyPatch, needed: int, run: Callable[[], Any], what: str) -> None:
    """Run at the limit, and be refused one byte below."""
    monkeypatch.setenv(LIMIT_VARIABLE, str(needed))
    run()
    monkeypatch.setenv(LIMIT_VARIABLE, str(needed - 1))
    with pytest.raises(MemoryLimitError, match=what):
        run()
    monkeypatch.delenv(LIMIT_VARIABLE)


@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_forward_and_backward(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    params = net.init()
    made = "^generating the weight of shape"
    edge(monkeypatch, needs(net, False), lambda: net.generate(params), made)
    edge(monkeypatch, needs(net, False), net.init, made)
    edge(monkeypatch, least(net), lambda: net.vjp(params), "^generating the weight and its gradient of shape")


@pytest.mark.parametrize("net", [NETS["brickwall"], NETS["lowrank"]], ids=["brickwall", "lowrank"])
def test_on_the_tape(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    params = net.init()

    def run() -> None:
        ar.grad(lambda p: ar.ad.sum(net.generate(p)))(params)

    edge(monkeypatch, least(net), run, "the weight and its gradient")


@pytest.mark.parametrize(
    "call",
    [
        lambda p, g: WALL.generate_stepwise(p),
        lambda p, g: WALL.adjoint_states(p, g),
        lambda p, g: WALL.environments(p, g),
        lambda p, g: WALL.jvp(p, p),
        lambda p, g: WALL.hvp(p, p, g),
    ],
    ids=["stepwise", "adjoint states", "environments", "jvp", "hvp"],
)
def test_all_that_a_program_offers(call: Callable[[Any, Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    params, cotangent = WALL.init(), np.ones(SHAPE)
    edge(monkeypatch, needs(WALL, True), lambda: call(params, cotangent), "the weight and its gradient")


def test_decompositions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A low-rank network's factors take what its weight takes."""
    net, target = NETS["lowrank"], np.eye(8)
    edge(monkeypatch, needs(net, False), lambda: net.decompose(target), "generating the weight of")


def test_large_decompositions_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five arrays of the tensor, from 64 MiB on; complex entries take twice the bytes of real ones."""
    asked: list[tuple[int, str]] = []
    monkeypatch.setattr("adntn_ref.networks.decompose.require_memory", lambda n, what: asked.append((n, what)))
    checked(np.ones(2, "float32"), (2,), 2**26 // 40 + 1)
    checked(np.ones(2, "complex64"), (2,), 2**26 // 80 + 1)
    checked(np.ones(2), (2,), 2**26 // 40)
    assert [n for n, _ in asked] == [40 * (2**26 // 40 + 1), 80 * (2**26 // 80 + 1)]
    assert asked[0][1] == f"decomposing a tensor of {2**26 // 40 + 1} entries"


def test_small_networks_are_run_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 64 MiB on the system is asked what is free, even where nobody set a limit."""
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    monkeypatch.setattr(memory, "free_bytes", lambda: 0)
    small, large = ar.LowRank((64, 64), 1), ar.LowRank((4096, 4096), 1)
    assert needs(small, False) < 2**26 < needs(large, False)
    small.require_memory("float64", backward=False)
    exact = ar.LowRank((2, 2796202), 1)  # (2 + 1) (2796202 + 1) = 2^23 + 1: the weight and both cores are 2^23 numbers
    assert needs(exact, False) == 2**26
    with pytest.raises(MemoryLimitError, match=r"^generating the weight of shape"):
        exact.require_memory("float64", backward=False)
    with pytest.raises(MemoryLimitError, match=r"of shape \(4096, 4096\) from 2 modes in float64 needs"):
        large.require_memory("float64", backward=False)

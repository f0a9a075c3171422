"""Fresh processes of the benchmark: what they measure, and what happens when one of them dies."""

from typing import Any

import numpy as np
import pytest

from adntn_ref.errors import CandidateError
from adntn_ref.validation.bench import (
    cores,
    growth,
    limits,
    limits_table,
    machine,
    memory,
    models,
    walls,
    windows,
    worker,
)
from adntn_ref.validation.bench.fresh import Fresh, ask_once
from adntn_ref.validation.bench.plan import Plan

FAST = Plan(quick=True, layers=2, rounds=1, pause=0.0)
SMALL = {"q": 14, "layers": 2, "dtype": "float64"}


def test_memory_that_is_taken_shows() -> None:
    before = worker.resident("VmRSS")
    worker.forget_peak()
    block = np.ones(2**26, "uint8")
    assert block[-1] == 1
    del block
    found = worker.resident("VmHWM") - before
    assert found == pytest.approx(2**26, rel=0.1)  # the system counts pages in lots


def test_peak_in_a_fresh_process() -> None:
    """Weight, target and cotangent at least; and the process was told how many threads it may use."""
    found = ask_once({"task": "peak", "candidate": "ours keep", **SMALL}, threads=1)["bytes"]
    assert 3 * 2**14 * 8 < found < 100 * 2**14 * 8


def test_a_process_answers_again_and_again() -> None:
    with Fresh(1) as process:
        assert process.ask({"task": "prepare", "candidate": "ours", **SMALL}) == {}
        assert process.ask({"task": "run"}) == {}
        assert process.ask({"task": "gemm", "dtype": "float32", "side": 8}) == {"flops": 1024.0}
        assert process.ask({"task": "run"}) == {}


def test_a_process_that_ends_is_noticed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CandidateError, match="the process ended with code 1"):
        ask_once({"task": "prepare", "candidate": "nobody", **SMALL})
    assert "ValueError" in capfd.readouterr().err


def answers(sent: list[Any]) -> Any:
    """What processes would say: memory that names the candidate, and the end of one of them."""

    def ask(request: dict[str, Any], threads: int | None = None) -> dict[str, Any]:
        sent.append(request)
        if request.get("candidate") == "torch author":
            raise CandidateError("the process ended with code -9")
        return {"bytes": 2**16 * 4 * (20 if request["task"] == "peak" else 10)}

    return ask


def test_table_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(memory, "ask_once", answers(sent))
    monkeypatch.setattr("adntn_ref.validation.bench.candidate.installed", lambda name: name != "jax")
    (row,) = memory.memory(FAST).rows
    assert row.values["ours keep"] == row.numbers["ours keep"] == 20.0
    assert row.left_out == {
        "torch author": "the process ended with code -9",
        "jax (L,4,R)": "not installed: jax",
    }
    assert all(request["q"] == 16 for request in sent)
    for row in memory.count(FAST).rows:
        assert row.values["traced"] == 10.0
        assert row.numbers["off by"] == pytest.approx(abs(10.0 / row.values["counted"] - 1))


def test_what_is_traced_is_weight_and_cotangent_and_what_is_kept() -> None:
    """The target and the parameters were there before; how near the count comes is a matter of tests/test_schedules."""
    found = [
        worker.Worker().traced({**SMALL, "q": 16, "layers": 6, "schedule": name})["bytes"]
        for name in memory.SCHEDULE_NAMES
    ]
    output = 2**16 * 8
    assert 2 * output < found[1] < found[0]
    assert found[0] > 8 * output  # weight, cotangent and the input of every layer


def test_table_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    table = cores.cores(FAST)
    if machine.cores() > 1:
        (row,) = table.rows
        assert set(row.values) == {"one thread", "two threads"}
        assert row.numbers["two cores / one"] == row.values["two threads"] / row.values["one thread"]
    monkeypatch.setattr(machine, "cores", lambda: 1)
    assert cores.cores(FAST).notes == ["left out: this process may run on one core only"]
    monkeypatch.setattr(machine, "cores", lambda: 2)
    assert cores.cores(Plan(q=(12, 16))).notes == ["left out: no size of at least 2^20 entries was asked for"]


def test_table_of_windows() -> None:
    table = windows.windows(FAST)
    assert len(table.rows) >= 3
    for row in table.rows:
        assert set(row.values) == {"apply", "environment", "product of 256 x 256"}
        assert all(rate > 0 for rate in row.values.values())


def test_table_of_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SIDE", 64)
    product, *copies = limits_table.machine_limits(FAST).rows
    assert set(product.values) == {"one core", "all cores"}
    assert [row.facts["entries"] for row in copies] == [2**16, 2**18]
    assert all(value > 0 for row in (product, *copies) for value in row.values.values())


def test_tables_of_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "_candidates", lambda: (walls.OURS, walls.TAPE))
    by_q, by_m = growth.growth_q(FAST), growth.growth_m(FAST)
    assert [row.facts["q"] for row in by_q.rows] == [6, 8, 10]
    assert [row.facts["layers"] for row in by_m.rows] == [1, 2, 4]
    for table in (by_q, by_m):
        assert set(table.rows[-1].numbers) == {"ours / ours, tape", "exponent ours", "exponent ours, tape"}
        assert len(table.notes) == 2


def test_table_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(models, "model_row", lambda label, model, batch, plan: seen.append((label, batch)))
    assert models.models(FAST).notes == ["left out: VGG-16, for its time; run without --quick"]
    assert len(seen) == 2
    monkeypatch.setattr(models, "vgg16", lambda: None)
    models.models(Plan())
    assert seen[-1] == ("VGG-16's shape, batch 32", 32)

"""``python -m adntn_ref.validation.gpu`` without a GPU: what it says there, and its logic with a stand-in."""

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import strict

import adntn_ref as ar
from adntn_ref.validation.gpu import Finding, __main__, checks, rivals, run_checks
from adntn_ref.validation.gpu.__main__ import NOTHING, main
from adntn_ref.validation.gpu.benchmark import Limits, Row, benchmark, measure_limits, table
from adntn_ref.validation.gpu.cases import drawn, networks, ways
from adntn_ref.validation.gpu.probe import CupyProbe, _peak_hook, wall_seconds


class StrictProbe:
    """The strict backend as a device: it waits where an array moved, and its memory is that of tracemalloc."""

    backend = strict.STRICT

    def facts(self) -> dict[str, str]:
        return {"device": "a strict stand-in"}

    def seconds(self, step: Any, repeats: int) -> float:
        return wall_seconds(step, 1, lambda: None)

    def waits(self, step: Any) -> bool:
        step()
        before = strict.COUNTS.copy()
        step()
        return before != strict.COUNTS

    def release(self) -> None:
        pass

    def peak_bytes(self, step: Any) -> int:
        tracemalloc.start()
        try:
            kept = step()
            peak = tracemalloc.get_traced_memory()[1]
            del kept
        finally:
            tracemalloc.stop()
        return peak


@pytest.fixture
def probe(backend: Any) -> Iterator[Any]:
    if backend.name != "strict":
        pytest.skip("the command itself runs on a GPU")
    backend.kernels = "auto"
    yield StrictProbe()
    del backend.kernels


def found(probe: Any, name: str) -> Finding:
    return next(run_checks(probe, quick=True, only=(name,)))


def test_without_a_gpu_nobody_takes_it_for_a_pass() -> None:
    command = [sys.executable, "-W", "error", "-m", "adntn_ref.validation.gpu"]
    code = "import cupy; raise SystemExit(not cupy.cuda.is_available())"
    if subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0:
        pytest.skip("there is a GPU here")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("no GPU: nothing was checked and nothing was measured (")
    assert "ok" not in done.stdout.split()
    facts = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert facts["checked"] is False
    assert "passed" not in facts


def test_all_checks_pass_on_the_stand_in(probe: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick"], probe) == 0
    said = capsys.readouterr().out
    table_begins = said.rindex("\n\n")
    for name in ("values", "large", "same bits twice", "no waiting", "memory", "starts", "stage 1", "stage 2"):
        assert f"ok   {name}: " in said
        assert f"ok   {name}\n" in said[table_begins:]
    assert "test-suite: not run" in said
    assert "copy " in said[table_begins:]
    assert "ours, auto" in said[table_begins:]
    assert NOTHING not in said


def test_json(probe: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(__main__, "run_checks", lambda probe, quick: iter([Finding("values", False, "off", ["a"])]))
    assert main(["--json", "--quick", "--modes", "6"], probe) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["passed"] is False
    assert facts["checks"] == [{"name": "values", "passed": False, "said": "off", "wrong": ["a"]}]
    assert [row["who"] for row in facts["rows"]] == ["ours, auto", "ours, plain"]
    assert main(["--json", "--no-benchmark"], probe) == 1
    assert json.loads(capsys.readouterr().out)["rows"] == []


def test_failures_are_shown(probe: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(__main__, "run_checks", lambda probe, quick: iter([Finding("values", False, "off", ["cell"])]))
    assert main(["--no-benchmark"], probe) == 1
    assert "FAIL values: off\n     cell" in capsys.readouterr().out


def test_the_whole_suite_is_run_where_it_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    told, commands = [], []
    cupy: Any = SimpleNamespace(backend=SimpleNamespace(name="cupy"))
    output = ["..s.F", "7 tests ran on cupy; 3 are NumPy's alone", "FAILED tests/test_x.py::test_y - off", "1 failed"]

    def run(command: list[str], **options: Any) -> Any:
        commands.append(command)
        return SimpleNamespace(returncode=1, stdout="\n".join(output))

    monkeypatch.setattr(__main__.subprocess, "run", run)
    here = Path(__file__).parent
    (finding,) = __main__._suite(here, cupy, told.append)
    assert commands == [[sys.executable, "-m", "pytest", "--backend", "cupy", str(here)]]
    assert finding == Finding("test-suite", False, output[1], [output[2]])
    assert __main__._suite(here / "shim", cupy, told.append) == []
    assert told[0].startswith("FAIL test-suite: 7 tests")
    assert "not run" in told[1]


# Each check finds what it is for


def test_values_finds_a_wrong_gradient(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from adntn_ref.backends.rotation import Turn

    right = Turn.environment
    monkeypatch.setattr(Turn, "environment", lambda self, g, x: right(self, g, x) * 1.001)
    finding = found(probe, "values")
    assert not finding.passed
    assert all("gradient/" in wrong for wrong in finding.wrong)
    assert any("brickwall" in wrong for wrong in finding.wrong)
    assert not found(probe, "large").passed


def test_values_finds_another_dtype(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = checks.quantities

    def wide(x: Any) -> Any:
        return x.astype("float64") if x.dtype == np.float32 else x

    monkeypatch.setattr(checks, "quantities", lambda *a: {key: wide(x) for key, x in right(*a).items()})
    assert any("float32" in wrong and "inf" in wrong for wrong in found(probe, "values").wrong)


def test_bits_that_differ(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right, calls = checks.quantities, iter(range(10**6))
    monkeypatch.setattr(
        checks, "quantities", lambda *a: {key: x * (1 + 1e-6 * next(calls)) for key, x in right(*a).items()}
    )
    assert not found(probe, "same bits twice").passed


def test_a_step_that_waits(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from adntn_ref.validation.gpu import training

    monkeypatch.setattr(training, "clip_norm", lambda g, limit: (g, float(strict.STRICT.to_host(g)[0])))
    finding = found(probe, "no waiting")
    assert finding.wrong == ["a step of stage 1", "a step of stage 2"]


def test_memory_beyond_the_model(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MEMORY_ROOM", 0)
    monkeypatch.setattr(checks, "MEMORY_SHARE", 0.5)
    finding = found(probe, "memory")
    assert len(finding.wrong) == 6
    assert "planned" in finding.wrong[0]


def test_starts_of_other_bits(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        probe.backend, "asarray", lambda host: strict.StrictArray(host + np.float32(1e-6)), raising=False
    )
    assert not found(probe, "starts").passed


def test_an_exception_is_no_pass(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "memory", lambda probe, modes: 1 / 0)
    assert found(probe, "memory") == Finding(
        "memory", False, "ended by ZeroDivisionError: division by zero", ["division by zero"]
    )


def test_a_course_that_leaves_numpys(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from adntn_ref.compression.optimisers import Adam

    right = Adam.update

    def drifting(self: Any, vector: Any, g: Any, state: Any, step: int, rate: Any) -> None:
        right(self, vector, g, state, step, rate * (1 if isinstance(vector, np.ndarray) else 1.5))

    monkeypatch.setattr(Adam, "update", drifting)
    assert not found(probe, "stage 1").passed
    assert not found(probe, "stage 2").passed


def test_cases_are_of_every_network() -> None:
    kinds = {net.to_spec()["network"] for net in networks().values()}
    assert kinds == {*ar.NETWORKS, "sum", "split", "stack", "delta"}


def test_ways_leave_the_backend_as_it_was() -> None:
    one = SimpleNamespace(kernels="fused")
    assert list(ways(one)) == ["auto", "plain"]
    assert one.kernels == "fused"
    assert list(ways(SimpleNamespace())) == ["its own way"]


# Measurements


def test_benchmark(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> float:
        raise MemoryError("CUDA out of memory. Tried to allocate")

    monkeypatch.setattr(rivals, "RIVALS", {"one": lambda *a: 0.5, "two": broken})
    rows = list(benchmark(probe, Limits(1e9, 1e9), (6,), ("one", "two")))
    assert [row.who for row in rows] == ["ours, auto", "ours, plain", "one", "two"]
    net = ar.BrickWall((2**6,), 8)
    cost = net.cost("float32")
    assert rows[2] == Row(
        6, "one", 0.5, 5 * 8 * 4 * 64 / 1e9 / 0.5, (cost.flops_forward + cost.flops_backward) / 1e9 / 0.5
    )
    assert rows[3].seconds is None
    lines = table(rows)
    assert "500.000" in lines[3]
    assert "MemoryError: CUDA out of memory" in lines[4]


def test_limits(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "seconds", lambda step, repeats: 0.5 if step() is None else 0.25)
    assert measure_limits(probe, 2**10, 4) == Limits(2**11, 512.0)


def test_rivals_on_the_cpu() -> None:
    net = ar.BrickWall((2**5,), 2)
    params, cotangent = drawn(net, "float32")
    for name, module in (("eager_torch", "torch"), ("jax", "jax")):
        pytest.importorskip(module)
        assert getattr(rivals, name)(net.to_spec(), params, cotangent, 1, "cpu") > 0


def test_rivals_without_a_gpu() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    net = ar.BrickWall((2**5,), 2)
    for run in rivals.RIVALS.values():
        with pytest.raises(ar.AdntnError, match="sees no"):
            run(net.to_spec(), *drawn(net, "float32"), 1)


# The probe of a GPU, with a CuPy of which only the names are there


class Event:
    def __init__(self, clock: Any) -> None:
        self.clock, self.at = clock, 0.0

    def record(self) -> None:
        self.at = self.clock.queued

    def synchronize(self) -> None:
        self.clock.now = max(self.clock.now, self.at)

    @property
    def done(self) -> bool:
        return bool(self.clock.now >= self.at)


def fake_probe() -> tuple[CupyProbe, Any]:
    """A device whose queue is a number: launched work adds to ``queued``, and waiting sets ``now`` to it."""
    clock = SimpleNamespace(now=0.0, queued=0.0)

    def wait() -> None:
        clock.now = clock.queued

    def launch(grid: Any, block: Any, arguments: Any) -> None:
        clock.queued += 5.0

    pool = SimpleNamespace(free_all_blocks=lambda: None)
    runtime = SimpleNamespace(
        deviceSynchronize=wait,
        getDevice=lambda: 0,
        getDeviceProperties=lambda device: {"name": b"Fake 100", "totalGlobalMem": 2**33},
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13000,
    )
    cuda = SimpleNamespace(
        runtime=runtime,
        Event=lambda: Event(clock),
        get_elapsed_time=lambda begin, end: 1e3 * (end.at - begin.at),
        MemoryHook=Hook,
    )
    probe = object.__new__(CupyProbe)
    probe.cupy = SimpleNamespace(
        cuda=cuda, RawKernel=lambda source, name: launch, get_default_memory_pool=lambda: pool, __version__="14"
    )
    return probe, clock


class Hook:
    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


def test_the_probe_sees_a_step_that_waits() -> None:
    probe, clock = fake_probe()

    def quiet() -> None:
        clock.queued += 0.25

    def waiting() -> None:
        quiet()
        probe.cupy.cuda.runtime.deviceSynchronize()

    assert not probe.waits(quiet)
    assert probe.waits(waiting)
    assert probe.seconds(quiet, 3) == 0.25
    assert probe.facts()["device"] == "Fake 100"
    assert probe.facts()["memory"] == "8.0 GiB"


def test_the_probe_counts_memory() -> None:
    probe, _ = fake_probe()
    hook = _peak_hook(probe.cupy)
    for call, key, size in (
        ("malloc", 1, 512),
        ("malloc", 2, 1024),
        ("free", 1, 512),
        ("malloc", 3, 256),
        ("free", 9, 7),
    ):
        getattr(hook, f"{call}_postprocess")(device_id=0, size=size, mem_size=size, mem_ptr=0, pmem_id=key)
    assert hook.peak == 1536
    assert hook.held == 1280
    assert probe.peak_bytes(lambda: None) == 0


def test_the_hook_is_one_of_cupys() -> None:
    cupy = pytest.importorskip("cupy", reason="cupy is not installed")
    hook = _peak_hook(cupy)
    with hook:
        hook.malloc_postprocess(device_id=0, size=10, mem_size=512, mem_ptr=1, pmem_id=5)
    assert hook.peak == 512
    assert isinstance(hook, cupy.cuda.MemoryHook)
    for name in ("Event", "get_elapsed_time"):
        assert hasattr(cupy.cuda, name)

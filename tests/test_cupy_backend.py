"""The CuPy backend where there is no GPU: what is said when something is missing, and which way a program is run.

CuPy itself is replaced by the few names that are asked here; the last tests take the real one where it is installed.
"""

import logging
import shutil
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.ad import arrays, tape
from adntn_ref.backend import get_backend
from adntn_ref.backends import cupy_backend
from adntn_ref.backends.cupy_backend import CupyBackend
from adntn_ref.cli import main
from adntn_ref.errors import ArrayError, BackendUnavailable, SpecError
from adntn_ref.program.runs import StepsRun, run_of
from adntn_ref.program.schedule import run_adjoint, run_keeping

NET = ar.BrickWall((4, 6), 2)
CORES = NET.init()


class CUDARuntimeError(RuntimeError):
    pass


def runtime(driver: Any = 13000, needed: int = 13000, devices: Any = 1, device: int = 0) -> SimpleNamespace:
    def answer(value: Any) -> Any:
        def ask() -> Any:
            if isinstance(value, Exception):
                raise value
            return value

        return ask

    return SimpleNamespace(
        driverGetVersion=answer(driver),
        runtimeGetVersion=answer(needed),
        getDeviceCount=answer(devices),
        getDevice=answer(device),
        memGetInfo=lambda: (1000, 2000),
    )


def with_cupy(**options: Any) -> CupyBackend:
    """A backend whose CuPy is NumPy with the runtime described."""
    backend = CupyBackend()
    backend.__dict__["_cupy"] = SimpleNamespace(
        array=np.array,
        asnumpy=np.array,
        cuda=SimpleNamespace(runtime=runtime(**options), memory=SimpleNamespace(OutOfMemoryError=MemoryError)),
        get_default_memory_pool=lambda: SimpleNamespace(free_bytes=lambda: 24),
    )
    return backend


def test_a_device_that_is_there() -> None:
    backend = with_cupy()
    backend.require_available()
    assert not backend.on_host
    np.testing.assert_array_equal(backend.asarray(np.eye(2)), np.eye(2))
    assert backend.free_bytes() == 1024
    assert backend.out_of_memory == (MemoryError,)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"driver": 0}, "no CUDA device or driver: no NVIDIA driver is installed"),
        ({"driver": CUDARuntimeError("cudaErrorUnknown")}, "no CUDA device or driver: cudaErrorUnknown"),
        ({"driver": 12040}, r"driver is too old: it supports CUDA 12\.4, this CuPy needs 13\.0; update the driver"),
        ({"devices": 0}, "the driver sees no device"),
        ({"devices": CUDARuntimeError("cudaErrorNoDevice")}, "no CUDA device or driver: cudaErrorNoDevice"),
    ],
)
def test_what_is_missing_is_named(options: dict[str, Any], said: str) -> None:
    backend = with_cupy(**options)
    for call in (backend.require_available, lambda: backend.asarray(np.eye(2))):
        with pytest.raises(BackendUnavailable, match=said) as told:
            call()
        assert told.value.exit_code == 2


def test_a_driver_of_a_newer_minor_version_will_do() -> None:
    with_cupy(driver=13000, needed=13020).require_available()
    with_cupy(driver=14010, needed=13020).require_available()


def test_no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(cupy_backend, "import_module", missing)
    with pytest.raises(BackendUnavailable, match=r'cupy is not installed; pip install "adntn-ref\[cuda\]" installs it'):
        CupyBackend().require_available()


def test_a_broken_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ImportError("libnvrtc.so.13: cannot open shared object file")

    monkeypatch.setattr(cupy_backend, "import_module", broken)
    with pytest.raises(BackendUnavailable, match=r"cupy cannot be imported \(libnvrtc.so.13: cannot open"):
        CupyBackend().require_available()


def test_another_device() -> None:
    x = SimpleNamespace(data=SimpleNamespace(device_id=1))
    with_cupy(device=1).require(x, "core a")
    with pytest.raises(ArrayError, match=r"core a is on CUDA device 1, the current one is 0; run inside `with cupy"):
        with_cupy(device=0).require(x, "core a")


def test_no_complex_error_function() -> None:
    with pytest.raises(ArrayError, match="the error function of complex numbers runs on NumPy only"):
        with_cupy().erf(np.ones(2, dtype=complex))


# Which way a program is run


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Fused kernels, and a launcher, of which only the names are there; ``answer`` is what ``fused_run`` returns."""
    module, launch = ModuleType("adntn_ref.backends.fused"), ModuleType("adntn_ref.backends.launch")
    module.answer = "a run"  # type: ignore[attr-defined]
    answered = SimpleNamespace(run=SimpleNamespace(name="a run"), seen=[])

    def fused_run(program: Any, cores: Any, launcher: Any) -> Any:
        answered.seen.append(launcher)
        return answered.run

    module.fused_run = fused_run  # type: ignore[attr-defined]
    launch.CupyLauncher = SimpleNamespace  # type: ignore[attr-defined]
    for one in (module, launch):
        monkeypatch.setitem(sys.modules, one.__name__, one)
    return answered


def test_fused_kernels_come_first(fused: Any) -> None:
    backend = with_cupy()
    assert backend.path == "nothing was run yet"
    assert backend.program_run(NET.program, CORES) is fused.run
    assert backend.path == "fused kernels"
    backend.program_run(NET.program, CORES)
    assert fused.seen[0] is fused.seen[1]  # one launcher a device
    assert backend.program_run(NET.program, CORES) is fused.run


def test_the_plain_way_is_never_taken_silently(fused: Any, caplog: pytest.LogCaptureFixture) -> None:
    backend, fused.run = with_cupy(), "no tile fits"
    with caplog.at_level(logging.INFO, logger="adntn_ref.backends"):
        for _ in range(3):
            assert isinstance(backend.program_run(NET.program, CORES), StepsRun)
    assert backend.path == "plain: no tile fits"
    assert caplog.messages == ["cupy runs programs by plain: no tile fits"]
    backend.kernels = "fused"
    with pytest.raises(BackendUnavailable, match="kernels='fused': no tile fits; kernels='plain' runs it"):
        backend.program_run(NET.program, CORES)


def test_the_plain_way_can_be_asked_for(fused: Any) -> None:
    backend = with_cupy()
    backend.kernels = "plain"
    assert isinstance(backend.program_run(NET.program, CORES), StepsRun)
    assert backend.path == "plain: asked for"
    assert fused.seen == []
    backend.kernels = "fast"
    with pytest.raises(SpecError, match="kernels must be one of auto, fused, plain, got 'fast'"):
        backend.program_run(NET.program, CORES)


def test_cores_that_kernels_cannot_read(fused: Any) -> None:
    backend, name = with_cupy(), list(CORES)[-1]
    cores = {**CORES, name: np.asfortranarray(CORES[name])}
    run = backend.program_run(NET.program, cores)
    assert backend.path == f"plain: core {name} is not C-contiguous, and kernels read memory as it lies"
    np.testing.assert_allclose(run.last_state(), run_of(NET.program, CORES).last_state(), rtol=1e-12)


def test_without_the_fused_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    real = cupy_backend.import_module

    def missing(name: str) -> Any:
        if name.endswith(".fused"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name)

    monkeypatch.setattr(cupy_backend, "import_module", missing)
    backend = with_cupy()
    assert isinstance(backend.program_run(NET.program, CORES), StepsRun)
    assert backend.path == "plain: the fused kernels are not installed"


def test_what_the_kernels_lack_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that they need and do not find is a broken installation, not a reason to run the plain way."""

    def missing(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'cuda'", name="cuda")

    monkeypatch.setattr(cupy_backend, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match="cuda"):
        with_cupy().program_run(NET.program, CORES)


@pytest.mark.parametrize("net", [ar.BrickWall((60,), 3), ar.MERA((6, 10), 3)], ids=["tiles", "windows"])
def test_the_kernels_behind_the_seam(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels' own source, executed on the CPU, reached as a GPU's would be."""
    launch = pytest.importorskip("adntn_ref.backends.launch", reason="the fused kernels are not in this checkout")
    shim = pytest.importorskip("shim.launcher", reason="the fused kernels are not in this checkout")
    if shutil.which("g++") is None:
        pytest.skip("no compiler")
    monkeypatch.setattr(launch, "CupyLauncher", shim.ShimLauncher)
    backend, cores = with_cupy(), net.init(0, "float32")
    found = []
    for run in (backend.program_run(net.program, cores), StepsRun(net.program, cores)):
        state, saved = run_keeping(run, "keep")
        found.append({"state": state, **run_adjoint(run, saved, np.ones_like(state))})
    assert backend.path == "fused kernels"
    for name, expected in found[1].items():
        np.testing.assert_allclose(found[0][name], expected, rtol=1e-4, atol=1e-4)


# The real CuPy, without a device


@pytest.fixture
def no_device() -> Any:
    cupy = pytest.importorskip("cupy", reason="cupy is not installed")
    if cupy.cuda.is_available():
        pytest.skip("there is a GPU here: `pytest --backend cupy` runs on it")
    return cupy


def test_cupy_without_a_driver(no_device: Any) -> None:
    calls: list[Any] = [
        lambda: ar.to_backend(np.ones(3), "cupy"),
        lambda: NET.init(backend="cupy"),
        lambda: ar.fit(NET, np.ones((4, 6)), steps=1, backend="cupy"),
    ]
    for call in calls:
        with pytest.raises(BackendUnavailable, match=r"no CUDA device or driver|driver is too old"):
            call()
    assert get_backend("cupy").name == "cupy"


def test_cupy_has_every_function_that_is_called(no_device: Any) -> None:
    """The names that the core takes from a namespace, asked of the library itself: a spelling error shows here."""
    names = (
        "abs add.at all any arange argsort asarray ascontiguousarray broadcast_to concatenate conj cos einsum empty"
        " exp eye full imag isfinite linalg.norm linalg.svd lib.stride_tricks.sliding_window_view log matmul max"
        " maximum minimum moveaxis ones ones_like outer real reshape result_type sign sin sqrt squeeze stack sum tanh"
        " transpose uint8 int64 where zeros zeros_like asnumpy"
    )
    for name in names.split():
        found = no_device
        for part in name.split("."):
            found = getattr(found, part)
        assert callable(found), name
    assert callable(pytest.importorskip("cupyx.scipy.special").erf)


def test_arrays_that_only_have_a_shape(no_device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy makes arrays over memory that is not there, as long as nothing is computed: enough to ask what they are.

    Where an array stands on the left of a tape variable, the variable must be asked, whichever the operator.
    """
    memory = no_device.cuda.UnownedMemory(2**20, 4 * 24, None, 0)
    x = no_device.ndarray((4, 6), "float32", memptr=no_device.cuda.MemoryPointer(memory, 0))
    assert arrays.is_array(x)
    assert arrays.backend_of(x) is get_backend("cupy")
    assert arrays.dtype_name(x) == "float32"
    assert not arrays.is_complex(x)
    assert arrays.namespace(x).matmul is no_device.matmul
    assert x.reshape(4, -1).T.flags.f_contiguous
    with pytest.raises(TypeError):
        np.asarray(x)
    operators: dict[str, Any] = {
        "add": lambda a, b: a + b,
        "subtract": lambda a, b: a - b,
        "multiply": lambda a, b: a * b,
        "divide": lambda a, b: a / b,
        "power": lambda a, b: a**b,
        "matmul": lambda a, b: a @ b,
    }
    for name, operator in operators.items():
        monkeypatch.setitem(tape.FUNCTIONS, name, lambda a, b, name=name: (name, a, b))
        v = tape.leaf(x, 1)
        for first, second in ((x, v), (v, x), (v, v)):
            found = operator(first, second)
            assert found[0] == name
            assert found[1] is first
            assert found[2] is second


def test_moving_there_says_why_not(no_device: Any, capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    np.savez(tmp_path / "model.npz", w=np.ones((4, 6)))
    arguments = [
        "compress",
        str(tmp_path / "model.npz"),
        "--layer",
        "w",
        "--layers",
        "1",
        "-o",
        str(tmp_path / "o.npz"),
    ]
    assert main([*arguments, "--backend", "cupy"]) == 2
    assert "no CUDA device or driver" in capsys.readouterr().err
    assert not (tmp_path / "o.npz").exists()

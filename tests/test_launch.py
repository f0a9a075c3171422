"""The launcher for CuPy, with a stand-in that records what it is asked: no device is needed to see the arguments."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small import hide

from adntn_ref.backends import launch
from adntn_ref.backends.launch import CupyLauncher, Instance, limits_of
from adntn_ref.errors import BackendUnavailable, MissingExtra

ATTRIBUTES = {"MaxSharedMemoryPerBlockOptin": 232448, "MultiProcessorCount": 132, "L2CacheSize": 52428800}


class Kernel:
    """A RawKernel that records its launches; ``limit`` is what CUDA allows unless it is raised."""

    def __init__(self, name: str) -> None:
        self.name, self.max_dynamic_shared_size_bytes = name, 48 * 1024
        self.launches: list[Any] = []

    def __call__(self, grid: Any, block: Any, arguments: Any, shared_mem: int) -> None:
        assert shared_mem <= self.max_dynamic_shared_size_bytes, "CUDA_ERROR_INVALID_VALUE"
        self.launches.append((grid, block, arguments, shared_mem))


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    made: list[Any] = []

    def module(**kwargs: Any) -> Any:
        kernels: dict[str, Kernel] = {}
        found = SimpleNamespace(get_function=lambda name: kernels.setdefault(name, Kernel(name)), **kwargs)
        made.append((found, kernels))
        return found

    device = SimpleNamespace(id=0, attributes=ATTRIBUTES)
    cuda = SimpleNamespace(is_available=lambda: True, Device=lambda: device)
    stand_in = SimpleNamespace(cuda=cuda, RawModule=module, asarray=np.asarray, made=made)
    monkeypatch.setitem(sys.modules, "cupy", stand_in)  # type: ignore[arg-type]
    launch._cupy_module.cache_clear()
    launch._cupy_function.cache_clear()
    yield stand_in
    launch._cupy_module.cache_clear()
    launch._cupy_function.cache_clear()


def test_arguments_have_the_types_that_kernels_read(cupy: Any) -> None:
    launcher, x = CupyLauncher(), np.zeros(4)
    instance = Instance("tiles", "float64", "tanh")
    launcher.launch(instance, "tile_forward", (3, 1), 64, 100_000, (x, 7, np.int32(8), 0.5, None))
    ((module, kernels),) = cupy.made
    assert module.code == launch.source_of(instance)
    assert module.backend == "nvrtc"
    ((grid, block, arguments, shared),) = kernels["tile_forward"].launches
    assert (grid, block, shared) == ((3, 1), (64,), 100_000)
    assert arguments[0] is x
    assert [type(a) for a in arguments[1:]] == [np.int64, np.int64, np.float64, np.uintp]
    assert [int(a * 2) for a in arguments[1:]] == [14, 16, 1, 0]


def test_an_instance_is_compiled_once_and_its_limit_only_grows(cupy: Any) -> None:
    launcher, instance = CupyLauncher(), Instance("tiles", "float32", "relu")
    for shared in (60_000, 200_000, 100):
        launcher.launch(instance, "tile_forward", (1, 1), 32, shared, ())
    launcher.launch(instance, "tile_backward", (1, 1), 32, 0, ())
    launcher.launch(Instance("tiles", "float32", "tanh"), "tile_forward", (1, 1), 32, 0, ())
    assert len(cupy.made) == 2
    assert cupy.made[0][1]["tile_forward"].max_dynamic_shared_size_bytes == 200_000


def test_what_a_device_allows_is_read_from_it(cupy: Any) -> None:
    limits = limits_of(CupyLauncher(), "float32")
    assert (limits.shared, limits.itemsize, limits.processors, limits.cache) == (232448, 4, 132, 52428800)


def test_arrays_must_be_contiguous(cupy: Any) -> None:
    with pytest.raises(ValueError, match="is not C-contiguous"):
        CupyLauncher().launch(Instance("vectors", "float64"), "adam", (1, 1), 32, 0, (np.zeros((4, 4)).T[:2],))


def test_no_cupy_and_no_device(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cupy.cuda.is_available = lambda: False
    with pytest.raises(BackendUnavailable, match="no CUDA device or driver"):
        CupyLauncher()
    hide(monkeypatch, "cupy")
    with pytest.raises(MissingExtra, match=r"adntn-ref\[cuda\]"):
        CupyLauncher()


def test_tables_are_copied_once(cupy: Any) -> None:
    launcher = CupyLauncher()
    first = launcher.constant(np.arange(5, dtype=np.int32))
    assert launcher.constant(np.arange(5, dtype=np.int32)) is first
    assert launcher.constant(np.arange(6, dtype=np.int32)) is not first
    for n in range(launcher.constant.most):
        launcher.constant(np.array([n, n], dtype=np.int32))
    assert launcher.constant(np.arange(5, dtype=np.int32)) is not first, "the oldest are forgotten at some time"

"""Every kernel instance compiled for two GPUs by NVRTC, without a GPU: registers and spills against a budget."""

import importlib.util
from typing import Any

import pytest

from adntn_ref.backends.kernel_plan import THREADS
from adntn_ref.backends.launch import FILES, Instance, instances, source_of

REGISTERS = 65536
"""Of a processor, on both architectures."""

BUDGET: dict[str, dict[str, tuple[int, int]]] = {
    "float32": {
        "tile_forward": (128, 0),
        "tile_backward": (255, 128),
        "whole_network": (200, 200),
        "window_forward": (40, 0),
        "window_backward": (40, 0),
        "product_start": (40, 0),
        "sum_partials": (40, 0),
        "adam": (48, 0),
    },
    "float64": {
        "tile_forward": (128, 32),
        "tile_backward": (255, 0),
        "whole_network": (255, 0),
        "window_forward": (40, 0),
        "window_backward": (40, 0),
        "product_start": (40, 0),
        "sum_partials": (40, 0),
        "adam": (48, 0),
    },
}
"""Most registers of a thread, most bytes that it spills. With 255 registers a processor holds one block of 256 threads,
and the largest tiles leave no room for a second one anyway."""

missing = [name for name in ("cuda.bindings", "nvidia") if importlib.util.find_spec(name.partition(".")[0]) is None]
needs_nvrtc = pytest.mark.skipif(
    bool(missing), reason=f"no kernel is compiled for a GPU: {', '.join(missing)} of the extra kernels-check is missing"
)


@needs_nvrtc
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("instance", list(instances()), ids=lambda i: f"{i.file}-{i.dtype}-{i.activation}")
def test_within_the_budget(instance: Instance, arch: str) -> None:
    from shim.nvrtc import compiled

    found = compiled(instance, arch)
    assert sorted(found) == sorted(FILES[instance.file])
    for kernel, usage in found.items():
        registers, spills = BUDGET[instance.dtype][kernel]
        assert usage.registers <= registers, (kernel, usage)
        assert usage.spills <= spills, (kernel, usage)
        assert usage.registers * THREADS <= REGISTERS, "a block of the most threads runs at all"
        assert usage.shared == 0, "all shared memory is asked for at the launch, and is in the plan"


def test_the_budget_names_every_kernel() -> None:
    kernels = sorted(kernel for file in FILES.values() for kernel in file)
    assert all(sorted(table) == kernels for table in BUDGET.values())
    assert len(list(instances())) == 2 * (1 + 3 * 8)


def test_the_source_is_plain_c_names_and_the_index_is_wide() -> None:
    for instance in instances():
        source = source_of(instance)
        for kernel in FILES[instance.file]:
            assert source.count(f"{kernel}(") == 1
        assert source.count('extern "C" __global__') == len(FILES[instance.file])
        assert "atomicAdd" not in source, "sums in a fixed order"


@needs_nvrtc
def test_a_budget_can_be_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel with a warning, or with a syntax error, does not pass."""
    from shim import nvrtc

    def source(change: Any) -> Any:
        return lambda instance: change(source_of(instance))

    monkeypatch.setattr(nvrtc, "source_of", source(lambda text: text.replace("REAL total = 0;", "REAL total = 0")))
    with pytest.raises(AssertionError, match="expected a"):
        nvrtc.compiled(Instance("vectors", "float32"), "sm_90")
    monkeypatch.setattr(nvrtc, "source_of", source(lambda text: text.replace("REAL v = 1;", "REAL v = 1; int unused;")))
    with pytest.raises(AssertionError, match="never referenced"):
        nvrtc.compiled(Instance("vectors", "float32"), "sm_90")

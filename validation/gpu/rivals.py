"""The same brick-wall in PyTorch, eager and compiled, and in JAX, on their first GPU; times by the host's clock.

Their programs are those of :mod:`~adntn_ref.validation.adapters`, written as an author would write them. Each is run
and waited for before the first time is taken, so that compilation is not counted.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from adntn_ref.errors import BackendUnavailable
from adntn_ref.extras import need

from .probe import wall_seconds

Timing = Callable[[Mapping[str, Any], Mapping[str, Any], Any, int], float]


def eager_torch(
    spec: Mapping[str, Any], params: Mapping[str, Any], cotangent: Any, repeats: int, device: str = "cuda"
) -> float:
    """Return the seconds of weight and gradients in eager PyTorch."""
    return _torch(spec, params, cotangent, repeats, device, compiled=False)


def compiled_torch(
    spec: Mapping[str, Any], params: Mapping[str, Any], cotangent: Any, repeats: int, device: str = "cuda"
) -> float:
    """Return the seconds of weight and gradients under ``torch.compile``."""
    return _torch(spec, params, cotangent, repeats, device, compiled=True)


def _torch(spec: Any, params: Any, cotangent: Any, repeats: int, device: str, compiled: bool) -> float:
    torch: Any = need("torch", "peers")
    if device == "cuda" and not torch.cuda.is_available():
        raise BackendUnavailable("torch sees no GPU")
    from ..adapters.torch_adapter import TorchNetworks

    class Networks(TorchNetworks):
        def note(self, name: str, x: Any) -> Any:
            """Keep no state: this is a measurement."""
            return x

    cores = {name: torch.tensor(core, device=device, requires_grad=True) for name, core in params.items()}
    g, names = torch.tensor(cotangent, device=device), list(cores)

    def weight(*tensors: Any) -> Any:
        return Networks().weight(spec, dict(zip(names, tensors, strict=True)))

    run = torch.compile(weight) if compiled else weight

    def step() -> Any:
        with torch.device(device):
            return torch.autograd.grad(run(*cores.values()), list(cores.values()), g)

    try:
        return wall_seconds(step, repeats, torch.cuda.synchronize if device == "cuda" else lambda: None)
    finally:
        torch.cuda.empty_cache()  # does nothing without a GPU


def jax(
    spec: Mapping[str, Any], params: Mapping[str, Any], cotangent: Any, repeats: int, platform: str = "gpu"
) -> float:
    """Return the seconds of weight and gradients in JAX, compiled."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else three quarters of the memory are its own
    library: Any = need("jax", "peers")
    try:
        device = library.devices(platform)[0]
    except RuntimeError as error:
        raise BackendUnavailable(f"jax sees no {platform}") from error
    from ..adapters.jax_adapter import compiled

    pull = compiled(json.dumps(spec)).pull
    cores, g = library.device_put((dict(params), cotangent), device)

    def step() -> Any:
        with library.default_matmul_precision("float32"):  # on a GPU it would be TF32, 10 bits of 23
            return library.block_until_ready(pull(cores, {}, g))

    return wall_seconds(step, repeats, lambda: None)


RIVALS: dict[str, Timing] = {"torch, eager": eager_torch, "torch.compile": compiled_torch, "jax": jax}

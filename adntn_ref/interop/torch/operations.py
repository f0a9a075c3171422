"""Recorded operations in PyTorch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from adntn_ref.extras import need
from adntn_ref.interop.recording import Recording, play

torch: Any = need("torch", "peers")

Tensor = Any

DTYPES: dict[Any, str] = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.complex64: "complex64",
    torch.complex128: "complex128",
}
"""Our name of each dtype that cores may have."""


@lru_cache(maxsize=256)
def functions(recording: Recording, dtype: Any, device: Any) -> dict[str, Callable[..., Any]]:
    """Return what runs a recording's operations on tensors of a dtype on a device."""
    constants = [torch.tensor(x, dtype=dtype, device=device) for x in recording.constants]
    return {
        "add": torch.add,
        "subtract": lambda a, b: a - b,
        "multiply": torch.mul,
        "divide": lambda a, b: a / b,
        "negative": torch.neg,
        "greater": torch.gt,
        "maximum": maximum,
        "exp": torch.exp,
        "sin": torch.sin,
        "cos": torch.cos,
        "tanh": torch.tanh,
        "erf": torch.erf,
        "conj": lambda x: x.conj().resolve_conj(),
        "real": torch.real,
        "astype": lambda x, dtype: x.to(getattr(torch, dtype)),
        "matmul": torch.matmul,
        "sum": lambda x, axis, keepdims: torch.sum(x, dim=axis, keepdim=keepdims),
        "reshape": lambda x, shape: torch.reshape(x, shape),
        "transpose": lambda x, axes: torch.permute(x, axes),
        "broadcast_to": lambda x, shape: torch.broadcast_to(x, shape),
        "concatenate": lambda *arrays, axis: torch.cat(arrays, dim=axis),
        "getitem": lambda x, index: x[index],
        "scatter": scatter,
        "eye": lambda shape: torch.eye(*shape, dtype=dtype, device=device),
        "constant": lambda number: constants[number],
        "contiguous": lambda x: x.contiguous(),
        "copy": torch.clone,
    }


def maximum(a: Any, b: Any) -> Any:
    """Return max(a, b), whose slope at a tie is that of b: relu'(0) = 0, where torch.maximum takes the mean."""
    if not isinstance(b, torch.Tensor):
        b = torch.full((), b, dtype=a.dtype, device=a.device)
    return torch.where(a <= b, b, a)


def scatter(values: Any, index: tuple[slice, ...], shape: tuple[int, ...]) -> Any:
    """Return zeros with values put at slices."""
    out = values.new_zeros(shape)
    out[index] = values
    return out


@contextmanager
def plain_precision(device: Any) -> Iterator[None]:
    """Switch autocast off: the cores' dtype is the weight's, and what reads the weight casts it."""
    if torch.is_autocast_enabled(device.type):
        with torch.autocast(device.type, enabled=False):
            yield
    else:
        yield


def run_alone(recording: Recording, cores: Sequence[Tensor]) -> list[Tensor]:
    """Return the weights, by PyTorch's operations."""
    made = play(recording.alone, functions(recording, cores[0].dtype, cores[0].device), given(recording, cores))
    return [made[number] for _, number in recording.weights]


def given(recording: Recording, cores: Sequence[Tensor]) -> dict[int, Tensor]:
    """Return the cores by their numbers."""
    return dict(zip(recording.cores, cores, strict=True))


def run_back(
    recording: Recording, cores: Sequence[Tensor], kept: Sequence[Tensor], cotangents: Sequence[Tensor]
) -> list[Tensor]:
    """Return the gradients of the cores, by the closed-form adjoint in PyTorch's operations."""
    values = given(recording, cores)
    values |= dict(zip(recording.kept, kept, strict=True)) | dict(zip(recording.cotangents, cotangents, strict=True))
    found = play(recording.backward, functions(recording, cores[0].dtype, cores[0].device), values)
    return [found[number] for number in recording.gradients]


def run_ahead(recording: Recording, cores: Sequence[Tensor]) -> list[Tensor]:
    """Return the weights and what the adjoint needs, by PyTorch's operations."""
    made = play(recording.forward, functions(recording, cores[0].dtype, cores[0].device), given(recording, cores))
    return [made[number] for number in (*(number for _, number in recording.weights), *recording.kept)]


def run_both(recording: Recording, cores: Sequence[Tensor], cotangents: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients, with everything made again from the cores: so that they can be differentiated in turn."""
    return run_back(recording, cores, run_ahead(recording, cores)[len(recording.weights) :], cotangents)

"""A network as a function of tensors, with the gradient of one's choice.

- ``"closed"``: the closed-form adjoint by this package's own runners, on the tensors' memory: NumPy's for tensors of
  the CPU, CuPy's for those of a CUDA device.
- ``"closed_torch"``: the closed-form adjoint in PyTorch's operations, on any device.
- ``"autograd"``: the forward pass in PyTorch's operations, and PyTorch's own gradient of them.

All three agree up to rounding. Second derivatives run through PyTorch's operations in each of them.
"""

from collections.abc import Sequence
from typing import Any

from adntn_ref.errors import DTypeError
from adntn_ref.extras import need
from adntn_ref.interop.recording import Recording, record
from adntn_ref.interop.torch.operations import DTYPES, plain_precision, run_ahead, run_alone, run_back, run_both
from adntn_ref.interop.torch.runners import by_our_runner
from adntn_ref.networks.base import Network

torch: Any = need("torch", "peers")

Tensor = Any
WAYS = ("closed", "closed_torch", "autograd")


def check_dtype(network: Network, dtype: Any) -> str:
    """Return our name of a dtype that a network's cores may have, or raise DTypeError."""
    allowed = [known for known, name in DTYPES.items() if network.linear or not name.startswith("complex")]
    if dtype not in allowed:
        names = ", ".join(DTYPES[known] for known in allowed)
        raise DTypeError(f"cores have dtype {dtype}; allowed: {names}. Under autocast they stay in float32")
    return DTYPES[dtype]


def weights_of(network: Network, cores: Sequence[Tensor], backward: str) -> list[Tensor]:
    """Return the weight, or a stack's weights in their order; nothing but the dtype of the cores is checked."""
    dtype = check_dtype(network, cores[0].dtype)
    if backward == "closed":
        return by_our_runner(network, cores)
    network.require_memory(dtype, backward=True)
    recording = record(network, dtype)
    with plain_precision(cores[0].device):
        if backward == "autograd" or not torch.is_grad_enabled():
            return run_alone(recording, cores)
        return list(InTorch.apply(recording, *cores)[: len(recording.weights)])


class InTorch(torch.autograd.Function):  # type: ignore[misc]
    """The closed-form adjoint in PyTorch's operations."""

    generate_vmap_rule = True

    @staticmethod
    def forward(recording: Recording, *cores: Tensor) -> tuple[Tensor, ...]:
        """Return the weights, and what the adjoint needs."""
        return tuple(run_ahead(recording, cores))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the cores and what the adjoint needs."""
        ctx.recording, *cores = inputs
        ctx.weights = len(ctx.recording.weights)
        ctx.mark_non_differentiable(*output[ctx.weights :])
        ctx.save_for_backward(*cores, *output[ctx.weights :])

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the cores."""
        recording, count = ctx.recording, len(ctx.recording.cores)
        cores, kept = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        g = cotangents[: ctx.weights]
        with plain_precision(cores[0].device):
            if torch.is_grad_enabled():
                found = run_both(recording, cores, g)
            else:
                found = run_back(recording, cores, kept, g)
        return None, *found

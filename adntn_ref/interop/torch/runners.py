"""The closed-form adjoint by this package's own runners, on the memory of tensors: nothing is copied.

Tensors of the CPU are NumPy's arrays, those of a CUDA device CuPy's (by DLPack, on PyTorch's current stream).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from adntn_ref.errors import BackendUnavailable, MissingExtra
from adntn_ref.extras import need
from adntn_ref.interop.recording import record
from adntn_ref.interop.torch.operations import DTYPES, plain_precision, run_both
from adntn_ref.networks.base import Network, Params, Pullback
from adntn_ref.networks.stack import Stack

torch: Any = need("torch", "peers")

Tensor = Any
Sharing = Callable[[Tensor], Any]


def by_our_runner(network: Network, cores: Sequence[Tensor]) -> list[Tensor]:
    """Return the weight, or a stack's weights in their order."""
    if torch.is_grad_enabled() and any(core.requires_grad for core in cores):
        return list(Ours.apply(network, *cores)[:-1])
    with sharing(cores[0]) as share:
        return returned(network.generate(params_of(network, cores, share)), cores)


def shapes_of(network: Network) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what a stack generates by name; of another network its weight's, under ""."""
    if isinstance(network, Stack):
        return dict(network.shapes)
    return {"": network.placement.shape}


@contextmanager
def sharing(like: Tensor) -> Iterator[Sharing]:
    """Work where a tensor is; yield what turns a tensor there into an array of ours on the same memory.

    Raises
    ------
    BackendUnavailable
        For a device that none of our runners knows, or without the library that does.
    """
    kind = like.device.type
    if kind == "cpu":
        yield _array
        return
    instead = "backward='closed_torch' and 'autograd' run on any device"
    if kind != "cuda":
        raise BackendUnavailable(f"backward='closed' runs on the CPU and on CUDA devices, got {like.device}; {instead}")
    try:
        cupy = need("cupy", "cuda")
    except MissingExtra as error:
        raise BackendUnavailable(f"backward='closed' on {like.device}: {error}; {instead}") from error
    index = like.device.index
    stream = torch.cuda.current_stream(index).cuda_stream
    with cupy.cuda.Device(index), cupy.cuda.ExternalStream(stream, index):
        yield lambda x: cupy.from_dlpack(_plain(x))


def _array(x: Tensor) -> Any:
    try:
        return _plain(x).numpy()
    except RuntimeError as error:
        raise BackendUnavailable(
            f"backward='closed' works on the tensors' memory, and torch.func.vmap hands out tensors without ({error});"
            " backward='closed_torch' and 'autograd' run under it"
        ) from error


def _plain(x: Tensor) -> Tensor:
    return x.detach().resolve_conj().resolve_neg().contiguous()


def params_of(network: Network, cores: Sequence[Tensor], share: Sharing) -> Params:
    """Return the cores as arrays of ours, by name."""
    return {name: share(core) for name, core in zip(network.core_shapes, cores, strict=True)}


def returned(made: Any, cores: Sequence[Tensor]) -> list[Tensor]:
    """Return weights as tensors on the arrays' memory, copied where it is a core's."""
    taken = {core.data_ptr() for core in cores}
    tensors = [torch.from_dlpack(weight) for weight in (made.values() if isinstance(made, dict) else [made])]
    return [weight.clone() if weight.data_ptr() in taken else weight for weight in tensors]


def pulled(network: Network, pullback: Pullback, cotangents: Sequence[Tensor], share: Sharing) -> list[Tensor]:
    """Return the gradients of the cores as tensors."""
    arrays = [share(g) for g in cotangents]
    several = isinstance(network, Stack)
    found = pullback(dict(zip(shapes_of(network), arrays, strict=True)) if several else arrays[0])
    return [torch.from_dlpack(found[name]) for name in network.core_shapes]


class Held:
    """What a run of ours keeps for its adjoint; no tensor, so that PyTorch hands it on as it is."""

    def __init__(self, pullback: Pullback) -> None:
        self.pullback = pullback


class Ours(torch.autograd.Function):  # type: ignore[misc]
    """The closed-form adjoint by our own runners."""

    @staticmethod
    def forward(network: Network, *cores: Tensor) -> tuple[Any, ...]:
        """Return the weights, and last what the adjoint needs."""
        with sharing(cores[0]) as share:
            made, pullback = network.vjp(params_of(network, cores, share))
            return *returned(made, cores), Held(pullback)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        """Keep the cores, so that PyTorch notices a change in place, and what the adjoint needs."""
        ctx.network, *cores = inputs
        ctx.held = output[-1]
        ctx.save_for_backward(*cores)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the cores; by PyTorch's operations where they are to be differentiated in turn."""
        cores, network = ctx.saved_tensors, ctx.network
        if torch.is_grad_enabled():
            with plain_precision(cores[0].device):
                return None, *run_both(record(network, DTYPES[cores[0].dtype]), cores, cotangents[:-1])
        with sharing(cores[0]) as share:
            return None, *pulled(network, ctx.held.pullback, cotangents[:-1], share)

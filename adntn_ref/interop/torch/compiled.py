"""Networks as operations of compiled graphs: ``torch.compile`` traces into none of this package's Python.

An operation takes tensors and numbers alone, so a network goes through the graph by its number. ``closed`` is opaque:
our runner is called from the compiled code, and keeps nothing between forward and backward, so that its forward pass
runs twice. The other two dissolve into PyTorch's operations, which the compiler sees and fuses.
"""

from typing import Any

from adntn_ref.extras import need
from adntn_ref.interop.torch.gradients import weights_of
from adntn_ref.interop.torch.runners import by_our_runner, params_of, pulled, shapes_of, sharing
from adntn_ref.networks.base import Network

torch: Any = need("torch", "peers")

Tensor = Any
Tensors = list[Any]

_NETWORKS: list[Network] = []
_NUMBERS: dict[Network, int] = {}


def number_of(network: Network) -> int:
    """Return the number under which compiled graphs know a network."""
    if network not in _NUMBERS:
        _NUMBERS[network] = len(_NETWORKS)
        _NETWORKS.append(network)
    return _NUMBERS[network]


def _weights(cores: Tensors, network: int) -> Tensors:
    return by_our_runner(_NETWORKS[network], cores)


def _weights_sized(cores: Tensors, network: int) -> Tensors:
    return [cores[0].new_empty(shape) for shape in shapes_of(_NETWORKS[network]).values()]


def _gradients(cores: Tensors, cotangents: Tensors, network: int) -> Tensors:
    net = _NETWORKS[network]
    with sharing(cores[0]) as share:
        return pulled(net, net.vjp(params_of(net, cores, share))[1], cotangents, share)


def _gradients_sized(cores: Tensors, cotangents: Tensors, network: int) -> Tensors:
    return [torch.empty_like(core) for core in cores]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    cores, ctx.network = inputs
    ctx.save_for_backward(*cores)


def _back(ctx: Any, cotangents: Tensors) -> tuple[Any, None]:
    return opaque_gradients(list(ctx.saved_tensors), cotangents, ctx.network), None


opaque_weights = torch.library.custom_op(
    "adntn_ref::closed", _weights, mutates_args=(), schema="(Tensor[] cores, int network) -> Tensor[]"
)
opaque_gradients = torch.library.custom_op(
    "adntn_ref::closed_gradients",
    _gradients,
    mutates_args=(),
    schema="(Tensor[] cores, Tensor[] cotangents, int network) -> Tensor[]",
)
opaque_weights.register_fake(_weights_sized)
opaque_gradients.register_fake(_gradients_sized)
opaque_weights.register_autograd(_back, setup_context=_keep)

LIBRARY = torch.library.Library("adntn_ref", "FRAGMENT")
for _way in ("closed_torch", "autograd"):
    LIBRARY.define(f"{_way}(Tensor[] cores, int network) -> Tensor[]")
    # Composite: what it does is seen, operation by operation, by whoever differentiates and compiles.
    LIBRARY.impl(
        _way, lambda cores, network, way=_way: weights_of(_NETWORKS[network], cores, way), "CompositeImplicitAutograd"
    )

OPERATIONS = {
    "closed": opaque_weights,
    "closed_torch": torch.ops.adntn_ref.closed_torch,
    "autograd": torch.ops.adntn_ref.autograd,
}
"""What a compiled graph calls, by the way to the gradient: cores and the network's number -> weights."""

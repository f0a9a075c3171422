"""A network as a function of tensors."""

from typing import Any

from adntn_ref.errors import ArrayError, DTypeError, ParameterError, SpecError
from adntn_ref.extras import need
from adntn_ref.interop.torch import compiled
from adntn_ref.interop.torch.gradients import WAYS, check_dtype, weights_of
from adntn_ref.interop.torch.runners import shapes_of
from adntn_ref.networks.base import Network

torch: Any = need("torch", "peers")

Tensor = Any


class Generator:
    """A function from cores, tensors by name, to the weight.

    Gradients flow back to the cores. Make it once and call it often; inside what ``torch.compile`` compiles it can only
    be called.

    Parameters
    ----------
    network : any
    backward : ``"closed"``, ``"closed_torch"`` or ``"autograd"``; see :mod:`adntn_ref.interop.torch.gradients`

    Raises
    ------
    SpecError
        For what is no network, or an unknown way.

    Examples
    --------
    >>> import torch
    >>> from adntn_ref.networks import BrickWall
    >>> weight = Generator(BrickWall((6, 4), layers=2))
    >>> params = weight.init(rng=0)
    >>> weight(params).square().sum().backward()
    >>> params["layer1.brick0"].grad.shape
    torch.Size([2, 2, 2, 2])
    """

    def __init__(self, network: Network, backward: str = "closed") -> None:
        if not isinstance(network, Network):
            raise SpecError(f"a generator needs a network, got a {type(network).__name__}")
        self.network, self.backward = network, check_way(backward)
        self.names, self.weights = tuple(network.core_shapes), tuple(shapes_of(network))
        self.number = compiled.number_of(network)

    def __repr__(self) -> str:
        return f"Generator({self.network!r}, backward={self.backward!r})"

    def __call__(self, params: dict[str, Tensor]) -> Any:
        """Make the weight.

        Parameters
        ----------
        params : core name -> tensor, float32 or float64 (complex too for linear networks), all on one device

        Returns
        -------
        tensor of the weight's shape, or for a stack a dict of them

        Raises
        ------
        ParameterError, DTypeError, ArrayError, MemoryLimitError
            For parameters that are not the network's, of several dtypes or devices, or too little memory.
        BackendUnavailable
            For ``"closed"`` on a device that none of our runners knows here.
        """
        if not torch.compiler.is_compiling():
            check_params(self.network, params)
        made = self.from_cores([params[name] for name in self.names])
        return made[0] if self.weights == ("",) else dict(zip(self.weights, made, strict=True))

    def from_cores(self, cores: list[Tensor]) -> list[Tensor]:
        """Make the weight, or a stack's weights, from cores in their order, of which the dtype alone is checked."""
        if torch.compiler.is_compiling():
            made: list[Tensor] = compiled.OPERATIONS[self.backward](cores, self.number)
            return made
        return weights_of(self.network, cores, self.backward)

    def __deepcopy__(self, memo: Any) -> "Generator":
        return self  # it never changes

    def init(self, rng: int = 0, dtype: str = "float64", device: Any = "cpu", **options: Any) -> dict[str, Tensor]:
        """Draw parameters as tensors that require a gradient; see :meth:`Network.init` for the options."""
        params = self.network.init(rng, dtype, backend="numpy", **options)
        return {name: torch.from_numpy(core).to(device).requires_grad_() for name, core in params.items()}


def check_way(backward: object) -> str:
    """Refuse what is no way to a gradient."""
    if not isinstance(backward, str) or backward not in WAYS:
        raise SpecError(f"backward must be one of {', '.join(WAYS)}, got {backward!r}")
    return backward


def check_params(network: Network, params: dict[str, Tensor]) -> None:
    """Refuse tensors that are not a network's parameters, of several dtypes or devices."""
    if not isinstance(params, dict):
        raise ParameterError(f"parameters must be a dict from core name to tensor, got a {type(params).__name__}")
    shapes = network.core_shapes
    if params.keys() != shapes.keys():
        missing, extra = sorted(shapes.keys() - params.keys()), sorted(map(str, params.keys() - shapes.keys()))
        raise ParameterError(f"{network!r}: missing cores {missing[:5]}, cores it has not {extra[:5]}")
    first = next(iter(params.values()))
    for name, shape in shapes.items():
        core = params[name]
        if not isinstance(core, torch.Tensor):
            raise ParameterError(f"core {name} must be a tensor, got a {type(core).__name__}")
        if tuple(core.shape) != shape:
            raise ParameterError(f"core {name} has shape {tuple(core.shape)}; {network!r} needs {shape}")
        if core.dtype != first.dtype:
            raise DTypeError(f"core {name} has dtype {core.dtype}, those before it {first.dtype}; all must have one")
        if core.device != first.device:
            raise ArrayError(f"core {name} is on {core.device}, those before it on {first.device}; move them together")
    check_dtype(network, first.dtype)

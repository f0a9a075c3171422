"""The package's networks inside PyTorch, :mod:`adntn_ref.interop.torch`, as a candidate.

The functions of the module take ``backward="closed"``; :class:`InTorch` is a candidate for each of the three.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adntn_ref.interop.torch import Generator

from .own_adapter import network
from .plain import Spec
from .torch_adapter import torch

Array = NDArray[Any]


class InTorch:
    """Weights and gradients by tensors.

    Parameters
    ----------
    backward : way to the gradient, see :mod:`adntn_ref.interop.torch.gradients`
    """

    def __init__(self, backward: str) -> None:
        self.backward = backward

    def generate(self, spec: Spec, params: Mapping[str, Array]) -> Any:
        """Return the weight (a dict of them for a stack)."""
        net, cores = network(spec, params)
        with torch.no_grad():
            made = Generator(net, self.backward)({name: _tensor(core) for name, core in cores.items()})
        return {name: x.numpy() for name, x in made.items()} if isinstance(made, dict) else made.numpy()

    def vjp(self, spec: Spec, params: Mapping[str, Array], cotangent: Any) -> dict[str, Array]:
        """Return the gradient of ``<cotangent, weight>`` with respect to every parameter but frozen weights."""
        net, cores = network(spec, params)
        tensors = {name: _tensor(core).requires_grad_() for name, core in cores.items()}
        made = Generator(net, self.backward)(tensors)
        several = made if isinstance(made, dict) else {"": made}
        given = cotangent if isinstance(made, dict) else {"": cotangent}
        torch.autograd.backward(list(several.values()), [_tensor(given[name]) for name in several])
        return {name: tensor.grad.resolve_conj().numpy() for name, tensor in tensors.items()}


def _tensor(x: Array) -> Any:
    return torch.from_numpy(np.array(x, order="C"))


generate, vjp = InTorch("closed").generate, InTorch("closed").vjp

"""The package's networks inside JAX, :mod:`adntn_ref.interop.jax`, as a candidate.

The functions of the module take ``backward="closed"``; :class:`InJax` is a candidate for both ways.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from numpy.typing import NDArray

from adntn_ref.interop.jax import from_jax, generator, to_jax
from adntn_ref.networks import Network

from .jax_adapter import conjugate, jax, x64
from .own_adapter import network
from .plain import Spec

Array = NDArray[Any]


@lru_cache(maxsize=16)
def compiled(net: Network, backward: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return weight and gradient of a network, compiled."""
    weight = generator(net, backward)

    def pull(params: Any, cotangent: Any) -> Any:
        # JAX's gradients of complex numbers are the conjugates of ours.
        return conjugate(jax.vjp(weight, params)[1](conjugate(cotangent))[0])

    return jax.jit(weight), jax.jit(pull)


class InJax:
    """Weights and gradients by JAX arrays.

    Parameters
    ----------
    backward : ``"closed"`` or ``"autograd"``
    """

    def __init__(self, backward: str) -> None:
        self.backward = backward

    def generate(self, spec: Spec, params: Mapping[str, Array]) -> Any:
        """Return the weight (a dict of them for a stack)."""
        net, cores = network(spec, params)
        with x64():
            return from_jax(compiled(net, self.backward)[0](to_jax(cores)))

    def vjp(self, spec: Spec, params: Mapping[str, Array], cotangent: Any) -> dict[str, Array]:
        """Return the gradient of ``<cotangent, weight>`` with respect to every parameter but frozen weights."""
        net, cores = network(spec, params)
        with x64():
            found: dict[str, Array] = from_jax(compiled(net, self.backward)[1](to_jax(cores), to_jax(cotangent)))
        return found


generate, vjp = InJax("closed").generate, InJax("closed").vjp

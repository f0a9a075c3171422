"""Every network in JAX: :class:`~adntn_ref.validation.adapters.numpy_like.Networks` on ``jax.numpy``, compiled.

Two things that an author who uses JAX has to mind, and both show in a comparison:

- **float64.** JAX computes in float32 unless told otherwise. Here it is told for the length of a call, so that nobody
  else's setting changes.
- **Complex gradients.** ``jax.vjp`` multiplies by the Jacobian's transpose, we by its conjugate transpose (as torch
  does): conjugate what goes in and what comes out.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adntn_ref.extras import need

from . import plain
from .numpy_like import Networks
from .plain import Spec

jax: Any = need("jax", "peers")
jnp: Any = jax.numpy

Array = NDArray[Any]


class Compiled:
    """The functions of one specification, each compiled on its first call.

    ``cores`` are the parameters that are trained, ``frozen`` those that are not.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.weight = jax.jit(self._weight)
        self.pull = jax.jit(self._pull)
        self.states = jax.jit(self._states)
        self.adjoints = jax.jit(self._adjoints)

    def _weight(self, cores: Any, frozen: Any, nudges: Any = None) -> Any:
        return Networks(jnp, jax.scipy.special.erf, nudges).weight(self.spec, cores | frozen)

    def _pull(self, cores: Any, frozen: Any, cotangent: Any) -> Any:
        _, pullback = jax.vjp(lambda cores: self._weight(cores, frozen), cores)
        (gradients,) = pullback(conjugate(cotangent))
        return conjugate(gradients)

    def _states(self, cores: Any, frozen: Any) -> Any:
        run = Networks(jnp, jax.scipy.special.erf)
        run.weight(self.spec, cores | frozen)
        return run.seen

    def _adjoints(self, cores: Any, frozen: Any, cotangent: Any) -> Any:
        """Return the gradients with respect to zeros that are added to the states: these are the states' cotangents."""
        zeros = jax.tree.map(jnp.zeros_like, self._states(cores, frozen))
        _, pullback = jax.vjp(lambda nudges: self._weight(cores, frozen, nudges), zeros)
        (adjoints,) = pullback(conjugate(cotangent))
        return conjugate(adjoints)


@lru_cache(maxsize=8)
def compiled(text: str) -> Compiled:
    """Return the functions of a specification, given as JSON; the last few stay compiled."""
    return Compiled(json.loads(text))


def generate(spec: Spec, params: Mapping[str, Array]) -> Any:
    """Return the weight (a dict of them for a stack) as NumPy arrays."""
    return call("weight", spec, params)


def vjp(spec: Spec, params: Mapping[str, Array], cotangent: Any) -> dict[str, Array]:
    """Return the gradient of ``<cotangent, weight>`` with respect to every parameter but frozen weights."""
    found: dict[str, Array] = call("pull", spec, params, cotangent)
    return found


def states(spec: Spec, params: Mapping[str, Array]) -> dict[str, Array]:
    """Return the state after every step, by the step's name; nothing for networks that are no programs of steps."""
    return call("states", spec, params) if spec["network"] in plain.STEPWISE else {}


def adjoint_states(spec: Spec, params: Mapping[str, Array], cotangent: Array) -> dict[str, Array]:
    """Return the cotangent of every state, by the step's name."""
    return call("adjoints", spec, params, cotangent) if spec["network"] in plain.STEPWISE else {}


def call(function: str, spec: Spec, params: Mapping[str, Array], *cotangents: Any) -> Any:
    """Run one of the compiled functions, in float64 where the arrays are."""
    with x64():
        arrays = jax.tree.map(jnp.asarray, dict(params))
        cores = {name: arrays.pop(name) for name in plain.trained(params)}
        cotangents = tuple(jax.tree.map(jnp.asarray, g) for g in cotangents)
        found = getattr(compiled(json.dumps(spec)), function)(cores, arrays, *cotangents)
        return jax.tree.map(np.array, found)  # NumPy arrays that can be written to


def conjugate(arrays: Any) -> Any:
    """Return the conjugates of an array, or of a dict of them."""
    return jax.tree.map(jnp.conj, arrays)


def x64() -> AbstractContextManager[None]:
    """Return the context in which JAX has float64; it stood in another place in older versions."""
    here = getattr(jax, "enable_x64", None)
    if here is None:
        here = need("jax.experimental", "peers").enable_x64
    found: AbstractContextManager[None] = here(True)
    return found

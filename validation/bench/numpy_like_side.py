"""The networks in JAX and in HIPS autograd: the adapters' with a batched matrix product a step, (left, 4, right)."""

from contextlib import nullcontext
from math import prod
from typing import Any

import numpy as np

from ..adapters.numpy_like import Networks
from .candidate import Prepared
from .workload import Answer, Workload


class LeftRight(Networks):
    """Every step a product of matrices on the middle axis of (left, middle, right)."""

    def note(self, name: str, x: Any) -> Any:
        """Keep nothing."""
        return x

    def mix(self, core: Any, x: Any, left: int, right: int) -> Any:
        """Return a mixing core applied to two neighbouring indices."""
        side = x.shape[left] * x.shape[right]
        y = self.xp.einsum("ac,xcy->xay", core.reshape(side, side), x.reshape(prod(x.shape[:left]), side, -1))
        return y.reshape(x.shape)


class Products(LeftRight):
    """The same with ``matmul``, which HIPS autograd does faster than einsum."""

    def mix(self, core: Any, x: Any, left: int, right: int) -> Any:
        """Return a mixing core applied to two neighbouring indices."""
        side = x.shape[left] * x.shape[right]
        y = self.xp.matmul(core.reshape(side, side), x.reshape(prod(x.shape[:left]), side, -1))
        return y.reshape(x.shape)

    def expand(self, core: Any, x: Any, p: int) -> Any:
        """Return the state with index p split in two."""
        y = self.xp.matmul(core.reshape(-1, core.shape[2]), x.reshape(prod(x.shape[:p]), x.shape[p], -1))
        return y.reshape(*x.shape[:p], *core.shape[:2], *x.shape[p + 1 :])


def prepare_jax(workload: Workload, networks: type[Networks] = LeftRight) -> Prepared:
    """Bind the compiled function to a workload; it is compiled on its first call."""
    from ..adapters.jax_adapter import jax, jnp, x64

    run_of = networks(jnp, jax.scipy.special.erf)
    run_of.sigma["relu"] = jax.nn.relu
    spec, here = workload.spec, x64 if workload.dtype == "float64" else nullcontext
    with here():
        cores = {name: jnp.asarray(core) for name, core in workload.params.items()}
        target = jnp.asarray(workload.target)
    both = jax.jit(jax.value_and_grad(lambda cores, target: jnp.mean((run_of.weight(spec, cores) - target) ** 2)))

    def run() -> Any:
        with here():
            return jax.block_until_ready(both(cores, target))

    return Prepared(run, lambda found: Answer(float(found[0]), {name: np.asarray(g) for name, g in found[1].items()}))


def prepare_autograd(workload: Workload, networks: type[Networks] = Products) -> Prepared:
    """Bind the differentiated function to a workload."""
    from ..adapters.autograd_adapter import anp, autograd, erf

    run_of = networks(anp, erf)
    run_of.sigma["relu"] = lambda z: z * (z > 0)  # NumPy's fastest
    spec, params, target = workload.spec, workload.params, workload.target
    both = autograd.value_and_grad(lambda cores: anp.mean((run_of.weight(spec, cores) - target) ** 2))

    return Prepared(lambda: both(params), lambda found: Answer(float(found[0]), dict(found[1])))

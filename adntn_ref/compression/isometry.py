"""Cores as isometries: a penalty that pulls them there, and the projection that puts them there (both optional).

A core is read as a matrix A (outputs x inputs). Tall ones are isometries if A^T A = I, wide ones if A A^T = I, as in
the tensor-network literature (Evenbly and Vidal, arXiv 0707.1454, for MERA). A core with one input (start vectors, the
root of a tree, the last core of a chain) is left alone: it carries the scale of the weight.
"""

from collections.abc import Callable
from math import prod
from typing import Any

from adntn_ref.ad.arrays import Array, namespace
from adntn_ref.ad.moving import on_host
from adntn_ref.compression.alive import single_networks
from adntn_ref.compression.objectives import NetworkObjective
from adntn_ref.errors import SpecError
from adntn_ref.networks.base import Network, Params
from adntn_ref.networks.programmed import ProgramNetwork
from adntn_ref.program.starts import inputs_of, spread


def isometric_cores(network: Network) -> dict[str, tuple[int, int]]:
    """Return the matrix shape (outputs, inputs) of every core that has more than one input, by name.

    In networks that are programs a core lists its outputs first: (m, n, m, n), (chi_l, chi_r, chi). Elsewhere (chains)
    the last index counts as the input, as in the left-canonical form.

    Examples
    --------
    >>> from adntn_ref.networks import BrickWall
    >>> list(isometric_cores(BrickWall((2, 4), layers=1)).items())
    [('layer0.brick1', (4, 4))]
    """
    found = {}
    for prefix, part in single_networks(network):
        for name, shape in part.core_shapes.items():
            inputs = inputs_of(shape) if isinstance(part, ProgramNetwork) else shape[-1]
            if inputs > 1:
                found[prefix + name] = (prod(shape) // inputs, inputs)
    return found


def penalty(network: Network, params: Params) -> tuple[Any, Params]:
    """Return ``sum |A^T A - I|^2`` (``|A A^T - I|^2`` for wide A) over the cores, and its gradient.

    The gradient is ``4 A (A^T A - I)``, or ``4 (A A^T - I) A``; zero for cores that are left alone.
    """
    total: Any = 0.0
    gradients = {name: namespace(core).zeros_like(core) for name, core in params.items()}
    for name, (outputs, inputs) in isometric_cores(network).items():
        core = params[name]
        wide = outputs < inputs
        a = core.reshape(outputs, inputs)
        a = a.T if wide else a
        defect = a.T @ a - namespace(a).eye(a.shape[1], dtype=a.dtype)
        total = total + (defect * defect).sum()
        g = 4.0 * (a @ defect)
        gradients[name] = (g.T if wide else g).reshape(core.shape)
    return total, gradients


def penalised(objective: NetworkObjective, network: Network, strength: float) -> NetworkObjective:
    """Return the objective plus ``strength`` times the penalty.

    Raises
    ------
    SpecError
        For a strength that is negative or not finite.
    """
    if not isinstance(strength, int | float) or isinstance(strength, bool) or not 0 <= strength < float("inf"):
        raise SpecError(f"orthogonality must be a finite number >= 0, got {strength!r}")
    if strength == 0:
        return objective

    def with_penalty(step: int, params: Params) -> tuple[Any, Params]:
        loss, gradients = objective(step, params)
        extra, pull = penalty(network, params)
        return loss + strength * extra, {name: g + strength * pull[name] for name, g in gradients.items()}

    return with_penalty


def nearest_isometry(core: Array, outputs: int, inputs: int) -> Array:
    """Return the isometry nearest to a core in Frobenius norm: U V^T of its singular value decomposition."""
    u, _, vt = namespace(core).linalg.svd(core.reshape(outputs, inputs), full_matrices=False)
    return (u @ vt).reshape(core.shape)


def retraction(network: Network) -> Callable[[Params], None]:
    """Return the function that replaces every core, in place, by its nearest isometry (the polar factor)."""
    cores = isometric_cores(network)

    def retract(params: Params) -> None:
        for name, (outputs, inputs) in cores.items():
            params[name][...] = nearest_isometry(params[name], outputs, inputs)

    return retract


def isometric_start(network: Network, params: Params, std: float | None) -> Params:
    """Return retracted copies of the parameters; with ``std``, the free cores rescaled to that standard deviation.

    The scaling is exact where activations are positively homogeneous (relu, leaky_relu, identity), else a first guess.
    """
    found = {name: core.copy() for name, core in params.items()}
    retraction(network)(found)
    free = [name for name in found if name not in isometric_cores(network)]
    if std is not None and free:
        factor = (std / spread(on_host(network.generate(found)))) ** (1 / len(free))
        for name in free:
            found[name] *= factor
    return found

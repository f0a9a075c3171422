"""Several networks of one specification at once: their cores stacked, their weights made by products they share.

Where a backend runs the program by a plan, every window of all networks is one batched product; elsewhere the networks
run one after another. The results are those of :meth:`Network.vjp`, to the bit with NumPy 2.3 or later; before,
its batched products of small matrices added up in another order.
"""

from typing import Any

from adntn_ref.ad.arrays import Array, namespace
from adntn_ref.ad.tape import is_raw
from adntn_ref.errors import ArrayError, ParameterError
from adntn_ref.networks.base import Network, Params, Pullback, backend_name, require_here
from adntn_ref.networks.programmed import ProgramNetwork
from adntn_ref.program.runs import run_many
from adntn_ref.program.schedule import run_adjoint, run_keeping
from adntn_ref.program.steps import Program


def vjp_many(network: Network, params: Params) -> tuple[Array, Pullback]:
    """Return the weights of K networks of one specification, and the function that carries their cotangents back.

    Parameters
    ----------
    network : the specification of all of them
    params : core name -> array with one axis of length K >= 1 before those of the core

    Returns
    -------
    weights : array with an axis of length K before those of the weight
    pullback : ``pullback(G)`` with G of the weights' shape returns a dict like ``params``

    Raises
    ------
    ParameterError
        For tape variables, or cores that are not stacked, naming them.
    MemoryLimitError
        Where all of them together take more than the limit.

    Examples
    --------
    >>> import numpy as np
    >>> from adntn_ref.networks import BrickWall
    >>> net = BrickWall((4, 4), layers=2)
    >>> starts = [net.init(seed) for seed in range(3)]
    >>> stacked = {name: np.stack([start[name] for start in starts]) for name in net.core_shapes}
    >>> weights, pullback = vjp_many(net, stacked)
    >>> weights.shape, np.allclose(weights[1], net.generate(starts[1]), rtol=1e-12)
    ((3, 4, 4), True)
    """
    count = _count(network, params)
    dtype = network.check_params({name: core[0] for name, core in params.items()})
    program = getattr(network, "program", None)
    run = run_many(program, params, count) if isinstance(program, Program) else None
    if run is None or not isinstance(network, ProgramNetwork):
        return _one_by_one(network, params, count)
    network.require_memory(dtype, backward=True, networks=count, backend=backend_name(params))
    xp, place = namespace(next(iter(params.values()))), network.placement
    state, saved = run_keeping(run, "keep")

    def pullback(cotangents: Array) -> Params:
        _check(cotangents, (count, *place.shape))
        require_here("the cotangent", cotangents, params)
        found = run_adjoint(run, saved, xp.concatenate([place.embed(g) for g in cotangents]))
        return {name: xp.ascontiguousarray(found[name]) for name in network.core_shapes}

    rows = [place.extract(row) for row in state.reshape(count, -1)]
    return xp.ascontiguousarray(xp.stack(rows)), pullback  # stacking keeps the order of axes that its parts have


def _count(network: Network, params: Params) -> int:
    """Return K, the same for all cores."""
    if not isinstance(params, dict) or not params or not is_raw(*params.values()):
        raise ParameterError(
            "vjp_many takes a dict of stacked arrays, not tape variables; record each network by itself"
        )
    found = {name: tuple(core.shape) for name, core in params.items()}
    counts = {shape[0] if shape else 0 for shape in found.values()}
    if len(counts) > 1 or 0 in counts:
        name, shape = next(iter(found.items()))
        raise ParameterError(
            f"stacked cores have one and the same number of networks in front, K >= 1; got K in {sorted(counts)}"
            f" (core {name} of shape {shape}) for {network!r}"
        )
    return int(counts.pop())


def _one_by_one(network: Network, params: Params, count: int) -> tuple[Array, Pullback]:
    xp = namespace(next(iter(params.values())))
    pairs = [network.vjp({name: core[k] for name, core in params.items()}) for k in range(count)]

    def pullback(cotangents: Array) -> Params:
        _check(cotangents, (count, *network.placement.shape))
        found: list[Any] = [pull(cotangents[k]) for k, (_, pull) in enumerate(pairs)]
        return {name: xp.stack([one[name] for one in found]) for name in network.core_shapes}

    return xp.stack([weight for weight, _ in pairs]), pullback


def _check(cotangents: Array, shape: tuple[int, ...]) -> None:
    if tuple(getattr(cotangents, "shape", ())) != shape:
        got = tuple(getattr(cotangents, "shape", ()))
        raise ArrayError(f"the cotangents have shape {got}, the weights {shape}")

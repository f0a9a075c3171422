"""What must hold of every family as it grows: counts, nesting, and hence a best error that never rises.

- :func:`core_shapes` and :func:`parameter_count` read the cores off a specification by the definitions alone (bonds of
  trees and chains, slices of the first column), with bookkeeping that the networks do not share.
- :func:`embedded` turns parameters of a network into parameters of a larger one of its family with *exactly* the same
  weight: a bond is filled up with zeros, a layer more of a linear brick-wall is made of identities. What the small one
  reaches the large one reaches too, so the best error cannot rise with the bond, the rank or the number of layers.
- :func:`nested_errors` fits a growing sequence, each network from the last one's result.

With activations the first holds for trees at every activation (what sigma makes of the zeros meets zeros again), the
second does not: another layer puts another sigma before the last one.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adntn_ref.compression.fit import fit
from adntn_ref.networks import Network

from .adapters import plain
from .adapters.plain import Node, Spec

Array = NDArray[Any]
Shapes = dict[str, tuple[int, ...]]


def core_shapes(spec: Spec) -> Shapes:
    """Return the shape of every core by its name, from the definitions.

    Parameters
    ----------
    spec : what ``net.to_spec()`` returns

    Examples
    --------
    >>> from adntn_ref.networks import TTN
    >>> core_shapes(TTN((12,), chi=3).to_spec())
    {'root': (3, 3), 'node0_2': (2, 2, 3), 'node2_4': (2, 2, 3)}
    """
    kind = spec["network"]
    if kind in ("sum", "split"):
        parts = enumerate(spec["parts"])
        return {f"{k}.{name}": shape for k, part in parts for name, shape in core_shapes(part).items()}
    if kind in ("stack", "delta"):
        return core_shapes(spec["net"])
    if kind == "lowrank":
        rows, columns = plain.matrix_sizes(spec)
        return {"left": (rows, spec["rank"]), "right": (spec["rank"], columns)}
    if kind == "brickwall":
        return _bricks(spec)
    if kind in ("tt", "mpo"):
        return _chain(spec)
    if kind in ("cp", "tucker"):
        return _factors(spec)
    return _tree(spec)


def _bricks(spec: Spec) -> Shapes:
    sizes = plain.modes(spec)
    constant = spec["boundary"] == "constant"
    found: Shapes = {} if constant else {f"start{q}": (d,) for q, d in enumerate(sizes)}
    for m in range(spec["layers"]):
        for q in range(len(sizes) - 1):
            pair = sizes[q : q + 2]
            found[f"layer{m}.brick{q}"] = pair if constant and m == 0 and q % 2 == 0 else pair * 2
    return found


def _chain(spec: Spec) -> Shapes:
    sites: list[tuple[int, ...]] = [(d,) for d in plain.modes(spec)]
    if spec["network"] == "mpo":
        sites = [(row, column) for row, column in zip(spec["row_modes"], spec["col_modes"], strict=True)]
    sizes = [prod(site) for site in sites]
    bonds = [min(spec["chi"], prod(sizes[:k]), prod(sizes[k:])) for k in range(len(sites) + 1)]
    return {f"core{k}": (bonds[k], *site, bonds[k + 1]) for k, site in enumerate(sites)}


def _factors(spec: Spec) -> Shapes:
    sizes = plain.modes(spec)
    ranks = spec["ranks"] if spec["network"] == "tucker" else [spec["rank"]] * len(sizes)
    found: Shapes = {f"factor{q}": (d, r) for q, (d, r) in enumerate(zip(sizes, ranks, strict=True))}
    return found | ({"core": tuple(ranks)} if spec["network"] == "tucker" else {})


def _tree(spec: Spec) -> Shapes:
    sizes = plain.modes(spec)

    def bond(node: Node) -> int:
        under = prod(sizes[slice(*node)])
        return under if plain.is_leaf(node) else min(spec["chi"], under, prod(sizes) // under)

    levels = plain.depths(len(sizes))
    found: Shapes = {"root": (bond(levels[0][0]), bond(levels[0][1]))}
    for k, nodes in enumerate(levels, start=1):
        for node in nodes:
            if not plain.is_leaf(node):
                left, right = plain.children(node)
                found[plain.node_name(node)] = (bond(left), bond(right), bond(node))
        if k > 1 and (spec["network"] == "mera" or (spec["network"] == "attn" and k == len(levels))):
            for left_at, right_at in plain.mixing_pairs(nodes, len(sizes), spec.get("periodic", False)):
                found[f"mix{k}.{left_at}"] = (bond(nodes[left_at]), bond(nodes[right_at])) * 2
    return found


def parameter_count(spec: Spec) -> int:
    """Return the number of parameters of a specification, from the definitions."""
    return sum(prod(shape) for shape in core_shapes(spec).values())


def embedded(params: Mapping[str, Array], larger: Network, rng: np.random.Generator | None = None) -> dict[str, Array]:
    """Return parameters of a larger network that give exactly the weight of ``params``.

    Every core stands in the corner of the larger one, zeros elsewhere; bricks that the smaller one has not are
    identities, ``A[a, b, c, e] = delta_ac delta_be``.

    Parameters
    ----------
    params : of a network of the same family with smaller bonds or ranks, or of a brick-wall with fewer layers and the
        activation "identity"
    larger : the network to embed in
    rng : entries that meet zeros on the bond's other side are drawn from it instead of being zero, so that a fit that
        starts here can leave

    Raises
    ------
    ValueError
        If a core does not fit, or a new one is no brick.
    """
    dtype = next(iter(params.values())).dtype
    found: dict[str, Array] = {}
    for name, shape in larger.core_shapes.items():
        if name in params:
            zero = name == "core" or (name == "factor0" and "core" not in params)
            found[name] = _corner(name, params[name], shape, None if zero else rng)
        elif ".brick" in name and len(shape) == 4:
            found[name] = np.eye(shape[0] * shape[1], dtype=dtype).reshape(shape)
        else:
            raise ValueError(f"the smaller network has no core {name}, which is new and no brick")
    if unknown := sorted(params.keys() - found.keys()):
        raise ValueError(f"the larger network has no cores {', '.join(unknown)}")
    return found


def _corner(name: str, core: Array, shape: tuple[int, ...], rng: np.random.Generator | None) -> Array:
    if len(shape) != core.ndim or any(a > b for a, b in zip(core.shape, shape, strict=True)):
        raise ValueError(f"the core {name} of shape {core.shape} does not fit into {shape}")
    found = np.zeros(shape, core.dtype)
    # A core's last index is the bond towards the root of a tree, the next core of a chain or the core of a Tucker
    # network: there the new rows are zeros. Factors of a CP network share one bond, and factor0 has the zeros.
    if rng is not None and name.startswith(("core", "left", "factor", "node")):
        old = (*(slice(size) for size in core.shape[:-1]), slice(core.shape[-1], None))
        found[old] = rng.standard_normal(found[old].shape) * max(float(np.std(core)), 1e-3)
    found[tuple(slice(size) for size in core.shape)] = core
    return found


def nested_errors(networks: Sequence[Network], target: Array, steps: int = 60, seed: int = 0) -> list[float]:
    """Return the relative errors of networks that grow, each fitted from the last one's result.

    L-BFGS never raises the error and each start has the last one's weight, so that the errors do not rise but for
    rounding. (Alternating least squares would set the free entries, which change nothing at first, to zero and stay.)

    Parameters
    ----------
    networks : each larger than the one before, and its weight within the next one's reach (see :func:`embedded`)
    target : the weight, float64
    steps : iterations of L-BFGS a network
    seed : of the first start and of the free entries of the others
    """
    rng = np.random.default_rng(seed)
    params: dict[str, Array] | None = None
    errors = []
    for network in networks:
        start = None if params is None else embedded(params, network, rng)
        result = fit(network, target, optimiser="lbfgs", steps=steps, rng=seed, params=start)
        params = result.params
        errors.append(float(result.relative_error))
    return errors

"""Weights of a PyTorch model, generated from now on; and dense again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adntn_ref.compression.fit import fit as fit_one
from adntn_ref.errors import NothingSelected, SpecError
from adntn_ref.extras import need
from adntn_ref.interop.torch.generator import Generator, check_way
from adntn_ref.interop.torch.select import Place, networks_for, select
from adntn_ref.interop.torch.weights import Cores, GeneratedWeight, generated, place, places, unplace
from adntn_ref.networks.base import Network
from adntn_ref.networks.stack import Stack
from adntn_ref.nn.models import select as matching

torch: Any = need("torch", "peers")

Tensor = Any
Module = Any
IN_DOUBLE = ("lbfgs", "als")
"""Optimisers of stage 1 that run in float64 alone."""


@dataclass
class _Start:
    """The cores that a weight starts from, and facts about their fit."""

    network: Network
    params: dict[str, Any]
    info: dict[str, Any] = field(default_factory=dict)


def compress_(
    model: Module,
    patterns: str | Iterable[str] | None,
    network: Any,
    *,
    backward: str = "closed",
    fit: bool | Mapping[str, Any] = False,
    rng: int = 0,
    start: str = "calibrated_orthogonal",
    std: float | None = None,
) -> dict[str, GeneratedWeight]:
    """Let networks generate weights of a model, in place; everything that can be wrong is found before it is changed.

    Parameters
    ----------
    model : any module; weights of ``Linear``, ``Conv1d`` to ``Conv3d``, attention, embeddings, float32 or float64
    patterns : globs of parameter names (``"classifier.*"``) or of modules' (``"classifier.0"``); vectors are passed
        over. None: the keys of ``network``
    network : a network, a function from a weight's shape to its network, or a dict of these by name or glob. A
        ``Stack`` makes all selected weights, by their names, from the same cores
    backward : ``"closed"`` (our runners), ``"closed_torch"`` or ``"autograd"``; see
        :mod:`adntn_ref.interop.torch.gradients`
    fit : whether to start from the weights that are there, by stage 1 on the host; a dict goes to
        :func:`adntn_ref.fit`. It runs in the weight's dtype, by ``lbfgs`` and ``als`` in float64
    rng : the k-th selected weight starts from seed ``rng + k``
    start, std : of cores that are drawn, see :meth:`Network.init`

    Returns
    -------
    dict
        Parameter name -> its parametrisation, whose ``cores`` are the new parameters. What was frozen stays frozen.

    Raises
    ------
    NothingSelected, SpecError, DTypeError, MemoryLimitError, BackendUnavailable
        For a pattern without a weight, a network of another shape, a weight that is parametrised already, and so on.

    Examples
    --------
    >>> import torch
    >>> from adntn_ref.networks import BrickWall
    >>> model = torch.nn.Sequential(torch.nn.Linear(20, 12), torch.nn.ReLU(), torch.nn.Linear(12, 3))
    >>> made = compress_(model, "0", lambda shape: BrickWall(shape, layers=2))
    >>> sum(p.numel() for p in made["0.weight"].parameters()), model(torch.ones(1, 20)).shape
    (176, torch.Size([1, 3]))
    """
    check_way(backward)
    chosen = select(model, _globs(patterns, network))
    networks = networks_for(chosen, network, backward)
    if not isinstance(fit, (bool, Mapping)):
        raise SpecError(f"fit must be True, False or a dict of options of adntn_ref.fit, got {fit!r}")
    options = dict(fit) if isinstance(fit, Mapping) else {}
    drawn = {"start": start, "std": std}
    starts = _starts(chosen, networks, rng, options if fit is not False else None, drawn)
    cores = {id(begin): _cores(begin, chosen[name].tensor) for name, begin in starts.items()}
    weights: dict[int, GeneratedWeight] = {}  # by the tensor: tied weights stay one
    for name, where in chosen.items():
        begin = starts[name]
        part = name if isinstance(begin.network, Stack) else ""
        made = GeneratedWeight(Generator(begin.network, backward), cores[id(begin)], part, info=begin.info)
        weights.setdefault(id(where.tensor), made)
    put(chosen, {name: weights[id(where.tensor)] for name, where in chosen.items()})
    return {name: weight for name, weight in generated(model).items() if name in chosen}


def put(chosen: Mapping[str, Place], weights: Mapping[str, GeneratedWeight]) -> None:
    """Put parametrisations in their places; a module that stands under two names gets its own once."""
    done: set[tuple[int, str]] = set()
    for name, where in chosen.items():
        if (id(where.module), where.key) not in done:
            done.add((id(where.module), where.key))
            weights[name]._placed = False  # tied weights share one
            place(where.module, where.key, weights[name])


def _globs(patterns: str | Iterable[str] | None, network: Any) -> list[str]:
    if patterns is None:
        if isinstance(network, Stack):
            return [name for name, _ in network.shapes]
        if not isinstance(network, Mapping):
            raise SpecError("patterns may be left out where networks are given by name, in a dict or a stack")
        return list(network)
    globs = [patterns] if isinstance(patterns, str) else list(patterns)
    if not globs:
        raise NothingSelected("no pattern was given")
    return globs


def _starts(
    chosen: Mapping[str, Place],
    networks: Mapping[str, Network],
    rng: int,
    options: dict[str, Any] | None,
    drawn: dict[str, Any],
) -> dict[str, _Start]:
    """Return the start of each weight, fitted where there are options, else drawn; tied ones and stacks share."""
    found: dict[str, _Start] = {}
    by_tensor: dict[int, _Start] = {}
    for k, (name, where) in enumerate(chosen.items()):
        network, tensor = networks[name], where.tensor
        known = next(iter(found.values()), None) if isinstance(network, Stack) else by_tensor.get(id(tensor))
        if known is None:
            dtype = str(tensor.dtype).removeprefix("torch.")
            if options is None:
                known = _Start(network, network.init(rng + k, dtype, backend="numpy", **drawn))
            else:
                known = _fitted(network, _target(network, chosen, tensor), rng + k, options)
        found[name] = by_tensor[id(tensor)] = known
    return found


def _target(network: Network, chosen: Mapping[str, Place], tensor: Tensor) -> Any:
    """Return what a network is fitted to, on the host: the weight, or all of a stack's one after another."""
    if isinstance(network, Stack):
        flat = [chosen[name].tensor.detach().cpu().numpy().reshape(-1) for name, _ in network.shapes]
        return np.concatenate(flat).reshape(network.net.placement.shape)
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


def _fitted(network: Network, target: Any, seed: int, options: dict[str, Any]) -> _Start:
    dtype = target.dtype
    if options.get("optimiser") in IN_DOUBLE:
        target = target.astype("float64")
    inner = network.net if isinstance(network, Stack) else network
    result = fit_one(inner, target, **{"rng": seed, "backend": "numpy", **options})
    info = {"relative_error": result.relative_error, "seed": result.seed, "history": result.history.summary()}
    return _Start(network, {name: core.astype(dtype) for name, core in result.params.items()}, info)


def _cores(begin: _Start, like: Tensor) -> Cores:
    """Return the cores as parameters on the device of the weight that they make, frozen where it was."""
    tensors = {name: torch.from_numpy(begin.params[name]).to(like.device) for name in begin.network.core_shapes}
    return Cores({name: core.requires_grad_(like.requires_grad) for name, core in tensors.items()})


def fold_(model: Module, patterns: str | Iterable[str] = "*") -> list[str]:
    """Make generated weights dense parameters again, in place, with the numbers that they have now.

    Parameters
    ----------
    model : with generated weights
    patterns : globs of the names of generated weights

    Returns
    -------
    list of their names

    Raises
    ------
    NothingSelected
        For a pattern that names no generated weight.
    """
    found = places(model)
    names = matching(found, [patterns] if isinstance(patterns, str) else list(patterns))
    done: set[tuple[int, str]] = set()
    for name in names:
        module, key = found[name]
        if (id(module), key) not in done:
            done.add((id(module), key))
            unplace(module, key)
    return names

"""All networks, with what a comparison needs of each: parameters, cotangents and whole cases."""

import json
from typing import Any
from zlib import crc32

from hypothesis import strategies as st

from adntn_ref.networks import Network, Stack

from ..case import Case, with_frozen
from .arrays import Array, arrays, normal
from .combinations import combinations
from .places import LARGEST, matrix
from .shallow import mpos, shallow
from .stepwise import ACTIVATIONS, brickwalls, node_trees, trees


def networks(
    activations: tuple[str, ...] = ACTIVATIONS, limit: int = LARGEST, dtype: str = "float64"
) -> st.SearchStrategy[Network]:
    """Return all networks: brick-walls, trees, shallow networks and combinations of them, stacks too.

    Parameters
    ----------
    activations : names to draw from; combinations use tanh, or the identity where tanh is not among them
    limit : most entries of a generated tensor
    dtype : of the parameters to come; with a complex one there is no activation but the identity
    """
    if dtype.startswith("complex"):
        activations = ("identity",)
    walls, levels = brickwalls(activations, limit), trees(activations, limit)
    nodes, combined = node_trees(activations, limit), combinations(linear="tanh" not in activations)
    return st.one_of(walls, walls, levels, levels, nodes, shallow(limit), combined)


def walls_and_mpos(activations: tuple[str, ...] = ACTIVATIONS, limit: int = LARGEST) -> st.SearchStrategy[Network]:
    """Return brick-walls (three in four) and matrix product operators."""
    walls: st.SearchStrategy[Network] = brickwalls(activations, limit)
    return st.one_of(walls, walls, walls, mpos(limit))


@st.composite
def parameters(draw: st.DrawFn, net: Network, dtype: str = "float64") -> dict[str, Array]:
    """Draw parameters for a network; one core may be chosen entry by entry, the others are normal from a seed."""
    names = list(net.core_shapes)
    special = draw(st.sampled_from(names))
    seed = draw(st.integers(0, 2**32 - 1))
    cores = {name: normal(seed + k, shape, dtype) for k, (name, shape) in enumerate(net.core_shapes.items())}
    if cores[special].size <= 64:
        cores[special] = draw(arrays(cores[special].shape, dtype))
    return cores


def cotangents(net: Network, dtype: str = "float64") -> st.SearchStrategy[Any]:
    """Return cotangents of a network's weight: arrays of its shape, or for a stack dicts of them."""
    return st.integers(0, 2**32 - 1).map(lambda seed: cotangent(net, seed, dtype))


def cotangent(net: Network, seed: int, dtype: str = "float64") -> Any:
    """Return the cotangent of a network's weight that belongs to a seed."""
    if isinstance(net, Stack):
        return {name: normal(seed + k, shape, dtype) for k, (name, shape) in enumerate(net.shapes)}
    return normal(seed, net.placement.shape, dtype)


@st.composite
def weights(draw: st.DrawFn, dtype: str = "float64", limit: int = LARGEST) -> Array:
    """Draw a weight to be compressed: a matrix or a convolution's 4-D array, of at most ``limit`` entries."""
    shape: tuple[int, ...] = draw(matrix(limit))["shape"]
    if len(shape) == 2 and draw(st.booleans()):
        shape = (*shape, 1, 1)
    return draw(arrays(shape, dtype))


@st.composite
def cases(
    draw: st.DrawFn,
    nets: st.SearchStrategy[Network] | None = None,
    dtype: str = "float64",
    activations: tuple[str, ...] = ACTIVATIONS,
    limit: int = LARGEST,
) -> Case:
    """Draw a case: a specification, parameters (with the frozen weights of deltas) and a cotangent.

    Parameters
    ----------
    nets : networks to draw from; default: :func:`networks`
    dtype : of parameters and cotangent; frozen weights keep their own
    activations, limit : as of :func:`networks`, where ``nets`` is not given
    """
    net = draw(networks(activations, limit, dtype) if nets is None else nets)
    return case_of(net, draw(parameters(net, dtype)), draw(cotangents(net, dtype)))


def case_of(net: Network, params: dict[str, Array], cotangent: Any) -> Case:
    """Return a network with parameters and a cotangent as a case; its name has a checksum of the specification."""
    spec = net.to_spec()
    name = f"random/{spec['network']}-{crc32(json.dumps(spec).encode()):08x}"
    return Case(name, spec, with_frozen(net, params), cotangent)

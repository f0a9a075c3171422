"""Hypothesis strategies that other test suites import: networks, their parameters and cotangents, weights, modes.

Small by default (at most 512 generated entries), entries zero or of a size between 1e-5 and 1.5, no subnormal numbers.
``net`` below is drawn from ``networks()``::

    @given(st.data())
    def test_mine(data):
        net = data.draw(networks(limit=64))
        params, cotangent = data.draw(parameters(net)), data.draw(cotangents(net))

Narrower ones: ``brickwalls``, ``trees``, ``node_trees``, ``shallow`` and its families, ``combinations``.
"""

from . import required as required
from .arrays import BOUND, SMALLEST, arrays, normal
from .combinations import bases, combinations, fits, frozen, of_shape
from .everything import case_of, cases, cotangent, cotangents, networks, parameters, walls_and_mpos, weights
from .places import LARGEST, flat, matrix, modes, placed
from .shallow import SMALL, cps, lowranks, mpos, shallow, tensor_trains, tuckers
from .stepwise import ACTIVATIONS, ANALYTIC, brickwalls, node_trees, trees

__all__ = [
    "ACTIVATIONS",
    "ANALYTIC",
    "BOUND",
    "LARGEST",
    "SMALL",
    "SMALLEST",
    "arrays",
    "bases",
    "brickwalls",
    "case_of",
    "cases",
    "combinations",
    "cotangent",
    "cotangents",
    "cps",
    "fits",
    "flat",
    "frozen",
    "lowranks",
    "matrix",
    "modes",
    "mpos",
    "networks",
    "node_trees",
    "normal",
    "of_shape",
    "parameters",
    "placed",
    "shallow",
    "tensor_trains",
    "trees",
    "tuckers",
    "walls_and_mpos",
    "weights",
]

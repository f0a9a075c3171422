"""What stage 1 minimises, as a function of the generated weight: three quadratic losses, and their gradients.

``euclidean`` (Qing et al., arXiv 2305.06058)   sum |W - T|^2 / sum |T|^2
``outputs``   (ours; see the module ``statistics``)   E |W x + b - T x0 - b0|^2 / E |T (x0 - m0)|^2  at the best b
``logits``    (ours; see the module ``sensitivity``)  the same with |y|^2 = y^T G y, G what the logits feel of outputs

A loss takes a weight and returns its value and the cotangent of the weight; a network carries that to its cores.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from adntn_ref.ad.arrays import Array, dtype_name, namespace, number
from adntn_ref.compression.statistics import OutputStatistics
from adntn_ref.errors import ArrayError, SpecError
from adntn_ref.networks.base import Network, Params

OBJECTIVES = ("euclidean", "outputs", "logits")

BY_OUTPUTS = ("outputs", "logits")
"""Objectives that see the weight through its layer's outputs: they need statistics, and correct the bias."""

NetworkObjective = Callable[[int, Params], tuple[Any, Params]]
"""``(step, parameters) -> (loss, gradients)``."""


class WeightLoss(Protocol):
    """A loss quadratic in the weight: ``|half(W) - goal|^2 + rest``."""

    def __call__(self, weight: Array) -> tuple[Any, Array]:
        """Return the loss and the cotangent of the weight, of the weight's shape."""
        ...

    def half(self, weight: Array) -> Array:
        """Return the linear map of the weight whose distance to :attr:`goal` is the loss, shape (weights,)."""
        ...

    @property
    def goal(self) -> Array:
        """What ``half`` is to hit, shape (weights,)."""
        ...


class EuclideanLoss:
    """``sum |W - T|^2 / sum |T|^2``; the cotangent is ``2 (W - T) / sum |T|^2``."""

    def __init__(self, target: Array) -> None:
        self.target = target
        self.scale = 1.0 / number((target * target).sum())

    def __call__(self, weight: Array) -> tuple[Any, Array]:
        """Return the loss and the cotangent of the weight."""
        difference = weight - self.target
        return (difference * difference).sum() * self.scale, difference * (2.0 * self.scale)

    def half(self, weight: Array) -> Array:
        """Return W / |T|."""
        return weight.reshape(-1) * self.scale**0.5

    @property
    def goal(self) -> Array:
        """T / |T|."""
        return self.half(self.target)


class OutputsLoss:
    """``(tr(G W Cxx W^T) - 2 tr(G W Cx0 T^T) + tr(G T C00 T^T)) / tr(G T C00 T^T)``, weights as (outputs, inputs).

    G is the metric of the statistics, 1 where they have none. Cotangent: ``2 G (W Cxx - T Cx0^T) / tr(G T C00 T^T)``.
    Sums are taken in float64 whatever the dtype of the weight: near a good fit the three terms cancel. The best bias
    does not depend on G.

    Raises
    ------
    ArrayError
        If the statistics are of another number of inputs or outputs, or the outputs do not vary.
    """

    def __init__(self, target: Array, statistics: OutputStatistics) -> None:
        matrix = _matrix(target)
        if matrix.shape[1] != statistics.inputs:
            raise ArrayError(
                f"the statistics are of {statistics.inputs} inputs, the target of shape {tuple(target.shape)} has"
                f" {matrix.shape[1]}"
            )
        self.metric = statistics.metric
        if self.metric is not None and self.metric.shape[0] != matrix.shape[0]:
            raise ArrayError(
                f"the metric is of {self.metric.shape[0]} outputs, the target of shape {tuple(target.shape)} has"
                f" {matrix.shape[0]}"
            )
        variance = number((self._weighed(matrix) @ statistics.c00 * matrix).sum())
        if not 0 < variance < np.inf:
            raise ArrayError(f"the dense layer's outputs have variance {variance}; there is nothing to match")
        if not number((statistics.cxx != 0).any()):
            raise ArrayError("the compressed model's inputs to this layer do not vary: an earlier layer is dead")
        self.statistics, self.variance, self.target = statistics, variance, target
        self.squares = statistics.cxx / variance
        self.cross = matrix @ statistics.cx0.T / variance

    def __call__(self, weight: Array) -> tuple[Any, Array]:
        """Return the loss and the cotangent of the weight."""
        matrix = _matrix(weight)
        reached = matrix @ self.squares - self.cross
        weighed = self._weighed(matrix)  # G is symmetric: tr(A^T G B) is the sum of A * (G B)
        loss = ((reached - self.cross) * weighed).sum() + 1.0
        return loss, (2.0 * self._weighed(reached)).astype(weight.dtype).reshape(weight.shape)

    def half(self, weight: Array) -> Array:
        """Return R W S, with S and R the symmetric roots of Cxx over the variance and of the metric."""
        return self._rooted(_matrix(weight) @ self._roots[0]).reshape(-1)

    @property
    def goal(self) -> Array:
        """R T Cx0^T S^+ over the variance: what R W S is in the best weight without any restriction."""
        return self._rooted(self.cross @ self._roots[1]).reshape(-1)

    def _weighed(self, matrix: Array) -> Array:
        return matrix if self.metric is None else self.metric @ matrix

    def _rooted(self, matrix: Array) -> Array:
        return matrix if self.metric is None else self._metric_root @ matrix

    @cached_property
    def _roots(self) -> tuple[Array, Array]:
        return _roots_of(self.squares)

    @cached_property
    def _metric_root(self) -> Array:
        return _roots_of(self.metric)[0]

    def bias_shift(self, weight: Array) -> Array:
        """Return T m0 - W m, which added to the dense bias is the best one, shape (outputs,), in the weight's dtype."""
        shift = _matrix(self.target) @ self.statistics.mean_x0 - _matrix(weight) @ self.statistics.mean_x
        return shift.astype(weight.dtype)


def _roots_of(symmetric: Array) -> tuple[Array, Array]:
    """Return the symmetric root of a matrix without negative eigenvalues, and its pseudo-inverse."""
    values, vectors = np.linalg.eigh(symmetric)
    kept = values > values.max() * values.size * np.finfo(np.float64).eps
    roots = np.sqrt(np.where(kept, values, 0.0))
    inverse = np.where(kept, 1.0 / np.where(kept, roots, 1.0), 0.0)
    return (vectors * roots) @ vectors.T, (vectors * inverse) @ vectors.T


def make_loss(objective: str, target: Array, statistics: OutputStatistics | None) -> EuclideanLoss | OutputsLoss:
    """Return the loss called ``objective``.

    Raises
    ------
    SpecError
        For an unknown name, or statistics that are missing or of no use.
    ArrayError
        See :class:`OutputsLoss`.
    """
    if not isinstance(objective, str) or objective not in OBJECTIVES:
        raise SpecError(f"no objective is called {objective!r}; allowed: {', '.join(OBJECTIVES)}")
    if objective == "euclidean":
        if statistics is not None:
            raise SpecError("statistics go with objective='outputs' or 'logits'; the Euclidean distance needs none")
        return EuclideanLoss(target)
    if not isinstance(statistics, OutputStatistics):
        got = "none" if statistics is None else f"a {type(statistics).__name__}"
        raise SpecError(f"objective={objective!r} needs statistics=OutputStatistics (see layer_statistics), got {got}")
    if objective == "logits" and statistics.metric is None:
        raise SpecError("objective='logits' needs statistics with a metric (see output_metric)")
    return OutputsLoss(target, statistics if objective == "logits" else replace(statistics, metric=None))


def network_objective(network: Network, loss: WeightLoss) -> NetworkObjective:
    """Return the loss of the generated weight as a function of the cores."""

    def objective(step: int, params: Params) -> tuple[Any, Params]:
        weight, pullback = network.vjp(params)
        value, cotangent = loss(weight)
        return value, pullback(cotangent)

    return objective


def euclidean_objective(network: Network, target: Array) -> NetworkObjective:
    """Return ``params -> (sum |W - T|^2 / sum |T|^2, gradients)``."""
    return network_objective(network, EuclideanLoss(target))


def outputs_objective(network: Network, target: Array, statistics: OutputStatistics) -> NetworkObjective:
    """Return ``params -> (mean squared difference of outputs over the dense outputs' variance, gradients)``."""
    return network_objective(network, OutputsLoss(target, statistics))


def output_error(weight: Array, target: Array, statistics: OutputStatistics) -> float:
    """Return the mean squared difference of the outputs, best bias included, over the variance of the dense outputs.

    A metric of the statistics does not enter: all outputs count alike.
    """
    return number(OutputsLoss(target, replace(statistics, metric=None))(weight)[0])


def relative_error(weight: Array, target: Array) -> float:
    """Return ||W - T||_F / ||T||_F."""
    xp = namespace(target)
    return number(xp.linalg.norm((weight - target).reshape(-1)) / xp.linalg.norm(target.reshape(-1)))


def _matrix(weight: Array) -> Array:
    """Read a weight as (outputs, inputs) in float64."""
    matrix = weight.reshape(weight.shape[0], -1)
    return matrix if dtype_name(matrix) == "float64" else matrix.astype("float64")

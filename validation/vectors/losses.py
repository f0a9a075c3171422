r"""The losses in decimals: value, and gradient of ``<cotangent, value>`` with respect to the first input.

``cross_entropy``, ``logsumexp`` and ``log_softmax`` are those of the second stage; ``euclidean`` and ``outputs`` are
the two objectives of the first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .cases import Numbers
from .decimals import ZERO, Array, each, exact

Inputs = Mapping[str, Array]
Result = tuple[Array, Callable[[Array], Array]]
"""The value, and the function from its cotangent to the gradient of the first input."""


def logsumexp(inputs: Inputs, axis: int = -1, keepdims: bool = False) -> Result:
    """``log sum_i exp x_i`` along an axis; gradient ``g softmax(x)``."""
    x = inputs["x"]
    top = x.max(axis=axis, keepdims=True)  # so that a single entry is its own value, exactly
    value = each(lambda z: z.ln(), each(lambda z: z.exp(), x - top).sum(axis=axis, keepdims=True)) + top
    softmax = each(lambda z: z.exp(), x - value)

    def pull(g: Array) -> Array:
        return np.asarray((g if keepdims else np.expand_dims(g, axis)) * softmax)

    return (value if keepdims else np.squeeze(value, axis)), pull


def log_softmax(inputs: Inputs, axis: int = -1) -> Result:
    """``x_i - log sum_j exp x_j``; gradient ``g - softmax(x) sum_i g_i``."""
    total, pull = logsumexp(inputs, axis, keepdims=True)
    return inputs["x"] - total, lambda g: g - pull(g.sum(axis=axis, keepdims=True))


def cross_entropy(inputs: Inputs) -> Result:
    """Mean over the batch of ``-log softmax(logits)[label]``; gradient ``(softmax - onehot) / batch``."""
    logits, labels = inputs["logits"], inputs["labels"].astype(np.int64)
    rows = np.arange(len(labels))
    logs, pull = log_softmax({"x": logits}, axis=1)
    chosen = np.full(logits.shape, ZERO, object)
    chosen[rows, labels] = exact(-1.0)[()] / len(labels)
    return np.asarray((logs * chosen).sum(), object), lambda g: pull(g * chosen)


def euclidean(inputs: Inputs) -> Result:
    """``sum (W - T)^2 / sum T^2``; gradient ``2 (W - T) / sum T^2``."""
    difference, scale = inputs["weight"] - inputs["target"], (inputs["target"] ** 2).sum()
    return np.asarray((difference**2).sum() / scale, object), lambda g: g * 2 * difference / scale


def outputs(inputs: Inputs) -> Result:
    """``(tr W Cxx W^T - 2 tr W Cx0 T^T + tr T C00 T^T) / tr T C00 T^T``; gradient ``2 (W Cxx - T Cx0^T) / tr ...``."""
    w, t = inputs["weight"], inputs["target"]
    whole = (t @ inputs["c00"] * t).sum()
    cross = t @ inputs["cx0"].T
    value = ((w @ inputs["cxx"] * w).sum() - 2 * (w * cross).sum() + whole) / whole
    return np.asarray(value, object), lambda g: g * 2 * (w @ inputs["cxx"] - cross) / whole


LOSSES: dict[str, Callable[..., Result]] = {
    "cross_entropy": cross_entropy,
    "logsumexp": logsumexp,
    "log_softmax": log_softmax,
    "euclidean": euclidean,
    "outputs": outputs,
}


@dataclass(frozen=True, eq=False)
class LossCase:
    """A loss with inputs, the first of which is differentiated; ``arguments`` are further ones, such as the axis."""

    name: str
    loss: str
    inputs: dict[str, Array]
    note: str
    arguments: dict[str, Any] = field(default_factory=dict)
    cotangent: Array | None = None


SEED = 1


def loss_cases() -> list[LossCase]:
    """Return the losses with their inputs, in the order of the file."""
    draw = Numbers(SEED).draw
    labels = np.array([0, 3, 1, 1, 2])
    logits = draw((5, 4))
    return [
        LossCase("loss/cross-entropy", "cross_entropy", {"logits": logits, "labels": labels}, "five of four classes"),
        LossCase(
            "loss/cross-entropy-large",
            "cross_entropy",
            {"logits": 256 * draw((5, 4)) + 1024, "labels": labels},
            "exp(logit) would overflow",
        ),
        LossCase(
            "loss/cross-entropy-equal",
            "cross_entropy",
            {"logits": np.zeros((2, 3)), "labels": np.array([2, 0])},
            "equal logits: ln 3",
        ),
        LossCase(
            "loss/cross-entropy-one-class",
            "cross_entropy",
            {"logits": draw((3, 1)), "labels": np.zeros(3, np.int64)},
            "one class: the loss and its gradient are 0",
        ),
        LossCase("loss/logsumexp", "logsumexp", {"x": draw((3, 4))}, "along the last axis", {"axis": -1}, draw((3,))),
        LossCase("loss/logsumexp-0", "logsumexp", {"x": draw((3, 2, 2))}, "first axis", {"axis": 0}, draw((2, 2))),
        LossCase("loss/log-softmax", "log_softmax", {"x": draw((3, 4))}, "last axis", {"axis": -1}, draw((3, 4))),
        LossCase("loss/euclidean", "euclidean", {"weight": draw((4, 3)), "target": draw((4, 3))}, "stage 1"),
        LossCase("loss/outputs", "outputs", _statistics(draw), "stage 1 by the layer's outputs"),
    ]


def _statistics(draw: Callable[[tuple[int, ...]], Array]) -> dict[str, Array]:
    """Return a weight, a target, and covariances of inputs x of the compressed and x0 of the dense model."""
    x, x0 = np.rint(8 * draw((3, 6))) / 8, np.rint(8 * draw((3, 6))) / 8  # short numbers: the products are exact
    pairs = {"cxx": x @ x.T / 8, "cx0": x @ x0.T / 8, "c00": x0 @ x0.T / 8}
    return {"weight": draw((4, 3)), "target": draw((4, 3)), **pairs}

"""What the logits feel of a layer's outputs: the metric by which objective ``"logits"`` weighs differences of outputs.

With J the derivative of the model's logits with respect to the outputs z of a layer, a small difference d of outputs
moves the logits by J d, and on the average over images and positions ``E |J d|^2 = d^T G d`` for a d that is the same
everywhere, ``G = E J^T J``. That J and the layer's inputs are taken for independent is the approximation of K-FAC
(Martens and Grosse, arXiv 1503.05671); its use as a first stage here is ours. No label is read.
"""

from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array, backend_of, namespace, number
from adntn_ref.ad.moving import move
from adntn_ref.ad.transforms import vjp
from adntn_ref.compression.statistics import check_layer
from adntn_ref.errors import ArrayError, NothingSelected
from adntn_ref.nn.data import Part
from adntn_ref.nn.layers import Layer, own
from adntn_ref.nn.models import Params, Sequential
from adntn_ref.program.memory import require_memory

IMAGES = 1_000
"""How many images the mean is taken over, the first of the part: it needs a backward pass a logit for each."""

BATCH = 250


def output_metric(model: Sequential, params: Params, layer_name: str, part: Part) -> Array:
    """Return ``G = E J^T J`` of a layer, float64 of shape (outputs, outputs), scaled to a mean diagonal of 1.

    A number added to all logits changes no softmax, so J is that of the logits less their mean.

    Parameters
    ----------
    model, params : the dense model
    layer_name : a Linear or a Conv2d of one group
    part : images, of which the first 1,000 are taken; labels are not read

    Raises
    ------
    NothingSelected, SpecError
        For a layer the model does not have, or one without a matrix.
    ArrayError
        If no logit depends on the layer.

    Examples
    --------
    The logits themselves: all that matters is how they differ.

    >>> from adntn_ref.nn.layers import Flatten, Linear
    >>> model = Sequential((1, 2, 2), (("flatten", Flatten()), ("fc", Linear(4, 2))))
    >>> part = Part(np.ones((3, 1, 2, 2)), np.zeros(3, int))
    >>> output_metric(model, model.init(0, "float64"), "fc", part).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    names = [name for name, _ in model.layers]
    if layer_name not in names:
        raise NothingSelected(f"the model has no layer {layer_name!r}; it has {', '.join(names)}")
    check_layer(layer_name, dict(model.layers)[layer_name])
    model.check_params(params)
    here = names.index(layer_name) + 1
    outputs = model.param_shapes[f"{layer_name}.weight"][0]
    require_memory(2 * 8 * outputs * outputs, f"the metric of the {outputs} outputs of {layer_name}")
    backend = backend_of(next(iter(params.values())))
    first = Part(part.images[:IMAGES], part.labels[:IMAGES]).on(backend.name)
    total: Any = 0.0
    for images, _ in first.batches(BATCH):
        z = _run(model.layers[:here], params, images)
        logits, pullback = vjp(lambda value: _run(model.layers[here:], params, value), z)
        for cotangent in _centred(logits.shape[1]):
            row = move(np.tile(cotangent.astype(np.dtype(z.dtype.name)), (z.shape[0], 1)), backend)
            total = total + _squares(pullback(row)[0], outputs)
    trace = number(namespace(total).trace(total))
    if not 0 < trace < np.inf:
        raise ArrayError(f"no logit depends on the outputs of {layer_name}, so that nothing tells how to weigh them")
    return total * (outputs / trace)


def _run(layers: tuple[tuple[str, Layer], ...], params: Params, x: Array) -> Array:
    for name, layer in layers:
        x = layer(own(params, name, layer), x)
    return x


def _centred(classes: int) -> Array:
    """Return the rows e_k - 1/classes: what takes the mean from logits. A single logit stays as it is."""
    return np.eye(classes) - (1.0 / classes if classes > 1 else 0.0)


def _squares(gradient: Array, outputs: int) -> Array:
    """Return the sum of g g^T over images and positions, for gradients of shape (images, outputs, ...)."""
    xp = namespace(gradient)
    rows = xp.moveaxis(gradient.reshape(gradient.shape[0], outputs, -1), 1, 2).reshape(-1, outputs)
    wide = rows.astype("float64")
    return wide.T @ wide

"""Covariances of a layer's inputs: all that matching a layer's outputs needs to know of the data. No label is read.

With x the inputs that the layer has in the compressed model and x0 those it has in the dense one, on the same images,

    E |W x + b - T x0 - b0|^2  =  tr(W Cxx W^T) - 2 tr(W Cx0 T^T) + tr(T C00 T^T)   at the best b = b0 + T m0 - W m,

where m, m0 are the means and Cxx = E (x - m)(x - m)^T, Cx0 = E (x - m)(x0 - m0)^T, C00 = E (x0 - m0)(x0 - m0)^T. (The
formula is that of a linear regression; its use as a first stage here is ours.)
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from adntn_ref.ad.arrays import Array, backend_of, dtype_name, is_array, namespace, number, require_finite
from adntn_ref.ad.moving import to_backend
from adntn_ref.errors import ArrayError, DTypeError, NothingSelected, SpecError
from adntn_ref.nn.data import Part
from adntn_ref.nn.layers import Conv2d, Layer, Linear, buffer_shapes_of, own
from adntn_ref.nn.models import Params, Sequential
from adntn_ref.program.memory import require_memory

BATCH = 250
"""Images a batch: a convolution unrolls each into as many rows as it has output pixels."""


@dataclass(frozen=True, eq=False)
class OutputStatistics:
    """Second moments of a layer's inputs x in the compressed model and x0 in the dense model, all float64.

    Parameters
    ----------
    cxx : (n, n), E (x - mean_x)(x - mean_x)^T
    cx0 : (n, n), E (x - mean_x)(x0 - mean_x0)^T
    mean_x, mean_x0 : (n,), zero for a layer without a bias, which nothing frees from the means
    c00 : (n, n), E (x0 - mean_x0)(x0 - mean_x0)^T; it is in the constant term alone
    metric : (outputs, outputs), how differences of outputs are weighed by objective ``"logits"``, see
        :func:`~adntn_ref.compression.sensitivity.output_metric`; None for all alike

    Raises
    ------
    ArrayError, DTypeError, NonFiniteError
        For another shape or dtype, NaN, or a cxx, c00 or metric that is not symmetric.
    """

    cxx: Array
    cx0: Array
    mean_x: Array
    mean_x0: Array
    c00: Array
    metric: Array | None = None

    def __post_init__(self) -> None:
        if not is_array(self.mean_x) or self.mean_x.ndim != 1:
            raise ArrayError("mean_x of the statistics must be an array of shape (n,)")
        n = int(self.mean_x.shape[0])
        for name in ("cxx", "cx0", "mean_x", "mean_x0", "c00"):
            value, shape = getattr(self, name), (n, n) if name.startswith("c") else (n,)
            _require_array(name, value)
            if tuple(value.shape) != shape:
                raise ArrayError(f"{name} of the statistics has shape {tuple(value.shape)}, mean_x asks for {shape}")
        for name in ("cxx", "c00"):
            _require_symmetric(name, getattr(self, name))
        if self.metric is not None:
            _require_array("metric", self.metric)
            if self.metric.ndim != 2 or self.metric.shape[0] != self.metric.shape[1]:
                got = tuple(self.metric.shape)
                raise ArrayError(f"metric of the statistics must have shape (outputs, outputs), got {got}")
            _require_symmetric("metric", self.metric)

    @property
    def inputs(self) -> int:
        """n, the number of inputs of one output."""
        return int(self.mean_x.shape[0])

    def on(self, backend: str) -> "OutputStatistics":
        """Return the statistics on another backend; themselves where they are there."""
        kept = {key.name: getattr(self, key.name) for key in fields(self)}
        moved = to_backend({name: value for name, value in kept.items() if value is not None}, backend)
        return self if moved["cxx"] is self.cxx else OutputStatistics(**moved)

    def arrays(self) -> list[Array]:
        """Return the arrays, for fingerprints: five, and the metric where there is one."""
        five = [self.cxx, self.cx0, self.mean_x, self.mean_x0, self.c00]
        return five if self.metric is None else [*five, self.metric]


def _require_array(name: str, value: Array) -> None:
    if not is_array(value):
        raise ArrayError(f"{name} of the statistics must be an array, got a {type(value).__name__}")
    if dtype_name(value) != "float64":
        raise DTypeError(f"{name} of the statistics has dtype {dtype_name(value)}; allowed: float64")
    require_finite(value, f"{name} of the statistics")


def _require_symmetric(name: str, value: Array) -> None:
    if not number(abs(value - value.T).max() <= 1e-9 * abs(value).max()):
        raise ArrayError(f"{name} of the statistics is a covariance and must be symmetric")


def layer_statistics(
    model: Sequential, dense_params: Params, compressed_params: Params, layer_name: str, part: Part
) -> OutputStatistics:
    """Run the dense and the compressed model up to a layer and return the covariances of its inputs.

    The inputs of a Linear are vectors; those of a Conv2d the patches (im2col) on which its weight acts as a matrix
    (outputs, C kh kw). Sums run over the batches in float64, centred batch by batch (Chan, Golub, LeVeque 1983).

    Parameters
    ----------
    model : the dense model
    dense_params, compressed_params : its parameters, and those with the earlier layers compressed (weights expanded)
    layer_name : a Linear or a Conv2d of one group
    part : images; labels are not read

    Raises
    ------
    NothingSelected
        For a layer the model does not have.
    SpecError
        For a layer without a matrix: no weight, or several groups.
    MemoryLimitError
        If the covariances would not fit.
    """
    names = [name for name, _ in model.layers]
    if layer_name not in names:
        raise NothingSelected(f"the model has no layer {layer_name!r}; it has {', '.join(names)}")
    layer = check_layer(layer_name, dict(model.layers)[layer_name])
    for params in (dense_params, compressed_params):
        model.check_params(params)
    inputs = int(np.prod(layer.param_shapes["weight"][1:]))
    require_memory(5 * 8 * inputs * inputs, f"the covariances of the {inputs} inputs of {layer_name}")
    sums = _Moments(inputs, centred=layer.bias)
    before = model.layers[: names.index(layer_name)]
    same = all(
        number((dense_params[f"{name}.{key}"] == compressed_params[f"{name}.{key}"]).all())
        for name, one in before
        for key in (*one.param_shapes, *buffer_shapes_of(one))
    )
    where = backend_of(next(iter(dense_params.values())))
    for images, _ in part.on(where.name).batches(BATCH):
        x0 = layer_inputs(model, dense_params, layer_name, images)
        sums.add(x0 if same else layer_inputs(model, compressed_params, layer_name, images), x0)
    return sums.statistics()


def check_layer(name: str, layer: Layer) -> Linear | Conv2d:
    """Return a layer whose weight acts as one matrix, or raise SpecError."""
    if not isinstance(layer, Linear | Conv2d):
        raise SpecError(f"{name} is a {type(layer).__name__}: only Linear and Conv2d have outputs to match")
    if isinstance(layer, Conv2d) and layer.groups != 1:
        raise SpecError(f"{name} has {layer.groups} groups; outputs are matched for one group only")
    return layer


def layer_inputs(model: Sequential, params: Params, layer_name: str, images: Array) -> Array:
    """Return what a layer's matrix is applied to, one row an output position: shape (rows, inputs)."""
    x = images
    for name, layer in model.layers:
        if name == layer_name:
            return patches(x, layer) if isinstance(layer, Conv2d) else x
        x = layer(own(params, name, layer), x)
    raise NothingSelected(f"the model has no layer {layer_name!r}")


def patches(x: Array, layer: Conv2d) -> Array:
    """Unroll images (N, C, H, W) into the rows that the filters, as a matrix (O, C kh kw), are applied to.

    Returns
    -------
    array, shape (N Ho Wo, C kh kw)
    """
    xp = namespace(x)
    (n, channels, height, width), (_, rows, columns) = x.shape, layer.out_shape(tuple(x.shape[1:]))
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = (
        _pair(v) for v in (layer.kernel, layer.stride, layer.padding, layer.dilation)
    )
    padded = xp.zeros((n, channels, height + 2 * ph, width + 2 * pw), dtype=x.dtype)
    padded[:, :, ph : ph + height, pw : pw + width] = x
    found = xp.empty((n, rows, columns, channels, kh, kw), dtype=x.dtype)
    for i in range(kh):
        for j in range(kw):
            window = padded[:, :, i * dh : i * dh + sh * (rows - 1) + 1 : sh]
            window = window[:, :, :, j * dw : j * dw + sw * (columns - 1) + 1 : sw]
            found[..., i, j] = window.transpose(0, 2, 3, 1)
    return found.reshape(n * rows * columns, channels * kh * kw)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


class _Moments:
    """Sums of centred products over batches, float64."""

    def __init__(self, inputs: int, centred: bool) -> None:
        self.centred, self.count, self.inputs = centred, 0, inputs
        self.means: Array = None
        self.sums: dict[str, Array] = {}

    def add(self, x: Array, x0: Array) -> None:
        """Merge a batch: M <- M + M_batch + (n n_batch / (n + n_batch)) d d^T, with d the difference of the means."""
        same, xp = x is x0, namespace(x)
        if not self.sums:
            self.means = xp.zeros((2, self.inputs))
            self.sums = {name: xp.zeros((self.inputs, self.inputs)) for name in ("xx", "x0", "00")}
        x0 = x0.astype("float64")
        x = x0 if same else x.astype("float64")
        rows = x.shape[0]
        share = self.count * rows / (self.count + rows)
        gap = xp.zeros_like(self.means)
        if self.centred:
            means = xp.stack([x.mean(axis=0), x0.mean(axis=0)])
            x0 = x0 - means[1]
            x = x0 if same else x - means[0]
            gap = means - self.means
            self.means = self.means + gap * (rows / (self.count + rows))
        self.count += rows
        squares = x.T @ x
        for name, product, (a, b) in _products(squares, x, x0, same):
            self.sums[name] += product + share * xp.outer(gap[a], gap[b])

    def statistics(self) -> OutputStatistics:
        """Divide by the number of rows."""
        cxx, cx0, c00 = (self.sums[name] / self.count for name in ("xx", "x0", "00"))
        return OutputStatistics(cxx, cx0, self.means[0], self.means[1], c00)


def _products(squares: Array, x: Array, x0: Array, same: bool) -> Iterator[tuple[str, Array, tuple[int, int]]]:
    yield "xx", squares, (0, 0)
    yield "x0", squares if same else x.T @ x0, (0, 1)
    yield "00", squares if same else x0.T @ x0, (1, 1)

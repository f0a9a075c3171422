"""Layers: what they compute, which parameters they need, and how these start.

Images are (batch, channels, height, width), weights (outputs, inputs, ...), as in PyTorch. A layer is a frozen
description; ``layer(params, x)`` takes its parameters by their short names and runs on arrays and on tape variables.

That call is evaluation. A layer that does something else while a model is trained (:class:`Dropout`, and batch norm)
is a :class:`TrainingLayer`: it also has ``in_training(params, x, rng)``, which draws from ``rng`` and returns the new
values of its *buffers*, numbers that go with the model and are not trained by gradients, such as running means.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np

from adntn_ref.ad import nn_ops, ops
from adntn_ref.ad.activations import get_activation
from adntn_ref.ad.arrays import Array, backend_of, dtype_name
from adntn_ref.ad.convolution import output_size
from adntn_ref.ad.tape import stop_gradient
from adntn_ref.errors import ArrayError, SpecError

Pair = tuple[int, int]
Shape = tuple[int, ...]
Arrays = dict[str, Array]


class Layer(Protocol):
    """What a model needs of a layer."""

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """Parameter name -> shape; empty for layers without parameters."""
        ...

    def out_shape(self, shape: Shape) -> Shape:
        """Return the shape of one output (without the batch) for one input, or raise ArrayError."""
        ...

    def __call__(self, params: dict[str, Array], x: Array) -> Array:
        """Apply the layer to a batch."""
        ...


class TrainingLayer(Layer, Protocol):
    """A layer that behaves otherwise in training."""

    @property
    def buffer_shapes(self) -> dict[str, Shape]:
        """Buffer name -> shape; buffers are passed with the parameters."""
        ...

    def in_training(self, params: Arrays, x: Array, rng: np.random.Generator) -> tuple[Array, Arrays]:
        """Apply the layer to a batch; return the output and the new values of the buffers, raw."""
        ...


def buffer_shapes_of(layer: Layer) -> dict[str, Shape]:
    """Return the shape of every buffer of a layer by its short name; most layers have none."""
    return dict(getattr(layer, "buffer_shapes", {}))


def own(params: Arrays, name: str, layer: Layer) -> Arrays:
    """Return the parameters and buffers of the layer called ``name`` under their short names."""
    return {key: params[f"{name}.{key}"] for key in (*layer.param_shapes, *buffer_shapes_of(layer))}


def run_in_training(layer: Layer, params: Arrays, x: Array, rng: np.random.Generator) -> tuple[Array, Arrays]:
    """Apply a layer as in training; return the output and its buffers' new values."""
    method = getattr(layer, "in_training", None)
    return (layer(params, x), {}) if method is None else method(params, x, rng)


def start_of(layer: Layer, rng: np.random.Generator) -> Arrays:
    """Draw a layer's parameters, float64: by its own ``start`` or, without one, He weights and zeros for the rest."""
    method = getattr(layer, "start", None)
    if method is not None:
        return dict(method(rng))
    return {
        key: he_normal(shape, rng) if key.endswith("weight") else np.zeros(shape)
        for key, shape in layer.param_shapes.items()
    }


def he_normal(shape: Shape, rng: np.random.Generator) -> Array:
    """Draw a weight with standard deviation sqrt(2 / fan_in), float64."""
    return rng.standard_normal(shape) * np.sqrt(2.0 / prod(shape[1:]))


def pair(value: int | Pair, what: str, least: int) -> Pair:
    """Return ``value`` as (rows, columns), or raise SpecError."""
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2 or not all(_is_whole(n, least) for n in both):
        raise SpecError(f"{what} must be an integer >= {least} or a pair of them, got {value!r}")
    return (both[0], both[1])


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def require_sizes(layer: object, *names: str) -> None:
    """Refuse a layer whose sizes are not integers >= 1, naming the size."""
    for name in names:
        if not _is_whole(getattr(layer, name), 1):
            raise SpecError(f"{name} of {type(layer).__name__} must be an integer >= 1, got {getattr(layer, name)!r}")


@dataclass(frozen=True)
class Linear:
    """``y = x W^T + b`` with W of shape (outputs, inputs)."""

    inputs: int
    outputs: int
    bias: bool = True

    def __post_init__(self) -> None:
        require_sizes(self, "inputs", "outputs")

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """``weight`` (outputs, inputs) and, if there is one, ``bias`` (outputs,)."""
        shapes: dict[str, Shape] = {"weight": (self.outputs, self.inputs)}
        return {**shapes, "bias": (self.outputs,)} if self.bias else shapes

    def out_shape(self, shape: Shape) -> Shape:
        """Return (outputs,) for an input of (inputs,)."""
        if shape != (self.inputs,):
            raise ArrayError(f"Linear({self.inputs}, {self.outputs}) takes vectors of {self.inputs}, got shape {shape}")
        return (self.outputs,)

    def __call__(self, params: dict[str, Array], x: Array) -> Array:
        """Apply to x (batch, inputs)."""
        y = ops.matmul(x, ops.transpose(params["weight"]))
        return y + params["bias"] if self.bias else y


@dataclass(frozen=True)
class Conv2d:
    """Cross-correlation with ``out_channels`` filters; weight (out_channels, in_channels / groups, kh, kw)."""

    in_channels: int
    out_channels: int
    kernel: int | Pair
    stride: int | Pair = 1
    padding: int | Pair = 0
    dilation: int | Pair = 1
    groups: int = 1
    bias: bool = True

    def __post_init__(self) -> None:
        for name, least in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            object.__setattr__(self, name, pair(getattr(self, name), name, least))
        require_sizes(self, "in_channels", "out_channels", "groups")
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise SpecError(f"{self.groups} groups do not divide {self.in_channels} and {self.out_channels} channels")

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """``weight`` (out, in / groups, kh, kw) and, if there is one, ``bias`` (out,)."""
        kernel: Any = self.kernel
        shapes: dict[str, Shape] = {"weight": (self.out_channels, self.in_channels // self.groups, *kernel)}
        return {**shapes, "bias": (self.out_channels,)} if self.bias else shapes

    def out_shape(self, shape: Shape) -> Shape:
        """Return (out_channels, Ho, Wo) for an input of (in_channels, H, W)."""
        if len(shape) != 3 or shape[0] != self.in_channels:
            raise ArrayError(f"Conv2d takes images of {self.in_channels} channels, got shape {shape}")
        k: Any = self.kernel
        s: Any = self.stride
        p: Any = self.padding
        d: Any = self.dilation
        return (self.out_channels, *(output_size(shape[i + 1], k[i], s[i], p[i], d[i]) for i in (0, 1)))

    def __call__(self, params: dict[str, Array], x: Array) -> Array:
        """Apply to x (batch, in_channels, H, W)."""
        y = nn_ops.conv2d(
            x, params["weight"], stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups
        )
        return y + ops.reshape(params["bias"], shape=(1, self.out_channels, 1, 1)) if self.bias else y


@dataclass(frozen=True)
class _Pool:
    kernel: int | Pair
    stride: int | Pair | None = None
    padding: int | Pair = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", pair(self.kernel, "kernel", 1))
        object.__setattr__(self, "stride", self.kernel if self.stride is None else pair(self.stride, "stride", 1))
        object.__setattr__(self, "padding", pair(self.padding, "padding", 0))

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """No parameters."""
        return {}

    def out_shape(self, shape: Shape) -> Shape:
        """Return (channels, Ho, Wo) for an input of (channels, H, W)."""
        if len(shape) != 3:
            raise ArrayError(f"pooling takes images (channels, height, width), got shape {shape}")
        k: Any = self.kernel
        s: Any = self.stride
        p: Any = self.padding
        return (shape[0], *(output_size(shape[i + 1], k[i], s[i], p[i]) for i in (0, 1)))


class MaxPool(_Pool):
    """Maximum over windows; the stride is the kernel by default."""

    def __call__(self, params: dict[str, Array], x: Array) -> Array:
        """Apply to x (batch, channels, H, W)."""
        return nn_ops.max_pool2d(x, kernel=self.kernel, stride=self.stride, padding=self.padding)


class AvgPool(_Pool):
    """Mean over windows; padding counts as zeros, the stride is the kernel by default."""

    def __call__(self, params: dict[str, Array], x: Array) -> Array:
        """Apply to x (batch, channels, H, W)."""
        return nn_ops.avg_pool2d(x, kernel=self.kernel, stride=self.stride, padding=self.padding)


@dataclass(frozen=True)
class Flatten:
    """All axes but the batch as one, in C order."""

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """No parameters."""
        return {}

    def out_shape(self, shape: Shape) -> Shape:
        """Return (entries,)."""
        return (prod(shape),)

    def __call__(self, params: dict[str, Array], x: Array) -> Array:
        """Apply to x (batch, ...)."""
        return ops.reshape(x, shape=(x.shape[0], prod(x.shape[1:])))


@dataclass(frozen=True)
class Activation:
    """An activation by name, elementwise."""

    name: str

    def __post_init__(self) -> None:
        get_activation(self.name)

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """No parameters."""
        return {}

    def out_shape(self, shape: Shape) -> Shape:
        """Return the shape unchanged."""
        return shape

    def __call__(self, params: dict[str, Array], x: Array) -> Array:
        """Apply elementwise."""
        return get_activation(self.name).sigma(x)


@dataclass(frozen=True)
class Dropout:
    """In training each number becomes 0 with probability ``p``, the others times 1 / (1 - p); else nothing happens.

    Raises
    ------
    SpecError
        For a ``p`` that is not in [0, 1).
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.p, bool) or not isinstance(self.p, int | float) or not 0 <= self.p < 1:
            raise SpecError(f"p of Dropout must be a number in [0, 1), got {self.p!r}")

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """No parameters."""
        return {}

    def out_shape(self, shape: Shape) -> Shape:
        """Return the shape unchanged."""
        return shape

    def __call__(self, params: Arrays, x: Array) -> Array:
        """Return x."""
        return x

    def in_training(self, params: Arrays, x: Array, rng: np.random.Generator) -> tuple[Array, Arrays]:
        """Drop; the numbers drawn depend on the shape of x alone, not on its dtype."""
        if self.p == 0:
            return x, {}
        raw = stop_gradient(x)
        kept = rng.random(tuple(raw.shape), dtype=np.float32) >= np.float32(self.p)
        factor = kept * np.dtype(dtype_name(raw)).type(1 / (1 - self.p))
        return x * backend_of(raw).asarray(factor), {}

"""Layers: what they compute, which parameters they need, and how these start.

Images are (batch, channels, height, width), weights (outputs, inputs, ...), as in PyTorch. A layer is a frozen
description; ``layer(params, x)`` takes its parameters by their short names and runs on arrays and on tape variables.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np

from adntn_ref.ad import nn_ops, ops
from adntn_ref.ad.activations import get_activation
from adntn_ref.ad.arrays import Array
from adntn_ref.ad.convolution import output_size
from adntn_ref.errors import ArrayError, SpecError

Pair = tuple[int, int]
Shape = tuple[int, ...]


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


def _require_sizes(layer: object, *names: str) -> None:
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
        _require_sizes(self, "inputs", "outputs")

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
        _require_sizes(self, "in_channels", "out_channels", "groups")
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

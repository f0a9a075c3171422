"""Layers as nodes of an ONNX graph: one function a layer, in the table :data:`NODES`.

Operators are those of opset 17, and mean what the layers mean: windows of average pooling count padding as zeros,
normalisation divides by the biased variance, gelu is the exact one (with Erf, since a Gelu operator came later).
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod, sqrt
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array
from adntn_ref.errors import SpecError
from adntn_ref.nn.attention import EncoderLayer, MeanToken, PositionEmbedding, Tokens
from adntn_ref.nn.layers import Activation, AvgPool, Conv2d, Dropout, Flatten, Linear, MaxPool
from adntn_ref.nn.models import Sequential
from adntn_ref.nn.normalisation import BatchNorm, LayerNorm, LocalResponseNorm

OPSET = 17
INPUT, OUTPUT = "input", "output"
Shape = tuple[int, ...]


class Graph:
    """Nodes and initializers in the order they are made; a value is known by its name.

    Parameters
    ----------
    params : the model's parameters and buffers, on the host; those that are used become initializers of their names
    dtype : of the parameters
    """

    def __init__(self, params: Mapping[str, Array], dtype: str) -> None:
        self.params, self.dtype = params, dtype
        self.nodes: list[tuple[str, list[str], str, dict[str, Any]]] = []
        self.initializers: dict[str, Array] = {}
        self.where = ""

    def node(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node of one output, and return the output's name."""
        output = f"{self.where}/{operator}_{len(self.nodes)}"
        self.nodes.append((operator, list(inputs), output, attributes))
        return output

    def parameter(self, name: str) -> str:
        """Make a parameter of the present layer an initializer, and return its name."""
        full = f"{self.where}.{name}"
        self.initializers[full] = self.params[full]
        return full

    def number(self, value: float) -> str:
        """Add a number in the model's dtype."""
        return self._constant(np.array(value, dtype=self.dtype))

    def integers(self, values: int | Sequence[int]) -> str:
        """Add integers, for shapes and indices."""
        return self._constant(np.array(values, dtype=np.int64))

    def _constant(self, value: Array) -> str:
        name = f"{self.where}/constant_{len(self.initializers)}"
        self.initializers[name] = value
        return name

    def linear(self, x: str, name: str, bias: str) -> str:
        """Return x W^T + b for tokens (batch, tokens, width)."""
        turned = self.node("Transpose", [self.parameter(name)], perm=[1, 0])
        return self.node("Add", [self.node("MatMul", [x, turned]), self.parameter(bias)])


def build(model: Sequential, params: Mapping[str, Array], dtype: str) -> Graph:
    """Return the graph of a dense model in evaluation.

    Raises
    ------
    SpecError
        For a layer that has no such nodes, naming it and what can be exported.
    """
    graph, x, shape = Graph(params, dtype), INPUT, model.in_shape
    for name, layer in model.layers:
        kind: Any = type(layer)
        if kind not in NODES:
            known = ", ".join(sorted(known.__name__ for known in NODES))
            raise SpecError(f"layer {name}, a {kind.__name__}, cannot be exported to ONNX; allowed: {known}")
        graph.where = name
        x = NODES[kind](graph, layer, x, shape)
        shape = layer.out_shape(shape)
    graph.nodes.append(("Identity", [x], OUTPUT, {}))
    return graph


def _linear(graph: Graph, layer: Any, x: str, shape: Shape) -> str:
    inputs = [x, graph.parameter("weight"), *([graph.parameter("bias")] if layer.bias else [])]
    return graph.node("Gemm", inputs, transB=1)


def _conv(graph: Graph, layer: Any, x: str, shape: Shape) -> str:
    inputs = [x, graph.parameter("weight"), *([graph.parameter("bias")] if layer.bias else [])]
    window = _window(layer)
    return graph.node("Conv", inputs, dilations=list(layer.dilation), group=layer.groups, **window)


def _window(layer: Any) -> dict[str, list[int]]:
    return {"kernel_shape": list(layer.kernel), "strides": list(layer.stride), "pads": [*layer.padding] * 2}


def _pool(operator: str, **attributes: int) -> Callable[..., str]:
    def nodes(graph: Graph, layer: Any, x: str, shape: Shape) -> str:
        if any(p >= k for p, k in zip(layer.padding, layer.kernel, strict=True)):
            raise SpecError(
                f"layer {graph.where}: ONNX pools with paddings below the window alone, got padding {layer.padding} and"
                f" a window of {layer.kernel}"
            )
        return graph.node(operator, [x], **_window(layer), **attributes)

    return nodes


def _flatten(graph: Graph, layer: Any, x: str, shape: Shape) -> str:
    return graph.node("Flatten", [x], axis=1)


def _unchanged(graph: Graph, layer: Any, x: str, shape: Shape) -> str:
    return x


def _activation(graph: Graph, layer: Any, x: str, shape: Shape) -> str:
    return activate(graph, layer.name, x)


def activate(graph: Graph, name: str, x: str) -> str:
    """Add an activation, elementwise."""
    simple: dict[str, tuple[str, dict[str, Any]]] = {
        "relu": ("Relu", {}),
        "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
        "tanh": ("Tanh", {}),
        "sigmoid": ("Sigmoid", {}),
        "sin": ("Sin", {}),
    }
    if name in simple:
        operator, attributes = simple[name]
        return graph.node(operator, [x], **attributes)
    if name == "silu":
        return graph.node("Mul", [x, graph.node("Sigmoid", [x])])
    if name == "gelu":  # x (1 + erf(x / sqrt 2)) / 2
        erf = graph.node("Erf", [graph.node("Mul", [x, graph.number(sqrt(0.5))])])
        both = graph.node("Mul", [x, graph.node("Add", [erf, graph.number(1.0)])])
        return graph.node("Mul", [both, graph.number(0.5)])
    if name != "identity":
        raise SpecError(f"layer {graph.where}: the activation {name} cannot be exported to ONNX")
    return x


def _batch_norm(graph: Graph, layer: Any, x: str, shape: Shape) -> str:
    names = ("weight", "bias", "running_mean", "running_var")
    return graph.node("BatchNormalization", [x, *(graph.parameter(name) for name in names)], epsilon=layer.eps)


def _layer_norm(graph: Graph, layer: Any, x: str, shape: Shape) -> str:
    return layer_norm(graph, x, "weight", "bias", layer.eps)


def layer_norm(graph: Graph, x: str, weight: str, bias: str, eps: float) -> str:
    """Add a layer norm over the last axis."""
    inputs = [x, graph.parameter(weight), graph.parameter(bias)]
    return graph.node("LayerNormalization", inputs, axis=-1, epsilon=eps)


def _response(graph: Graph, layer: Any, x: str, shape: Shape) -> str:
    if layer.size % 2 == 0 or len(shape) != 3:
        raise SpecError(
            f"layer {graph.where}: ONNX has local response norm of images and over an odd number of channels, got size"
            f" {layer.size} and inputs of shape {shape}"
        )
    return graph.node("LRN", [x], size=layer.size, alpha=layer.alpha, beta=layer.beta, bias=layer.k)


def _tokens(graph: Graph, layer: Any, x: str, shape: Shape) -> str:
    flat = graph.node("Reshape", [x, graph.integers([0, shape[0], prod(shape[1:])])])
    return graph.node("Transpose", [flat], perm=[0, 2, 1])


def _position(graph: Graph, layer: Any, x: str, shape: Shape) -> str:
    return graph.node("Add", [x, graph.parameter("weight")])


def _mean_token(graph: Graph, layer: Any, x: str, shape: Shape) -> str:
    return graph.node("ReduceMean", [x], axes=[1], keepdims=0)


def _encoder(graph: Graph, layer: Any, x: str, shape: Shape) -> str:
    def norm(name: str, y: str) -> str:
        return layer_norm(graph, y, f"{name}.weight", f"{name}.bias", layer.eps)

    def forward(y: str) -> str:
        hidden = activate(graph, layer.activation, graph.linear(y, "linear1.weight", "linear1.bias"))
        return graph.linear(hidden, "linear2.weight", "linear2.bias")

    if layer.norm_first:
        z = graph.node("Add", [x, _attention(graph, layer, norm("norm1", x), shape)])
        return graph.node("Add", [z, forward(norm("norm2", z))])
    z = norm("norm1", graph.node("Add", [x, _attention(graph, layer, x, shape)]))
    return norm("norm2", graph.node("Add", [z, forward(z)]))


def _attention(graph: Graph, layer: Any, x: str, shape: Shape) -> str:
    """Every head at once: queries, keys and values of shape (batch, heads, tokens, d)."""
    tokens, width, d = shape[0], layer.width, layer.width // layer.heads
    projected = graph.linear(x, "self_attn.in_proj_weight", "self_attn.in_proj_bias")
    split = graph.node("Reshape", [projected, graph.integers([0, tokens, 3, layer.heads, d])])
    apart = graph.node("Transpose", [split], perm=[2, 0, 3, 1, 4])
    q, k, v = (graph.node("Gather", [apart, graph.integers(i)], axis=0) for i in range(3))
    scores = graph.node("MatMul", [q, graph.node("Transpose", [k], perm=[0, 1, 3, 2])])
    scaled = graph.node("Mul", [scores, graph.number(1 / sqrt(d))])
    mixed = graph.node("MatMul", [graph.node("Softmax", [scaled], axis=-1), v])
    turned = graph.node("Transpose", [mixed], perm=[0, 2, 1, 3])
    joined = graph.node("Reshape", [turned, graph.integers([0, tokens, width])])
    return graph.linear(joined, "self_attn.out_proj.weight", "self_attn.out_proj.bias")


NODES: dict[type[Any], Callable[[Graph, Any, str, Shape], str]] = {
    Linear: _linear,
    Conv2d: _conv,
    MaxPool: _pool("MaxPool"),
    AvgPool: _pool("AveragePool", count_include_pad=1),
    Flatten: _flatten,
    Activation: _activation,
    Dropout: _unchanged,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    LocalResponseNorm: _response,
    EncoderLayer: _encoder,
    Tokens: _tokens,
    PositionEmbedding: _position,
    MeanToken: _mean_token,
}
"""Layer -> function of a graph, the layer, and its input's name and shape (without the batch): the output's name."""

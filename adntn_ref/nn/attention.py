"""Attention: the encoder block of the transformer, and what turns images into its tokens and tokens into one vector.

The block is that of Vaswani et al. (arXiv 1706.03762) with PyTorch's names and order of operations; images become
tokens as in Dosovitskiy et al. (arXiv 2010.11929): each patch is one token.
"""

from dataclasses import dataclass
from math import prod, sqrt

import numpy as np

from adntn_ref.ad import losses, ops
from adntn_ref.ad.activations import get_activation
from adntn_ref.ad.arrays import Array
from adntn_ref.errors import ArrayError, SpecError
from adntn_ref.nn.layers import Arrays, Dropout, Shape, he_normal, require_sizes
from adntn_ref.nn.normalisation import LayerNorm


def linear(params: Arrays, name: str, x: Array) -> Array:
    """Return x W^T + b with the parameters ``{name}.weight`` and ``{name}.bias``."""
    return ops.matmul(x, ops.transpose(params[f"{name}.weight"])) + params[f"{name}.bias"]


@dataclass(frozen=True)
class EncoderLayer:
    r"""One encoder block on tokens (batch, tokens, width), as PyTorch's ``TransformerEncoderLayer(batch_first=True)``.

    With attention heads h of width d = width / heads and q, k, v the thirds of :math:`x W_{in}^T + b_{in}`:

    .. math:: a(x) = W_{out} [\mathrm{softmax}(q_h k_h^T / \sqrt{d}) v_h]_h + b_{out}, \quad
              f(x) = W_2 \sigma(W_1 x + b_1) + b_2

    and ``y = n2(z + f(z))`` with ``z = n1(x + a(x))``; with ``norm_first``, ``y = z + f(n2(z))`` with
    ``z = x + a(n1(x))``.

    Parameters
    ----------
    width : length of a token
    heads : number of heads, a divisor of the width
    hidden : width of the feed-forward part
    activation : of the feed-forward part, by name
    dropout : probability; on the attention weights, behind the activation, and on both branches, in training
    norm_first : whether to normalise each branch's input instead of the sums
    eps : of the layer norms

    Raises
    ------
    SpecError
        For sizes < 1, heads that do not divide the width, an unknown activation, a probability not in [0, 1).
    """

    width: int
    heads: int
    hidden: int
    activation: str = "relu"
    dropout: float = 0.0
    norm_first: bool = False
    eps: float = 1e-5

    def __post_init__(self) -> None:
        require_sizes(self, "width", "heads", "hidden")
        if self.width % self.heads:
            raise SpecError(f"{self.heads} heads do not divide a width of {self.width}")
        get_activation(self.activation)
        Dropout(self.dropout)
        LayerNorm(self.width, self.eps)

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """PyTorch's names, in the order of its ``state_dict``."""
        d, h = self.width, self.hidden
        return {
            "self_attn.in_proj_weight": (3 * d, d),
            "self_attn.in_proj_bias": (3 * d,),
            "self_attn.out_proj.weight": (d, d),
            "self_attn.out_proj.bias": (d,),
            "linear1.weight": (h, d),
            "linear1.bias": (h,),
            "linear2.weight": (d, h),
            "linear2.bias": (d,),
            "norm1.weight": (d,),
            "norm1.bias": (d,),
            "norm2.weight": (d,),
            "norm2.bias": (d,),
        }

    def out_shape(self, shape: Shape) -> Shape:
        """Return the shape unchanged, (tokens, width)."""
        if len(shape) != 2 or shape[1] != self.width:
            raise ArrayError(f"this block takes tokens (tokens, {self.width}), got shape {shape}")
        return shape

    def start(self, rng: np.random.Generator) -> Arrays:
        """Weights with standard deviation sqrt(1 / fan_in), biases zero, norms the identity."""
        drawn = {}
        for name, shape in self.param_shapes.items():
            if name.startswith("norm"):
                drawn[name] = np.ones(shape) if name.endswith("weight") else np.zeros(shape)
            else:
                drawn[name] = he_normal(shape, rng) / sqrt(2) if name.endswith("weight") else np.zeros(shape)
        return drawn

    def __call__(self, params: Arrays, x: Array) -> Array:
        """Apply to x (batch, tokens, width)."""
        return self._run(params, x, None)

    def in_training(self, params: Arrays, x: Array, rng: np.random.Generator) -> tuple[Array, Arrays]:
        """Apply with dropout; there are no buffers."""
        return self._run(params, x, rng), {}

    def _run(self, params: Arrays, x: Array, rng: np.random.Generator | None) -> Array:
        if self.norm_first:
            x = x + self._attention(params, self._norm(params, "norm1", x), rng)
            return x + self._feed_forward(params, self._norm(params, "norm2", x), rng)
        x = self._norm(params, "norm1", x + self._attention(params, x, rng))
        return self._norm(params, "norm2", x + self._feed_forward(params, x, rng))

    def _norm(self, params: Arrays, name: str, x: Array) -> Array:
        both = {"weight": params[f"{name}.weight"], "bias": params[f"{name}.bias"]}
        return LayerNorm(self.width, self.eps)(both, x)

    def _drop(self, x: Array, rng: np.random.Generator | None) -> Array:
        return x if rng is None else Dropout(self.dropout).in_training({}, x, rng)[0]

    def _attention(self, params: Arrays, x: Array, rng: np.random.Generator | None) -> Array:
        """Every head at once: (batch, heads, tokens, d)."""
        batch, tokens, width = x.shape
        d = width // self.heads
        projected = ops.matmul(x, ops.transpose(params["self_attn.in_proj_weight"])) + params["self_attn.in_proj_bias"]
        split = ops.reshape(projected, shape=(batch, tokens, 3, self.heads, d))
        q, k, v = (ops.transpose(split[:, :, i], axes=(0, 2, 1, 3)) for i in range(3))
        scores = ops.matmul(q, ops.transpose(k, axes=(0, 1, 3, 2))) * (1 / sqrt(d))
        mixed = ops.matmul(self._drop(losses.softmax(scores), rng), v)
        joined = ops.reshape(ops.transpose(mixed, axes=(0, 2, 1, 3)), shape=(batch, tokens, width))
        return self._drop(linear(params, "self_attn.out_proj", joined), rng)

    def _feed_forward(self, params: Arrays, x: Array, rng: np.random.Generator | None) -> Array:
        hidden = get_activation(self.activation).sigma(linear(params, "linear1", x))
        return self._drop(linear(params, "linear2", self._drop(hidden, rng)), rng)


@dataclass(frozen=True)
class Tokens:
    """Images (channels, H, W) as tokens: row after row, each pixel's channels are one token (H W, channels)."""

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """No parameters."""
        return {}

    def out_shape(self, shape: Shape) -> Shape:
        """Return (H W, channels) for an input of (channels, H, W)."""
        if len(shape) != 3:
            raise ArrayError(f"tokens are made of images (channels, height, width), got shape {shape}")
        return (prod(shape[1:]), shape[0])

    def __call__(self, params: Arrays, x: Array) -> Array:
        """Apply to x (batch, channels, H, W)."""
        batch, channels, height, width = x.shape
        return ops.transpose(ops.reshape(x, shape=(batch, channels, height * width)), axes=(0, 2, 1))


@dataclass(frozen=True)
class PositionEmbedding:
    """Add to each token a vector of its place, which is trained; ``weight`` (tokens, width)."""

    tokens: int
    width: int

    def __post_init__(self) -> None:
        require_sizes(self, "tokens", "width")

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """``weight`` (tokens, width)."""
        return {"weight": (self.tokens, self.width)}

    def out_shape(self, shape: Shape) -> Shape:
        """Return the shape unchanged, (tokens, width)."""
        if shape != (self.tokens, self.width):
            raise ArrayError(f"this embedding takes tokens ({self.tokens}, {self.width}), got shape {shape}")
        return shape

    def start(self, rng: np.random.Generator) -> Arrays:
        """Draw with standard deviation 0.02, as Dosovitskiy et al."""
        return {"weight": 0.02 * rng.standard_normal((self.tokens, self.width))}

    def __call__(self, params: Arrays, x: Array) -> Array:
        """Apply to x (batch, tokens, width)."""
        return x + params["weight"]


@dataclass(frozen=True)
class MeanToken:
    """The mean over all tokens."""

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """No parameters."""
        return {}

    def out_shape(self, shape: Shape) -> Shape:
        """Return (width,) for an input of (tokens, width)."""
        if len(shape) != 2:
            raise ArrayError(f"the mean token is of tokens (tokens, width), got shape {shape}")
        return shape[1:]

    def __call__(self, params: Arrays, x: Array) -> Array:
        """Apply to x (batch, tokens, width)."""
        return ops.mean(x, axis=1)

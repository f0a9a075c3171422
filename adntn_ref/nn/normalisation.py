"""Layers that normalise: batch norm with its running statistics, layer norm, local response norm."""

from dataclasses import dataclass
from math import prod

import numpy as np

from adntn_ref.ad import nn_ops, normalisation, ops
from adntn_ref.ad.arrays import Array, namespace
from adntn_ref.ad.tape import stop_gradient
from adntn_ref.errors import ArrayError, SpecError
from adntn_ref.nn.layers import Arrays, Shape, require_sizes


def _require_positive(layer: object, *names: str) -> None:
    for name in names:
        value = getattr(layer, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise SpecError(f"{name} of {type(layer).__name__} must be a number > 0, got {value!r}")


@dataclass(frozen=True)
class BatchNorm:
    r"""Batch norm of images (N, C, H, W) or vectors (N, C), as PyTorch's ``BatchNorm2d`` and ``BatchNorm1d``.

    .. math:: y = w (x - \mu) / \sqrt{\sigma^2 + \epsilon} + b

    In training mean and variance are those of the batch, over all axes but the channels, and the running ones move
    towards them: ``running = (1 - momentum) running + momentum batch``, where the running variance takes the batch's
    with n - 1 in place of n. In evaluation the running ones are used, so that an image's output does not depend on its
    neighbours (Ioffe, Szegedy, arXiv 1502.03167).

    Parameters
    ----------
    channels : C
    eps : added to the variance
    momentum : weight of the newest batch

    Raises
    ------
    SpecError
        For channels < 1, an eps that is not positive, or a momentum that is not in (0, 1].
    """

    channels: int
    eps: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        require_sizes(self, "channels")
        _require_positive(self, "eps", "momentum")
        if self.momentum > 1:
            raise SpecError(f"momentum of BatchNorm must be at most 1, got {self.momentum!r}")

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """``weight`` and ``bias``, both (channels,)."""
        return {"weight": (self.channels,), "bias": (self.channels,)}

    @property
    def buffer_shapes(self) -> dict[str, Shape]:
        """``running_mean`` and ``running_var``, both (channels,), and the count ``num_batches_tracked``, ()."""
        return {"running_mean": (self.channels,), "running_var": (self.channels,), "num_batches_tracked": ()}

    def out_shape(self, shape: Shape) -> Shape:
        """Return the shape unchanged, (channels,) or (channels, H, W)."""
        if len(shape) not in (1, 3) or shape[0] != self.channels:
            raise ArrayError(f"BatchNorm({self.channels}) takes {self.channels} channels, got shape {shape}")
        return shape

    def start(self, rng: np.random.Generator) -> Arrays:
        """Weights and running variances 1, biases and running means 0, no batch counted; nothing is drawn."""
        ones, zeros = np.ones(self.channels), np.zeros(self.channels)
        return {
            "weight": ones,
            "bias": zeros,
            "running_mean": zeros.copy(),
            "running_var": ones.copy(),
            "num_batches_tracked": np.zeros((), dtype=np.int64),
        }

    def __call__(self, params: Arrays, x: Array) -> Array:
        """Normalise by the running statistics: one multiplication and one addition a number."""
        scale = params["weight"] / ops.sqrt(params["running_var"] + self.eps)
        shift = params["bias"] - params["running_mean"] * scale
        return x * self._beside(scale, x) + self._beside(shift, x)

    def in_training(self, params: Arrays, x: Array, rng: np.random.Generator) -> tuple[Array, Arrays]:
        """Normalise by the batch's statistics and return the running ones moved towards them.

        Raises
        ------
        ArrayError
            For a batch with one number a channel, which has no variance.
        """
        raw = stop_gradient(x)
        axes = (0, *range(2, raw.ndim))
        count = prod(raw.shape[a] for a in axes)
        if count < 2:
            raise ArrayError(f"batch norm in training needs two numbers a channel or more, got shape {raw.shape}")
        known = normalisation.moments(namespace(raw), raw, axes)
        y = nn_ops.normalise(
            x, self._beside(params["weight"], x), self._beside(params["bias"], x), axes=axes, eps=self.eps, known=known
        )
        mean, variance = known[0].reshape(-1), known[1].reshape(-1) * (count / (count - 1))
        return y, {
            "running_mean": self._moved(params["running_mean"], mean),
            "running_var": self._moved(params["running_var"], variance),
            "num_batches_tracked": params["num_batches_tracked"] + 1,
        }

    def _moved(self, running: Array, batch: Array) -> Array:
        old = stop_gradient(running)
        return (1 - self.momentum) * old + self.momentum * batch.astype(old.dtype)

    def _beside(self, values: Array, x: Array) -> Array:
        """One number a channel, so that it broadcasts against x."""
        return ops.reshape(values, shape=(1, self.channels) + (1,) * (len(x.shape) - 2))


@dataclass(frozen=True)
class LayerNorm:
    """Layer norm over the last axis, as PyTorch's with one feature axis (Ba, Kiros, Hinton, arXiv 1607.06450).

    Parameters
    ----------
    features : length of the last axis
    eps : added to the variance

    Raises
    ------
    SpecError
        For features < 1 or an eps that is not positive.
    """

    features: int
    eps: float = 1e-5

    def __post_init__(self) -> None:
        require_sizes(self, "features")
        _require_positive(self, "eps")

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """``weight`` and ``bias``, both (features,)."""
        return {"weight": (self.features,), "bias": (self.features,)}

    def out_shape(self, shape: Shape) -> Shape:
        """Return the shape unchanged, (..., features)."""
        if shape[-1:] != (self.features,):
            raise ArrayError(f"LayerNorm({self.features}) takes vectors of {self.features}, got shape {shape}")
        return shape

    def start(self, rng: np.random.Generator) -> Arrays:
        """Weights 1, biases 0; nothing is drawn."""
        return {"weight": np.ones(self.features), "bias": np.zeros(self.features)}

    def __call__(self, params: Arrays, x: Array) -> Array:
        """Apply to x (batch, ..., features)."""
        return nn_ops.normalise(x, params["weight"], params["bias"], axes=(-1,), eps=self.eps)


@dataclass(frozen=True)
class LocalResponseNorm:
    """Local response normalisation over neighbouring channels; see :func:`~adntn_ref.ad.nn_ops.local_response_norm`.

    Raises
    ------
    SpecError
        For a size < 1, or alpha, beta or k that are not positive.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        require_sizes(self, "size")
        _require_positive(self, "alpha", "beta", "k")

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """No parameters."""
        return {}

    def out_shape(self, shape: Shape) -> Shape:
        """Return the shape unchanged, (channels, ...)."""
        if not shape:
            raise ArrayError("local response normalisation needs channels, got shape ()")
        return shape

    def __call__(self, params: Arrays, x: Array) -> Array:
        """Apply to x (batch, channels, ...)."""
        return nn_ops.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

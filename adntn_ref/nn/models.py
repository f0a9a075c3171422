"""Models: layers in a row, and models whose parameters are generated; those with names are in ``nn/zoo.py``."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import REAL, Array, backend_of, dtype_name, is_array, number
from adntn_ref.ad.moving import choose_backend, move
from adntn_ref.ad.tape import Var, stop_gradient
from adntn_ref.errors import ArrayError, DTypeError, NothingSelected, ParameterError, SpecError, nearest
from adntn_ref.networks.base import Network
from adntn_ref.nn.data import Part
from adntn_ref.nn.layers import Layer, buffer_shapes_of, own, run_in_training, start_of

Shape = tuple[int, ...]
Params = dict[str, Any]
COUNTS = "num_batches_tracked"
"""Buffers of this name are whole numbers, as in PyTorch's files."""


@dataclass(frozen=True)
class Sequential:
    """Layers in a row, each under a name.

    ``model(params, x)`` evaluates. ``params`` holds the parameters and, where layers have them, the buffers (running
    means of batch norm), which are not trained: ``param_shapes`` and ``buffer_shapes`` tell them apart.

    Parameters
    ----------
    in_shape : shape of one input, without the batch
    layers : pairs (name, layer); a parameter is called ``"{name}.weight"`` and so on

    Raises
    ------
    SpecError
        For a name used twice.
    ArrayError
        If a layer cannot take what the one before it makes.

    Examples
    --------
    >>> from adntn_ref.nn.layers import Linear
    >>> model = Sequential((3,), (("fc", Linear(3, 2)),))
    >>> model.param_shapes
    {'fc.weight': (2, 3), 'fc.bias': (2,)}
    """

    in_shape: Shape
    layers: tuple[tuple[str, Layer], ...]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.layers]
        if len(set(names)) != len(names):
            raise SpecError(f"each layer needs a name of its own, got {names}")
        _ = self.out_shape

    @property
    def out_shape(self) -> Shape:
        """Shape of one output, without the batch."""
        shape = self.in_shape
        for _, layer in self.layers:
            shape = layer.out_shape(shape)
        return shape

    @property
    def param_shapes(self) -> dict[str, Shape]:
        """The shape of every parameter, by name."""
        return {f"{name}.{key}": shape for name, layer in self.layers for key, shape in layer.param_shapes.items()}

    @property
    def buffer_shapes(self) -> dict[str, Shape]:
        """The shape of every buffer, by name; empty for models without batch norm."""
        return {f"{name}.{key}": shape for name, layer in self.layers for key, shape in buffer_shapes_of(layer).items()}

    @property
    def state_shapes(self) -> dict[str, Shape]:
        """Parameters and buffers, in the order of PyTorch's ``state_dict``."""
        return {
            f"{name}.{key}": shape
            for name, layer in self.layers
            for key, shape in {**layer.param_shapes, **buffer_shapes_of(layer)}.items()
        }

    @property
    def parameter_count(self) -> int:
        """The number of trainable numbers."""
        return sum(int(np.prod(shape)) for shape in self.param_shapes.values())

    def init(self, rng: int | np.random.Generator = 0, dtype: str = "float32", backend: str | None = None) -> Params:
        """Draw parameters and set buffers, in the order of ``state_shapes``.

        Weights have standard deviation sqrt(2 / fan_in), biases are zero; normalising layers start as the identity.
        They are drawn on the host, and put where :func:`~adntn_ref.ad.moving.choose_backend` says.
        """
        target = choose_backend(backend)
        if dtype not in REAL:
            raise DTypeError(f"parameters are drawn in {' or '.join(REAL)}, got {dtype!r}")
        generator = np.random.default_rng(rng)
        drawn = {
            f"{name}.{key}": value.astype(dtype) if value.dtype.kind == "f" else value
            for name, layer in self.layers
            for key, value in start_of(layer, generator).items()
        }
        return {name: move(value, target) for name, value in drawn.items()}

    def check_params(self, params: Params) -> None:
        """Refuse parameters and buffers that are missing, unknown, or of a wrong shape or dtype, naming them.

        Raises
        ------
        ParameterError, DTypeError
        """
        shapes = self.state_shapes
        _check_names(shapes, params)
        _check_arrays(shapes, params)

    def __call__(self, params: Params, x: Array) -> Array:
        """Apply the model to a batch of shape (batch, *in_shape), as in evaluation."""
        self._check_batch(x)
        for name, layer in self.layers:
            x = layer(own(params, name, layer), x)
        return x

    def in_training(self, params: Params, x: Array, rng: np.random.Generator) -> tuple[Array, Params]:
        """Apply the model to a batch as in training.

        Parameters
        ----------
        params : parameters and buffers
        x : a batch, of shape ``(batch, *in_shape)``
        rng : what dropout draws from, layer after layer

        Returns
        -------
        y : array
            The outputs.
        updates : dict
            The new values of the buffers, raw arrays; ``{**params, **updates}`` is the state after this batch.
        """
        self._check_batch(x)
        updates: Params = {}
        for name, layer in self.layers:
            x, new = run_in_training(layer, own(params, name, layer), x, rng)
            updates.update({f"{name}.{key}": value for key, value in new.items()})
        return x, updates

    def _check_batch(self, x: Array) -> None:
        if tuple(x.shape[1:]) != self.in_shape:
            raise ArrayError(f"the model takes inputs of shape {self.in_shape}, got a batch of shape {tuple(x.shape)}")

    def expand(self, params: Params) -> Params:
        """Return the parameters as they are: a dense model has nothing to generate."""
        return params


@dataclass(frozen=True)
class Generated:
    """A model some of whose parameters are made by networks.

    Its parameters are those of the model, with the cores' dict in place of each generated array:
    ``{"fc1.weight": {"layer0.brick0": ...}, "fc1.bias": ...}``.

    Parameters
    ----------
    model : the dense model
    networks : pairs (parameter name, network of that parameter's shape); a dict is taken too

    Raises
    ------
    NothingSelected
        For a name the model does not have.
    SpecError
        For a network of another shape.
    """

    model: Sequential
    networks: tuple[tuple[str, Network], ...]

    def __post_init__(self) -> None:
        given: Any = self.networks
        object.__setattr__(self, "networks", tuple(dict(given).items()))
        shapes = self.model.param_shapes
        for name, network in self.networks:
            if name not in shapes:
                raise NothingSelected(f"the model has no parameter {name!r}; it has {', '.join(shapes)}")
            if network.placement.shape != shapes[name]:
                raise SpecError(f"{name} has shape {shapes[name]}, its network makes {network.placement.shape}")

    @property
    def weights(self) -> int:
        """The number of generated entries."""
        return sum(network.weights for _, network in self.networks)

    @property
    def network_parameters(self) -> int:
        """The number of trainable numbers they are generated from."""
        return sum(network.parameter_count for _, network in self.networks)

    @property
    def compression_ratio(self) -> float:
        """Generated entries over the numbers they are made from."""
        return self.weights / self.network_parameters

    def check_params(self, params: Params) -> None:
        """Refuse parameters that are missing, unknown, or of a wrong shape or dtype, naming them; nothing is generated.

        Raises
        ------
        ParameterError, DTypeError
        """
        _check_names(self.model.state_shapes, params)
        networks = dict(self.networks)
        for name, network in networks.items():
            _check_dtype(name, network.check_params(params[name]))
        _check_arrays({k: shape for k, shape in self.model.state_shapes.items() if k not in networks}, params)

    def expand(self, params: Params) -> Params:
        """Generate every weight once and return the dense model's parameters."""
        networks = dict(self.networks)
        return {name: networks[name].generate(value) if name in networks else value for name, value in params.items()}

    def fold(self, params: Params) -> tuple[Sequential, Params]:
        """Return the dense model and its parameters, every weight generated once and for all.

        What follows costs what the dense model costs, and learns its weights no longer through cores. The other
        parameters are the arrays that were given.

        Examples
        --------
        >>> from adntn_ref.networks.brickwall import BrickWall
        >>> from adntn_ref.nn.layers import Linear
        >>> net = BrickWall((4, 4), layers=2)
        >>> model = Generated(Sequential((4,), (("fc", Linear(4, 4, bias=False)),)), {"fc.weight": net})
        >>> dense, params = model.fold({"fc.weight": net.init(0)})
        >>> params["fc.weight"].shape, dense(params, np.ones((2, 4))).shape
        ((4, 4), (2, 4))
        """
        self.check_params(params)
        return self.model, self.expand(params)

    def __call__(self, params: Params, x: Array) -> Array:
        """Apply the model to a batch, generating its weights once."""
        return self.model(self.expand(params), x)

    def in_training(self, params: Params, x: Array, rng: np.random.Generator) -> tuple[Array, Params]:
        """Apply the model as in training, see :meth:`Sequential.in_training`, generating its weights once."""
        return self.model.in_training(self.expand(params), x, rng)


Model = Sequential | Generated


def _check_names(shapes: dict[str, Shape], params: Params) -> None:
    if params.keys() != shapes.keys():
        missing, extra = sorted(shapes.keys() - params.keys()), sorted(params.keys() - shapes.keys())
        raise ParameterError(f"the model's parameters differ: missing {missing}, unknown {extra}")


def _check_arrays(shapes: dict[str, Shape], params: Params) -> None:
    for name, shape in shapes.items():
        value = params[name]
        if not isinstance(value, Var) and not is_array(value):
            raise ParameterError(f"parameter {name} must be an array, got a {type(value).__name__}")
        if tuple(value.shape) != shape:
            raise ParameterError(f"parameter {name} has shape {tuple(value.shape)}; the model needs {shape}")
        _check_dtype(name, dtype_name(stop_gradient(value)))


def _check_dtype(name: str, dtype: str) -> None:
    allowed = ("int64",) if name.endswith(COUNTS) else REAL
    if dtype not in allowed:
        raise DTypeError(f"parameter {name} has dtype {dtype}; allowed: {', '.join(allowed)}")


def accuracy(model: Sequential, params: Params, part: Part, batch_size: int = 500) -> float:
    """Return the share of images in ``part`` whose largest logit is their label, between 0 and 1.

    ``params`` are dense: expand generated ones once and pass the result. The images are moved to where these are.
    """
    right: Any = 0
    for images, labels in part.on(backend_of(next(iter(params.values()))).name).batches(batch_size):
        right = right + (model(params, images).argmax(axis=1) == labels).sum()
    return int(number(right)) / len(part)


def select(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Return the names that match any of the glob patterns, in their order.

    Raises
    ------
    NothingSelected
        For a pattern that matches no name.
    """
    known = list(names)
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in known if fnmatchcase(name, pattern)}
        if not found:
            raise NothingSelected(f"{pattern!r} matches none of: {', '.join(known)}{nearest(pattern, known)}")
        chosen |= found
    return [name for name in known if name in chosen]

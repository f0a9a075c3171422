"""Models: layers in a row, models whose parameters are generated, and the two small models of the papers."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import REAL, Array, backend_of, dtype_name, is_array, number
from adntn_ref.ad.moving import choose_backend, move
from adntn_ref.ad.tape import Var, stop_gradient
from adntn_ref.errors import ArrayError, DTypeError, NothingSelected, ParameterError, SpecError
from adntn_ref.networks.base import Network
from adntn_ref.nn.data import Part
from adntn_ref.nn.layers import Activation, Conv2d, Flatten, Layer, Linear, MaxPool, he_normal

Shape = tuple[int, ...]
Params = dict[str, Any]


@dataclass(frozen=True)
class Sequential:
    """Layers in a row, each under a name.

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
    def parameter_count(self) -> int:
        """The number of trainable numbers."""
        return sum(int(np.prod(shape)) for shape in self.param_shapes.values())

    def init(self, rng: int | np.random.Generator = 0, dtype: str = "float32", backend: str | None = None) -> Params:
        """Draw weights with standard deviation sqrt(2 / fan_in) and zero biases, in the order of ``param_shapes``.

        They are drawn on the host, and put where :func:`~adntn_ref.ad.moving.choose_backend` says.
        """
        target = choose_backend(backend)
        if dtype not in REAL:
            raise DTypeError(f"parameters are drawn in {' or '.join(REAL)}, got {dtype!r}")
        generator = np.random.default_rng(rng)
        drawn = {
            name: (he_normal(shape, generator) if name.endswith("weight") else np.zeros(shape)).astype(dtype)
            for name, shape in self.param_shapes.items()
        }
        return {name: move(value, target) for name, value in drawn.items()}

    def check_params(self, params: Params) -> None:
        """Refuse parameters that are missing, unknown, or of a wrong shape or dtype, naming them.

        Raises
        ------
        ParameterError, DTypeError
        """
        shapes = self.param_shapes
        _check_names(shapes, params)
        _check_arrays(shapes, params)

    def __call__(self, params: Params, x: Array) -> Array:
        """Apply the model to a batch of shape (batch, *in_shape)."""
        if tuple(x.shape[1:]) != self.in_shape:
            raise ArrayError(f"the model takes inputs of shape {self.in_shape}, got a batch of shape {tuple(x.shape)}")
        for name, layer in self.layers:
            x = layer({key: params[f"{name}.{key}"] for key in layer.param_shapes}, x)
        return x

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
        _check_names(self.model.param_shapes, params)
        networks = dict(self.networks)
        for name, network in networks.items():
            _check_real(name, network.check_params(params[name]))
        _check_arrays({k: shape for k, shape in self.model.param_shapes.items() if k not in networks}, params)

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
        _check_real(name, dtype_name(stop_gradient(value)))


def _check_real(name: str, dtype: str) -> None:
    if dtype not in REAL:
        raise DTypeError(f"parameter {name} has dtype {dtype}; allowed: {', '.join(REAL)}")


def accuracy(model: Sequential, params: Params, part: Part, batch_size: int = 500) -> float:
    """Return the share of images in ``part`` whose largest logit is their label, between 0 and 1.

    ``params`` are dense: expand generated ones once and pass the result. The images are moved to where these are.
    """
    right: Any = 0
    for images, labels in part.on(backend_of(next(iter(params.values()))).name).batches(batch_size):
        right = right + (model(params, images).argmax(axis=1) == labels).sum()
    return int(number(right)) / len(part)


def fc2(inputs: int = 784, hidden: int = 256, classes: int = 10) -> Sequential:
    """Return FC-2, ``inputs - hidden - classes`` with relu and no biases (Gao et al., arXiv 1904.06194)."""
    side = int(inputs**0.5)
    shape = (1, side, side) if side * side == inputs else (inputs,)
    return Sequential(
        shape,
        (
            ("flatten", Flatten()),
            ("fc1", Linear(inputs, hidden, bias=False)),
            ("relu1", Activation("relu")),
            ("fc2", Linear(hidden, classes, bias=False)),
        ),
    )


def lenet5(classes: int = 10) -> Sequential:
    """Return LeNet-5 for 28x28 images: 5x5 convolutions to 6 and 16 channels, each pooled by 2, then 256-120-84-10.

    relu throughout, maximum pooling, biases everywhere: 44,426 parameters.
    """
    relu = Activation("relu")
    return Sequential(
        (1, 28, 28),
        (
            ("conv1", Conv2d(1, 6, 5)),
            ("relu1", relu),
            ("pool1", MaxPool(2)),
            ("conv2", Conv2d(6, 16, 5)),
            ("relu2", relu),
            ("pool2", MaxPool(2)),
            ("flatten", Flatten()),
            ("fc1", Linear(256, 120)),
            ("relu3", relu),
            ("fc2", Linear(120, 84)),
            ("relu4", relu),
            ("fc3", Linear(84, classes)),
        ),
    )


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
            raise NothingSelected(f"{pattern!r} matches none of: {', '.join(known)}")
        chosen |= found
    return [name for name in known if name in chosen]

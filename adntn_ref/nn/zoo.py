"""The models of the papers' line of work, by name: :func:`model` makes one, :data:`MODELS` lists them.

Where torchvision has the model, parameters have torchvision's names and shapes ("features.0.weight",
"classifier.6.bias"), so that weights travel both ways. Each takes images of 28 x 28 or 32 x 32 pixels in the variant
that its docstring states, or of 224 x 224 in the original one. relu throughout, maximum pooling, logits out.
"""

from collections.abc import Callable, Iterator
from typing import Any

from adntn_ref.errors import SpecError
from adntn_ref.nn.attention import EncoderLayer, MeanToken, PositionEmbedding, Tokens
from adntn_ref.nn.layers import Activation, Conv2d, Dropout, Flatten, Layer, Linear, MaxPool
from adntn_ref.nn.models import Sequential
from adntn_ref.nn.normalisation import BatchNorm, LayerNorm, LocalResponseNorm
from adntn_ref.program.modes import shown

Named = tuple[str, Layer]
RELU = Activation("relu")
SIZES = (28, 32, 224)
MAX_BLOCKS = 1000
"""Of a transformer: its depth may stand in a configuration that anybody wrote."""
VGG16 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool")


def fc2(inputs: int = 784, hidden: int = 256, classes: int = 10) -> Sequential:
    """Return FC-2, ``inputs - hidden - classes`` with relu and no biases (Gao et al., arXiv 1904.06194)."""
    side = int(inputs**0.5)
    shape = (1, side, side) if side * side == inputs else (inputs,)
    return Sequential(
        shape,
        (
            ("flatten", Flatten()),
            ("fc1", Linear(inputs, hidden, bias=False)),
            ("relu1", RELU),
            ("fc2", Linear(hidden, classes, bias=False)),
        ),
    )


def lenet5(classes: int = 10, size: int = 28, channels: int = 1) -> Sequential:
    """Return LeNet-5 with two convolutions: 5x5 to 6 and to 16 channels, each pooled by 2, then 256-120-84-10.

    Biases everywhere: 44,426 parameters for 28x28 grey images. For 32x32 the first linear layer takes 400 inputs.
    """
    _require_size(size, (28, 32))
    inputs = 16 * ((size - 4) // 2 // 2 - 2) ** 2
    return Sequential(
        (channels, size, size),
        (
            ("conv1", Conv2d(channels, 6, 5)),
            ("relu1", RELU),
            ("pool1", MaxPool(2)),
            ("conv2", Conv2d(6, 16, 5)),
            ("relu2", RELU),
            ("pool2", MaxPool(2)),
            ("flatten", Flatten()),
            ("fc1", Linear(inputs, 120)),
            ("relu3", RELU),
            ("fc2", Linear(120, 84)),
            ("relu4", RELU),
            ("fc3", Linear(84, classes)),
        ),
    )


def lenet5_mpo(classes: int = 10, size: int = 28, channels: int = 1) -> Sequential:
    """Return LeNet-5 as in MPO-Net (Gao et al., arXiv 1904.06194): three convolutions, then 120-84-10 without biases.

    conv 5x5 to 6 channels with the image's size kept, pool 2, conv 5x5 to 16, pool 2, conv 5x5 to 120. Images of 32x32
    are convolved without padding in the first layer, as in LeCun's own network; both sizes give 16 planes of 5x5.
    """
    _require_size(size, (28, 32))
    return Sequential(
        (channels, size, size),
        (
            ("conv1", Conv2d(channels, 6, 5, padding=2 if size == 28 else 0)),
            ("relu1", RELU),
            ("pool1", MaxPool(2)),
            ("conv2", Conv2d(6, 16, 5)),
            ("relu2", RELU),
            ("pool2", MaxPool(2)),
            ("conv3", Conv2d(16, 120, 5)),
            ("relu3", RELU),
            ("flatten", Flatten()),
            ("fc1", Linear(120, 84, bias=False)),
            ("relu4", RELU),
            ("fc2", Linear(84, classes, bias=False)),
        ),
    )


def alexnet(
    classes: int = 10,
    size: int = 32,
    channels: int | None = None,
    dropout: float = 0.5,
    lrn: bool = False,
    narrow: int = 1,
) -> Sequential:
    """Return AlexNet (Krizhevsky et al. 2012) with torchvision's structure and names.

    224x224: torchvision's ``alexnet``. 28x28 and 32x32 (a variant in common use for CIFAR): the first convolution is
    3x3 with stride 2 and padding 1 in place of 11x11 with stride 4, and each pooling takes 2x2; the classifier's first
    layer then has 256 inputs at 28x28 and 1,024 at 32x32.

    Parameters
    ----------
    classes, size, channels : of the images; 1 channel at 28x28 and 3 elsewhere unless given
    dropout : probability in front of the first two linear layers
    lrn : whether the first two convolutions are followed by local response normalisation as in the paper (size 5,
        alpha 5e-4 in PyTorch's definition, beta 0.75, k 2); torchvision leaves it out, and names do not change
    narrow : divides every hidden width, for trials
    """
    _require_size(size)
    channels = _channels(channels, size)
    first = Conv2d(channels, 64 // narrow, 11, 4, 2) if size == 224 else Conv2d(channels, 64 // narrow, 3, 2, 1)
    pool = MaxPool(3, 2) if size == 224 else MaxPool(2)
    c = [width // narrow for width in (64, 192, 384, 256)]
    response: list[Layer] = [LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)] if lrn else []
    features: list[tuple[int | None, Layer]] = [(0, first), (1, RELU)]
    features += [*((None, one) for one in response), (2, pool), (3, Conv2d(c[0], c[1], 5, padding=2)), (4, RELU)]
    features += [*((None, one) for one in response), (5, pool)]
    features += [(6, Conv2d(c[1], c[2], 3, padding=1)), (7, RELU), (8, Conv2d(c[2], c[3], 3, padding=1)), (9, RELU)]
    features += [(10, Conv2d(c[3], c[3], 3, padding=1)), (11, RELU), (12, pool)]
    named = [(f"features.lrn{i}" if k is None else f"features.{k}", one) for i, (k, one) in enumerate(features)]
    return _with_classifier((channels, size, size), named, (1, 4, 6), 4096 // narrow, classes, dropout)


def zfnet(
    classes: int = 10, size: int = 32, channels: int | None = None, dropout: float = 0.5, narrow: int = 1
) -> Sequential:
    """Return ZFNet (Zeiler, Fergus, arXiv 1311.2901): AlexNet with a finer first layer; names in torchvision's manner.

    conv 7x7 to 96, conv 5x5 to 256, each with pooling 3x3 by 2 and local response normalisation, conv 3x3 to 384, 384,
    256, pooling, then two linear layers of 4,096. 224x224: both first convolutions have stride 2, as in the paper.
    28x28 and 32x32 (ours): both have stride 1 and keep the size, so that the classifier has 4,096 inputs.

    Parameters are as in :func:`alexnet`.
    """
    _require_size(size)
    channels = _channels(channels, size)
    large = size == 224
    c = [width // narrow for width in (96, 256, 384)]
    first = Conv2d(channels, c[0], 7, 2, 1) if large else Conv2d(channels, c[0], 7, 1, 3)
    second = Conv2d(c[0], c[1], 5, 2) if large else Conv2d(c[0], c[1], 5, 1, 2)
    pool, response = MaxPool(3, 2, 1), LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    last = MaxPool(3, 2) if large else pool
    features: list[Layer] = [first, RELU, pool, response, second, RELU, pool, response]
    features += [Conv2d(c[1], c[2], 3, padding=1), RELU, Conv2d(c[2], c[2], 3, padding=1), RELU]
    features += [Conv2d(c[2], c[1], 3, padding=1), RELU, last]
    named = [(f"features.{k}", layer) for k, layer in enumerate(features)]
    return _with_classifier((channels, size, size), named, (1, 4, 6), 4096 // narrow, classes, dropout)


def vgg16(
    classes: int = 10,
    size: int = 32,
    channels: int | None = None,
    dropout: float = 0.5,
    batch_norm: bool = False,
    narrow: int = 1,
) -> Sequential:
    """Return VGG-16 (Simonyan, Zisserman, arXiv 1409.1556) with torchvision's structure and names.

    224x224: torchvision's ``vgg16``. 28x28 and 32x32: the same features, then 512-4096-4096-classes in place of
    25088-4096-4096-classes. At 28x28 the map is one pixel before the fifth pooling, which is left out: all parameters
    have the shapes of 32x32.

    Parameters
    ----------
    batch_norm : whether each convolution is followed by batch norm, as torchvision's ``vgg16_bn``
    classes, size, channels, dropout, narrow : as in :func:`alexnet`
    """
    _require_size(size)
    channels = _channels(channels, size)
    named = list(_vgg_features(channels, size, batch_norm, narrow))
    return _with_classifier((channels, size, size), named, (0, 3, 6), 4096 // narrow, classes, dropout)


def vgg16_bn(**options: Any) -> Sequential:
    """Return :func:`vgg16` with batch norm, as torchvision's ``vgg16_bn``."""
    return vgg16(**{**options, "batch_norm": True})


def transformer(
    classes: int = 10,
    size: int = 28,
    channels: int | None = None,
    width: int = 64,
    heads: int = 4,
    hidden: int = 128,
    depth: int = 1,
    dropout: float = 0.0,
) -> Sequential:
    """Return a small transformer encoder on patches of 4x4 pixels, the example of attention.

    A convolution turns each patch into a token, a trained vector of its place is added, ``depth`` encoder blocks with
    the norm first follow (named as in PyTorch's ``TransformerEncoder``: ``encoder.layers.0`` and so on), then a layer
    norm, the mean over the tokens and a linear layer (structure after Dosovitskiy et al., arXiv 2010.11929).
    """
    if size % 4:
        raise SpecError(f"the transformer takes patches of 4x4 pixels, which do not divide images of {size}x{size}")
    if depth > MAX_BLOCKS:
        raise SpecError(f"a transformer has at most {MAX_BLOCKS:,} blocks, got a depth of {shown(depth)}")
    channels = _channels(channels, size)
    blocks = [
        (f"encoder.layers.{k}", EncoderLayer(width, heads, hidden, "gelu", dropout, norm_first=True))
        for k in range(depth)
    ]
    return Sequential(
        (channels, size, size),
        (
            ("patches", Conv2d(channels, width, 4, stride=4)),
            ("tokens", Tokens()),
            ("position", PositionEmbedding((size // 4) ** 2, width)),
            *blocks,
            ("norm", LayerNorm(width)),
            ("mean", MeanToken()),
            ("head", Linear(width, classes)),
        ),
    )


MODELS: dict[str, Callable[..., Sequential]] = {
    "fc2": fc2,
    "lenet5": lenet5,
    "lenet5_mpo": lenet5_mpo,
    "alexnet": alexnet,
    "zfnet": zfnet,
    "vgg16": vgg16,
    "vgg16_bn": vgg16_bn,
    "transformer": transformer,
}
"""Every model by its name."""


def model(name: str, /, **options: Any) -> Sequential:
    """Return the model called ``name``, one of :data:`MODELS`; the options are those of the function of that name.

    Raises
    ------
    SpecError
        For another name, an option the model does not have, or sizes it is not made for.

    Examples
    --------
    >>> vgg = model("vgg16_bn", classes=10, size=32)
    >>> vgg.param_shapes["classifier.0.weight"], vgg.parameter_count
    ((4096, 512), 33646666)
    """
    if name not in MODELS:
        raise SpecError(f"no model is called {name!r}; allowed: {', '.join(MODELS)}")
    try:
        return MODELS[name](**options)
    except TypeError as error:
        raise SpecError(f"model {name!r}: {error}") from error


def _vgg_features(channels: int, size: int, batch_norm: bool, narrow: int) -> Iterator[Named]:
    """Give the convolutions and poolings, numbered as torchvision's; a pooling of one pixel is left out."""
    place, side = 0, size
    for what in VGG16:
        if what == "pool":
            if side > 1:
                yield f"features.{place}", MaxPool(2)
            place, side = place + 1, side // 2
            continue
        width = int(what) // narrow
        yield f"features.{place}", Conv2d(channels, width, 3, padding=1)
        if batch_norm:
            yield f"features.{place + 1}", BatchNorm(width)
        place += 2 if batch_norm else 1
        yield f"features.{place}", RELU
        place, channels = place + 1, width


def _with_classifier(
    shape: tuple[int, int, int],
    features: list[Named],
    places: tuple[int, int, int],
    hidden: int,
    classes: int,
    dropout: float,
) -> Sequential:
    """Add two hidden layers and one of logits at the given places of the classifier, each with its relu and dropout."""
    made = Sequential(shape, (*features, ("flatten", Flatten())))
    widths = (made.out_shape[0], hidden, hidden, classes)
    layers: dict[int, Layer] = {place: Linear(widths[i], widths[i + 1]) for i, place in enumerate(places)}
    layers.update({place + 1: RELU for place in places[:2]})
    # torchvision's alexnet drops in front of its linear layers, its vgg behind the relus: at the free places, that is.
    layers.update({place: Dropout(dropout) for place in range(places[2]) if place not in layers})
    classifier = [(f"classifier.{place}", layers[place]) for place in sorted(layers)]
    return Sequential(shape, (*made.layers, *classifier))


def _require_size(size: int, allowed: tuple[int, ...] = SIZES) -> None:
    if size not in allowed:
        raise SpecError(f"this model takes images of {' or '.join(map(str, allowed))} pixels a side, got {size!r}")


def _channels(channels: int | None, size: int) -> int:
    """Grey images at 28x28 and colours elsewhere, unless the caller says otherwise."""
    if channels is None:
        return 1 if size == 28 else 3
    return channels

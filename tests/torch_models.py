"""The named models as modules of PyTorch, written from torchvision's source and the papers: what ours must equal."""

from collections import OrderedDict
from typing import Any


def numbered(torch: Any, layers: dict[int, Any]) -> Any:
    """A Sequential whose layers have the given numbers as names."""
    return torch.nn.Sequential(OrderedDict((str(k), layer) for k, layer in sorted(layers.items())))


def whole(torch: Any, features: Any, classifier: Any) -> Any:
    """Features, flatten, classifier, with the names of torchvision's models."""
    parts = [("features", features), ("flatten", torch.nn.Flatten()), ("classifier", classifier)]
    return torch.nn.Sequential(OrderedDict(parts))


def alexnet(torch: Any, size: int, channels: int, narrow: int, lrn: bool = False) -> Any:
    nn = torch.nn
    a, b, c, d, wide = (n // narrow for n in (64, 192, 384, 256, 4096))
    first = nn.Conv2d(channels, a, 11, 4, 2) if size == 224 else nn.Conv2d(channels, a, 3, 2, 1)
    pool = (lambda: nn.MaxPool2d(3, 2)) if size == 224 else (lambda: nn.MaxPool2d(2))

    def relu() -> Any:
        return nn.Sequential(nn.ReLU(), nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)) if lrn else nn.ReLU()

    features = {0: first, 1: relu(), 2: pool(), 3: nn.Conv2d(a, b, 5, padding=2), 4: relu(), 5: pool()}
    features |= {6: nn.Conv2d(b, c, 3, padding=1), 7: nn.ReLU(), 8: nn.Conv2d(c, d, 3, padding=1), 9: nn.ReLU()}
    features |= {10: nn.Conv2d(d, d, 3, padding=1), 11: nn.ReLU(), 12: pool()}
    inputs = d * {28: 1, 32: 4, 224: 36}[size]
    classifier = {0: nn.Dropout(), 1: nn.Linear(inputs, wide), 2: nn.ReLU(), 3: nn.Dropout()}
    classifier |= {4: nn.Linear(wide, wide), 5: nn.ReLU(), 6: nn.Linear(wide, 10)}
    return whole(torch, numbered(torch, features), numbered(torch, classifier))


def zfnet(torch: Any, size: int, channels: int, narrow: int) -> Any:
    nn = torch.nn
    a, b, c, wide = (n // narrow for n in (96, 256, 384, 4096))
    large = size == 224
    features = {
        0: nn.Conv2d(channels, a, 7, 2, 1) if large else nn.Conv2d(channels, a, 7, padding=3),
        4: nn.Conv2d(a, b, 5, 2) if large else nn.Conv2d(a, b, 5, padding=2),
        8: nn.Conv2d(b, c, 3, padding=1),
        10: nn.Conv2d(c, c, 3, padding=1),
        12: nn.Conv2d(c, b, 3, padding=1),
        14: nn.MaxPool2d(3, 2) if large else nn.MaxPool2d(3, 2, 1),
    }
    features |= {k: nn.ReLU() for k in (1, 5, 9, 11, 13)} | {k: nn.MaxPool2d(3, 2, 1) for k in (2, 6)}
    features |= {k: nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0) for k in (3, 7)}
    classifier = {0: nn.Dropout(), 1: nn.Linear(b * (36 if large else 16), wide), 2: nn.ReLU(), 3: nn.Dropout()}
    classifier |= {4: nn.Linear(wide, wide), 5: nn.ReLU(), 6: nn.Linear(wide, 10)}
    return whole(torch, numbered(torch, features), numbered(torch, classifier))


def vgg16(torch: Any, size: int, channels: int, narrow: int, batch_norm: bool = False) -> Any:
    nn = torch.nn
    layers: list[Any] = []
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if not width:
            layers.append(nn.MaxPool2d(2))
            continue
        layers.append(nn.Conv2d(channels, width // narrow, 3, padding=1))
        layers += [nn.BatchNorm2d(width // narrow)] if batch_norm else []
        layers.append(nn.ReLU())
        channels = width // narrow
    if size == 28:
        layers.pop()
    wide = 4096 // narrow
    classifier = [nn.Linear(channels * (49 if size == 224 else 1), wide), nn.ReLU(), nn.Dropout()]
    classifier += [nn.Linear(wide, wide), nn.ReLU(), nn.Dropout(), nn.Linear(wide, 10)]
    return whole(torch, nn.Sequential(*layers), nn.Sequential(*classifier))


def lenet5_mpo(torch: Any, size: int) -> Any:
    nn = torch.nn
    layers = {
        "conv1": nn.Conv2d(1, 6, 5, padding="same" if size == 28 else 0),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(6, 16, 5),
        "relu2": nn.ReLU(),
        "pool2": nn.MaxPool2d(2),
        "conv3": nn.Conv2d(16, 120, 5),
        "relu3": nn.ReLU(),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(120, 84, bias=False),
        "relu4": nn.ReLU(),
        "fc2": nn.Linear(84, 10, bias=False),
    }
    return nn.Sequential(OrderedDict(layers))


def lenet5(torch: Any, size: int, channels: int) -> Any:
    nn = torch.nn
    layers = {
        "conv1": nn.Conv2d(channels, 6, 5),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(6, 16, 5),
        "relu2": nn.ReLU(),
        "pool2": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(256 if size == 28 else 400, 120),
        "relu3": nn.ReLU(),
        "fc2": nn.Linear(120, 84),
        "relu4": nn.ReLU(),
        "fc3": nn.Linear(84, 10),
    }
    return nn.Sequential(OrderedDict(layers))


def transformer(torch: Any, size: int, channels: int, width: int, heads: int, hidden: int, depth: int) -> Any:
    """The module, with its forward pass: patches, places, blocks, norm, mean, head."""
    nn = torch.nn

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(channels, width, 4, stride=4)
            self.position = nn.Embedding((size // 4) ** 2, width)
            layer = nn.TransformerEncoderLayer(
                width, heads, hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

        def forward(self, x: Any) -> Any:
            tokens = self.patches(x).flatten(2).transpose(1, 2) + self.position.weight
            return self.head(self.norm(self.encoder(tokens)).mean(1))

    return Transformer()

"""The named models against the same modules of PyTorch: names, values, gradients, running statistics."""

from typing import Any

import numpy as np
import peers
import pytest
import torch_models
from elsewhere import place, there

import adntn_ref as ar
from adntn_ref import ad
from adntn_ref.errors import SpecError
from adntn_ref.nn.zoo import MODELS

SMALL = {"narrow": 16}
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("lenet5", {"size": 28, "channels": 1}, {}),
    ("lenet5", {"size": 32, "channels": 3}, {}),
    ("lenet5_mpo", {"size": 28}, {}),
    ("lenet5_mpo", {"size": 32}, {}),
    ("alexnet", {"size": 28, "channels": 1, **SMALL}, {}),
    ("alexnet", {"size": 32, "channels": 3, **SMALL}, {}),
    ("alexnet", {"size": 32, "channels": 3, "lrn": True, **SMALL}, {}),
    ("zfnet", {"size": 28, "channels": 1, **SMALL}, {}),
    ("zfnet", {"size": 32, "channels": 3, **SMALL}, {}),
    ("vgg16", {"size": 28, "channels": 1, **SMALL}, {}),
    ("vgg16", {"size": 32, "channels": 3, **SMALL}, {}),
    ("vgg16_bn", {"size": 28, "channels": 1, **SMALL}, {"batch_norm": True}),
    ("vgg16_bn", {"size": 32, "channels": 3, **SMALL}, {"batch_norm": True}),
    ("transformer", {"size": 28, "channels": 1, "width": 12, "heads": 3, "hidden": 10, "depth": 2}, {}),
]
LARGE = [("alexnet", {"narrow": 32}), ("zfnet", {"narrow": 32}), ("vgg16", {"narrow": 64})]


def draw(model: ar.Sequential, seed: int = 3) -> dict[str, np.ndarray]:
    """Weights as at a start, everything else moved off its start; running variances stay positive."""
    rng = np.random.default_rng(seed)
    params = model.init(seed, "float64")
    return {k: v + 0.1 * rng.random(v.shape) if v.dtype.kind == "f" else v + 3 for k, v in params.items()}


def theirs(torch: Any, name: str, options: dict[str, Any], params: dict[str, np.ndarray]) -> Any:
    """The same module with the same weights, in double precision; asks for the same names and shapes."""
    more = {k: v for k, v in options.items() if k != "classes"}
    module = getattr(torch_models, name)(torch, **more).double()
    module.load_state_dict({k: torch.tensor(v) for k, v in params.items()}, strict=True)
    return module


def close(got: Any, wanted: Any, what: str) -> None:
    wanted = wanted.detach().numpy()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-10 * max(1.0, np.abs(wanted).max()), err_msg=what)


@pytest.mark.parametrize(("name", "options", "more"), CASES, ids=lambda value: str(value))
def test_values_and_gradients_are_torchs(name: str, options: dict[str, Any], more: dict[str, Any]) -> None:
    """Evaluation, and the loss of a training step without dropout, with every gradient and running statistic."""
    torch = peers.need("torch")
    plain = {} if name.startswith("lenet5") else {"dropout": 0.0}
    model = ar.nn.model(name, classes=10, **options, **plain)
    params = draw(model)
    module = theirs(torch, name.removesuffix("_bn"), {**options, **more}, params)
    x = np.random.default_rng(1).standard_normal((4, *model.in_shape))
    labels = np.array([3, 1, 9, 0])
    close(there(model)(params, x), module.eval()(torch.tensor(x)), "evaluation")
    for part in module.train().modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    trained = {k: v for k, v in params.items() if k in model.param_shapes}

    def loss(given: dict[str, Any]) -> Any:
        y, updates = model.in_training({**place(params), **given}, place(x), np.random.default_rng(0))
        return ad.cross_entropy(y, place(labels)), updates

    (value, updates), gradients = there(ad.value_and_grad(loss, has_aux=True))(trained)
    wanted = torch.nn.functional.cross_entropy(module(torch.tensor(x)), torch.tensor(labels))
    wanted.backward()
    close(value, wanted, "loss")
    for key, parameter in module.named_parameters():
        close(gradients[key], parameter.grad, key)
    assert updates.keys() == model.buffer_shapes.keys()
    for key, buffer in module.named_buffers():
        close(updates[key], buffer, key)


@pytest.mark.parametrize(("name", "options"), LARGE, ids=lambda value: str(value))
def test_original_sizes(name: str, options: dict[str, Any]) -> None:
    """224 x 224: torchvision's own structures."""
    torch = peers.need("torch")
    model = ar.nn.model(name, size=224, **options)
    params = draw(model)
    x = np.random.default_rng(1).standard_normal((2, 3, 224, 224))
    module = theirs(torch, name, {"size": 224, "channels": 3, **options}, params)
    close(there(model)(params, x), module.eval()(torch.tensor(x)), "evaluation")


@pytest.mark.parametrize(
    ("name", "classes", "size", "count"),
    [
        ("alexnet", 1000, 224, 61_100_840),  # as torchvision prints them
        ("vgg16", 1000, 224, 138_357_544),
        ("vgg16_bn", 1000, 224, 138_365_992),
        ("zfnet", 1000, 224, 62_357_608),
        ("vgg16_bn", 10, 32, 33_646_666),
        ("vgg16", 100, 28, 34_005_796),
        ("alexnet", 10, 32, 23_468_874),
        ("zfnet", 100, 28, 37_689_380),
        ("lenet5_mpo", 10, 28, 61_612),
        ("lenet5", 10, 28, 44_426),
        ("transformer", 10, 28, 38_474),
    ],
)
def test_parameter_counts(name: str, classes: int, size: int, count: int) -> None:
    assert ar.nn.model(name, classes=classes, size=size).parameter_count == count


def test_layers_that_the_papers_compress() -> None:
    shapes = ar.nn.model("vgg16_bn").param_shapes
    assert (shapes["classifier.0.weight"], shapes["classifier.3.weight"]) == ((4096, 512), (4096, 4096))
    shapes = ar.nn.model("lenet5_mpo").param_shapes
    assert shapes["conv3.weight"] == (120, 16, 5, 5)
    assert (shapes["fc1.weight"], shapes["fc2.weight"]) == ((84, 120), (10, 84))
    assert "fc1.bias" not in shapes


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", [10, 100])
def test_every_model_by_name(name: str, classes: int) -> None:
    sizes = {"fc2": [None], "lenet5": [28, 32], "lenet5_mpo": [28, 32]}.get(name, [28, 32])
    for size in sizes:
        model = ar.nn.model(name, classes=classes, **({} if size is None else {"size": size}))
        assert model.out_shape == (classes,)
        assert model.in_shape[1:] == (size or 28,) * 2
        assert hash(model) == hash(ar.nn.model(name, classes=classes, **({} if size is None else {"size": size})))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ar.nn.model("resnet18"), "no model is called 'resnet18'; allowed: fc2, lenet5, lenet5_mpo, alexnet"),
        (lambda: ar.nn.model("vgg16", size=64), "images of 28 or 32 or 224 pixels a side, got 64"),
        (lambda: ar.nn.model("lenet5", size=224), "images of 28 or 32 pixels a side, got 224"),
        (lambda: ar.nn.model("lenet5", width=3), "model 'lenet5': .*unexpected keyword argument 'width'"),
        (lambda: ar.nn.model("vgg16", dropout=1.0), r"p of Dropout must be a number in \[0, 1\), got 1.0"),
        (lambda: ar.nn.model("vgg16", narrow=128), "out_channels of Conv2d must be an integer >= 1, got 0"),
        (lambda: ar.nn.model("transformer", size=30), "patches of 4x4 pixels, which do not divide images of 30x30"),
        (lambda: ar.nn.model("transformer", heads=5), "5 heads do not divide a width of 64"),
    ],
)
def test_bad_models(call: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        call()

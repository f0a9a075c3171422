"""Layers: gradients, shapes, and what they refuse."""

from typing import Any

import numpy as np
import pytest
from elsewhere import place, there
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref import ad
from adntn_ref.errors import ArrayError, SpecError
from adntn_ref.nn.attention import MeanToken, PositionEmbedding, Tokens
from adntn_ref.nn.layers import he_normal
from adntn_ref.validation.checks.gradients import check_gradient

SMOOTH: list[tuple[str, Any, tuple[int, ...]]] = [
    ("linear", ar.Linear(3, 2), (3,)),
    ("linear without bias", ar.Linear(3, 2, bias=False), (3,)),
    ("convolution", ar.Conv2d(2, 3, 2), (2, 3, 4)),
    ("strided convolution", ar.Conv2d(2, 4, (2, 1), stride=(1, 2), padding=(0, 1), groups=2), (2, 3, 4)),
    ("dilated convolution", ar.Conv2d(1, 2, 2, dilation=2, bias=False), (1, 4, 3)),
    ("mean pooling", ar.AvgPool(2, stride=1, padding=1), (2, 3, 3)),
    ("flatten", ar.Flatten(), (2, 2, 2)),
    ("tanh", ar.Activation("tanh"), (2, 3)),
    ("layer norm", ar.LayerNorm(3), (2, 3)),
    ("local response norm", ar.LocalResponseNorm(3, alpha=0.5), (4, 2, 1)),
    ("encoder", ar.EncoderLayer(4, 2, 3, "gelu"), (3, 4)),
    ("encoder, norm first", ar.EncoderLayer(4, 1, 2, "tanh", norm_first=True), (2, 4)),
    ("tokens", Tokens(), (2, 2, 3)),
    ("places", PositionEmbedding(2, 3), (2, 3)),
    ("mean token", MeanToken(), (2, 3)),
    ("dropout", ar.Dropout(), (2, 3)),
]
KINKED: list[tuple[str, Any, tuple[int, ...]]] = [
    ("maximum pooling", ar.MaxPool(2, stride=1), (1, 3, 3)),
    ("relu", ar.Activation("relu"), (2, 3)),
]


def inputs_of(layer: Any, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    drawn = {name: rng.standard_normal(size) for name, size in layer.param_shapes.items()}
    count = 2 * int(np.prod(shape))
    # far apart and off zero, so that no difference crosses a kink
    return {**drawn, "x": (rng.permutation(count) + 0.5 - count // 2).reshape(2, *shape) / count}


@pytest.mark.parametrize(("layer", "shape"), [pytest.param(*c[1:], id=c[0]) for c in (*SMOOTH, *KINKED)])
def test_gradient_by_parameters_and_input(layer: Any, shape: tuple[int, ...]) -> None:
    inputs = inputs_of(layer, shape)
    size = (2, *layer.out_shape(shape))
    cotangent = np.random.default_rng(2).standard_normal(size)

    def value(given: dict[str, Any]) -> Any:
        params = {name: given[name] for name in layer.param_shapes}
        return ad.sum(layer(params, given["x"]) * place(cotangent))

    assert there(layer)({k: inputs[k] for k in layer.param_shapes}, inputs["x"]).shape == size
    method = "central" if any(layer is kinked for _, kinked, _ in KINKED) else "complex"
    check_gradient(there(value), there(ad.grad(value)), inputs, method=method)


def test_formulas() -> None:
    w, b, x = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([0.5, 0.0, -0.5]), np.array([[1.0, -1.0]])
    np.testing.assert_array_equal(there(ar.Linear(2, 3))({"weight": w, "bias": b}, x), [[-0.5, -1.0, -1.5]])
    image = np.arange(16.0).reshape(1, 1, 4, 4)
    np.testing.assert_array_equal(there(ar.MaxPool(2))({}, image)[0, 0], [[5, 7], [13, 15]])
    np.testing.assert_array_equal(there(ar.AvgPool(2))({}, image)[0, 0], [[2.5, 4.5], [10.5, 12.5]])
    kernel = {"weight": np.array([[[[1.0, 0.0], [0.0, -1.0]]]]), "bias": np.array([7.0])}
    np.testing.assert_array_equal(there(ar.Conv2d(1, 1, 2))(kernel, image)[0, 0], np.full((3, 3), 2.0))
    np.testing.assert_array_equal(there(ar.Flatten())({}, image), np.arange(16.0)[None])


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))
def test_shape_is_foretold(h: int, w: int, kernel: int, stride: int, padding: int, dilation: int) -> None:
    """A layer refuses a size or makes the shape it says, without running and when run."""
    x = np.ones((2, 2, h, w))
    conv = ar.Conv2d(2, 3, kernel, stride, padding, dilation)
    params = {"weight": np.ones((3, 2, kernel, kernel)), "bias": np.zeros(3)}
    for layer, given_ in ((conv, params), (ar.MaxPool(kernel, stride, padding), {}), (ar.AvgPool(kernel, stride), {})):
        try:
            expected = layer.out_shape((2, h, w))
        except ArrayError:
            with pytest.raises(ArrayError):
                there(layer)(given_, x)
            continue
        if isinstance(layer, ar.MaxPool) and 2 * padding > kernel:
            continue  # refused when run, whatever the size: test_pooling_padding
        assert there(layer)(given_, x).shape == (2, *expected)


def test_he_normal() -> None:
    drawn = he_normal((200, 5, 3, 3), np.random.default_rng(0))
    assert drawn.dtype == np.float64
    assert np.std(drawn) == pytest.approx(np.sqrt(2 / 45), rel=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ar.Linear(0, 2), "inputs of Linear must be an integer >= 1, got 0"),
        (lambda: ar.Linear(2, -1), "outputs of Linear must be an integer >= 1, got -1"),
        (lambda: ar.Linear(2, 1.5), "outputs of Linear"),  # type: ignore[arg-type]
        (lambda: ar.Linear(True, 2), "inputs of Linear"),
        (lambda: ar.Conv2d(0, 1, 3), "in_channels of Conv2d"),
        (lambda: ar.Conv2d(1, -1, 3), "out_channels of Conv2d"),
        (lambda: ar.Conv2d(4, 4, 3, groups=0), "groups of Conv2d"),
        (lambda: ar.Conv2d(4, 6, 3, groups=4), "4 groups do not divide 4 and 6 channels"),
        (lambda: ar.Conv2d(1, 1, 0), "kernel must be an integer >= 1 or a pair of them, got 0"),
        (lambda: ar.Conv2d(1, 1, 2.0), "kernel must be"),  # type: ignore[arg-type]
        (lambda: ar.Conv2d(1, 1, "33"), "kernel must be"),  # type: ignore[arg-type]
        (lambda: ar.Conv2d(1, 1, (1, 2, 3)), "kernel must be"),  # type: ignore[arg-type]
        (lambda: ar.Conv2d(1, 1, 2, stride=0), "stride must be"),
        (lambda: ar.Conv2d(1, 1, 2, padding=-1), "padding must be an integer >= 0"),
        (lambda: ar.Conv2d(1, 1, 2, dilation=(1, True)), "dilation must be"),
        (lambda: ar.MaxPool(0), "kernel must be"),
        (lambda: ar.AvgPool(2, stride=(2, 0)), "stride must be"),
        (lambda: ar.MaxPool(2, padding=-1), "padding must be"),
        (lambda: ar.Activation("softplus"), "softplus"),
        (lambda: ar.BatchNorm(0), "channels of BatchNorm must be an integer >= 1, got 0"),
        (lambda: ar.BatchNorm(2, eps=0.0), "eps of BatchNorm must be a number > 0, got 0.0"),
        (lambda: ar.BatchNorm(2, momentum=1.5), "momentum of BatchNorm must be at most 1, got 1.5"),
        (lambda: ar.BatchNorm(2, momentum="x"), "momentum of BatchNorm must be a number"),  # type: ignore[arg-type]
        (lambda: ar.LayerNorm(2, eps=-1.0), "eps of LayerNorm must be a number > 0"),
        (lambda: ar.LocalResponseNorm(0), "size of LocalResponseNorm"),
        (lambda: ar.LocalResponseNorm(5, k=0.0), "k of LocalResponseNorm must be a number > 0"),
        (lambda: ar.Dropout(1.0), r"p of Dropout must be a number in \[0, 1\), got 1.0"),
        (lambda: ar.Dropout(True), "p of Dropout"),
        (lambda: ar.EncoderLayer(6, 4, 8), "4 heads do not divide a width of 6"),
        (lambda: ar.EncoderLayer(6, 3, 0), "hidden of EncoderLayer"),
        (lambda: ar.EncoderLayer(6, 3, 2, "softplus"), "softplus"),
        (lambda: ar.EncoderLayer(6, 3, 2, dropout=-0.1), "p of Dropout"),
        (lambda: PositionEmbedding(0, 3), "tokens of PositionEmbedding"),
    ],
)
def test_bad_layer(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (ar.Linear(3, 2), (4,), r"takes vectors of 3, got shape \(4,\)"),
        (ar.Linear(3, 2), (1, 3), "takes vectors of 3"),
        (ar.Conv2d(2, 1, 3), (1, 5, 5), "images of 2 channels"),
        (ar.Conv2d(2, 1, 3), (2, 5), "images of 2 channels"),
        (ar.Conv2d(2, 1, 3), (2, 2, 5), "a window of 3 does not fit an axis of 2"),
        (ar.MaxPool(2), (5, 5), "pooling takes images"),
        (ar.AvgPool(6), (1, 5, 5), "a window of 6 does not fit"),
        (ar.BatchNorm(3), (2, 4, 4), r"BatchNorm\(3\) takes 3 channels, got shape \(2, 4, 4\)"),
        (ar.BatchNorm(3), (3, 4), "takes 3 channels"),
        (ar.LayerNorm(3), (3, 4), r"LayerNorm\(3\) takes vectors of 3"),
        (ar.LocalResponseNorm(), (), "needs channels"),
        (ar.EncoderLayer(4, 2, 4), (3, 5), r"takes tokens \(tokens, 4\), got shape \(3, 5\)"),
        (Tokens(), (2, 3), "tokens are made of images"),
        (PositionEmbedding(2, 3), (3, 3), r"takes tokens \(2, 3\)"),
        (MeanToken(), (2,), "the mean token is of tokens"),
    ],
)
def test_bad_input_shape(layer: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ArrayError, match=message):
        layer.out_shape(shape)


def test_pooling_padding() -> None:
    """Windows of padding alone have no maximum."""
    with pytest.raises(ArrayError):
        there(ar.MaxPool(2, 1, 2))({}, np.ones((1, 1, 3, 3)))


def test_layers_are_values() -> None:
    assert ar.Conv2d(1, 2, 3) == ar.Conv2d(1, 2, (3, 3))
    assert len({ar.MaxPool(2), ar.MaxPool((2, 2), 2), ar.AvgPool(2)}) == 2
    assert ar.MaxPool(2).param_shapes == ar.Flatten().param_shapes == ar.Activation("relu").param_shapes == {}

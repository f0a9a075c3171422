"""Layers that behave otherwise in training: batch norm's statistics, dropout's masks, and the encoder block."""

from typing import Any

import numpy as np
import peers
import pytest
from elsewhere import place, there
from small import same

import adntn_ref as ar
from adntn_ref import ad
from adntn_ref.errors import ArrayError
from adntn_ref.nn.layers import run_in_training, start_of
from adntn_ref.validation.checks.gradients import check_gradient

RNG = np.random.default_rng


def moved(layer: Any, seed: int = 0) -> dict[str, Any]:
    """Parameters and buffers off their start."""
    rng = RNG(seed)
    return {k: v + 0.3 * rng.random(v.shape) if v.dtype.kind == "f" else v for k, v in start_of(layer, rng).items()}


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2, 3)])
def test_batch_norm_is_torchs(shape: tuple[int, ...]) -> None:
    """Four steps of training, then evaluation: outputs, running statistics, gradients in both modes."""
    torch = peers.need("torch")
    layer = ar.BatchNorm(3, eps=1e-3, momentum=0.2)
    module = (torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d)(3, 1e-3, 0.2).double()
    params = moved(layer)
    module.load_state_dict({k: torch.tensor(v) for k, v in params.items()})
    for step in range(4):
        x = 2 + RNG(step).standard_normal(shape)
        y, updates = there(layer.in_training)(params, x, RNG(0))
        np.testing.assert_allclose(y, module(torch.tensor(x)).detach(), atol=1e-12)
        params = {**params, **updates}
    assert params["num_batches_tracked"] == module.num_batches_tracked == 4
    for name in ("running_mean", "running_var"):
        np.testing.assert_allclose(params[name], getattr(module, name), atol=1e-12)
    np.testing.assert_allclose(there(layer)(params, x), module.eval()(torch.tensor(x)).detach(), atol=1e-12)
    theirs = torch.tensor(x, requires_grad=True)
    cotangent = RNG(9).standard_normal(shape)
    module(theirs).backward(torch.tensor(cotangent))
    got = there(
        ad.grad(lambda x, w: ad.sum(layer({**place(params), "weight": w}, x) * place(cotangent)), argnums=(0, 1))
    )(x, params["weight"])
    np.testing.assert_allclose(got[0], theirs.grad, atol=1e-12)
    np.testing.assert_allclose(got[1], module.weight.grad, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 2), (2, 2, 1, 2)])
def test_gradient_of_batch_norm_in_both_modes(shape: tuple[int, ...]) -> None:
    layer = ar.BatchNorm(2, eps=0.1)
    params = moved(layer)
    cotangent = RNG(2).standard_normal(shape)
    inputs = {"x": RNG(1).standard_normal(shape), "weight": params["weight"], "bias": params["bias"]}

    def value(given: dict[str, Any], training: bool) -> Any:
        full = {**place(params), "weight": given["weight"], "bias": given["bias"]}
        y = run_in_training(layer, full, given["x"], RNG(0))[0] if training else layer(full, given["x"])
        return ad.sum(ad.sin(y) * place(cotangent))

    for training in (False, True):
        f = lambda given, training=training: value(given, training)
        method = "central" if training else "complex"
        check_gradient(there(f), there(ad.grad(f)), inputs, method=method)


def test_batch_norm_updates_are_raw_and_nothing_is_written() -> None:
    layer = ar.BatchNorm(2)
    params, x = moved(layer), RNG(1).standard_normal((3, 2))
    before = {k: v.copy() for k, v in params.items()}
    _, updates = layer.in_training(params, x, RNG(0))
    assert same(params, before)
    kept: list[dict[str, Any]] = []

    def loss(w: Any) -> Any:
        y, new = layer.in_training({**params, "weight": w}, x, RNG(0))
        kept.append(new)
        return ad.sum(y)

    ad.grad(loss)(params["weight"])
    assert same(kept[0], updates)


def test_batch_norm_keeps_float32() -> None:
    layer = ar.BatchNorm(2)
    params = {k: v.astype("f4") if v.dtype.kind == "f" else v for k, v in moved(layer).items()}
    y, updates = layer.in_training(params, np.ones((3, 2), "f4"), RNG(0))
    assert y.dtype == updates["running_mean"].dtype == updates["running_var"].dtype == np.float32
    assert updates["num_batches_tracked"].dtype == np.int64
    assert layer(params, np.ones((3, 2), "f4")).dtype == np.float32


def test_batch_of_one_number_has_no_variance() -> None:
    with pytest.raises(ArrayError, match=r"two numbers a channel or more, got shape \(1, 2\)"):
        ar.BatchNorm(2).in_training(moved(ar.BatchNorm(2)), np.ones((1, 2)), RNG(0))
    assert ar.BatchNorm(2).in_training(moved(ar.BatchNorm(2)), np.ones((1, 2, 2, 1)), RNG(0))[0].shape == (1, 2, 2, 1)


def test_dropout() -> None:
    layer, x = ar.Dropout(0.3), np.ones((200, 300))
    y, updates = layer.in_training({}, x, RNG(0))
    assert updates == {}
    assert set(np.unique(y)) == {0.0, 1 / 0.7}
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.005)
    np.testing.assert_array_equal(layer.in_training({}, x, RNG(0))[0], y)
    assert not np.array_equal(layer.in_training({}, x, RNG(1))[0], y)
    single = layer.in_training({}, x.astype("f4"), RNG(0))[0]
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single == 0, y == 0)
    assert layer({}, x) is x
    assert ar.Dropout(0.0).in_training({}, x, RNG(0))[0] is x
    np.testing.assert_array_equal(ad.grad(lambda x: ad.sum(layer.in_training({}, x, RNG(0))[0]))(x), y)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_is_torchs(norm_first: bool, activation: str) -> None:
    torch = peers.need("torch")
    layer = ar.EncoderLayer(12, 3, 7, activation, norm_first=norm_first)
    module = torch.nn.TransformerEncoderLayer(
        12, 3, 7, dropout=0.0, activation=activation, batch_first=True, norm_first=norm_first
    ).double()
    params = moved(layer)
    module.load_state_dict({k: torch.tensor(v) for k, v in params.items()})
    assert list(module.state_dict()) == list(layer.param_shapes)
    x, cotangent = RNG(1).standard_normal((2, 4, 12)), RNG(2).standard_normal((2, 4, 12))
    images = torch.tensor(x, requires_grad=True)
    y = module(images)
    y.backward(torch.tensor(cotangent))
    value, pullback = ad.vjp(layer, params, x)
    np.testing.assert_allclose(value, y.detach(), atol=1e-10)
    pulled, gx = pullback(cotangent)
    np.testing.assert_allclose(gx, images.grad, atol=1e-10)
    for name, parameter in module.named_parameters():
        np.testing.assert_allclose(pulled[name], parameter.grad, atol=1e-10, err_msg=name)


def test_encoder_drops_in_training_alone() -> None:
    layer = ar.EncoderLayer(4, 2, 3, dropout=0.5)
    params, x = moved(layer), RNG(1).standard_normal((2, 3, 4))
    y, updates = layer.in_training(params, x, RNG(0))
    assert updates == {}
    np.testing.assert_array_equal(layer.in_training(params, x, RNG(0))[0], y)
    assert not np.allclose(layer(params, x), y)
    plain = ar.EncoderLayer(4, 2, 3)
    np.testing.assert_array_equal(plain.in_training(params, x, RNG(0))[0], layer(params, x))


@pytest.mark.parametrize("name", ["self_attn.in_proj_weight", "linear1.weight"])
def test_projections_can_be_generated(name: str) -> None:
    """A network makes a projection of the block; its cores have right gradients."""
    model = ar.nn.model("transformer", width=8, heads=2, hidden=8, size=28)
    key = f"encoder.layers.0.{name}"
    net = ar.BrickWall(model.param_shapes[key], 1)
    made = ar.Generated(model, {key: net})
    params = {**model.init(0, "float64"), key: net.init(1)}
    x = RNG(0).standard_normal((2, 1, 28, 28))
    np.testing.assert_array_equal(made(params, x), model({**params, key: net.generate(params[key])}, x))

    def loss(cores: dict[str, Any]) -> Any:
        return ad.cross_entropy(made({**params, key: cores}, x), np.array([1, 2]))

    check_gradient(loss, ad.grad(loss), params[key], method="central", rtol=1e-5)

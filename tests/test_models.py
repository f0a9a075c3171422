"""Models: dense ones, generated ones, LeNet-5 and FC-2, and these against PyTorch."""

from typing import Any

import numpy as np
import peers
import pytest
from elsewhere import place, there
from hypothesis import given
from hypothesis import strategies as st
from small import conv_model, dense_model, networks, same, split

import adntn_ref as ar
from adntn_ref import ad
from adntn_ref.errors import ArrayError, DTypeError, NothingSelected, ParameterError, SpecError
from adntn_ref.nn.models import select
from adntn_ref.validation.checks.gradients import check_gradient


def test_lenet5_and_fc2_are_the_papers() -> None:
    lenet, fc2 = ar.lenet5(), ar.fc2()
    assert lenet.parameter_count == 44_426
    assert lenet.in_shape == (1, 28, 28)
    assert lenet.out_shape == (10,)
    assert list(lenet.param_shapes)[:3] == ["conv1.weight", "conv1.bias", "conv2.weight"]
    assert lenet.param_shapes["fc1.weight"] == (120, 256)
    assert fc2.param_shapes == {"fc1.weight": (256, 784), "fc2.weight": (10, 256)}
    assert ar.fc2(inputs=10, hidden=3).in_shape == (10,)
    assert ar.lenet5(classes=7).out_shape == (7,)


@pytest.mark.parametrize("make", [ar.lenet5, lambda: ar.fc2(hidden=32)])
def test_against_torch(make: Any) -> None:
    """Logits, loss and gradients of the same weights, in double precision."""
    torch = peers.need("torch")
    f = torch.nn.functional
    model = make()
    rng = np.random.default_rng(3)
    params = {k: v + 0.01 * rng.standard_normal(v.shape) for k, v in model.init(0, "float64").items()}
    x, labels = rng.standard_normal((5, 1, 28, 28)), np.array([3, 1, 9, 0, 0])
    theirs = {k: torch.tensor(v, requires_grad=True) for k, v in params.items()}
    images = torch.tensor(x)
    if "conv1.weight" in params:
        for name in ("conv1", "conv2"):
            images = f.max_pool2d(f.relu(f.conv2d(images, theirs[f"{name}.weight"], theirs[f"{name}.bias"])), 2)
    hidden = images.flatten(1)
    linear = [name.partition(".")[0] for name in params if name.startswith("fc") and name.endswith("weight")]
    for name in linear:
        hidden = f.linear(hidden, theirs[f"{name}.weight"], theirs.get(f"{name}.bias"))
        hidden = hidden if name == linear[-1] else f.relu(hidden)
    loss = f.cross_entropy(hidden, torch.tensor(labels))
    loss.backward()
    value, gradients = there(ad.value_and_grad(lambda p: ad.cross_entropy(model(p, place(x)), place(labels))))(params)
    np.testing.assert_allclose(there(model)(params, x), hidden.detach().numpy(), rtol=0, atol=1e-10)
    assert float(value) == pytest.approx(loss.item(), abs=1e-12)
    for name, gradient in gradients.items():
        wanted = theirs[name].grad.numpy()
        np.testing.assert_allclose(gradient, wanted, rtol=0, atol=1e-10 * max(1.0, np.abs(wanted).max()), err_msg=name)


def test_init() -> None:
    model = dense_model()
    params = model.init(5)
    assert list(params) == list(model.param_shapes)
    assert {v.dtype.name for v in params.values()} == {"float32"}
    assert same(params, model.init(5))
    assert same(params, model.init(np.random.default_rng(5)))
    assert not params["fc1.bias"].any()
    assert np.std(ar.Sequential((400,), (("fc", ar.Linear(400, 50)),)).init()["fc.weight"]) == pytest.approx(
        (2 / 400) ** 0.5, rel=0.03
    )
    assert model.expand(params) is params
    with pytest.raises(DTypeError, match="float16"):
        model.init(0, "float16")


def test_bad_models() -> None:
    with pytest.raises(SpecError, match="a name of its own"):
        ar.Sequential((3,), (("fc", ar.Linear(3, 3)), ("fc", ar.Linear(3, 3))))
    with pytest.raises(ArrayError, match="takes vectors of 4"):
        ar.Sequential((3,), (("fc", ar.Linear(3, 3)), ("fc2", ar.Linear(4, 3))))


def changed(params: dict[str, Any], **change: Any) -> dict[str, Any]:
    return {**params, **{name.replace("_", "."): value for name, value in change.items()}}


def test_check_params() -> None:
    model = dense_model()
    params = model.init()
    model.check_params(params)
    ad.grad(lambda p: (model.check_params(p), ad.sum(p["fc1.bias"]))[1])(params)  # variables pass
    less = {name: value for name, value in params.items() if name != "fc1.bias"}
    with pytest.raises(ParameterError, match=r"missing \['fc1.bias'\], unknown \['fc9.bias'\]"):
        model.check_params({**less, "fc9.bias": params["fc1.bias"]})
    with pytest.raises(ParameterError, match=r"fc1.bias must be an array, got a list"):
        model.check_params(changed(params, fc1_bias=[0.0] * 8))
    with pytest.raises(ParameterError, match=r"fc1.bias has shape \(7,\); the model needs \(8,\)"):
        model.check_params(changed(params, fc1_bias=np.zeros(7, np.float32)))
    with pytest.raises(DTypeError, match=r"fc1.bias has dtype int64"):
        model.check_params(changed(params, fc1_bias=np.zeros(8, np.int64)))


def test_bad_batch() -> None:
    model = dense_model()
    with pytest.raises(ArrayError, match=r"inputs of shape \(1, 4, 4\), got a batch of shape \(2, 16\)"):
        model(model.init(), np.zeros((2, 16), np.float32))


def generated(model: ar.Sequential, *names: str) -> tuple[ar.Generated, dict[str, Any]]:
    nets = networks(model, *names)
    params = {**model.init(1, "float64"), **{name: net.init(2) for name, net in nets.items()}}
    return ar.Generated(model, nets), params


@pytest.mark.parametrize(("model", "name"), [(dense_model(), "fc2.weight"), (conv_model(), "conv.weight")])
def test_generated_equals_dense(model: ar.Sequential, name: str) -> None:
    made, params = generated(model, name)
    dense = there(made.expand)(params)
    model.check_params(dense)
    assert same(dense[name], there(dict(made.networks)[name].generate)(params[name]))
    kept = made.expand(params)
    assert all(kept[other] is params[other] for other in params if other != name)
    x = split(dtype="float64").train.images[:6]
    np.testing.assert_array_equal(there(made)(params, x), there(model)(dense, x))
    net = dict(made.networks)[name]
    assert (made.weights, made.network_parameters) == (net.weights, net.parameter_count)
    assert made.compression_ratio == net.weights / net.parameter_count


def test_gradient_through_generated_weights() -> None:
    made, params = generated(conv_model(), "fc.weight", "conv.weight")
    part = split(dtype="float64").train
    images, labels = part.images[:6], part.labels[:6]
    names = ["fc.weight", "conv.weight"]

    def loss(cores: dict[str, Any]) -> Any:
        tree = {**place(params), **{n: {k: cores[f"{n}|{k}"] for k in params[n]} for n in names}}
        return ad.cross_entropy(made(tree, place(images)), place(labels))

    flat = {f"{n}|{k}": v for n in names for k, v in params[n].items()}
    check_gradient(there(loss), there(ad.grad(loss)), flat, method="central", rtol=1e-5)


def test_each_weight_is_generated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a call of the model and once a training step, forward; what is frozen once in all."""
    made, params = generated(dense_model(), "fc1.weight", "fc2.weight")
    calls: list[tuple[int, ...]] = []
    generate = ar.BrickWall.generate

    def counting(self: ar.BrickWall, given_: Any) -> Any:
        calls.append(self.shape)
        return generate(self, given_)

    monkeypatch.setattr(ar.BrickWall, "generate", counting)
    data = split(dtype="float64")
    ad.grad(lambda p: ad.sum(made(p, data.train.images[:4])))(params)
    assert calls == [(8, 16), (8, 8)]
    calls.clear()
    after_each: list[int] = []
    ar.train(made, params, data, epochs=1, batch_size=10, callback=lambda tick: after_each.append(len(calls)))
    assert len(after_each) == 6
    assert set(np.diff(after_each)) == {2}  # two weights, one update each
    calls.clear()
    ar.train(made, params, data, epochs=1, batch_size=10, frozen=["fc1.weight"])
    assert calls.count((8, 16)) == 1  # the constant of the training
    assert calls.count((8, 8)) == 6 + 1  # the updates, the first of which serves an evaluation too, and the last one


def test_frozen_generated_weight_stays() -> None:
    made, params = generated(dense_model(), "fc1.weight", "fc2.weight")
    result = ar.train(made, params, split(dtype="float64"), epochs=2, frozen=["fc1.*", "fc3.bias"])
    for name in ("fc1.weight", "fc1.bias", "fc3.bias"):
        assert same(result.params[name], params[name])
    assert not same(result.params["fc2.weight"], params["fc2.weight"])
    assert list(result.params) == list(params)


def test_bad_generated() -> None:
    model = dense_model()
    with pytest.raises(NothingSelected, match=r"no parameter 'fc7.weight'; it has fc1.weight"):
        ar.Generated(model, (("fc7.weight", ar.BrickWall((8, 8), 1)),))
    with pytest.raises(SpecError, match=r"fc1.weight has shape \(8, 16\), its network makes \(8, 8\)"):
        ar.Generated(model, (("fc1.weight", ar.BrickWall((8, 8), 1)),))
    made, params = generated(model, "fc1.weight")
    with pytest.raises(ParameterError, match="dict from core name"):
        made.expand({**params, "fc1.weight": np.zeros((8, 16))})


def test_accuracy() -> None:
    model = ar.Sequential((1, 4, 4), (("flatten", ar.Flatten()), ("fc", ar.Linear(16, 4, bias=False))))
    part = split().train
    rows = np.kron(np.eye(4), np.ones((1, 4))).astype(np.float32)  # the sum of each image row
    right = (part.images[:, 0].sum(axis=2).argmax(axis=1) == part.labels).mean()
    assert right > 0.5
    for size in (1, 7, 500):
        assert ar.accuracy(model, {"fc.weight": rows}, part, size) == right


def test_select() -> None:
    names = ["conv1.weight", "fc1.weight", "fc1.bias", "fc2.weight"]
    assert select(names, ["fc*.weight"]) == ["fc1.weight", "fc2.weight"]
    assert select(names, ["fc2*", "conv?.weight", "fc*"]) == ["conv1.weight", "fc1.weight", "fc1.bias", "fc2.weight"]
    assert select(names, []) == []
    with pytest.raises(NothingSelected, match=r"'FC1.weight' matches none of: conv1.weight, fc1.weight"):
        select(names, ["fc*", "FC1.weight"])


@given(st.lists(st.text("ab.", max_size=4), unique=True), st.lists(st.sampled_from("ab?*."), min_size=1, max_size=4))
def test_select_is_an_ordered_subset(names: list[str], glob: list[str]) -> None:
    try:
        found = select(names, ["".join(glob)])
    except NothingSelected:
        return
    assert found == [name for name in names if name in found] != []

"""Every network and every function of the tape on another array backend, equal to NumPy, and nothing moved silently."""

from typing import Any

import harness_cases
import harness_nn
import numpy as np
import pytest
from combine_cases import NETS
from harness import HOLD_HOST_ARRAYS, Case
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref import ad
from adntn_ref.ad.trees import leaves, map_leaves
from adntn_ref.networks import ProgramNetwork
from adntn_ref.nn.attention import MeanToken, PositionEmbedding, Tokens
from adntn_ref.validation.strategies import cotangent, networks, parameters

SHAPE = (6, 10)
SCHEDULES = ("keep", "recompute", "checkpoints:1", "auto")
RTOL = {"float64": 1e-12, "float32": 3e-5, "complex128": 1e-12}
OTHERS = {
    "trainable start": ar.BrickWall(SHAPE, 3, boundary="trainable", activation_every="column", layout="interleaved"),
    "ttn": ar.TTN(SHAPE, 3),
    "frames": ar.TTN(SHAPE, 3, activation_site="node"),
    "attn": ar.ATTN(SHAPE, 3, layout="axes"),
    "mera": ar.MERA(SHAPE, 3, periodic=True),
    "cp": ar.CP(SHAPE, 3),
    "tucker": ar.Tucker(SHAPE, 2),
    "tensor train": ar.TensorTrain(SHAPE, 3),
    "mpo": ar.MPO(SHAPE, 3),
    **NETS,
}


def cases() -> list[Case]:
    found: dict[str, Case] = {}
    for module in (harness_cases, harness_nn):
        for value in vars(module).values():
            if isinstance(value, list) and value and isinstance(value[0], Case):
                found.update({str(case): case for case in value})
    return [case for name, case in found.items() if not name.startswith(HOLD_HOST_ARRAYS)]


def agree(got: Any, expected: Any, rtol: float) -> None:
    """Ask for equality of two trees, relative to the largest entry of each leaf, at least 1."""
    for a, b in zip(leaves(ar.to_backend(got, "numpy")), leaves(expected), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        off = float(np.abs(a - b).max(initial=0.0))
        assert off <= rtol * max(1.0, float(np.abs(b).max(initial=0.0))), off


def paired(net: Any, params: Any, g: Any, backend: str, schedule: str | None) -> Any:
    """Weight and gradients there."""
    params, g = ar.to_backend((params, g), backend)
    weight, pullback = net.vjp(params, schedule=schedule) if schedule else net.vjp(params)
    return net.generate(params), weight, pullback(g)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ad.ACTIVATIONS)
def test_brickwalls(backend: Any, activation: str, dtype: str) -> None:
    net = ar.BrickWall(SHAPE, 3, activation=activation)
    params, g = net.init(0, dtype), cotangent(net, 1, dtype)
    weight, pullback = net.vjp(params)
    for schedule in SCHEDULES:
        agree(paired(net, params, g, backend.name, schedule), (weight, weight, pullback(g)), RTOL[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("net", OTHERS.values(), ids=list(OTHERS))
def test_networks(backend: Any, net: Any, dtype: str) -> None:
    params, g = net.init(0, dtype), cotangent(net, 1, dtype)
    weight, pullback = net.vjp(params)
    for schedule in SCHEDULES if isinstance(net, ProgramNetwork) else (None,):
        agree(paired(net, params, g, backend.name, schedule), (weight, weight, pullback(g)), RTOL[dtype])


@given(data=st.data())
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_any_network(backend: Any, dtype: str, data: st.DataObject) -> None:
    net = data.draw(networks(limit=64, dtype=dtype))
    params, g = data.draw(parameters(net, dtype)), cotangent(net, 3, dtype)
    if dtype == "complex128" and getattr(net, "activation", "identity") == "gelu":
        return
    weight, pullback = net.vjp(params)
    agree(paired(net, params, g, backend.name, None), (weight, weight, pullback(g)), 1e-10)


@pytest.mark.parametrize("net", OTHERS.values(), ids=list(OTHERS))
def test_networks_on_the_tape(backend: Any, net: Any) -> None:
    params, g = net.init(0), cotangent(net, 1)

    def f(p: Any, c: Any) -> Any:
        return sum(ad.sum(w * x) for w, x in zip(leaves(net.generate(p)), leaves(c), strict=True))

    there, c = ar.to_backend((params, g), backend.name)
    agree(ar.grad(lambda p: f(p, c))(there), ar.grad(lambda p: f(p, g))(params), 1e-12)


@pytest.mark.parametrize("net", [net for net in OTHERS.values() if not net.apply_refusal], ids=repr)
def test_products_site_by_site(backend: Any, net: Any) -> None:
    params, x = net.init(0), np.random.default_rng(0).standard_normal((3, int(np.prod(net.placement.shape[1:]))))

    def f(p: Any, z: Any) -> Any:
        return ad.sum(ad.sin(net.apply(p, z)))

    there = ar.to_backend((params, x), backend.name)
    agree(net.apply(*there), net.apply(params, x), 1e-12)
    agree(ar.grad(f, (0, 1))(*there), ar.grad(f, (0, 1))(params, x), 1e-12)


def test_several_at_once(backend: Any) -> None:
    net = ar.BrickWall(SHAPE, 2)
    stacked = {name: np.stack([net.init(k)[name] for k in range(3)]) for name in net.core_shapes}
    g = np.stack([cotangent(net, k, "float64") for k in range(3)])
    weights, pullback = ar.vjp_many(net, stacked)
    there, c = ar.to_backend((stacked, g), backend.name)
    weights_there, pullback_there = ar.vjp_many(net, there)
    agree((weights_there, pullback_there(c)), (weights, pullback(g)), 1e-12)


def test_attention_and_normalisation(backend: Any) -> None:
    """As in training, with dropout and running statistics; and in evaluation."""
    layers = (
        ("conv", ar.Conv2d(1, 4, 3)),
        ("norm", ar.BatchNorm(4)),
        ("response", ar.LocalResponseNorm(3)),
        ("tokens", Tokens()),
        ("position", PositionEmbedding(16, 4)),
        ("block", ar.EncoderLayer(4, 2, 6, "gelu", dropout=0.3)),
        ("mean", MeanToken()),
    )
    model, x = ar.Sequential((1, 6, 6), layers), np.random.default_rng(0).standard_normal((5, 1, 6, 6))
    state = model.init(0, "float64")
    buffers = {name: state[name] for name in model.buffer_shapes}
    params = {name: state[name] for name in model.param_shapes}

    def f(p: Any, z: Any, kept: Any) -> Any:
        y, updates = model.in_training({**p, **kept}, z, np.random.default_rng(3))
        return ad.sum(ad.sin(y)) + ad.sum(ad.cos(model({**p, **kept}, z))), updates

    there = ar.to_backend((params, x, buffers), backend.name)
    agree(ar.value_and_grad(f, has_aux=True)(*there), ar.value_and_grad(f, has_aux=True)(params, x, buffers), 1e-11)


@pytest.mark.parametrize("name", ["trainable start", "mera", "frames"])
def test_second_order(backend: Any, name: str) -> None:
    net = OTHERS[name]
    params, g, tangents = net.init(0), cotangent(net, 1), net.init(1)
    there, c, t = ar.to_backend((params, g, tangents), backend.name)
    agree(net.hvp(there, t, c), net.hvp(params, tangents, g), 1e-10)
    agree(net.jvp(there, t), net.jvp(params, tangents), 1e-10)
    agree(net.forward_states(there), net.forward_states(params), 1e-12)
    agree(net.adjoint_states(there, c), net.adjoint_states(params, g), 1e-12)
    agree(net.environments(there, c), net.environments(params, g), 1e-12)


@pytest.mark.parametrize("case", cases(), ids=str)
def test_functions_of_the_tape(backend: Any, case: Case) -> None:
    """Value, first gradient, and the gradient of the gradient."""
    xs = case.draw()

    def first(values: Any) -> Any:
        return ar.vjp(case.call, *values)

    value, pullback = first(xs)
    g = map_leaves(lambda y: np.cos(np.arange(np.size(y))).reshape(np.shape(y)), value)
    there, c = ar.to_backend((xs, g), backend.name)
    value_there, pullback_there = first(there)
    agree((value_there, pullback_there(c)), (map_leaves(np.asarray, value), pullback(g)), 1e-12)

    def second(values: Any, weights: Any) -> Any:
        return sum(ad.sum(ad.real(x * x)) for x in leaves(ar.vjp(case.call, *values)[1](weights)))

    agree(ar.grad(lambda v: second(v, c))(there), ar.grad(lambda v: second(v, g))(xs), 1e-10)


INDICES: dict[str, Any] = {
    "repeated": np.array([1, 0, 1, 1, 3, 1]),
    "pairs": (np.array([0, 0, 2, 0]), np.array([1, 1, 0, 1])),
    "mixed": (slice(1, 3), np.array([2, 2, 0])),
    "basic": (slice(1, None), 0),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=list(INDICES))
def test_indices(backend: Any, index: Any) -> None:
    x = np.random.default_rng(0).standard_normal((4, 3))

    def f(z: Any, i: Any) -> Any:
        return ad.sum(ad.sin(ad.getitem(z, index=i)) ** 2)

    there, i = ar.to_backend((x, index), backend.name)
    agree(ar.grad(f)(there, i), ar.grad(f)(x, index), 1e-14)


@pytest.mark.parametrize("stride", [(2, 2), (1, 2), (3, 1), (1, 1), None])
def test_pooling(backend: Any, stride: Any) -> None:
    """Windows that overlap too, where several cotangents go to one pixel."""
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 7))

    def f(z: Any) -> Any:
        return ad.sum(ad.sin(ad.max_pool2d(z, (2, 3), stride)) + ad.sum(ad.avg_pool2d(z, kernel=(2, 3))))

    agree(ar.value_and_grad(f)(ar.to_backend(x, backend.name)), ar.value_and_grad(f)(x), 1e-13)


def test_cross_entropy(backend: Any) -> None:
    logits, labels = np.random.default_rng(0).standard_normal((5, 4)), np.array([0, 3, 3, 1, 2])
    there = ar.to_backend((logits, labels), backend.name)
    agree(ar.value_and_grad(ad.cross_entropy)(*there), ar.value_and_grad(ad.cross_entropy)(logits, labels), 1e-14)
    wrong = ar.to_backend(np.array([0, 4, 3, 1, 2]), backend.name)
    assert np.isnan(ar.to_backend(ad.cross_entropy(there[0], wrong), "numpy"))  # and no waiting to say so


def test_where_and_concatenate_with_constants(backend: Any) -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 3, 4))

    def f(a: Any, b: Any) -> Any:
        return ad.sum(ad.concatenate([ad.where(b > 0, a, 2 * b), ad.where(b > 0, 1.0, a), ad.power(ad.abs(a), b)]))

    there = ar.to_backend((x, y), backend.name)
    agree(ar.grad(f, (0, 1))(*there), ar.grad(f, (0, 1))(x, y), 1e-12)

"""Networks as functions of JAX's arrays: dtypes, transforms, refusals; both ways give what the package gives.

Every kind of network by the closed form is compared in test_interop_jax_verify.py.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import peers
import pytest
import small
from adapter_cases import NAMED, close, complexified, drawn, given_to, named

import adntn_ref as ar
from adntn_ref.errors import DTypeError, MissingExtra, ParameterError, SpecError
from adntn_ref.validation.verify import verify

jax = peers.need("jax")

from adntn_ref.interop.jax import FUNCTIONS, WAYS, from_jax, generator, to_jax  # noqa: E402
from adntn_ref.interop.recording import Recorder  # noqa: E402
from adntn_ref.validation.adapters.interop_jax import InJax  # noqa: E402
from adntn_ref.validation.adapters.jax_adapter import x64  # noqa: E402

WALL = ar.BrickWall((2, 3), layers=2, activation="tanh")


@pytest.fixture
def double() -> Iterator[None]:
    with x64():
        yield


def compare(network: ar.Network, way: str, dtype: str, rtol: float) -> None:
    params, g = drawn(network, dtype)
    weight, pullback = network.vjp(params)
    given = given_to(network, params)
    close(named(InJax(way).generate(network.to_spec(), given)), named(weight), rtol)
    close(InJax(way).vjp(network.to_spec(), given, g), pullback(g), rtol)


@pytest.mark.parametrize("name", ["ttn of one node", "mera size-1 bonds"])
def test_networks_by_its_own_gradient(name: str) -> None:
    compare(NAMED[name], "autograd", "float64", 1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_other_dtypes(way: str) -> None:
    compare(NAMED["mpo"], way, "float32", 2e-5)
    compare(complexified(NAMED["mpo"]), way, "complex128", 1e-12)


def test_the_reference_agrees() -> None:
    """What ``python -m adntn_ref.validation --against`` does, on a few random cases."""
    report = verify(InJax("closed"), cases=[], random=2, time_limit=600)
    assert report.random is not None
    assert (report.exit_code, report.random.judged, report.random.failing) == (0, 2, None)


@pytest.mark.parametrize("way", WAYS)
def test_transforms(way: str, double: None) -> None:
    """Compiled, of many at once, and the gradient of a gradient, against the package's Hessian."""
    weight, params, tangents = generator(WALL, way), WALL.init(0), WALL.init(1)
    moved = to_jax({"params": params, "tangents": tangents})

    def loss(p: Any) -> Any:
        return (weight(p) * 1.5).sum()

    g = np.full((2, 3), 1.5)
    expected = WALL.vjp(params)[1](g)
    gradient = jax.jit(jax.grad(loss))
    close(from_jax(gradient(moved["params"])), expected, 1e-12)
    both = jax.tree.map(lambda *x: jax.numpy.stack(x), moved["params"], moved["tangents"])
    many = from_jax(jax.jit(jax.vmap(jax.grad(loss)))(both))
    close({name: x[0] for name, x in many.items()}, expected, 1e-12)

    def along(p: Any) -> Any:
        found = jax.grad(loss)(p)
        return sum((found[name] * moved["tangents"][name]).sum() for name in found)

    close(from_jax(jax.jit(jax.grad(along))(moved["params"])), WALL.hvp(params, tangents, g), 1e-12)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("activation", "slope"), [("relu", 0.0), ("leaky_relu", 0.01)])
def test_slope_at_a_kink(way: str, activation: str, slope: float, double: None) -> None:
    """All pre-activations are exactly 0: what comes back is what the slope there lets through."""
    network = ar.BrickWall((2, 2), layers=2, boundary="trainable", activation=activation)
    params = {name: np.ones(shape) for name, shape in network.core_shapes.items()}
    params["layer0.brick0"] = np.zeros((2, 2, 2, 2))
    weight = generator(network, way)
    gradient = jax.jit(jax.grad(lambda p: weight(p).sum()))(to_jax(params))
    assert np.unique(gradient["layer0.brick0"]).tolist() == [4 * slope]


def test_every_recorded_function_is_there() -> None:
    assert {*FUNCTIONS, "eye", "constant"} == set(Recorder.FUNCTIONS)
    x = jax.numpy.array([1.0, -2.0])
    assert FUNCTIONS["divide"](x, 4.0).tolist() == [0.25, -0.5]
    assert FUNCTIONS["negative"](x).tolist() == [-1.0, 2.0]
    assert FUNCTIONS["broadcast_to"](x, shape=(2, 2)).tolist() == [[1.0, -2.0]] * 2
    assert FUNCTIONS["real"](x + 1j).tolist() == [1.0, -2.0]
    assert FUNCTIONS["copy"](x) is FUNCTIONS["contiguous"](x) is x
    assert np.isnan(FUNCTIONS["maximum"](jax.numpy.array([np.nan]), 0)).all()


def test_moving_keeps_dtypes_and_bits() -> None:
    params = {"fc": WALL.init(0, "float32"), "more": [np.ones(2, "float32")]}
    assert small.same(from_jax(to_jax(params))["fc"], params["fc"])
    with pytest.raises(DTypeError, match=r"JAX would turn float64 into float32: .*jax_enable_x64"):
        to_jax(WALL.init(0))


def test_one_function_a_network() -> None:
    assert generator(WALL) is generator(ar.BrickWall((2, 3), layers=2, activation="tanh"))


def refused(**changed: Any) -> Any:
    return generator(WALL)({**to_jax(WALL.init(0, "float32")), **changed})


def test_refusals() -> None:
    with pytest.raises(SpecError, match="backward must be one of closed, autograd, got 'closed_torch'"):
        generator(WALL, "closed_torch")
    with pytest.raises(SpecError, match="a generator needs a network, got a dict"):
        generator({})  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="a dict from core name to array, got a list"):
        generator(WALL)([])  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"missing cores \[\], cores it has not \['other'\]"):
        refused(other=jax.numpy.ones(2))
    with pytest.raises(ParameterError, match=r"core layer1.brick0 has shape \(2, 2\)"):
        refused(**{"layer1.brick0": jax.numpy.ones((2, 2))})
    with pytest.raises(ParameterError, match=r"core layer1.brick0 has shape None"):
        refused(**{"layer1.brick0": 3.0})
    with pytest.raises(DTypeError, match=r"core layer1.brick0 has dtype float16; allowed: float32, float64"):
        refused(**{"layer1.brick0": jax.numpy.ones((2, 2, 2, 2), "float16")})
    with x64(), pytest.raises(DTypeError, match=r"core layer1.brick0 has dtype float64, those before it float32"):
        refused(**{"layer1.brick0": np.ones((2, 2, 2, 2))})


def test_a_missing_framework_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from adntn_ref.extras import need

    small.hide(monkeypatch, "jax")
    with pytest.raises(MissingExtra, match=r'this needs the package jax; .*"adntn-ref\[peers\]"'):
        need("jax.numpy", "peers")

"""The ready adapters compute what the package computes: weight, gradients, states and their cotangents."""

import ast
import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import adapter_cases
import numpy as np
import pytest
import small
from adapter_cases import NAMED, close, compare, complexified, drawn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

import adntn_ref as ar
from adntn_ref.errors import MissingExtra
from adntn_ref.validation.adapters import numpy_like, plain
from adntn_ref.validation.adapters.closed_form import ClosedForm
from adntn_ref.validation.strategies import (
    brickwalls,
    combinations,
    cotangents,
    networks,
    node_trees,
    parameters,
    trees,
)

RTOL = {"float64": 1e-12, "complex128": 1e-12, "float32": 2e-5, "complex64": 2e-5}
ADAPTERS = ["own", "torch", "autograd", "jax"]


@pytest.fixture(scope="module", params=ADAPTERS)
def module(request: pytest.FixtureRequest) -> Any:
    return adapter_cases.adapter(request.param)


@pytest.mark.parametrize("name", NAMED)
def test_named_cases(module: Any, name: str) -> None:
    params, g = drawn(NAMED[name], "float64")
    compare(module, NAMED[name], params, g, RTOL["float64"])


@pytest.mark.parametrize("name", ["brickwall axes", "mera periodic", "ttn nodes", "cp", "nested"])
@pytest.mark.parametrize("dtype", ["float32", "complex128", "complex64"])
def test_dtypes(module: Any, name: str, dtype: str) -> None:
    """Without activations for complex numbers; gradients are dL/dRe + i dL/dIm."""
    network = complexified(NAMED[name]) if dtype.startswith("complex") else NAMED[name]
    params, g = drawn(network, dtype)
    compare(module, network, params, g, RTOL[dtype])


def check_random(module: Any, data: st.DataObject, nets: st.SearchStrategy[Any], dtype: str) -> None:
    network = data.draw(nets)
    params, g = data.draw(parameters(network, dtype)), data.draw(cotangents(network, dtype))
    compare(module, network, params, g, RTOL[dtype])


@pytest.mark.parametrize("name", ["torch", "autograd"])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@given(data=st.data())
def test_random_cases(name: str, dtype: str, data: st.DataObject) -> None:
    check_random(adapter_cases.adapter(name), data, networks(limit=128, dtype=dtype), dtype)


@given(data=st.data())
def test_random_trees_and_combinations_in_torch(data: st.DataObject) -> None:
    """What ``networks()`` draws less often."""
    nets = st.one_of(trees(limit=128), node_trees(limit=128), combinations())
    check_random(adapter_cases.adapter("torch"), data, nets, "float64")


@settings(max_examples=8)
@given(data=st.data())
def test_random_cases_in_jax(data: st.DataObject) -> None:
    """Few, because every network is compiled anew."""
    check_random(adapter_cases.adapter("jax"), data, networks(limit=64), "float64")


def test_what_is_unknown_is_not_supported(module: Any) -> None:
    if module.__name__.endswith("own_adapter"):
        pytest.skip("the package itself knows all there is")
    with pytest.raises(NotImplementedError, match="network 'peps'"):
        module.generate({"network": "peps", "shape": [2, 2]}, {})


def test_a_relu_at_zero_has_slope_zero(module: Any) -> None:
    """All states are exactly 0 after the first column: the slope there decides what comes back."""
    network = ar.BrickWall((2, 2), layers=2, boundary="trainable")
    params = {name: np.ones(shape) for name, shape in network.core_shapes.items()}
    params["layer0.brick0"] = np.zeros((2, 2, 2, 2))
    g = np.ones((2, 2))
    gradients = module.vjp(network.to_spec(), params, g)
    assert not gradients["layer0.brick0"].any()
    compare(module, network, params, g, 1e-14)


def test_jax_keeps_the_setting_of_others() -> None:
    jax = adapter_cases.adapter("jax").jax
    before = jax.numpy.ones(1).dtype
    adapter_cases.adapter("jax").generate(NAMED["cp"].to_spec(), drawn(NAMED["cp"], "float64")[0])
    assert jax.numpy.ones(1).dtype == before == np.float32


CLOSED = sorted(name for name, net in NAMED.items() if hasattr(net, "forward_states") and "nodes" not in name)


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_closed_form(name: str, dtype: str) -> None:
    network = complexified(NAMED[name]) if dtype.startswith("complex") else NAMED[name]
    check_closed_form(network, *drawn(network, dtype))


@given(data=st.data())
def test_closed_form_of_random_networks(data: st.DataObject) -> None:
    network = data.draw(st.one_of(brickwalls(limit=128), trees(limit=128)))
    check_closed_form(network, data.draw(parameters(network)), data.draw(cotangents(network)))


def check_closed_form(network: Any, params: dict[str, np.ndarray], g: np.ndarray) -> None:
    found = ClosedForm(np, erf).vjp(network.to_spec(), params, g)
    close(found, network.vjp(params)[1](g), RTOL["float64"])


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """NumPy in CuPy's place; what is sent to the device is counted."""
    fake = ModuleType("cupy")
    fake.__dict__.update({name: getattr(np, name) for name in dir(np) if not name.startswith("_")})
    fake.sent = 0
    fake.there = True

    def asarray(x: np.ndarray) -> np.ndarray:
        fake.sent += 1
        return x.copy()

    fake.asarray, fake.asnumpy = asarray, np.array
    fake.cuda = SimpleNamespace(is_available=lambda: fake.there)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setitem(sys.modules, "cupyx.scipy.special", ModuleType("cupyx.scipy.special"))
    sys.modules["cupyx.scipy.special"].erf = erf
    name = "adntn_ref.validation.adapters.cupy_adapter"
    monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module(name)
    monkeypatch.delitem(sys.modules, name)
    return SimpleNamespace(fake=fake, module=module)


@pytest.mark.parametrize("name", ["brickwall odd, trainable", "mera periodic"])
def test_cupy_with_numpy_in_its_place(cupy: SimpleNamespace, name: str) -> None:
    network = NAMED[name]
    params, g = drawn(network, "float64")
    close({"w": cupy.module.generate(network.to_spec(), params)}, {"w": network.generate(params)}, 1e-12)
    close(cupy.module.vjp(network.to_spec(), params, g), network.vjp(params)[1](g), 1e-12)
    close(cupy.module.states(network.to_spec(), params), network.forward_states(params), 1e-12)
    assert cupy.fake.sent == 3 * len(params) + 1


def test_cupy_without_what_it_needs(cupy: SimpleNamespace) -> None:
    network = NAMED["nested"]
    params, g = drawn(network, "float64")
    given = adapter_cases.given_to(network, params)
    close(cupy.module.generate(network.to_spec(), given), network.generate(params), 1e-12)
    assert cupy.module.states(network.to_spec(), given) == {}
    with pytest.raises(NotImplementedError, match="closed-form adjoints of a stack are not written here"):
        cupy.module.vjp(network.to_spec(), given, g)
    cupy.fake.there = False
    with pytest.raises(NotImplementedError, match="no CUDA device"):
        cupy.module.generate(network.to_spec(), given)


@pytest.mark.parametrize("package", ["torch", "jax", "autograd", "cupy"])
def test_a_missing_framework_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    small.hide(monkeypatch, package)
    name = f"adntn_ref.validation.adapters.{package}_adapter"
    monkeypatch.delitem(sys.modules, name, raising=False)
    where = "autograd$" if package == "autograd" else r'"adntn-ref\[(peers|cuda)\]"$'
    with pytest.raises(MissingExtra, match=f"this needs the package {package}; .* -m pip install {where}"):
        importlib.import_module(name)


@pytest.mark.parametrize("activation", ["sigmoid", "silu", "gelu"])
def test_activations_written_out_do_not_overflow(activation: str) -> None:
    z = np.array([-800.0, -30.0, 0.0, 30.0, 800.0])
    with np.errstate(all="raise", under="ignore"):
        x = numpy_like.activations(np, erf)[activation](z)
    low = 9.357622968839299e-14  # sigmoid(-30)
    exact = {"sigmoid": [0, low, 0.5, 1, 1], "silu": [0, -30 * low, 0, 30, 800], "gelu": [0, 0, 0, 30, 800]}[activation]
    np.testing.assert_allclose(x, exact, rtol=1e-13, atol=1e-300)


def test_no_adapter_knows_the_networks_code() -> None:
    """The complete implementations and their bookkeeping import nothing of the package but how to need an extra."""
    for name in ("plain", "numpy_like", "closed_form", "torch_adapter", "jax_adapter", "autograd_adapter"):
        path = Path(plain.__file__).with_name(f"{name}.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("adntn_ref") for alias in node.names)
            if isinstance(node, ast.ImportFrom):
                assert node.level < 2
                ours = node.level == 0 and str(node.module).startswith("adntn_ref")
                assert not ours or node.module in ("adntn_ref.extras", "adntn_ref.errors")

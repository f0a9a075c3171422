"""States, cotangents and environments one by one, and the linearised program: against the tape."""

from typing import Any

import numpy as np
import pytest
from elsewhere import alike, place, there
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref import ad
from adntn_ref.errors import ArrayError, DTypeError, ParameterError
from adntn_ref.program.frames import Frames
from adntn_ref.program.steps import Product
from adntn_ref.validation.strategies import brickwalls


@st.composite
def trees(draw: st.DrawFn) -> Any:
    modes = tuple(draw(st.lists(st.integers(1, 3), min_size=2, max_size=6)))
    kind = draw(st.sampled_from([ar.TTN, ar.ATTN, ar.MERA]))
    options = {"periodic": draw(st.booleans())} if kind is ar.MERA else {}
    if kind is ar.TTN:
        options = {"activation_site": draw(st.sampled_from(["level", "node"]))}
    name = draw(st.sampled_from(["tanh", "gelu", "sin", "identity", "relu"]))
    return kind((int(np.prod(modes)),), draw(st.integers(1, 3)), modes=modes, activation=name, **options)


NETWORKS = st.one_of(brickwalls(), trees())


def drawn(net: Any, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape) for name, shape in net.core_shapes.items()}


def near(got: dict[str, Any], expected: dict[str, Any], rtol: float = 1e-11) -> None:
    assert got.keys() == expected.keys()
    size = max(float(np.abs(x).max(initial=0.0)) for x in expected.values())
    for name, value in expected.items():
        assert np.asarray(got[name]).shape == np.asarray(value).shape
        assert np.abs(got[name] - value).max(initial=0.0) <= rtol * max(size, 1e-30), name


@given(NETWORKS, st.integers(0, 99))
def test_directional_derivatives(net: Any, seed: int) -> None:
    params, tangents = drawn(net, seed), drawn(net, seed + 1)
    weight, change = there(net.jvp)(params, tangents)
    near(
        {"W": weight, "dW": change},
        {"W": there(net.generate)(params), "dW": there(ad.jvp)(net.generate, params, tangents)},
    )


@given(NETWORKS, st.integers(0, 99))
def test_hessian_vector_products(net: Any, seed: int) -> None:
    params, tangents = drawn(net, seed), drawn(net, seed + 1)
    cotangent = np.random.default_rng(seed).standard_normal(net.shape)
    expected = there(ad.hvp)(lambda p: ad.sum(net.generate(p) * place(cotangent)), params, tangents)
    near(there(net.hvp)(params, tangents, cotangent), expected)


def test_second_order_of_complex_cores() -> None:
    net = ar.MERA((36,), 2, modes=(2, 3, 3, 2), activation="identity", periodic=True)
    params, tangents = ({k: a + 1j * b for k, a, b in _pairs(net, s)} for s in (0, 5))
    cotangent = np.linspace(-1, 1, 36) * (1 - 2j)
    expected = there(ad.hvp)(lambda p: ad.real(ad.sum(ad.conj(net.generate(p)) * place(cotangent))), params, tangents)
    near(there(net.hvp)(params, tangents, cotangent), expected)


def _pairs(net: Any, seed: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    real, imag = drawn(net, seed), drawn(net, seed + 1)
    return [(name, real[name], imag[name]) for name in real]


@given(NETWORKS, st.integers(0, 99))
def test_cotangents_of_states(net: Any, seed: int) -> None:
    """The cotangent of a state is the gradient of <G, W> with respect to it, all later steps run on the tape."""
    params = drawn(net, seed)
    cotangent = np.random.default_rng(seed).standard_normal(net.shape)
    states, steps = there(net.forward_states)(params), net.program.all_steps
    found = there(net.adjoint_states)(params, cotangent)
    assert list(found) == list(states) == [step.name for step in steps]
    if isinstance(net.program, Frames):
        check_frames(net, params, states, found)
        return
    for position, step in enumerate(steps):

        def rest(x: Any, position: int = position) -> Any:
            x = ad.reshape(x, (-1,))
            for later in steps[position + 1 :]:
                assert not isinstance(later, Product)
                x = later.forward(place(params), x)[0]
            return ad.sum(net.placement.extract(x) * place(cotangent))

        near({"G": found[step.name]}, {"G": there(ad.grad(rest))(states[step.name])})


def check_frames(net: Any, params: Any, states: Any, found: Any) -> None:
    """A frame is its core mixed with the children's frames, so its core's environment has its cotangent in it."""
    for frame in net.program.frames[:-1]:
        z, u = states[frame.core], states[f"{frame.core}.activation"]
        first = ad.get_activation(net.activation).first(z, u)
        near({"G": found[frame.core]}, {"G": first * found[f"{frame.core}.activation"]}, 1e-14)
        if frame.left is frame.right is None:  # Z is the core itself
            g = found[frame.core]
            near({"dW": g}, {"dW": there(net.environments)(params, _cotangent_of(net, found)).get(frame.core)}, 1e-14)


def _cotangent_of(net: Any, found: Any) -> Any:
    return net.placement.extract(ad.reshape(found["root"], (-1,)))


@given(NETWORKS, st.integers(0, 99))
def test_environments_are_the_gradient(net: Any, seed: int) -> None:
    params = drawn(net, seed)
    cotangent = np.random.default_rng(seed).standard_normal(net.shape)
    found, expected = there(net.environments)(params, cotangent), there(net.vjp)(params)[1](cotangent)
    assert found.keys() == expected.keys()
    assert all(alike(found[name], expected[name]) for name in expected)


def test_a_pre_activation_adjoint_by_hand() -> None:
    net = ar.MERA((16,), 2, activation="tanh")
    params, cotangent = net.init(0), np.linspace(-1, 1, 16)
    states, adjoints = there(net.forward_states)(params), there(net.adjoint_states)(params, cotangent)
    z = states["depth1"]
    near({"G": adjoints["depth1"]}, {"G": (1 - np.tanh(z) ** 2) * adjoints["depth1.activation"]})


def test_bad_input() -> None:
    net = ar.TTN((8,), 2)
    params = net.init(0)
    with pytest.raises(ArrayError, match="the cotangent has shape"):
        there(net.adjoint_states)(params, np.ones(7))
    with pytest.raises(DTypeError, match="the cotangent has dtype float32"):
        there(net.environments)(params, np.ones(8, "float32"))
    with pytest.raises(DTypeError, match="the tangents are float32, the parameters float64"):
        there(net.jvp)(params, {k: v.astype("float32") for k, v in params.items()})
    with pytest.raises(ParameterError, match="missing cores root"):
        there(net.hvp)(params, {k: v for k, v in params.items() if k != "root"}, np.ones(8))

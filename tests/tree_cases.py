"""Trees with parameters and cotangents, and comparisons in norm, for the tests of trees."""

from typing import Any

import numpy as np
from elsewhere import there
from hypothesis import strategies as st

from adntn_ref.networks.tree import TreeNetwork
from adntn_ref.program.steps import Program
from adntn_ref.validation import dense_tree
from adntn_ref.validation.strategies import cotangents, parameters

RTOL = 1e-12
Params = dict[str, Any]
Case = tuple[TreeNetwork, Params, np.ndarray]


@st.composite
def cases(draw: st.DrawFn, nets: st.SearchStrategy[Any], dtype: str = "float64") -> Case:
    net = draw(nets)
    return net, draw(parameters(net, dtype)), draw(cotangents(net, dtype))


def close(got: Any, expected: Any, rtol: float = RTOL, scale: float = 0.0) -> None:
    """Ask for equality in norm, relative to the larger of the expected norm and ``scale``."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    allowed = rtol * max(float(np.linalg.norm(expected)), scale, 1e-200)
    off = float(np.linalg.norm(got - expected))
    assert off <= allowed, f"off by {off:.3g}, allowed {allowed:.3g}"


def close_all(got: Params, expected: Params, rtol: float = RTOL, scale: float = 0.0) -> None:
    """Compare gradients; a core's rounding is relative to the whole gradient, sums of large terms may cancel."""
    assert set(got) == set(expected)
    whole = max(scale, norm(expected))
    for name, g in expected.items():
        close(got[name], g, rtol, whole)


def norm(gradients: Params) -> float:
    return float(np.sqrt(sum(np.linalg.norm(g) ** 2 for g in gradients.values())))


def size_of_terms(case: Case) -> float:
    """The gradient of the same sums without signs and sigma: rounding is relative to this where terms cancel."""
    net, params, g = case
    spec = {**net.to_spec(), "activation": "identity"}
    return norm(dense_tree.vjp(spec, {name: np.abs(core) for name, core in params.items()}, np.abs(g)))


def size_of_sums(net: TreeNetwork, params: Params) -> float:
    """The weight of the same sums without signs and sigma."""
    spec = {**net.to_spec(), "activation": "identity"}
    weight = dense_tree.generate(spec, {name: np.abs(core) for name, core in params.items()})
    return float(np.linalg.norm(weight))


def check_case(case: Case, rtol: float = RTOL) -> None:
    """Compare weight and gradient with the oracle; dtypes and order of names too."""
    net, params, g = case
    spec = net.to_spec()
    weight, pullback = there(net.vjp)(params)
    gradients = pullback(g)
    share = 1e-2 if rtol == RTOL else 1.0
    size = share * size_of_sums(net, params)
    close(weight, dense_tree.generate(spec, params), rtol, size)
    close(there(net.generate)(params), weight, rtol, size)
    close_all(gradients, dense_tree.vjp(spec, params, g), rtol, share * size_of_terms(case))
    assert weight.dtype == g.dtype
    assert list(gradients) == list(net.core_shapes)
    assert {x.dtype for x in gradients.values()} == {g.dtype}
    assert weight.flags.c_contiguous
    assert all(x.flags.c_contiguous for x in gradients.values())


def normal(net: TreeNetwork, seed: int = 0, dtype: str = "float64") -> Params:
    """Parameters of normal numbers."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in net.core_shapes.items()}


def unit_mixing(shapes: dict[str, tuple[int, ...]]) -> Params:
    """The unit matrix for every mixing core among ``shapes``."""
    return {
        name: np.eye(shape[0] * shape[1]).reshape(shape) for name, shape in shapes.items() if name.startswith("mix")
    }


def program(net: TreeNetwork) -> Program:
    """The program of a tree with the activation on the levels."""
    assert isinstance(net.program, Program)
    return net.program

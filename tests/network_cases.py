"""Networks with parameters and cotangents, comparisons in norm, and a function whose Hessian has all routes."""

import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from elsewhere import place
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref import ad
from adntn_ref.networks.registry import NETWORKS
from adntn_ref.validation.strategies import cotangents, parameters

RTOL = 1e-12
Params = dict[str, Any]
Case = tuple[ar.Network, Params, np.ndarray]
Function = Callable[[Any], Any]


@st.composite
def cases(draw: st.DrawFn, nets: st.SearchStrategy[Any], dtype: str = "float64") -> tuple[Any, Params, np.ndarray]:
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


def waves(g: Any) -> Function:
    """Return the function ``sum(sin(W) g)`` of a weight W: unlike the weight's own it has second derivatives in W."""
    return lambda weight: ad.sum(ad.sin(weight) * place(g))


def slope_along(net: ar.Network, g: Any, v: Params) -> Function:
    """Return the slope of :func:`waves` along v as a function of the parameters, by the closed form on variables."""

    def slope(params: Params) -> Any:
        weight, pullback = net.vjp(params)
        found = pullback(ad.cos(weight) * place(g))
        total: Any = 0.0
        for name, direction in v.items():
            total = total + ad.sum(found[name] * place(direction))
        return total

    return slope


def check_round_trip(net: ar.Network) -> None:
    """Take a network to its specification, to bytes and to its repr, and back from each."""
    text = json.dumps(net.to_spec(), sort_keys=True)
    again = ar.from_spec(json.loads(text))
    assert again == net
    assert hash(again) == hash(net)
    assert again.core_shapes == net.core_shapes
    assert again.placement == net.placement
    assert json.dumps(again.to_spec(), sort_keys=True) == text
    assert pickle.loads(pickle.dumps(net)) == net
    assert eval(repr(net), {kind.__name__: kind for kind, _ in NETWORKS.values()}) == net

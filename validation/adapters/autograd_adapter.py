"""Every network in HIPS autograd: :class:`~adntn_ref.validation.adapters.numpy_like.Networks` on ``autograd.numpy``.

Complex gradients are JAX's: the Jacobian's transpose, so that cotangent and gradients are conjugated. Needs
``python -m pip install autograd``.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adntn_ref.errors import MissingExtra

from . import plain
from .numpy_like import Networks
from .plain import Spec

try:
    autograd: Any = import_module("autograd")
except ModuleNotFoundError as error:  # no extra has it
    raise MissingExtra("this needs the package autograd; install it with: python -m pip install autograd") from error
anp: Any = import_module("autograd.numpy")
erf: Any = import_module("autograd.scipy.special").erf

Array = NDArray[Any]


def generate(spec: Spec, params: Mapping[str, Array]) -> Any:
    """Return the weight (a dict of them for a stack)."""
    weight = Networks(anp, erf).weight(spec, params)
    return {name: np.array(w) for name, w in weight.items()} if isinstance(weight, dict) else np.array(weight)


def vjp(spec: Spec, params: Mapping[str, Array], cotangent: Any) -> dict[str, Array]:
    """Return the gradient of ``<cotangent, weight>`` with respect to every parameter but frozen weights."""
    names = plain.trained(params)

    def weight(cores: Any) -> Any:
        found = Networks(anp, erf).weight(spec, {**params, **{name: cores[name] for name in names}})
        return _vector(found)

    return _pull(weight, {name: params[name] for name in names}, cotangent)


def states(spec: Spec, params: Mapping[str, Array]) -> dict[str, Array]:
    """Return the state after every step, by the step's name; nothing for networks that are no programs of steps."""
    run = Networks(anp, erf)
    run.weight(spec, params)
    return {name: np.array(x) for name, x in run.seen.items()} if spec["network"] in plain.STEPWISE else {}


def adjoint_states(spec: Spec, params: Mapping[str, Array], cotangent: Array) -> dict[str, Array]:
    """Return the cotangent of every state: the gradient with respect to zeros that are added to it."""
    if spec["network"] not in plain.STEPWISE:
        return {}
    zeros = {name: np.zeros_like(x) for name, x in states(spec, params).items()}
    return _pull(lambda nudges: _vector(Networks(anp, erf, nudges).weight(spec, params)), zeros, cotangent)


def _vector(weight: Any) -> Any:
    """Return the entries of a weight, or of all weights of a stack, as one vector."""
    if isinstance(weight, dict):
        return anp.concatenate([w.reshape(-1) for w in weight.values()])
    return weight.reshape(-1)


def _pull(weight: Any, inputs: dict[str, Array], cotangent: Any) -> dict[str, Array]:
    pullback, _ = autograd.make_vjp(weight)(inputs)
    found = pullback(np.conj(_vector(cotangent)))
    return {name: np.conj(np.asarray(found[name])) for name in inputs}

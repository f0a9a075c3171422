"""A few small cases for the tests of verify, and candidates as objects."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.validation.case import Case, cores_of, network_of, reference, with_frozen
from adntn_ref.validation.verify import candidate, run
from adntn_ref.validation.verify.run import Shipped

CANDIDATES = Path(__file__).parent / "candidates"


def case_of(name: str, net: Any, seed: int = 0, dtype: str = "float64") -> Case:
    """A case with normal numbers."""
    rng = np.random.default_rng(seed)

    def normal(shape: tuple[int, ...]) -> Any:
        x = rng.standard_normal(shape)
        return (x + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else x).astype(dtype)

    params = {core: normal(shape) for core, shape in net.core_shapes.items()}
    if isinstance(net, ar.Stack):
        return Case(name, net.to_spec(), params, {part: normal(shape) for part, shape in net.shapes})
    return Case(name, net.to_spec(), with_frozen(net, params), normal(net.placement.shape), "small")


WALL = case_of("brickwall/small", ar.BrickWall((3, 4), 2, activation="tanh"))
RANK = case_of("lowrank/small", ar.LowRank((3, 2), 1))
STACK = case_of("stack/two", ar.Stack({"a b": (2, 3), "c/d": (2,)}, ar.BrickWall((8,), 2)))
DELTA = case_of("delta/low", ar.Delta(np.arange(6.0).reshape(2, 3) / 7, ar.LowRank((2, 3), 1)))
COMPLEX = case_of("tt/complex", ar.TensorTrain((3, 4), 2), dtype="complex128")
SINGLE = case_of("brickwall/single", ar.BrickWall((3, 4), 2), dtype="float32")


class Clock:
    """A clock that stands still but where it is told: what a candidate takes does not depend on the machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: self.seconds))
        monkeypatch.setattr(candidate, "time", SimpleNamespace(monotonic=lambda: self.seconds))

    def slow(self, seconds: float) -> Callable[..., Any]:
        """Return a replacement that gives the right result after so many seconds."""

        def late(spec: Any, params: Any, right: Any) -> Any:
            self.seconds += seconds
            return right

        return late


def known(*cases: Case) -> Shipped:
    return [(case, reference(case)) for case in cases]


class Functions:
    """The right functions, of which some are replaced; a replacement is given the right result last."""

    def __init__(self, **replaced: Callable[..., Any]) -> None:
        self._replaced = replaced

    def generate(self, spec: Any, params: Any) -> Any:
        right = network_of(spec, params).generate(cores_of(params))
        return self._replaced["generate"](spec, params, right) if "generate" in self._replaced else right

    def vjp(self, spec: Any, params: Any, cotangent: Any) -> Any:
        right = network_of(spec, params).vjp(cores_of(params))[1](cotangent)
        return self._replaced["vjp"](spec, params, cotangent, right) if "vjp" in self._replaced else right


class WithStates(Functions):
    """With the states too."""

    def states(self, spec: Any, params: Any) -> Any:
        right = network_of(spec, params).forward_states(cores_of(params))
        return self._replaced["states"](right) if "states" in self._replaced else right

    def adjoint_states(self, spec: Any, params: Any, cotangent: Any) -> Any:
        return network_of(spec, params).adjoint_states(cores_of(params), cotangent)

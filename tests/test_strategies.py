"""The strategies that other test suites import: everything is drawn, small, and free of subnormal numbers."""

import json
import subprocess
import sys
from math import prod
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.networks.registry import COMBINATIONS, NETWORKS
from adntn_ref.validation import strategies
from adntn_ref.validation.case import Case, reference

TINY = np.finfo(np.float32).tiny


def test_without_hypothesis_the_extra_is_named() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import adntn_ref.validation.strategies"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (
        'MissingExtra: this needs the package hypothesis; install it with: python -m pip install "adntn-ref[test]"'
        in (done.stderr)
    )


def drawn(strategy: st.SearchStrategy[Any], count: int = 300) -> list[Any]:
    """Return a few hundred examples, the same ones every time."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


def test_networks_draw_every_network_and_option() -> None:
    found = drawn(strategies.networks(limit=64), 500)
    assert {net.to_spec()["network"] for net in found} == {*NETWORKS, *COMBINATIONS}
    specs = [net.to_spec() for net in found]
    for key, values in {
        "activation": set(strategies.ACTIVATIONS),
        "layout": {None, "axes", "interleaved"},
        "boundary": {None, "constant", "trainable"},
        "activation_every": {None, "column"},
        "activation_site": {None, "level", "node"},
        "periodic": {None, True, False},
    }.items():
        assert values <= {spec.get(key) for spec in specs} | {None}, key


@given(strategies.networks(limit=32), st.data())
def test_parameters_and_cotangents_fit_their_network(net: ar.Network, data: st.DataObject) -> None:
    assert net.placement.generated <= max(32, 20)  # combinations have up to 15 weights
    params, g = data.draw(strategies.parameters(net)), data.draw(strategies.cotangents(net))
    weight, pullback = net.vjp(params)
    assert pullback(g).keys() == params.keys()
    assert all(np.isfinite(w).all() for w in (weight.values() if isinstance(weight, dict) else [weight]))


def test_activations_and_dtypes_can_be_chosen() -> None:
    for nets in (strategies.networks(("identity",), 64), strategies.networks(limit=64, dtype="complex128")):
        text = json.dumps([net.to_spec() for net in drawn(nets, 150)])
        assert '"activation": "identity"' in text
        assert not any(f'"activation": "{name}"' in text for name in strategies.ACTIVATIONS if name != "identity")
    one = drawn(strategies.networks(("relu",), 64), 150)
    assert "tanh" not in json.dumps([net.to_spec() for net in one])


def entries(value: Any) -> np.ndarray:
    parts = value.values() if isinstance(value, dict) else [value]
    return np.concatenate([np.asarray(part).ravel() for part in parts])


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "complex64"])
def test_entries_are_zero_or_of_moderate_size(dtype: str) -> None:
    for case in drawn(strategies.cases(dtype=dtype, limit=32), 60):
        assert case.dtype == dtype
        numbers = np.concatenate([entries(case.params), entries(case.cotangent)])
        sizes = np.abs(numbers[numbers != 0])
        assert sizes.max(initial=0) <= strategies.BOUND * 2**0.5
        assert sizes.min(initial=1) > 1e6 * TINY


@given(strategies.cases(limit=64))
def test_a_case_can_be_rebuilt_from_what_it_holds(case: Case) -> None:
    assert json.loads(json.dumps(case.spec)) == case.spec
    assert {f"gradient/{name}" for name in case.network.core_shapes} <= reference(case).keys()


@given(strategies.weights(limit=40), strategies.modes(1, 5, 40))
def test_weights_and_modes(weight: np.ndarray, modes: tuple[int, ...]) -> None:
    assert weight.size <= 40
    assert weight.ndim in (2, 3, 4)
    assert prod(modes) <= 40
    assert 1 <= len(modes) <= 5


def test_one_line_shrinks_to_a_small_case() -> None:
    """What a failing comparison shows is as small as can be."""
    from hypothesis import find

    case = find(
        strategies.cases(),
        lambda case: case.spec["network"] == "mera",
        settings=settings(max_examples=2000, database=None, phases=[Phase.generate, Phase.shrink]),
        random=Random(1),
    )
    assert sum(x.size for x in case.params.values()) <= 16


def test_validation_imports_without_hypothesis() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; import adntn_ref.validation, adntn_ref.validation.adapters"
    subprocess.run([sys.executable, "-c", code], check=True)

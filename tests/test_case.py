"""One case of the conformance kit: its network, its parameters with frozen weights, and every quantity of it."""

import numpy as np
import pytest
from hypothesis import given

import adntn_ref as ar
from adntn_ref.errors import SpecError
from adntn_ref.networks.programmed import ProgramNetwork
from adntn_ref.validation import oracle
from adntn_ref.validation.case import Case, cores_of, network_of, reference, with_frozen
from adntn_ref.validation.strategies import cases

W0 = np.random.default_rng(0).standard_normal((4, 3))
LOW = ar.LowRank((4, 3), 2)


def a_delta(dtype: str = "float64") -> Case:
    net = ar.Sum(ar.Delta(W0.astype(dtype), LOW, 0.5), ar.Delta(2 * W0.astype(dtype), LOW))
    return Case("deltas", net.to_spec(), with_frozen(net, net.init(0, dtype)), np.ones((4, 3), dtype))


def test_frozen_weights_travel_among_the_parameters() -> None:
    case = a_delta()
    frozen = [name for name in case.params if name.startswith("frozen/")]
    assert len(frozen) == 2
    assert {part["base"]["sha256"] for part in case.spec["parts"]} == {name.removeprefix("frozen/") for name in frozen}
    assert list(cores_of(case.params)) == list(case.network.core_shapes) == ["0.left", "0.right", "1.left", "1.right"]
    assert network_of(case) == network_of(case.spec, case.params) == case.network
    np.testing.assert_array_equal(case.network.nets[1].base, 2 * W0)  # type: ignore[attr-defined]


def test_without_its_frozen_weight_a_delta_is_no_network() -> None:
    case = a_delta()
    with pytest.raises(SpecError, match="does not hold W0"):
        network_of(case.spec, cores_of(case.params))


def test_nested_deltas_are_found() -> None:
    net = ar.Stack({"a": (4, 3)}, ar.Sum(ar.Delta(W0, ar.Delta(3 * W0, LOW)), LOW))
    params = with_frozen(net, net.init())
    assert sum(name.startswith("frozen/") for name in params) == 2
    assert network_of(net.to_spec(), params) == net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_reference_takes_the_numbers_given_as_exact(dtype: str) -> None:
    case = a_delta(dtype)
    assert case.dtype == dtype
    wide = Case("wide", case.spec, {k: x.astype("float64") for k, x in case.params.items()}, np.ones((4, 3)))
    if dtype == "float32":  # the specification names W0 by its bytes, so the frozen weights keep their dtype
        wide.params.update({k: x for k, x in case.params.items() if k.startswith("frozen/")})
    got, expected = reference(case), reference(wide)
    assert got.keys() == expected.keys() == {"weight", *(f"gradient/{name}" for name in cores_of(case.params))}
    for name, array in got.items():
        assert array.dtype == "float64"
        np.testing.assert_array_equal(array, expected[name])


@given(cases(limit=64))
def test_reference_has_every_quantity_and_agrees_with_the_oracle(case: Case) -> None:
    found = reference(case)
    net = case.network
    names = {f"gradient/{name}" for name in net.core_shapes}
    if isinstance(net, ProgramNetwork):
        names |= {f"{group}/{step.name}" for group in ("state", "adjoint") for step in net.program.all_steps}
    if isinstance(net, ar.Stack):
        names |= {f"weight/{name}" for name, _ in net.shapes}
    else:
        names.add("weight")
    assert found.keys() == names
    weight = oracle.generate(case.spec, case.params)
    parts = {f"weight/{k}": w for k, w in weight.items()} if isinstance(weight, dict) else {"weight": weight}
    for name, array in parts.items():
        assert found[name].shape == array.shape
        np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=1e-9)
    for name, array in oracle.vjp(case.spec, case.params, case.cotangent).items():
        assert found[f"gradient/{name}"].shape == array.shape == case.params[name].shape
        np.testing.assert_allclose(found[f"gradient/{name}"], array, rtol=1e-9, atol=1e-9 * (1 + np.abs(array).max()))

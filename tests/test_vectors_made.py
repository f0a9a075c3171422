"""How the vectors are made: arithmetic in 100 digits, and comparisons that fail."""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from vector_cases import ENTRIES, VECTORS, close

from adntn_ref.validation import oracle
from adntn_ref.validation.vectors import agreement, build, decimals
from adntn_ref.validation.vectors.agreement import Agreement, VectorsDisagree
from adntn_ref.validation.vectors.cases import Entry, made
from adntn_ref.validation.vectors.decimals import ACTIVATIONS, Complex, digits, exact, rounded

# ---- Decimals

KNOWN = {
    decimals.sine: "0.84147098480789650665250232163029899962256306079837",
    decimals.cosine: "0.54030230586813971740093660744297660373231042061792",
    decimals.tanh: "0.76159415595576488811945828260479359041276859725794",
    decimals.erf: "0.84270079294971486934122063508260925929606699796630",
}


def test_pi() -> None:
    with digits(60):
        assert decimals.pi() == Decimal("3.14159265358979323846264338327950288419716939937510582097494")


@pytest.mark.parametrize(("function", "value"), KNOWN.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_functions_at_one_to_fifty_digits(function: Callable[[Decimal], Decimal], value: str) -> None:
    with digits():
        assert abs(function(Decimal(1)) - Decimal(value)) < Decimal("1e-49")
        assert abs(function(Decimal(-1))) == abs(function(Decimal(1)))


PLAIN: dict[str, Callable[[float], float]] = {
    "identity": lambda z: z,
    "relu": lambda z: max(z, 0.0),
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
    "tanh": math.tanh,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "gelu": lambda z: z * 0.5 * math.erfc(-z / math.sqrt(2)),
    "silu": lambda z: z / (1 + math.exp(-z)),
    "sin": math.sin,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_their_slopes(name: str) -> None:
    sigma, slope = ACTIVATIONS[name]
    with digits():
        for z in (-30.0, -6.5, -1.0, -1e-5, 1e-9, 0.3, 2.0, 11.0, 40.0):
            assert math.isclose(float(sigma(Decimal(z))), PLAIN[name](z), rel_tol=1e-12)
            h = Decimal("1e-18")
            difference = (sigma(Decimal(z) + h) - sigma(Decimal(z) - h)) / (2 * h)
            assert abs(difference - slope(Decimal(z))) < Decimal("1e-28")
        assert not sigma(Decimal(0)) or name == "sigmoid"


def test_numbers_are_taken_exactly_and_rounded_once() -> None:
    given = np.array([0.1, -0.0, 1e-300, 3.0])
    with digits():
        assert exact(given)[0] == Decimal("0.1000000000000000055511151231257827021181583404541015625")
        assert rounded(exact(given)).tobytes() == np.array([0.1, 0.0, 1e-300, 3.0]).tobytes()
        third = Decimal(1) / 3
        assert rounded(np.array(third, object)).shape == ()
        assert float(rounded(np.array(third, object))) == 1 / 3


TIES = (
    "brickwall/one-brick-trainable",
    "brickwall/one-layer",
    "brickwall/zeros-leaky_relu",
    "cp/rank3",
    "tt/complex64",
)


@pytest.mark.parametrize("name", TIES)
def test_more_digits_change_no_bit(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Some of these have entries exactly in the middle between two doubles; 50 digits do change a bit there."""
    different = []
    for count in (50, 140):
        monkeypatch.setattr(build, "DIGITS", count)
        monkeypatch.setattr(build, "EXACT", 50 if count == 50 else 700)
        arrays: dict[str, Any] = {}
        with digits(count):
            build._case(ENTRIES[name], Agreement(), arrays)
        same = [arrays[f"{name}/{key}"].tobytes() == array.tobytes() for key, array in VECTORS[name].arrays.items()]
        different.append(not all(same))
    assert different == [name.startswith("brickwall"), False]


def test_complex_arithmetic() -> None:
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3)) for _ in range(3))
    with digits():
        x, y, z = exact(a), exact(b), exact(c)
        close(rounded(x @ y - decimals.conj(z) * Decimal(2) + z), a @ b - 2 * c.conj() + c)
        close(float(decimals.inner(x, y)), np.vdot(a, b).real)
        assert isinstance((Decimal(2) * x[0, 0]), Complex)


# ---- Comparisons

SOME = {
    "brickwall/odd-q5-tanh": True,
    "mera/periodic-q4": True,
    "ttn/node-q5-tanh": True,
    "stack/two": True,
    "sum/two": True,
    "split/last-shorter": True,
    "tt/complex64": False,
    "tucker/interleaved": False,
    "mpo/mixed": False,
    "delta/lowrank": False,
}
"""Case -> whether it has a closed form that differs from the tape."""


def compared(name: str) -> dict[str, list[str]]:
    arrays: dict[str, Any] = {}
    with digits():
        found: dict[str, list[str]] = build._case(ENTRIES[name], Agreement(), arrays)["provenance"]
    return found


@pytest.mark.parametrize("name", SOME)
def test_what_a_case_is_compared_with(name: str) -> None:
    found = compared(name)
    assert found == VECTORS[name].facts["provenance"]
    assert found.keys() >= {"tape", "dense oracle", "differences"}
    assert ("closed form" in found) == SOME[name]
    assert ("adjoint" in found["differences"]) == (name in ("brickwall/odd-q5-tanh", "mera/periodic-q4"))


def test_every_case_agrees_with_at_least_two_derivations() -> None:
    for record in VECTORS.records:
        least = 1 if record.section in ("starts", "losses") else 2
        assert len(record.facts["provenance"]) >= least
        assert set(record.facts["provenance"]) <= set(VECTORS.index["derivations"])
    without = [r.name for r in VECTORS.cases if "differences" not in r.facts["provenance"]]
    assert without == ["brickwall/zeros-relu", "brickwall/zeros-leaky_relu", "mera/relu-zeros"]


def test_a_wrong_slope_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    sigma, slope = ACTIVATIONS["tanh"]
    monkeypatch.setitem(ACTIVATIONS, "tanh", (sigma, lambda z: slope(z) * (1 + Decimal("1e-12"))))
    with pytest.raises(VectorsDisagree, match="brickwall/odd-q5-tanh/gradient"):
        compared("brickwall/odd-q5-tanh")
    # In the last digit of a double only the differences see it.
    monkeypatch.setitem(ACTIVATIONS, "tanh", (sigma, lambda z: slope(z) * (1 + Decimal("1e-16"))))
    with pytest.raises(VectorsDisagree, match="differences is off by"):
        compared("brickwall/odd-q5-tanh")


@pytest.mark.parametrize(
    ("derivation", "where", "function"),
    [
        ("closed form", agreement, "reference"),
        ("dense oracle", oracle, "generate"),
        ("dense oracle", oracle, "vjp"),
        ("dense oracle", oracle, "states"),
    ],
)
def test_a_wrong_derivation_is_noticed(monkeypatch: Any, derivation: str, where: Any, function: str) -> None:
    right = getattr(where, function)

    def wrong(*args: Any) -> Any:
        found = right(*args)
        return {k: x * (1 + 1e-11) for k, x in found.items()} if isinstance(found, dict) else found * (1 + 1e-11)

    monkeypatch.setattr(where, function, wrong)
    with pytest.raises(VectorsDisagree, match=f"{derivation} is off by"):
        compared("brickwall/odd-q5-tanh")


def test_nan_is_a_disagreement() -> None:
    with pytest.raises(VectorsDisagree):
        Agreement().compare("x", "tape", {"weight": np.array([np.nan])}, {"weight": np.ones(1)})


def test_numbers_of_a_case_do_not_depend_on_the_others() -> None:
    case = made(ENTRIES["cp/rank3"])
    for name, array in case.params.items():
        np.testing.assert_array_equal(array, VECTORS["cp/rank3"].arrays[f"params/{name}"])
    other = made(Entry("cp/another", case.network, ""))
    assert not np.array_equal(other.params["factor0"], case.params["factor0"])

"""Every mistake of the catalogue, planted in the torch adapter, is found and named; none is found in the honest one."""

import peers
import pytest

peers.need("torch")

import numpy as np  # noqa: E402
import planted  # noqa: E402

from adntn_ref.validation.diagnosis import MISTAKES, diagnose  # noqa: E402


def test_every_mistake_is_planted() -> None:
    assert list(planted.PLANTS) == list(MISTAKES)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_honest_adapter_has_no_mistake(dtype: str) -> None:
    seen = planted.observations(planted.planted(), dtype, states=True)
    assert len(seen) == len(planted.references(dtype))
    found = diagnose(seen)
    assert not found.explanations
    assert found.first_difference is None
    assert found.text == "Nothing differs from the reference."


@pytest.mark.parametrize("name", MISTAKES)
def test_single_mistake_is_named(name: str) -> None:
    found = diagnose(planted.observations(planted.planted(name)))
    assert [e.mistakes for e in found.explanations] == [(name,)], found.text
    assert MISTAKES[name].sentence in found.text
    assert f"docs/known-mistakes.md#{name}" in found.text


@pytest.mark.parametrize("name", list(MISTAKES)[::4])
def test_single_mistake_is_named_in_single_precision(name: str) -> None:
    found = diagnose(planted.observations(planted.planted(name), "float32"))
    assert found.explanations[0].mistakes == (name,), found.text
    assert not found.explanations[0].networks


@pytest.mark.slow
@pytest.mark.parametrize("names", planted.random_pairs(40), ids="+".join)
def test_pair_is_named(names: tuple[str, str]) -> None:
    right, text = planted.named(*names)
    assert right, text


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("odd-column-missing", "after layer0.even, which agrees, at layer0.activation (yours lack layer0.odd)."),
        ("activation-missing", "the states differ after"),
        ("root-transposed", "the states differ from the first at depth1"),
        ("derivative-missing", "the cotangents of the states differ after"),
    ],
)
def test_first_difference_is_where_the_mistake_acts(name: str, sentence: str) -> None:
    found = diagnose(planted.observations(planted.planted(name), states=True))
    assert found.first_difference is not None
    assert sentence in found.first_difference
    assert found.first_difference in found.text


def test_two_mistakes_in_two_networks_and_more() -> None:
    """Three mistakes are beyond the search over pairs; each network's cases alone are explained."""
    seen = planted.observations(planted.planted("children-swapped", "right-transposed", "stack-sorted"))
    found = diagnose(seen)
    assert {e.networks: e.mistakes for e in found.explanations} == {
        ("ttn", "attn", "mera"): ("children-swapped",),
        ("lowrank", "delta"): ("right-transposed",),
        ("stack",): ("stack-sorted",),
    }
    assert "In the cases of lowrank, delta, your output equals the reference with the right factor" in found.text


def test_case_where_the_candidate_stops_says_nothing() -> None:
    seen = planted.observations(planted.planted("split-strided"))
    assert "separating/split-uneven" not in {o.case.name for o in seen}
    assert np.all([np.isfinite(x).all() for o in seen for x in o.got.values()])

"""The largest network of a family within a number of parameters."""

import dataclasses
from typing import Any

import pytest
from counting import little
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.errors import SpecError
from adntn_ref.networks.registry import NETWORKS, size_field

SHAPES = st.sampled_from([(12, 10), (7,), (3, 4, 5), (64, 64), (1, 2)])


@given(st.sampled_from(list(NETWORKS)), SHAPES, st.integers(1, 3000), st.booleans())
def test_it_fits_and_the_next_does_not(name: str, shape: tuple[int, ...], limit: int, by_class: bool) -> None:
    kind = NETWORKS[name][0]
    family = kind if by_class else name
    smallest = kind(**{"shape": shape, size_field(name): 1}).parameter_count
    if smallest > limit:
        with pytest.raises(SpecError, match=f"has {smallest} parameters, more than {limit}"):
            ar.at_most(family, shape, parameters=limit)
        return
    net = ar.at_most(family, shape, parameters=limit)
    assert type(net) is kind
    assert net.placement.shape == shape
    assert net.parameter_count <= limit
    size: Any = getattr(net, size_field(name))
    size = max(size) if isinstance(size, tuple) else size
    counts = [kind(**{"shape": shape, size_field(name): n}).parameter_count for n in (size, size + 1, 4 * size)]
    assert counts[0] == net.parameter_count
    if counts[1] <= limit:  # grown out: no size has more parameters, and none smaller as many
        assert counts[0] == counts[1] == counts[2]
        if size > 1:
            smaller: Any = {"shape": shape, size_field(name): size - 1}
            assert kind(**smaller).parameter_count < counts[0]


@given(st.integers(24, 500), st.sampled_from(["tt", "mpo", "tucker", "ttn", "mera"]))
def test_as_a_search_one_by_one_finds_it(limit: int, name: str) -> None:
    options: dict[str, Any] = {"tucker": {"modes": (8, 9, 5)}}.get(name, {})
    kind, field = NETWORKS[name][0], size_field(name)
    made = [kind(**{"shape": (12, 30), field: size, **options}) for size in range(1, 40)]
    counts = [net.parameter_count for net in made]
    assert counts == sorted(counts)
    best = [net for net, count in zip(made, counts, strict=True) if count <= limit]
    if best:
        most = best[-1].parameter_count
        first = next(net for net in best if net.parameter_count == most)
        assert ar.at_most(name, (12, 30), parameters=limit, **options) == first


def test_published_sizes() -> None:
    modes = {"row_modes": (4, 7, 7, 4), "col_modes": (4, 4, 4, 4)}
    assert ar.at_most(ar.MPO, (784, 256), parameters=1024, **modes) == ar.MPO((784, 256), 4, **modes)  # type: ignore[arg-type]
    assert ar.at_most("brickwall", (4096, 4096), parameters=224) == ar.BrickWall((4096, 4096), 1)
    assert ar.at_most("brickwall", (4096, 4096), parameters=1000, activation="tanh").layers == 3  # type: ignore[attr-defined]


def test_huge_limits_make_no_huge_networks() -> None:
    for name in NETWORKS.keys() - {"brickwall"}:
        with little():
            net = ar.at_most(name, (120, 84), parameters=2**64)
        assert net.parameter_count <= 2**64
    # As many layers as a brick-wall may have; its cores are not listed.
    with little():
        wall = ar.at_most("brickwall", (120, 84), parameters=2**64)
        train = ar.at_most("tt", (120, 84), parameters=10**9)
    assert wall.layers == 10**5 // 14  # type: ignore[attr-defined]
    assert train == ar.TensorTrain((120, 84), 128)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"family": "tree"}, "at_most knows no family 'tree'; allowed: brickwall"),
        ({"family": "sum"}, "at_most knows no family 'sum'"),
        ({"family": dict}, "at_most knows no family"),
        ({"family": ["mpo"]}, "at_most knows no family"),
        ({"parameters": 0}, "parameters must be an integer >= 1"),
        ({"parameters": 1e3}, "parameters must be an integer >= 1"),
        ({"parameters": 10}, "even with chi = 1 this mpo has 16 parameters, more than 10"),
        ({"chi": 3}, "at_most finds chi of a mpo; leave it out"),
        ({"layers": 3}, "a mpo takes no layers; allowed: shape, chi"),
        ({"row_modes": (2,)}, "too few for 12 rows"),
        ({"shape": (0,)}, "shape must hold integers >= 1"),
    ],
)
def test_refusals(arguments: dict[str, Any], sentence: str) -> None:
    given = {"family": "mpo", "shape": (12, 10), "parameters": 100, **arguments}
    with pytest.raises(SpecError) as caught:
        ar.at_most(given.pop("family"), given.pop("shape"), **given)
    assert sentence in str(caught.value)


def test_every_family_can_grow() -> None:
    for name, (kind, entries) in NETWORKS.items():
        assert entries[0] == "shape"
        field = size_field(name)
        assert field in {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
        small, large = (kind(**{"shape": (8, 8), field: size}).parameter_count for size in (1, 2))
        assert small < large

"""The catalogue of known mistakes, the interpreter that makes them, and what is said where nothing explains."""

import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adntn_ref.errors import SpecError
from adntn_ref.validation.case import Case, reference
from adntn_ref.validation.diagnosis import MISTAKES, Diagnosis, Observation, diagnose, first_difference, mistaken
from adntn_ref.validation.diagnosis.hints import looks
from adntn_ref.validation.diagnosis.page import page
from adntn_ref.validation.diagnosis.separating import same, separating_cases, telling_apart, told_apart_by
from adntn_ref.validation.vectors import load

ROOT = Path(__file__).parents[1]
CASES = {case.name.partition("/")[2]: case for case in separating_cases()}
Arrays = dict[str, Any]


def made(case: Case, *names: str) -> Arrays | None:
    return mistaken(case.spec, case.params, case.cotangent, names)


RESULTS = {name: [made(case, name) for case in CASES.values()] for name in MISTAKES}
RIGHT = [made(case) for case in CASES.values()]


def observed(name: str, states: bool = False, **changed: Any) -> Observation:
    """The reference as a candidate's output, but for the quantities that are changed; "weight" or a gradient."""
    expected = reference(CASES[name])
    if not states:
        expected = {n: x for n, x in expected.items() if not n.startswith(("state/", "adjoint/"))}
    allowed = {n: np.full(x.shape, 1e-13 * max(1.0, float(np.abs(x).max()))) for n, x in expected.items()}
    given = {n.replace("__", "/"): x for n, x in changed.items()}
    return Observation(CASES[name], {**expected, **given}, expected, allowed)


# The catalogue


def test_catalogue_has_at_least_thirty_mistakes_with_names_and_places() -> None:
    text = (ROOT / "docs" / "known-mistakes.md").read_text(encoding="utf8")
    assert len(MISTAKES) >= 30
    for name, mistake in MISTAKES.items():
        assert mistake.name == name
        assert mistake.where == f"docs/known-mistakes.md#{name}"
        assert f"\n### {name}\n" in text
        assert (ROOT / "docs" / mistake.page).exists()
        assert not mistake.sentence.endswith(".")
    assert len({m.sentence for m in MISTAKES.values()}) == len(MISTAKES)


def test_page_is_that_of_the_catalogue() -> None:
    """Mend with: python -m adntn_ref.validation.diagnosis --page > docs/known-mistakes.md"""
    assert (ROOT / "docs" / "known-mistakes.md").read_text(encoding="utf8") == page()


def test_command_prints_the_catalogue() -> None:
    for arguments, wanted in ((["--page"], "### legs-in-out"), ([], f"{len(MISTAKES)} mistakes, ")):
        command = [sys.executable, "-m", "adntn_ref.validation.diagnosis", *arguments]
        assert wanted in subprocess.run(command, check=True, capture_output=True, text=True).stdout


# The interpreter


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_interpreter_without_mistakes_is_the_reference(case: Case) -> None:
    found, expected = made(case), reference(case)
    assert found is not None
    wanted = {n: x for n, x in expected.items() if n.startswith(("weight", "gradient/"))}
    size = max(float(np.abs(x).max()) for x in wanted.values())
    assert found.keys() == wanted.keys()
    for name, x in wanted.items():
        assert found[name].shape == x.shape
        np.testing.assert_allclose(found[name], x, rtol=0, atol=1e-12 * size)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_changes_what_it_says(name: str) -> None:
    pairs = [(a, b) for a, b in zip(RESULTS[name], RIGHT, strict=True) if a is not None and b is not None]
    changed = {q.partition("/")[0] for a, b in pairs for q in a.keys() & b.keys() if not np.allclose(a[q], b[q])}
    assert changed
    assert ("weight" not in changed) == MISTAKES[name].backward


def test_any_two_mistakes_are_told_apart() -> None:
    """On some case both can be made, and give different results."""
    alike = [
        (a, b)
        for a, b in combinations(MISTAKES, 2)
        if all(x is None or y is None or same(x, y) for x, y in zip(RESULTS[a], RESULTS[b], strict=True))
    ]
    assert alike == []
    case = told_apart_by(["leaky-slope-tenth"], ["leaky-slope-fifth"])
    assert case is not None
    assert case.spec["activation"] == "leaky_relu"
    assert told_apart_by(["mix-missing"], ["mix-missing", "periodic-missing"]) is None
    assert (
        telling_apart([["mix-missing"], ["mix-missing", "periodic-missing"]])
        == "No case of the catalogue tells them apart."
    )


def test_sizes_that_do_not_fit_make_no_result() -> None:
    mixed = CASES["wall-sigmoid-mixed"]
    assert mixed.spec["modes"] == [2, 3, 2, 3]
    assert made(mixed, "inputs-swapped") is None
    assert made(mixed, "layers-reversed") is None
    assert mistaken({"network": "unheard-of"}, {}, np.ones(1), []) is None
    with pytest.raises(SpecError, match="no mistake is called nonsense"):
        made(mixed, "nonsense")


def test_gradients_that_hang_on_rounding_are_left_out() -> None:
    """0.1 + 0.2 - 0.3 is no zero, though it should be: relu's derivative there is a matter of the order of the sum."""
    spec = {"network": "brickwall", "shape": [2, 2], "modes": [2, 2], "layers": 2, "activation": "relu"}
    spec.update(boundary="trainable")
    first = np.zeros((2, 2, 2, 2))
    first[0, 0] = [[0.1, 0.2], [-0.3, 0.0]]
    first[1, 1] = 1.0
    params = {
        "start0": np.ones(2),
        "start1": np.ones(2),
        "layer0.brick0": first,
        "layer1.brick0": np.ones((2, 2, 2, 2)),
    }
    found = mistaken(spec, params, np.ones((2, 2)), [])
    assert found is not None
    assert list(found) == ["weight"]
    assert len(mistaken({**spec, "activation": "tanh"}, params, np.ones((2, 2)), []) or {}) == 5


def test_small_mistakes_by_hand() -> None:
    """A few of them against one line of NumPy."""
    wall, low = CASES["wall-tanh-odd"], CASES["lowrank"]
    right, found = reference(wall), made(wall, "fortran-order")
    assert found is not None
    np.testing.assert_allclose(found["weight"].reshape(-1, order="F"), right["weight"].reshape(-1), atol=1e-12)
    left, other = low.params["left"], low.params["right"]
    found = made(low, "right-transposed")
    assert found is not None
    np.testing.assert_allclose(found["weight"], left @ other.reshape(4, 2).T)
    found = made(low, "gradient-mean", "gradient-negative")
    assert found is not None
    np.testing.assert_allclose(found["gradient/left"], -(low.cotangent @ other.T) / 12)  # type: ignore[operator]


# The diagnosis


def test_nothing_wrong() -> None:
    assert diagnose([]) == Diagnosis((), None, "Nothing differs from the reference.")
    assert diagnose([observed(name, states=True) for name in CASES]).explanations == ()


def test_explanation_has_a_sentence_and_a_place() -> None:
    seen = [
        Observation(o.case, {**o.got, **(made(o.case, "legs-in-out") or {})}, o.expected, o.allowed)
        for o in map(observed, CASES)
    ]
    found = diagnose(seen)
    assert found.text.startswith(
        "Your output equals the reference with inputs and outputs of each brick and mixing core swapped. "
        "See docs/known-mistakes.md#legs-in-out. This explains "
    )
    assert found.explanations[0].silent == 0
    assert not found.cut


def test_right_cases_rule_mistakes_out() -> None:
    """A doubled gradient in one case alone is no mistake of the catalogue."""
    bad = observed("lowrank", gradient__left=2 * reference(CASES["lowrank"])["gradient/left"])
    found = diagnose([bad, observed("tt")])
    assert found.explanations == ()
    assert "No known mistake" in found.text
    assert "wrong are gradient/left alone; each is 2 times the reference" in found.text


def test_a_mistake_of_the_forward_pass_alone() -> None:
    """A backward pass written by hand is right, and the weight is not: no mistake of the catalogue gives both."""
    weight = (made(CASES["wall-tanh-odd"], "legs-in-out") or {})["weight"]
    found = diagnose([observed("wall-tanh-odd", weight=weight), observed("lowrank")])
    assert [(e.mistakes, e.weights_only) for e in found.explanations] == [(("legs-in-out",), True)]
    assert "inputs and outputs of each brick and mixing core swapped" in found.text
    assert "your gradients are not the derivative of such a weight" in found.text


def test_equal_explanations_are_all_named_with_a_case_that_tells_them_apart() -> None:
    """An aTTN mixes at the last depth alone: there no mixing at all, and none at the last depth, are the same."""
    attn = made(CASES["attn-tanh"], "mix-missing") or {}
    found = diagnose([observed("attn-tanh", **{n.replace("/", "__"): x for n, x in attn.items()})])
    assert {e.mistakes for e in found.explanations} == {("mix-missing",), ("mix-last-missing",)}
    assert "Equally possible: " in found.text
    assert "Case separating/mera-periodic (mera, layout flat) would tell the first two of them apart." in found.text


def test_search_says_when_it_was_cut() -> None:
    case = CASES["tt"]
    noise = np.random.default_rng(0).standard_normal(case.network.placement.shape)
    found = diagnose([observed("tt", weight=noise)], runs=10)
    assert found.cut
    assert "cut by its limit" in found.text
    assert not diagnose([observed("tt", weight=noise)]).cut


def test_large_cases_are_left_out_of_the_search() -> None:
    spec = {"network": "lowrank", "shape": [70, 70], "rank": 1}
    case = Case("large", spec, {"left": np.ones((70, 1)), "right": np.ones((1, 70))}, np.ones((70, 70)))
    expected = reference(case)
    seen = Observation(case, {**expected, "weight": 3 * expected["weight"]}, expected, {})
    assert diagnose([seen]).text == "In case large: weight is 3 times the reference."


def test_entries_of_which_nothing_is_asked_are_passed_over() -> None:
    right = reference(CASES["tt"])
    gives = {n.replace("/", "__"): -x for n, x in right.items() if n.startswith("gradient/")}
    gives["gradient__core1"][0, 0, 0] = 17.0
    seen = observed("tt", **gives)
    assert diagnose([seen]).explanations == ()
    seen.allowed["gradient/core1"][0, 0, 0] = np.inf  # type: ignore[index]
    assert [e.mistakes for e in diagnose([seen]).explanations] == [("gradient-negative",)]


# What is said without an explanation


def brickwalls(wrong: Any, changed: Any) -> str:
    """What is said of shipped brick-walls with relu, those changed of which ``wrong`` is true."""
    seen = []
    for case, expected in load():
        if case.spec.get("network") == "brickwall" and case.spec["activation"] == "relu":
            got = changed(case, expected["weight"]) if wrong(case.spec) else expected["weight"]
            seen.append(Observation(case, {"weight": got}, {"weight": expected["weight"]}, {}))
    return diagnose(seen, runs=10).text


def squared(case: Case, weight: Any) -> Any:
    return weight**2 + 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            lambda spec: len(spec["modes"]) > 2,
            "All cases that differ have three modes or more, and none that agrees has.",
        ),
        (
            lambda spec: spec["boundary"] == "trainable",
            "All cases that differ have trainable start vectors (boundary), and",
        ),
        (
            lambda spec: spec["boundary"] == "trainable" or "activation_every" in spec,
            "have trainable start vectors (boundary) or an activation after every column (activation_every), and",
        ),
    ],
)
def test_what_sets_the_wrong_cases_apart(wrong: Any, said: str) -> None:
    """A mistake that the catalogue lacks, and an entry of the specification that is not read."""
    assert said in brickwalls(wrong, squared)


def test_a_factor_that_depends_on_the_shape() -> None:
    text = brickwalls(lambda spec: True, lambda case, w: w * (2 / w.shape[-1]) ** 0.5)
    assert "Every wrong weight is the reference times a factor: " in text
    assert "agrees has" not in text
    assert "times a factor" not in brickwalls(lambda spec: True, lambda case, w: w * 0.5)  # known by its case alone
    noise = iter(range(1, 100))
    seen = brickwalls(lambda spec: True, lambda case, w: w * (1 + 1e-15 * next(noise)))
    assert "times a factor" not in seen


def test_states_are_asked_for_where_none_were_given() -> None:
    weight = reference(CASES["wall-tanh-odd"])["weight"] ** 2 + 1
    given = observed("wall-tanh-odd", states=True, weight=weight)
    without = Observation(given.case, {n: x for n, x in given.got.items() if "/" not in n}, given.expected, {})
    assert "Return your states and adjoint states" in diagnose([without], runs=10).text
    assert "Return your states and adjoint states" not in diagnose([given], runs=10).text


WEIGHT = np.arange(1.0, 13.0).reshape(3, 4)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (-0.5 * WEIGHT, "is -0.5 times the reference"),
        (0 * WEIGHT, "is zero"),
        (WEIGHT[::-1, ::-1], "is the reference from its last entry to its first"),
        (WEIGHT.reshape(-1, order="F").reshape(3, 4), "is the reference read in Fortran order"),
        (WEIGHT[[1, 0, 2]], "holds the reference's numbers in another order"),
        (WEIGHT + (WEIGHT == 7), "differs in 1 of 12 entries, the first at index (1, 2)"),
        (WEIGHT**2 + 1, "differs in every entry, and is no multiple or reordering of the reference"),
    ],
)
def test_looks(given: Any, said: str) -> None:
    assert looks(given, WEIGHT) == said


def test_looks_of_complex_numbers_modes_and_zeros() -> None:
    z = WEIGHT * (1 + 0.5j) + 1j
    assert looks(z.conj(), z) == "is the conjugate of the reference"
    assert looks(1j * z, z) == "is 0+1j times the reference"
    tensor = np.arange(24.0).reshape(4, 6) + 1
    turned = tensor.reshape(2, 3, 4).transpose(2, 0, 1).reshape(4, 6)
    assert looks(turned, tensor, (2, 3, 4)) == "is the reference with its modes in the order (2, 0, 1)"
    assert looks(tensor, 0 * tensor) == "should be zero"


def test_unusable_quantities_are_named() -> None:
    right = reference(CASES["lowrank"])
    text = diagnose([observed("lowrank", weight=right["weight"].T)]).text
    assert "weight has shape (4, 3) instead of (3, 4), its numbers those of the reference transposed" in text
    text = diagnose([observed("lowrank", weight=np.full((3, 4), np.nan))]).text
    assert "weight holds NaN or infinity" in text


def test_wrong_gradient_beside_a_right_weight() -> None:
    right = reference(CASES["cp"])
    gradients = {n.replace("/", "__"): 3 * x for n, x in right.items() if n.startswith("gradient/")}
    text = diagnose([observed("cp", **gradients)]).text
    assert "the weight agrees, every gradient is wrong; each is 3 times the reference" in text


def test_first_difference() -> None:
    name = "wall-gelu-column"
    right = reference(CASES[name])
    steps = [n.partition("/")[2] for n in right if n.startswith("state/")]
    assert steps[:3] == ["start", "layer0.even", "layer0.even.activation"]
    flat = {f"state__{step}": right[f"state/{step}"].reshape(-1) for step in steps}  # flat ones are taken too
    assert first_difference(observed(name, states=True, **flat)) is None
    bad = {**flat, "state__layer0.even.activation": right["state/start"], "state__layer0.odd": right["state/start"]}
    said = f"In case separating/{name} the states differ after layer0.even, which agrees, at layer0.even.activation."
    assert first_difference(observed(name, states=True, **bad)) == said
    first = observed(name, states=True, state__start=np.ones(3))
    said = f"In case separating/{name} the states differ from the first at start"
    assert first_difference(first) == f"{said} (another number of entries, or not finite)."
    back = observed(name, states=True, **{"adjoint__layer0.odd": 2 * right["adjoint/layer0.odd"]})
    assert first_difference(back) is None
    assert "after layer0.odd.activation, which agrees, at layer0.odd." in str(first_difference(back, "adjoint"))

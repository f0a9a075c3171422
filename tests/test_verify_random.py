"""Random cases: repeated by their seed, shrunk, kept in files, and drawn of what the candidate does."""

from pathlib import Path
from typing import Any

import pytest
from verify_cases import COMPLEX, RANK, WALL, Clock, Functions, known

from adntn_ref.errors import MissingExtra
from adntn_ref.validation.verify import Verdict, verify
from adntn_ref.validation.verify.files import load_case
from adntn_ref.validation.verify.random_cases import draw_cases
from adntn_ref.validation.verify.run import refused_kinds


def wrong_when_deep(spec: Any, params: Any, right: Any) -> Any:
    if spec["network"] != "brickwall":
        raise NotImplementedError
    return right * (1 + 1e-3 * (spec["layers"] >= 3))


def test_the_package_agrees_on_all_kinds() -> None:
    report = verify(Functions(), cases=[], random=60, time_limit=600)
    assert report.failed == []
    assert report.random is not None
    assert (report.random.judged, report.random.unsupported, report.random.note) == (60, 0, "")
    assert set(report.random.worst) == {"weight", "gradient"}
    assert report.exit_code == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_a_failing_case_is_made_small_and_kept(tmp_path: Path, seed: int) -> None:
    candidate = Functions(generate=wrong_when_deep)
    report = verify(candidate, cases=known(WALL, RANK), seed=seed, out=tmp_path, time_limit=600)
    assert report.exit_code == 1
    assert report.random is not None
    failing = report.random.failing
    assert failing is not None
    spec = failing.case.spec
    assert (spec["network"], spec["layers"], spec["modes"]) == ("brickwall", 3, [2, 2])
    assert {row.verdict for row in report.failed} == {Verdict.DIFFERS}
    assert report.saved is not None
    again = verify(Functions(generate=wrong_when_deep), cases=[(load_case(report.saved), {})], random=0)
    assert [row.quantity for row in again.failed] == ["weight"]
    assert report.to_json()["random"]["failing"]["spec"] == spec


def test_the_seed_decides() -> None:
    def names(seed: int) -> list[str]:
        return [case.name for case in draw_cases(15, seed)]

    assert names(3) == names(3)
    assert names(3) != names(4)


def test_a_candidate_of_one_kind_is_asked_for_that_kind() -> None:
    asked = []

    def narrow(spec: Any, params: Any, right: Any) -> Any:
        asked.append(spec["network"])
        if spec["network"] != "brickwall" or spec["activation"] != "tanh":
            raise NotImplementedError
        return right

    report = verify(Functions(generate=narrow), cases=known(WALL, RANK), random=40, time_limit=600)
    assert report.random is not None
    assert report.random.judged == 40
    assert set(asked[2:]) == {"brickwall"}


def test_kinds_that_are_refused() -> None:
    def narrow(spec: Any, params: Any, right: Any) -> Any:
        if spec["network"] != "tt" or right.dtype.kind == "c":
            raise NotImplementedError
        return right

    report = verify(Functions(generate=narrow), cases=known(WALL, RANK, COMPLEX), random=0)
    assert refused_kinds(report.rows, [WALL, RANK, COMPLEX]) == {"brickwall", "lowrank", "tt complex"}


def test_a_candidate_that_does_nothing_is_left_alone() -> None:
    calls = []

    def nothing(spec: Any, params: Any, right: Any) -> Any:
        calls.append(spec)
        raise NotImplementedError

    report = verify(Functions(generate=nothing), cases=known(WALL, RANK), random=20)
    assert report.exit_code == 2
    assert report.random is not None
    assert (report.random.judged, report.random.note) == (0, "none were drawn, for it did none of the shipped ones")
    assert len(calls) == 2


def test_a_candidate_that_fails_sometimes_is_told() -> None:
    calls = []

    def sometimes(spec: Any, params: Any, right: Any) -> Any:
        calls.append(spec)
        return right + 1.0 * (len(calls) == 5)

    report = verify(Functions(generate=sometimes), cases=[], random=20, time_limit=600)
    assert report.exit_code == 1
    assert report.random is not None
    assert "sometimes" in report.random.note


def test_running_out_of_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Functions(generate=Clock(monkeypatch).slow(0.2))
    report = verify(slow, cases=known(WALL), random=500, time_limit=4.0)
    assert report.random is not None
    assert report.random.note == "out of time"
    assert 10 < report.random.judged < 25
    assert report.exit_code == 0


def test_without_hypothesis_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import adntn_ref.validation.verify.random_cases as module

    def missing(name: str, extra: str) -> Any:
        raise MissingExtra(f"needs {name} of {extra}")

    monkeypatch.setattr(module, "need", missing)
    with pytest.raises(MissingExtra, match="hypothesis of test"):
        verify(Functions(), cases=known(WALL), random=1)

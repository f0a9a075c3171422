"""Verify: each verdict has a candidate that earns it, and the honest one earns none of them."""

from typing import Any

import numpy as np
import pytest
from verify_cases import COMPLEX, DELTA, RANK, SINGLE, STACK, WALL, Clock, Functions, WithStates, known

from adntn_ref.errors import CandidateError, NothingSelected
from adntn_ref.validation.case import reference
from adntn_ref.validation.verify import Report, Verdict, verify
from adntn_ref.validation.verify.prepare import prepare
from adntn_ref.validation.verify.verdicts import Row

ALL = (WALL, RANK, STACK, DELTA, COMPLEX, SINGLE)


def ask(*cases: Any, dtype: str = "float64", functions: type[Functions] = Functions, **replaced: Any) -> Report:
    return verify(functions(**replaced), cases=known(*(cases or (WALL,))), random=0, dtype=dtype)


def only(report: Report) -> Row:
    """The one row that does not agree."""
    (row,) = [row for row in report.rows if row.verdict is not Verdict.AGREES]
    return row


def first_core(right: Any) -> str:
    return next(iter(right))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_the_package_agrees_with_itself(dtype: str) -> None:
    def doubled(spec: Any, params: Any) -> Any:
        return {name: x.astype("complex128" if x.dtype.kind == "c" else "float64") for name, x in params.items()}

    class Double(Functions):  # for the package has no half precision
        def generate(self, spec: Any, params: Any) -> Any:
            return super().generate(spec, doubled(spec, params))

        def vjp(self, spec: Any, params: Any, cotangent: Any) -> Any:
            wide = doubled(spec, cotangent if isinstance(cotangent, dict) else {"": cotangent})
            return super().vjp(spec, doubled(spec, params), wide if isinstance(cotangent, dict) else wide[""])

    report = verify(Double(), cases=known(*ALL), random=0, dtype=dtype)
    assert report.failed == []
    assert report.exit_code == 0
    half = dtype in ("float16", "bfloat16")
    assert report.unsupported == (["tt/complex"] if half else [])
    assert len(report.judged) == len(ALL) - half


def test_single_precision_is_given_single_precision() -> None:
    seen = []
    ask(WALL, DELTA, dtype="float32", generate=lambda spec, params, right: seen.append(params) or right)
    assert {x.dtype.name for x in seen[0].values()} == {"float32"}
    frozen = next(x for name, x in seen[1].items() if name.startswith("frozen/"))
    assert frozen.dtype == np.float64  # as the specification says, with numbers that float32 holds
    assert (frozen == frozen.astype(np.float32)).all()


def test_bfloat16_rounds_to_nearest() -> None:
    prepared = prepare(RANK, "bfloat16")
    assert prepared is not None
    for name, core in prepared.case.params.items():
        assert core.dtype == np.float32
        assert not (core.view(np.uint32) & 0xFFFF).any()
        # Eight binary digits: the error is at most half a unit in the last of them.
        assert (abs(core - RANK.params[name]) <= abs(RANK.params[name]) * 2.0**-8).all()
        assert (core != RANK.params[name]).any()


def test_the_reference_is_that_of_the_rounded_numbers() -> None:
    prepared = prepare(WALL, "float16")
    assert prepared is not None
    wide = {name: x.astype(float) for name, x in prepared.case.params.items()}
    assert (prepared.expected["weight"] == Functions().generate(WALL.spec, wide)).all()
    assert not np.allclose(prepared.expected["weight"], reference(WALL)["weight"], rtol=1e-6, atol=0)


def test_differs() -> None:
    def spoilt(spec: Any, params: Any, right: Any) -> Any:
        right = right.copy()
        right[1, 2] += 1e-9
        return right

    report = ask(generate=spoilt)
    row = only(report)
    assert (row.verdict, row.quantity, row.index) == (Verdict.DIFFERS, "weight", (1, 2))
    assert row.error == pytest.approx(1e-9, rel=1e-3)
    assert 0 < row.allowed < 1e-10
    assert "1 of 12 entries" in row.detail
    assert report.exit_code == 1


def test_an_error_within_rounding_is_allowed_and_one_above_is_not() -> None:
    scale = np.max(np.abs(reference(WALL)["weight"]))
    below, above = (
        ask(generate=lambda spec, params, right, size=size: right + size * scale) for size in (0.9e-12, 1e-11)
    )
    assert (below.exit_code, above.exit_code) == (0, 1)


def test_not_supported() -> None:
    def refuses(spec: Any, params: Any, right: Any) -> Any:
        if spec["network"] == "lowrank":
            raise NotImplementedError("no such network")
        return right

    report = ask(WALL, RANK, generate=refuses)
    row = only(report)
    assert (row.case, row.quantity, row.verdict) == ("lowrank/small", "generate", Verdict.NOT_SUPPORTED)
    assert row.detail == "no such network"
    assert report.unsupported == ["lowrank/small"]
    assert report.exit_code == 0
    assert ask(RANK, generate=refuses).exit_code == 2


def test_a_gradient_that_is_not_supported_leaves_the_weight() -> None:
    def later(*arguments: Any) -> Any:
        raise NotImplementedError

    report = ask(vjp=later)
    assert [row.quantity for row in report.rows] == ["weight", "vjp"]
    assert report.exit_code == 0


def test_raised() -> None:
    def fails(*arguments: Any) -> Any:
        raise LookupError("no\ncore  7")

    row = only(ask(vjp=fails))
    assert (row.quantity, row.verdict) == ("vjp", Verdict.RAISED)
    assert row.detail.startswith("LookupError: no core 7 [")
    assert "verify_cases.py" in row.detail  # the last line in the candidate's own file, which calls this test


def test_a_message_is_one_line_that_can_be_printed() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise self

    def fails(error: Exception) -> Any:
        def failing(*arguments: Any) -> Any:
            raise error

        return only(ask(vjp=failing)).detail

    assert fails(ValueError("\x1b[31m\ud800\n" + 500 * "x")).startswith("ValueError: \ufffd[31m\ufffd xxx")
    assert len(fails(ValueError(10**6 * "x"))) < 1000
    assert fails(Mute()).startswith("Mute: a Mute without a text")


def test_an_exit_is_caught() -> None:
    def leaves(*arguments: Any) -> Any:
        raise SystemExit(3)

    assert only(ask(vjp=leaves)).verdict is Verdict.RAISED


def test_a_ctrl_c_is_not_taken_for_the_candidates() -> None:
    def interrupted(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(generate=interrupted)


@pytest.mark.parametrize("change", [lambda w: w.T, lambda w: w[None], lambda w: w.reshape(-1), lambda w: w[:0]])
def test_wrong_shape(change: Any) -> None:
    report = ask(generate=lambda spec, params, right: change(right))
    assert [row.verdict for row in report.failed] == [Verdict.WRONG_SHAPE]
    assert "(3, 4)" in report.failed[0].detail


def test_an_enormous_answer_is_not_looked_at() -> None:
    row = only(ask(generate=lambda spec, params, right: np.broadcast_to(right[:1, :1], (2**40, 2))))
    assert row.verdict is Verdict.WRONG_SHAPE


WRONG_DTYPES = ["object", "float32", "int64", "bool", "complex128", "U8", "datetime64[s]"]


@pytest.mark.parametrize("dtype", WRONG_DTYPES)
def test_wrong_dtype(dtype: str) -> None:
    def cast(spec: Any, params: Any, right: Any) -> Any:
        return (right * 100).astype(int).astype(dtype) if dtype[:4] == "date" else right.astype(dtype)

    row = only(ask(generate=cast))
    assert (row.quantity, row.verdict) == ("weight", Verdict.WRONG_DTYPE)


def test_single_precision_is_right_where_it_was_asked_for() -> None:
    def single(spec: Any, params: Any, right: Any) -> Any:
        return right.astype(np.float32)

    assert ask(WALL, dtype="float32", generate=single).exit_code == 0
    assert ask(SINGLE, generate=single).exit_code == 0
    assert only(ask(WALL, generate=single)).verdict is Verdict.WRONG_DTYPE


def test_a_complex_weight_may_not_lose_its_imaginary_part() -> None:
    row = only(ask(COMPLEX, generate=lambda spec, params, right: right.real.copy()))
    assert (row.verdict, row.detail) == (Verdict.WRONG_DTYPE, "dtype float64, wanted complex numbers")


def test_missing_and_extra_core() -> None:
    def renamed(spec: Any, params: Any, cotangent: Any, right: Any) -> Any:
        name = first_core(right)
        return {("other" if key == name else key): g for key, g in right.items()}

    report = ask(vjp=renamed)
    first = first_core(Functions().vjp(WALL.spec, WALL.params, WALL.cotangent))
    found = {row.quantity: row.verdict for row in report.failed}
    assert found == {f"gradient/{first}": Verdict.MISSING, "gradient/other": Verdict.EXTRA}


def test_a_gradient_of_the_frozen_weight_is_extra() -> None:
    def with_base(spec: Any, params: Any, cotangent: Any, right: Any) -> Any:
        return {**right, f"frozen/{spec['base']['sha256']}": cotangent.copy()}

    assert only(ask(DELTA, vjp=with_base)).verdict is Verdict.EXTRA


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value: float) -> None:
    def spoilt(spec: Any, params: Any, right: Any) -> Any:
        right = right.copy()
        right[2, 0] = value
        return right

    row = only(ask(generate=spoilt))
    assert (row.verdict, row.index) == (Verdict.NOT_FINITE, (2, 0))


def test_view_of_its_input() -> None:
    def view(spec: Any, params: Any, cotangent: Any, right: Any) -> Any:
        left = params["left"]
        left[...] = right["left"]
        return {**right, "left": left[::1]}

    verdicts = {row.quantity: row.verdict for row in ask(RANK, vjp=view).failed}
    assert verdicts == {"vjp": Verdict.CHANGED, "gradient/left": Verdict.VIEW}


def test_a_read_only_view_is_no_fault() -> None:
    spec = {"network": "lowrank", "shape": [2, 2], "rank": 1}
    case = type(RANK)("lowrank/ones", spec, {"left": np.ones((2, 1)), "right": np.ones((1, 2))}, np.ones((2, 2)))

    def view(spec: Any, params: Any, right: Any) -> Any:
        return np.broadcast_to(params["left"], (2, 2))

    assert ask(case, generate=view).exit_code == 0


@pytest.mark.parametrize("what", ["params", "names", "spec", "cotangent", "array in spec"])
def test_input_changed(what: str) -> None:
    def changes(spec: Any, params: Any, cotangent: Any, right: Any) -> Any:
        if what == "params":
            params["left"] *= 2
        elif what == "names":
            params["new"] = params.pop("left")
        elif what == "spec":
            spec["rank"] = 2
        elif what == "array in spec":
            spec["shape"] = np.array(spec["shape"])
        else:
            cotangent += 1
        return right

    report = ask(RANK, vjp=changes)
    assert {(row.quantity, row.verdict) for row in report.failed} == {("vjp", Verdict.CHANGED)}
    # What it did to its copy reaches nobody else.
    assert RANK.spec["rank"] == 1
    assert ask(RANK).exit_code == 0


class Odd:
    def __array__(self, *arguments: Any, **named: Any) -> Any:
        raise RuntimeError("still on the device")


@pytest.mark.parametrize("given", [None, "weight", 3.0, [[1.0]], Odd(), object()])
def test_garbage(given: object) -> None:
    row = only(ask(generate=lambda *arguments: given))
    assert (row.quantity, row.verdict) == ("weight", Verdict.GARBAGE)
    assert type(given).__name__ in row.detail


def test_garbage_in_place_of_a_dict() -> None:
    assert only(ask(vjp=lambda spec, params, g, right: list(right.values()))).verdict is Verdict.GARBAGE
    assert only(ask(STACK, generate=lambda spec, params, right: right["c/d"])).verdict is Verdict.GARBAGE
    assert only(ask(RANK, vjp=lambda spec, params, g, right: {**right, 5: g})).verdict is Verdict.GARBAGE


def test_other_libraries_arrays_are_read() -> None:
    class Wrapped:
        def __init__(self, x: Any) -> None:
            self.x = x

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return self.x

    assert ask(generate=lambda spec, params, right: Wrapped(right)).exit_code == 0


def test_states_are_judged_where_they_are_given() -> None:
    report = ask(functions=WithStates)
    groups = {row.group for row in report.rows}
    assert (report.exit_code, groups) == (0, {"weight", "gradient", "state", "adjoint"})


def test_states_may_be_flat_few_or_more_but_not_wrong() -> None:
    def flat(right: Any) -> Any:
        kept = {name: x.reshape(-1) for name, x in list(right.items())[1:]}
        return {**kept, "a step of mine": np.ones(3)}

    assert ask(functions=WithStates, states=flat).exit_code == 0
    name = "layer0.activation"
    wrong = ask(functions=WithStates, states=lambda right: {**right, name: right[name] + 1})
    assert [(row.quantity, row.verdict) for row in wrong.failed] == [(f"state/{name}", Verdict.DIFFERS)]
    short = ask(functions=WithStates, states=lambda right: {name: right[name].reshape(-1)[1:]})
    assert [row.verdict for row in short.failed] == [Verdict.WRONG_SHAPE]


def test_the_time_limit_leaves_cases_out(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Functions(generate=Clock(monkeypatch).slow(0.3))
    report = verify(slow, cases=known(WALL, RANK, STACK), random=50, time_limit=0.2)
    assert report.not_run == ["brickwall/small", "lowrank/small", "stack/two"]
    assert report.exit_code == 2
    assert {row.verdict for row in report.rows} == {Verdict.NOT_RUN}


def test_too_slow_in_this_process_is_named_afterwards() -> None:
    report = verify(Functions(), cases=known(WALL), random=0, case_limit=1e-9)
    assert {row.verdict for row in report.rows} == {Verdict.TIMED_OUT}


def test_cases_by_name() -> None:
    cases = known(WALL, RANK, STACK)
    report = verify(Functions(), cases=cases, only=["*/small"])
    assert report.judged == ["brickwall/small", "lowrank/small"]
    assert report.random is None
    with pytest.raises(NothingSelected, match="no case is called 'mps/"):
        verify(Functions(), cases=cases, only=["*/small", "mps/*"])


def test_an_object_without_the_functions_is_refused() -> None:
    with pytest.raises(CandidateError, match="no function generate and no function vjp"):
        verify(object(), cases=known(WALL))


def test_a_failure_of_the_diagnosis_does_not_break_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    import adntn_ref.validation.diagnosis as diagnosis

    def broken(*arguments: Any) -> Any:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(diagnosis, "diagnose", broken)
    report = ask(generate=lambda spec, params, right: 2 * right)
    assert report.exit_code == 1
    assert report.diagnosis == "No diagnosis: it failed itself (ZeroDivisionError: oh)."


def test_the_diagnosis_is_asked_where_numbers_differ() -> None:
    def doubled(spec: Any, params: Any, cotangent: Any, right: Any) -> Any:
        return {name: 2 * g for name, g in right.items()}

    assert "known-mistakes.md#gradient-doubled" in ask(WALL, RANK, vjp=doubled).diagnosis
    assert ask().diagnosis == ""


def test_every_verdict_has_a_sentence() -> None:
    assert len({verdict.label for verdict in Verdict}) == len({verdict.sentence for verdict in Verdict}) == 15
    assert {str(verdict) for verdict in Verdict if not verdict.failed} == {"agrees", "not supported", "not run"}

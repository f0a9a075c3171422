"""Benchmarks: all compute the same, a wrong one is refused, what is not installed is left out, and that is said."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peers
import pytest

import adntn_ref as ar
from adntn_ref.errors import DisagreementError
from adntn_ref.validation.adapters.closed_form import program
from adntn_ref.validation.bench import candidate as candidates
from adntn_ref.validation.bench import models, optimiser, row, trees, walls
from adntn_ref.validation.bench.candidate import Candidate, Prepared, check
from adntn_ref.validation.bench.cli import main
from adntn_ref.validation.bench.own_side import closed_form
from adntn_ref.validation.bench.plan import Plan
from adntn_ref.validation.bench.table import Row
from adntn_ref.validation.bench.workload import Answer, Workload, brickwall, gemm_flops, tree

NAMES = {candidate.name: candidate for candidate in walls.CANDIDATES}
FAST = Plan(quick=True, rounds=1, pause=0.0)
SIZES = [(4, 1), (4, 2), (5, 2), (6, 3), (7, 2), (8, 2), (9, 3)]


def needed(candidate: Candidate) -> Candidate:
    for name in candidate.needs:
        peers.need(name, optional=name == "autograd")
    return candidate


def agrees(candidate: Candidate, workload: Workload) -> None:
    expected, got = (which.prepare(workload) for which in (walls.OURS, candidate))
    check(candidate.name, workload.dtype, got.answer(got.run()), expected.answer(expected.run()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_brickwalls_agree(name: str, dtype: str) -> None:
    candidate = needed(NAMES[name])
    for q, layers in SIZES if not name.startswith("jax") else [(5, 2)]:
        agrees(candidate, brickwall(q, layers, dtype))


@pytest.mark.parametrize("name", [candidate.name for candidate in trees.candidates()])
@pytest.mark.parametrize("case", [("ttn", 6, 3, 2), ("mera", 6, 4, 2), ("mera", 6, 3, 4)])
def test_trees_agree(name: str, case: tuple[str, int, int, int]) -> None:
    candidate = needed(NAMES[name])
    if name.startswith("jax") and case[0] == "ttn":
        pytest.skip("compiling takes its time")
    agrees(candidate, tree(*case, "float64"))


def test_the_loss_is_the_mean_squared_distance() -> None:
    workload = brickwall(5, 2, "float64")
    prepared = closed_form(workload)
    found = prepared.answer(prepared.run())
    difference = workload.network.generate(workload.params) - workload.target
    assert found.loss == pytest.approx(np.mean(difference**2), rel=1e-14)
    name = "layer1.brick2"
    for sign in (1, -1):  # a difference quotient on either side
        moved = {**workload.params, name: workload.params[name] + sign * 1e-6}
        loss = np.mean((workload.network.generate(moved) - workload.target) ** 2)
        assert (loss - found.loss) / (sign * 1e-6) == pytest.approx(found.gradients[name].sum(), rel=1e-4)


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("q", [4, 7, 10])
def test_the_limit_counts_the_bricks(q: int, layers: int) -> None:
    """Each is a product of a 4x4 matrix with 2^Q / 4 columns, and two more in the adjoint; counted in the adapters."""
    network = ar.BrickWall((2**q,), layers=layers)
    product = 2 * 4 * 4 * 2**q // 4
    applied = [step for step in program(network.to_spec())[1] if step.kind == "mix"]
    assert gemm_flops(q, layers, first_column=False) == 3 * product * len(applied)
    assert gemm_flops(q, layers) == 3 * product * len(network.core_shapes)


def spoilt(**changes: Any) -> Answer:
    workload = brickwall(5, 2, "float64")
    prepared = closed_form(workload)
    found = prepared.answer(prepared.run())
    return Answer(changes.get("loss", lambda x: x)(found.loss), changes.get("gradients", dict)(found.gradients))


def with_core(change: Any) -> Any:
    return lambda g: {**g, "layer1.brick1": change(g["layer1.brick1"])}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "loss": ({"loss": lambda x: x * (1 + 1e-9)}, "the loss is"),
    "loss nan": ({"loss": lambda x: math.nan}, "the loss is nan"),
    "gradient": ({"gradients": with_core(lambda g: g * (1 + 1e-9))}, "gradient of layer1.brick1 differs"),
    "transposed": ({"gradients": with_core(lambda g: g.transpose(2, 3, 0, 1))}, "gradient of layer1.brick1 differs"),
    "nan": ({"gradients": with_core(lambda g: g * np.nan)}, "gradient of layer1.brick1 differs"),
    "dtype": ({"gradients": with_core(lambda g: g.astype("float32"))}, "is float32 (2, 2, 2, 2)"),
    "shape": ({"gradients": with_core(lambda g: g.reshape(4, 4))}, "is float64 (4, 4)"),
    "missing": ({"gradients": lambda g: {k: x for k, x in g.items() if k != "layer0.brick1"}}, "layer0.brick1"),
    "extra": ({"gradients": lambda g: {**g, "layer9.brick1": np.zeros(1)}}, "layer9.brick1"),
}


def test_what_is_right_passes() -> None:
    check("mine", "float64", spoilt(), spoilt())


def test_more_is_allowed_for_long_sums() -> None:
    off = spoilt(loss=lambda x: x * (1 + 3e-11))
    check("mine", "float64", off, spoilt(), entries=2**24)
    for entries in (1, 2**22, 2**23):
        with pytest.raises(DisagreementError):
            check("mine", "float64", off, spoilt(), entries)


def test_an_interrupted_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(row, "alternate", interrupt)
    monkeypatch.setattr(trees, "candidates", lambda: (walls.OURS,))
    assert main(["--table", "trees", "--quick", "--rounds", "1"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_refused(what: str) -> None:
    changes, message = WRONG[what]
    with pytest.raises(DisagreementError) as error:
        check("mine", "float64", spoilt(**changes), spoilt())
    assert str(error.value).startswith("mine: ")
    assert message in str(error.value)


def test_a_wrong_candidate_is_not_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    calls = []

    def wrong(workload: Workload) -> Prepared:
        honest = closed_form(workload)

        def answer(found: Any) -> Answer:
            right = honest.answer(found)
            return replace(right, loss=right.loss + 1)

        return Prepared(lambda: calls.append(1) or honest.run(), answer)

    monkeypatch.setattr(row, "alternate", lambda *_: pytest.fail("was timed"))
    with pytest.raises(DisagreementError, match="wrong: the loss"):
        row.measure(Row("", {}), brickwall(4, 2, "float64"), (walls.OURS, Candidate("wrong", wrong)), FAST.timing(9.0))
    assert calls == [1]
    monkeypatch.setattr(trees, "candidates", lambda: (walls.OURS, Candidate("wrong", wrong)))
    assert main(["--table", "trees", "--quick", "--rounds", "1", "--pause", "0"]) == 1
    assert "bench: wrong: the loss is" in capsys.readouterr().err


def test_what_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(candidates, "installed", lambda name: False)
    for module in (models, optimiser):
        monkeypatch.setattr(module, "installed", lambda name: False)
    tables = ["walls", "trees", "optimiser"]
    asked = [word for name in tables for word in ("--table", name)]
    assert main([*asked, "--quick", "--q", "5", "--rounds", "1", "--pause", "0", "--layers", "2"]) == 0
    out = capsys.readouterr().out
    for line in (
        "left out: torch author: not installed: torch",
        "left out: jax (L,4,R): not installed: jax",
        "left out: autograd (L,4,R): not installed: autograd",
        "left out: torch fused: not installed: torch",
    ):
        assert line in out
    assert "ours, tape" in out
    found = models.model_row("small", models.vgg16((4, 0, 0, 0), 8), 2, FAST)
    assert (found.left_out, set(found.values)) == ({"torch": "not installed: torch"}, {"ours"})


def test_what_cannot_be_imported_is_left_out() -> None:
    def broken(workload: Workload) -> Prepared:
        raise ImportError("libsomething.so is missing")

    found = row.measure(
        Row("", {}), brickwall(4, 1, "float32"), (walls.OURS, Candidate("broken", broken)), FAST.timing(9.0)
    )
    assert found.left_out == {"broken": "cannot be imported: libsomething.so is missing"}
    assert set(found.values) == {"ours"}


def test_what_is_too_large_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = brickwall(10, 2, "float32")  # 4 KiB
    assert Candidate("mine", closed_form, largest=9).refuses(workload) == "run up to 2^9 entries only, for its time"
    assert not Candidate("mine", closed_form, largest=10).refuses(workload)
    monkeypatch.setenv("ADNTN_REF_MEMORY_LIMIT", "1MiB")
    assert not Candidate("mine", closed_form, outputs=500).refuses(workload)  # two layers: half of 500 x 4 KiB
    assert "GiB, and 0.000977 are allowed" in Candidate("mine", closed_form, outputs=520).refuses(workload)


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "found.json"
    asked = [
        "--table",
        "walls",
        "--q",
        "4",
        "5",
        "--layers",
        "1",
        "--quick",
        "--rounds",
        "2",
        "--pause",
        "0",
        "--quiet",
    ]
    assert main([*asked, "--json", str(path)]) == 0
    found = json.loads(path.read_text(encoding="utf8"))
    assert list(found) == ["format", "machine", "settings", "seconds", "note", "tables", "goals"]
    assert found["settings"] == {
        "quick": True,
        "layers": 1,
        "dtype": "float32",
        "rounds": 2,
        "pause": 0.0,
        "q": [4, 5],
    }
    assert {"date", "processor", "cores", "versions", "threads"} <= found["machine"].keys()
    (table,) = found["tables"]
    assert [entry["facts"]["q"] for entry in table["rows"]] == [4, 5]
    for entry in table["rows"]:
        assert set(entry["values"]) | set(entry["left_out"]) == set(NAMES)
        for name, value in entry["values"].items():
            assert value == pytest.approx(np.median(entry["samples"][name]))
            assert len(entry["samples"][name]) == 2
            if name != "ours":
                assert entry["numbers"][f"ours / {name}"] == pytest.approx(entry["values"]["ours"] / value)
    capsys.readouterr()
    assert main([*asked, "--json", str(path)]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--q", "3"], "--q must be from 4 to 26, got 3"),
        (["--q", "12", "27"], "got 12 27"),
        (["--layers", "0"], "--layers must be from 1 to 64, got 0"),
        (["--rounds", "0"], "--rounds must be at least 1, got 0"),
        (["--pause", "nan"], "--pause must be from 0 to 10 seconds, got nan"),
        (["--table", "speed"], "no table is called speed; allowed: limits, walls"),
        (["--table", "memory", "--plot", "p.png"], "--plot draws the tables walls and growth-q; asked for: memory"),
        (["--json", "/nowhere/a.json"], "there is no folder /nowhere"),
    ],
)
def test_bad_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_json_alone_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--table", "optimiser", "--quick", "--rounds", "1", "--pause", "0", "--json", "-"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert table["rows"][0]["label"] == "76 bricks"


def test_adam_that_differs_is_refused() -> None:
    params = {"a": np.ones(3), "b": np.ones((2, 2))}
    gradients = {"a": np.array([1.0, -2.0, 3.0]), "b": np.eye(2)}
    ways = {"ours": optimiser.own(params, gradients, packs=False), "mine": optimiser.own(params, gradients, packs=True)}
    optimiser.agree(ways)
    step, state = optimiser.own(params, gradients, packs=True)
    wrong = (step, lambda: {name: core + 2e-5 for name, core in state().items()})
    fresh = {"ours": optimiser.own(params, gradients, packs=False), "mine": wrong}
    with pytest.raises(
        DisagreementError, match="mine: after 3 steps of Adam a core differs from the package's by 2e-05"
    ):
        optimiser.agree(fresh)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("generated", [False, True])
def test_models_agree(dtype: str, generated: bool) -> None:
    peers.need("torch")
    from adntn_ref.validation.bench.torch_models import prepare

    model: Any = models.vgg16((4, 0, 6, 0, 0, 0), 8)
    if generated:
        model = ar.Generated(model, (("fc1.weight", ar.BrickWall((8, 24), layers=2, layout="interleaved")),))
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((3, 3, 32, 32)).astype(dtype), rng.integers(0, 10, 3)
    params = models.start(model, dtype)
    ours, torch = models.own(model, params, images, labels), prepare(model, params, images, labels, models.RATE)
    for _ in range(2):  # the second step is from where the first one led
        check("torch", dtype, torch.answer(torch.run()), ours.answer(ours.run()))


def test_vgg16_has_its_shape() -> None:
    shapes = models.vgg16().param_shapes
    assert sum(math.prod(shape) for shape in shapes.values()) == 33_638_218
    assert sum(len(shape) == 4 for shape in shapes.values()) == 13
    assert [shape for name, shape in shapes.items() if name.startswith("fc") and len(shape) == 2] == [
        (4096, 512),
        (4096, 4096),
        (10, 4096),
    ]

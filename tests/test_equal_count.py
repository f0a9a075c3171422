"""The comparison of families on weights of a file: rows, seeds, records that go on, tables."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.compression.tensorfile import TensorFile, write_tensors
from adntn_ref.compression.weights import read_weight
from adntn_ref.validation import equal_count
from adntn_ref.validation.equal_table import markdown, summary

Run = Callable[..., list[dict[str, Any]]]
SHALLOW = {"mpo", "lowrank", "tt", "tucker", "tucker-axes"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    tensors = {
        "conv": rng.standard_normal((3, 3, 4, 8)).astype("float32"),
        "dense": rng.standard_normal((16, 8)),
        "bias": np.zeros(8),
    }
    write_tensors(tmp_path / "w.npz", tensors, {})
    return tmp_path / "w.npz"


@pytest.fixture
def run(path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*more: str) -> list[dict[str, Any]]:
        arguments = [str(path), "--layer", "conv", "--layer", "dense", "--order", "hwio", "--share", "0.4"]
        assert equal_count.main([*arguments, "--steps", "5", "--json", *more]) == 0
        return list(json.loads(capsys.readouterr().out))

    return call


def test_families_at_equal_count(run: Run, path: Path) -> None:
    conv, dense = run("--seeds", "0", "1", "2")
    assert (conv["shape"], conv["weights"], conv["most"]) == ([8, 4, 3, 3], 288, 115)
    assert (dense["shape"], dense["most"]) == ([8, 16], 51)
    assert [row["family"] for row in conv["rows"]] == [*ar.NETWORKS, "cp-axes", "tucker-axes"]
    assert [row["family"] for row in dense["rows"]] == list(ar.NETWORKS)  # two axes: low rank has them
    for layer in (conv, dense):
        for row in layer["rows"]:
            if row["parameters"] is None:
                assert (row["how"], row["mean"], row["errors"]) == ("too large", None, [])
                continue
            assert row["parameters"] <= layer["most"]
            seeds = [None] if row["family"] in SHALLOW else [0, 1, 2]
            assert (row["seeds"], len(row["errors"])) == (seeds, len(seeds))
            assert row["mean"] == pytest.approx(np.mean(row["errors"]))
            assert row["spread"] == (pytest.approx(np.std(row["errors"], ddof=1)) if len(seeds) > 1 else None)
            assert 0 < row["mean"] < 1.2


def test_rows_are_fits_and_decompositions_of_the_turned_weight(run: Run, path: Path) -> None:
    conv, dense = run("--seeds", "4")
    target = read_weight(TensorFile(path), "conv", "hwio")
    rows = {row["family"]: row for row in conv["rows"]}
    net = ar.at_most("attn", target.shape, parameters=115, layout="interleaved")
    assert rows["attn"]["errors"] == [ar.fit(net, target, steps=5, rng=4).relative_error]
    assert rows["attn"]["size"] == {"chi": net.to_spec()["chi"]}
    own = ar.at_most("tucker", target.shape, parameters=115, modes=(8, 4, 3, 3))
    assert rows["tucker-axes"]["decomposed"] == ar.relative_error(own.generate(own.decompose(target)), target)
    found = ar.fit(own, target, steps=5, params=own.decompose(target))
    assert rows["tucker-axes"]["errors"] == [found.relative_error]
    assert rows["tucker-axes"]["parameters"] == own.parameter_count
    (svd,) = (row for row in dense["rows"] if row["family"] == "lowrank")
    values = np.linalg.svd(TensorFile(path).load("dense"), compute_uv=False)
    best = np.sqrt((values[svd["size"]["rank"] :] ** 2).sum() / (values**2).sum())
    assert svd["size"]["rank"] == 2
    assert (svd["mean"], svd["decomposed"], svd["bound"]) == (pytest.approx(best),) * 3
    assert svd["how"] == "decomposition"
    for row in (*conv["rows"], *dense["rows"]):
        if row["family"] in SHALLOW and row["errors"]:
            assert 0 <= row["bound"] <= row["mean"] * (1 + 1e-6)
            assert row["mean"] <= row["decomposed"]
            assert (row["mean"] < row["decomposed"]) == (row["how"] == "decomposition, Adam, 5 steps")
        else:
            assert (row["bound"], row["decomposed"]) == (None, None)


def test_a_record_goes_on_where_it_stopped(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "r.jsonl"
    whole = run("--seeds", "0", "1", "--record", str(record))
    lines = record.read_text().splitlines(keepends=True)
    assert len(lines) == sum(max(1, len(row["errors"])) for layer in whole for row in layer["rows"])
    record.write_text("".join(lines[:7]) + lines[7][:40])  # killed while it wrote
    made = []
    real = equal_count.approximate

    def counted(*arguments: Any) -> dict[str, Any]:
        made.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(equal_count, "approximate", counted)
    again = run("--seeds", "0", "1", "--record", str(record))
    assert len(made) == len(lines) - 7
    assert [json.loads(line)["relative_error"] for line in record.read_text().splitlines()] == [
        json.loads(line)["relative_error"] for line in lines
    ]
    assert [row["errors"] for layer in again for row in layer["rows"]] == [
        row["errors"] for layer in whole for row in layer["rows"]
    ]
    made.clear()
    run("--seeds", "0", "1", "2", "--record", str(record))
    assert {arguments[4] for arguments in made} == {2}
    assert not {arguments[1] for arguments in made} & SHALLOW  # a decomposition answers for every seed
    made.clear()
    run("--seeds", "0", "--share", "0.3", "--families", "ttn", "--record", str(record))
    assert len(made) == 2


def test_records_as_one_table(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    first = run("--families", "brickwall", "lowrank", "--record", str(one))
    second = run("--families", "brickwall", "--seeds", "1", "--share", "0.4", "--record", str(two))
    run("--families", "tt", "--share", "0.2", "--record", str(two))
    assert equal_count.main(["--table", str(one), str(two), str(one), "--json"]) == 0  # no fit counts twice
    table = json.loads(capsys.readouterr().out)
    assert [(layer["layer"], layer["share"]) for layer in table] == [
        (name, share) for share in (0.4, 0.2) for name in ("conv", "dense")
    ]
    errors = [layer["rows"][0]["errors"] for layer in (first[0], second[0])]
    assert table[0]["rows"][0]["errors"] == [*errors[0], *errors[1]]
    assert equal_count.main(["--table", str(one), str(two)]) == 0
    shown = capsys.readouterr().out
    assert "| conv | 8 x 4 x 3 x 3 | 115 (40 %) | 5 |" in shown
    assert "| dense | 8 x 16 | 26 (20 %) | 5 | - | - |" in shown


def row(family: str, error: float | None, seed: int | None = None, layer: str = "a/kernel:0") -> dict[str, Any]:
    facts = {"file": "f", "layer": layer, "share": 0.01, "shape": [30, 40], "weights": 1200, "most": 12, "steps": 5}
    return {**facts, "family": family, "parameters": 1234, "how": "h", "relative_error": error, "seed": seed,
            "seconds": 1.0}  # fmt: skip


def test_markdown() -> None:
    rows = [row("ttn", 0.5, 0), row("ttn", 0.502, 1), row("tt", 0.75), row("cp", None), row("tt", 0.9, None, "b")]
    rows.append({**row("ttn", 0.4, 0), "steps": 900})  # more steps: a line of its own
    lines = markdown(summary(rows)).splitlines()
    assert lines[2:7] == [
        "| layer | shape | at most | steps | ttn | tt | cp |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| a | 30 x 40 | 12 (1 %) | 5 | **0.5010(14)** | 0.7500 | - |",
        "| b | 30 x 40 | 12 (1 %) | 5 | - | **0.9000** | - |",
        "| a | 30 x 40 | 12 (1 %) | 900 | **0.4000** | - | - |",
    ]
    assert lines[-3:-1] == [
        "| a | 30 x 40 | 12 (1 %) | 5 | 1,234 | 1,234 | 1,234 |",
        "| b | 30 x 40 | 12 (1 %) | 5 | - | 1,234 | - |",
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--share": "2"}, "--share must be above 0"),
        ({"--layer": "zz"}, "matches none"),
        ({"--layer": "bias"}, "shape"),
        ({"--families": "mps"}, "no family is called mps; allowed: brickwall"),
        ({"--record": "no/where.jsonl"}, "cannot be written"),
        ({"--table": "x"}, "either a FILE"),
    ],
)
def test_bad_options(path: Path, changed: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"--layer": "dense", "--share": "0.4", "--steps": "2", **changed}
    assert equal_count.main([str(path), *(word for pair in options.items() for word in pair)]) == 2
    assert message in capsys.readouterr().err


def test_a_layer_is_needed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert equal_count.main([str(path)]) == 2
    assert "--layer is needed" in capsys.readouterr().err
    assert equal_count.main([]) == 2
    assert "either a FILE" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{\n", "[]\n", '{"file": 1}\n', "\xff\n"])
def test_a_file_that_is_no_record(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.jsonl").write_text(text, encoding="latin-1")
    assert equal_count.main(["--table", str(tmp_path / "r.jsonl")]) == 2
    assert "is no record of equal_count" in capsys.readouterr().err
    assert equal_count.main(["--table", str(tmp_path / "none.jsonl")]) == 2


def test_a_family_that_is_too_large_gets_a_row_without_an_error() -> None:
    (found,) = equal_count.compare(np.eye(8), 3, ["mera", "cp-axes"], steps=1, seed=0)
    assert (found["parameters"], found["relative_error"], found["how"]) == (None, None, "too large")

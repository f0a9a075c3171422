"""Variants of a sweep: the same networks in other stages."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sweep_cases import BASE, SWEEP

from adntn_ref.cli import main
from adntn_ref.errors import ConfigError
from adntn_ref.experiments.engine import run_sweep
from adntn_ref.experiments.record import read_json
from adntn_ref.experiments.shipped import shipped_files
from adntn_ref.experiments.sweep import read_sweep

MPO = """[[networks]]
name = "mpo"
parameters = [100]
"""
VARIANTS = """
[[variants]]
name = "distance"
[[variants]]
name = "no labels"
stage1 = { objective = "logits" }
stage2 = { epochs = 0, order = "together" }
[[variants]]
name = "one a class"
stage1 = { objective = "none" }
stage2 = { epochs = 3, labels_per_class = 1, order = "together" }
[[variants]]
name = "distilled"
stage1 = { objective = "none" }
stage2 = { loss = "distil", order = "together" }
"""


def test_variants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same networks in other stages, from the same baseline; controls differ with stage 2 alone."""
    (tmp_path / "base.toml").write_text(BASE)
    (tmp_path / "sweep.toml").write_text(SWEEP.replace("[0, 3]", "[0]").replace(', ["fc1.weight", "fc2', ', ["fc2'))
    plain = read_sweep(tmp_path / "sweep.toml")
    text = (tmp_path / "sweep.toml").read_text() + VARIANTS
    (tmp_path / "sweep.toml").write_text(
        text.replace("layers = [[", 'layers = [["fc1.weight"]]\n#').replace("1, 2", "1").replace(MPO, "")
    )
    sweep = read_sweep(tmp_path / "sweep.toml")
    tasks_of = sweep.tasks()
    assert [task.kind for task in tasks_of].count("dense") == 1
    assert [task.kind for task in tasks_of].count("frozen_random") == 4
    # The variant that changes nothing has the keys of a sweep without variants.
    assert {t.key for t in sweep.tasks() if t.config.stage1.objective == "euclidean" and t.kind == "row"} < {
        t.key for t in plain.tasks()
    }
    with ThreadPoolExecutor(1) as executor:
        run_sweep(sweep, tmp_path / "v", executor)
    assert main(["sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "v"), "--workers", "1"]) == 0
    assert "no labels" in capsys.readouterr().out
    summary = read_json(tmp_path / "v/summary.json")
    assert summary["failed"] == {}
    names = ["distance", "no labels", "one a class", "distilled"]
    assert [point["variant"] for point in summary["points"]] == [name for name in names for _ in range(3)]
    found = {(point["variant"], point["row"]): point for point in summary["points"]}
    unlabelled = found["no labels", "brickwall-1"]
    assert unlabelled["accuracy"] == unlabelled["stage1_accuracy"]
    assert unlabelled["validation_accuracy"] == unlabelled["stage1_validation_accuracy"]
    assert main(["report", str(tmp_path / "v"), "-o", str(tmp_path / "v.html")]) == 0
    assert "fc1.weight; one a class" in (tmp_path / "v.html").read_text()
    quick = sweep.quicker().with_base({"stage2": {"epochs": 1}})
    assert [config.stage2.epochs for _, config in quick.bases] == [1] * 4
    assert quick.bases[1][1].stage1.objective == "logits"


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("[[variants]]\nstage1 = {}", r"variants\[0\] lacks name"),
        ('[[variants]]\nname = "a"\nmodel = {}', r"variants\[0\] has no model"),
        ('[[variants]]\nname = ""', r"variants\[0\].name must be new and not empty"),
        ('[[variants]]\nname = "a"\n[[variants]]\nname = "a"', r"variants\[1\].name must be new and not empty"),
        ("[variants]", r"variants must be tables \[\[variants\]\]"),
        ('[[variants]]\nname = "a"\nstage2 = {loss = "x"}', "stage2.loss: no loss is called 'x'"),
    ],
)
def test_refused(added: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(BASE)
    (tmp_path / "sweep.toml").write_text(SWEEP + added + "\n")
    with pytest.raises(ConfigError, match=message):
        read_sweep(tmp_path / "sweep.toml")


def test_shipped_questions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADNTN_REF_DATA", str(tmp_path))
    for name in ("mnist", "fashion-mnist"):
        (tmp_path / name).mkdir()
    questions = [name for name in shipped_files("sweeps") if name.startswith("research-")]
    assert len(questions) > 5
    for name in questions:
        sweep = read_sweep(name).quicker()
        assert [task.kind for task in sweep.tasks()].count("row") >= len(sweep.networks)

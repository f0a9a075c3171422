"""The demo, on few images and epochs: what it reports, writes and refuses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import blobs, hide

import adntn_ref as ar
from adntn_ref.cli import demo as command
from adntn_ref.cli import main
from adntn_ref.compression import demo
from adntn_ref.nn.data import Split

opened: list[int] = []


class Watched(Split):
    def open_test(self, again: bool = False) -> Any:
        opened.append(self.seed)
        return super().open_test(again)


def few(seed: int = 0, dtype: str = "float32") -> Split:
    rng = np.random.default_rng(seed)
    train, validation, test = (blobs(rng, n, 28, 10, dtype) for n in (40, 10, 20))
    return Watched(train, validation, test, name="few", classes=10, seed=seed, mean=0.0, std=1.0)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(demo, "mnist5k", few)
    monkeypatch.setattr(command, "QUICK", replace(command.QUICK, stage1_steps=(5, 5)))
    monkeypatch.setattr(command, "need", lambda package, extra: None)  # mlxtend is not asked for here
    monkeypatch.chdir(tmp_path)
    opened.clear()
    return tmp_path


def run(*more: str) -> int:
    return main(["demo", "--quick", "--epochs", "1", *more])


def test_results(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", "--seeds", "0", "3", "--layers", "5", "2") == 0
    shown = capsys.readouterr()
    facts = json.loads(shown.out)
    assert shown.err == ""
    assert opened == [0, 3]  # once a seed, when everything is trained
    for name in ("dense", "compressed", "stage1", "frozen_random", "mpo", "compressed_logits", "stage1_logits"):
        assert 0 <= facts[f"{name}_accuracy"] <= 1
    assert (facts["weights"], facts["parameters"]) == (43200, 2800)
    assert facts["compression_ratio"] == 43200 / 2800
    assert facts["seconds"] > 0
    assert (facts["seeds"], facts["layers"], facts["epochs"]) == ([0, 3], [5, 2], 1)
    names = [name + more for name in ("brickwall 5", "brickwall 2", "mpo") for more in ("", " logits")]
    assert [row["row"] for row in facts["rows"]] == ["dense", *names, "frozen_random"]
    rows = {row["row"]: row for row in facts["rows"]}
    assert facts["compressed_accuracy"] == rows["brickwall 5"]["accuracy"]
    assert facts["stage1_accuracy"] == rows["brickwall 5"]["stage1_accuracy"]
    assert facts["compressed_logits_accuracy"] == rows["brickwall 5 logits"]["accuracy"]
    assert facts["stage1_logits_accuracy"] == rows["brickwall 5 logits"]["stage1_accuracy"]
    for name in names:
        objective = "logits" if name.endswith("logits") else "euclidean"
        assert rows[name]["objective"] == objective
        assert rows[name]["parameters"] == rows[rows[name]["network"]]["parameters"]
        assert rows[name]["stage1_accuracy"] == pytest.approx(np.mean(rows[name]["stage1_accuracies"]))
        assert rows[name]["stage1_seconds"] > 0
    for row in facts["rows"]:
        assert len(row["accuracies"]) == len(row["validation_accuracies"]) == 2
        assert row["accuracy"] == pytest.approx(np.mean(row["accuracies"]))
        assert (row["stage1_accuracy"] is None) == (row["row"] in ("dense", "frozen_random"))
    folder = tiny / facts["out"]
    assert facts["out"] == "adntn-demo"
    assert sorted(path.name for path in folder.iterdir()) == sorted(command.FILES)
    for name in ("weights.png", "curves.png"):
        assert (folder / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert json.loads((folder / "results.json").read_text()) == {k: v for k, v in facts.items() if k != "out"}
    read = ar.load_compressed(folder / "compressed.safetensors")
    assert tuple(read.entries) == demo.LAYERS
    weights = read.expand()
    assert {name: value.shape for name, value in weights.items()} == ar.lenet5().param_shapes
    test = few(0).open_test()
    scores = next(row for row in facts["rows"] if row["row"] == "brickwall 5")["accuracies"]
    assert ar.accuracy(ar.lenet5(), weights, test) == pytest.approx(scores[0])


def test_folders(tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The next free name; a chosen folder with results is refused, or overwritten with --force."""
    assert run() == 0
    shown = capsys.readouterr().out
    assert "test accuracy, %" in shown
    assert "brick-wall, 5 layers" in shown
    assert "written: adntn-demo/compressed.safetensors" in shown
    trained: list[Any] = []
    monkeypatch.setattr(command, "run_demo", lambda *a, **k: trained.append(a) or pytest.fail("work began"))
    assert run("--out", "adntn-demo") == 2
    assert "adntn-demo holds compressed.safetensors, results.json" in capsys.readouterr().err
    (tiny / "file").write_text("")
    assert run("--out", "file/x") == 2
    assert "cannot be written" in capsys.readouterr().err
    assert not trained
    monkeypatch.undo()
    monkeypatch.chdir(tiny)
    assert command._folder(None, False) == Path("adntn-demo-2")
    assert command._folder(None, False) == Path("adntn-demo-3")
    assert command._folder("adntn-demo", True) == Path("adntn-demo")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--layers", "0"], "--layers takes different integers >= 1, got [0]"),
        (["--layers", "3", "3"], "--layers takes different integers"),
        (["--epochs", "0"], "--epochs must be at least 1, got 0"),
        (["--seeds", "1", "1"], "seeds must be different integers >= 0"),
        (["--seeds=-1"], "seeds must be different integers >= 0"),
    ],
)
def test_refused(more: list[str], message: str, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*more) == 2
    assert message in capsys.readouterr().err
    assert list(tiny.iterdir()) == []


def test_packages_are_asked_for_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    hide(monkeypatch, "matplotlib")
    assert run() == 2
    assert 'needs the package matplotlib; install it with: python -m pip install "adntn-ref[demo]"' in (
        capsys.readouterr().err
    )
    assert list(tmp_path.iterdir()) == []


def test_plan_of_the_demo() -> None:
    """What the paper's table is made with: M = 5, interleaved, and modes of the rival that multiply exactly."""
    model, plan = ar.lenet5(), demo.DemoPlan()
    walls = demo.brickwalls(model, plan, 5)
    assert sum(net.parameter_count for net in walls.values()) == 2800
    assert {net.to_spec()["layout"] for net in walls.values()} == {"interleaved"}
    for name, net in demo.mpos(model, plan).items():
        rows, columns = demo.MPO_MODES[name]
        shape = model.param_shapes[name]
        assert (np.prod(rows), np.prod(columns)) == (shape[0], np.prod(shape[1:]))
        assert net.weights == np.prod(shape)

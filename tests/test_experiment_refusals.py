"""Folders that are in use, hold another experiment, other images or other files."""

from pathlib import Path

import pytest
from experiment_cases import config, content
from small import hide

from adntn_ref.errors import OutputError, RecordError
from adntn_ref.experiments import steps
from adntn_ref.experiments.locking import locked
from adntn_ref.experiments.record import read_record
from adntn_ref.experiments.run import run_experiment

pytest_plugins = ["experiment_fixtures"]


def test_another_experiment_is_refused(finished: Path) -> None:
    before = content(finished)
    with pytest.raises(RecordError, match=r"holds another experiment \(stage2: .*\"epochs\": 2.* there"):
        run_experiment(config(stage2={"epochs": 3}), finished)
    assert run_experiment(config(title="renamed"), finished)["title"] == "small"
    assert content(finished) == before


def test_other_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = config(seeds=[0], rivals=[], dense={"epochs": 1}, stage2={"cores_rates": [0.01]}, stage1={"steps": 2})
    with monkeypatch.context() as patch:
        patch.setattr("adntn_ref.experiments.run.compressed_row", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_experiment(small, tmp_path)
    real = steps.load_data
    monkeypatch.setattr(steps, "load_data", lambda name, folder, seed, dtype: real(name, folder, seed + 1, dtype))
    with pytest.raises(RecordError, match="was begun with other images for seed 0"):
        run_experiment(small, tmp_path)


def test_folders_in_use_or_of_others(tmp_path: Path) -> None:
    with locked(tmp_path / "busy"), pytest.raises(RecordError, match="is in use by another process"):
        run_experiment(config(), tmp_path / "busy")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/a.txt").write_text("dear")
    with pytest.raises(OutputError, match=r"holds a\.txt and no experiment"):
        run_experiment(config(), tmp_path / "letters")
    assert sorted(path.name for path in (tmp_path / "letters").iterdir()) == ["a.txt"]
    (tmp_path / "file").write_text("")
    for path in ("file", "file/x"):
        with pytest.raises(OutputError, match=r"is a file|cannot be written"):
            run_experiment(config(), tmp_path / path)
    with pytest.raises(RecordError, match=r"holds no experiment: there is no config\.json"):
        read_record(tmp_path)
    for broken in ("{", '{"format": 2}', "[]"):
        (tmp_path / "busy/config.json").write_text(broken)
        with pytest.raises(RecordError, match=r"config\.json (cannot be read|has format)"):
            read_record(tmp_path / "busy")


def test_systems_without_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "fcntl")
    with pytest.raises(OutputError, match="this system has no flock"):
        run_experiment(config(), tmp_path)

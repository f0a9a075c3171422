"""Records of experiments and sweeps that somebody forged."""

import json
from pathlib import Path

import pytest
from hostile import quickly

from adntn_ref.cli import main
from adntn_ref.errors import RecordError
from adntn_ref.experiments.record import read_json
from adntn_ref.experiments.shapes import require_result, require_shape


def test_records_are_read_as_what_they_should_be(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    for text in ("[]", "1", "[" * 10**5, "{", '{"a": "\\ud800"}', "\0"):
        path.write_text(text)
        quickly(lambda: read_json(path), RecordError)
    quickly(lambda: require_result(path, {"title": 1}), RecordError)
    for value, shape in (
        (10**300, int),
        (10**300, float),
        (float("nan"), float),
        (True, int),
        ([1], (int, int)),
        (1, [int]),
    ):
        with pytest.raises(RecordError, match="here must be a"):
            require_shape("here", value, shape)
    require_shape("here", {"a": [1, 2.5], "b": None}, {"a": (int, float)})


def test_commands_on_forged_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a page or a table needs and the record does not hold ends in one line, not in a traceback."""
    from fuzz.targets.records import CONFIG, FOUND, RESULT, TIMING, _config

    (tmp_path / CONFIG).write_bytes(_config())
    page = str(tmp_path / "page.html")
    commands = (["report", str(tmp_path), "-o", page], ["experiment", "show", str(tmp_path)])
    for result, timing in (({}, {}), (FOUND, {}), ({**FOUND, "rows": [1]}, {}), (FOUND, [])):
        (tmp_path / RESULT).write_text(json.dumps(result))
        (tmp_path / TIMING).write_text(json.dumps(timing))
        for command in commands:
            assert main(command) == 2
            assert str(tmp_path) in capsys.readouterr().err
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    for summary in ({}, {"seeds": 1}, {"seeds": [1], "title": 1, "model": "a", "data": "b", "points": [{}]}):
        (sweep / "summary.json").write_text(json.dumps(summary))
        assert main(["report", str(sweep), "-o", page]) == 2
        assert "is broken" in capsys.readouterr().err
    assert not Path(page).exists()

"""What the command line says of options it cannot read."""

import json

import pytest

from adntn_ref.cli import main


def test_a_mistyped_option_is_reported_as_json_where_json_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["cost", "--shape", "x", "--json"])
    assert done.value.code == 2
    facts = json.loads(capsys.readouterr().out)
    assert facts["kind"] == "UsageError"
    assert "--shape" in facts["error"]

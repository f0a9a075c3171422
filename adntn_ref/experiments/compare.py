"""Several finished experiments side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adntn_ref.errors import RecordError
from adntn_ref.experiments.record import read_record


def compare(folders: Sequence[str | Path]) -> dict[str, Any]:
    """Return the rows of all experiments, each with its distance from its own dense and frozen-random rows.

    Raises
    ------
    RecordError
        For a folder without an experiment, or with one that is not finished.
    """
    rows: list[dict[str, Any]] = []
    results = []
    for folder in folders:
        result = read_record(folder).result
        if result is None:
            raise RecordError(f"the experiment in {folder} is not finished; run it again to go on with it")
        results.append(result)
        by_row = {row["row"]: row for row in result["rows"]}
        for row in result["rows"]:
            rows.append(
                {
                    "experiment": str(folder),
                    "title": result["title"],
                    **{key: row[key] for key in ("row", "label", "parameters", "ratio", "accuracy", "interval")},
                    "above_dense": row["accuracy"] - by_row["dense"]["accuracy"],
                    "above_frozen_random": row["accuracy"] - by_row["frozen_random"]["accuracy"],
                }
            )
    return {"rows": rows, "notes": _notes(results)}


def _notes(results: list[dict[str, Any]]) -> list[str]:
    """Return warnings where experiments differ in what makes their accuracies comparable."""
    found = []
    for key, what in (
        ("data", "data sets"),
        ("model", "models"),
        ("layers", "compressed weights"),
        ("seeds", "seeds"),
        ("test_images", "numbers of test images"),
    ):
        if len({str(result[key]) for result in results}) > 1:
            said = "; ".join(str(result[key]) for result in results)
            found.append(f"careful: the experiments have different {what}: {said}")
    return found

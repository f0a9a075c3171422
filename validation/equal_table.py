"""What ``equal_count`` prints: rows of fits put together over their seeds, as JSON and as Markdown."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

LAYER = ("file", "layer", "share", "shape", "weights", "most", "steps")


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put rows together by layer, share and steps, then by family: mean, spread and all errors.

    Returns
    -------
    list of dict
        One a layer, share and number of steps, in the order in which they first come; ``rows`` has one dict a family,
        with ``mean`` and ``spread`` (standard deviation over seeds, None for fewer than two), ``errors`` and ``seeds``;
        a family without a member small enough has no errors.
    """
    layers: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = (row["file"], row["layer"], row["share"], row["steps"])
        layer = layers.setdefault(key, {**{name: row[name] for name in LAYER}, "rows": {}})
        facts = {name: row.get(name) for name in ("family", "parameters", "size", "how", "decomposed", "bound")}
        entry = layer["rows"].setdefault(row["family"], {**facts, "errors": [], "seeds": [], "times": []})
        if row["relative_error"] is not None:
            entry["errors"].append(row["relative_error"])
            entry["seeds"].append(row["seed"])
            entry["times"].append(row["seconds"])
    return [{**layer, "rows": [_with_mean(entry) for entry in layer["rows"].values()]} for layer in layers.values()]


def _with_mean(entry: dict[str, Any]) -> dict[str, Any]:
    errors, times = entry["errors"], entry.pop("times")
    return {
        **entry,
        "mean": fmean(errors) if errors else None,
        "spread": stdev(errors) if len(errors) > 1 else None,
        "seconds": fmean(times) if times else None,
    }


def markdown(layers: Sequence[dict[str, Any]]) -> str:
    """Return tables of errors and of parameter counts: a layer a row, a family a column; the best error is bold.

    After the mean stands the standard deviation over the seeds, in units of the last digit, in brackets.
    """
    families = list(dict.fromkeys(row["family"] for layer in layers for row in layer["rows"]))
    lines = [_line(["layer", "shape", "at most", "steps", *families]), _line(["---"] * (4 + len(families)))]
    counts = [lines[0], lines[1]]
    for layer in layers:
        shape = " x ".join(str(n) for n in layer["shape"])
        first = [
            _short(layer["layer"]),
            shape,
            f"{layer['most']:,} ({100 * layer['share']:.3g} %)",
            str(layer["steps"]),
        ]
        rows = {row["family"]: row for row in layer["rows"]}
        best = min((row["mean"] for row in rows.values() if row["mean"] is not None), default=None)
        lines.append(_line([*first, *(_error(rows.get(name), best) for name in families)]))
        counts.append(_line([*first, *(_count(rows.get(name)) for name in families)]))
    return "\n".join(["Relative error:", "", *lines, "", "Parameters:", "", *counts])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _short(name: str) -> str:
    """Return a tensor's name without what every one of Keras's has."""
    return name.removeprefix("model_weights/").split("/kernel")[0]


def _error(row: dict[str, Any] | None, best: float | None) -> str:
    if row is None or row["mean"] is None:
        return "-"
    spread = "" if row["spread"] is None else f"({round(1e4 * row['spread'])})"
    text = f"{row['mean']:.4f}{spread}"
    return f"**{text}**" if row["mean"] == best else text


def _count(row: dict[str, Any] | None) -> str:
    return "-" if row is None or row["parameters"] is None else f"{row['parameters']:,}"

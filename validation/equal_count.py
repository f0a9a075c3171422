"""Every family of networks fitted to real weights at equal parameter counts.

``python -m adntn_ref.validation.equal_count FILE --layer GLOB [--share 0.01] [--seeds 0 1 2]`` takes 2-D and 4-D
tensors of a safetensors, npz or HDF5 file, gives each family the largest member within the share of the weight's
entries, and prints relative errors ||W - T|| / ||T||. Every family is fitted by Adam: those with a direct decomposition
once, from there (low rank stays there: no matrix of that rank is closer), the others once a seed. An error of 1 is that
of W = 0: a family above it has learned nothing.

``--record FILE`` keeps one line of JSON a fit, and a command that was stopped goes on from there. ``--table FILE ...``
prints what such files hold as one Markdown table.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from adntn_ref import AdntnError, at_most, fit, relative_error
from adntn_ref.compression.axes import ORDERS
from adntn_ref.compression.jsontext import parse_json
from adntn_ref.compression.sources import open_tensors
from adntn_ref.compression.weights import read_weight
from adntn_ref.errors import FileFormatError, OutputError, SpecError
from adntn_ref.networks.registry import NETWORKS, size_field
from adntn_ref.nn.models import select

from .equal_table import markdown, summary

INTERLEAVED = ("brickwall", "ttn", "attn", "mera", "tt", "cp", "tucker")
"""Families that take a layout; interleaved modes keep rows and columns together where a network is cut."""

OWN_AXES = ("cp-axes", "tucker-axes")
"""CP and Tucker with a kernel's own four axes as modes, as they are used on convolutions; for 4-D weights alone."""

FAMILIES = (*NETWORKS, *OWN_AXES)

BEST_AS_DECOMPOSED = ("lowrank",)
"""The truncated SVD is the best matrix of its rank (Eckart and Young, Psychometrika 1, 211, 1936)."""


def member(family: str, shape: tuple[int, ...], parameters: int) -> Any:
    """Return the largest member of a family within ``parameters``; SpecError where there is none."""
    if family in OWN_AXES:
        return at_most(family.removesuffix("-axes"), shape, parameters=parameters, modes=shape)
    options: dict[str, Any] = {"layout": "interleaved"} if family in INTERLEAVED else {}
    return at_most(family, shape, parameters=parameters, **options)


def approximate(
    target: Any, family: str, parameters: int, steps: int, seed: int, start_share: float | None = None
) -> dict[str, Any]:
    """Bring one family's largest member within ``parameters`` near one weight and return a JSON-able row.

    A family whose smallest member is too large gets a row without an error. Where a fit starts from a decomposition
    ``seed`` is None, ``decomposed`` the error of the decomposition, and ``bound`` one that no parameters of that
    network go below.
    """
    began = time.perf_counter()
    row: dict[str, Any] = {"family": family, **dict.fromkeys(("seed", "parameters", "relative_error"))}
    row.update(decomposed=None, bound=None)
    try:
        network = member(family, target.shape, parameters)
    except SpecError:
        return {**row, "how": "too large", "seconds": 0.0}
    field = size_field(network.to_spec()["network"])
    row.update(parameters=network.parameter_count, size={field: network.to_spec()[field]})
    if hasattr(network, "decompose"):
        params = network.decompose(target)
        row["decomposed"] = row["relative_error"] = relative_error(network.generate(params), target)
        row["bound"] = network.error_bound(target).lower / float((target.astype("float64") ** 2).sum()) ** 0.5
        row["how"] = "decomposition"
        if family not in BEST_AS_DECOMPOSED:
            row["how"] += f", Adam, {steps} steps"
            row["relative_error"] = fit(network, target, steps=steps, params=params).relative_error
    else:
        row.update(how=f"Adam, {steps} steps", seed=seed)
        found = fit(network, target, steps=steps, rng=seed, start_share=start_share)
        row["relative_error"] = found.relative_error
    return {**row, "seconds": time.perf_counter() - began}


def compare(target: Any, parameters: int, families: Sequence[str], steps: int, seed: int) -> list[dict[str, Any]]:
    """Return :func:`approximate`'s row for each family that goes with a weight (float32 or float64)."""
    return [approximate(target, name, parameters, steps, seed) for name in families if fits(name, target.ndim)]


def fits(family: str, ndim: int) -> bool:
    """Return whether a family is for weights of ``ndim`` dimensions."""
    return family not in OWN_AXES or ndim == 4


class Record:
    """Rows in a file, one JSON object a line, kept as they are made; in memory alone where ``path`` is None.

    Raises
    ------
    FileFormatError
        For a line that is no such row. A last line without its end, left by a run that was killed, is cut off.
    """

    KEY = ("file", "layer", "order", "share", "family", "steps", "start_share", "seed")

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = read_rows(path) if path is not None and path.exists() else []

    def find(self, wanted: dict[str, Any]) -> dict[str, Any] | None:
        """Return the row of a fit; one from a decomposition, which has no seed, answers for every seed."""

        def same(row: dict[str, Any]) -> bool:
            return all(row[key] == wanted[key] for key in self.KEY if key != "seed" or row["seed"] is not None)

        return next((row for row in self.rows if same(row)), None)

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row; OutputError where the file cannot be written."""
        self.rows.append(row)
        if self.path is None:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a record, and cut off what a killed run left half written."""
    try:
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            path.write_text(whole, encoding="utf-8")
        rows = [parse_json(line) for line in whole.splitlines()]
        if not all(map(_is_row, rows)):
            raise ValueError("a line is no row of equal_count")
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} is no record of equal_count: {error}") from error
    return rows


def _is_row(row: Any) -> bool:
    if (
        not isinstance(row, dict)
        or not {*Record.KEY, "relative_error", "shape", "parameters", "seconds", "how"} <= row.keys()
    ):
        return False
    texts = all(isinstance(row[key], str) for key in ("file", "layer", "order", "family", "how"))
    numbers = (row[key] for key in ("share", "steps", "start_share", "seed", "relative_error", "parameters", "seconds"))
    return texts and all(isinstance(n, int | float | None) and not isinstance(n, bool) for n in numbers)


def once(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows without those of fits that came before, in another record for instance."""
    return list({tuple(row[key] for key in Record.KEY): row for row in rows}.values())


def run(options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], bool]]:
    """Make every row asked for, a seed over all layers before the next; yield it and whether it is new."""
    if not 0 < options.share <= 1:
        raise SpecError(f"--share must be above 0 and at most 1, got {options.share}")
    if unknown := [name for name in options.families if name not in FAMILIES]:
        raise SpecError(f"no family is called {', '.join(unknown)}; allowed: {', '.join(FAMILIES)}")
    file, record = open_tensors(options.file), Record(options.record)
    names = select(file.names, options.layer)
    for name in names:  # before the first fit starts
        read_weight(file, name, options.order)
    shown = set()
    for seed in options.seeds:
        for name in names:
            target = read_weight(file, name, options.order)
            most = max(1, round(options.share * target.size))
            facts = {"file": options.file.name, "layer": name, "order": options.order, "share": options.share}
            facts.update(
                steps=options.steps,
                start_share=options.start_share,
                shape=list(target.shape),
                weights=target.size,
                most=most,
            )
            for family in (family for family in options.families if fits(family, target.ndim)):
                row = record.find({**facts, "family": family, "seed": seed})
                new = row is None
                if row is None:
                    row = {**facts, **approximate(target, family, most, options.steps, seed, options.start_share)}
                    record.add(row)
                if (name, family, row["seed"]) not in shown:
                    shown.add((name, family, row["seed"]))
                    yield row, new


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison and print it; exit code 2 for input that cannot be used."""
    options = parser().parse_args(arguments)
    try:
        if (options.file is None) == (options.table is None):
            raise SpecError("give either a FILE of weights to compare on, or --table with records to show")
        if options.table is not None:
            rows = once(row for path in options.table for row in read_rows(path))
        else:
            if not options.layer:
                raise SpecError("--layer is needed: which tensors of the file")
            rows = []
            for row, new in run(options):
                rows.append(row)
                if new:
                    print(line(row), file=sys.stderr, flush=True)
    except AdntnError as error:
        print(f"equal_count: {error}", file=sys.stderr)
        return error.exit_code
    found = summary(rows)
    print(json.dumps(found) if options.json else markdown(found))
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m adntn_ref.validation.equal_count", description=__doc__)
    made.add_argument("file", type=Path, nargs="?", metavar="FILE", help="safetensors, npz or HDF5")
    made.add_argument("--layer", action="append", metavar="GLOB", help="which tensors; may be repeated")
    made.add_argument("--share", type=float, default=0.01, help="parameters over weights (default 0.01)")
    made.add_argument(
        "--order", choices=ORDERS, default="oihw", help="hwio for Keras, as in adntn-ref compress (default oihw)"
    )
    made.add_argument("--families", nargs="+", default=list(FAMILIES), metavar="NAME", help=", ".join(FAMILIES))
    made.add_argument("--steps", type=int, default=300, help="of Adam (default 300)")
    made.add_argument("--start-share", type=float, help="of the target's deviation (default as ar.fit)")
    made.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="S", help="starts of the fits (default 0)")
    made.add_argument("--record", type=Path, metavar="FILE", help="keep each row here, and go on from those it has")
    made.add_argument("--table", type=Path, nargs="+", metavar="FILE", help="show records in place of a run")
    made.add_argument("--json", action="store_true", help="JSON in place of Markdown")
    return made


def line(row: dict[str, Any]) -> str:
    """Return one row for people who wait."""
    error = "-" if row["relative_error"] is None else f"{row['relative_error']:.4f}"
    count = "-" if row["parameters"] is None else f"{row['parameters']:,}"
    seed = "" if row["seed"] is None else f", seed {row['seed']}"
    return f"{row['layer']} {row['family']:<12}{count:>9}{error:>9}{row['seconds']:>8.1f} s  {row['how']}{seed}"


if __name__ == "__main__":
    sys.exit(main())

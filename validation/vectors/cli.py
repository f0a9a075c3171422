"""The command line of the vectors."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from adntn_ref.errors import AdntnError

from .build import Built, build, generate
from .records import FOLDER, Record, Vectors, load
from .store import Array, describe, index_text

SHOWN = 20
"""Differing arrays that are named before the rest is counted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0 for success, 1 where vectors differ, 2 for input that cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "generate":
            built = generate(options.out)
            print(f"{Path(options.out) / 'index.json'}: {len(built.index['cases'])} cases, {len(built.arrays)} arrays")
            print(_measured(built))
            return 0
        if options.command == "check":
            return _check(load(options.folder), build())
        vectors = load(options.folder)
        print(_table(vectors) if options.command == "list" else _shown(vectors[options.case], options.numbers))
    except AdntnError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m adntn_ref.validation.vectors", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("generate", help="make the vectors anew and write both files")
    made.add_argument("--out", default=FOLDER, help="folder to write to; default: where they are shipped")
    check = commands.add_parser("check", help="make them in memory and compare with the files, bit by bit")
    listed = commands.add_parser("list", help="show a table of all entries")
    shown = commands.add_parser("show", help="show one entry")
    shown.add_argument("case", help="its name, such as brickwall/odd-q5-relu")
    shown.add_argument("--numbers", action="store_true", help="print the arrays too")
    for command in (check, listed, shown):
        command.add_argument("--folder", default=FOLDER, help="folder of the files; default: those that are shipped")
    return parser


def _check(shipped: Vectors, built: Built) -> int:
    """Compare file and rebuilt, and say which array differs and by how much."""
    old = {f"{record.name}/{name}": array for record in shipped.records for name, array in record.arrays.items()}
    lines = [f"{key}: in one of the two only" for key in sorted(old.keys() ^ built.arrays.keys())]
    for key in sorted(old.keys() & built.arrays.keys()):
        if describe(old[key]) != describe(built.arrays[key]):
            lines.append(f"{key}: {_difference(old[key], built.arrays[key])}")
    if not lines and index_text(shipped.index) != index_text(built.index):
        lines.append("index.json: the arrays are equal, the other entries are not")
    for line in lines[:SHOWN]:
        print(line)
    if len(lines) > SHOWN:
        print(f"and {len(lines) - SHOWN} more")
    print(f"{len(old)} arrays, differences: {len(lines)}" if lines else f"{len(old)} arrays, all equal bit for bit")
    print(_measured(built))
    return 1 if lines else 0


def _difference(old: Array, new: Array) -> str:
    if old.shape != new.shape or old.dtype != new.dtype:
        return f"{old.dtype} {old.shape} in the file, {new.dtype} {new.shape} now"
    off = np.abs(old - new)
    place = tuple(int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))
    return f"differs by {off.max():.3g} at {place}: {old[place]!r} in the file, {new[place]!r} now"


def _measured(built: Built) -> str:
    lines = ["worst difference from each derivation on this machine, relative to the largest entry of the array:"]
    lines += [f"  {name:13} {size:8.1e}  {where}" for name, (size, where) in built.agreement.worst.items()]
    return "\n".join(lines)


def _table(vectors: Vectors) -> str:
    rows = [("name", "dtype", "arrays", "agrees with", "note")]
    for record in vectors.records:
        facts = record.facts
        agrees = ", ".join(facts["provenance"])
        rows.append((record.name, facts["dtype"], str(len(record.arrays)), agrees, facts.get("note", "")))
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]]) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _shown(record: Record, numbers: bool) -> str:
    facts: Mapping[str, object] = {key: value for key, value in record.facts.items() if key != "arrays"}
    lines = [f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in facts.items()]
    for name, array in record.arrays.items():
        size = f"largest {np.abs(array).max():.6g}" if array.size else "empty"
        lines.append(f"  {name}  {array.dtype} {array.shape}  {size}")
        if numbers:
            lines.append(str(array))
    return "\n".join(lines)

"""Requests and answers as files: a folder a case, JSON and .npy; the page ``docs/protocol.md`` describes them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from adntn_ref.compression.atomic import write_atomically
from adntn_ref.compression.jsontext import parse_json
from adntn_ref.compression.npy import read_npy, read_npz
from adntn_ref.errors import FileFormatError, OutputError

from ..case import Case
from .verdicts import GROUPS, NEEDED, Answer, Array, Fault, Part, Request, Verdict, group_of, one_line

PROTOCOL = 1
REQUEST = "request.json"


def file_of(quantity: str) -> str:
    """Return the file of a quantity inside a case's folder; what is unusual in a name is percent-encoded.

    Examples
    --------
    >>> file_of("weight"), file_of("gradient/layer0.brick0"), file_of("gradient/a/b c")
    ('weight.npy', 'gradient/layer0.brick0.npy', 'gradient/a%2Fb%20c.npy')
    """
    group, _, name = quantity.partition("/")
    return f"{group}/{quote(name, safe='')}.npy" if name else f"{group}.npy"


def folder_of(root: Path, case: str) -> Path:
    """Return the folder of a case; the slashes of its name make folders."""
    return root.joinpath(*(quote(part, safe=" ") for part in case.split("/")))


def write_request(folder: Path, request: Request, groups: Iterable[str] = ("weight", "gradient")) -> Path:
    """Write a request and its arrays into a folder, made where it is missing; return the request's path.

    Parameters
    ----------
    folder : folder of the case
    request : what is asked
    groups : groups of quantities for which files are named

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    inputs = _inputs(request)
    wanted = [quantity for quantity in request.shapes if group_of(quantity) in groups]
    facts: dict[str, Any] = {"protocol": PROTOCOL, "case": request.name, "dtype": request.dtype, "spec": request.spec}
    facts["params"] = {name: f"params/{quote(name, safe='')}.npy" for name in request.params}
    facts["cotangent"] = "cotangent.npy"
    if request.several:
        facts["cotangent"] = {name: file_of(f"cotangent/{name}") for name in request.cotangent}
    for group in dict.fromkeys(map(group_of, wanted)):
        names = {q.partition("/")[2]: file_of(q) for q in wanted if group_of(q) == group}
        facts[group] = names.get("", names)
    try:
        for name in (*inputs, *map(file_of, wanted)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        for name, array in inputs.items():
            np.save(folder / name, array, allow_pickle=False)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error
    path = folder / REQUEST
    write_atomically(path, lambda part: _ignore(part.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf8")))
    return path


def _ignore(_: object) -> None:
    """Give nothing back, for a function of which nothing is wanted."""


def _inputs(request: Request) -> dict[str, Array]:
    """Return the arrays of a request by their files."""
    found = {f"params/{quote(name, safe='')}.npy": np.ascontiguousarray(x) for name, x in request.params.items()}
    if request.several:
        return {**found, **{file_of(f"cotangent/{name}"): g for name, g in request.cotangent.items()}}
    return {**found, "cotangent.npy": request.cotangent}


def read_answer(folder: Path, request: Request) -> Answer:
    """Read what a program wrote into the folder of a case.

    A group without any file is not supported; what is no .npy file of numbers is garbage; an input that is no longer
    what was written is changed, and an output that is a link to an input a view of it.
    """
    answer: Answer = {}
    inputs = _inputs(request)
    for group in dict.fromkeys(map(group_of, request.shapes)):
        files = _files_of(folder, group)
        if not files:
            if group in NEEDED:
                answer[group] = Part(faults=(Fault(GROUPS[group], Verdict.NOT_SUPPORTED, "no file"),))
            continue
        names = {file_of(quantity): quantity for quantity in request.shapes}
        arrays: dict[str, Array] = {}
        faults: list[Fault] = []
        for file in files:
            relative = file.relative_to(folder).as_posix()
            quantity = names.get(relative, relative.removesuffix(".npy"))
            _read_one(file, quantity, arrays, faults)
            if any((folder / name).exists() and file.samefile(folder / name) for name in inputs):
                faults.append(Fault(quantity, Verdict.VIEW, "the file is a link to one of the inputs"))
        answer[group] = Part(arrays, tuple(faults))
    return answer


def _files_of(folder: Path, group: str) -> list[Path]:
    """Return the .npy files of a group."""
    alone = folder / f"{group}.npy"
    inside = sorted((folder / group).glob("*.npy")) if (folder / group).is_dir() else []
    return [alone, *inside] if alone.exists() else inside


def _read_one(file: Path, quantity: str, arrays: dict[str, Array], faults: list[Fault]) -> None:
    try:
        array = _npy(file)
    except (FileFormatError, OSError, MemoryError) as error:
        faults.append(Fault(quantity, Verdict.GARBAGE, f"{file.name}: {one_line(error, 200)}"))
        return
    if array.dtype.kind not in "biufc":
        faults.append(Fault(quantity, Verdict.WRONG_DTYPE, f"dtype {array.dtype}"))
    else:
        arrays[quantity] = array


def inputs_changed(folder: Path, request: Request) -> list[str]:
    """Return the input files of a case that are no longer what was written."""
    return [name for name, array in _inputs(request).items() if not _holds(folder / name, array)]


def _holds(file: Path, array: Array) -> bool:
    try:
        found = _npy(file)
    except (FileFormatError, OSError, MemoryError):
        return False
    same = (found.dtype, found.shape) == (array.dtype, array.shape)
    return same and found.tobytes() == np.ascontiguousarray(array).tobytes()


def read_request(path: Path) -> Case:
    """Read the case of a request that was written by :func:`write_request`.

    Raises
    ------
    FileFormatError
        If the file or one of its arrays is missing or is not what it should be.
    """
    folder = path.parent
    try:
        facts = parse_json(path.read_text(encoding="utf8"))
        if facts["protocol"] != PROTOCOL:
            raise FileFormatError(f"{path} has version {facts['protocol']} of the protocol, this is {PROTOCOL}")
        params = {name: _load(folder, file) for name, file in facts["params"].items()}
        given = facts["cotangent"]
        several = isinstance(given, dict)
        cotangent = {name: _load(folder, file) for name, file in given.items()} if several else _load(folder, given)
        return _case(facts, str(facts["case"]), params, cotangent)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MemoryError, RuntimeError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{path} is no request that can be read: {_short(error)}") from error


def _load(folder: Path, file: str) -> Array:
    return _npy(_inside(folder, file))


def _npy(file: Path) -> Array:
    """Read an .npy file, whose header is compared with the file's size first; FileFormatError, OSError."""
    with file.open("rb") as stream:
        return np.asarray(read_npy(stream, file.stat().st_size))


def _inside(folder: Path, file: str) -> Path:
    """Return the path of a file that a JSON file names, which must lie in its own folder or below."""
    path = folder / file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise FileFormatError(f"{one_line(file, 200)} lies outside of {folder}")
    return path


def save_case(folder: Path, case: Case) -> Path:
    """Write a case as ``NAME.npz`` and ``NAME.json`` and return the path of the latter; see :func:`load_case`.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    stem = case.name.replace("/", "-")
    arrays = {f"params/{name}": x for name, x in case.params.items()}
    if isinstance(case.cotangent, dict):
        arrays |= {f"cotangent/{name}": g for name, g in case.cotangent.items()}
    else:
        arrays["cotangent"] = case.cotangent
    facts = {"adntn_ref_case": 1, "name": case.name, "note": case.note, "spec": case.spec, "arrays": f"{stem}.npz"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror or error}") from error
    write_atomically(folder / f"{stem}.npz", lambda part: _savez(part, arrays))
    path = folder / f"{stem}.json"
    write_atomically(path, lambda part: _ignore(part.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf8")))
    return path


def _savez(path: Path, arrays: dict[str, Array]) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def load_case(path: Path) -> Case:
    """Read a case that was written by :func:`save_case`, or a request.

    Raises
    ------
    FileFormatError
        If the file or its arrays are missing or are not what they should be.
    """
    if path.name == REQUEST:
        return read_request(path)
    try:
        facts = parse_json(path.read_text(encoding="utf8"))
        if facts["adntn_ref_case"] != 1:
            raise FileFormatError(f"{path} is a case of version {one_line(facts['adntn_ref_case'])}, this reads 1")
        arrays = read_npz(_inside(path.parent, facts["arrays"]))
        return _stored_case(path, facts, arrays)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{path} is no case that can be read: {_short(error)}") from error


def _stored_case(path: Path, facts: dict[str, Any], arrays: dict[str, Array]) -> Case:
    params = {name.removeprefix("params/"): x for name, x in arrays.items() if name.startswith("params/")}
    several = {name.removeprefix("cotangent/"): x for name, x in arrays.items() if name.startswith("cotangent/")}
    if "cotangent" not in arrays and not several:
        raise FileFormatError(f"{path} is no case that can be read: it has no cotangent")
    cotangent = arrays.get("cotangent", several)
    return _case(facts, str(facts["name"]), params, cotangent)


def _case(facts: dict[str, Any], name: str, params: dict[str, Array], cotangent: Any) -> Case:
    if not isinstance(facts["spec"], dict) or not params:
        raise FileFormatError("a case has a specification, which is a table, and parameters")
    return Case(name, facts["spec"], params, cotangent, str(facts.get("note", "")))


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error, 200)}"

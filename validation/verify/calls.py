"""Calling a candidate's function, and what can be seen in the process that holds its memory."""

import copy
import sys
import traceback
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from .verdicts import GROUPS, NEEDED, Array, Fault, Part, Request, Verdict, one_line

LARGEST_FACTOR = 16
"""An answer of more entries than this many times those asked for is not looked at further."""


def call(functions: object, group: str, request: Request) -> Part:
    """Call the function of a group on fresh copies of the inputs.

    Parameters
    ----------
    functions : module or object with ``generate``, ``vjp`` and perhaps ``states``, ``adjoint_states``
    group : which of them, by the group of quantities that it gives
    request : what is asked

    Returns
    -------
    Part
        The arrays and the faults: raised, not supported, input changed, garbage, view of an input, wrong dtype.
    """
    spec = copy.deepcopy(request.spec)
    params = {name: np.array(core, order="C") for name, core in request.params.items()}
    arguments: list[Any] = [spec, params]
    if group in ("gradient", "adjoint"):
        arguments.append(_copied(request.cotangent))
    inputs = dict(_inputs(params, arguments[2] if len(arguments) > 2 else None))
    try:
        given = getattr(functions, GROUPS[group])(*arguments)
    except NotImplementedError as error:
        return Part(faults=(Fault(GROUPS[group], Verdict.NOT_SUPPORTED, one_line(str(error))),))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an exit or a pytest failure too: all that a candidate can raise is caught here
        return Part(faults=(Fault(GROUPS[group], Verdict.RAISED, _where_raised(error, functions)),))
    found: dict[str, Array] = {}
    faults = [Fault(GROUPS[group], Verdict.CHANGED, text) for text in _changes(request, arguments)]
    for quantity, value in _named(group, given, request, faults):
        array = _as_array(quantity, value, request, faults)
        if array is None:
            continue
        found[quantity] = array
        # States are there to help; nobody trains on them, and the last adjoint often is the cotangent.
        shared = [name for name, mine in inputs.items() if group in NEEDED and _shares(array, mine)]
        if shared:
            faults.append(Fault(quantity, Verdict.VIEW, f"shares memory with {', '.join(shared[:3])}"))
    return Part(found, tuple(faults))


def _copied(cotangent: Any) -> Any:
    if isinstance(cotangent, Mapping):
        return {name: np.array(g, order="C") for name, g in cotangent.items()}
    return np.array(cotangent, order="C")


def _inputs(params: Any, cotangent: Any) -> Iterator[tuple[str, Array]]:
    """Return every array among the inputs, with a name for messages."""
    yield from params.items()
    if isinstance(cotangent, Mapping):
        yield from ((f"cotangent {name}", g) for name, g in cotangent.items())
    elif cotangent is not None:
        yield "cotangent", cotangent


def _changes(request: Request, arguments: list[Any]) -> list[str]:
    """Return what the call did to its inputs, a line each."""
    try:
        found = [] if arguments[0] == request.spec else ["the specification"]
    except Exception:  # an array was put into it, which does not compare to one truth
        found = ["the specification"]
    before = dict(_inputs(request.params, request.cotangent if len(arguments) > 2 else None))
    after = dict(_inputs(arguments[1], arguments[2] if len(arguments) > 2 else None))
    if lost := [name for name in before if name not in after]:
        found.append(f"taken out: {', '.join(lost[:3])}")
    if new := [str(name) for name in after if name not in before]:
        found.append(f"put in: {', '.join(new[:3])}")
    if other := [name for name in before if name in after and not _same(before[name], after[name])]:
        found.append(f"changed: {', '.join(other[:3])}" + (f" and {len(other) - 3} more" if len(other) > 3 else ""))
    return found


def _same(a: Array, b: Any) -> bool:
    return isinstance(b, np.ndarray) and (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()


def _named(group: str, given: Any, request: Request, faults: list[Fault]) -> list[tuple[str, Any]]:
    """Return what a function gave by the names of quantities; what cannot be read becomes a fault."""
    if group == "weight" and not request.several:
        return [("weight", given)]
    if not isinstance(given, Mapping):
        faults.append(
            Fault(GROUPS[group], Verdict.GARBAGE, f"{GROUPS[group]} gave a {type(given).__name__}, not a dict")
        )
        return []
    if strange := [name for name in given if not isinstance(name, str)]:
        faults.append(
            Fault(GROUPS[group], Verdict.GARBAGE, f"the dict has a key that is no name: {one_line(strange[0])}")
        )
    return [(f"{group}/{name}", value) for name, value in given.items() if isinstance(name, str)]


def _as_array(quantity: str, value: Any, request: Request, faults: list[Fault]) -> Array | None:
    """Return a value as a NumPy array, sharing its memory, or None with a fault."""
    if not isinstance(value, (np.ndarray, np.generic)) and not hasattr(value, "__array__"):
        faults.append(Fault(quantity, Verdict.GARBAGE, f"a {type(value).__name__}, not an array"))
        return None
    try:
        array = np.asarray(value)
    except Exception as error:
        text = f"a {type(value).__name__} that NumPy cannot read: {one_line(error)}"
        faults.append(Fault(quantity, Verdict.GARBAGE, text))
        return None
    if array.dtype.name == "bfloat16":  # of the package ml_dtypes, which JAX uses
        array = array.astype(np.float32)
    if array.dtype.kind not in "biufc":
        faults.append(Fault(quantity, Verdict.WRONG_DTYPE, f"dtype {array.dtype}"))
        return None
    wanted = request.shapes.get(quantity, ())
    if array.size > LARGEST_FACTOR * (int(np.prod(wanted)) + 256):
        faults.append(Fault(quantity, Verdict.WRONG_SHAPE, f"shape {array.shape}, wanted {tuple(wanted)}"))
        return None
    return array


def _shares(given: Array, mine: Array) -> bool:
    # The ranges of the two in memory; whether an entry is shared can be too hard to tell.
    return bool(given.flags.writeable) and bool(np.may_share_memory(given, mine))


def _where_raised(error: BaseException, functions: object) -> str:
    """Return type, message, and the last line of the traceback that stands in the candidate's own file."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    module = functions if isinstance(functions, ModuleType) else sys.modules.get(type(functions).__module__)
    home = getattr(module, "__file__", None)
    own = [frame for frame in frames if frame.filename == home] or frames
    text = f"{type(error).__name__}: {one_line(error)}"
    if not own:
        return text
    last = own[-1]
    return f"{text} [{last.filename}:{last.lineno} in {last.name}: {one_line(last.line)}]"

"""The Protocol of an array backend, finding one by name, and the rule that says which one is used.

Almost everything runs on any array library that autoray knows, through its NumPy-like namespace. A backend adds the few
things that no common namespace has. The seam's rules:

- An array never leaves its backend by itself: ``to_host`` is called where a person or a file asks for numbers.
- A backend never changes a dtype: float32 in, float32 out.
- Random numbers are drawn on the host, so that every backend starts from the same bits.
- Inputs are never written to.
- Where ``on_host`` is false, reading a number makes the program wait for a device. Nothing inside a training step does;
  the loop reads where it evaluates.
- The same call gives the same bits twice: no sum depends on the order in which threads arrive.

Which backend: an explicit argument, else the environment variable ``ADNTN_REF_BACKEND``, else where the arrays given
are. The rule is asked where work starts (``init``, ``fit``, ``train``, ``compress``, the command line); what is
called from there, and the functions of the tape, run where their arrays are and move nothing.

Backends are found through the entry-point group ``adntn_ref.backends``; the name is autoray's name of the array
library. What a backend may have besides the Protocol, and is asked for by name: ``program_run(program,
cores)``, its own way to run a program, or ``plan_run(plan, cores)``, the same for those that have a plan;
``require(x, what)``, which refuses arrays that it cannot work on here (of another device, say), and ``out_of_memory``,
the exceptions that say so.
"""

import os
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

from adntn_ref.errors import BackendUnavailable

ENTRY_POINT_GROUP = "adntn_ref.backends"
BACKEND_VARIABLE = "ADNTN_REF_BACKEND"

# Ours are found without installed metadata too, so that a plain checkout on the path works.
_OURS = {
    "numpy": "adntn_ref.backends.numpy_backend:NUMPY",
    "cupy": "adntn_ref.backends.cupy_backend:CUPY",
}


class Backend(Protocol):
    """What an array library must offer beyond a NumPy-like namespace."""

    name: str
    on_host: bool
    """Whether arrays are in the host's memory, so that reading a number costs no waiting."""

    def require_available(self) -> None:
        """Raise BackendUnavailable, saying what is missing, where arrays cannot be made here."""
        ...

    def asarray(self, host: Any) -> Any:
        """Copy a NumPy array of any shape and dtype to this backend."""
        ...

    def to_host(self, x: Any) -> Any:
        """Copy an array of this backend to a NumPy array of the same shape and dtype."""
        ...

    def erf(self, x: Any) -> Any:
        """Return the error function of a real or complex array, elementwise, in its dtype."""
        ...

    def scatter_add(self, values: Any, index: Any, shape: tuple[int, ...], distinct: bool = False) -> Any:
        """Return zeros of ``shape`` with ``values`` added at ``index``; repeated indices add up.

        ``distinct`` is the caller's word that no entry is named twice.
        """
        ...

    def free_bytes(self) -> int:
        """Return the memory that is free for arrays of this backend now."""
        ...


@cache
def get_backend(name: str) -> Backend:
    """Return the backend called ``name``; whether its device is there is asked when arrays are made.

    Raises
    ------
    BackendUnavailable
        If no installed package offers a backend of that name.

    Examples
    --------
    >>> get_backend("numpy").name
    'numpy'
    """
    target = _OURS.get(name)
    if target is not None:
        module, attribute = target.split(":")
        return cast(Backend, getattr(import_module(module), attribute))
    offered = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in offered:
        known = ", ".join(sorted({*offered, *_OURS}))
        raise BackendUnavailable(f"no array backend is called {name!r}; installed: {known}")
    return cast(Backend, offered[name].load())


def chosen_name(explicit: str | None) -> str | None:
    """Return the backend that was asked for: by argument, else by environment variable; None where by neither."""
    if explicit is not None:
        return explicit
    return os.environ.get(BACKEND_VARIABLE) or None

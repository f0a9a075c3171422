"""Raw arrays: their namespace, their backend, their dtype. The only importer of autoray.

"Raw" means: of an array library, not a tape variable.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import autoray
import numpy as np

from adntn_ref.backend import Backend, get_backend
from adntn_ref.errors import DTypeError, NonFiniteError

Array = Any
"""An array of any library that autoray knows, or a tape variable."""

REAL = ("float32", "float64")
COMPLEX = ("complex64", "complex128")


def namespace(x: Array) -> Any:
    """Return the NumPy-like namespace of a raw array; plain NumPy for arrays, scalars and numbers.

    Asked for by name: given the array, autoray would make new arrays in its dtype unless told otherwise.
    """
    if isinstance(x, (np.ndarray, np.generic, float, int, complex)):
        return np
    return getattr(x, "array_library", None) or autoray.get_namespace(autoray.infer_backend(x))


def backend_of(x: Array) -> Backend:
    """Return the backend that holds the raw array ``x``."""
    if isinstance(x, (np.ndarray, np.generic, float, int, complex)):
        return get_backend("numpy")
    return getattr(x, "array_library", None) or get_backend(autoray.infer_backend(x))


def register_library(
    cls: type, name: str, functions: Mapping[str, Callable[..., Any]], any_of_three: Iterable[str] = ()
) -> None:
    """Make arrays of class ``cls`` known to autoray as the library ``name``, the module with its functions.

    ``functions`` are those that the module has not, or not under that name. Of arrays of several libraries these win.
    autoray asks the first argument alone where a function of ``any_of_three`` belongs; for this class it asks three.
    """
    autoray.autoray.multi_class_priorities[name] = 2
    autoray.register_backend(cls, name)
    for key, function in functions.items():
        autoray.register_function(name, key, function)

    def chosen(*args: Any, **options: Any) -> str:
        ours = any(isinstance(x, cls) for x in args[:3])
        return name if ours else str(autoray.infer_backend(args[0]))

    for key in any_of_three:
        autoray.autoray.register_dispatch(key, chosen)


def number(x: Array) -> float:
    """Return a real array of one entry, or a number, as a float: read from its device, which makes this wait for it."""
    if isinstance(x, (float, int, np.ndarray, np.generic)):
        return float(x)
    return float(backend_of(x).to_host(x))


def is_array(x: object) -> bool:
    """Return whether ``x`` is a raw array: NumPy's, or of another library that autoray knows."""
    if isinstance(x, (np.ndarray, np.generic)):
        return True
    if isinstance(x, (bool, int, float, complex, str, bytes, type(None), list, tuple, dict)):
        return False
    return hasattr(x, "shape") and hasattr(x, "dtype")


def dtype_name(x: Array) -> str:
    """Return the dtype of an array or a number as a string, ``"float32"`` for instance."""
    if isinstance(x, np.ndarray):
        return _name(x.dtype)
    if is_array(x):
        return str(autoray.get_dtype_name(x))
    return np.asarray(x).dtype.name


@cache
def _name(dtype: Any) -> str:
    """Return a NumPy dtype's name, which NumPy puts together anew each time it is asked."""
    return str(dtype.name)


def is_complex(x: Array) -> bool:
    """Return whether an array or number is complex."""
    if isinstance(x, (np.ndarray, np.generic)):
        return x.dtype.kind == "c"
    return dtype_name(x).startswith("complex")


def require_inexact(x: Array, what: str, allowed: Iterable[str] = (*REAL, *COMPLEX)) -> None:
    """Refuse an array whose dtype is not allowed.

    Raises
    ------
    DTypeError
        Naming ``what``, the dtype it has and those allowed. Nothing is cast here, on purpose: a cast that nobody asked
        for hides a mistake.
    """
    name = dtype_name(x)
    if name not in allowed:
        raise DTypeError(f"{what} has dtype {name}; allowed: {', '.join(allowed)}")


def require_finite(x: Array, what: str) -> None:
    """Refuse an array that holds NaN or infinity.

    Raises
    ------
    NonFiniteError
        Naming ``what``, how many entries are not finite, and the index of the first.
    """
    xp = namespace(x)
    finite = xp.isfinite(x)
    if number(finite.all()):
        return
    bad = np.argwhere(~backend_of(x).to_host(finite))
    first = tuple(int(i) for i in bad[0])
    raise NonFiniteError(f"{what} holds {len(bad)} entries that are not finite; the first is at index {first}")

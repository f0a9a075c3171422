"""A strict array backend: NumPy inside, and as unforgiving as a GPU should be.

It stands in for a GPU where there is none. Its arrays refuse whatever would copy to the host or wait for a device
without saying so (``float``, ``bool``, ``np.asarray``, boolean masks as an index, NumPy functions), arrays of another
library, and every mixture of precisions. Numbers leave through ``to_host`` alone, which counts (:data:`COUNTS`).

The module is the namespace as well, by autoray's rule that a backend is called like the module with its functions.
"""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import autoray
import numpy as np
from scipy.special import erf as scipy_erf

COUNTS: Counter[str] = Counter()
"""How often an array went to the host and came from it, and how often something was sorted."""

WAITING = ("nonzero", "argwhere", "flatnonzero", "unique", "array_equal", "allclose", "extract", "compress")
"""Functions whose result has a size, or a truth, that only the device knows."""


class Forbidden(TypeError):
    """Something that a device would do slowly, silently, or not at all."""


class StrictArray:
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, x: np.ndarray) -> None:
        assert type(x) is np.ndarray
        self._x = x

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise Forbidden("an array of the strict backend became a NumPy array behind everybody's back")

    def _read(self, *args: Any) -> Any:
        raise Forbidden("a number was read from an array of the strict backend: a device would have to be waited for")

    __float__ = __int__ = __bool__ = __complex__ = __index__ = item = tolist = tobytes = _read

    device = property(lambda self: [])  # CuPy's cannot be hashed either
    shape = property(lambda self: self._x.shape)
    dtype = property(lambda self: self._x.dtype)
    ndim = property(lambda self: self._x.ndim)
    size = property(lambda self: self._x.size)
    nbytes = property(lambda self: self._x.nbytes)
    flags = property(lambda self: self._x.flags)
    T = property(lambda self: StrictArray(self._x.T))
    real = property(lambda self: StrictArray(self._x.real))
    imag = property(lambda self: StrictArray(self._x.imag))

    def __repr__(self) -> str:
        return f"StrictArray(shape={self.shape}, dtype={self.dtype})"

    def __len__(self) -> int:
        return len(self._x)

    def __iter__(self) -> Any:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        if any(isinstance(part, StrictArray) and part.dtype == bool for part in _parts(index)):
            raise Forbidden("a boolean mask as an index makes an array whose size only the device knows")
        return _wrapped(self._x[_index(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        _same_precision("assignment", [self, value])
        self._x[_index(index)] = _inside(value)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        return StrictArray(self._x.astype(dtype, copy=copy))


def _parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _index(index: Any) -> Any:
    if any(isinstance(part, (list, np.ndarray)) for part in _parts(index)):
        raise Forbidden("an index that is a list or an array of the host")
    inner = tuple(_inside(part) for part in _parts(index))
    return inner if isinstance(index, tuple) else inner[0]


def _inside(x: Any) -> Any:
    """What NumPy is to work on."""
    if isinstance(x, StrictArray):
        return x._x
    if isinstance(x, np.ndarray):
        raise Forbidden(f"a NumPy array of shape {x.shape} among arrays of the strict backend")
    if isinstance(x, (list, tuple)):
        return type(x)(map(_inside, x))
    if hasattr(x, "node"):
        raise Forbidden("a tape variable where arrays are worked on")
    return x


def _wrapped(x: Any) -> Any:
    if isinstance(x, np.generic):
        return StrictArray(np.asarray(x))
    if isinstance(x, np.ndarray):
        return StrictArray(x)
    if isinstance(x, (list, tuple)):
        return type(x)(*map(_wrapped, x)) if hasattr(x, "_fields") else type(x)(map(_wrapped, x))
    return x


def _leaves(values: Any) -> list[Any]:
    found: list[Any] = []
    for x in values:
        found += _leaves(x) if isinstance(x, (list, tuple)) else [x]
    return found


def _precision(dtype: Any) -> int:
    return int(dtype.itemsize) // (2 if dtype.kind == "c" else 1)


def _same_precision(what: str, values: Any) -> set[int]:
    inexact = [x for x in _leaves(values) if isinstance(x, (StrictArray, np.generic)) and x.dtype.kind in "fc"]
    found = {_precision(x.dtype) for x in inexact}
    if len(found) > 1:
        raise Forbidden(f"{what} of {sorted({str(x.dtype) for x in inexact})}: a dtype would change silently")
    return found


def function(name: str, call: Any) -> Any:
    """NumPy's ``call`` on strict arrays."""

    def strictly(*args: Any, **kwargs: Any) -> Any:
        if name in WAITING:
            raise Forbidden(f"{name} would wait for the device")
        if name in ("array", "asarray") and any(isinstance(x, (list, tuple)) for x in args):
            raise Forbidden(f"{name} of a list is a copy from the host, and may wait for the device")
        COUNTS["argsort"] += name == "argsort"  # CuPy's may wait
        before = _same_precision(name, [*args, *kwargs.values()])
        result = call(*map(_inside, args), **{key: _inside(value) for key, value in kwargs.items()})
        if kwargs.get("out") is not None:
            return kwargs["out"]
        result = _wrapped(result)
        after = {_precision(x.dtype) for x in _leaves([result]) if isinstance(x, StrictArray) and x.dtype.kind in "fc"}
        if before and after - before and "dtype" not in kwargs:
            raise Forbidden(f"{name} changed the dtype silently")
        return result

    return strictly


def _operators() -> None:
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
        for prefix in ("", "r", "i"):
            method = f"__{prefix}{name}__"
            setattr(StrictArray, method, _operator(method, in_place=prefix == "i"))
    for name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs", "invert"):
        setattr(StrictArray, f"__{name}__", _operator(f"__{name}__"))
    for name in ("sum", "mean", "max", "min", "all", "any", "argmax", "argsort", "reshape", "transpose", "copy", "take",
                 "conj", "swapaxes", "squeeze", "diagonal", "ravel", "std", "dot", "cumsum"):  # fmt: skip
        setattr(StrictArray, name, _method(name))


def _operator(method: str, in_place: bool = False) -> Any:
    def call(self: StrictArray, *other: Any) -> Any:
        if other and hasattr(other[0], "node"):
            return NotImplemented
        run = function(method, lambda x, *rest: getattr(np.ndarray, method)(np.atleast_1d(x) if in_place else x, *rest))
        if in_place:
            run(self, *other)
            return self
        return run(self, *other)

    return call


def _method(name: str) -> Any:
    def call(self: StrictArray, *args: Any, **kwargs: Any) -> Any:
        return function(name, getattr(np.ndarray, name))(self, *args, **kwargs)

    return call


def _numpy(name: str, owner: Any = np) -> Any:
    found = getattr(owner, name)
    if isinstance(found, type) or not callable(found):
        return found
    return function(name, found)


class _Functions:
    """A submodule of NumPy on strict arrays."""

    def __init__(self, owner: Any) -> None:
        self._owner = owner

    def __getattr__(self, name: str) -> Any:
        return _numpy(name, self._owner)


linalg = _Functions(np.linalg)
lib = SimpleNamespace(stride_tricks=_Functions(np.lib.stride_tricks))


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    return _numpy(name)


class Full(MemoryError):
    """What the strict backend raises when told that its memory is full."""


class StrictBackend:
    """The backend of strict arrays; ``free`` is what it says is left, ``path`` what it ran a program by."""

    name = "strict"
    on_host = False
    out_of_memory = (Full,)
    free = 2**34

    def require_available(self) -> None:
        """Nothing is missing."""

    def asarray(self, host: Any) -> StrictArray:
        if isinstance(host, StrictArray):
            raise Forbidden("asarray takes arrays of the host")
        COUNTS["from_host"] += 1
        return StrictArray(np.array(host, order="C"))

    def to_host(self, x: StrictArray) -> np.ndarray:
        assert isinstance(x, StrictArray), type(x)
        COUNTS["to_host"] += 1
        return np.array(x._x, order="C")

    def erf(self, x: StrictArray) -> Any:
        return function("erf", scipy_erf)(x)

    def scatter_add(self, values: Any, index: Any, shape: tuple[int, ...], distinct: bool = False) -> Any:
        from adntn_ref.backends.scatter import ordered_scatter_add

        return ordered_scatter_add(autoray.get_namespace("strict"), values, index, shape, distinct)

    def free_bytes(self) -> int:
        return self.free

    def program_run(self, program: Any, cores: Any) -> Any:
        from adntn_ref.backends.rotation import rotating_run

        return rotating_run(program, cores)


_operators()
STRICT = StrictBackend()
autoray.register_backend(StrictArray, "strict")

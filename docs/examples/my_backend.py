"""An array backend of one's own: NumPy inside, counting every call. It stands for any array library.

The module is the namespace of its arrays as well: autoray looks for ``my_backend.sum`` and the like in the module that
an array's class comes from. ``BACKEND`` is what an entry point of the group ``adntn_ref.backends`` names.
"""

from collections import Counter

import numpy as np

CALLS: Counter[str] = Counter()
"""How often each function was called."""


class CountingArray(np.lib.mixins.NDArrayOperatorsMixin):
    """A NumPy array in a box: operators, NumPy's functions and methods give boxes again, and are counted."""

    def __init__(self, inside):
        self.inside = inside

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__" or any(hasattr(x, "node") for x in inputs):
            return NotImplemented  # a variable of the tape takes over
        return counted(ufunc.__name__, ufunc)(*inputs, **kwargs)

    def __array__(self, *args, **kwargs):
        raise TypeError("an array of this backend becomes NumPy's by to_host alone")

    def __getitem__(self, index):
        return boxed(self.inside[unboxed(index)])

    def __setitem__(self, index, value):
        self.inside[unboxed(index)] = unboxed(value)

    def __len__(self):
        return len(self.inside)

    def __float__(self):  # a number is read without waiting: on_host
        return float(self.inside)

    def __getattr__(self, name):  # shape, dtype, T; reshape, sum, astype
        found = getattr(self.inside, name)
        return counted(name, found) if callable(found) else boxed(found)


def boxed(x):
    """Put arrays into boxes, those in lists and tuples too."""
    if isinstance(x, (np.ndarray, np.generic)):
        return CountingArray(np.asarray(x))
    if isinstance(x, (list, tuple)) and any(isinstance(part, np.ndarray) for part in x):
        return type(x)(map(boxed, x))
    return x


def unboxed(x):
    """Take arrays out of their boxes."""
    if isinstance(x, (list, tuple)):
        return type(x)(map(unboxed, x))
    return x.inside if isinstance(x, CountingArray) else x


def counted(name, function):
    """Return a function of NumPy as one of boxes."""

    def call(*args, **kwargs):
        CALLS[name] += 1
        out = function(*map(unboxed, args), **{key: unboxed(value) for key, value in kwargs.items()})
        target = kwargs.get("out")  # where to write: an array, or as ufuncs have it a tuple of one
        return boxed(out) if target is None else target[0] if isinstance(target, tuple) else target

    return call


class _Functions:
    """Functions of NumPy, or of one of its modules, on boxes."""

    def __init__(self, owner):
        self.owner = owner

    def __getattr__(self, name):
        found = getattr(self.owner, name)
        return counted(name, found) if callable(found) and not isinstance(found, type) else found


linalg = _Functions(np.linalg)
_numpy = _Functions(np)


def __getattr__(name):  # my_backend.exp, my_backend.concatenate, ...
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(_numpy, name)


class Backend:
    """What adntn_ref asks for beyond the namespace; see ``adntn_ref/backend.py``."""

    name = "my_backend"  # autoray's name of the library: the module of its array class
    on_host = True

    def require_available(self):
        """Raise BackendUnavailable where something is missing; here nothing is."""

    def asarray(self, host):
        """Copy a NumPy array to this backend."""
        return CountingArray(np.array(host, order="C"))

    def to_host(self, x):
        """Copy an array of this backend to NumPy."""
        return np.array(x.inside, order="C")

    def erf(self, x):
        """Return the error function."""
        from scipy.special import erf

        return counted("erf", erf)(x)

    def scatter_add(self, values, index, shape, distinct=False):
        """Return zeros of ``shape`` with ``values`` added at ``index``."""
        CALLS["scatter_add"] += 1
        out = np.zeros(shape, values.dtype)
        np.add.at(out, unboxed(index), values.inside)
        return CountingArray(out)

    def free_bytes(self):
        """Return the memory that is free."""
        from adntn_ref.program.memory import free_bytes

        return free_bytes()


BACKEND = Backend()

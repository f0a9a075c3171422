"""Functions of the tape, PyTorch or JAX as functions on NumPy arrays, with the derivatives that their framework gives.

Arrays cross as NumPy arrays and keep their dtype. Complex gradients are dL/dRe + i dL/dIm whatever the framework's own
convention: PyTorch's is the same, JAX's is the conjugate. JAX runs in double precision where the arrays are double.
"""

import contextlib
import functools
import inspect
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from adntn_ref.ad import transforms
from adntn_ref.errors import TapeError
from adntn_ref.extras import need

from .containers import Array, Function, Inputs, mapped, named

FRAMEWORKS = ("numpy", "tape", "torch", "jax")
ROOTS = {"torch": "torch", "jax": "jax", "jaxlib": "jax"}
CLOSED = {"numpy", "scipy", "adntn_ref", "builtins", "autoray", *ROOTS}
"""Packages whose functions are not searched for what they use."""


@dataclass(frozen=True)
class Differentiable:
    """A function on NumPy arrays with its derivatives, all on NumPy arrays in the container of ``x``.

    Attributes
    ----------
    value : ``x -> f(x)``
    gradient : ``x -> gradient`` of a real scalar function
    pullback : ``x -> (v -> J^H v)``
    hvp : ``(x, v) -> H v`` of a real scalar function
    through : from any function written in the framework to one that takes and gives NumPy arrays
    """

    value: Function
    gradient: Function
    pullback: Callable[[Inputs], Function]
    hvp: Callable[[Inputs, Inputs], Inputs]
    through: Callable[[Function], Function]


def differentiable(f: Function, framework: str) -> Differentiable:
    """Return ``f``, written in a framework, on NumPy arrays with the derivatives that the framework gives.

    Parameters
    ----------
    f : function from an array, or a dict, tuple or list of arrays of the framework, to one array
    framework : "tape", "torch" or "jax"

    Raises
    ------
    ValueError
        For another framework.
    MissingExtra
        If the framework is not installed.

    Examples
    --------
    >>> from adntn_ref import ad
    >>> both = differentiable(lambda x: ad.sum(x**3), "tape")
    >>> both.gradient(np.array([1.0, 2.0]))
    array([ 3., 12.])
    >>> both.hvp(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    """
    makers = {"tape": _tape, "torch": _torch, "jax": _jax}
    if framework not in makers:
        raise ValueError(f"framework is {framework!r}; allowed: {', '.join(makers)}")
    return makers[framework](f)


def arguments(claimed: Any, x: Inputs, check: str, what: str) -> tuple[Any, Inputs]:
    """Return the claimed derivative (None if left out) and ``x``, from ``check(f, claimed, x)`` or ``check(f, x)``.

    Raises
    ------
    TypeError
        If ``x`` is missing or the claimed derivative is no function.
    """
    if x is None:
        claimed, x = None, claimed
    if x is None or _is_function(x):
        raise TypeError(f"x is missing: {check}(f, {what}, x), or {check}(f, x) where the {what} of f can be derived")
    if claimed is not None and not callable(claimed):
        raise TypeError(f"the {what} must be a function, got {type(claimed).__name__}")
    return claimed, x


def _is_function(x: Any) -> bool:
    return callable(x) and not hasattr(x, "shape")


def adopt(
    f: Function, claimed: Any, x: Inputs, framework: str | None, derived: Callable[[Differentiable], Any]
) -> tuple[Function, Any, Inputs]:
    """Return ``f``, the claimed derivative and ``x`` for NumPy arrays.

    Parameters
    ----------
    f, claimed, x, framework : as they were given to a check; None for what is to be found out
    derived : which derivative of the framework's stands in for a claimed one
    """
    if framework is not None and framework not in FRAMEWORKS:
        raise ValueError(f"framework is {framework!r}; allowed: {', '.join(FRAMEWORKS)}")
    _require_one_argument(f)
    if framework is None:
        framework = adopted_framework(f, x, guess=claimed is None)
    x = mapped(lambda _, part: _as_numpy(part), x)
    if framework == "numpy":
        if claimed is None:
            raise TypeError("a function of NumPy arrays has no derivative of its own: give the claimed one")
        return f, claimed, x
    own = differentiable(f, framework)
    return own.value, derived(own) if claimed is None else own.through(claimed), x


def _require_one_argument(f: Function) -> None:
    """Refuse a function that cannot be called with one argument, where its signature can be read."""
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None)
    except TypeError:
        raise TypeError(
            f"f{signature} cannot be called with one argument, x; several arrays go in as one dict, tuple or list, "
            "as in lambda p: f(*p)"
        ) from None


def adopted_framework(f: Function, x: Inputs, guess: bool = True) -> str:
    """Return the framework of the arrays in ``x``, else, if it may be guessed, that of ``f``, else "numpy"."""
    given = sorted({_root(part) for part in _parts(x)} & ROOTS.keys())
    if given:
        return ROOTS[given[0]]
    return framework_of(f) if guess else "numpy"


def framework_of(f: Any) -> str:
    """Return "torch" or "jax" where ``f`` uses it by name, in a closure or in functions it calls; else "tape".

    Raises
    ------
    ValueError
        If it uses both.
    """
    found = {ROOTS[root] for root in _roots(f, set()) if root in ROOTS}
    if len(found) > 1:
        raise ValueError("the function uses both torch and jax; say which takes the arrays with framework=")
    return found.pop() if found else "tape"


def _roots(thing: Any, seen: set[int]) -> Iterator[str]:
    """Yield the packages that a function, module or object comes from, and those of what it refers to."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, types.ModuleType):
        yield thing.__name__.partition(".")[0]
        return
    if isinstance(thing, functools.partial):
        thing = (thing.func, *thing.args, *thing.keywords.values())
    if isinstance(thing, (tuple, list, dict)):
        for part in list(thing.values() if isinstance(thing, dict) else thing)[:100]:
            yield from _roots(part, seen)
        return
    if isinstance(thing, types.MethodType):
        yield from _roots(thing.__self__, seen)
        thing = thing.__func__
    yield _package(thing)
    if not isinstance(thing, types.FunctionType):
        for one in type(thing).__mro__:
            yield _package(one)
        thing = next((vars(one)["__call__"] for one in type(thing).__mro__ if "__call__" in vars(one)), None)
    if isinstance(thing, types.FunctionType) and _package(thing) not in CLOSED:
        for used in _used(thing):
            yield from [used] if isinstance(used, str) else _roots(used, seen)


def _used(f: types.FunctionType) -> Iterator[Any]:
    """Yield what a function's code names: globals, members of modules among them, closed-over objects, imports."""
    names = set(_names(f.__code__))
    for name in names:
        if name in f.__globals__:
            value = f.__globals__[name]
            yield value
            if isinstance(value, types.ModuleType) and value.__name__.partition(".")[0] not in CLOSED:
                yield from (vars(value)[n] for n in names if isinstance(vars(value).get(n), types.FunctionType))
        elif name.partition(".")[0] in ROOTS:
            yield name.partition(".")[0]
    for cell in f.__closure__ or ():
        with contextlib.suppress(ValueError):  # a cell that is not filled yet
            yield cell.cell_contents
    yield from f.__defaults__ or ()


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _package(thing: Any) -> str:
    """Return the package that defines a function or class; "" where it does not say, as for code run by exec."""
    return str(getattr(thing, "__module__", None) or "").partition(".")[0]


def _root(part: Any) -> str:
    return _package(type(part))


def _parts(x: Inputs) -> list[Any]:
    return list(x.values()) if isinstance(x, dict) else list(x) if isinstance(x, (tuple, list)) else [x]


def _as_numpy(part: Any) -> Array:
    """Return a copy in NumPy, of the same dtype; also of a tensor that requires a gradient or is a lazy conjugate."""
    if _root(part) == "torch" or hasattr(part, "resolve_conj"):
        return np.array(part.detach().resolve_conj().resolve_neg().cpu().numpy())
    return np.array(part)


def _leave(y: Any) -> Any:
    return mapped(lambda _, part: _as_numpy(part), y)


def _tape(f: Function) -> Differentiable:
    def explained(run: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(run)
        def wrapped(*args: Any) -> Any:
            try:
                return run(*args)
            except TapeError as error:
                raise TypeError(
                    f"the tape cannot differentiate this function ({error}); give its derivative, write it with "
                    "adntn_ref.ad, or say framework='torch' or 'jax'"
                ) from error

        return wrapped

    def pullback(x: Inputs) -> Function:
        back = explained(lambda x: transforms.vjp(f, x)[1])(x)
        return lambda v: back(v)[0]

    hvp = explained(lambda x, v: transforms.hvp(f, x, v))
    return Differentiable(f, explained(transforms.grad(f)), pullback, hvp, lambda g: g)


def _torch(f: Function) -> Differentiable:
    torch = need("torch", "peers")

    def enter(x: Inputs, track: bool = False) -> Any:
        return mapped(lambda _, part: torch.from_numpy(np.array(part)).requires_grad_(track), x)

    def leaves(x: Any) -> list[Any]:
        return [part for _, part in _items(x)]

    def derived(y: Any, x: Any, cotangent: Any, **options: Any) -> Any:
        if not isinstance(y, torch.Tensor):
            raise TypeError(
                f"the function returned a {type(y).__name__}, not a tensor: PyTorch cannot differentiate it"
            )
        if not y.requires_grad:  # cut off from x: PyTorch's derivative is zero, which the check will judge
            return mapped(lambda _, part: torch.zeros_like(part), x)
        got = iter(torch.autograd.grad(y, leaves(x), cotangent, allow_unused=True, **options))
        return mapped(lambda _, part: torch.zeros_like(part) if (g := next(got)) is None else g, x)

    def gradient(x: Inputs) -> Inputs:
        tracked = enter(x, track=True)
        return _leave(derived(f(tracked), tracked, None))

    def pullback(x: Inputs) -> Function:
        tracked = enter(x, track=True)
        y = f(tracked)
        return lambda v: _leave(derived(y, tracked, torch.from_numpy(np.array(v)).to(y.dtype), retain_graph=True))

    def hvp(x: Inputs, v: Inputs) -> Inputs:
        tracked = enter(x, track=True)
        first = derived(f(tracked), tracked, None, create_graph=True)
        pairs = zip(leaves(enter(v)), leaves(first), strict=True)
        inner = sum((torch.conj(a) * g).sum().real for a, g in pairs)
        return _leave(derived(inner, tracked, None))

    def through(g: Function) -> Function:
        return lambda x: _leave(g(enter(x)))

    return Differentiable(through(f), gradient, pullback, hvp, through)


def _jax(f: Function) -> Differentiable:
    jax = need("jax", "peers")

    def double(x: Inputs) -> Any:
        """Return the context in which JAX keeps arrays like these as they are."""
        if not any(part.dtype.name in ("float64", "complex128") for _, part in named(x)):
            return contextlib.nullcontext()
        return jax.enable_x64(True) if hasattr(jax, "enable_x64") else need("jax.experimental", "peers").enable_x64()

    def enter(x: Inputs) -> Any:
        return mapped(lambda _, part: jax.numpy.asarray(part), x)

    def scalar(x: Any) -> Any:
        return jax.numpy.reshape(f(x), ())

    def conjugate(x: Any) -> Any:
        return mapped(lambda _, part: jax.numpy.conj(part), x)

    def descent(g: Function) -> Function:
        return lambda x: conjugate(jax.grad(g)(x))

    def gradient(x: Inputs) -> Inputs:
        with double(x):
            return _leave(descent(scalar)(enter(x)))

    def pullback(x: Inputs) -> Function:
        with double(x):
            y, back = jax.vjp(f, enter(x))

        def pull(v: Array) -> Inputs:
            with double(x):
                return _leave(conjugate(back(jax.numpy.conj(jax.numpy.asarray(v, y.dtype)))[0]))

        return pull

    def hvp(x: Inputs, v: Inputs) -> Inputs:
        with double(x):
            along = enter(v)

            def inner(z: Any) -> Any:
                pairs = zip(_items(along), _items(descent(scalar)(z)), strict=True)
                return sum(jax.numpy.sum(jax.numpy.conj(a) * g).real for (_, a), (_, g) in pairs)

            return _leave(descent(inner)(enter(x)))

    def through(g: Function) -> Function:
        def run(x: Inputs) -> Any:
            with double(x):
                return _leave(g(enter(x)))

        return run

    return Differentiable(through(f), gradient, pullback, hvp, through)


def _items(x: Any) -> list[tuple[Any, Any]]:
    """Return the parts of a container without turning them into NumPy arrays."""
    return list(x.items()) if isinstance(x, dict) else list(enumerate(_parts(x)))

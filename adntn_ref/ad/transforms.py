"""The transforms: gradients, vector-Jacobian and Hessian-vector products, Jacobians, checkpoints.

All take functions of trees (arrays, or dicts, tuples and lists of them) and nest to any order.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import REAL, Array, backend_of, dtype_name, is_array, is_complex, namespace, require_inexact
from adntn_ref.ad.backward import backward
from adntn_ref.ad.tape import Primitive, Var, leaf, new_level, stop_gradient
from adntn_ref.ad.trees import Tree, aligned, leaves, map_leaves, named_leaves, rebuild
from adntn_ref.errors import ArrayError, TapeError

JACOBIAN_LIMIT = 10_000_000
"""Largest number of entries of a Jacobian that is built in full."""


def vjp(f: Callable[..., Tree], *args: Tree) -> tuple[Tree, Callable[[Tree], tuple[Tree, ...]]]:
    """Run ``f(*args)`` and return its value with its pullback.

    Parameters
    ----------
    f : function of trees that returns a tree
    *args : trees of floating or complex arrays

    Returns
    -------
    value : tree
        What ``f`` returned, of the arrays' own kind.
    pullback : function
        ``pullback(g)``, with g shaped like the value, returns a tuple: for each argument the tree of its cotangents,
        ``gx = J^H g``. It may be called more than once, as long as the arguments were not changed in place since.
        Cotangents may share memory with each other and with g (that of a sum is one number, repeated): copy one before
        changing it in place.

    Raises
    ------
    DTypeError
        For an argument that is not floating or complex.

    Examples
    --------
    >>> value, pullback = vjp(lambda x, y: x * y, 2.0, 3.0)
    >>> float(value), [float(g) for g in pullback(1.0)]
    (6.0, [3.0, 2.0])
    """
    value, pull = _record(f, args)
    return value, lambda g: pull(g, False)


def _record(f: Callable[..., Tree], args: tuple[Tree, ...]) -> tuple[Tree, Callable[[Tree, bool], tuple[Tree, ...]]]:
    level = new_level()
    variables = [leaf(_differentiable(path, x), level) for path, x in named_leaves(args)]
    result = f(*rebuild(args, list(variables)))
    outputs = leaves(result)
    value = rebuild(result, [_below(y, level) for y in outputs])
    nodes = [y.node if type(y) is Var and y.level == level else None for y in outputs]
    starts = [variable.node for variable in variables]
    inputs = [variable.value for variable in variables]
    del variables, result, outputs  # so that a freeing backward pass is the last holder of the tape

    def pull(g: Tree, free: bool) -> tuple[Tree, ...]:
        totals: list[Any] = [None] * len(starts)
        for node, y, gy in zip(nodes, leaves(value), aligned(value, g, "the cotangent"), strict=True):
            if node is None:
                continue
            found = backward(node, _check_cotangent(gy, y), starts, free=free and len(nodes) == 1)
            for i, gx in enumerate(found):
                if gx is not None:
                    totals[i] = gx if totals[i] is None else ops.add(totals[i], gx)
        filled = [_zeros_like(x) if gx is None else gx for x, gx in zip(inputs, totals, strict=True)]
        return tuple(rebuild(args, filled))

    return value, pull


def _differentiable(path: str, x: Any) -> Any:
    if isinstance(x, Var):
        return x
    if isinstance(x, (float, complex)):
        return np.asarray(x)
    if not hasattr(x, "dtype"):
        raise TapeError(f"argument {path} is a {type(x).__name__}; allowed: arrays and floats, in dicts, tuples, lists")
    require_inexact(x, f"argument {path}")
    return x


def _below(y: Any, level: int) -> Any:
    return y.value if type(y) is Var and y.level == level else y


def _check_cotangent(g: Any, y: Any) -> Any:
    if isinstance(g, (int, float, complex)):
        g = backend_of(stop_gradient(y)).asarray(np.asarray(g))
    if not is_array(g):
        raise TapeError(f"the cotangent holds a {type(g).__name__}; allowed: arrays and numbers")
    shape = tuple(getattr(y, "shape", ()))
    if tuple(g.shape) != shape:
        raise ArrayError(f"the cotangent has shape {tuple(g.shape)}, its value {shape}")
    raw_y, raw_g = stop_gradient(y), stop_gradient(g)
    if is_complex(raw_g) and not is_complex(raw_y):
        raise TapeError("the cotangent is complex, its value real")
    return g if raw_g.dtype == raw_y.dtype else ops.astype(g, dtype=raw_y.dtype.name)


def _zeros_like(x: Any) -> Any:
    raw = stop_gradient(x)
    return namespace(raw).zeros_like(raw)


def value_and_grad(
    f: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """Return a function that gives the value of ``f`` and its gradient.

    Parameters
    ----------
    f : function that returns a real scalar (or, with ``has_aux``, a pair of a real scalar and anything)
    argnums : which positional arguments to differentiate; a tuple gives a tuple of gradients
    has_aux : whether ``f`` returns ``(loss, aux)``

    Returns
    -------
    function
        ``(*args, **kwargs) -> (value, gradient)``, the gradient shaped like the argument; ``((value, aux), gradient)``
        with ``has_aux``. For complex arguments the gradient is dL/dRe + i dL/dIm. The tape is freed as it is walked.

    Raises
    ------
    TapeError
        If ``f`` returns anything but a real scalar.

    Examples
    --------
    >>> value, slope = value_and_grad(lambda x: x**3)(2.0)
    >>> float(value), float(slope)
    (8.0, 12.0)
    """
    positions = (argnums,) if isinstance(argnums, int) else argnums

    def differentiated(*args: Any, **kwargs: Any) -> Any:
        extra: list[Any] = []
        if len(args) <= max(positions, default=-1):
            raise TapeError(f"argument {max(positions)} is to be differentiated; give it by position, not by name")

        def of_chosen(*chosen: Any) -> Any:
            complete = list(args)
            for position, tree in zip(positions, chosen, strict=True):
                complete[position] = tree
            result = f(*complete, **kwargs)
            if has_aux:
                result, aux = result
                level = max((variable.level for variable in leaves(chosen)), default=0)
                extra.append(map_leaves(lambda y: _below(y, level), aux))
            return result

        value, pull = _record(of_chosen, tuple(args[position] for position in positions))
        _require_scalar(value)
        raw = stop_gradient(value)
        gradients = pull(namespace(raw).ones_like(raw), True)
        gradient = gradients[0] if isinstance(argnums, int) else gradients
        return ((value, extra[0]) if has_aux else value), gradient

    return differentiated


def _require_scalar(value: Any) -> None:
    if isinstance(value, (dict, list, tuple)):
        raise TapeError(f"the function must return one real number to be differentiated, got a {type(value).__name__}")
    raw = stop_gradient(value)
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        return
    what = f"a value of dtype {dtype_name(raw)} and shape {raw.shape}" if is_array(raw) else f"a {type(raw).__name__}"
    if not is_array(raw) or tuple(raw.shape) != () or dtype_name(raw) not in REAL:
        raise TapeError(f"the function must return one real number to be differentiated, got {what}")


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """Return the gradient of ``f``, a function that returns a real scalar; see :func:`value_and_grad`.

    Examples
    --------
    >>> float(grad(grad(lambda x: x**3))(2.0))
    12.0
    """
    both = value_and_grad(f, argnums)
    return lambda *args, **kwargs: both(*args, **kwargs)[1]


def inner(a: Tree, b: Tree) -> Array:
    """Return the real inner product of two trees, Re sum conj(a) b."""
    total: Array = 0.0
    for x, y in zip(leaves(a), aligned(a, b), strict=True):
        total = total + ops.real(ops.sum(ops.multiply(ops.conj(x), y)))
    return total


def hvp(f: Callable[[Tree], Any], x: Tree, v: Tree) -> Tree:
    """Return the Hessian-vector product H(x) v of a real scalar function of one tree.

    Computed as the gradient of <grad f(x), v>: twice the tape, never the Hessian.

    Examples
    --------
    >>> float(hvp(lambda x: x**3, 2.0, 10.0))
    120.0
    """
    return grad(lambda z: inner(grad(f)(z), v))(x)


def jvp(f: Callable[..., Tree], x: Tree, v: Tree) -> Tree:
    """Return the directional derivative J(x) v of ``f`` at the tree x along the tree v.

    The pullback u -> J^H u is (real-)linear in u, and its own pullback is J: reverse mode, twice.
    """
    value = vjp(f, x)[0]
    zeros = map_leaves(_zeros_like, value)
    return vjp(lambda u: vjp(f, x)[1](u)[0], zeros)[1](v)[0]


def jacobian(f: Callable[[Array], Array], x: Array) -> Array:
    """Return the Jacobian of an array function of one real array, of shape ``(*y.shape, *x.shape)``.

    One pullback an output entry: for small functions.

    Raises
    ------
    TapeError
        For complex arrays, or above ``JACOBIAN_LIMIT`` entries.

    Examples
    --------
    >>> import numpy as np
    >>> jacobian(lambda x: x * x, np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    value, pullback = vjp(f, x)
    raw = stop_gradient(value)
    if not is_array(raw):
        raise TapeError(f"jacobian takes functions that return one array, got a {type(raw).__name__}")
    shape = tuple(raw.shape)
    if is_complex(raw) or is_complex(stop_gradient(x)):
        raise TapeError("jacobian takes real arrays; use vjp for complex ones")
    rows = int(np.prod(shape, dtype=np.int64))
    columns = int(np.prod(np.shape(stop_gradient(x)), dtype=np.int64))
    if rows * columns > JACOBIAN_LIMIT:
        raise TapeError(f"a Jacobian of {rows} x {columns} entries is over the limit of {JACOBIAN_LIMIT}; use vjp")
    unit = ops.unit_matrix(rows, raw)
    pulled = [pullback(unit[i].reshape(shape))[0] for i in range(rows)]
    if not pulled:
        return namespace(raw).zeros((*shape, *np.shape(stop_gradient(x))), dtype=dtype_name(stop_gradient(x)))
    return ops.reshape(ops.stack(pulled), shape=(*shape, *np.shape(stop_gradient(x))))


def checkpoint(f: Callable[..., Array]) -> Callable[..., Array]:
    """Return ``f`` with its inside forgotten: the backward pass runs it again instead of keeping its intermediates.

    ``f`` takes arrays and returns one array. What it differentiates must come in through its arguments.

    Raises
    ------
    TapeError
        When called, if ``f`` used a variable of the running transform that is not among its arguments: the gradient
        would silently miss it.
    """

    def forward(xp: Any, *args: Array) -> Array:
        y = f(*args)
        if isinstance(y, Var):
            raise TapeError("checkpoint: the function uses a tape variable that is not among its arguments; pass it in")
        if not is_array(y):
            raise TapeError(f"checkpoint: the function must return one array, got a {type(y).__name__}")
        return y

    def rule(needed: tuple[int, ...], g: Array, y: Array, residual: Any, *args: Array) -> dict[int, Array]:
        chosen = [args[i] for i in needed]

        def of_needed(*some: Array) -> Array:
            complete = list(args)
            for i, x in zip(needed, some, strict=True):
                complete[i] = x
            return f(*complete)

        return dict(zip(needed, vjp(of_needed, *chosen)[1](g), strict=True))

    forward.__name__ = f"checkpoint of {getattr(f, '__name__', 'a function')}"
    made = Primitive(forward)
    made.joint_rule = rule
    return made

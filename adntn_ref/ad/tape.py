"""The tape: variables, recording, and the backward pass.

A :class:`Var` wraps a value and remembers the :class:`Node` that made it. Every transform (``vjp`` and what is built
on it, see :mod:`adntn_ref.ad.transforms`) opens a new *level*; a primitive applied to variables of several levels is
recorded at the highest one, and the values below it go through the same primitive one level down. So a rule always
works on values of a lower level: on raw arrays in the common case, at no cost of recording, and on variables of an
outer transform where gradients of gradients are wanted, to any order.

The design follows HIPS autograd's (levels instead of one global graph); the backward pass is iterative, so a chain of
100,000 operations needs no recursion, and it drops each node's arrays as soon as they have been used.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array, namespace
from adntn_ref.errors import TapeError

Rule = Callable[..., Any]

_levels = itertools.count(1)
_order = itertools.count()


class Node:
    """One recorded operation: what made a variable, and from which nodes.

    ``order`` grows with time, so that a node's parents always have a smaller one. A node without a primitive is a leaf.
    """

    __slots__ = ("args", "kwargs", "order", "out", "parents", "primitive", "residual")

    def __init__(self) -> None:
        self.order = next(_order)
        self.primitive: Primitive | None = None
        self.parents: tuple[tuple[int, Node], ...] = ()
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        self.out: Any = None
        self.residual: Any = None

    def pull(self, g: Array) -> list[tuple["Node", Array]]:
        """Apply this node's rule to the cotangent ``g`` of its value; return its parents' cotangents."""
        primitive = self.primitive
        if primitive is None:
            raise TapeError("this part of the tape was freed by an earlier backward pass; call vjp again")
        if primitive.joint_rule is not None:
            needed = tuple(position for position, _ in self.parents)
            pulled = primitive.joint_rule(needed, g, self.out, self.residual, *self.args, **self.kwargs)
            return [(node, pulled[position]) for position, node in self.parents]
        return [
            (node, primitive.rule_of(position)(g, self.out, *self.args, **self.kwargs))
            for position, node in self.parents
        ]

    def release(self) -> None:
        """Drop everything this node holds, so that its arrays can be freed."""
        self.primitive = None
        self.parents = ()
        self.args = ()
        self.kwargs = {}
        self.out = self.residual = None


class Primitive:
    """A function the tape knows the adjoint of.

    ``forward(xp, *args, **kwargs)`` takes raw arrays and their namespace. With ``has_residual`` it returns ``(value,
    residual)``; the residual is kept for the rule. A rule may rely on it only where its arguments are raw, or where
    it is constant (the positions of maxima, say).

    Its rules, set by :mod:`adntn_ref.ad.rules`, are either one for each positional argument, ``rule(g, y, *args,
    **kwargs)`` with ``y`` the value and ``g`` its cotangent, or one for all of them at once, ``rule(needed, g, y,
    residual, *args, **kwargs)`` which returns a mapping from position to cotangent.
    """

    def __init__(self, forward: Callable[..., Any], *, has_residual: bool = False) -> None:
        self.forward = forward
        self.has_residual = has_residual
        self.name = forward.__name__
        self.__name__ = forward.__name__
        self.__doc__ = forward.__doc__
        self.rules: tuple[Rule | None, ...] = ()
        self.joint_rule: Rule | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run on raw arrays, or record on the tape where an argument is a variable."""
        return _apply(self, args, kwargs)[0]

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def rule_of(self, position: int) -> Rule:
        """Return the rule of one positional argument."""
        rule = self.rules[position] if position < len(self.rules) else None
        if rule is None:
            raise TapeError(f"{self.name} has no derivative with respect to its argument {position}")
        return rule


def _apply(primitive: Primitive, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Run ``primitive`` and record it at the highest level among its arguments; return ``(value, residual)``."""
    level = 0
    for arg in args:
        if type(arg) is Var and arg.level > level:
            level = arg.level
    if not level:
        result = primitive.forward(_namespace_of(args), *args, **kwargs)
        return result if primitive.has_residual else (result, None)
    lowered = tuple([arg.value if type(arg) is Var and arg.level == level else arg for arg in args])
    value, residual = _apply(primitive, lowered, kwargs)
    node = Node()
    node.primitive = primitive
    node.parents = tuple([(i, arg.node) for i, arg in enumerate(args) if type(arg) is Var and arg.level == level])
    node.args = lowered
    node.kwargs = kwargs
    node.out = value
    node.residual = residual
    return Var(value, level, node), residual


def _namespace_of(args: tuple[Any, ...]) -> Any:
    for arg in args:
        if type(arg) is np.ndarray:
            return np
    for arg in args:
        if hasattr(arg, "dtype"):
            return namespace(arg)
    return np


class Var:
    """A value on the tape: behaves like the array it wraps, and remembers how it was made.

    Operators, comparisons, ``shape``, ``dtype``, ``sum()``, ``reshape()`` and the like work as on arrays; functions are
    those of :mod:`adntn_ref.ad`. Comparisons return raw arrays of booleans. What would lose the gradient in silence
    (changing it in place, storing it in an array, NumPy functions, ``float()``) raises :class:`TapeError`.
    """

    __slots__ = ("level", "node", "value")
    __hash__ = None  # type: ignore[assignment]  # like an array: == is elementwise

    def __init__(self, value: Any, level: int, node: Node) -> None:
        self.value = value
        self.level = level
        self.node = node

    # What it is
    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, as of the array."""
        return tuple(self.value.shape)

    @property
    def dtype(self) -> Any:
        """The dtype, as of the array."""
        return self.value.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of entries."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def T(self) -> Any:
        """The transpose: all axes reversed."""
        return _call("transpose", self)

    @property
    def real(self) -> Any:
        """The real part."""
        return _call("real", self)

    @property
    def imag(self) -> Any:
        """The imaginary part."""
        return _call("imag", self)

    def __repr__(self) -> str:
        return f"Var({stop_gradient(self)!r}, level={self.level})"

    def __len__(self) -> int:
        if not self.shape:
            raise TapeError("len() of a variable without axes")
        return self.shape[0]

    # Arithmetic
    def __add__(self, other: Any) -> Any:
        return _call("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return _call("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return _call("subtract", self, other)

    def __rsub__(self, other: Any) -> Any:
        return _call("subtract", other, self)

    def __mul__(self, other: Any) -> Any:
        return _call("multiply", self, other)

    def __rmul__(self, other: Any) -> Any:
        return _call("multiply", other, self)

    def __truediv__(self, other: Any) -> Any:
        return _call("divide", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _call("divide", other, self)

    def __pow__(self, other: Any) -> Any:
        return _call("power", self, other)

    def __rpow__(self, other: Any) -> Any:
        return _call("power", other, self)

    def __matmul__(self, other: Any) -> Any:
        return _call("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _call("matmul", other, self)

    def __neg__(self) -> Any:
        return _call("negative", self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return _call("abs", self)

    def __getitem__(self, index: Any) -> Any:
        return _call("getitem", self, index=index)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    # Comparisons: not differentiable, so they return raw arrays
    def __lt__(self, other: Any) -> Any:
        return stop_gradient(self) < stop_gradient(other)

    def __le__(self, other: Any) -> Any:
        return stop_gradient(self) <= stop_gradient(other)

    def __gt__(self, other: Any) -> Any:
        return stop_gradient(self) > stop_gradient(other)

    def __ge__(self, other: Any) -> Any:
        return stop_gradient(self) >= stop_gradient(other)

    def __eq__(self, other: object) -> Any:
        return stop_gradient(self) == stop_gradient(other)

    def __ne__(self, other: object) -> Any:
        return stop_gradient(self) != stop_gradient(other)

    # Methods of arrays
    def sum(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Sum over ``axis`` (all by default)."""
        return _call("sum", self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Mean over ``axis`` (all by default)."""
        return _call("mean", self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Maximum over ``axis`` (all by default)."""
        return _call("max", self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape: Any) -> Any:
        """Reshape, C order; one entry may be -1."""
        target = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        return _call("reshape", self, shape=tuple(target))

    def transpose(self, *axes: Any) -> Any:
        """Permute the axes; reverse them by default."""
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
        return _call("transpose", self, axes=tuple(order) or None)

    def conj(self) -> Any:
        """Complex conjugate; the variable itself where it is real."""
        return _call("conj", self)

    def astype(self, dtype: Any) -> Any:
        """Cast to another floating or complex dtype; the cotangent is cast back."""
        return _call("astype", self, dtype=np.dtype(dtype).name)

    # Misuse: one sentence each
    def __float__(self) -> float:
        raise TapeError(self._lost("float"))

    def __int__(self) -> int:
        raise TapeError(self._lost("int"))

    def __complex__(self) -> complex:
        raise TapeError(self._lost("complex"))

    def __index__(self) -> int:
        raise TapeError(f"a variable of shape {self.shape} cannot be an index or a length; use ar.stop_gradient")

    def __bool__(self) -> bool:
        if self.size != 1:
            raise TapeError(
                f"bool(), as in an if statement, needs a single number, got a variable of shape {self.shape}"
            )
        return bool(stop_gradient(self))

    def _lost(self, kind: str) -> str:
        # A plain number has no gradient, and array[0] = v and math.sin(v) come here too: never in silence.
        return (
            f"{kind}() of a variable of shape {self.shape} would lose its gradient (so would storing it in an array,"
            f" or a function of Python's math); write {kind}(ar.stop_gradient(v)) where you mean that"
        )

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TapeError("a variable cannot be changed in place; build a new one with ad.where or ad.concatenate")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TapeError("a variable cannot become a NumPy array, its gradient would be lost; use ar.stop_gradient")

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise TapeError(_use_ours(func.__name__))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Serve NumPy's operators (``array * var`` arrives here); refuse every other NumPy function."""
        if kwargs.get("out") is not None:
            raise TapeError("an array cannot be changed in place by a variable; write a = a + v in place of a += v")
        if method == "__call__" and not kwargs:
            if ufunc.__name__ in _OPERATORS:
                return _call(ufunc.__name__, *inputs)
            if ufunc.__name__ in _COMPARISONS:
                return ufunc(*(stop_gradient(x) for x in inputs))
        raise TapeError(_use_ours(ufunc.__name__))


_OPERATORS = ("add", "subtract", "multiply", "divide", "power", "matmul")
_COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")

FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""Name -> function on arrays and variables; filled by :mod:`adntn_ref.ad.ops` and its neighbours."""


def _call(name: str, *args: Any, **kwargs: Any) -> Any:
    return FUNCTIONS[name](*args, **kwargs)


def _use_ours(name: str) -> str:
    ours = {"true_divide": "divide", "absolute": "abs", "amax": "max", "dot": "matmul"}.get(name, name)
    if ours in FUNCTIONS:
        return f"NumPy's {name} was called on a tape variable; call adntn_ref.ad.{ours}"
    return f"NumPy's {name} was called on a tape variable, and the tape has no rule for it; adntn_ref.ad has others"


def new_level() -> int:
    """Return a level above every one so far."""
    return next(_levels)


def leaf(value: Any, level: int) -> Var:
    """Return a variable of ``level`` that nothing made."""
    return Var(value, level, Node())


def stop_gradient(x: Any) -> Any:
    """Return the raw value of ``x``: the same numbers, without a gradient; anything but a variable comes back as it is.

    Examples
    --------
    >>> import adntn_ref as ar
    >>> float(ar.grad(lambda x: x * ar.stop_gradient(x))(3.0))
    3.0
    """
    while type(x) is Var:
        x = x.value
    return x


def is_raw(*values: Any) -> bool:
    """Return whether none of ``values`` is a tape variable."""
    return not any(type(value) is Var for value in values)

"""The table of rules: primitive -> adjoint, each with its formula.

Notation: y the value, g its cotangent, with <g, y> = Re sum conj(g) y. For a map that is holomorphic in x the
cotangent of x is conj(dy/dx) g; this is the convention in which w - eta g descends (PyTorch's; JAX returns its
conjugate). Rules are written in the differentiable functions of :mod:`adntn_ref.ad.ops`, so that a rule applied to
variables is itself recorded: gradients of gradients need nothing more.

``EACH`` holds one rule a positional argument, ``rule(g, y, *args, **kwargs)``; ``JOINT`` one rule for primitives with
any number of arguments, ``rule(needed, g, y, residual, *args, **kwargs)``.
"""

from collections.abc import Callable
from math import pi, prod, sqrt
from typing import Any

import numpy as np

from adntn_ref.ad import losses, nn_ops, ops
from adntn_ref.ad.activations import ACTIVATIONS
from adntn_ref.ad.arrays import Array, dtype_name, is_array, is_complex, namespace
from adntn_ref.ad.einsum import Labels, check_sizes, contract
from adntn_ref.ad.ops import PRIMITIVES, conj
from adntn_ref.ad.tape import Primitive, stop_gradient


def shape_of(x: Array) -> tuple[int, ...]:
    """Return the shape of an array, a variable or a number."""
    return tuple(getattr(x, "shape", ()))


def like(x: Array, g: Array) -> Array:
    """Bring a cotangent to the shape and dtype of the value x it belongs to: the adjoint of broadcasting.

    Sums over the axes along which x was repeated; takes the real part where x is real; casts back where x was promoted.
    """
    target, raw = shape_of(x), stop_gradient(x)
    if shape_of(g) != target:
        extra = len(shape_of(g)) - len(target)
        if extra < 0:
            return like(x, ops.broadcast_to(g, shape=target))
        if extra:
            g = ops.sum(g, axis=tuple(range(extra)))
        repeated = tuple(i for i, n in enumerate(target) if n == 1 and shape_of(g)[i] != 1)
        if repeated:
            g = ops.sum(g, axis=repeated, keepdims=True)
        if shape_of(g) != target:
            g = ops.broadcast_to(g, shape=target)
    if is_complex(stop_gradient(g)) and not is_complex(raw):
        g = ops.real(g)
    if is_array(raw) and dtype_name(stop_gradient(g)) != dtype_name(raw):
        g = ops.astype(g, dtype=dtype_name(raw))
    return g


def swap(x: Array) -> Array:
    """Exchange the last two axes."""
    n = len(shape_of(x))
    return ops.transpose(x, axes=(*range(n - 2), n - 1, n - 2))


def _product_second(g: Array, y: Array, a: Array, b: Array) -> Array:
    """Y = a b:  gb = a^H g; where b is a transposed matrix, as a layer's weight, gb^T is made, to lie as b does."""
    raw = stop_gradient(b)
    if len(shape_of(b)) == 2 == len(shape_of(g)) and isinstance(raw, np.ndarray) and raw.flags.f_contiguous:
        return like(b, swap(ops.matrix_product(swap(g), conj(a))))
    return like(b, ops.matrix_product(swap(conj(a)), g))


def _power_base(g: Array, y: Array, a: Array, b: Array) -> Array:
    """Y = a^b:  ga = conj(b a^{b-1}) g; where a = b = 0 the exponent 1 stands in, so that 0^-1 is never formed."""
    zero = stop_gradient(b) == 0
    if isinstance(zero, bool):
        exponent = 1 if zero else b - 1
    else:
        # There alone: elsewhere the derivative of this by b is 1/a at b = 0, and a constant in b's place would lose it.
        exponent = ops.where(zero & (stop_gradient(a) == 0), 1.0, ops.subtract(b, 1.0))
    return like(a, g * conj(b * ops.power(a, exponent)))


def _power_exponent(g: Array, y: Array, a: Array, b: Array) -> Array:
    """Y = a^b:  gb = conj(y log a) g; at a = 0 the limit 0."""
    zero, dtype = stop_gradient(a) == 0, dtype_name(stop_gradient(y))
    base = ops.where(zero, 1.0, a)
    if dtype_name(stop_gradient(base)) != dtype:  # else the logarithm of a narrow base would be a narrow one
        base = ops.astype(base, dtype=dtype)
    exponent = ops.where(zero, 0.0, ops.log(base))
    if not is_array(stop_gradient(a)):  # of a number: it goes with arrays of any library
        exponent = exponent.item()
    return like(b, g * conj(y * exponent))


def _tie_weight(mine: Array, other: Array, y: Array) -> Array:
    """1 where the argument is the value, 1/2 at a tie, else 0; without a gradient, in the dtype of the value."""
    raw, won = stop_gradient(y), stop_gradient(mine) == stop_gradient(y)
    tie = won & (stop_gradient(other) == raw)
    won, tie = (x if is_array(x) else np.asarray(x) for x in (won, tie))
    return ops.astype(won, dtype=dtype_name(raw)) - 0.5 * ops.astype(tie, dtype=dtype_name(raw))


def expanded(g: Array, x: Array, axis: Any, keepdims: bool) -> Array:
    """Undo the loss of axes by a reduction: bring g to the number of axes of x, with length 1 where it was reduced."""
    shape = shape_of(x)
    if keepdims or not shape:
        return g
    n = len(shape)
    reduced = range(n) if axis is None else [a % n for a in (axis if isinstance(axis, tuple) else (axis,))]
    return ops.reshape(g, shape=tuple(1 if i in reduced else shape[i] for i in range(n)))


def _sum(g: Array, y: Array, x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """Y = sum x:  gx = g, repeated."""
    return ops.broadcast_to(expanded(g, x, axis, keepdims), shape=shape_of(x))


def _max(g: Array, y: Array, x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """Y = max x:  gx = g where x = y, divided by the number of ties."""
    raw = stop_gradient(x)
    winners = ops.astype(raw == stop_gradient(expanded(y, x, axis, keepdims)), dtype=dtype_name(raw))
    share = winners / ops.sum(winners, axis=axis, keepdims=True)
    return like(x, expanded(g, x, axis, keepdims) * share)


def _logsumexp(g: Array, y: Array, x: Array, axis: int = -1, keepdims: bool = False) -> Array:
    """Y = log sum e^x:  gx = conj(e^{x - y}) g, the softmax."""
    return expanded(g, x, axis, keepdims) * conj(ops.exp(x - expanded(y, x, axis, keepdims)))


def _cumulative_sum(g: Array, y: Array, x: Array, axis: int) -> Array:
    """Y_i = x_0 + ... + x_i:  gx_i = g_i + ... + g_n, the running sum from the other end."""
    back = (slice(None),) * (axis % len(shape_of(x))) + (slice(None, None, -1),)
    return ops.getitem(ops.cumulative_sum(ops.getitem(g, index=back), axis=axis), index=back)


def _transpose(g: Array, y: Array, x: Array, axes: tuple[int, ...] | None = None) -> Array:
    """Y = permuted x:  gx = g permuted back."""
    if axes is None:
        return ops.transpose(g)
    return ops.transpose(g, axes=tuple(int(i) for i in np.argsort([a % len(axes) for a in axes])))


def _abs(g: Array, y: Array, x: Array) -> Array:
    """Y = |x|:  gx = g x / |x|, and 0 at 0."""
    zero = stop_gradient(y) == 0
    if not is_complex(stop_gradient(x)):
        raw = stop_gradient(x)
        return g * ops.astype(namespace(raw).sign(raw), dtype=dtype_name(raw))
    return g * (x / ops.where(zero, 1.0, y))


def _join(
    needed: tuple[int, ...], g: Array, y: Array, residual: Any, *arrays: Array, axis: int = 0
) -> dict[int, Array]:
    """Y = arrays end to end:  each gets its own part of g."""
    axis = axis % len(shape_of(y))
    ends = np.cumsum([shape_of(x)[axis] for x in arrays])
    return {
        i: like(arrays[i], g[(slice(None),) * axis + (slice(int(ends[i]) - shape_of(arrays[i])[axis], int(ends[i])),)])
        for i in needed
    }


def _contract(
    needed: tuple[int, ...], g: Array, y: Array, residual: Any, *operands: Array, inputs: Any, output: Labels
) -> dict[int, Array]:
    """Y = einsum:  the cotangent of an operand is the einsum of g with the conjugates of all others."""
    sizes = check_sizes(inputs, [shape_of(x) for x in operands], output)
    return {i: _contract_one(i, g, operands, inputs, output, sizes) for i in needed}


def _contract_one(
    i: int, g: Array, operands: tuple[Array, ...], inputs: Any, output: Labels, sizes: dict[int, int]
) -> Array:
    mine, x = inputs[i], operands[i]
    others = [conj(operand) for k, operand in enumerate(operands) if k != i]
    labels = [term for k, term in enumerate(inputs) if k != i]
    # A label only this operand has was summed over: its cotangent is constant along it.
    lonely = set(mine) - set(output).union(*labels)
    # An axis of length 1 that was repeated is summed over by leaving it out of the result.
    lengths = dict(zip(mine, shape_of(x), strict=True))
    repeated = {label for label in mine if lengths[label] != sizes[label]}
    kept = tuple(dict.fromkeys(label for label in mine if label not in lonely | repeated))
    gx = contract(g, *others, inputs=(output, *labels), output=kept)
    axes = [k for k, label in enumerate(mine) if label in kept]
    if len(set(mine)) != len(mine):
        gx, axes = _onto_diagonals(gx, kept, mine, shape_of(x))
    # An axis may still have length 1 where all others had length 1: like() repeats it.
    length = dict(zip(axes, shape_of(gx), strict=True))
    return like(x, ops.reshape(gx, shape=tuple(length.get(k, 1) for k in range(len(mine)))))


def _onto_diagonals(gx: Array, kept: Labels, mine: Labels, shape: tuple[int, ...]) -> tuple[Array, list[int]]:
    """Put the cotangent of a diagonal onto the diagonal: a product with one unit matrix for each repetition.

    Axes are renamed by position; returns the array and the positions it has axes for.
    """
    first = {label: mine.index(label) for label in mine}
    copies = [k for k, label in enumerate(mine) if first[label] != k]
    units = [ops.unit_matrix(shape[k], gx) for k in copies]
    names = [(first[mine[k]], k) for k in copies]
    axes = sorted({first[label] for label in kept}.union(*names))
    return contract(gx, *units, inputs=(tuple(first[label] for label in kept), *names), output=tuple(axes)), axes


def _normalise(
    needed: tuple[int, ...],
    g: Array,
    y: Array,
    residual: Any,
    x: Array,
    w: Array,
    b: Array,
    *,
    axes: Any,
    eps: float = 1e-5,
    known: Any = None,
) -> dict[int, Array]:
    """Y = w z + b with z = (x - mean) r:  gb = g,  gw = z* g,  gx = r* (h - mean h - z* mean(z* h)).

    Here h = w* g, and * is the conjugate; where w is one number for all that is averaged it is taken out of the means.
    """
    z, r = residual if stop_gradient(x) is x else nn_ops.standardised(x, axes, eps)
    z, r, dims = conj(z), conj(r), len(shape_of(x))
    averaged = {a % dims for a in axes}
    outside = _repeated_along(shape_of(w), averaged, dims)
    h, scale = (g, conj(w) * r) if outside else (g * conj(w), r)
    total, dot = (ops.sum(part, axis=axes, keepdims=True) for part in (h, h * z))
    pulled = {}
    if 0 in needed:
        share = 1.0 / prod(shape_of(x)[a] for a in averaged)
        pulled[0] = like(x, scale * (h - total * share - z * (dot * share)))
    if 1 in needed:
        pulled[1] = like(w, dot if outside else g * z)
    if 2 in needed:
        pulled[2] = like(b, total if outside and _repeated_along(shape_of(b), averaged, dims) else g)
    return pulled


def _repeated_along(shape: tuple[int, ...], averaged: set[int], dims: int) -> bool:
    """Whether an array of ``shape`` is repeated along every averaged axis, so that sums over these are on its way."""
    lengths = (1,) * (dims - len(shape)) + shape
    return all(lengths[a] == 1 for a in averaged)


def _geometry(given: dict[str, Any]) -> dict[str, Any]:
    """Fill in the geometry of a convolution that its caller left to the defaults."""
    return {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1, **given}


def _through(name: str) -> Callable[[Array, Array, Array], Array]:
    """Return the rule of an activation:  gx = conj(sigma'(x)) g."""
    first = ACTIVATIONS[name].first
    return lambda g, y, x: g * conj(first(x, y))


EACH: dict[str, tuple[Callable[..., Array] | None, ...]] = {
    # arithmetic
    "add": (lambda g, y, a, b: like(a, g), lambda g, y, a, b: like(b, g)),
    "subtract": (lambda g, y, a, b: like(a, g), lambda g, y, a, b: like(b, -g)),
    "multiply": (lambda g, y, a, b: like(a, g * conj(b)), lambda g, y, a, b: like(b, g * conj(a))),
    "divide": (lambda g, y, a, b: like(a, g / conj(b)), lambda g, y, a, b: like(b, -g * conj(y / b))),
    "power": (_power_base, _power_exponent),
    "negative": (lambda g, y, x: -g,),
    "matrix_product": (  # y = a b:  ga = g b^H,  gb = a^H g
        lambda g, y, a, b: like(a, ops.matrix_product(g, swap(conj(b)))),
        _product_second,
    ),
    # shape
    "reshape": (lambda g, y, x, shape: ops.reshape(g, shape=shape_of(x)),),
    "transpose": (_transpose,),
    "broadcast_to": (lambda g, y, x, shape: like(x, g),),
    "getitem": (lambda g, y, x, index: ops.scatter_add(g, index=index, shape=shape_of(x)),),
    "scatter_add": (lambda g, y, x, index, shape: like(x, ops.getitem(g, index=index)),),
    "astype": (lambda g, y, x, dtype: like(x, g),),
    "conj_complex": (lambda g, y, x: conj(g),),
    "real_part": (lambda g, y, x: like(x, g),),
    "imag_part": (lambda g, y, x: like(x, 1j * g),),
    # choice
    "where": (
        None,  # the condition
        lambda g, y, c, a, b: like(a, ops.where(c, g, 0.0)),
        lambda g, y, c, a, b: like(b, ops.where(c, 0.0, g)),
    ),
    "maximum": (
        lambda g, y, a, b: like(a, g * _tie_weight(a, b, y)),
        lambda g, y, a, b: like(b, g * _tie_weight(b, a, y)),
    ),
    "minimum": (
        lambda g, y, a, b: like(a, g * _tie_weight(a, b, y)),
        lambda g, y, a, b: like(b, g * _tie_weight(b, a, y)),
    ),
    # reductions
    "sum": (_sum,),
    "max": (_max,),
    "logsumexp": (_logsumexp,),
    "cumulative_sum": (_cumulative_sum,),
    # elementwise
    "exp": (lambda g, y, x: g * conj(y),),
    "log": (lambda g, y, x: g / conj(x),),
    "sqrt": (lambda g, y, x: g / conj(2 * y),),
    "erf": (lambda g, y, x: g * conj(ops.exp(-x * x) * (2 / sqrt(pi))),),
    "cos": (lambda g, y, x: g * conj(-ops.sin(x)),),
    "abs": (_abs,),
    # convolution, bilinear: y = x * w and its two adjoints are each other's derivatives
    "conv2d": (
        lambda g, y, x, w, **k: nn_ops.conv2d_input_adjoint(g, conj(w), x_shape=shape_of(x), **_geometry(k)),
        lambda g, y, x, w, **k: nn_ops.conv2d_weight_adjoint(conj(x), g, w_shape=shape_of(w), **_geometry(k)),
    ),
    "conv2d_input_adjoint": (
        lambda g, y, h, w, *, x_shape, **k: nn_ops.conv2d(g, conj(w), **k),
        lambda g, y, h, w, *, x_shape, **k: nn_ops.conv2d_weight_adjoint(g, conj(h), w_shape=shape_of(w), **k),
    ),
    "conv2d_weight_adjoint": (
        lambda g, y, x, h, *, w_shape, **k: nn_ops.conv2d_input_adjoint(conj(h), g, x_shape=shape_of(x), **k),
        lambda g, y, x, h, *, w_shape, **k: nn_ops.conv2d(conj(x), g, **k),
    ),
    # pooling, linear once the winners are known
    "pool_gather": (lambda g, y, x, *, winner, **k: nn_ops.pool_scatter(g, winner=winner, x_shape=shape_of(x), **k),),
    "pool_scatter": (lambda g, y, h, *, winner, x_shape, **k: nn_ops.pool_gather(g, winner=winner, **k),),
    "avg_pool2d": (lambda g, y, x, **k: nn_ops.avg_pool2d_adjoint(g, x_shape=shape_of(x), **k),),
    "avg_pool2d_adjoint": (lambda g, y, h, *, x_shape, **k: nn_ops.avg_pool2d(g, **k),),
    # activations, sin and tanh among them
    **{name: (_through(name),) for name in ACTIVATIONS if name != "identity"},
}

JOINT: dict[str, Callable[..., dict[int, Array]]] = {
    "join": _join,
    "contract": _contract,
    "normalise": _normalise,
}


COVERED = (ops, nn_ops, losses)
"""The modules whose primitives have their rule here (and ``contract`` of the einsum module)."""


def install(table: dict[str, Primitive]) -> None:
    """Give every listed primitive its rule."""
    for name, rules in EACH.items():
        table[name].rules = rules
    for name, joint in JOINT.items():
        table[name].joint_rule = joint


install(PRIMITIVES)

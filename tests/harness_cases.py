"""Cases of the harness for arithmetic, shapes, choices, elementwise functions and einsum."""

from collections.abc import Callable
from typing import Any

import numpy as np
from harness import Case, In

from adntn_ref import ad
from adntn_ref.ad.einsum import contract
from adntn_ref.ad.tape import FUNCTIONS

BROADCASTS = (
    ((2, 3), (2, 3)),
    ((2, 1), (1, 3)),
    ((3,), (2, 3)),
    ((2, 3), ()),
    ((1,), (2, 1, 2)),
    ((), ()),
)


def binary(name: str, domains: tuple[str, str] = ("normal", "normal"), **options: Any) -> list[Case]:
    return [
        Case(name, FUNCTIONS[name], (In(a, domains[0]), In(b, domains[1])), f"{a}{b}", **options) for a, b in BROADCASTS
    ]


def unary(name: str, domain: str = "normal", **options: Any) -> list[Case]:
    return [
        Case(name, FUNCTIONS[name], (In(shape, domain),), str(shape), **{"third": bool(shape), **options})
        for shape in ((2, 3), ())
    ]


def of(name: str, label: str, call: Callable[..., Any], *inputs: In, **options: Any) -> Case:
    return Case(name, call, inputs, label, **options)


def rough(**options: Any) -> dict[str, Any]:
    return {"analytic": False, "complex_too": False, **options}


ARITHMETIC = [
    *binary("add"),
    *binary("subtract"),
    *binary("multiply", third=True),
    *binary("divide", ("normal", "positive"), third=True),
    *binary("power", ("positive", "normal"), third=True),
    of("power", "cube", lambda x: ad.power(x, 3), In(), third=True),
    of("power", "square", lambda x: ad.power(x, 2), In(), third=True),
    of("power", "zero", lambda x: ad.power(x, 0), In(), third=True),
    of("power", "first", lambda x: ad.power(x, 1), In(), third=True),
    of(
        "power",
        "array of exponents",
        lambda x: ad.power(x, np.array([0.0, 1.0, 2.0])),
        In(),
        third=True,
        keeps_dtype=False,
    ),
    of("power", "of a number", lambda x: ad.power(2, x), In(), third=True),
    *unary("negative"),
    *(
        of("matrix_product", f"{a}{b}", ad.ops.matrix_product, In(a), In(b), third=True)
        for a, b in (((2, 3), (3, 2)), ((2, 1, 2, 3), (3, 3, 1)), ((2, 2), (2, 2, 2)))
    ),
    *(
        of("matmul", f"{a}{b}", ad.matmul, In(a), In(b))
        for a, b in (
            ((2, 3), (3, 2)),
            ((3,), (3, 2)),
            ((2, 3), (3,)),
            ((3,), (3,)),
            ((2,), (3, 2, 2)),
            ((3, 2, 2), (2,)),
        )
    ),
    *unary("square"),
]

SHAPE = [
    of("reshape", "", lambda x: ad.reshape(x, shape=(3, -1)), In()),
    of("transpose", "reversed", lambda x: ad.transpose(x), In((2, 3, 2))),
    of("transpose", "axes", lambda x: ad.transpose(x, axes=(1, 2, 0)), In((2, 3, 2))),
    of("transpose", "negative axes", lambda x: ad.transpose(x, axes=(-1, 0, -2)), In((2, 3, 2))),
    of("broadcast_to", "both", lambda x: ad.broadcast_to(x, shape=(2, 2, 3)), In((2, 1))),
    of("broadcast_to", "scalar", lambda x: ad.broadcast_to(x, shape=(2, 2)), In(())),
    of("join", "", lambda a, b: ad.ops.join(a, b, axis=1), In((2, 1)), In((2, 3))),
    of("concatenate", "last", lambda a, b: ad.concatenate([a, b, a], axis=-1), In((2, 1)), In((2, 3))),
    of("concatenate", "with constant", lambda a: ad.concatenate([np.ones((1, 3)), a]), In(), keeps_dtype=False),
    of("stack", "first", lambda a, b: ad.stack([a, b]), In(), In()),
    of("stack", "last", lambda a, b: ad.stack([a, b], axis=-1), In(), In()),
    of("stack", "middle", lambda a, b: ad.stack((a, b), axis=1), In(), In()),
    of("stack", "scalars", lambda a, b: ad.stack([a, b]), In(()), In(())),
    *(
        of("getitem", label, lambda x, index=index: ad.getitem(x, index=index), In((3, 4)))
        for label, index in (
            ("integer", 1),
            ("entry", (1, -1)),
            ("slices", (slice(None, None, -2), slice(1, 3))),
            ("new axis and dots", (None, Ellipsis, 2)),
            ("repeated", [0, 0, 2]),
            ("pairs", ([0, 1, 1], [2, 3, 3])),
            ("mixed", (slice(1, 3), [3, 0, 3])),
            ("mask", np.arange(12).reshape(3, 4) % 3 == 0),
            ("nothing", slice(0, 0)),
        )
    ),
    of("scatter_add", "basic", lambda x: ad.scatter_add(x, index=(1, slice(0, 3)), shape=(2, 4)), In((3,))),
    of("scatter_add", "repeated", lambda x: ad.scatter_add(x, index=[1, 1, 0], shape=(4,)), In((3,))),
    of("scatter_add", "broadcast", lambda x: ad.scatter_add(x, index=[1, 1, 0], shape=(4, 2)), In((3, 1))),
    of("scatter_add", "leading one", lambda x: ad.scatter_add(x, index=1, shape=(2, 3)), In((1, 3))),
    of("scatter_add", "broadcast basic", lambda x: ad.scatter_add(x, index=slice(1, 3), shape=(4, 2)), In((2,))),
    of("astype", "to complex", lambda x: ad.astype(x, dtype="complex128"), In(), analytic=False, keeps_dtype=False),
    of("astype", "to real", lambda x: ad.astype(x, dtype="float64"), In(), analytic=False, keeps_dtype=False),
    of("conj_complex", "", ad.ops.conj_complex, In(), analytic=False),
    of("real_part", "", ad.ops.real_part, In(), analytic=False),
    of("imag_part", "", ad.ops.imag_part, In(), analytic=False),
    of("real_part", "of a complex", lambda x: ad.ops.real_part(ad.exp(1j * x)), In(), analytic=False),
    of("imag_part", "of a complex", lambda x: ad.ops.imag_part(ad.exp(1j * x)), In(), analytic=False),
    of("conj", "", ad.conj, In(), analytic=False),
    of("conj", "of a real product", lambda x: ad.conj(1j * x), In(), analytic=False, keeps_dtype=False),
    of("real", "", ad.real, In(), analytic=False),
    of("real", "inside", lambda x: ad.real(ad.exp(1j * x)), In(), analytic=False),
    of("imag", "", ad.imag, In(), analytic=False),
    of("imag", "inside", lambda x: ad.imag(ad.exp(1j * x)), In(), analytic=False),
]

MASK = np.array([[True, False, True], [False, False, True]])

CHOICE = [
    of("where", "both", lambda a, b: ad.where(MASK, a, b), In(), In()),
    of("where", "broadcast", lambda a, b: ad.where(MASK, a, b), In((3,)), In(())),
    of("where", "condition broadcast", lambda a, b: ad.where(MASK[0], a, b), In((2, 1)), In((2, 3))),
    of("where", "number", lambda a: ad.where(MASK, a, 0.0), In()),
    # Two different domains, so that no entry of one is near one of the other.
    *binary("maximum", ("away", "apart"), **rough()),
    *binary("minimum", ("away", "apart"), **rough()),
    of("maximum", "with a number", lambda a: ad.maximum(a, 0.0), In((2, 3), "away"), **rough()),
    *(
        of("sum", f"{axis} {keep}", lambda x, a=axis, k=keep: ad.sum(x, axis=a, keepdims=k), In((2, 3, 2)))
        for axis, keep in ((None, False), (1, False), ((0, -1), False), (-1, True), ((), False), (None, True))
    ),
    of("sum", "scalar", ad.sum, In(())),
    *(
        of("mean", f"{axis} {keep}", lambda x, a=axis, k=keep: ad.mean(x, axis=a, keepdims=k), In((2, 3, 2)))
        for axis, keep in ((None, False), (1, False), ((0, -1), True))
    ),
    *(
        of(
            "max",
            f"{axis} {keep}",
            lambda x, a=axis, k=keep: ad.max(x, axis=a, keepdims=k),
            In((2, 3, 2), "apart"),
            **rough(),
        )
        for axis, keep in ((None, False), (1, False), ((0, -1), False), (-1, True))
    ),
    of("max", "scalar", ad.max, In((), "apart"), **rough()),
    *(
        of(
            "logsumexp",
            f"{axis} {keep}",
            lambda x, a=axis, k=keep: ad.logsumexp(x, axis=a, keepdims=k),
            In(),
            third=True,
        )
        for axis, keep in ((-1, False), (0, False), (1, True))
    ),
    of("log_softmax", "", ad.log_softmax, In(), third=True),
    of("log_softmax", "first axis", lambda x: ad.log_softmax(x, axis=0), In()),
    of("softmax", "", ad.softmax, In(), third=True),
    of("softmax", "first axis", lambda x: ad.softmax(x, axis=0), In()),
    of("cross_entropy", "", lambda x: ad.cross_entropy(x, np.array([2, 0])), In(), third=True),
    of("soft_cross_entropy", "", lambda x, p: ad.soft_cross_entropy(x, p), In(), In(), third=True),
]

ELEMENTWISE = [
    *unary("exp"),
    *unary("log", "positive"),
    *unary("sqrt", "positive"),
    *unary("sin"),
    *unary("cos"),
    *unary("tanh"),
    *unary("erf"),
    *unary("sigmoid"),
    *unary("gelu"),
    *unary("silu"),
    *unary("abs", "away", analytic=False),
    *unary("relu", "away", **rough()),
    *unary("leaky_relu", "away", **rough()),
    *unary("positive", "away", **rough(third=False)),
]

EINSUMS = (
    ("ij,jk->ik", ((2, 3), (3, 2))),
    ("ij,jk,kl->il", ((2, 2), (2, 3), (3, 2))),
    ("ij->ji", ((2, 3),)),
    ("ij->", ((2, 3),)),
    ("ij->j", ((2, 3),)),
    ("ii->i", ((3, 3),)),
    ("ii->", ((3, 3),)),
    ("iii->i", ((2, 2, 2),)),
    ("iij->j", ((2, 2, 3),)),
    ("iij->ij", ((2, 2, 3),)),
    ("iji,jk->k", ((2, 3, 2), (3, 2))),
    ("ii,jj->ij", ((2, 2), (3, 3))),
    ("ii,i->i", ((1, 1), (3,))),
    ("ij,jk->ik", ((2, 1), (3, 2))),
    ("ij,jk->ik", ((2, 3), (1, 2))),
    ("ij,jk->", ((2, 3), (1, 2))),
    ("ij,ij->ij", ((2, 1), (1, 3))),
    ("ij,ij->", ((2, 1), (1, 3))),
    ("iij,j->i", ((2, 2, 3), (1,))),
    ("ijj,j->i", ((2, 3, 3), (1,))),
    ("ij,jk", ((2, 3), (3, 2))),
    ("ba", ((2, 3),)),
    ("...ij,...jk->...ik", ((2, 2, 3), (3, 2))),
    ("...i,i...->...", ((2, 3), (3, 2))),
    ("i...->i...", ((2, 3),)),
    ("...,i->...i", ((2, 2), (2,))),
    ("ij,k->", ((2, 2), (3,))),
    (",i->i", ((), (3,))),
    ("i,j->", ((2,), (3,))),
    ("i,i,i->", ((3,), (3,), (3,))),
)

# 54 labels: beyond NumPy's 52. The first operand repeats a label, one is summed in it alone, one axis has length 1.
MANY = tuple(range(54))


def many(a: Any, b: Any, c: Any) -> Any:
    """Return a sum over 54 labels: 1 is a diagonal of a, 38 has length 1 in c, 41 .. 52 are summed in c alone."""
    inputs = ((0, 1, 1, *range(2, 21)), (*range(2, 20), *range(21, 41)), (1, *range(38, 54)))
    return contract(a, b, c, inputs=inputs, output=(0, 39, 53))


EINSUM = [
    *(
        of(
            "einsum",
            f"{text} {shapes}",
            lambda *xs, text=text: ad.einsum(text, *xs),
            *map(In, shapes),
            third=len(shapes) > 1,
        )
        for text, shapes in EINSUMS
    ),
    of("contract", "", lambda a, b: ad.einsum("ij,jk->ik", a, b), In((2, 3)), In((3, 2))),
    of(
        "contract",
        "54 labels",
        many,
        In((2, 2, 2, *(1,) * 18, 3)),
        In((*(1,) * 18, *(1,) * 17, 2, 3, 1)),
        In((2, 2, 1, *(1,) * 12, 1, 2)),
    ),
    of("tensordot", "2", ad.tensordot, In((2, 3, 2)), In((3, 2, 2))),
    of("tensordot", "0", lambda a, b: ad.tensordot(a, b, 0), In((2,)), In((3,))),
    of("tensordot", "axes", lambda a, b: ad.tensordot(a, b, ([-1, 0], [1, 2])), In((2, 3, 2)), In((2, 2, 2))),
    of("tensordot", "one axis", lambda a, b: ad.tensordot(a, b, (0, 1)), In((2, 3)), In((2, 2))),
]

CASES: list[Case] = [*ARITHMETIC, *SHAPE, *CHOICE, *ELEMENTWISE, *EINSUM]

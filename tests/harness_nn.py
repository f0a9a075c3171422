"""Cases of the harness for convolution, pooling and generated weights."""

from typing import Any

import numpy as np
from harness import Case, In

from adntn_ref import ad
from adntn_ref.ad import nn_ops, normalisation, pooling
from adntn_ref.networks import BrickWall, ProgramNetwork
from adntn_ref.networks.programmed import network_weight

GEOMETRIES: list[tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...]]] = [
    ("plain", {}, (1, 2, 3, 4), (2, 2, 2, 2)),
    ("stride and padding", {"stride": (2, 1), "padding": (1, 0)}, (2, 1, 4, 3), (2, 1, 3, 2)),
    ("dilation", {"dilation": (2, 1), "padding": (1, 1)}, (1, 1, 4, 3), (2, 1, 2, 2)),
    ("groups", {"groups": 2}, (1, 2, 3, 3), (2, 1, 2, 2)),
    ("one by one", {}, (2, 2, 2, 2), (3, 2, 1, 1)),
    ("remainder", {"stride": (2, 2)}, (1, 1, 4, 4), (1, 1, 1, 3)),
]
DEFAULTS: dict[str, Any] = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}


def out_shape(given: dict[str, Any], x: tuple[int, ...], w: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(nn_ops.conv2d(np.zeros(x), np.zeros(w), **given).shape)


def convolutions() -> list[Case]:
    cases = []
    for label, given, x, w in GEOMETRIES:
        full, y = {**DEFAULTS, **given}, out_shape(given, x, w)
        cases += [
            Case("conv2d", lambda x, w, k=given: nn_ops.conv2d(x, w, **k), (In(x), In(w)), label),
            Case(
                "conv2d_input_adjoint",
                lambda g, w, k=full, x=x: nn_ops.conv2d_input_adjoint(g, w, x_shape=x, **k),
                (In(y), In(w)),
                label,
            ),
            Case(
                "conv2d_weight_adjoint",
                lambda x, g, k=full, w=w: nn_ops.conv2d_weight_adjoint(x, g, w_shape=w, **k),
                (In(x), In(y)),
                label,
            ),
        ]
    return cases


PLANE = (1, 2, 4, 5)
POOLS: list[tuple[str, dict[str, Any]]] = [
    ("kernel", {"kernel": (2, 2)}),
    ("overlap", {"kernel": (3, 2), "stride": (1, 2)}),
    ("padding", {"kernel": (2, 3), "stride": (2, 1), "padding": (1, 1)}),
]


def pools() -> list[Case]:
    cases = []
    for label, given in POOLS:
        y = tuple(nn_ops.avg_pool2d(np.zeros(PLANE), **given).shape)
        x = np.random.default_rng(3).permutation(40).reshape(PLANE) * 1.0
        stride, padding = given.get("stride", given["kernel"]), given.get("padding", (0, 0))
        winner = pooling.max_pool2d(np, x, given["kernel"], stride, padding)[1]
        cases += [
            Case("avg_pool2d", lambda x, k=given: nn_ops.avg_pool2d(x, **k), (In(PLANE),), label),
            Case(
                "avg_pool2d_adjoint",
                lambda g, k=given: nn_ops.avg_pool2d_adjoint(g, x_shape=PLANE, **k),
                (In(y),),
                label,
            ),
            Case("pool_gather", lambda x, w=winner: nn_ops.pool_gather(x, winner=w), (In(PLANE),), label),
            Case("pool_scatter", lambda g, w=winner: nn_ops.pool_scatter(g, winner=w, x_shape=PLANE), (In(y),), label),
            Case(
                "max_pool2d",
                lambda x, k=given: nn_ops.max_pool2d(x, **k),
                (In(PLANE, "apart"),),
                label,
                analytic=False,
                complex_too=False,
            ),
            Case(
                "max_pool2d",
                lambda x, k=given: nn_ops.max_pool2d(ad.sin(x), **k),
                (In(PLANE, "apart"),),
                f"{label} of a sine",
                analytic=False,
                complex_too=False,
            ),
        ]
    return cases


NETWORKS: list[tuple[str, ProgramNetwork]] = [
    ("brick-wall tanh", BrickWall((2, 4), layers=2, activation="tanh")),
    ("brick-wall linear", BrickWall((4, 2), layers=2, activation="identity")),
    ("brick-wall silu, cut", BrickWall((3, 2), layers=1, activation="silu")),
]


def networks() -> list[Case]:
    return [
        Case(
            "network_weight",
            lambda *cores, network=network: network_weight(*cores, network=network),
            tuple(In(shape) for shape in network.core_shapes.values()),
            label,
        )
        for label, network in NETWORKS
    ]


NORMALISATIONS: list[tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = [
    ("batch", (2, 2, 2, 1), (1, 2, 1, 1), (1, 2, 1, 1), (0, 2, 3)),
    ("layer", (2, 3), (3,), (3,), (-1,)),
    ("numbers", (3, 2), (), (), (0,)),
    ("weight within", (3, 2), (3, 1), (2,), (0,)),
]


def normalisations() -> list[Case]:
    cases = [
        Case(
            "normalise",
            lambda x, w, b, a=axes: nn_ops.normalise(x, w, b, axes=a, eps=0.1),
            (In(x), In(w), In(b)),
            label,
            third=label == "layer",
        )
        for label, x, w, b, axes in NORMALISATIONS
    ]
    known = Case(
        "normalise",
        lambda x, w: nn_ops.normalise(ad.sin(x), w, 0.5, axes=(0,), known=moments_of(ad.sin(x))),
        (In((3, 2)), In((2,))),
        "known moments",
    )
    sizes = ((1, (2, 2)), (2, (1, 3, 2)), (3, (2, 4)), (5, (1, 2, 1, 2)))
    responses = [
        Case(
            "local_response_norm",
            lambda x, n=size: nn_ops.local_response_norm(x, n, alpha=0.5),
            (In(shape),),
            f"size {size}",
        )
        for size, shape in sizes
    ]
    return [*cases, known, *responses]


def moments_of(x: Any) -> Any:
    raw = ad.stop_gradient(x)
    return normalisation.moments(np, raw, (0,))


CASES = [*convolutions(), *pools(), *networks(), *normalisations()]

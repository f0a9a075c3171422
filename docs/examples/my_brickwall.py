"""A first implementation of the brick-wall with relu. It holds one mistake, which the verify command names."""

import numpy as np


def forward(spec, params):
    """Return the generated tensor, and of every operation what its adjoint needs."""
    if spec["network"] != "brickwall" or spec["activation"] != "relu" or "layout" in spec:
        raise NotImplementedError
    if spec.get("boundary", "constant") != "constant" or spec.get("activation_every", "layer") != "layer":
        raise NotImplementedError
    x, done = np.zeros(spec["modes"]), []
    x.flat[0] = 1
    for layer in range(spec["layers"]):
        for first in (0, 1):
            for q in range(first, x.ndim - 1, 2):
                name = f"layer{layer}.brick{q}"
                brick = np.zeros(x.shape[q : q + 2] * 2)
                stored = (..., 0, 0) if params[name].ndim == 2 else ...
                brick[stored] = params[name]
                done.append((name, stored, q, brick, x))
                x = np.moveaxis(np.tensordot(brick, x, ((2, 3), (q, q + 1))), (0, 1), (q, q + 1))
        done.append(("relu", None, None, None, x))
        x = np.maximum(x, 0)
    return x, done


def generate(spec, params):
    """Return the weight: the first N entries, reshaped."""
    return forward(spec, params)[0].reshape(-1)[: np.prod(spec["shape"])].reshape(spec["shape"])


def vjp(spec, params, cotangent):
    """Return the gradient of <cotangent, weight> with respect to every core."""
    g, gradient = np.zeros(spec["modes"]), {}
    g.flat[: cotangent.size] = cotangent.reshape(-1)
    for name, stored, q, brick, x in reversed(forward(spec, params)[1]):
        if name == "relu":
            g = g * (x > 0)
            continue
        others = [k for k in range(x.ndim) if k not in (q, q + 1)]
        gradient[name] = np.tensordot(g, x, (others, others))[stored]
        g = np.moveaxis(np.tensordot(brick, g, ((0, 1), (q, q + 1))), (0, 1), (q, q + 1))
    return gradient

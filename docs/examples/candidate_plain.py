"""Brick-walls and tensor trains in plain NumPy, to be verified as a module or as a program.

    python -m adntn_ref.validation --against docs/examples/candidate_plain.py
    python -m adntn_ref.validation --command 'python docs/examples/candidate_plain.py'

What it does not do raises NotImplementedError (as a program: exit code 3), and is counted as not supported.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np

UNSUPPORTED = 3
erf = np.vectorize(math.erf, otypes=[float])


def sigmoid(z):
    """Return 1 / (1 + exp(-z))."""
    return 1 / (1 + np.exp(-z))


def normal(z):
    """Return the distribution function of the standard normal distribution, and its density."""
    return (1 + erf(z / math.sqrt(2))) / 2, np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


# Name -> (sigma, its derivative); relu'(0) = 0 and leaky_relu'(0) = 0.01.
ACTIVATIONS = {
    "identity": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1, 0.01)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
    "gelu": (lambda z: z * normal(z)[0], lambda z: normal(z)[0] + z * normal(z)[1]),
    "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z)))),
    "sin": (np.sin, np.cos),
}


def generate(spec, params):
    """Return the weight: the first entries of the generated tensor, reshaped."""
    x = forward(spec, params)[0]
    return x.reshape(-1)[: math.prod(spec["shape"])].reshape(spec["shape"]).copy()


def vjp(spec, params, cotangent):
    """Return the gradient of Re sum(conj(cotangent) * weight) with respect to every core."""
    x, done = forward(spec, params)
    g = np.zeros(x.size, dtype=np.result_type(x, cotangent))
    g[: cotangent.size] = cotangent.reshape(-1)  # what is dropped from the tensor has the cotangent 0
    g, gradient = g.reshape(x.shape), {}
    for adjoint in reversed(done):
        g = adjoint(g, gradient)
    return gradient


def forward(spec, params):
    """Return the generated tensor and, for each step, the function that carries a cotangent back through it."""
    if spec.get("layout", "flat") != "flat" or spec["network"] not in ("brickwall", "tt"):
        raise NotImplementedError(f"{spec['network']} with layout {spec.get('layout')}")
    return brickwall(spec, params) if spec["network"] == "brickwall" else tensor_train(spec, params)


def tensor_train(spec, params):
    """Multiply the cores from the left: the state has the modes so far in one index, and the bond."""
    x, done = np.ones((1, 1)), []
    for k in range(len(spec["modes"])):
        x = contract(x, f"core{k}", params, done)
    return x, done


def contract(x, name, params, done):
    """Multiply the state by a core of shape (bond, mode, bond)."""
    core = params[name]

    def adjoint(g, gradient):
        g = g.reshape(x.shape[0], -1)
        gradient[name] = (x.conj().T @ g).reshape(core.shape)
        return g @ core.reshape(core.shape[0], -1).conj().T

    done.append(adjoint)
    return (x @ core.reshape(core.shape[0], -1)).reshape(-1, core.shape[2])


def brickwall(spec, params):
    """Run the columns of bricks with their activations."""
    modes, layers = spec["modes"], spec["layers"]
    columns = [(m, first) for m in range(layers) for first in (0, 1) if first + 1 < len(modes)]
    last_first, done = columns[-1][1], []
    x = start(spec, params, done)
    for m, first in columns:
        for q in range(first, len(modes) - 1, 2):
            x = mix(x, q, f"layer{m}.brick{q}", params, done)
        after_layer = first == last_first and m < layers - 1
        after_column = spec.get("activation_every") == "column" and (m, first) != columns[-1]
        if after_layer or after_column:
            x = activate(x, spec["activation"], done)
    return x, done


def start(spec, params, done):
    """Return the outer product of the start vectors: (1, 0, ...), or trainable ones."""
    modes = spec["modes"]
    trainable = spec["boundary"] == "trainable"
    vectors = [params[f"start{q}"] if trainable else np.eye(d)[0] for q, d in enumerate(modes)]
    x = np.ones(())
    for vector in vectors:
        x = np.multiply.outer(x, vector)

    def adjoint(g, gradient):
        for q in range(len(modes) if trainable else 0):
            rest = g  # contracted with all vectors but the one of mode q
            for k in reversed([k for k in range(len(modes)) if k != q]):
                rest = np.tensordot(rest, vectors[k].conj(), (k, 0))
            gradient[f"start{q}"] = rest
        return g

    done.append(adjoint)
    return x


def mix(x, q, name, params, done):
    """Multiply the modes q and q + 1 by a brick, outputs first."""
    brick, stored = params[name], ...
    if brick.ndim == 2:  # with constant start vectors the first bricks are stored as the slice [:, :, 0, 0]
        stored = (..., 0, 0)
        brick = np.zeros(brick.shape * 2, brick.dtype)
        brick[stored] = params[name]

    def adjoint(g, gradient):
        others = [k for k in range(x.ndim) if k not in (q, q + 1)]
        gradient[name] = np.tensordot(g, x.conj(), (others, others))[stored].copy()
        return np.moveaxis(np.tensordot(brick.conj(), g, ((0, 1), (q, q + 1))), (0, 1), (q, q + 1))

    done.append(adjoint)
    return np.moveaxis(np.tensordot(brick, x, ((2, 3), (q, q + 1))), (0, 1), (q, q + 1))


def activate(z, name, done):
    """Apply an activation to every entry."""
    sigma, slope = ACTIVATIONS[name]
    done.append(lambda g, gradient: slope(z) * g)
    return sigma(z)


def main(path):
    """Answer one request: read its .npy files, compute, write the .npy files that it asks for."""
    folder = Path(path).parent
    request = json.loads(Path(path).read_text(encoding="utf8"))
    spec = request["spec"]
    if spec["network"] not in ("brickwall", "tt"):
        return UNSUPPORTED
    params = {name: np.load(folder / file) for name, file in request["params"].items()}
    cotangent = np.load(folder / request["cotangent"])
    try:
        weight, gradient = generate(spec, params), vjp(spec, params, cotangent)
    except NotImplementedError:
        return UNSUPPORTED
    np.save(folder / request["weight"], weight)
    for name, file in request["gradient"].items():
        np.save(folder / file, gradient[name])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""A dense oracle for the brick-wall and the matrix product operator: explicit matrices, slow and obvious.

Nothing here comes from the package, nor from its way of computing: a column of bricks is one P x P matrix, put together
by Kronecker products of bricks and identities; the state is a vector of P numbers; every adjoint is a product with a
conjugate transposed explicit matrix. The matrix product operator is read entry by entry, as a product of small
matrices. All sums run in double precision. Sizes are limited to P <= 4096.

The definitions followed are those of the brick-wall of Qing, Li, Zhou, Ran, "Compressing Neural Networks Using Tensor
Networks with Exponentially Fewer Variational Parameters", Intelligent Computing 2025, arXiv 2305.06058, with the
project's conventions where the paper leaves a choice.

A specification is a dictionary, for example ``{"network": "brickwall", "shape": [3, 5], "layers": 2}`` or
``{"network": "mpo", "shape": [3, 5], "chi": 4}``; gradients of a real loss are dL/dRe + i dL/dIm.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Spec = Mapping[str, Any]
Params = Mapping[str, Array]
Column = tuple[str, list[tuple[str, int]]]
"""A label, and the (core name, left mode) of each brick; an activation is a label without a brick."""
LARGEST = 4096
"""Largest number P of generated entries; one matrix of this size holds 128 MiB."""
SLOPE = 0.01
_erf = np.vectorize(math.erf, otypes=[np.float64])


def generate(spec: Spec, params: Params) -> Array:
    """Return the weight that a network generates.

    Parameters
    ----------
    spec : dictionary with ``network`` "brickwall" or "mpo"
    params : core arrays by name

    Returns
    -------
    array of the shape of the specification, float64 or complex128

    Raises
    ------
    ValueError
        If the network is unknown, or generates more than 4096 numbers.
    """
    if _kind(spec) == "mpo":
        return _mpo_generate(spec, params)
    state = states(spec, params)[-1][1]
    return np.asarray(state[_positions(spec)])


def vjp(spec: Spec, params: Params, cotangent: Array) -> dict[str, Array]:
    r"""Return the gradient of ``Re <cotangent, W>`` with respect to every core.

    Parameters
    ----------
    spec, params : as for :func:`generate`
    cotangent : array of the shape of the weight

    Returns
    -------
    dictionary with the names and shapes of ``params``, float64 or complex128

    Raises
    ------
    ValueError
        As :func:`generate`.

    Notes
    -----
    Steps in reverse: :math:`g \leftarrow C^\dagger g` through a column, :math:`g \leftarrow \sigma'(z) g` through an
    activation. The cotangent of padding is zero.
    """
    if _kind(spec) == "mpo":
        return _mpo_vjp(spec, params, cotangent)
    visited = states(spec, params)
    g = np.zeros(_size(spec), _wide(params, cotangent))
    g[_positions(spec)] = cotangent
    gradient: dict[str, Array] = {}
    for (_, bricks), (_, x) in zip(reversed(_steps(spec)), reversed(visited[:-1]), strict=True):
        if not bricks:
            g = _derivative(spec, x) * g
            continue
        matrices = _matrices(spec, params, bricks)
        for name, q in bricks:
            gradient[name] = _brick_gradient(spec, params[name], matrices, q, g, x)
        g = _column_matrix(_modes(spec), matrices).conj().T @ g
    gradient.update(_start_gradient(spec, params, g))
    return gradient


def states(spec: Spec, params: Params) -> list[tuple[str, Array]]:
    """Return the start vector and the vector after every column and every activation of a brick-wall.

    Parameters
    ----------
    spec, params : as for :func:`generate`

    Returns
    -------
    list of (label, vector of P entries)
        Labels are "start", "layer0.column0", "layer0.column1", ...; an activation is named after the column before it,
        with ".activation" at the end.

    Raises
    ------
    ValueError
        As :func:`generate`, and for a network that is no brick-wall.
    """
    if _kind(spec) != "brickwall":
        raise ValueError("only the brick-wall has a state to look at")
    x = _kron(_start_vectors(spec, params)).reshape(-1)
    visited = [("start", x)]
    for label, bricks in _steps(spec):
        if bricks:
            x = _column_matrix(_modes(spec), _matrices(spec, params, bricks)) @ x
        else:
            x = _function(spec)(x)
        visited.append((label, x))
    return visited


# ---- The weight and its modes


def _kind(spec: Spec) -> str:
    kind = str(spec["network"])
    if kind not in ("brickwall", "mpo"):
        raise ValueError(f"the dense oracle knows brickwall and mpo, not {kind}")
    if _size(spec) > LARGEST:
        raise ValueError(f"the dense oracle is limited to {LARGEST} entries, this network generates {_size(spec)}")
    return kind


def _layout(spec: Spec) -> str:
    return "axes" if spec["network"] == "mpo" else str(spec.get("layout") or "flat")


def _binary(count: int, least: int) -> list[int]:
    """Return as many twos as it takes for a product of at least ``count``."""
    twos = [2] * least
    while math.prod(twos) < count:
        twos.append(2)
    return twos


def _matrix_modes(spec: Spec) -> tuple[list[int], list[int]]:
    """Return the modes of the rows and those of the columns of the weight, read as a matrix."""
    shape = list(spec["shape"])
    rows = spec.get("row_modes") or _binary(shape[0], 1)
    columns = spec.get("col_modes") or _binary(math.prod(shape[1:]), 1)
    return list(rows), list(columns)


def _modes(spec: Spec) -> list[int]:
    """Return the sizes of the indices of the generated tensor, the most significant first."""
    if _layout(spec) == "flat":
        return list(spec.get("modes") or _binary(math.prod(spec["shape"]), 2))
    rows, columns = _matrix_modes(spec)
    if _layout(spec) == "axes":
        return rows + columns
    return [size for size in chain(*zip_longest(rows, columns)) if size is not None]


def _size(spec: Spec) -> int:
    return math.prod(_modes(spec))


def _positions(spec: Spec) -> NDArray[np.intp]:
    """Return where in the state each entry of the weight stands: an array of the shape of the weight.

    In the layouts "axes" and "interleaved", the digits of the row number in the row modes and those of the column
    number in the column modes are put in the order of the modes, and read as one number.
    """
    shape = tuple(spec["shape"])
    count = math.prod(shape)
    if _layout(spec) == "flat":
        return np.arange(count).reshape(shape)
    rows, columns = _matrix_modes(spec)
    wide = math.prod(shape[1:])
    place = np.empty(count, np.intp)
    for entry in range(count):
        row, column = _digits(entry // wide, rows), _digits(entry % wide, columns)
        digits = row + column
        if _layout(spec) == "interleaved":
            digits = [digit for digit in chain(*zip_longest(row, column)) if digit is not None]
        place[entry] = _number(digits, _modes(spec))
    return place.reshape(shape)


def _digits(number: int, sizes: Sequence[int]) -> list[int]:
    digits = []
    for size in reversed(sizes):
        number, digit = divmod(number, size)
        digits.append(digit)
    return digits[::-1]


def _number(digits: Sequence[int], sizes: Sequence[int]) -> int:
    number = 0
    for digit, size in zip(digits, sizes, strict=True):
        number = number * size + digit
    return number


# ---- The brick-wall


def _steps(spec: Spec) -> list[Column]:
    """Return columns and activations in order: columns of bricks on even, then on odd pairs; no empty column."""
    modes, layers = _modes(spec), int(spec["layers"])
    every_column = spec.get("activation_every") == "column"
    columns: list[tuple[int, Column]] = []
    for layer in range(layers):
        for parity in (0, 1):
            bricks = [(f"layer{layer}.brick{q}", q) for q in range(parity, len(modes) - 1, 2)]
            if bricks:
                columns.append((layer, (f"layer{layer}.column{parity}", bricks)))
    steps: list[Column] = []
    for place, (layer, column) in enumerate(columns):
        steps.append(column)
        if place + 1 == len(columns):
            break
        if every_column or columns[place + 1][0] != layer:
            steps.append((f"{column[0]}.activation", []))
    return steps


def _kron(factors: Sequence[Array]) -> Array:
    product: Array = np.ones((1, 1))
    for factor in factors:
        product = np.kron(product, factor)
    return product


def _trainable(spec: Spec) -> bool:
    return bool(spec.get("boundary", "constant") == "trainable")


def _start_vectors(spec: Spec, params: Params) -> list[Array]:
    """Return one column vector a mode: (1, 0, ..., 0), or the trainable one."""
    if _trainable(spec):
        return [_double(params[f"start{q}"]).reshape(-1, 1) for q in range(len(_modes(spec)))]
    return [np.eye(size)[:, :1] for size in _modes(spec)]


def _matrices(spec: Spec, params: Params, bricks: Sequence[tuple[str, int]]) -> dict[int, Array]:
    """Return each brick as a matrix of outputs x inputs, by its left mode.

    A stored slice ``A[:, :, 0, 0]`` is the first column of its matrix; the others meet only zeros of the start state
    and are zero here.
    """
    modes, matrices = _modes(spec), {}
    for name, q in bricks:
        inputs = modes[q] * modes[q + 1]
        core = _double(params[name])
        matrices[q] = core.reshape(inputs, -1) @ np.eye(core.size // inputs, inputs)
    return matrices


def _column_matrix(modes: Sequence[int], matrices: Mapping[int, Array]) -> Array:
    """Return the P x P matrix of a column: bricks where there are some, identities on the other modes."""
    factors, q = [], 0
    while q < len(modes):
        factors.append(matrices[q] if q in matrices else np.eye(modes[q]))
        q += 2 if q in matrices else 1
    return _kron(factors)


def _brick_gradient(spec: Spec, core: Array, matrices: Mapping[int, Array], q: int, g: Array, x: Array) -> Array:
    r"""Return :math:`\partial \mathrm{Re} \langle g, C x \rangle / \partial A` for the brick on the pair (q, q + 1).

    The column is a product of commuting matrices, :math:`C = (1 \otimes A \otimes 1) D`, with D the column in which the
    identity replaces A. So the gradient is the partial trace, over all modes but the pair, of the P x P matrix
    :math:`g (D x)^\dagger`.
    """
    modes = _modes(spec)
    others = {**matrices, q: np.eye(modes[q] * modes[q + 1])}
    y = _column_matrix(modes, others) @ x
    outer = np.outer(g, y.conj())
    before, pair, after = math.prod(modes[:q]), modes[q] * modes[q + 1], math.prod(modes[q + 2 :])
    gradient: Array = np.einsum("iajibj->ab", outer.reshape(before, pair, after, before, pair, after))
    return gradient[:, : core.size // pair].reshape(core.shape)


def _start_gradient(spec: Spec, params: Params, g: Array) -> dict[str, Array]:
    r"""Return the gradients of the start vectors: :math:`(v_0 \otimes .. 1 .. \otimes v_{Q-1})^\dagger g`."""
    if not _trainable(spec):
        return {}
    vectors, gradient = _start_vectors(spec, params), {}
    for q, size in enumerate(_modes(spec)):
        embedding = _kron([*vectors[:q], np.eye(size), *vectors[q + 1 :]])
        gradient[f"start{q}"] = embedding.conj().T @ g
    return gradient


# ---- The matrix product operator


def _mpo_modes(spec: Spec) -> tuple[list[int], list[int]]:
    """Return row and column modes, the shorter list filled up with ones at its end."""
    rows, columns = _matrix_modes(spec)
    count = max(len(rows), len(columns))
    return rows + [1] * (count - len(rows)), columns + [1] * (count - len(columns))


def _mpo_chains(spec: Spec, params: Params) -> list[tuple[tuple[int, ...], list[Array], list[tuple[int, int]]]]:
    """Return for every entry of the weight its index, the matrices whose product it is, and their (row, column)."""
    rows, columns = _mpo_modes(spec)
    cores = [_double(params[f"core{k}"]) for k in range(len(rows))]
    shape = tuple(spec["shape"])
    wide = math.prod(shape[1:])
    chains = []
    for entry in range(math.prod(shape)):
        place = list(zip(_digits(entry // wide, rows), _digits(entry % wide, columns), strict=True))
        matrices = [core[:, r, c, :] for core, (r, c) in zip(cores, place, strict=True)]
        chains.append((tuple(_digits(entry, shape)), matrices, place))
    return chains


def _product(matrices: Sequence[Array]) -> Array:
    product: Array = np.ones((1, 1))
    for matrix in matrices:
        product = product @ matrix
    return product


def _mpo_generate(spec: Spec, params: Params) -> Array:
    r"""Return the weight with entries :math:`A_0[:, r_0, c_0, :] A_1[:, r_1, c_1, :] \cdots`, each a 1 x 1 matrix."""
    weight = np.zeros(tuple(spec["shape"]), _wide(params))
    for index, matrices, _ in _mpo_chains(spec, params):
        weight[index] = _product(matrices)[0, 0]
    return weight


def _mpo_vjp(spec: Spec, params: Params, cotangent: Array) -> dict[str, Array]:
    r"""Return the gradients: entry by entry, :math:`G \, (l^T)^* (r^T)^*` with l, r the products left and right."""
    kind = _wide(params, cotangent)
    gradient = {name: np.zeros(np.shape(core), kind) for name, core in params.items()}
    for index, matrices, place in _mpo_chains(spec, params):
        for k, (r, c) in enumerate(place):
            left = _product(matrices[:k])
            right = _product([matrix.T for matrix in reversed(matrices[k + 1 :])])
            gradient[f"core{k}"][:, r, c, :] += cotangent[index] * np.outer(left, right).conj()
    return gradient


# ---- Numbers and activations


def _wide(params: Params, *others: Array) -> np.dtype[Any]:
    return np.result_type(np.float64, *(np.asarray(core).dtype for core in chain(params.values(), others)))


def _double(core: Array) -> Array:
    array = np.asarray(core)
    return array.astype(np.result_type(array.dtype, np.float64))


def _logistic(z: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(z / 2)))


def _normal_cdf(z: Array) -> Array:
    return np.asarray(0.5 * (1 + _erf(z / math.sqrt(2))))


def _normal_density(z: Array) -> Array:
    return np.asarray(np.exp(-z * z / 2) / math.sqrt(2 * math.pi))


Elementwise = Callable[[Array], Array]
ACTIVATIONS: dict[str, tuple[Elementwise, Elementwise]] = {
    "identity": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.where(z > 0, z, 0.0), lambda z: np.where(z > 0, 1.0, 0.0)),
    "leaky_relu": (lambda z: np.where(z > 0, z, SLOPE * z), lambda z: np.where(z > 0, 1.0, SLOPE)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (_logistic, lambda z: _logistic(z) * (1 - _logistic(z))),
    "gelu": (lambda z: z * _normal_cdf(z), lambda z: _normal_cdf(z) + z * _normal_density(z)),
    "silu": (lambda z: z * _logistic(z), lambda z: _logistic(z) * (1 + z * (1 - _logistic(z)))),
    "sin": (np.sin, np.cos),
}
"""Activation and derivative by name. At 0 the derivative of relu is 0, that of leaky_relu its slope 0.01."""


def _function(spec: Spec) -> Elementwise:
    return ACTIVATIONS[spec.get("activation", "relu")][0]


def _derivative(spec: Spec, z: Array) -> Array:
    derivative: Array = ACTIVATIONS[spec.get("activation", "relu")][1](z)
    return derivative

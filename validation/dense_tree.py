r"""A dense oracle for the trees TTN, aTTN and MERA: explicit matrices, slow and obvious.

Nothing here comes from the package, nor from its way of computing. With the activation on the levels, every step is one
explicit matrix on the vector of the state, a Kronecker product of cores (outputs x inputs) and identities:

- an expansion level, :math:`y = (\bigotimes_i E_i) x`, with :math:`E_i = W_i` of shape (chi_l chi_r) x chi_i where the
  index is expanded and :math:`E_i = 1` at a leaf;
- a mixing column, :math:`y = (\bigotimes_i M_i) x`, with the pair around the ends after it,
  :math:`y = R^T (A \otimes 1) R x`, where R is the permutation matrix that brings the last index to the front.

With the activation at the nodes, there are frames, from the leaves (:math:`U = 1`) up:
:math:`U = \sigma((U_l \otimes U_r) W)`, and the tensor is :math:`(U_l \otimes U_r) \, \mathrm{vec}(R)` at the root R.

All sums run in double precision; sizes are limited to P <= 4096. A specification is a dictionary, for example
``{"network": "mera", "shape": [3, 5], "chi": 2, "periodic": True}``; gradients of a real loss are dL/dRe + i dL/dIm.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .dense import ACTIVATIONS, LARGEST, Array, Elementwise, Params, Spec, _double, _kron, _modes, _positions, _wide

Node = tuple[int, int]
"""The modes i, ..., j - 1 under a node, as (i, j)."""


class Factor(NamedTuple):
    """One factor of the matrix of a step: a core, or the identity where there is no name."""

    name: str | None
    outputs: int
    inputs: int


class Step(NamedTuple):
    """One matrix, or an activation (no factor); ``turned`` puts the last index before the first one."""

    label: str
    factors: tuple[Factor, ...]
    turned: bool = False


def core_shapes(spec: Spec) -> dict[str, tuple[int, ...]]:
    """Return the shape of every core by name.

    Parameters
    ----------
    spec : dictionary with ``network`` "ttn", "attn" or "mera"

    Returns
    -------
    dictionary: ``root`` (chi_l, chi_r), ``node{i}_{j}`` (chi_l, chi_r, chi), ``mix{k}.{q}`` (m, n, m, n)
    """
    _check(spec)
    left, right = _children((0, len(_modes(spec))))
    shapes: dict[str, tuple[int, ...]] = {"root": (_bond(spec, left), _bond(spec, right))}
    for depth in range(2, _last_depth(spec) + 1):
        for node in _frontier(spec, depth - 1):
            if not _is_leaf(node):
                shapes[_name(node)] = tuple(_bond(spec, each) for each in (*_children(node), node))
        bonds = [_bond(spec, node) for node in _frontier(spec, depth)]
        for q in _mixed(spec, depth):
            pair = (bonds[q], bonds[(q + 1) % len(bonds)])
            shapes[f"mix{depth}.{q}"] = pair + pair
    return shapes


def generate(spec: Spec, params: Params) -> Array:
    """Return the weight that a tree generates.

    Parameters
    ----------
    spec : dictionary with ``network`` "ttn", "attn" or "mera"
    params : core arrays by name

    Returns
    -------
    array of the shape of the specification, float64 or complex128

    Raises
    ------
    ValueError
        If the network is unknown, or generates more than 4096 numbers.
    """
    _check(spec)
    if _at_nodes(spec):
        return np.asarray(_node_vector(spec, params)[_positions(spec)])
    return np.asarray(states(spec, params)[-1][1][_positions(spec)])


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
    Steps in reverse: :math:`g \leftarrow C^\dagger g` through a matrix C, :math:`g \leftarrow \sigma'(z) g` through an
    activation. The cotangent of padding is zero.
    """
    _check(spec)
    g = np.zeros(math.prod(_modes(spec)), _wide(params, cotangent))
    g[_positions(spec)] = cotangent
    if _at_nodes(spec):
        return _node_vjp(spec, params, g)
    visited = _visited(spec, params)
    gradient: dict[str, Array] = {}
    for step, x in zip(reversed(_steps(spec)), reversed(visited[:-1]), strict=True):
        if not step.factors:
            g = _activation(spec)[1](x) * g
            continue
        gradient.update(_step_gradient(step, params, g, x))
        g = _matrix(step, params).conj().T @ g
    gradient["root"] = g.reshape(np.shape(params["root"]))
    return gradient


def states(spec: Spec, params: Params) -> list[tuple[str, Array]]:
    """Return the vectors after the root, and after every expansion, mixing column and activation.

    Parameters
    ----------
    spec, params : as for :func:`generate`

    Returns
    -------
    list of (label, vector)
        Labels are "root", "expand{k}", "mix{k}" and "activation{k}", with k the depth.

    Raises
    ------
    ValueError
        As :func:`generate`, and with the activation at the nodes, where there is no state to look at.
    """
    _check(spec)
    if _at_nodes(spec):
        raise ValueError("with the activation at the nodes there are frames, and no states")
    labels = ["root", *(step.label for step in _steps(spec))]
    named = list(zip(labels, _visited(spec, params), strict=True))
    # The pair around the ends belongs to the column before it: only the state after both is one.
    return [entry for entry, after in zip(named, [*labels[1:], ""], strict=True) if entry[0] != after]


# ---- The tree


def _check(spec: Spec) -> None:
    if spec["network"] not in ("ttn", "attn", "mera"):
        raise ValueError(f"this dense oracle knows ttn, attn and mera, not {spec['network']}")
    if math.prod(_modes(spec)) > LARGEST:
        raise ValueError(f"the dense oracle is limited to {LARGEST} entries")


def _at_nodes(spec: Spec) -> bool:
    return bool(spec.get("activation_site", "level") == "node")


def _activation(spec: Spec) -> tuple[Elementwise, Elementwise]:
    return ACTIVATIONS[spec.get("activation", "tanh")]


def _is_leaf(node: Node) -> bool:
    return node[1] - node[0] == 1


def _children(node: Node) -> tuple[Node, Node]:
    """Split [i, j) after i + ceil((j - i) / 2)."""
    i, j = node
    middle = i + math.ceil((j - i) / 2)
    return (i, middle), (middle, j)


def _name(node: Node) -> str:
    return f"node{node[0]}_{node[1]}"


def _bond(spec: Spec, node: Node) -> int:
    """Return the dimension of the bond above a node: min(chi, product under it, product outside it); a leaf's mode."""
    modes, (i, j) = _modes(spec), node
    if _is_leaf(node):
        return modes[i]
    return min(int(spec["chi"]), math.prod(modes[i:j]), math.prod(modes[:i] + modes[j:]))


def _frontier(spec: Spec, depth: int) -> list[Node]:
    """Return the nodes whose indices the state at a depth has: the leaves above that depth, and the nodes at it."""
    nodes: list[Node] = [(0, len(_modes(spec)))]
    for _ in range(depth):
        below: list[Node] = []
        for node in nodes:
            below += [node] if _is_leaf(node) else _children(node)
        nodes = below
    return nodes


def _last_depth(spec: Spec) -> int:
    depth = 1
    while not all(_is_leaf(node) for node in _frontier(spec, depth)):
        depth += 1
    return depth


def _ancestor(spec: Spec, left: Node, right: Node) -> tuple[int, Node]:
    """Return the depth and the modes of the lowest node above two nodes."""
    node, depth = (0, len(_modes(spec))), 0
    while True:
        inside = [child for child in _children(node) if child[0] <= left[0] and right[1] <= child[1]]
        if not inside:
            return depth, node
        node, depth = inside[0], depth + 1


def _mixed(spec: Spec, depth: int) -> list[int]:
    """Return the left positions of the mixed pairs at a depth, from the left; a pair around the ends is the last."""
    if depth == 1 or spec["network"] == "ttn" or (spec["network"] == "attn" and depth != _last_depth(spec)):
        return []
    nodes = _frontier(spec, depth)
    candidates = []
    for q in range(len(nodes) - 1):
        above, ancestor = _ancestor(spec, nodes[q], nodes[q + 1])
        if _children(ancestor) != (nodes[q], nodes[q + 1]):
            candidates.append((above, q))
    taken: set[int] = set()
    for _, q in sorted(candidates):
        if not taken & {q - 1, q, q + 1}:
            taken.add(q)
    last = len(nodes) - 1
    if spec.get("periodic") and 0 not in taken and last - 1 not in taken:
        taken.add(last)
    return sorted(taken)


# ---- The activation on the levels


def _steps(spec: Spec) -> list[Step]:
    """Return the steps after the root: per depth, expansion, mixing column, activation; none after the last depth."""
    steps = []
    deepest = _last_depth(spec)
    for depth in range(1, deepest + 1):
        if depth > 1:
            steps.append(Step(f"expand{depth}", _expansion(spec, depth)))
            steps += _mixing(spec, depth)
        if depth < deepest:
            steps.append(Step(f"activation{depth}", ()))
    return steps


def _expansion(spec: Spec, depth: int) -> tuple[Factor, ...]:
    factors = []
    for node in _frontier(spec, depth - 1):
        bond = _bond(spec, node)
        if _is_leaf(node):
            factors.append(Factor(None, bond, bond))
        else:
            left, right = _children(node)
            factors.append(Factor(_name(node), _bond(spec, left) * _bond(spec, right), bond))
    return tuple(factors)


def _mixing(spec: Spec, depth: int) -> list[Step]:
    """Return the column of a depth, if there is one, and in a second step the pair around the ends."""
    bonds = [_bond(spec, node) for node in _frontier(spec, depth)]
    pairs, last = _mixed(spec, depth), len(bonds) - 1
    factors, q = [], 0
    while q <= last:
        mixes = q in pairs and q != last
        size = bonds[q] * bonds[q + 1] if mixes else bonds[q]
        factors.append(Factor(f"mix{depth}.{q}" if mixes else None, size, size))
        q += 2 if mixes else 1
    steps = [Step(f"mix{depth}", tuple(factors))] if set(pairs) - {last} else []
    if last in pairs:
        ends, between = bonds[last] * bonds[0], math.prod(bonds[1:last])
        wrap = (Factor(f"mix{depth}.{last}", ends, ends), Factor(None, between, between))
        steps.append(Step(f"mix{depth}", wrap, turned=True))
    return steps


def _turn(step: Step, params: Params, size: int) -> Array:
    """Return the permutation matrix R that brings the last index to the front; the identity for other steps."""
    if not step.turned:
        return np.eye(size)
    last = np.shape(params[str(step.factors[0].name)])[0]
    order = np.arange(size).reshape(-1, last).T.reshape(-1)
    return np.eye(size)[order]


def _factor_matrix(factor: Factor, params: Params) -> Array:
    if factor.name is None:
        return np.eye(factor.outputs)
    return _double(params[factor.name]).reshape(factor.outputs, factor.inputs)


def _matrix(step: Step, params: Params) -> Array:
    """Return the explicit matrix of a step, ``R.T @ kron(factors) @ R``."""
    product = _kron([_factor_matrix(factor, params) for factor in step.factors])
    if not step.turned:
        return product
    turn = _turn(step, params, len(product))
    return np.asarray(turn.T @ product @ turn)


def _visited(spec: Spec, params: Params) -> list[Array]:
    """Return the vector of the root, and the one after every step."""
    visited = [_double(params["root"]).reshape(-1)]
    for step in _steps(spec):
        x = visited[-1]
        visited.append(_matrix(step, params) @ x if step.factors else _activation(spec)[0](x))
    return visited


def _step_gradient(step: Step, params: Params, g: Array, x: Array) -> dict[str, Array]:
    r"""Return :math:`\partial \mathrm{Re} \langle g, C x \rangle / \partial A` for every core A of a step.

    With :math:`C = (1 \otimes A \otimes 1) D`, where D has the identity (on the inputs) in place of A, the gradient is
    the partial trace, over everything before and after, of the matrix :math:`g (D x)^\dagger`.
    """
    g, x = _turn(step, params, g.size) @ g, _turn(step, params, x.size) @ x
    matrices = [_factor_matrix(factor, params) for factor in step.factors]
    gradient: dict[str, Array] = {}
    for k, factor in enumerate(step.factors):
        if factor.name is None:
            continue
        y = _kron([*matrices[:k], np.eye(factor.inputs), *matrices[k + 1 :]]) @ x
        before = math.prod(each.outputs for each in step.factors[:k])
        after = math.prod(each.outputs for each in step.factors[k + 1 :])
        outer = np.outer(g, y.conj()).reshape(before, factor.outputs, after, before, factor.inputs, after)
        gradient[factor.name] = np.einsum("iajibj->ab", outer).reshape(np.shape(params[factor.name]))
    return gradient


# ---- The activation at the nodes


def _node_product(spec: Spec, params: Params, node: Node) -> tuple[Array, Array]:
    """Return ``kron(U_l, U_r)`` and the matrix of the core of a node that is no leaf; the root's is a column."""
    left, right = (_frame(spec, params, child) for child in _children(node))
    lift = np.kron(left, right)
    name = "root" if node == (0, len(_modes(spec))) else _name(node)
    return lift, _double(params[name]).reshape(lift.shape[1], -1)


def _frame(spec: Spec, params: Params, node: Node) -> Array:
    r"""Return the frame of a node below the root: 1 at a leaf, :math:`\sigma((U_l \otimes U_r) W)` elsewhere."""
    if _is_leaf(node):
        return np.eye(_bond(spec, node))
    lift, core = _node_product(spec, params, node)
    return _activation(spec)[0](lift @ core)


def _node_vector(spec: Spec, params: Params) -> Array:
    lift, root = _node_product(spec, params, (0, len(_modes(spec))))
    return np.asarray((lift @ root)[:, 0])


def _node_vjp(spec: Spec, params: Params, g: Array) -> dict[str, Array]:
    r"""Return the gradients, from the root down.

    Of :math:`Z = K W, K = U_l \otimes U_r, U = \sigma(Z)`, with the cotangent G of U:

    .. math:: G_Z = \sigma'(Z) G, \quad dW = K^\dagger G_Z, \quad G_K = G_Z W^\dagger, \quad
              G_l[x, l] = \sum_{y, r} G_K[(x, y), (l, r)] U_r^*[y, r], \quad G_r[y, r] = \sum_{x, l} G_K U_l^*[x, l].
    """
    root: Node = (0, len(_modes(spec)))
    gradient: dict[str, Array] = {}
    waiting: Sequence[tuple[Node, Array]] = [(root, g.reshape(-1, 1))]
    while waiting:
        (node, g_frame), *waiting = waiting
        if _is_leaf(node):
            continue
        lift, core = _node_product(spec, params, node)
        g_z = g_frame if node == root else _activation(spec)[1](lift @ core) * g_frame
        name = "root" if node == root else _name(node)
        gradient[name] = (lift.conj().T @ g_z).reshape(np.shape(params[name]))
        left, right = (_frame(spec, params, child) for child in _children(node))
        g_lift = (g_z @ core.conj().T).reshape(len(left), len(right), left.shape[1], right.shape[1])
        g_left = np.einsum("xylr,yr->xl", g_lift, right.conj())
        g_right = np.einsum("xylr,xl->yr", g_lift, left.conj())
        waiting = [*waiting, (_children(node)[0], g_left), (_children(node)[1], g_right)]
    return gradient

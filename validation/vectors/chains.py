r"""Networks that are no programs of steps, in decimals: low rank, tensor train, operator, CP, Tucker.

Each function takes cores as arrays of decimals and returns the generated tensor, one index a mode, with the function
that carries the cotangent of that tensor to the cores. With :math:`\langle G, X \rangle = \mathrm{Re} \sum \bar G X`
the environment of a core is G contracted with the conjugates of everything else.
"""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from .decimals import ONE, Array, conj

Cores = dict[str, Array]
Made = tuple[Array, Callable[[Array], Cores]]


def low_rank(cores: Cores) -> Made:
    """``X = left @ right``."""
    left, right = cores["left"], cores["right"]
    return left @ right, lambda g: {"left": g @ conj(right).T, "right": conj(left).T @ g}


def chain(cores: Cores) -> Made:
    """``X[n_0, n_1, ..] = core0[0, n_0, :] core1[:, n_1, :] ..``, the middle indices of a core read as one."""
    names = [f"core{k}" for k in range(len(cores))]
    flat = [cores[name].reshape(cores[name].shape[0], -1, cores[name].shape[-1]) for name in names]
    lefts, rights = [ones(1, 1)], [ones(1, 1)]
    for core in flat:
        lefts.append(np.tensordot(lefts[-1], core, 1).reshape(-1, core.shape[2]))
    for core in reversed(flat):
        rights.insert(0, np.tensordot(core, rights[0], 1).reshape(core.shape[0], -1))

    def pull(g: Array) -> Cores:
        found = {}
        for k, name in enumerate(names):
            before, after = conj(lefts[k]), conj(rights[k + 1])
            part = np.tensordot(before, g.reshape(len(before), -1, after.shape[1]), ([0], [0]))
            found[name] = np.tensordot(part, after, ([2], [1])).reshape(cores[name].shape)
        return found

    return lefts[-1].reshape([core.shape[1] for core in flat]), pull


def canonical(cores: Cores) -> Made:
    """``X[i_0, i_1, ..] = sum_r factor0[i_0, r] factor1[i_1, r] ..``."""
    factors = [cores[f"factor{q}"] for q in range(len(cores))]

    def rows(some: Sequence[Array]) -> Array:
        """Return the products of the entries of some factors, (entries, rank)."""
        found = ones(1, factors[0].shape[1])
        for factor in some:
            found = (found[:, None, :] * factor[None, :, :]).reshape(-1, factor.shape[1])
        return found

    def pull(g: Array) -> Cores:
        found = {}
        for q, factor in enumerate(factors):
            before, after = conj(rows(factors[:q])), conj(rows(factors[q + 1 :]))
            cube = g.reshape(len(before), len(factor), len(after))
            columns = [before[:, r] @ (cube @ after[:, r]) for r in range(factor.shape[1])]
            found[f"factor{q}"] = np.stack(columns, axis=1)
        return found

    return rows(factors).sum(axis=1).reshape([len(factor) for factor in factors]), pull


def tucker(cores: Cores) -> Made:
    """``X[i_0, ..] = sum_p core[p_0, ..] factor0[i_0, p_0] ..``."""
    factors = [cores[f"factor{q}"] for q in range(len(cores) - 1)]

    def along(tensor: Array, q: int, matrix: Array) -> Array:
        """Apply a matrix to index q."""
        return np.moveaxis(np.tensordot(matrix, tensor, ([1], [q])), 0, q)

    def pull(g: Array) -> Cores:
        found, back = {}, g
        for q, factor in enumerate(factors):
            back = along(back, q, conj(factor).T)
            others = cores["core"]
            for p, other in enumerate(factors):
                others = others if p == q else along(others, p, other)
            rest = [p for p in range(len(factors)) if p != q]
            found[f"factor{q}"] = np.tensordot(g, conj(others), (rest, rest))
        return {**found, "core": back}

    tensor = cores["core"]
    for q, factor in enumerate(factors):
        tensor = along(tensor, q, factor)
    return tensor, pull


def ones(*shape: int) -> Array:
    """Return an array of ones."""
    found = np.empty(prod(shape), object)
    found[:] = ONE
    return found.reshape(shape)

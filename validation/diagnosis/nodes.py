"""Trees evaluated from the leaves, with the activation at every node, right and wrong.

The frame of a leaf is the unit matrix, that of a node ``sigma(Z)`` with
``Z[x, y, p] = sum over l, r of U_left[x, l] U_right[y, r] W[l, r, p]``; the root has no p and no sigma.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .parts import Array, Core, Cores, Impossible, Positions, Wrong, numbers
from .places import places_of
from .sigma import sigma_of
from .trees import Node, Tree, core_names

Give = Callable[[Array], None]


class Frames:
    """A run from the leaves that remembers what its adjoint needs."""

    def __init__(self, spec: dict[str, Any], cores: Cores, wrong: Wrong) -> None:
        self.tree = Tree(tuple(spec["modes"]), spec["chi"], wrong)
        self.names, self.cores, self.wrong = core_names(self.tree), cores, wrong
        missing = "activation-missing" in wrong
        self.sigma = sigma_of("identity" if missing else spec["activation"], () if missing else wrong)
        self.found = {name: np.zeros(core.size, core.dtype) for name, core in cores.items()}
        self.fragile = False
        whole = (0, len(self.tree.modes))
        self.tensor, self.give = self.frame(whole)
        self.places = places_of(spec, self.tree.modes, wrong)

    def read(self, node: Node) -> Core:
        """Return the core of a node as it is read, (l, r, p)."""
        l, r = (self.tree.bond(child) for child in self.tree.children(node))
        if node == (0, len(self.tree.modes)):
            root: Positions = numbers((l, r, 1))
            return Core("root", root.transpose(1, 0, 2) if "root-transposed" in self.wrong else root)
        where: Positions = numbers((l, r, self.tree.bond(node)))
        for mistake in self.wrong:
            if mistake == "node-bond-first":
                where = where.reshape(-1, l, r).transpose(1, 2, 0)
            if mistake == "children-swapped":
                where = where.transpose(1, 0, 2)
        return Core(self.names[node], where)

    def frame(self, node: Node) -> tuple[Array, Give]:
        """Return the frame of a node, (entries under it, p), and the function that takes its cotangent."""
        if node[1] - node[0] == 1:
            return np.eye(self.tree.modes[node[0]]), lambda g: None
        left, right = self.tree.children(node)
        (u_left, give_left), (u_right, give_right) = self.frame(left), self.frame(right)
        core = self.read(node)
        w = core.tensor(self.cores)
        if w.shape[:2] != (u_left.shape[1], u_right.shape[1]):
            raise Impossible("the children do not fit")
        z = np.einsum("xl,yr,lrp->xyp", u_left, u_right, w, optimize=True)
        is_root = node == (0, len(self.tree.modes))
        acts = not is_root or "activation-after-last" in self.wrong
        self.fragile |= acts and self.sigma.fragile(z)

        def give(g: Array) -> None:
            gz = g.reshape(z.shape) * (self.sigma.derivative(z) if acts else 1.0)
            conj = (lambda a: a) if "adjoint-without-conjugate" in self.wrong else np.conj
            core.give(self.found, np.einsum("xl,yr,xyp->lrp", conj(u_left), conj(u_right), gz, optimize=True))
            give_left(np.einsum("yr,lrp,xyp->xl", conj(u_right), conj(w), gz, optimize=True))
            give_right(np.einsum("xl,lrp,xyp->yr", conj(u_left), conj(w), gz, optimize=True))

        return (self.sigma.function(z) if acts else z).reshape(-1, w.shape[2]), give

    def weight(self) -> Array:
        """Return the weight."""
        return self.tensor.reshape(-1)[self.places]

    def backward(self, cotangent: Array) -> Cores:
        """Return the gradient of every core; NaN where it hangs on rounding."""
        if self.fragile:
            return {name: np.full(core.shape, np.nan) for name, core in self.cores.items()}
        g: Array = np.full(self.tensor.size, 1.0 if "padding-cotangent" in self.wrong else 0.0, self.tensor.dtype)
        g[self.places] = cotangent
        self.give(g)
        return {name: self.found[name].reshape(core.shape) for name, core in self.cores.items()}

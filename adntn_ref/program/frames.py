"""Trees evaluated from the leaves: frames with an activation at every node.

The frame of a leaf is the unit matrix; that of a node is

``U[(x, y), p] = sigma(Z[(x, y), p])``, ``Z[(x, y), p] = sum_{l,r} U_left[x, l] U_right[y, r] W[l, r, p]``,

and the root, without index p and without sigma, gives the generated tensor. With sigma the identity this is the
hierarchical Tucker format, and equal to expanding the tree from the root; with another sigma it is not, because sigma
acts on the frames instead of the states. (Ours.)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from adntn_ref.ad import ops
from adntn_ref.ad.activations import Activation
from adntn_ref.ad.arrays import Array
from adntn_ref.program.steps import Cores


@dataclass(frozen=True)
class Frame:
    """One inner node: its core (l, r, p), and the names of its children's frames, None for a leaf's unit matrix.

    ``rows`` are x and y, the numbers of entries under the left and the right child; the root has p = 1.
    """

    core: str
    left: str | None
    right: str | None
    rows: tuple[int, int]
    bonds: tuple[int, int, int]

    @property
    def size(self) -> int:
        """Entries of the frame."""
        return prod(self.rows) * self.bonds[2]

    @property
    def passing(self) -> int:
        """Entries of T; none where the left child is a leaf, for T is a view of the core there."""
        return 0 if self.left is None else self.rows[0] * self.bonds[1] * self.bonds[2]

    def forward(self, cores: Cores, frames: dict[str, Array]) -> tuple[Array, Array]:
        """Return ``T[x, r, p] = sum_l U_left[x, l] W[l, r, p]`` and Z of shape (x y, p)."""
        l, r, p = self.bonds
        t = cores[self.core].reshape(l, r * p)
        if self.left is not None:
            t = frames[self.left] @ t
        t = t.reshape(self.rows[0], r, p)
        z = t if self.right is None else frames[self.right] @ t
        z = z.reshape(-1, p)
        # Where both children are leaves Z is the core itself: copied, so that no state is a view of the parameters.
        return t, ops.concatenate([z]) if self.left is None and self.right is None else z

    def adjoint(self, cores: Cores, frames: dict[str, Array], t: Array, g: Array) -> tuple[Array, dict[str, Array]]:
        """Return the environment of the core and the cotangents of the children's frames, given that of Z."""
        (x, y), (l, r, p) = self.rows, self.bonds
        g = g.reshape(x, y, p)
        found: dict[str, Array] = {}
        if self.right is not None:
            columns = ops.conj(t).transpose(1, 0, 2).reshape(r, x * p)
            found[self.right] = g.transpose(1, 0, 2).reshape(y, x * p) @ columns.T
            g = ops.conj(frames[self.right]).T @ g
        g = g.reshape(x, r * p)
        if self.left is not None:
            found[self.left] = g @ ops.conj(cores[self.core]).reshape(l, r * p).T
            g = ops.conj(frames[self.left]).T @ g
        return ops.concatenate([g]).reshape(cores[self.core].shape), found

    def flops(self) -> int:
        """Return multiplications and additions forward; the adjoint takes twice as many."""
        (x, y), (l, r, p) = self.rows, self.bonds
        return 2 * (self.left is not None) * x * l * r * p + 2 * (self.right is not None) * x * y * r * p


@dataclass(frozen=True)
class State:
    """A state that can be looked at: its name and the sizes of its indices."""

    name: str
    out_dims: tuple[int, ...]


@dataclass(frozen=True)
class Frames:
    """The frames of a tree, children before parents, the root last."""

    frames: tuple[Frame, ...]
    activation: Activation

    @property
    def all_steps(self) -> tuple[State, ...]:
        """Every state in order: Z of each node as (x, y, p), then its frame; the root's tensor as (x, y)."""
        found = []
        for frame in self.frames[:-1]:
            dims = (*frame.rows, frame.bonds[2])
            found += [State(frame.core, dims), State(f"{frame.core}.activation", dims)]
        return (*found, State(self.frames[-1].core, self.frames[-1].rows))

    def run(self, cores: Cores) -> tuple[Array, list[Any]]:
        """Return the generated tensor, shape (P,), and for each frame (T, Z, U); the root has U = Z."""
        frames: dict[str, Array] = {}
        record: list[Any] = []
        for frame in self.frames:
            t, z = frame.forward(cores, frames)
            frames[frame.core] = z if frame is self.frames[-1] else self.activation.sigma(z)
            record.append((t, z, frames[frame.core]))
        return record[-1][1].reshape(-1), record

    def last(self, cores: Cores) -> Array:
        """Return the generated tensor, shape (P,), letting go of every frame as soon as its parent has read it."""
        frames: dict[str, Array] = {}
        for frame in self.frames:
            z = frame.forward(cores, frames)[1]
            for child in (frame.left, frame.right):
                frames.pop(child or "", None)
            frames[frame.core] = z if frame is self.frames[-1] else self.activation.sigma(z)
        return z.reshape(-1)

    def states(self, cores: Cores) -> dict[str, Array]:
        """Return every state by name, flat."""
        found: dict[str, Array] = {}
        for frame, (_, z, u) in zip(self.frames, self.run(cores)[1], strict=True):
            found[frame.core] = z.reshape(-1)
            found[f"{frame.core}.activation"] = u.reshape(-1)
        del found[f"{self.frames[-1].core}.activation"]
        return found

    def walk_back(self, cores: Cores, record: list[Any], g: Array) -> Iterator[tuple[str, Cores, Array]]:
        """Yield for each state, the last first: its name, the environment of its core, its cotangent, flat."""
        frames = {frame.core: kept[2] for frame, kept in zip(self.frames, record, strict=True)}
        cotangents: dict[str, Array] = {self.frames[-1].core: g}
        for frame, (t, z, u) in zip(reversed(self.frames), reversed(record), strict=True):
            g = cotangents.pop(frame.core)
            if frame is not self.frames[-1]:
                yield f"{frame.core}.activation", {}, g.reshape(-1)
                g = g * ops.conj(self.activation.first(z, u))
            environment, children = frame.adjoint(cores, frames, t, g)
            cotangents.update(children)
            yield frame.core, {frame.core: environment}, g.reshape(-1)

    def peak_entries(self) -> tuple[int, int, int]:
        """Return the entries alive at the worst moment forward; those the record keeps; and what the adjoint adds."""
        alive: dict[str, int] = {}
        worst = kept = 0
        for frame in self.frames:
            inner = frame is not self.frames[-1]
            worst = max(worst, sum(alive.values()) + frame.passing + (1 + inner) * frame.size)
            for child in (frame.left, frame.right):
                alive.pop(child or "", None)
            alive[frame.core] = frame.size
            kept += frame.passing + (1 + inner) * frame.size
        return worst, kept, self._adjoint_entries()

    def _adjoint_entries(self) -> int:
        """Return the entries that the adjoint holds at the worst moment besides the record and the root's cotangent."""
        sizes = {frame.core: frame.size for frame in self.frames}
        alive: dict[str, int] = {}
        worst = 0
        for frame in reversed(self.frames):
            (x, y), (l, r, p) = frame.rows, frame.bonds
            mine = alive.pop(frame.core, 0)
            # sigma'(z) g: two arrays of the frame's size beside the cotangent that came in
            held = sum(alive.values()) + mine + 2 * mine
            inside = frame.size if mine else 0
            if frame.right is not None:
                turned = (frame.size if p > 1 else 0) + x * r * p
                inside += max(turned + y * r, y * r + x * r * p)
            worst = max(worst, held, sum(alive.values()) + inside + mine + (x * l if frame.left is not None else 0))
            for child in (frame.left, frame.right):
                if child is not None:
                    alive[child] = sizes[child]
        return worst

"""The networks in PyTorch, eager, gradients by ``torch.autograd``: as an author writes them, and with our tricks.

- :class:`Author`: the adapter's tensordot and movedim a brick, keeping nothing but what autograd keeps;
- :class:`LeftRight`: the state as (left, 4, right) and a batched matrix product a brick;
- :class:`Rotation`: two bricks as one 16x16 matrix K, ``Y = X.reshape(16, -1).T @ K.T``: one product that also turns
  the indices round by four, so that nothing is ever moved;
- :class:`Staircase`: both columns of a layer at once, in windows that overlap in one index.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod
from typing import Any

from ..adapters.plain import Spec, brick_columns, modes
from ..adapters.torch_adapter import Cores, Tensor, TorchNetworks, torch
from .candidate import Prepared
from .workload import Answer, Workload


class Author(TorchNetworks):
    """As an author of a paper writes it."""

    def note(self, name: str, x: Tensor) -> Tensor:
        """Keep nothing."""
        return x


class LeftRight(Author):
    """Every step a product of matrices on the middle axis of (left, middle, right)."""

    def mix(self, core: Tensor, x: Tensor, left: int, right: int) -> Tensor:
        """Return a mixing core applied to two neighbouring indices."""
        side = x.shape[left] * x.shape[right]
        return (core.reshape(side, side) @ x.reshape(prod(x.shape[:left]), side, -1)).reshape(x.shape)

    def expand(self, core: Tensor, x: Tensor, p: int) -> Tensor:
        """Return the state with index p split in two."""
        y = core.flatten(0, 1) @ x.reshape(prod(x.shape[:p]), x.shape[p], -1)
        return y.reshape(*x.shape[:p], *core.shape[:2], *x.shape[p + 1 :])


class Rotation(Author):
    """Two bricks a product, which turns the indices round; binary modes."""

    def column(self, spec: Spec, cores: Cores, x: Tensor, m: int, bricks: list[int]) -> Tensor:
        """Return the state after a column: after products on all its indices in turn they are in order again."""
        if m == 0 and bricks[0] == 0:
            return x  # the start has them already
        sites = len(modes(spec))
        for matrix in groups([cores[f"layer{m}.brick{q}"] for q in bricks], bricks[0], sites):
            x = x.reshape(len(matrix), -1).T @ matrix.T
        return x.reshape((2,) * sites)


class Staircase(Author):
    """Both columns of a layer in windows of four, then three indices, in place; binary modes, at least four."""

    def brickwall(self, spec: Spec, cores: Cores) -> Tensor:
        """Return the weight of a brick-wall."""
        sites, layers = len(modes(spec)), spec["layers"]
        x = self.start(spec, cores)
        for m in range(layers):
            at = 0 if m else 1  # of the first layer the start has the first column already
            for matrix in self.windows(cores, m, sites) if m else self.second_column(cores, sites):
                side = len(matrix)
                left, right = 2**at, 2 ** (sites - at) // side
                x = x.reshape(left, side) @ matrix.T if right == 1 else matrix @ x.reshape(left, side, right)
                at += side.bit_length() - (1 if m == 0 else 2)
            x = torch.relu(x) if m + 1 < layers else x
        return self.place(spec, x)

    def second_column(self, cores: Cores, sites: int) -> list[Tensor]:
        """Return the matrices of the second column of the first layer, two bricks each."""
        return pairs([cores[f"layer0.brick{q}"].reshape(4, 4) for q in brick_columns(sites)["odd"]])

    def windows(self, cores: Cores, m: int, sites: int) -> list[Tensor]:
        """Return the matrices of a layer: bricks 0, 2, 1 on the first four indices, then 4, 3; 6, 5; and so on."""
        even, odd = ([cores[f"layer{m}.brick{q}"].reshape(4, 4) for q in qs] for qs in brick_columns(sites).values())
        two = torch.eye(2, dtype=even[0].dtype)
        found = [torch.kron(torch.kron(two, odd[0]), two) @ torch.kron(even[0], even[1])]
        count = len(even) - 2
        if count:
            first, then = torch.stack(even[2:]), torch.stack(odd[1 : 1 + count])
            first = torch.einsum("ab,ncd->nacbd", two, first).reshape(count, 8, 8)
            then = torch.einsum("nab,cd->nacbd", then, two).reshape(count, 8, 8)
            found += (then @ first).unbind()
        return [*found, *odd[1 + count :]]  # an odd number of indices leaves the last brick alone


def pairs(bricks: list[Tensor]) -> list[Tensor]:
    """Return 4x4 matrices two by two as 16x16 ones; the last one of an odd number as it is."""
    return [reduce(torch.kron, bricks[k : k + 2]) for k in range(0, len(bricks), 2)]


def groups(bricks: list[Tensor], first: int, sites: int) -> list[Tensor]:
    """Return matrices that cover all indices in order, with the unit matrix where a column leaves the ends alone."""
    matrices = [brick.reshape(4, 4) for brick in bricks]
    two = torch.eye(2, dtype=matrices[0].dtype)
    if first:
        matrices[0] = torch.kron(two, matrices[0])
    found = pairs(matrices[1:])
    found = [matrices[0], *found] if first else pairs(matrices)
    if (sites - first) % 2:
        found[-1] = torch.kron(found[-1], two)
    return found


def prepare(workload: Workload, networks: Callable[[], TorchNetworks]) -> Prepared:
    """Bind one of the ways to a workload."""
    spec = workload.spec
    cores = {name: torch.tensor(core, requires_grad=True) for name, core in workload.params.items()}
    target = torch.from_numpy(workload.target)

    def run() -> tuple[Tensor, Sequence[Tensor]]:
        loss = torch.nn.functional.mse_loss(networks().weight(spec, cores), target)
        return loss.detach(), torch.autograd.grad(loss, list(cores.values()))

    def answer(found: Any) -> Answer:
        return Answer(float(found[0]), {name: g.numpy() for name, g in zip(cores, found[1], strict=True)})

    return Prepared(run, answer)

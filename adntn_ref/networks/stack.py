"""One network for several weights."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array, dtype_name
from adntn_ref.ad.tape import stop_gradient
from adntn_ref.errors import ArrayError, DTypeError, SpecError
from adntn_ref.networks.base import Network, Params, require_here
from adntn_ref.networks.combination import Bases, Combination, Read, check_parts, cut, list_of, plain
from adntn_ref.networks.multilinear import fix
from adntn_ref.program.modes import Layout, positive_integers, shown
from adntn_ref.program.starts import default_std


@dataclass(frozen=True, init=False)
class Stack(Combination):
    """Several weights from one network: its weight's vector is theirs, one after another, in C order.

    ``generate`` returns a dict from name to weight, and the pullback takes one. The cores keep the network's names.

    Parameters
    ----------
    shapes : dict
        Name -> shape of each weight; the order counts.
    net : network whose weight has as many entries as all of them together, whatever its shape

    Examples
    --------
    >>> from adntn_ref.networks.brickwall import BrickWall
    >>> net = Stack({"fc1": (6, 4), "fc2": (3, 6)}, BrickWall((42,), layers=2))
    >>> {name: weight.shape for name, weight in net.generate(net.init()).items()}
    {'fc1': (6, 4), 'fc2': (3, 6)}
    """

    kind = "stack"
    several = True

    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    net: Network
    placement: Layout = field(init=False, repr=False, compare=False)

    def __init__(self, shapes: Mapping[str, tuple[int, ...]] | Iterable[Any], net: Network) -> None:
        named = _named_shapes(shapes)
        (part,) = check_parts("stack", (net,))
        total = sum(prod(shape) for _, shape in named)
        if part.weights != total:
            raise SpecError(f"the weights of the stack have {total} entries, its network makes {part.weights}")
        fix(self, shapes=named, net=part, placement=plain((total,)))

    def to_spec(self) -> dict[str, Any]:
        """Return the specification as a JSON-able dict; the shapes are a list of pairs, for their order counts."""
        shapes = [[name, list(shape)] for name, shape in self.shapes]
        return {"network": "stack", "shapes": shapes, "net": self.net.to_spec()}

    @classmethod
    def _from_entries(cls, entries: Mapping[str, Any], read: Read, bases: Bases) -> "Stack":
        return cls(entries["shapes"], read(entries["net"]))

    @property
    def _parts(self) -> tuple[Network, ...]:
        return (self.net,)

    def _join(self, weights: Iterator[Array]) -> dict[str, Array]:
        pieces = cut(next(weights), [shape for _, shape in self.shapes])
        return {name: piece for (name, _), piece in zip(self.shapes, pieces, strict=True)}

    def _share(self, cotangent: dict[str, Array]) -> list[Array]:
        flat = ops.concatenate([ops.reshape(cotangent[name], shape=(-1,)) for name, _ in self.shapes])
        return [ops.reshape(flat, shape=self.net.placement.shape)]

    def _start_std(self, std: float | None) -> tuple[float, float]:
        squares = sum(prod(shape) * default_std(shape) ** 2 for _, shape in self.shapes)
        whole = float(np.sqrt(squares / self.weights)) if std is None else float(std)
        return whole, whole

    def _joining(self) -> tuple[int, int, int]:
        return 0, 0, 2 * self.weights

    def _check_cotangent(self, cotangent: Any, dtype: str, params: Params) -> None:
        names = [name for name, _ in self.shapes]
        if not isinstance(cotangent, dict) or cotangent.keys() != set(names):
            raise ArrayError(f"the cotangent of a stack is a dict with the names {', '.join(names)}")
        for name, shape in self.shapes:
            found = tuple(getattr(cotangent[name], "shape", ()))
            if found != shape:
                raise ArrayError(f"the cotangent of {name} has shape {found}, the weight {shape}")
            if (got := dtype_name(stop_gradient(cotangent[name]))) != dtype:
                raise DTypeError(f"the cotangent of {name} has dtype {got}, the weight {dtype}")
            require_here("the cotangent", cotangent[name], params)


def _named_shapes(shapes: object) -> tuple[tuple[str, tuple[int, ...]], ...]:
    pairs = list_of(list(shapes.items()) if isinstance(shapes, Mapping) else shapes, "the shapes of a stack")
    named: dict[str, tuple[int, ...]] = {}
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not isinstance(pair[0], str) or not pair[0]:
            raise SpecError(f"the shapes of a stack are pairs of a name and a shape, got {shown(pair)}")
        if pair[0] in named:
            raise SpecError(f"a stack needs a name of its own for each weight, got {shown(pair[0])} twice")
        named[pair[0]] = positive_integers(pair[1], "shape")
    if not named:
        raise SpecError("a stack needs at least one weight")
    return tuple(named.items())

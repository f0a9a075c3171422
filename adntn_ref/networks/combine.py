"""Several networks for one weight: their sum, or a network for each chunk of the weight's vector."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array
from adntn_ref.errors import SpecError
from adntn_ref.networks.base import Network
from adntn_ref.networks.combination import MAX_PARTS, Bases, Combination, Read, check_parts, cut, list_of, plain
from adntn_ref.networks.multilinear import fix
from adntn_ref.networks.spec import positive_integer
from adntn_ref.program.modes import Layout, positive_integers, shown
from adntn_ref.program.starts import default_std


@dataclass(frozen=True, init=False, repr=False)
class Sum(Combination):
    """The sum of the weights of several networks of one shape; core ``name`` of network k is ``"{k}.{name}"``.

    Parameters
    ----------
    *nets : networks of one weight, all of one shape

    Examples
    --------
    >>> from adntn_ref.networks.shallow import LowRank, MPO
    >>> list(Sum(LowRank((4, 4), rank=1), MPO((4, 4), chi=2)).core_shapes)
    ['0.left', '0.right', '1.core0', '1.core1']
    """

    kind = "sum"
    prefixed = True

    nets: tuple[Network, ...]
    placement: Layout = field(init=False, repr=False, compare=False)

    def __init__(self, *nets: Network) -> None:
        parts = check_parts("sum", nets)
        shapes = list(dict.fromkeys(part.placement.shape for part in parts))
        if len(shapes) > 1:
            raise SpecError(f"a sum needs networks of one shape, got {shapes[0]} and {shapes[1]}")
        fix(self, nets=parts, placement=plain(shapes[0]))

    def __repr__(self) -> str:
        return f"Sum({', '.join(map(repr, self.nets))})"

    def to_spec(self) -> dict[str, Any]:
        """Return the specification as a JSON-able dict; ``ar.from_spec`` reads it back."""
        return {"network": "sum", "parts": [net.to_spec() for net in self.nets]}

    @classmethod
    def _from_entries(cls, entries: Mapping[str, Any], read: Read, bases: Bases) -> "Sum":
        return cls(*map(read, list_of(entries["parts"], "the parts of a sum")))

    @property
    def _parts(self) -> tuple[Network, ...]:
        return self.nets

    def _join(self, weights: Iterator[Array]) -> Array:
        total = next(weights)
        for weight in weights:
            total = ops.add(total, weight)
            del weight  # the next part runs with the sum alone in memory
        return total

    @property
    def apply_refusal(self) -> str:
        """Why :meth:`apply` cannot do without the weight: what its parts say; empty where it can."""
        return next((net.apply_refusal for net in self.nets if net.apply_refusal), "")

    def _apply(self, params: dict[str, Array], x: Array) -> Array:
        return self._join(net._apply(cores, x) for net, cores in self._split(params))

    def _share(self, cotangent: Array) -> list[Array]:
        return [cotangent] * len(self.nets)

    def _start_std(self, std: float | None) -> tuple[float, float]:
        whole = default_std(self.placement.shape) if std is None else float(std)
        return whole, whole / float(np.sqrt(len(self.nets)))

    def _joining(self) -> tuple[int, int, int]:
        n, more = self.weights, len(self.nets) - 1
        return more * n, 0, 3 * more * n


@dataclass(frozen=True, init=False)
class Split(Combination):
    """The weight's vector (C order) in n consecutive chunks of ceil(N / n), the last one shorter, a network each.

    Core ``name`` of chunk k is called ``"{k}.{name}"``.

    Parameters
    ----------
    shape : shape of the weight
    n : number of chunks
    make : function
        ``make((length,))`` returns the network of a chunk, of that shape or another with as many entries. It is called
        once a chunk, in order, and not kept.

    Examples
    --------
    >>> from adntn_ref.networks.brickwall import BrickWall
    >>> net = Split((120, 84), 3, lambda chunk: BrickWall(chunk, layers=2))
    >>> [part.shape for part in net.parts], list(net.core_shapes)[0]
    ([(3360,), (3360,), (3360,)], '0.layer0.brick0')
    """

    kind = "split"
    prefixed = True

    shape: tuple[int, ...]
    parts: tuple[Network, ...]
    placement: Layout = field(init=False, repr=False, compare=False)

    def __init__(self, shape: tuple[int, ...], n: int, make: Callable[[tuple[int, ...]], Network]) -> None:
        sizes = positive_integers(shape, "shape")
        placement = plain(sizes)
        lengths = _chunks(placement.weights, positive_integer(n, "n"))
        parts = check_parts("split", tuple(make((length,)) for length in lengths))
        for k, (part, length) in enumerate(zip(parts, lengths, strict=True)):
            if part.weights != length:
                raise SpecError(f"chunk {k} has {length} weights, its network makes {part.weights}")
        fix(self, shape=sizes, parts=parts, placement=placement)

    @property
    def n(self) -> int:
        """The number of chunks."""
        return len(self.parts)

    def to_spec(self) -> dict[str, Any]:
        """Return the specification as a JSON-able dict; ``ar.from_spec`` reads it back."""
        return {"network": "split", "shape": list(self.shape), "parts": [part.to_spec() for part in self.parts]}

    @classmethod
    def _from_entries(cls, entries: Mapping[str, Any], read: Read, bases: Bases) -> "Split":
        specs = list_of(entries["parts"], "the parts of a split")
        following = iter(specs)
        return cls(entries["shape"], len(specs), lambda chunk: read(next(following)))

    @property
    def _parts(self) -> tuple[Network, ...]:
        return self.parts

    def _join(self, weights: Iterator[Array]) -> Array:
        return ops.reshape(ops.concatenate([ops.reshape(w, shape=(-1,)) for w in weights]), shape=self.shape)

    def _share(self, cotangent: Array) -> list[Array]:
        return cut(cotangent, [part.placement.shape for part in self.parts])

    def _start_std(self, std: float | None) -> tuple[float, float]:
        whole = default_std(self.shape) if std is None else float(std)
        return whole, whole

    def _joining(self) -> tuple[int, int, int]:
        return 0, 0, 2 * self.weights


def _chunks(count: int, n: int) -> list[int]:
    """Return the lengths of n consecutive chunks of ceil(count / n)."""
    if n > min(count, MAX_PARTS):
        raise SpecError(f"{count} weights split into 1 to {min(count, MAX_PARTS)} chunks, got n = {shown(n)}")
    length = -(-count // n)
    if (n - 1) * length >= count:
        raise SpecError(
            f"{n} chunks of {length} leave none of the {count} weights to the last; take n = {-(-count // length)}"
        )
    return [length] * (n - 1) + [count - (n - 1) * length]

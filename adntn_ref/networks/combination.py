"""What the combinations share: several networks for one weight, or one for several weights.

``Sum`` adds the weights of networks of one shape, ``Split`` gives each chunk of the weight's vector a network of its
own, ``Stack`` cuts several weights out of one network, and ``Delta`` adds to a frozen
weight. Sharing one network between layers, and using several for one, are in Qing et al. (arXiv 2305.06058); the rest
is ours. They nest, up to 20 deep. Each is an easy linear map of its parts' weights, so the adjoint is that map's
transpose followed by the parts' own adjoints.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any, ClassVar

import numpy as np

from adntn_ref.ad import ops
from adntn_ref.ad.arrays import Array
from adntn_ref.ad.tape import is_raw
from adntn_ref.errors import SpecError, StartError
from adntn_ref.networks.base import Network, Params, Pullback, backend_name, check_init, placed
from adntn_ref.networks.brickwall import MAX_BRICKS, BrickWall
from adntn_ref.networks.multilinear import total_cost
from adntn_ref.networks.peaks import peak_bytes
from adntn_ref.networks.programmed import ProgramNetwork
from adntn_ref.program.cost import ITEM_BYTES, Cost, StepCost
from adntn_ref.program.frames import Frames
from adntn_ref.program.modes import MAX_LENGTH, Layout, resolve_layout, shown
from adntn_ref.program.starts import spread

MAX_DEPTH = 20
"""Combinations nested deeper than this are refused."""

MAX_PARTS = 1000
"""More networks than this in one combination, those inside its parts counted, are refused."""

TRIES = 20
CANCELLED = 1e-6
"""Parts that cancel each other to this share are drawn again: those of one entry each do, every other time."""

Read = Callable[[Any], Network]
"""Reads the specification of a part."""

Identity = tuple[tuple[int, ...], str, str]
"""Shape, dtype and sha256 of a frozen weight."""

Bases = Mapping[Identity, Array]
"""Frozen weights by their identity."""


class Combination(Network):
    """A weight that is an affine function of the weights of other networks, its parts."""

    kind: ClassVar[str]
    prefixed: ClassVar[bool] = False
    """Whether the parts' cores are called ``"0.layer0.brick0"`` and so on, or keep their names."""
    several: ClassVar[bool] = False
    """Whether it makes several weights, so that it can be no part of another."""

    @property
    @abstractmethod
    def _parts(self) -> tuple[Network, ...]:
        """The networks, in order."""

    @abstractmethod
    def _join(self, weights: Iterator[Array]) -> Any:
        """Make the weight from those of the parts."""

    @abstractmethod
    def _share(self, cotangent: Any) -> list[Array]:
        """Return the cotangent of each part's weight: the adjoint of ``_join``."""

    @abstractmethod
    def _start_std(self, std: float | None) -> tuple[float, float]:
        """Return the standard deviation of all that the parts make, and that which each part starts with."""

    @abstractmethod
    def _joining(self) -> tuple[int, int, int]:
        """Return operations forward and backward, and entries moved, by ``_join``."""

    @property
    def _named(self) -> list[tuple[str, Network]]:
        return [(f"{k}." if self.prefixed else "", part) for k, part in enumerate(self._parts)]

    @property
    def core_shapes(self) -> dict[str, tuple[int, ...]]:
        """The cores of all parts; those of part k of a ``Sum`` or ``Split`` are called ``"{k}.{name}"``."""
        return {prefix + name: shape for prefix, part in self._named for name, shape in part.core_shapes.items()}

    @property
    def linear(self) -> bool:
        """Whether every part's weight is linear in its cores, so that they may be complex."""
        return all(part.linear for part in self._parts)

    def _split(self, params: Params) -> list[tuple[Network, Params]]:
        return [(part, {name: params[prefix + name] for name in part.core_shapes}) for prefix, part in self._named]

    def _gather(self, found: Iterable[Params]) -> Params:
        pairs = zip(self._named, found, strict=True)
        return {prefix + name: core for (prefix, _), params in pairs for name, core in params.items()}

    def generate(self, params: Params) -> Any:
        """Make the weight (a ``Stack``: the weights, by name); see :meth:`Network.generate`."""
        dtype = self.check_params(params)
        self.require_memory(dtype, backward=not is_raw(*params.values()), backend=backend_name(params))
        return self._join(part.generate(cores) for part, cores in self._split(params))

    def _made(self, params: Params) -> Any:
        return self._join(part._made(cores) for part, cores in self._split(params))

    def _generate(self, params: Params) -> Any:
        return self._join(part._generate(cores) for part, cores in self._split(params))

    def _taped(self, params: Params, schedule: str) -> Any:
        return self._join(part._taped(cores, schedule) for part, cores in self._split(params))

    def _vjp(self, params: Params, schedule: str) -> tuple[Any, Pullback]:
        """Put the weight and its pullback together from those of the parts."""
        pullbacks: list[Pullback] = []

        def made() -> Iterator[Array]:
            for part, cores in self._split(params):
                part.check_params(cores)
                weight, pullback = part._vjp(cores, schedule)
                pullbacks.append(pullback)
                yield weight
                del weight  # hold no more of it than whoever asked for it

        joined = self._join(made())

        def pullback(cotangent: Any) -> Params:
            shares = self._share(cotangent)
            return self._gather(pull(g) for pull, g in zip(pullbacks, shares, strict=True))

        return joined, pullback

    def init(
        self,
        rng: int | np.random.Generator = 0,
        dtype: str = "float64",
        std: float | None = None,
        start: str = "calibrated_orthogonal",
        backend: str | None = None,
    ) -> Params:
        """Draw the parts one after another, and rescale them together so that the weight has exactly ``std``.

        Each of the n parts of a ``Sum`` starts with ``std / sqrt(n)``. The frozen weight of a ``Delta``, here or in a
        part, is left out: ``std`` is that of what can be trained. Other starts than the calibrated one are handed to
        the parts as they are. See :meth:`Network.init`.
        """
        check_init(dtype, std, backend)
        calibrated = start == "calibrated_orthogonal"
        if std is not None and not calibrated:
            raise SpecError(f"std goes with the calibrated start, not with start={start!r}")
        self.require_memory("float64", backward=False)
        generator = np.random.default_rng(rng)
        whole, each = self._start_std(std)
        for _ in range(TRIES):
            drawn = (
                part.init(generator, "float64", each if calibrated else None, start, "numpy") for part in self._parts
            )
            params = self._gather(drawn)
            if not calibrated or len(self._parts) == 1:
                break
            size = spread(self._change(params))
            if CANCELLED * whole < size < np.inf:
                params = self.scaled(params, whole / size)
                break
        else:
            raise StartError(f"in {TRIES} draws the parts of a {self.kind} cancelled each other")
        return placed(params, backend, dtype)

    def _changes(self, params: Params) -> Iterator[Any]:
        """Make the weights of the parts without the frozen ones in them."""
        for part, cores in self._split(params):
            yield part._change(cores) if isinstance(part, Combination) else part.generate(cores)

    def _change(self, params: Params) -> Any:
        """Return the weight without the frozen ones in it."""
        return self._join(self._changes(params))

    def scaled(self, params: Params, factor: float) -> Params:
        """Return parameters for which every part's weight is ``factor`` > 0 times as large."""
        return self._gather(_scaled(part, cores, factor) for part, cores in self._split(params))

    def cost(self, dtype: str = "float32", schedule: str = "keep") -> Cost:
        """Add up the costs of the parts, which run one after another, and that of putting their weights together.

        Backward, the records of all parts are kept at once.
        """
        costs = [part.cost(dtype, schedule) for part in self._parts]
        item = ITEM_BYTES[dtype]
        forward, backward, moved = self._joining()
        steps = [
            replace(step, step=prefix + step.step)
            for (prefix, _), cost in zip(self._named, costs, strict=True)
            for step in cost.steps
        ]
        factor = 2 if dtype.startswith("complex") else 1  # additions, and products with real numbers
        state = self.weights * item
        steps.append(StepCost(self.kind, factor * forward, factor * backward, moved * item, moved * item, state, 0))
        return total_cost(self, dtype, schedule, steps, peak_bytes(self, dtype, schedule))


def _scaled(network: Network, params: Params, factor: float) -> Params:
    """Return parameters whose weight is ``factor`` > 0 times as large; a program scales the cores of its last step."""
    if not isinstance(network, ProgramNetwork):
        found: Params = network.scaled(params, factor)  # type: ignore[attr-defined]
        return found
    program = network.program
    last = (program.frames[-1].core,) if isinstance(program, Frames) else program.all_steps[-1].core_names
    return {name: core * factor ** (1 / len(last)) if name in last else core for name, core in params.items()}


def _depth(network: Network) -> int:
    return 1 + max(map(_depth, network._parts)) if isinstance(network, Combination) else 0


def _count(network: Network) -> int:
    return sum(map(_count, network._parts)) if isinstance(network, Combination) else 1


def _bricks(network: Network) -> int:
    """Return how many bricks there are at most: of all cores, the only ones that a number alone can make many."""
    if isinstance(network, Combination):
        return sum(map(_bricks, network._parts))
    return network.layers * len(network.placement.modes) if isinstance(network, BrickWall) else 0


def check_parts(kind: str, networks: tuple[object, ...]) -> tuple[Network, ...]:
    """Refuse parts that are no networks of one weight, too many of them, or combinations nested too deep."""
    if not 1 <= len(networks) <= MAX_PARTS:
        raise SpecError(f"a {kind} has 1 to {MAX_PARTS} networks, got {len(networks)}")
    parts = []
    for network in networks:
        if not isinstance(network, Network):
            raise SpecError(f"a {kind} is made of networks, got a {type(network).__name__}")
        if isinstance(network, Combination) and network.several:
            raise SpecError(f"a {kind} needs networks of one weight, a {network.kind} makes several")
        parts.append(network)
    if 1 + max(map(_depth, parts)) > MAX_DEPTH:
        raise SpecError(f"combinations nest at most {MAX_DEPTH} deep")
    if (bricks := sum(map(_bricks, parts))) > MAX_BRICKS:
        raise SpecError(f"a {kind} of {bricks} bricks is over {MAX_BRICKS}")
    if (count := sum(map(_count, parts))) > MAX_PARTS:
        raise SpecError(f"a {kind} has 1 to {MAX_PARTS} networks, those inside its parts counted, got {count}")
    return tuple(parts)


def plain(shape: tuple[int, ...]) -> Layout:
    """Return the layout of a weight that is not cut into modes."""
    resolve_layout(shape)  # refuses impossible sizes
    return Layout(shape, shape)


def list_of(value: object, what: str) -> list[Any]:
    """Return a list of at most 1,000 entries of a specification, or raise SpecError naming ``what``."""
    if not isinstance(value, (list, tuple)) or len(value) > MAX_LENGTH:
        raise SpecError(f"{what} must be a list of at most {MAX_LENGTH} entries, got {shown(value)}")
    return list(value)


def cut(weight: Array, shapes: Iterable[tuple[int, ...]]) -> list[Array]:
    """Cut a weight's vector into consecutive pieces of the given shapes."""
    flat, pieces, first = ops.reshape(weight, shape=(-1,)), [], 0
    for shape in shapes:
        piece = ops.getitem(flat, index=slice(first, first + prod(shape)))
        pieces.append(ops.reshape(piece, shape=shape))
        first += prod(shape)
    return pieces

"""Plans for the fused kernels: which tiles a brick-wall of binary modes goes through, and what is done in each.

A tile is a subset of the bits of the state's index: the ``low`` lowest, so that what is read lies together in memory,
and ``high`` neighbouring ones further up. Bricks whose two bits lie in the tile are applied to it in shared memory
(``kernels/tiles.cu``), no matter which values the other bits have: those number the tiles.

A pass does everything that can be done in its tile by then, across activations too. The tiles are gone through to and
fro, and neighbouring ones share two bits more than the low ones. So the pass that ends a layer begins the next one in
the same tile, and with two tiles M layers take M + 1 passes over the state, not 2 M.

Inside a tile the work is cut into rounds: each thread holds the values of four or five neighbouring bits in registers,
and applies a few bricks to them. The adjoint walks the rounds back. It keeps the inputs of rounds in shared memory,
then in a scratch memory that fits the level-2 cache, and makes the others again, along binomial checkpoints.

Everything here is arithmetic on small integers and runs without a GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from adntn_ref.program.schedule import split

ENTRIES = 16
"""Entries of a brick on two binary modes."""
SECTOR = 32
"""Bytes that a GPU's memory moves at least."""
THREADS = 256
"""Most threads of a block."""
WARP = 32
AGAIN = 2
"""A pass takes in another layer while the rounds that its adjoint runs forward are at most this times its rounds."""
FORWARD, BACK, LOSS = 0, 1, 2


@dataclass(frozen=True)
class Brick:
    """Brick number ``number`` of the network, on the bits ``bit + 1`` (its left mode) and ``bit`` of the index."""

    number: int
    bit: int


@dataclass(frozen=True)
class Layer:
    """An activation, if ``activate``, and bricks after it in an order in which they may be applied."""

    activate: bool
    bricks: tuple[Brick, ...]


@dataclass(frozen=True)
class Tile:
    """The bits [0, low) and [shift, shift + high) of the index."""

    low: int
    shift: int
    high: int

    @property
    def bits(self) -> int:
        """Bits of an index within the tile."""
        return self.low + self.high

    def local(self, bit: int) -> int | None:
        """Return where a bit of the state's index stands within the tile's index, or None if it is outside."""
        if bit < self.low:
            return bit
        return bit - self.shift + self.low if self.shift <= bit < self.shift + self.high else None

    def holds(self, brick: Brick) -> bool:
        """Return whether both bits of a brick lie in the tile, side by side."""
        below, above = self.local(brick.bit), self.local(brick.bit + 1)
        return below is not None and above == below + 1


@dataclass(frozen=True)
class Round:
    """An activation, if ``activate``, and bricks on the ``window`` bits of a tile's index from ``at`` on.

    ``bricks`` are (bit counted from ``at``, number among the bricks of the pass).
    """

    activate: bool
    at: int
    bricks: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Op:
    """A step of a walk back: run a round from slot ``source`` to slot ``target``, or carry the cotangent through it."""

    kind: int
    round: int
    source: int
    target: int


@dataclass(frozen=True)
class Pass:
    """One pass over the state: its tile, the network's numbers of its bricks, its rounds."""

    tile: Tile
    bricks: tuple[int, ...]
    rounds: tuple[Round, ...]


@dataclass(frozen=True)
class Limits:
    """What a device and a dtype allow.

    ``shared`` bytes of shared memory a block may have, ``itemsize`` bytes of a number, ``processors`` that run a block
    each, ``cache`` bytes of level-2 cache.
    """

    shared: int
    itemsize: int
    processors: int = 132
    cache: int = 50 << 20

    @property
    def window(self) -> int:
        """Bits of the values that a thread holds in registers: 128 bytes of them."""
        return 5 if self.itemsize == 4 else 4

    @property
    def most(self) -> int:
        """Most bricks of a round."""
        return self.window - 1

    def threads(self, bits: int) -> int:
        """Return the threads of a block: one for each group of values, whole warps."""
        return min(THREADS, max(WARP, 1 << (bits - self.window)))

    def cores(self, bits: int, bricks: int) -> int:
        """Return the bytes of a pass's cores, and of the room for sums."""
        return self.itemsize * ENTRIES * (bricks + self.most * self.threads(bits) // WARP)

    def slots(self, bits: int, bricks: int) -> int:
        """Return how many tiles of the state fit the shared memory beside that of the cotangent."""
        return (self.shared - self.cores(bits, bricks)) // (self.itemsize << bits) - 1

    def spilled(self, bits: int) -> int:
        """Return how many more tiles a block may keep in scratch memory: half of the level-2 cache for all blocks."""
        return self.cache // 2 // (self.processors * (self.itemsize << bits))


@lru_cache(maxsize=256)
def passes_of(bits: int, layers: tuple[Layer, ...], limits: Limits) -> tuple[Pass, ...]:
    """Plan the passes of a brick-wall on a state of 2^bits entries.

    Of all sizes of tiles that leave room for two states and a cotangent, those with the fewest passes; then those that
    read whole sectors; then the smallest, so that more blocks run side by side.

    Returns
    -------
    tuple of Pass
        Empty where not even the smallest tile fits the shared memory.
    """
    sector = (SECTOR // limits.itemsize).bit_length() - 1
    found = []
    for run in (sector, sector - 1):  # half a sector as well: its other half is read by the neighbouring block
        for size in range(limits.window, max(limits.window, bits) + 1):
            tiles = tiles_of(bits, size, run)
            if tiles is None or limits.slots(size, 2 * size) < 2:
                continue
            for turned in (tiles, tiles[::-1]):
                planned = _passes(layers, turned, limits)
                if planned is not None:
                    found.append(((len(planned), -run, size), planned))
    return min(found, key=lambda option: option[0])[1] if found else ()


def tiles_of(bits: int, size: int, run: int) -> tuple[Tile, ...] | None:
    """Return tiles of ``size`` bits that cover all bits, from the lowest up; neighbours share two bits.

    Each but the first takes the ``run`` lowest bits too. None where there is no progress from one to the next.

    Examples
    --------
    >>> [(tile.shift, tile.high) for tile in tiles_of(24, 14, 2)]
    [(2, 12), (12, 12)]
    """
    tiles = [Tile(run, run, size - run)]
    end = size
    while end < bits:
        # The tile on top takes bits further down rather than none, and none that is below the lowest ones.
        shift = max(run, min(end - 2, bits - (size - run)))
        high = min(size - run, bits - shift)
        if shift + high <= end:
            return None
        tiles.append(Tile(run, shift, high))
        end = shift + high
    return tuple(tiles)


def _passes(layers: tuple[Layer, ...], tiles: Sequence[Tile], limits: Limits) -> tuple[Pass, ...] | None:
    """Go through the tiles to and fro, doing in each what can be done, until all is done."""
    order = [*tiles, *tiles[-2:0:-1]] if len(tiles) > 1 else list(tiles)
    left, begun, at = [list(layer.bricks) for layer in layers], [not layer.activate for layer in layers], 0
    passes: list[Pass] = []
    idle = turn = 0
    while at < len(layers):
        tile = order[turn % len(order)]
        turn, work = turn + 1, _Work(tile, limits)
        while at < len(layers):
            take, rest = available(left[at], tile)
            if not take or not work.add(take, not begun[at]):
                break
            left[at], begun[at] = rest, True
            if rest:
                break
            at += 1
        idle = 0 if work.numbers else idle + 1
        if idle > len(order):
            return None
        if work.numbers:
            passes.append(Pass(tile, tuple(work.numbers), tuple(work.rounds)))
    return tuple(passes)


def available(bricks: Sequence[Brick], tile: Tile) -> tuple[list[Brick], list[Brick]]:
    """Return the bricks that can be applied in a tile, given what is left in order, and the others.

    A brick can where it lies in the tile and no brick before it that stays behind touches its bits.
    """
    take, rest, blocked = [], [], set[int]()
    for brick in bricks:
        if tile.holds(brick) and not blocked & {brick.bit, brick.bit + 1}:
            take.append(brick)
        else:
            rest.append(brick)
            blocked |= {brick.bit, brick.bit + 1}
    return take, rest


class _Work:
    """What a pass does, as it grows."""

    def __init__(self, tile: Tile, limits: Limits) -> None:
        self.tile, self.limits = tile, limits
        self.numbers: list[int] = []
        self.rounds: list[Round] = []

    def add(self, bricks: list[Brick], activate: bool) -> bool:
        """Append the rounds of some bricks; or return False where the adjoint of so many would run too much again."""
        rounds = self.rounds + rounds_of(bricks, self.tile, activate, len(self.numbers), self.limits)
        grown = Pass(self.tile, (*self.numbers, *(brick.number for brick in bricks)), tuple(rounds))
        if self.numbers:
            slots = sum(slots_for(grown, self.limits))
            if slots < 2 or len(walk_back(len(rounds), slots)) > (1 + AGAIN) * len(rounds):
                return False
        self.numbers, self.rounds = list(grown.bricks), rounds
        return True


def rounds_of(bricks: Sequence[Brick], tile: Tile, activate: bool, number: int, limits: Limits) -> list[Round]:
    """Cut bricks, given in order, into rounds: each at the place where most of those that are left can be applied."""
    numbers = {brick: number + k for k, brick in enumerate(bricks)}
    left, rounds = list(bricks), []
    while left:
        options = []
        for at in range(tile.bits - limits.window + 1):
            window = range(at, at + limits.window - 1)
            take = _unblocked(left, [brick for brick in left if _local(tile, brick) in window])[: limits.most]
            options.append((len(take), -at, take))
        _, at, take = max(options, key=lambda option: option[:2])
        placed = tuple((_local(tile, brick) + at, numbers[brick]) for brick in take)
        rounds.append(Round(activate, -at, placed))
        left = [brick for brick in left if brick not in take]
        activate = False
    return rounds


def _local(tile: Tile, brick: Brick) -> int:
    place = tile.local(brick.bit)
    assert place is not None
    return place


def _unblocked(bricks: Sequence[Brick], inside: Sequence[Brick]) -> list[Brick]:
    take, blocked = [], set[int]()
    for brick in bricks:
        if brick in inside and not blocked & {brick.bit, brick.bit + 1}:
            take.append(brick)
        else:
            blocked |= {brick.bit, brick.bit + 1}
    return take


@lru_cache(maxsize=1024)
def walk_back(rounds: int, slots: int, loss: bool = False) -> tuple[Op, ...]:
    """Return the steps that carry a cotangent back through rounds, with ``slots`` tiles for states.

    Slot 0 holds the input of round 0. With ``loss``, the state after the last round is made as well and a step LOSS on
    it comes before the way back, so that the forward run and the adjoint share their states.

    Examples
    --------
    >>> ["FBL"[op.kind] + str(op.round) for op in walk_back(3, 2)]
    ['F0', 'F1', 'B2', 'F0', 'B1', 'B0']
    """
    ops: list[Op] = []
    last = rounds + loss

    def carry(first: int, end: int, slot: int, free: tuple[int, ...]) -> None:
        while end - first > 1:
            middle = first + split(end - first, len(free) - 1) if len(free) > 1 else end - 1
            for k in range(first, middle):
                # On the way in the last slot, which is in shared memory; only what is kept may go to scratch memory.
                ops.append(Op(FORWARD, k, slot if k == first else free[-1], free[0] if k == middle - 1 else free[-1]))
            carry(middle, end, free[0], free[1:])
            end = middle
        if first == rounds:
            ops.append(Op(LOSS, 0, slot, slot))
        else:
            ops.append(Op(BACK, first, slot, slot))

    carry(0, last, 0, tuple(range(1, slots)))
    return tuple(ops)


def slots_for(one: Pass, limits: Limits) -> tuple[int, int]:
    """Return how many tiles of the state the adjoint of a pass keeps in shared memory, and in scratch memory."""
    shared = max(0, min(len(one.rounds), limits.slots(one.tile.bits, len(one.bricks))))
    return shared, min(len(one.rounds) - shared, limits.spilled(one.tile.bits))


def whole_rounds(bits: int, layers: Sequence[Layer], limits: Limits) -> list[Round]:
    """Return the rounds of a whole network in one tile; the bricks in them are numbered as in the network."""
    tile, found = Tile(0, 0, max(bits, limits.window)), list[Round]()
    for layer in layers:
        for one in rounds_of(layer.bricks, tile, layer.activate, 0, limits):
            placed = tuple((bit, layer.bricks[k].number) for bit, k in one.bricks)
            found.append(Round(one.activate, one.at, placed))
    return found


def round_table(rounds: Sequence[Round], most: int) -> list[int]:
    """Return rounds as the kernels read them, 3 + 2 most integers each."""
    table: list[int] = []
    for one in rounds:
        bricks = [number for brick in one.bricks for number in brick]
        table += [int(one.activate), one.at, len(one.bricks), *bricks, *[0] * (2 * most - len(bricks))]
    return table


def walk_table(ops: Sequence[Op]) -> list[int]:
    """Return the steps of a walk as the kernels read them, 4 integers each."""
    return [number for op in ops for number in (op.kind, op.round, op.source, op.target)]

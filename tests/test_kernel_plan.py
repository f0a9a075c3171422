"""Plans of the fused kernels: every brick once and in order, all fits, walks back visit what they need."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.backends.fused_tiles import bind, wall_of
from adntn_ref.backends.kernel_plan import (
    BACK,
    FORWARD,
    LOSS,
    SECTOR,
    Brick,
    Layer,
    Limits,
    Pass,
    available,
    passes_of,
    rounds_of,
    slots_for,
    tiles_of,
    walk_back,
    whole_rounds,
)
from adntn_ref.program.steps import Program

H200 = 227 * 1024
A100 = 163 * 1024
DEVICES = [Limits(shared, itemsize) for shared in (H200, A100) for itemsize in (4, 8)]
IDS = [f"{limits.shared >> 10}K-{limits.itemsize}" for limits in DEVICES]


def layers_of(bits: int, layers: int, first: str = "odd", every: str = "layer") -> tuple[Layer, ...]:
    """The bricks of a brick-wall without building its network, so that 2^40 entries are no matter."""
    columns = [(m, side) for m in range(layers) for side in ("even", "odd") if not (m == 0 and side < first)]
    columns = [(m, side) for m, side in columns if bits > 2 or side == "even"]
    made: list[Layer] = []
    number = 0
    for k, (m, side) in enumerate(columns):
        pairs = range(0 if side == "even" else 1, bits - 1, 2)
        bricks = tuple(Brick(number + n, bits - 2 - q) for n, q in enumerate(pairs))
        number += len(bricks)
        fresh = k == 0 or every == "column" or columns[k - 1][0] != m
        if fresh:
            made.append(Layer(k > 0, bricks))
        else:
            made[-1] = Layer(made[-1].activate, (*made[-1].bricks, *bricks))
    return tuple(made)


def check_order(layers: tuple[Layer, ...], passes: tuple[Pass, ...], window: int, most: int) -> None:
    """Replay what the passes do on a list of what has touched each bit, against the layers as they are written."""
    of_number = {brick.number: (m, brick) for m, layer in enumerate(layers) for brick in layer.bricks}
    done: list[int] = []
    activated = [m for m, layer in enumerate(layers) if not layer.activate]
    for one in passes:
        for part in one.rounds:
            assert part.bricks
            assert len(part.bricks) <= most
            assert 0 <= part.at <= one.tile.bits - window
            if part.activate:
                done_by_layer = [sum(of_number[n][0] == m for n in done) for m in range(len(layers))]
                m = next(m for m in range(len(layers)) if m not in activated)
                assert all(done_by_layer[k] == len(layers[k].bricks) for k in range(m)), (
                    "sigma before its layer is done"
                )
                assert not any(done_by_layer[m:])
                activated.append(m)
            for bit, local in part.bricks:
                m, brick = of_number[one.bricks[local]]
                assert m in activated
                assert 0 <= bit <= window - 2
                assert one.tile.local(brick.bit) == part.at + bit
                assert one.tile.local(brick.bit + 1) == part.at + bit + 1
                done.append(brick.number)
        assert len(set(one.bricks)) == len(one.bricks)
    assert sorted(done) == sorted(of_number), "every brick once"
    for m, layer in enumerate(layers):
        order = [n for n in done if of_number[n][0] == m]
        for k, brick in enumerate(layer.bricks):
            before = [b.number for b in layer.bricks[:k] if abs(b.bit - brick.bit) < 2]
            assert all(order.index(n) < order.index(brick.number) for n in before), "a brick before one it stands on"


@pytest.mark.parametrize("limits", DEVICES, ids=IDS)
@pytest.mark.parametrize("bits", [*range(2, 29), 32, 36, 40])
def test_every_brick_once_and_in_order(bits: int, limits: Limits) -> None:
    for layers in (
        layers_of(bits, 3),
        layers_of(bits, 2, first="even"),
        layers_of(bits, 3, every="column"),
    ):
        if not layers:
            continue
        passes = passes_of(bits, layers, limits)
        assert passes
        check_order(layers, passes, limits.window, limits.most)
        for one in passes:
            tile = one.tile
            assert tile.shift >= tile.low
            assert tile.shift + tile.high <= max(bits, limits.window)
            assert tile.low >= (SECTOR // limits.itemsize).bit_length() - 2, "at least half a sector at once"
            bound = bind(one, bits, limits, 0)
            assert bound.back_shared <= limits.shared
            assert bound.forward_shared <= limits.shared
            assert bound.slots >= 2 or len(one.rounds) == 1
            assert bound.blocks * bound.spilled * limits.itemsize << tile.bits <= limits.cache
            assert bound.threads % 32 == 0


@given(st.integers(2, 12), st.integers(1, 4), st.sampled_from(["even", "odd"]), st.booleans(), st.integers(11, 18))
def test_small_memories(bits: int, layers: int, first: str, column: bool, shared: int) -> None:
    """Memories so small that even small states go through several tiles."""
    limits = Limits(1 << shared, 8)
    made = layers_of(bits, layers, first, "column" if column else "layer")
    if not made:
        return
    passes = passes_of(bits, made, limits)
    assert passes or shared < 12, "the smallest tiles hold three times 128 bytes and some cores"
    if passes:
        check_order(made, passes, limits.window, limits.most)
        assert all(bind(one, bits, limits, 0).back_shared <= limits.shared for one in passes)


@pytest.mark.parametrize(("itemsize", "largest"), [(4, 24), (8, 23)])
def test_layers_share_passes(itemsize: int, largest: int) -> None:
    """With two tiles, M layers take M + 1 passes over the state, as far up as two tiles cover the bits."""
    limits = Limits(H200, itemsize)
    for bits in range(16, largest + 1):
        assert len(passes_of(bits, layers_of(bits, 8), limits)) == 9, bits
    assert len(passes_of(largest + 1, layers_of(largest + 1, 8), limits)) > 9


def test_a_wall_of_2_to_24_entries() -> None:
    limits = Limits(H200, 4)
    passes = passes_of(24, layers_of(24, 8), limits)
    assert {one.tile.bits for one in passes} == {14}
    assert {one.tile.low for one in passes} == {2}
    for one in passes:
        ops = walk_back(len(one.rounds), sum(slots_for(one, limits)))
        assert len(one.rounds) <= 7
        assert len(ops) <= 15, "at most one round is run twice"


def test_too_little_memory_gives_no_plan() -> None:
    assert passes_of(10, layers_of(10, 2), Limits(1000, 8)) == ()


def test_tiles_of_no_progress() -> None:
    assert tiles_of(20, 4, 3) is None
    for bits in range(6, 30):
        for size in range(6, bits + 1):
            tiles = tiles_of(bits, size, 2)
            if tiles is not None:
                covered = [{t.local(b) is not None for b in range(bits)} for t in tiles]
                assert all(covered)
                for b in range(bits - 1):
                    assert any(t.holds(Brick(0, b)) for t in tiles), (bits, size, b)


def test_a_brick_waits_for_what_it_stands_on() -> None:
    layers = layers_of(6, 1, first="even")
    tiles = tiles_of(6, 5, 2)
    assert tiles is not None
    take, rest = available(layers[0].bricks, tiles[0])
    assert [brick.bit for brick in take] == [2, 0, 1]
    assert [brick.bit for brick in rest] == [4, 3]


@given(st.integers(1, 40), st.integers(2, 12), st.booleans())
def test_walks_back(rounds: int, slots: int, loss: bool) -> None:
    """Replay a walk: each step finds the state it needs in its slot, and the way back misses no round."""
    held: dict[int, int] = {0: 0}
    back = []
    for op in walk_back(rounds, slots, loss):
        assert 0 <= op.source < slots
        assert 0 <= op.target < slots
        assert held[op.source] == (rounds if op.kind == LOSS else op.round)
        if op.kind == FORWARD:
            held[op.target] = op.round + 1
        else:
            back.append((op.kind, op.round))
            del held[op.source]  # the last use of its slot, and of those after it: the kernel fetches inputs into them
            assert all(slot < op.source or state > op.round for slot, state in held.items())
    assert back == [(LOSS, 0)] * loss + [(BACK, k) for k in range(rounds - 1, -1, -1)]


def test_walks_that_keep_everything_run_nothing_again() -> None:
    for rounds in range(2, 20):
        assert len(walk_back(rounds, rounds)) == 2 * rounds - 1
        assert len(walk_back(rounds, rounds + 1, loss=True)) == 2 * rounds + 1


def test_rounds_hold_as_many_bricks_as_they_can() -> None:
    """The first window of five bits has four bricks of two columns; none is left behind."""
    limits = Limits(H200, 4)
    layers = layers_of(14, 1, first="even")
    rounds = whole_rounds(14, layers, limits)
    assert sum(len(one.bricks) for one in rounds) == 13
    assert len(rounds) <= 5
    tiles = tiles_of(14, 14, 3)
    assert tiles is not None
    assert rounds_of(layers[0].bricks, tiles[0], False, 0, limits) == rounds


NETS: list[Any] = [
    ar.BrickWall((64,), layers=2),
    ar.BrickWall((64,), layers=2, boundary="trainable"),
    ar.BrickWall((50,), layers=3, activation_every="column"),
    ar.BrickWall((128,), layers=3, activation="identity"),
]


@pytest.mark.parametrize("net", NETS, ids=repr)
def test_walls_read_from_programs(net: Any) -> None:
    wall = wall_of(net.program)
    assert not isinstance(wall, str)
    names = [name for step in net.program.steps for name in getattr(step, "core_names", ())]
    assert sorted(wall.names) == sorted(names)
    assert [b.number for layer in wall.layers for b in layer.bricks] == list(range(len(names)))
    for layer in wall.layers:
        for brick in layer.bricks:
            assert wall.names[brick.number].endswith(f"brick{wall.bits - 2 - brick.bit}")
    assert wall.activation == net.activation
    entries = sum(net.core_shapes[f.name][0] ** len(f.dims) for f in net.program.start.factors if f.name)
    assert max(at + (1 << bits) for at, _, bits in wall.factors) == entries


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (ar.BrickWall((36,), layers=2, modes=(6, 6)), "modes of size 2"),
        (ar.BrickWall((4,), layers=1), "a brick in every layer"),
        (ar.TTN((64,), chi=2), "columns of neighbouring pairs"),
        (ar.MERA((64,), chi=2, periodic=True), "columns of neighbouring pairs"),
    ],
)
def test_what_is_no_wall_says_why(net: Any, reason: str) -> None:
    found = wall_of(net.program)
    assert isinstance(found, str)
    assert reason in found


def test_two_activations_are_no_wall() -> None:
    one, other = (ar.BrickWall((64,), layers=2, activation=name).program for name in ("tanh", "relu"))
    found = wall_of(Program(one.start, (*one.steps, other.steps[1], *one.steps)))
    assert found == "the tile kernels take one activation, not several"

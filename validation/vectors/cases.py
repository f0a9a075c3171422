"""The list of cases: which networks, with which numbers, and what each is for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import log2, prod
from typing import Any
from zlib import crc32

import numpy as np

from adntn_ref import networks as nets
from adntn_ref.ad.activations import ACTIVATIONS

from ..case import Array, Case, with_frozen

Wall = nets.BrickWall
_APPLIED = re.compile(r"(^|\.)(layer|node|mix)\d")


@dataclass(frozen=True)
class Entry:
    """A case before its numbers are drawn; ``numbers`` is "normal", or "integers" of -1, 0 and 1."""

    name: str
    network: nets.Network
    note: str
    dtype: str = "float64"
    numbers: str = "normal"

    @property
    def seed(self) -> int:
        """The seed of the case: the CRC-32 of its name, so that a new case moves no other."""
        return crc32(self.name.encode())


class Numbers:
    """Numbers made of the raw 64-bit words of PCG64, which every NumPy gives alike on every machine.

    A *normal* number is ``7 (a + b + c + d - 131070) / 2^18`` of the four 16-bit pieces of a word: mean 0, standard
    deviation 1.01, and 21 bits long, so that it is the same number in float32 and float64.
    """

    def __init__(self, seed: int) -> None:
        self.words = np.random.PCG64(seed)

    def draw(self, shape: tuple[int, ...], numbers: str = "normal", dtype: str = "float64") -> Array:
        """Return an array of numbers, one word each; for complex dtypes all real parts, then all imaginary ones."""
        if dtype.startswith("complex"):
            parts = self.draw(shape, numbers), self.draw(shape, numbers)
            return np.asarray(parts[0] + 1j * parts[1], dtype)
        words = np.asarray(self.words.random_raw(prod(shape)), np.uint64)
        if numbers == "integers":
            found = (words % np.uint64(3)).astype(np.int64) - 1
            return found.astype(dtype).reshape(shape)
        pieces = np.sum([(words >> np.uint64(16 * k)) & np.uint64(0xFFFF) for k in range(4)], axis=0).astype(np.int64)
        return np.asarray(np.ldexp(7.0 * (pieces - 131070), -18).reshape(shape), dtype)


def made(entry: Entry) -> Case:
    """Draw the numbers of a case: the cores in their order, then the cotangent.

    Normal cores that are applied to a state (bricks, nodes, mixing cores) are scaled by the power of two nearest to
    ``1 / sqrt(inputs)``, which keeps states of about size 1.
    """
    numbers, net = Numbers(entry.seed), entry.network
    params = {}
    for name, shape in net.core_shapes.items():
        applied = entry.numbers == "normal" and _APPLIED.search(name)
        scale = 2.0 ** -round(log2(prod(shape[2:])) / 2) if applied else 1.0
        params[name] = np.asarray(numbers.draw(shape, entry.numbers, entry.dtype) * scale, entry.dtype)
    draw = partial(numbers.draw, numbers=entry.numbers, dtype=entry.dtype)
    cotangent: Any = (
        {name: draw(shape) for name, shape in net.shapes}
        if isinstance(net, nets.Stack)
        else draw(tuple(net.placement.shape))
    )
    return Case(entry.name, net.to_spec(), with_frozen(net, params), cotangent, entry.note)


def entries() -> list[Entry]:
    """Return every case, in the order of the file."""
    found = [*_walls(), *_walls_elsewhere(), *_trees(), *_node_trees(), *_shallow(), *_combinations()]
    names = [entry.name for entry in found]
    assert len(set(names)) == len(names)
    return found


def _walls() -> Iterator[Entry]:
    name = "brickwall/{}".format
    yield Entry(name("one-brick"), Wall((4,), 1), "one stored slice and nothing else: the weight is the parameter")
    yield Entry(name("one-brick-trainable"), Wall((2, 2), 1, boundary="trainable"), "two vectors and one full brick")
    yield Entry(name("one-brick-three-layers"), Wall((3,), 3, activation="tanh"), "Q = 2: a layer is one column")
    yield Entry(
        name("one-brick-column"),
        Wall((2, 2), 3, activation="tanh", activation_every="column"),
        "columns without a brick do not count: the same as an activation after every layer",
    )
    yield Entry(name("one-layer"), Wall((3, 5), 1), "M = 1: no activation, the weight is linear in every core")
    yield Entry(
        name("one-layer-column"),
        Wall((3, 5), 1, activation="tanh", activation_every="column"),
        "M = 1, and yet an activation, between the columns",
    )
    for activation in ACTIVATIONS:
        note = f"{activation}, odd Q, two entries of padding; the half of a slice that is never read has gradient 0"
        yield Entry(name(f"odd-q5-{activation}"), Wall((5, 6), 3, activation=activation), note)
    yield Entry(name("even-q4-tanh"), Wall((3, 5), 3, activation="tanh"), "even Q, one entry of padding")
    yield Entry(name("odd-q3-silu"), Wall((2, 3), 2, activation="silu"), "the smallest odd Q")
    yield Entry(name("no-padding"), Wall((4, 8), 2, activation="sigmoid"), "P = N")
    for activation in ("relu", "tanh"):
        net = Wall((3, 5), 2, activation=activation, boundary="trainable")
        yield Entry(name(f"trainable-{activation}"), net, "trainable start vectors: the first bricks are full ones")
    yield Entry(name("trainable-odd"), Wall((5, 5), 2, None, "sin", "trainable"), "trainable start vectors, odd Q")
    for activation in ("relu", "gelu"):
        net = Wall((5, 5), 2, None, activation, "constant", "column")
        yield Entry(name(f"column-{activation}"), net, "an activation after every column but the last; odd Q")
    yield Entry(name("column-trainable"), Wall((3, 5), 2, None, "tanh", "trainable", "column"), "both options")
    for activation in ("relu", "leaky_relu"):
        net = Wall((4, 4), 3, (2, 2, 2, 2), activation, "trainable", "column")
        note = f"{activation} meets pre-activations that are exactly 0: the derivative there is that of the left side"
        yield Entry(name(f"zeros-{activation}"), net, note, numbers="integers")
    yield Entry(name("deep-12-tanh"), Wall((3, 5), 12, activation="tanh"), "twelve layers")
    yield Entry(name("deep-12-leaky_relu"), Wall((3, 3), 12, (3, 3), "leaky_relu"), "twelve layers on two modes")
    yield Entry(name("ten-modes"), Wall((30, 30), 2), "Q = 10, 124 entries of padding")
    for dtype in ("float32", "complex64", "complex128"):
        activation = "relu" if dtype == "float32" else "identity"
        net = Wall((5, 6), 3, activation=activation)
        note = "the numbers given are exact in double precision" if dtype == "float32" else "no conjugate on the weight"
        yield Entry(name(f"odd-q5-{dtype}"), net, note, dtype)
    net = Wall((3, 4), 2, activation="identity", boundary="trainable")
    yield Entry(name("trainable-complex128"), net, "gradients are dL/dRe + i dL/dIm", "complex128")


def _walls_elsewhere() -> Iterator[Entry]:
    name = "brickwall/{}".format
    modes: Any
    for modes, shape in (((2, 3, 5), (4, 7)), ((5, 2, 3), (4, 7)), ((4, 3, 2, 2), (5, 9))):
        label = "-".join(map(str, modes))
        yield Entry(name(f"modes-{label}"), Wall(shape, 3, modes, "tanh"), "modes of several sizes, none in two places")
    yield Entry(name("modes-1-3-1-4"), Wall((3, 4), 2, (1, 3, 1, 4), "tanh", "trainable"), "modes of size 1")
    yield Entry(name("modes-3-1-2"), Wall((5,), 2, (3, 1, 2), "gelu"), "a mode of size 1 in the middle, odd Q")
    yield Entry(name("modes-all-one"), Wall((1,), 2, (1, 1, 1), "sin"), "every mode of size 1: all cores are numbers")
    yield Entry(name("scalar"), Wall((1,), 2, activation="tanh"), "a weight of one entry, three of padding")
    yield Entry(name("much-padding"), Wall((5,), 2, (4, 4), "tanh"), "five entries of sixteen")
    yield Entry(name("vector"), Wall((13,), 2, activation="silu"), "a weight with one axis")
    yield Entry(name("kernel"), Wall((3, 2, 3), 2, activation="tanh"), "a weight with three axes, flat")
    tanh = partial(Wall, layers=2, activation="tanh")
    yield Entry(name("axes"), tanh((3, 5), layout="axes"), "rows 2 x 2, columns 2 x 2 x 2, padding in both")
    yield Entry(name("axes-kernel"), tanh((3, 2, 3), layout="axes"), "three axes: three rows, six columns")
    net = tanh((5, 3), layout="axes", row_modes=(2, 3), col_modes=(3,))
    yield Entry(name("axes-mixed"), net, "row modes 2, 3 and column mode 3")
    yield Entry(name("interleaved"), tanh((3, 9), layout="interleaved"), "more column modes than row modes")
    net = tanh((11, 3), layout="interleaved", row_modes=(3, 2, 2), col_modes=(3,))
    yield Entry(name("interleaved-mixed"), net, "more row modes than column modes; one row of padding")


def _trees() -> Iterator[Entry]:
    shapes = {4: (3, 5), 5: (5, 6), 6: (7, 9), 7: (10, 12), 8: (14, 15)}
    kinds = {"ttn": nets.TTN, "attn": nets.ATTN, "mera": nets.MERA}
    for kind, make in kinds.items():
        yield Entry(f"{kind}/two-modes", make((2, 2), 3), "the root alone is the weight")
        for q, shape in shapes.items():
            if q == 5 or (kind != "ttn" and q > 5) or q == 4:
                yield Entry(f"{kind}/q{q}-chi2", make(shape, 2), f"{q} binary modes, padding, bonds of 2")
        yield Entry(f"{kind}/q5-chi3", make((5, 6), 3), "an inner bond of 3")
        yield Entry(f"{kind}/chi1", make((5, 6), 1), "every inner bond of size 1; a leaf's stays its mode")
        yield Entry(f"{kind}/chi99", make((3, 5), 99), "bonds capped by the modes under and outside them")
        yield Entry(f"{kind}/modes-3-1-2-4", make((5, 4), 2, (3, 1, 2, 4)), "modes of several sizes, one of size 1")
        yield Entry(f"{kind}/float32", make((5, 6), 2), "single precision", "float32")
        yield Entry(f"{kind}/complex128", make((3, 5), 2, activation="identity"), "complex cores", "complex128")
    for activation in ACTIVATIONS:
        yield Entry(
            f"mera/q5-{activation}", nets.MERA((5, 5), 2, activation=activation), f"{activation} after each depth"
        )
    yield Entry("ttn/axes", nets.TTN((5, 6), 3, layout="axes"), "rows, then columns")
    yield Entry("attn/interleaved", nets.ATTN((5, 6), 3, layout="interleaved"), "row, column, row, column, ...")
    yield Entry("ttn/q12-chi2", nets.TTN((9, 7), 2, (2, 1, 2, 1, 2, 2, 1, 2, 1, 1, 2, 1)), "five depths")
    for q, shape in shapes.items():
        periodic = nets.MERA(shape, 2, periodic=True)
        yield Entry(f"mera/periodic-q{q}", periodic, "the last and the first index mix where both are free")
    net = nets.MERA((5, 7), 3, (3, 2, 3, 2), periodic=True)
    yield Entry(
        "mera/periodic-modes-3-2-3-2", net, "the pair around the ends has sizes 2 and 3: the last is the left one"
    )
    yield Entry("mera/relu-zeros", nets.MERA((4, 4), 3, activation="relu"), "pre-activations of 0", numbers="integers")


def _node_trees() -> Iterator[Entry]:
    at_nodes = partial(nets.TTN, activation_site="node")
    for activation in ("tanh", "relu", "sin", "identity"):
        net = at_nodes((5, 6), 2, activation=activation)
        yield Entry(
            f"ttn/node-q5-{activation}", net, f"frames from the leaves, {activation} at every node but the root"
        )
    yield Entry("ttn/node-chi1", at_nodes((3, 5), 1), "frames of one column")
    yield Entry("ttn/node-modes", at_nodes((5, 7), 3, (3, 2, 1, 2, 3)), "modes of several sizes")
    yield Entry("ttn/node-two-modes", at_nodes((3,), 2), "the root alone")
    yield Entry("ttn/node-axes", at_nodes((3, 6), 2, layout="axes", activation="gelu"), "rows, then columns")


def _shallow() -> Iterator[Entry]:
    yield Entry("lowrank/rank2", nets.LowRank((4, 5), 2), "W = left @ right")
    yield Entry("lowrank/rank1", nets.LowRank((3, 4), 1), "an outer product")
    yield Entry("lowrank/kernel", nets.LowRank((3, 2, 3), 2), "columns are all axes but the first")
    yield Entry("lowrank/complex128", nets.LowRank((3, 4), 2), "complex cores", "complex128")
    train = nets.TensorTrain
    yield Entry("tt/chi2", train((5, 6), 2), "padding")
    yield Entry("tt/chi1", train((3, 5), 1), "every bond of size 1")
    yield Entry("tt/chi99", train((4, 7), 99, (2, 3, 5)), "bonds capped by what stands to their left and right")
    yield Entry("tt/modes-3-1-2-2", train((2, 5), 2, (3, 1, 2, 2)), "a mode of size 1")
    yield Entry("tt/two-modes", train((7,), 2, (4, 2)), "two cores")
    yield Entry("tt/axes", train((3, 5), 2, layout="axes"), "rows, then columns")
    yield Entry("tt/interleaved", train((3, 9), 3, layout="interleaved"), "row, column, row, column, ...")
    yield Entry("tt/complex64", train((3, 4), 2), "complex cores", "complex64")
    yield Entry(
        "mpo/chi3", nets.MPO((3, 5), 3), "more column modes than row modes: the rows get a mode of 1 at the end"
    )
    yield Entry("mpo/chi1", nets.MPO((4, 4), 1), "a Kronecker product")
    yield Entry("mpo/mixed", nets.MPO((5, 7), 2, (3, 2), (2, 2, 2)), "row modes 3, 2, 1 and column modes 2, 2, 2")
    yield Entry("mpo/more-rows", nets.MPO((11, 2), 2, (2, 3, 2), (2,)), "more row modes than column modes")
    yield Entry("mpo/float32", nets.MPO((6, 4), 4, (3, 2), (2, 2)), "no padding", "float32")
    yield Entry("cp/rank3", nets.CP((5, 6), 3), "a sum of three outer products")
    yield Entry("cp/rank1-modes", nets.CP((5, 3), 1, (3, 1, 2, 3)), "one outer product, a mode of size 1")
    yield Entry("cp/axes-complex128", nets.CP((3, 3), 2, layout="axes"), "complex cores", "complex128")
    yield Entry("tucker/ranks-2-1-2", nets.Tucker((5, 3), (2, 1, 2), (4, 2, 2)), "a rank of 1 on a mode of 2")
    yield Entry("tucker/rank2", nets.Tucker((4, 7), 2, (2, 3, 5)), "the same rank for every mode")
    yield Entry("tucker/interleaved", nets.Tucker((3, 6), 2, layout="interleaved"), "row, column, row, column, ...")


def _combinations() -> Iterator[Entry]:
    shape = (4, 6)
    wall, low, train = Wall(shape, 2, activation="tanh"), nets.LowRank(shape, 2), nets.TensorTrain(shape, 2)
    frozen = Numbers(crc32(b"frozen")).draw(shape)
    yield Entry("sum/two", nets.Sum(wall, low), "core k.NAME is NAME of part k")
    yield Entry("sum/nested", nets.Sum(nets.Sum(low, train), nets.MPO(shape, 2)), "a sum in a sum")
    two = nets.Split(shape, 2, partial(Wall, layers=2, activation="sin"))
    yield Entry("split/even", two, "two chunks of twelve")
    tanh = partial(Wall, layers=2, activation="tanh")
    yield Entry("split/walls", nets.Split((2, 5), 3, tanh), "chunks of 4, 4 and 2: ceil(10 / 3), the last one shorter")
    uneven = nets.Split((4, 7), 3, lambda s: tanh(s) if s[0] == 10 else nets.TTN(s, 2))
    yield Entry("split/last-shorter", uneven, "chunks of 10, 10 and 8, of two kinds")
    stacked = {"b": (3, 4), "a": (2, 3, 2)}
    yield Entry("stack/two", nets.Stack(stacked, wall), "the weights in the given order, b before a")
    yield Entry("stack/sum", nets.Stack(stacked, nets.Sum(wall, low)), "a sum for two weights")
    yield Entry("delta/lowrank", nets.Delta(frozen, low, 0.5), "W0 + 0.5 left @ right; W0 has no gradient")
    yield Entry("delta/brickwall", nets.Delta(frozen, wall, -2.0), "a negative alpha")
    yield Entry("delta/in-sum", nets.Sum(nets.Delta(frozen, low, 0.25), train), "a delta as a part of a sum")
    yield Entry("stack/delta", nets.Stack(stacked, nets.Delta(frozen, low)), "a delta for two weights")
    small = Numbers(crc32(b"frozen")).draw(shape, dtype="float32")
    yield Entry("delta/float32", nets.Delta(small, low, 0.75), "W0 in single precision", "float32")

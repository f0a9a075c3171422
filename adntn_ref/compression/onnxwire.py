"""The initializers of an ONNX file, found in its bytes: nothing is made of all else that the file holds.

The package onnx makes objects of everything, which take up to a hundred times the bytes of a file that was written for
that. What is read here are a few fields of protobuf's wire format
(https://protobuf.dev/programming-guides/encoding), of these messages of onnx.proto: ``ModelProto.graph = 7``,
``GraphProto.initializer = 5``, and of ``TensorProto`` ``dims = 1``, ``data_type = 2``, ``name = 8``,
``data_location = 14``.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from adntn_ref.errors import FileFormatError

MAX_FIELDS = 250_000
"""Fields that are looked at; a model of a hundred thousand nodes has fewer, and it takes half a second."""
MAX_DIMS = 64
"""As NumPy's arrays."""
SHOWN = 20
"""Names of other initializers that are kept, for messages."""
VARINT, BYTES = 0, 2
SIZES = {1: 8, 5: 4}
"""Wire type -> bytes of a number of fixed size."""


class Field(NamedTuple):
    """A field at ``data[begin:end]``; ``start`` is where its content begins, ``number`` and ``kind`` are its tag's."""

    number: int
    kind: int
    begin: int
    start: int
    end: int


@dataclass(frozen=True)
class Initializer:
    """A tensor of the graph: its field, and what it says of itself."""

    field: Field
    dims: tuple[int, ...]
    data_type: int


@dataclass(frozen=True)
class Initializers:
    """Where the graph is, those of its tensors that were asked for, and the names of the first of all."""

    graph: Field
    found: dict[str, Initializer]
    names: list[str]


def find(data: bytes, wanted: Collection[str]) -> Initializers:
    """Find the initializers of some names.

    Raises
    ------
    FileFormatError
        For what is no ONNX file, has more fields than 250,000, two graphs, two initializers of a wanted name, or
        weights in a file beside it.
    """
    walk = _Walk(data)
    graphs = [field for field in walk.fields(0, len(data)) if (field.number, field.kind) == (7, BYTES)]
    if len(graphs) != 1:
        raise FileFormatError(f"it has {'two graphs' if graphs else 'no graph'}")
    keys = {name.encode("utf8", "surrogatepass"): name for name in wanted}
    found: dict[str, Initializer] = {}
    names: list[str] = []
    for field in walk.fields(graphs[0].start, graphs[0].end):
        if (field.number, field.kind) != (5, BYTES):
            continue
        name, tensor = walk.tensor(field)
        if len(names) < SHOWN:
            names.append(name.decode("utf8", "replace"))
        if name in keys:
            if keys[name] in found:
                raise FileFormatError(f"it has two initializers called {keys[name]}")
            found[keys[name]] = tensor
    return Initializers(graphs[0], found, names)


def replaced(data: bytes, model: Initializers, tensors: dict[str, bytes]) -> Iterator[bytes]:
    """Yield a file's bytes with other tensors in it, serialised, in the place of initializers that were found."""
    pieces, at = [], model.graph.start
    for name in sorted(tensors, key=lambda name: model.found[name].field.begin):
        field = model.found[name].field
        pieces += [data[at : field.begin], b"\x2a" + as_varint(len(tensors[name])), tensors[name]]
        at = field.end
    pieces.append(data[at : model.graph.end])
    yield data[: model.graph.begin] + b"\x3a" + as_varint(sum(map(len, pieces)))
    yield from pieces
    yield data[model.graph.end :]


def as_varint(value: int) -> bytes:
    """Write a number from 0, seven bits a byte, the lowest first.

    Examples
    --------
    >>> as_varint(300).hex()
    'ac02'
    """
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


class _Walk:
    """Walks through fields, and counts them."""

    def __init__(self, data: bytes) -> None:
        self.data, self.left = data, MAX_FIELDS

    def fields(self, at: int, end: int) -> Iterator[Field]:
        """Yield the fields of a message, without a look into them."""
        while at < end:
            self.left -= 1
            if self.left < 0:
                raise FileFormatError(f"it has more than {MAX_FIELDS:,} fields")
            tag, start = self.varint(at, end)
            number, kind = tag >> 3, tag & 7
            if kind == VARINT:
                stop = self.varint(start, end)[1]
            elif kind == BYTES:
                length, start = self.varint(start, end)
                stop = start + length
            elif kind in SIZES:
                stop = start + SIZES[kind]
            else:
                raise FileFormatError(f"a field at byte {at} is of no known kind")
            if not 0 < number < 2**29 or stop > end:
                raise FileFormatError(f"it is truncated or broken at byte {at}")
            yield Field(number, kind, at, start, stop)
            at = stop

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """Return a number of at most ten bytes, modulo 2^64, and where it ends."""
        if at < end and self.data[at] < 128:  # nearly all of them
            return self.data[at], at + 1
        value = 0
        for k, byte in enumerate(self.data[at : min(end, at + 10)]):
            value |= (byte & 127) << 7 * k
            if byte < 128:
                return value & (2**64 - 1), at + k + 1
        raise FileFormatError(f"it is truncated or broken at byte {at}")

    def tensor(self, field: Field) -> tuple[bytes, Initializer]:
        """Return the name of an initializer, and what it says of itself; of several values the last one counts."""
        name, dims, kind, location = b"", [], 0, 0
        for part in self.fields(field.start, field.end):
            what = (part.number, part.kind)
            if what == (1, VARINT):
                dims.append(self.varint(part.start, part.end)[0])
            elif what == (1, BYTES):
                dims += self.packed(part)
            elif what == (2, VARINT):
                kind = self.varint(part.start, part.end)[0]
            elif what == (8, BYTES):
                name = self.data[part.start : part.end]
            elif what == (14, VARINT):
                location = self.varint(part.start, part.end)[0]
            if len(dims) > MAX_DIMS:
                raise FileFormatError(f"a tensor has more than {MAX_DIMS} axes")
        if location:
            shown = name.decode("utf8", "replace")
            raise FileFormatError(f"it keeps {shown} in a file beside it; save it as one file first")
        return name, Initializer(field, tuple(dims), kind)

    def packed(self, part: Field) -> list[int]:
        """Return the numbers of a packed field, one more than there may be at most."""
        numbers: list[int] = []
        at = part.start
        while at < part.end and len(numbers) <= MAX_DIMS:
            value, at = self.varint(at, part.end)
            numbers.append(value)
        return numbers

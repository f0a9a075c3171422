"""Compressed models on disk: cores in place of weights, with a versioned header that says how to make the weights.

A compressed file is a tensor file (safetensors or npz). A generated weight ``fc1.weight`` is stored as its cores,
named ``fc1.weight::layer0.brick0`` and so on; every other tensor is stored as it is. The metadata entry ``adntn_ref``
holds a JSON header::

    {"format_version": 1, "library_version": "0.1.0", "seed": 0,
     "entries": {"fc1.weight": {"spec": {...}, "dtype": "float32", "info": {...}}},
     "complex": ["names of cores stored as pairs of reals"]}

Format 2 adds ``"axes": [3, 2, 0, 1]`` to entries whose network makes the tensor with its axes turned: axis k of the
network's weight is axis ``axes[k]`` of the tensor. A reader of format 1 would pass over that entry and hand out the
weight in a wrong order, so a file that has one is format 2, which such a reader refuses; a file without stays format 1.

Format 3 adds the frozen weights of deltas, which specifications name by their sha256 alone, as ``fc1.weight::frozen.0``
and so on. Files without a delta stay format 1 or 2.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref._version import __version__
from adntn_ref.ad.arrays import Array, is_complex
from adntn_ref.ad.moving import choose_backend, on_host, to_backend
from adntn_ref.compression.axes import check_axes, inverse, turned, turned_shape
from adntn_ref.compression.jsontext import parse_json
from adntn_ref.compression.sources import ShardedFile, Tensors, open_tensors
from adntn_ref.compression.tensorfile import write_tensors
from adntn_ref.errors import AdntnError, FileFormatError, SpecError
from adntn_ref.networks.base import Network, Params
from adntn_ref.networks.frozen import frozen_weights
from adntn_ref.networks.registry import from_spec

FORMAT_VERSION = 3
HEADER = "adntn_ref"
SEPARATOR = "::"
FROZEN = "frozen."


@dataclass(frozen=True)
class Entry:
    """One generated tensor: its network, its cores, and JSON-able facts about its fit.

    ``axes``: axis k of the network's weight is axis ``axes[k]`` of the tensor; None where they are the same.

    Raises
    ------
    SpecError
        If ``axes`` is no permutation of the weight's axes.
    """

    network: Network
    params: Params
    info: dict[str, Any] = field(default_factory=dict)
    axes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", check_axes(self.axes, len(self.network.placement.shape)))

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """The tensor's shape, its axes in the order of the model's file."""
        return turned_shape(self.network.placement.shape, inverse(self.axes))

    def generate(self) -> Array:
        """Return the tensor, its axes in the order of the model's file."""
        weight = self.network.generate(self.params)
        return weight if self.axes is None else turned(weight, inverse(self.axes))


@dataclass(frozen=True)
class CompressedFile:
    """What a compressed file holds: generated weights, dense tensors, the header and other metadata."""

    entries: dict[str, Entry]
    dense: dict[str, Array]
    header: dict[str, Any]
    metadata: dict[str, str] = field(default_factory=dict)

    def expand(self, backend: str | None = None) -> dict[str, Array]:
        """Return every tensor of the model on the host, the generated ones made from their cores on a backend."""
        where = choose_backend(backend).name
        entries = {k: replace(entry, params=to_backend(entry.params, where)) for k, entry in self.entries.items()}
        return {**self.dense, **{name: on_host(entry.generate()) for name, entry in entries.items()}}


def save_compressed(
    path: str | Path,
    entries: Mapping[str, Entry],
    dense: Mapping[str, Array],
    *,
    seed: int,
    metadata: Mapping[str, str] | None = None,
    force: bool = False,
) -> None:
    """Write a compressed model, atomically.

    Raises
    ------
    OutputError, FileFormatError
        If the path exists (without ``force``), cannot be written, or has another suffix.
    SpecError, DTypeError
        For a name that is both generated and dense, and a dtype that the format lacks.
    """
    tensors: dict[str, Array] = {name: on_host(value) for name, value in dense.items()}
    pairs: list[str] = []
    if both := sorted(entries.keys() & dense.keys()):
        raise SpecError(f"{', '.join(both)} cannot be generated and dense at once")
    for name, entry in entries.items():
        for core, held in {**entry.params, **_frozen(entry.network)}.items():
            value = on_host(held)
            key = f"{name}{SEPARATOR}{core}"
            if is_complex(value):
                value = np.stack([value.real, value.imag], axis=-1)
                pairs.append(key)
            tensors[key] = value
    header = {
        "format_version": max((_needed_version(entry) for entry in entries.values()), default=1),
        "library_version": __version__,
        "seed": seed,
        "entries": {name: _facts(entry) for name, entry in entries.items()},
        "complex": pairs,
    }
    write_tensors(path, tensors, {**(metadata or {}), HEADER: json.dumps(header, sort_keys=True)}, force=force)


def _frozen(network: Network) -> Params:
    """Return the frozen weights of a network's deltas under the names that they have in a file."""
    return {f"{FROZEN}{k}": weight for k, weight in enumerate(frozen_weights(network))}


def _needed_version(entry: Entry) -> int:
    """Return the oldest format that holds an entry."""
    if frozen_weights(entry.network):
        return 3
    return 1 if entry.axes is None else 2


def _facts(entry: Entry) -> dict[str, Any]:
    spec, dtype = entry.network.to_spec(), entry.network.check_params(entry.params)
    facts = {"spec": spec, "dtype": dtype, "info": entry.info}
    return facts if entry.axes is None else {**facts, "axes": list(entry.axes)}


def read_header(file: Tensors) -> dict[str, Any] | None:
    """Return the header of a compressed file, None for a plain tensor file.

    Raises
    ------
    FileFormatError
        For a header that cannot be read, or of a newer format version.
    """
    if HEADER not in file.metadata:
        return None
    try:
        header = parse_json(file.metadata[HEADER])
        version = header["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"the adntn_ref header of {file.path} cannot be read: {error}") from error
    if not isinstance(version, int) or version < 1 or version > FORMAT_VERSION:
        raise FileFormatError(
            f"{file.path} has format version {version}; this release ({__version__}) reads 1 to {FORMAT_VERSION}."
            " A newer release of adntn_ref reads it"
        )
    if not isinstance(header.get("entries"), dict) or not isinstance(header.get("complex"), list):
        raise FileFormatError(f"the adntn_ref header of {file.path} lacks its tables entries and complex")
    return dict(header)


def load_compressed(path: str | Path) -> CompressedFile:
    """Read a compressed model, from a file or a folder that holds one, and check it against its header.

    Raises
    ------
    FileFormatError
        If the file is truncated, not a compressed file, of a newer format version, or cores and header disagree.
    """
    file = open_tensors(path)
    if isinstance(file, ShardedFile):
        raise FileFormatError(f"{path} is several files; a compressed model is one")
    header = read_header(file)
    if header is None:
        raise FileFormatError(f"{path} holds no generated weights: it was not written by adntn_ref")
    try:
        _require_version(header)
        entries = {name: _entry(file, name, facts, set(header["complex"])) for name, facts in header["entries"].items()}
    except FileFormatError:
        raise
    except (AdntnError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{path}: the header and the cores disagree: {error}") from error
    held = {name: {**entry.params, **_frozen(entry.network)} for name, entry in entries.items()}
    cores = {f"{name}{SEPARATOR}{core}" for name, arrays in held.items() for core in arrays}
    dense = {name: file.load(name) for name in file.names if name not in cores}
    metadata = {key: value for key, value in file.metadata.items() if key != HEADER}
    return CompressedFile(entries, dense, header, metadata)


def _require_version(header: dict[str, Any]) -> None:
    """Refuse axes in a header of format 1: whoever wrote it, other readers would take the tensor as it stands."""
    turned_ones = [name for name, facts in header["entries"].items() if "axes" in facts]
    if turned_ones and header["format_version"] < 2:
        raise SpecError(f"format version 1 has no axes, but {', '.join(turned_ones)} has")


def _entry(file: Tensors, name: str, facts: dict[str, Any], pairs: set[str]) -> Entry:
    prefix = f"{name}{SEPARATOR}"

    def load(key: str) -> Array:
        value = file.load(key)
        return _joined(value) if key in pairs else value

    frozen = [load(key) for key in file.shapes if key.startswith(prefix + FROZEN)]
    network = from_spec(facts["spec"], base=frozen or None)
    params = {}
    for core in network.core_shapes:
        if prefix + core not in file.shapes:
            raise FileFormatError(f"{file.path} lacks the core {prefix}{core}")
        params[core] = load(prefix + core)
    dtype = network.check_params(params)
    if dtype != facts["dtype"]:
        raise FileFormatError(f"{file.path}: cores of {name} are {dtype}, the header says {facts['dtype']}")
    return Entry(network, params, dict(facts.get("info") or {}), facts.get("axes"))


def _joined(pairs: Array) -> Array:
    """Return complex numbers from pairs of reals, bit for bit (arithmetic would lose the signs of zeros)."""
    kind = {"float32": np.complex64, "float64": np.complex128}.get(pairs.dtype.name)
    if kind is None or pairs.shape[-1:] != (2,):
        raise FileFormatError(f"complex cores are pairs of reals, got shape {pairs.shape} of {pairs.dtype.name}")
    return np.ascontiguousarray(pairs).view(kind)[..., 0]

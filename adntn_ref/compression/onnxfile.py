"""Models as ONNX files, and weights written into an ONNX file that is there; needs the extra ``onnx``."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref._version import __version__
from adntn_ref.ad.arrays import REAL, Array
from adntn_ref.ad.moving import on_host
from adntn_ref.compression.atomic import require_new, write_atomically
from adntn_ref.compression.onnxgraph import INPUT, OPSET, OUTPUT, build
from adntn_ref.compression.onnxwire import Initializers, find, replaced
from adntn_ref.errors import ArrayError, DTypeError, FileFormatError, NothingSelected
from adntn_ref.extras import need
from adntn_ref.nn.models import COUNTS, Generated, Model, Params

SUFFIX = ".onnx"
IR_VERSION = 8
MAX_BYTES = 2**31 - 2**20
"""A protobuf message ends at 2 GiB; the last of it is left to names and nodes."""


def export_onnx(
    model: Model, params: Params, path: str | Path, *, dtype: str | None = None, force: bool = False
) -> None:
    """Write a model as an ONNX file that computes what the model does in evaluation.

    Every weight is a dense one: those of a generated model are made once and for all. Initializers have the names of
    the parameters ("features.0.weight"); the input is called "input", a batch of the model's inputs, the output
    "output".

    Parameters
    ----------
    model, params : dense or generated, on any backend
    path : a file that ends in .onnx
    dtype : "float32" or "float64" to cast to; by default parameters stay what they are. onnxruntime runs convolutions
        in float32 alone.
    force : whether to overwrite

    Raises
    ------
    SpecError
        For a layer that cannot be exported, naming those that can.
    ParameterError, DTypeError
        For parameters that are not the model's, or are of several dtypes.
    OutputError, FileFormatError
        If the path exists (without ``force``), cannot be written, has another suffix, or more than 2 GiB of weights.
    MissingExtra
        If onnx is not installed.
    """
    onnx, target = need("onnx", "onnx"), _target(path, force)
    if dtype is not None and dtype not in REAL:
        raise DTypeError(f"parameters are cast to {' or '.join(REAL)}, got {dtype!r}")
    model.check_params(params)
    dense = model.model if isinstance(model, Generated) else model
    held = {name: on_host(value) for name, value in model.expand(params).items() if not name.endswith(COUNTS)}
    kinds = sorted({dtype or value.dtype.name for value in held.values()} or {"float32"})
    if len(kinds) > 1:
        raise DTypeError(f"an ONNX model is of one dtype, got {' and '.join(kinds)}; say which with dtype=")
    graph = build(dense, {name: value.astype(kinds[0], copy=False) for name, value in held.items()}, kinds[0])
    _require_size(sum(value.nbytes for value in graph.initializers.values()))
    helper, kind = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kinds[0]))
    made = helper.make_graph(
        [helper.make_node(name, inputs, [output], **more) for name, inputs, output, more in graph.nodes],
        "adntn_ref",
        [helper.make_tensor_value_info(INPUT, kind, ["batch", *dense.in_shape])],
        [helper.make_tensor_value_info(OUTPUT, kind, ["batch", *dense.out_shape])],
        [_tensor(onnx, name, value) for name, value in graph.initializers.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    proto = helper.make_model(
        made, producer_name="adntn_ref", producer_version=__version__, opset_imports=opsets, ir_version=IR_VERSION
    )
    onnx.checker.check_model(proto)
    _require_size(proto.ByteSize())
    _write([proto.SerializeToString(deterministic=True)], target)


def update_onnx(
    source: str | Path, weights: Mapping[str, Array], path: str | Path, *, force: bool = False
) -> dict[str, list[int]]:
    """Write weights into an ONNX file by the names of its initializers, all else unchanged.

    Parameters
    ----------
    source : an ONNX file of any origin, with its weights inside
    weights : initializer name -> array of its shape and dtype; a layer may hold its weight transposed, so look first
    path : the file to write, ending in .onnx
    force : whether to overwrite

    Returns
    -------
    dict
        The shape of each initializer that was replaced.

    Raises
    ------
    NothingSelected
        For a name that the file does not have.
    ArrayError, DTypeError
        For another shape or dtype than the initializer's.
    FileFormatError, OutputError
        If a file cannot be read or written, keeps its weights in files beside it, has two initializers of a name,
        more than 250,000 fields (nodes, tensors and what these say of themselves), or more than 2 GiB.
    MissingExtra
        If onnx is not installed.
    """
    onnx, target = need("onnx", "onnx"), _target(path, force)
    data, model = _read(Path(source), weights)
    tensors: dict[str, bytes] = {}
    for name, value in weights.items():
        if name not in model.found:
            raise NothingSelected(f"{source} has no initializer {name!r}; it has {', '.join(model.names)}")
        array, old = on_host(value), model.found[name]
        try:
            kind = onnx.helper.tensor_dtype_to_np_dtype(old.data_type)
        except KeyError as error:
            raise FileFormatError(f"initializer {name} of {source} is of an unknown dtype, {old.data_type}") from error
        if array.shape != old.dims:
            raise ArrayError(f"initializer {name} of {source} has shape {old.dims}, got {array.shape}")
        if array.dtype != kind:
            raise DTypeError(f"initializer {name} of {source} is {kind}, got {array.dtype}; cast it first")
        tensors[name] = _tensor(onnx, name, array).SerializeToString(deterministic=True)
    pieces = list(replaced(data, model, tensors))
    _require_size(sum(map(len, pieces)))
    _write(pieces, target)
    return {name: list(model.found[name].dims) for name in weights}


def _read(source: Path, wanted: Collection[str]) -> tuple[bytes, Initializers]:
    try:
        _require_size(source.stat().st_size)
        data = source.read_bytes()
        return data, find(data, wanted)
    except OSError as error:
        raise FileFormatError(f"{source} cannot be read: {error.strerror or error}") from error
    except FileFormatError as error:
        raise FileFormatError(f"{source} is no readable ONNX file: {error}") from error


def _tensor(onnx: Any, name: str, value: Array) -> Any:
    return onnx.numpy_helper.from_array(np.asarray(value, order="C"), name)


def _target(path: str | Path, force: bool) -> Path:
    target = Path(path)
    if target.suffix != SUFFIX:
        raise FileFormatError(f"{target} must end in {SUFFIX}")
    require_new(target, force)
    return target


def _require_size(count: int) -> None:
    if count > MAX_BYTES:
        raise FileFormatError(f"an ONNX file in one piece holds at most 2 GiB of weights, these are {count:,} bytes")


def _write(pieces: Iterable[bytes], target: Path) -> None:
    def write(path: Path) -> None:
        with path.open("wb") as stream:
            stream.writelines(pieces)

    write_atomically(target, write)

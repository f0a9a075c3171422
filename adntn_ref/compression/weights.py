"""Stage 1 on the weights of a file: select tensors, fit a network to each, write the cores."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adntn_ref.ad.arrays import REAL, Array, require_finite
from adntn_ref.compression.atomic import require_new
from adntn_ref.compression.axes import axes_of, turned, turned_shape
from adntn_ref.compression.files import Entry, read_header, save_compressed
from adntn_ref.compression.fit import fit
from adntn_ref.compression.method import Method
from adntn_ref.compression.sources import Tensors, open_tensors
from adntn_ref.compression.tensorfile import require_storable, suffix_of
from adntn_ref.errors import ArrayError, DTypeError, FileFormatError
from adntn_ref.networks.base import Network
from adntn_ref.nn.models import select


def compress_file(
    source: str | Path,
    output: str | Path,
    patterns: Sequence[str],
    network_of: Callable[[tuple[int, ...]], Network],
    *,
    order: str = "oihw",
    steps: int | None = None,
    rate: float | None = None,
    optimiser: str = "adam",
    start_share: float | None = None,
    restarts: int = 1,
    seed: int = 0,
    cores_only: bool = False,
    widen: bool = False,
    force: bool = False,
    progress: bool = False,
) -> dict[str, Any]:
    """Fit a network to each selected tensor of a file and write a compressed file.

    Everything that can be wrong with the input is found before the first fit starts.

    Parameters
    ----------
    source : see :func:`~adntn_ref.compression.sources.open_tensors`: a file, a glob of shards, an index, a folder
    output : a safetensors or npz file
    patterns : globs of tensor names; each must match
    network_of : shape -> network; the shape is (outputs, inputs, ...) whatever the file's order
    order : ``"hwio"`` for files of Keras: kernels of convolutions are (height, width, inputs, outputs) and dense ones
        (inputs, outputs); they are fitted as (outputs, inputs, ...), and expand to the file's own order again
    steps, rate, optimiser, start_share, restarts : see :func:`~adntn_ref.compression.fit.fit`; 500 steps of adam and
        sgd by default
    seed : the k-th selected tensor's fit starts from seed + k
    cores_only : leave the tensors that were not selected out of the output
    widen : read float16 and bfloat16 as float32, which is exact; the output holds float32 then

    Returns
    -------
    dict
        JSON-able: one row a layer, and totals.

    Raises
    ------
    FileFormatError, OutputError, NothingSelected, ArrayError, DTypeError, NonFiniteError, SpecError, MemoryLimitError
    """
    suffix_of(output)
    require_new(output, force)
    file = open_tensors(source, widen=widen)
    if read_header(file) is not None:
        raise FileFormatError(f"{source} holds generated weights already; turn them into dense ones first (expand)")
    require_storable(output, file.dtypes if not cores_only else {})
    names = select(file.names, patterns)
    for name in names:
        check_weight(name, file.shapes[name], file.dtypes[name])
    axes = {name: axes_of(order, len(file.shapes[name])) for name in names}
    networks = {name: network_of(turned_shape(file.shapes[name], axes[name])) for name in names}
    for name in names:
        networks[name].require_memory(file.dtypes[name], backward=True)
    if steps is None and optimiser in ("adam", "sgd"):
        steps = 500
    options: dict[str, Any] = {"steps": steps, "rate": rate, "optimiser": optimiser, "start_share": start_share}
    targets = {name: read_weight(file, name, order) for name in names}
    for name in names:
        Method(networks[name], targets[name], **options)  # raises where the fit would
    dense = {} if cores_only else {name: file.load(name) for name in file.names if name not in targets}
    entries, rows = {}, []
    for k, name in enumerate(names):
        result = fit(networks[name], targets[name], rng=seed + k, restarts=restarts, progress=progress, **options)
        info = {"relative_error": result.relative_error, "seed": result.seed, "history": result.history.summary()}
        entries[name] = Entry(networks[name], result.params, info, axes[name])
        rows.append(layer_row(name, entries[name], result.relative_error, result.seconds))
    save_compressed(output, entries, dense, seed=seed, metadata=file.metadata, force=force)
    weights, parameters = sum(row["weights"] for row in rows), sum(row["parameters"] for row in rows)
    totals = {"weights": weights, "parameters": parameters, "compression_ratio": weights / parameters}
    return {"output": str(output), "seed": seed, "layers": rows, **totals}


def layer_row(name: str, entry: Entry, error: float, seconds: float) -> dict[str, Any]:
    """Return one layer's line of a table, JSON-able; the shape is the file's, ``axes`` says how it was turned."""
    network = entry.network
    return {
        "name": name,
        "shape": list(entry.tensor_shape),
        "axes": None if entry.axes is None else list(entry.axes),
        "weights": network.weights,
        "parameters": network.parameter_count,
        "ratio": network.compression_ratio,
        "relative_error": error,
        "seconds": seconds,
    }


def check_weight(name: str, shape: tuple[int, ...], dtype: str) -> None:
    """Refuse a tensor that is no weight: not 2-D or 4-D, or not float32 or float64."""
    if len(shape) not in (2, 4) or 0 in shape:
        raise ArrayError(
            f"tensor {name} has shape {shape}; allowed: 2-D (dense) and 4-D (convolution) weights, not empty"
        )
    if dtype not in REAL:
        raise DTypeError(f"tensor {name} has dtype {dtype}; allowed: {', '.join(REAL)}; half precision: --widen")


def read_weight(file: Tensors, name: str, order: str = "oihw") -> Array:
    """Read a weight as (outputs, inputs, ...), in C order; ``order`` is the file's, see :func:`compress_file`.

    Raises
    ------
    SpecError, ArrayError, DTypeError, FileFormatError
    NonFiniteError
        Naming the first entry that is not finite by its index in the file.
    """
    check_weight(name, file.shapes[name], file.dtypes[name])
    axes = axes_of(order, len(file.shapes[name]))
    weight = file.load(name)
    require_finite(weight, f"tensor {name}")
    return turned(weight, axes)

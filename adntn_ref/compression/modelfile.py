"""Models on disk with PyTorch's names: a ``state_dict`` that was saved with safetensors loads here, and the other way.

The file holds every parameter and buffer of the model under its own name ("features.0.weight",
"features.1.running_mean"), shaped as PyTorch shapes it, and nothing else.
"""

from pathlib import Path
from typing import Any

from adntn_ref.ad.arrays import REAL, backend_of
from adntn_ref.compression.sources import open_tensors
from adntn_ref.compression.tensorfile import write_tensors
from adntn_ref.errors import DTypeError, ParameterError
from adntn_ref.nn.models import COUNTS, Params, Sequential

SHOWN = 5


def save_model(model: Sequential, params: Params, path: str | Path, *, force: bool = False) -> None:
    """Write a model's parameters and buffers.

    Parameters
    ----------
    model : the dense model; of a generated one its ``model``, with ``expand(params)``
    params : its parameters and buffers
    path : a safetensors or npz file
    force : whether to overwrite

    Raises
    ------
    ParameterError, DTypeError
        For parameters that are not the model's.
    OutputError, FileFormatError
        If the path exists (without ``force``), cannot be written, or has another suffix.
    """
    if not isinstance(model, Sequential):
        raise ParameterError(
            f"save_model takes a dense model, got a {type(model).__name__}: save_pretrained keeps the cores of a"
            " generated one; for dense weights give its .model and .expand(params)"
        )
    model.check_params(params)
    host = {name: backend_of(params[name]).to_host(params[name]) for name in model.state_shapes}
    write_tensors(path, host, {"format": "pt"}, force=force)


def load_model(model: Sequential, path: str | Path, dtype: str | None = None) -> Params:
    """Read a model's parameters and buffers from a file that PyTorch, torchvision's names, or :func:`save_model` made.

    Parameters
    ----------
    model : the model, whose names and shapes the file must have
    path : a safetensors, npz or HDF5 file
    dtype : "float32" or "float64" to cast to; by default they stay what they are in the file

    Returns
    -------
    dict
        Parameters and buffers in the order of ``model.state_shapes``; whole numbers stay whole numbers.

    Raises
    ------
    ParameterError
        For names that are missing or unknown or shapes that differ, all in one message.
    FileFormatError, DTypeError
        If the file cannot be read, or holds a dtype that the model does not run in and none was asked for.
    """
    if dtype is not None and dtype not in REAL:
        raise DTypeError(f"parameters are cast to {' or '.join(REAL)}, got {dtype!r}")
    file, wanted = open_tensors(path), model.state_shapes
    if faults := _faults(wanted, dict(file.shapes)):
        raise ParameterError(f"{path} does not hold this model's parameters: {'; '.join(faults)}")
    params: dict[str, Any] = {name: file.load(name) for name in wanted}
    if dtype is not None:
        params = {name: value if name.endswith(COUNTS) else value.astype(dtype) for name, value in params.items()}
    model.check_params(params)
    return params


def _faults(wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> list[str]:
    """Say what differs, of each kind the first few."""
    missing = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in wanted]
    shapes = [
        f"{name} has shape {found[name]}, the model needs {shape}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    lists = (("missing ", missing), ("unknown ", unknown), ("", shapes))
    return [
        kind + ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        for kind, names in lists
        if names
    ]

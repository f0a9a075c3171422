"""Compressed files of this package and PyTorch models: the cores are the same arrays, bit for bit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adntn_ref.compression.files import CompressedFile, Entry, load_compressed
from adntn_ref.compression.files import save_compressed as save_entries
from adntn_ref.errors import DTypeError, NothingSelected, ParameterError, SpecError
from adntn_ref.extras import need
from adntn_ref.interop.torch.compress import put
from adntn_ref.interop.torch.generator import Generator, check_way
from adntn_ref.interop.torch.select import Place, by_name, networks_for
from adntn_ref.interop.torch.weights import Cores, GeneratedWeight, generated
from adntn_ref.networks.stack import Stack

torch: Any = need("torch", "peers")

Module = Any
SHOWN = 5


def save_compressed(
    model: Module,
    path: str | Path,
    *,
    seed: int = 0,
    metadata: Mapping[str, str] | None = None,
    force: bool = False,
) -> None:
    """Write a model with generated weights as a compressed file, which the library and the command line read.

    Generated weights are stored as their cores, all else of ``state_dict`` as it is, under PyTorch's names.

    Parameters
    ----------
    model : with at least one generated weight
    path : a safetensors or npz file
    seed : noted in the file
    force : whether to overwrite

    Raises
    ------
    NothingSelected, SpecError, DTypeError
        For a model without generated weights, cores that several weights share, a dtype that NumPy lacks.
    OutputError, FileFormatError
        If the path exists (without ``force``), cannot be written, or has another suffix.
    """
    weights = generated(model)
    if not weights:
        raise NothingSelected("the model has no generated weights; compress_ makes some")
    if shared := [name for name, weight in weights.items() if isinstance(weight.network, Stack)]:
        raise SpecError(f"a file holds cores for one weight each; {', '.join(shared)} share theirs (fold_ them first)")
    entries = {
        name: Entry(
            weight.network, {k: _host(k, x) for k, x in weight.cores.as_dict().items()}, weight.info, weight.axes
        )
        for name, weight in weights.items()
    }
    dense = {name: _host(name, x) for name, x in _rest(model).items()}
    save_entries(path, entries, dense, seed=seed, metadata=metadata, force=force)


def _rest(model: Module) -> dict[str, Any]:
    """Return what a model's ``state_dict`` holds besides cores and frozen weights."""
    made = tuple(_prefix(name) for name in generated(model))
    return {name: x for name, x in model.state_dict().items() if not name.startswith(made or ("\0",))}


def _prefix(name: str) -> str:
    *modules, key = name.split(".")
    return ".".join([*modules, "parametrizations", key, "0", ""])


def _host(name: str, x: Any) -> Any:
    try:
        return x.detach().cpu().contiguous().numpy()
    except TypeError as error:
        raise DTypeError(f"{name} has dtype {x.dtype}, which files do not hold; cast it first") from error


def load_compressed_(
    model: Module, file: str | Path | CompressedFile, *, backward: str = "closed", strict: bool = True
) -> dict[str, GeneratedWeight]:
    """Read a compressed file into a dense model of the same architecture, in place.

    Parameters
    ----------
    model : its parameter names and shapes are the file's
    file : a path, or what :func:`adntn_ref.load_compressed` returned
    backward : see :func:`~adntn_ref.interop.torch.compress.compress_`
    strict : whether the file has to hold every other tensor of the model too; else what it lacks stays as it is

    Returns
    -------
    dict
        Parameter name -> its parametrisation.

    Raises
    ------
    ParameterError, DTypeError
        For names, shapes or dtypes that differ; nothing is cast. The model is unchanged then.
    FileFormatError
        If the file cannot be read.
    """
    check_way(backward)
    read = file if isinstance(file, CompressedFile) else load_compressed(file)
    known = dict(model.state_dict(keep_vars=True))
    if faults := _faults(read, known, strict):
        raise ParameterError(f"the file does not hold this model: {'; '.join(faults)}")
    chosen = by_name(model, read.entries)
    _check_dtypes(read, known)
    turned = {name: Place(p.module, p.key, _as_made(p.tensor, read.entries[name])) for name, p in chosen.items()}
    networks_for(turned, {name: entry.network for name, entry in read.entries.items()}, backward)
    weights = {name: _weight(read.entries[name], place, backward) for name, place in chosen.items()}
    with torch.no_grad():
        for name, value in read.dense.items():
            known[name].copy_(torch.from_numpy(value))
    put(chosen, weights)
    return weights


def _as_made(tensor: Any, entry: Entry) -> Any:
    """Return a tensor with its axes as the entry's network makes them."""
    return tensor if entry.axes is None else tensor.permute(entry.axes)


def _weight(entry: Entry, place: Place, backward: str) -> GeneratedWeight:
    like = place.tensor
    tensors = {name: torch.from_numpy(entry.params[name].copy()).to(like.device) for name in entry.network.core_shapes}
    cores = Cores({name: core.requires_grad_(like.requires_grad) for name, core in tensors.items()})
    return GeneratedWeight(Generator(entry.network, backward), cores, axes=entry.axes, info=dict(entry.info))


def _faults(read: CompressedFile, known: Mapping[str, Any], strict: bool) -> list[str]:
    """Say what differs, of each kind the first few."""
    shapes = {name: entry.tensor_shape for name, entry in read.entries.items()}
    shapes.update({name: tuple(value.shape) for name, value in read.dense.items()})
    missing = [name for name in known if name not in shapes] if strict else []
    unknown = [name for name in shapes if name not in known]
    differ = [
        f"{name} has shape {shape}, the model's {tuple(known[name].shape)}"
        for name, shape in shapes.items()
        if name in known and tuple(known[name].shape) != shape
    ]
    lists = (("missing ", missing), ("unknown ", unknown), ("", differ))
    return [
        kind + ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        for kind, names in lists
        if names
    ]


def _check_dtypes(read: CompressedFile, known: Mapping[str, Any]) -> None:
    dtypes = {name: entry.network.check_params(entry.params) for name, entry in read.entries.items()}
    dtypes.update({name: value.dtype.name for name, value in read.dense.items()})
    for name, dtype in dtypes.items():
        mine = str(known[name].dtype).removeprefix("torch.")
        if mine != dtype:
            raise DTypeError(f"{name} has dtype {dtype} in the file and {mine} in the model; cast the model first")

"""A model in a folder: ``config.json`` says what it is, ``model.safetensors`` holds its parameters.

This is the layout of Hugging Face's ``save_pretrained``. The weights are a file as ``save_model`` writes it, or, for a
model with generated weights, a compressed file with their cores; the config is::

    {"model_type": "adntn_ref", "format_version": 1, "library_version": "0.1.0", "in_shape": [1, 28, 28],
     "layers": [{"name": "conv1", "kind": "Conv2d", "in_channels": 1, "out_channels": 6, "kernel": [5, 5], ...}, ...]}

with a layer's fields under their own names (:mod:`adntn_ref.nn.description`).
"""

import json
from pathlib import Path
from typing import Any

from adntn_ref._version import __version__
from adntn_ref.compression.atomic import require_new, write_atomically
from adntn_ref.compression.files import Entry, load_compressed, read_header, save_compressed
from adntn_ref.compression.jsontext import parse_json
from adntn_ref.compression.modelfile import load_model, save_model
from adntn_ref.compression.sources import SINGLE, open_tensors
from adntn_ref.compression.tensorfile import suffix_of
from adntn_ref.errors import ArrayError, DTypeError, FileFormatError, OutputError, ParameterError, SpecError
from adntn_ref.nn.description import describe, model_from
from adntn_ref.nn.models import Generated, Model, Params

CONFIG = "config.json"
MODEL_TYPE = "adntn_ref"
CONFIG_VERSION = 1
MAX_CONFIG = 100_000_000


def save_pretrained(model: Model, params: Params, folder: str | Path, *, seed: int = 0, force: bool = False) -> None:
    """Write a model and its parameters into a folder, which is made if need be.

    Parameters
    ----------
    model : dense, or with generated weights, which are stored as their cores
    params : its parameters and buffers
    folder : gets ``config.json`` and ``model.safetensors``
    seed : for the header of generated weights
    force : whether to overwrite these two files

    Raises
    ------
    ParameterError, DTypeError, SpecError
        For parameters that are not the model's, and layers that a config cannot describe.
    OutputError
        If the folder holds one of the files (without ``force``), or cannot be written.
    """
    where = Path(folder)
    dense = model.model if isinstance(model, Generated) else model
    config = {
        "model_type": MODEL_TYPE,
        "format_version": CONFIG_VERSION,
        "library_version": __version__,
        **describe(dense),
    }
    model.check_params(params)
    prepare_folder(where, force)
    if isinstance(model, Generated):
        entries = {name: Entry(network, params[name]) for name, network in model.networks}
        rest = {name: params[name] for name in dense.state_shapes if name not in entries}
        save_compressed(where / SINGLE, entries, rest, seed=seed, metadata={"format": "pt"}, force=force)
    else:
        save_model(dense, params, where / SINGLE, force=force)
    write_config(where, f"{json.dumps(config, indent=1)}\n".encode())


def prepare_folder(folder: Path, force: bool) -> None:
    """Make a folder for a model, and refuse one that holds a model already.

    Raises
    ------
    OutputError
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be made: {error.strerror}") from error
    for name in (SINGLE, CONFIG):
        require_new(folder / name, force)


def write_config(folder: Path, text: bytes) -> None:
    """Write ``config.json``."""

    def write(path: Path) -> None:
        path.write_bytes(text)

    write_atomically(folder / CONFIG, write)


def destination(source: str | Path, output: str | Path, force: bool) -> tuple[Path, bytes | None]:
    """Return the tensor file to write, and for a folder the config that goes with it.

    An ``output`` without a suffix is a folder: it is made, gets ``model.safetensors``, and what the config of the
    source's folder says (of whatever model) is to be written beside it, by :func:`write_config`.

    Raises
    ------
    FileFormatError
        For another suffix than a tensor file's, and a folder to write where the source is none with a config.
    OutputError
    """
    target, origin = Path(output), Path(source)
    if target.suffix and not target.is_dir():
        suffix_of(target)
        return target, None
    folder = origin if origin.is_dir() else origin.parent
    if not (folder / CONFIG).is_file():
        raise FileFormatError(f"{target} must end in .safetensors or .npz; a folder is for models with a {CONFIG}")
    read_config(folder)
    text = (folder / CONFIG).read_bytes()
    prepare_folder(target, force)
    return target / SINGLE, text


def read_config(folder: Path) -> dict[str, Any]:
    """Return the config of any model's folder.

    Raises
    ------
    FileFormatError
        If there is none, or it is no JSON table.
    """
    path = folder / CONFIG
    if folder.is_file():
        raise FileFormatError(
            f"{folder} is a file of weights, which does not say what the model is; give a folder with a {CONFIG}"
        )
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise FileFormatError(f"{path} is larger than a config may be, {MAX_CONFIG:,} bytes")
        config = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} is no readable config: {type(error).__name__}: {error}") from error
    if not isinstance(config, dict):
        raise FileFormatError(f"{path} is no config: it holds a {type(config).__name__} in place of a table")
    return config


def load_pretrained(folder: str | Path, dtype: str | None = None) -> tuple[Model, Params]:
    """Read a model and its parameters from a folder that :func:`save_pretrained` wrote.

    Weights in several files with an index are read too.

    Parameters
    ----------
    folder : with ``config.json`` and ``model.safetensors``, or an index of shards
    dtype : "float32" or "float64" to cast a dense model to; by default parameters stay what they are

    Returns
    -------
    model : Sequential or Generated
        Generated where the file holds cores.
    params : dict
        Parameters and buffers, cores in place of generated weights.

    Raises
    ------
    FileFormatError
        If a file is missing or broken, of a newer version, or the config describes no model of this package.
    ParameterError, DTypeError
        If config and weights do not fit each other, or a dtype was asked for that cannot be had.
    """
    where = Path(folder)
    config = read_config(where)
    if config.get("model_type") != MODEL_TYPE:
        raise FileFormatError(
            f"{where / CONFIG} describes a model of type {config.get('model_type')!r:.100}, which this package cannot"
            " run; adntn-ref compress reads its weights"
        )
    version = config.get("format_version")
    if type(version) is not int or not 1 <= version <= CONFIG_VERSION:
        raise FileFormatError(
            f"{where / CONFIG} has format version {version!r:.100}; this release ({__version__}) reads {CONFIG_VERSION}"
        )
    try:
        model = model_from(config)
    except (SpecError, ArrayError) as error:
        raise FileFormatError(f"{where / CONFIG}: {error}") from error
    file = open_tensors(where)
    if read_header(file) is None:
        return model, load_model(model, where, dtype)
    if dtype is not None:
        raise DTypeError(f"{where} holds cores, which stay what they are; got dtype={dtype!r}")
    compressed = load_compressed(file.path)
    if turned := [name for name, entry in compressed.entries.items() if entry.axes is not None]:
        raise ParameterError(f"{where}: {', '.join(turned)} has axes in another order than the model's")
    networks = {name: entry.network for name, entry in compressed.entries.items()}
    generated = Generated(model, tuple(networks.items()))
    held = {**compressed.dense, **{name: entry.params for name, entry in compressed.entries.items()}}
    generated.check_params(held)
    return generated, {name: held[name] for name in model.state_shapes}

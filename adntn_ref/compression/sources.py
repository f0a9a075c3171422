"""What named tensors are read from: a file, several files of one model (*shards*), or a folder that holds either.

Large models are stored as ``model-00001-of-00003.safetensors`` and so on, beside ``model.safetensors.index.json``,
which says in ``weight_map`` which file holds which tensor (Hugging Face's format). Nothing but the headers is read
before a tensor is asked for. An index names files of its own folder and nothing else.
"""

from glob import has_magic
from pathlib import Path
from typing import Any

from adntn_ref.ad.arrays import Array
from adntn_ref.compression.h5file import H5_SUFFIXES, H5File
from adntn_ref.compression.jsontext import parse_json
from adntn_ref.compression.tensorfile import TensorFile, suffix_of
from adntn_ref.errors import FileFormatError, NothingSelected

SINGLE = "model.safetensors"
INDEX_SUFFIX = ".index.json"
INDEX = SINGLE + INDEX_SUFFIX
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
MAX_INDEX = 100_000_000
MAX_SHARDS = 10_000
MAX_NAME = 255
"""Bytes of a file's name that systems take; Path.is_file raises OSError for a longer one."""


class ShardedFile:
    """The tensors of several files as if they were one; the interface is that of ``TensorFile``.

    Parameters
    ----------
    path : what was asked for, for messages
    files : the shards
    where : which shard holds which tensor; without it every tensor of every shard is taken
    widen : see :class:`~adntn_ref.compression.tensorfile.TensorFile`

    Raises
    ------
    FileFormatError
        If a shard is missing or cannot be read, two hold a tensor of one name, or ``where`` and the shards disagree.
    """

    def __init__(
        self, path: Path, files: list[Path], where: dict[str, str] | None = None, *, widen: bool = False
    ) -> None:
        self.path, self.kind = path, files[0].suffix
        if missing := [file.name for file in files if not file.is_file()]:
            raise FileFormatError(f"{path} needs {_some(missing)}, which {_is(missing)} not there")
        self._shards = {file.name: TensorFile(file, widen=widen) for file in files}
        self._where: dict[str, str] = {}
        self.metadata: dict[str, str] = {}
        for name, shard in self._shards.items():
            if twice := [tensor for tensor in shard.names if tensor in self._where]:
                raise FileFormatError(f"{path}: {self._where[twice[0]]} and {name} both hold {_some(twice)}")
            self._where.update(dict.fromkeys(shard.names, name))
            self.metadata.update(shard.metadata)
        if where is not None:
            self._compare(where)
        found = self._where if where is None else where
        self.shapes = {tensor: self._shards[shard].shapes[tensor] for tensor, shard in found.items()}
        self.dtypes = {tensor: self._shards[shard].dtypes[tensor] for tensor, shard in found.items()}

    def _compare(self, where: dict[str, str]) -> None:
        astray = [tensor for tensor, shard in where.items() if self._where.get(tensor) != shard]
        if astray:
            raise FileFormatError(
                f"{self.path} and its files disagree: {where[astray[0]]} does not hold {_some(astray)}"
            )
        if more := [tensor for tensor in self._where if tensor not in where]:
            raise FileFormatError(f"{self.path} and its files disagree: it does not name {_some(more)}")

    @property
    def names(self) -> list[str]:
        """The names of the tensors, in the order of the index or of the files."""
        return list(self.shapes)

    def load(self, name: str) -> Array:
        """Read one tensor; errors as those of ``TensorFile``."""
        if name not in self.shapes:
            raise NothingSelected(f"{self.path} has no tensor {name!r}; it has {', '.join(self.names[:20])}")
        return self._shards[self._where[name]].load(name)


Tensors = TensorFile | H5File | ShardedFile


def open_tensors(path: str | Path, *, widen: bool = False) -> Tensors:
    """Open what ``path`` names.

    Parameters
    ----------
    path : a safetensors or npz file, an HDF5 file (to read only), an index (``*.index.json``), a glob of shards
        (``model-*.safetensors``), or a folder with an index or ``model.safetensors`` in it
    widen : read float16 and bfloat16 as float32, which is exact

    Raises
    ------
    FileFormatError
        If there is no such file, or one is truncated, or an index names what it must not.
    MissingExtra
        For HDF5 without h5py.
    """
    where = Path(path)
    if where.is_dir():
        where = _in_folder(where)
    if where.name.endswith(INDEX_SUFFIX):
        shards = read_index(where)
        files = [where.parent / name for name in sorted(set(shards.values()))]
        return ShardedFile(where, files, shards, widen=widen)
    if where.suffix in H5_SUFFIXES:
        return H5File(where, widen=widen)
    if has_magic(where.name) and not where.exists():
        suffix_of(where)
        files = sorted(file for file in where.parent.glob(where.name) if file.is_file())
        if not files:
            raise FileFormatError(f"no file matches {path}")
        if len(files) > MAX_SHARDS:
            raise FileFormatError(f"{path} matches {len(files):,} files; allowed: {MAX_SHARDS:,}")
        return ShardedFile(where, files, widen=widen)
    if where.suffix in PICKLES:
        raise FileFormatError(
            f"{path} is a file of torch.save, a pickle, which is never read: in Python, safetensors.torch.save_file("
            f"torch.load({where.name!r}, weights_only=True), {where.stem + '.safetensors'!r}) makes one that is"
        )
    return TensorFile(where, widen=widen)


def _in_folder(folder: Path) -> Path:
    for name in (INDEX, SINGLE):
        if (folder / name).is_file():
            return folder / name
    raise FileFormatError(f"the folder {folder} holds neither {SINGLE} nor {INDEX}")


def read_index(path: Path) -> dict[str, str]:
    """Return tensor -> file name from an index; every name is one of a file beside it.

    Raises
    ------
    FileFormatError
        If the index cannot be read, is no such table, or names a file in another folder.
    """
    try:
        if path.stat().st_size > MAX_INDEX:
            raise FileFormatError(f"{path} is larger than an index may be, {MAX_INDEX:,} bytes")
        index: Any = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} is no readable index: {type(error).__name__}: {error}") from error
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise FileFormatError(f"{path} is no index: it has no table weight_map of tensor and file names")
    names = set(shards.values())
    if len(names) > MAX_SHARDS:
        raise FileFormatError(f"{path} names {len(names):,} files; allowed: {MAX_SHARDS:,}")
    for name in sorted(names):
        odd = not name or name.startswith(".") or any(character in name for character in "/\\:\0")
        if odd or len(name.encode()) > MAX_NAME:
            raise FileFormatError(f"{path} names the file {name!r}; allowed: names of files in its own folder")
        suffix_of(name)
    return dict(shards)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"

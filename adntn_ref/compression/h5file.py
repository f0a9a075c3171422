"""Reading named tensors from HDF5, as Keras writes its weights; needs the extra ``h5``."""

from pathlib import Path
from typing import Any

from adntn_ref.ad.arrays import Array
from adntn_ref.compression.tensorfile import TensorFile, state_of
from adntn_ref.errors import FileFormatError, NothingSelected
from adntn_ref.extras import need

H5_SUFFIXES = (".h5", ".hdf5")
MAX_DATASETS = 100_000


class H5File:
    """An HDF5 file of arrays; a tensor's name is its path in the file. The interface is that of ``TensorFile``.

    Raises
    ------
    FileFormatError
        If the file is missing, truncated, or no HDF5 file.
    MissingExtra
        If h5py is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.kind = self.path.suffix
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}
        self.metadata: dict[str, str] = {}
        h5py = need("h5py", "h5")
        if not self.path.is_file():
            raise FileFormatError(f"there is no file {self.path}")

        def note(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiubc" and len(self.shapes) < MAX_DATASETS:
                self.shapes[name], self.dtypes[name] = tuple(int(n) for n in item.shape), item.dtype.name

        try:
            self._state = state_of(self.path.stat())
            with h5py.File(self.path, "r") as file:
                file.visititems(note)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise FileFormatError(f"{self.path} is no readable HDF5 file: {error}") from error

    @property
    def names(self) -> list[str]:
        """The paths of the arrays, in the order of the file."""
        return list(self.shapes)

    def load(self, name: str) -> Array:
        """Read one array.

        Raises
        ------
        NothingSelected
            For a name that the file does not have.
        FileFormatError
            If it cannot be read, or changed since the file was opened.
        """
        if name not in self.shapes:
            raise NothingSelected(f"{self.path} has no tensor {name!r}; it has {', '.join(self.names[:20])}")
        try:
            with need("h5py", "h5").File(self.path, "r") as file:
                array = file[name][...]
            changed = state_of(self.path.stat()) != self._state
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise FileFormatError(f"tensor {name} of {self.path} cannot be read: {error}") from error
        if changed or array.shape != self.shapes[name]:
            raise FileFormatError(f"{self.path} changed while it was read; try again when nobody writes to it")
        return array


def open_tensors(path: str | Path) -> TensorFile | H5File:
    """Open a file of named tensors by its suffix: safetensors, npz, or (to read only) HDF5."""
    return H5File(path) if Path(path).suffix in H5_SUFFIXES else TensorFile(path)

"""Reading named tensors from HDF5, as Keras writes its weights; needs the extra ``h5``."""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import Array
from adntn_ref.compression.npy import MAX_RATIO, UNREADABLE
from adntn_ref.compression.tensorfile import state_of
from adntn_ref.errors import FileFormatError, NothingSelected
from adntn_ref.extras import need

H5_SUFFIXES = (".h5", ".hdf5")
MAX_DATASETS = 100_000


class H5File:
    """An HDF5 file of arrays; a tensor's name is its path in the file. The interface is that of ``TensorFile``.

    With ``widen`` float16 is read as float32.

    Raises
    ------
    FileFormatError
        If the file is missing, truncated, or no HDF5 file.
    MissingExtra
        If h5py is not installed.
    """

    def __init__(self, path: str | Path, *, widen: bool = False) -> None:
        self.widen = widen
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
                self._require_here(name, item)
                self.shapes[name] = tuple(int(n) for n in item.shape)
                self.dtypes[name] = "float32" if widen and item.dtype.name == "float16" else item.dtype.name

        try:
            self._state = state_of(self.path.stat())
            with h5py.File(self.path, "r") as file:
                file.visititems(note)
        except FileFormatError:
            raise
        except (*UNREADABLE, MemoryError) as error:
            raise FileFormatError(f"{self.path} is no readable HDF5 file: {error}") from error

    def _require_here(self, name: str, item: Any) -> None:
        """Refuse a dataset that lies in another file, or is larger than what is stored of it can hold.

        Links to other files are no datasets of this one: they are never followed.
        """
        if item.shape is None or item.external or item.is_virtual:
            raise FileFormatError(f"{self.path}: tensor {name} does not lie in this file, or has no data")
        stored = min(item.id.get_storage_size(), self.path.stat().st_size)
        packed = MAX_RATIO if item.id.get_create_plist().get_nfilters() else 1
        if prod(item.shape) * item.dtype.itemsize > stored * packed:
            raise FileFormatError(f"{self.path} is truncated: tensor {name} of shape {item.shape} is not all there")

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
                self._require_here(name, file[name])
                array = file[name][...]
            changed = state_of(self.path.stat()) != self._state
        except FileFormatError:
            raise
        except (*UNREADABLE, MemoryError) as error:
            raise FileFormatError(f"tensor {name} of {self.path} cannot be read: {error}") from error
        if changed or array.shape != self.shapes[name]:
            raise FileFormatError(f"{self.path} changed while it was read; try again when nobody writes to it")
        return array.astype(np.float32) if self.widen and array.dtype == np.float16 else array

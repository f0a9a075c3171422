"""HDF5 files, as Keras writes its weights."""

import io
from itertools import product
from typing import Any

import h5py
import numpy as np

from adntn_ref.compression.h5file import H5File
from adntn_ref.compression.npy import MAX_RATIO
from fuzz.harness import Target, file_of


def one(data: bytes) -> None:
    file = H5File(file_of(data, "w.h5"))
    for name in file.names:
        file.load(name)


def _plain(file: Any) -> None:
    file.create_dataset("kernel:0", data=np.ones((2, 3), "f4"))
    file.create_dataset("scalar", data=2)


def _packed(file: Any) -> None:
    file.create_dataset("kernel:0", data=np.ones((2, 3)), compression="gzip", chunks=(2, 2), shuffle=True)


def _grouped(file: Any) -> None:
    layer = file.create_group("dense").create_group("dense_1")
    layer.create_dataset("bias:0", data=np.ones(3, ">f8"))
    file["soft"], file["outside"] = h5py.SoftLink("/dense"), h5py.ExternalLink("other.h5", "/a")
    file.attrs["backend"] = "tensorflow"


def _of_texts(file: Any) -> None:
    file.create_dataset("text", data="a")
    file.create_dataset("half", data=np.ones(2, "f2"))


def _files() -> list[bytes]:
    """Small ones, in the oldest format and in the newest: what is longer than the fuzzer's inputs would be cut."""
    found = []
    for make, version in product((_plain, _packed, _grouped, _of_texts), ("earliest", "latest")):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", libver=version) as file:
            make(file)
        found.append(buffer.getvalue())
    return found


COVERED = ("adntn_ref.compression",)
TARGETS = [Target("h5", one, _files, unpacked=MAX_RATIO, longest=8192, covered=COVERED)]

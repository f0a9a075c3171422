"""HDF5 files, as Keras writes its weights."""

import io

import h5py
import numpy as np

from adntn_ref.compression.h5file import H5File
from adntn_ref.compression.npy import MAX_RATIO
from fuzz.harness import Target, file_of


def one(data: bytes) -> None:
    file = H5File(file_of(data, "w.h5"))
    for name in file.names:
        file.load(name)


def _files() -> list[bytes]:
    found = []
    for options in ({}, {"compression": "gzip", "chunks": (2, 2)}, {"libver": "latest"}):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", libver=options.pop("libver", "earliest")) as file:
            layer = file.create_group("dense").create_group("dense_1")
            layer.create_dataset("kernel:0", data=np.ones((2, 3), "f4"), **options)
            layer.create_dataset("bias:0", data=np.ones(3, ">f8"))
            file.create_dataset("scalar", data=2)
            file.create_dataset("text", data="a")
            file["again"] = layer["bias:0"]
            file["soft"], file["outside"] = h5py.SoftLink("/scalar"), h5py.ExternalLink("other.h5", "/a")
            file.attrs["backend"] = "tensorflow"
        found.append(buffer.getvalue())
    return found


COVERED = ("adntn_ref.compression",)
TARGETS = [Target("h5", one, _files, unpacked=MAX_RATIO, longest=8192, covered=COVERED)]

"""Binary files of CIFAR-10 and CIFAR-100; an input stands for its labels and first pixels, the rest is zero."""

from adntn_ref.nn.cifar import PIXELS, read_cifar
from fuzz.harness import Target, file_of

SHORT = 4
"""Bytes of an input that begin a record."""


def one(data: bytes) -> None:
    """The first byte says how many labels, the second how many bytes too many; then the starts of records."""
    if len(data) < 2:
        file, classes, extra = data, (10,), 0
    else:
        classes = (20, 100) if data[0] % 2 else (10,)
        extra = data[1] % 3 - 1
        starts = [data[k : k + SHORT] for k in range(2, len(data), SHORT)]
        file = b"".join(start.ljust(PIXELS + len(classes), b"\0") for start in starts)
    images, labels = read_cifar(file_of(file + b"\0" * extra if extra >= 0 else file[:extra], "cifar.bin"), classes)
    assert images.shape[1:] == (3, 32, 32)
    assert labels.min() >= 0
    assert (labels.max(axis=0) < classes).all()


COVERED = ("adntn_ref.nn.cifar",)
TARGETS = [
    Target(
        "cifar",
        one,
        lambda: [b"\0\1\3\0\0\0", b"\1\1\5\77\0\0\1\2\0\0", b"\0\0\3\0", b"\0\2\3\0"],
        unpacked=769,
        longest=64,
        covered=("adntn_ref.nn.cifar",),
    )
]

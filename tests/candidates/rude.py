"""Writes on every pipe that it finds open, the one of the answers among them."""

import contextlib
import os
import stat

from honest import generate as right
from honest import vjp

__all__ = ["generate", "vjp"]


def generate(spec, params):
    for handle in range(3, 64):
        with contextlib.suppress(OSError):
            if stat.S_ISFIFO(os.fstat(handle).st_mode):
                os.write(handle, b"this is no message, and it is longer than the start of one")
    return right(spec, params)

"""Right, but prints on every handle, reads the input, and warns."""

import os
import subprocess
import sys
import warnings

import honest
from honest import vjp

print("hello from the module")

__all__ = ["generate", "vjp"]


def generate(spec, params):
    print("x" * 100_000)
    os.write(1, b"ADNTNMSG garbage on the standard output\n")
    os.write(2, b"\xff\xfe not text\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    assert sys.stdin.read() == ""
    warnings.warn("careless", stacklevel=1)
    return honest.generate(spec, params)

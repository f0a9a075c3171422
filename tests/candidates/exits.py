"""Ends the process in the middle of a case, after some words."""

import os
import sys

from honest import generate
from honest import vjp as right


def vjp(spec, params, cotangent):
    if spec["network"] == "lowrank":
        print("about to end", file=sys.stderr, flush=True)
        os._exit(7)
    return right(spec, params, cotangent)


__all__ = ["generate", "vjp"]

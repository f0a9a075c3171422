"""Does not come back on one kind of network."""

import time

from honest import generate as right
from honest import vjp


def generate(spec, params):
    if spec["network"] == "lowrank":
        time.sleep(1000)
    return right(spec, params)


__all__ = ["generate", "vjp"]

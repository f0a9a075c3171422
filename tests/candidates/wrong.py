"""Wrong only where a brick-wall has three layers or more: what shrinking has to find."""

from honest import generate as right
from honest import vjp


def generate(spec, params):
    if spec["network"] != "brickwall":
        raise NotImplementedError
    return right(spec, params) * (1 + 1e-3 * (spec["layers"] >= 3))


__all__ = ["generate", "vjp"]

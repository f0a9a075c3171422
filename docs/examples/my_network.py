"""A network of one's own: bricks one after another along the modes, as in a sequential quantum circuit.

The bricks of a brick-wall's column touch each other nowhere. Here brick q + 1 acts on what brick q has made, so that
one layer already ties the first mode to the last. Everything but the list of steps comes from ``ProgramNetwork``.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import adntn_ref as ar
from adntn_ref.ad import get_activation
from adntn_ref.networks import NETWORKS
from adntn_ref.networks.programmed import ProgramNetwork
from adntn_ref.networks.spec import layout_spec, positive_integer
from adntn_ref.program.modes import Layout, resolve_layout
from adntn_ref.program.steps import Activate, Factor, Mix, Product, Program, Step


@dataclass(frozen=True)
class Cascade(ProgramNetwork):
    """Start vectors ``start{q}``; each layer bricks ``layer{m}.brick{q}`` on the modes (q, q + 1), q = 0, 1, 2, ..."""

    shape: tuple[int, ...]
    layers: int
    modes: tuple[int, ...] | None = None
    activation: str = "tanh"
    placement: Layout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        placement = resolve_layout(self.shape, self.modes)
        for name, value in {
            "placement": placement,
            "shape": placement.shape,
            "modes": placement.modes,
            "layers": positive_integer(self.layers, "layers"),
            "activation": get_activation(self.activation).name,
        }.items():
            object.__setattr__(self, name, value)

    @property
    def _built(self) -> tuple[Program, dict[str, tuple[int, ...]]]:
        return _build(self)

    def to_spec(self) -> dict[str, Any]:
        """Return the specification as a JSON-able dict."""
        spec = {"network": "cascade", **layout_spec(self.placement)}
        return {**spec, "layers": self.layers, "activation": self.activation}


@lru_cache(maxsize=512)
def _build(net: Cascade) -> tuple[Program, dict[str, tuple[int, ...]]]:
    """List the steps and the shapes of the cores, in the order in which they are drawn."""
    modes, steps = net.placement.modes, list[Step]()
    shapes: dict[str, tuple[int, ...]] = {f"start{q}": (d,) for q, d in enumerate(modes)}
    start = Product("start", tuple(Factor(name, dims) for name, dims in shapes.items()))
    for m in range(net.layers):
        for q in range(len(modes) - 1):
            brick = f"layer{m}.brick{q}"
            shapes[brick] = (modes[q], modes[q + 1]) * 2
            steps.append(Mix(brick, modes, ((q, brick),)))
        if m < net.layers - 1:
            steps.append(Activate(f"layer{m}.activation", modes, get_activation(net.activation)))
    return Program(start, tuple(steps)), shapes


NETWORKS["cascade"] = (Cascade, ("shape", "layers", "modes", "activation"))  # so that from_spec and files know it

if __name__ == "__main__":
    net = Cascade((16, 16), layers=2)
    result = ar.fit(net, ar.BrickWall((16, 16), layers=1).generate(ar.BrickWall((16, 16), layers=1).init(1)), steps=300)
    print(f"{net.parameter_count} numbers for {net.weights} weights, relative error {result.relative_error:.2f}")

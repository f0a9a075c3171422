"""Networks that are programs of steps: brick-walls and trees."""

from typing import Any

from hypothesis import strategies as st

from adntn_ref.networks import ATTN, MERA, TTN, BrickWall
from adntn_ref.networks.tree import TreeNetwork

from .places import LARGEST, placed

ACTIVATIONS = ("identity", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu", "sin")
ANALYTIC = ("identity", "tanh", "sigmoid", "gelu", "silu", "sin")
KINDS: dict[str, type[TreeNetwork]] = {"ttn": TTN, "attn": ATTN, "mera": MERA}
MOST_CHI = 5


@st.composite
def brickwalls(
    draw: st.DrawFn,
    activations: tuple[str, ...] = ACTIVATIONS,
    limit: int = LARGEST,
    most_layers: int = 4,
) -> BrickWall:
    """Draw a brick-wall: every layout, boundary, activation and place of the activation; at most ``limit`` entries."""
    return BrickWall(
        **draw(placed(limit)),
        layers=draw(st.integers(1, most_layers)),
        activation=draw(st.sampled_from(activations)),
        boundary=draw(st.sampled_from(["constant", "trainable"])),
        activation_every=draw(st.sampled_from(["layer", "column"])),
    )


@st.composite
def trees(
    draw: st.DrawFn,
    activations: tuple[str, ...] = ACTIVATIONS,
    limit: int = LARGEST,
    kinds: tuple[str, ...] = tuple(KINDS),
) -> TreeNetwork:
    """Draw a tree with the activation on the levels: every kind and layout, 2 to 9 modes, odd numbers of them too.

    Parameters
    ----------
    activations : names to draw from
    limit : largest number of generated entries
    kinds : names of networks to draw from
    """
    kind = draw(st.sampled_from(kinds))
    extra: dict[str, Any] = {"periodic": draw(st.booleans())} if kind == "mera" else {}
    return KINDS[kind](**draw(_entries(activations, limit)), **extra)


@st.composite
def node_trees(draw: st.DrawFn, activations: tuple[str, ...] = ACTIVATIONS, limit: int = LARGEST) -> TTN:
    """Draw a TTN with the activation at the nodes; parameters as of :func:`trees`."""
    return TTN(**draw(_entries(activations, limit)), activation_site="node")


@st.composite
def _entries(draw: st.DrawFn, activations: tuple[str, ...], limit: int) -> dict[str, Any]:
    """Draw the entries that all trees have."""
    place = draw(placed(limit))
    chi, activation = draw(st.integers(1, MOST_CHI)), draw(st.sampled_from(activations))
    return {**place, "chi": chi, "activation": activation}

"""Hypothesis strategies for trees small enough for the dense oracle."""

from typing import Any

from hypothesis import strategies as st

from adntn_ref.networks.attn import ATTN
from adntn_ref.networks.mera import MERA
from adntn_ref.networks.tree import TreeNetwork
from adntn_ref.networks.ttn import TTN

from .strategies import ACTIVATIONS, LARGEST, _flat, _matrix

KINDS: dict[str, type[TreeNetwork]] = {"ttn": TTN, "attn": ATTN, "mera": MERA}
MOST_CHI = 5


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
    layout = draw(st.sampled_from(["flat", "flat", "axes", "interleaved"]))
    place = draw(_flat(limit)) if layout == "flat" else draw(_matrix(limit))
    chi, activation = draw(st.integers(1, MOST_CHI)), draw(st.sampled_from(activations))
    return {**place, "layout": layout, "chi": chi, "activation": activation}

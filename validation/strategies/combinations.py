"""Combinations of networks, nested, and the frozen weights of their deltas."""

from typing import Any

from hypothesis import strategies as st

from adntn_ref.networks import CP, MPO, TTN, BrickWall, Delta, LowRank, Network, Split, Stack, Sum, TensorTrain, Tucker
from adntn_ref.networks.combination import Combination

from .arrays import normal


def of_shape(shape: tuple[int, ...], linear: bool = False) -> st.SearchStrategy[Network]:
    """Return networks of one shape and few parameters; ``linear`` leaves those with activations out."""
    sigma = "identity" if linear else "tanh"
    return st.sampled_from(
        [
            LowRank(shape, 2),
            TensorTrain(shape, 2),
            MPO(shape, 2),
            CP(shape, 2),
            Tucker(shape, 1),
            BrickWall(shape, 2, activation=sigma),
            TTN(shape, 2, activation=sigma),
        ]
    )


@st.composite
def combinations(draw: st.DrawFn, linear: bool = False, depth: int = 2, stacks: bool = True) -> Network:
    """Draw a combination of networks, nested up to ``depth`` deep.

    Parameters
    ----------
    linear : whether to leave out networks with activations
    depth : deepest nesting
    stacks : whether the outermost may be a stack
    """
    shape = draw(st.sampled_from([(3, 4), (2, 5), (7,), (2, 3, 2), (1, 4)]))
    net = draw(_nested(shape, linear, depth))
    if stacks and draw(st.integers(0, 3)) == 0:
        count = net.weights
        first = draw(st.integers(1, count))
        shapes = {"a": (first,), "b": (1, count - first)} if first < count else {"a": net.placement.shape}
        return Stack(shapes, net)
    return net


@st.composite
def _nested(draw: st.DrawFn, shape: tuple[int, ...], linear: bool, depth: int) -> Network:
    def part(wanted: tuple[int, ...]) -> Network:
        if depth > 1 and draw(st.booleans()):
            return draw(_nested(wanted, linear, depth - 1))
        return draw(of_shape(wanted, linear))

    kind = draw(st.sampled_from(["sum", "split", "delta"]))
    if kind == "sum":
        return Sum(*(part(shape) for _ in range(draw(st.integers(1, 3)))))
    if kind == "delta":
        return Delta(frozen(shape), part(shape), draw(st.sampled_from([1.0, -0.5, 2])))
    count = draw(st.sampled_from([n for n in range(1, 5) if fits(n, shape)]))
    return Split(shape, count, part)


def fits(n: int, shape: tuple[int, ...]) -> bool:
    """Return whether a weight's vector can be cut into n chunks, none of them empty."""
    count = 1
    for size in shape:
        count *= size
    return n <= count and (n - 1) * -(-count // n) < count


def frozen(shape: tuple[int, ...]) -> Any:
    """Return the frozen weight of the deltas of one shape."""
    return normal(7, shape, "float64")


def bases(network: Network) -> dict[Any, Any]:
    """Return the frozen weights of all deltas in a network, by what its specification says: shape, dtype, sha256."""
    found: dict[Any, Any] = {network.identity: network.base} if isinstance(network, Delta) else {}
    for part in network._parts if isinstance(network, Combination) else ():
        found.update(bases(part))
    return found

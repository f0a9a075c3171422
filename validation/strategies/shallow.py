"""Shallow networks."""

from hypothesis import strategies as st

from adntn_ref.networks import CP, MPO, LowRank, Network, TensorTrain, Tucker

from .places import LARGEST, matrix, placed

SMALL = 64
"""Most entries of a network whose gradient the oracle finds core entry by core entry."""


@st.composite
def mpos(draw: st.DrawFn, limit: int = LARGEST) -> MPO:
    """Draw a matrix product operator of at most ``limit`` generated entries."""
    return MPO(**draw(matrix(limit)), chi=draw(st.integers(1, 6)))


@st.composite
def lowranks(draw: st.DrawFn, limit: int = SMALL) -> LowRank:
    """Draw a low-rank network, of a rank above the matrix's own too."""
    shape: tuple[int, ...] = draw(matrix(limit))["shape"]
    return LowRank(shape, draw(st.integers(1, 5)))


@st.composite
def tensor_trains(draw: st.DrawFn, limit: int = SMALL) -> TensorTrain:
    """Draw a tensor train: every layout, with padding where it so happens."""
    return TensorTrain(**draw(placed(limit)), chi=draw(st.integers(1, 5)))


@st.composite
def cps(draw: st.DrawFn, limit: int = SMALL) -> CP:
    """Draw a CP network: every layout, with padding where it so happens."""
    return CP(**draw(placed(limit)), rank=draw(st.integers(1, 5)))


@st.composite
def tuckers(draw: st.DrawFn, limit: int = SMALL) -> Tucker:
    """Draw a Tucker network of a common rank or of one a mode: every layout."""
    place = draw(placed(limit))
    common = Tucker(**place, ranks=draw(st.integers(1, 4)))
    if draw(st.booleans()):
        return common
    ranks = tuple(draw(st.integers(1, d)) for d in common.placement.modes)
    return Tucker(**place, ranks=ranks)


def shallow(limit: int = SMALL) -> st.SearchStrategy[Network]:
    """Return low-rank networks, tensor trains, matrix product operators, CP and Tucker networks."""
    return st.one_of(lowranks(limit), tensor_trains(limit), mpos(limit), cps(limit), tuckers(limit))

"""What is timed: a network, its parameters and a target; the loss is the mean squared distance of the weight to it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adntn_ref import MERA, TTN, BrickWall, Network

Array = NDArray[Any]


@dataclass(frozen=True)
class Answer:
    """What everybody must agree on: the loss, and its gradient with respect to every core."""

    loss: float
    gradients: dict[str, Array]


@dataclass(frozen=True)
class Workload:
    """A network with parameters and a target of its weight's shape, in one dtype.

    Attributes
    ----------
    network : its weight is a vector of 2^Q entries
    params : core name -> array
    target : array, shape (2^Q,)
    """

    network: Network
    params: dict[str, Array]
    target: Array

    @property
    def spec(self) -> dict[str, Any]:
        """The network's specification."""
        return self.network.to_spec()

    @property
    def entries(self) -> int:
        """2^Q, the number of generated entries."""
        return self.network.weights

    @property
    def dtype(self) -> str:
        """The dtype of parameters and target."""
        return str(self.target.dtype)

    @property
    def output_bytes(self) -> int:
        """Bytes of the weight, the unit in which memory is given."""
        return self.target.nbytes


def _with_target(network: Network, dtype: str) -> Workload:
    """Return a network with the parameters of seed 0 and a normal target of the same standard deviation as it has."""
    params = network.init(0, dtype=dtype, std=1.0)
    target = np.random.default_rng(1).standard_normal(network.weights, dtype=np.float32).astype(dtype)
    return Workload(network, params, target)


def brickwall(q: int, layers: int, dtype: str) -> Workload:
    """Return W(Q, M): a brick-wall of M layers of two columns each with relu between layers, 2^Q entries."""
    return _with_target(BrickWall((2**q,), layers=layers), dtype)


def tree(kind: str, q: int, chi: int, size: int, dtype: str) -> Workload:
    """Return a TTN or MERA with tanh for 2^q entries on modes of ``size`` entries each (2 or 4)."""
    modes = (size,) * (q // (size.bit_length() - 1))
    make = {"ttn": TTN, "mera": MERA}[kind]
    return _with_target(make((2**q,), chi=chi, modes=modes), dtype)


def bricks(q: int, layers: int) -> int:
    """Return the number of bricks of W(Q, M)."""
    return layers * (q - 1)


def gemm_flops(q: int, layers: int, first_column: bool = True) -> int:
    """Return F, what products of matrices have to do for the loss's gradient: 24 flop a brick and entry.

    A brick is a 4x4 matrix on 2^Q / 4 columns: 2 * 4 * 4 * 2^Q / 4 = 8 * 2^Q forward, as much for the cotangent and for
    the environment. Without the ``first_column``, whose bricks act on a constant vector, the bricks of the first column
    are left out: what they make is an outer product.
    """
    count = bricks(q, layers) - (0 if first_column else q // 2)
    return 24 * count * int(2**q)

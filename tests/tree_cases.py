"""Trees against the dense oracle, for the tests of trees."""

import numpy as np
from elsewhere import there
from network_cases import RTOL, Params, close, close_all, norm

from adntn_ref.networks.tree import TreeNetwork
from adntn_ref.program.steps import Program
from adntn_ref.validation import dense_tree

Case = tuple[TreeNetwork, Params, np.ndarray]


def size_of_terms(case: Case) -> float:
    """The gradient of the same sums without signs and sigma: rounding is relative to this where terms cancel."""
    net, params, g = case
    spec = {**net.to_spec(), "activation": "identity"}
    return norm(dense_tree.vjp(spec, {name: np.abs(core) for name, core in params.items()}, np.abs(g)))


def size_of_sums(net: TreeNetwork, params: Params) -> float:
    """The weight of the same sums without signs and sigma."""
    spec = {**net.to_spec(), "activation": "identity"}
    weight = dense_tree.generate(spec, {name: np.abs(core) for name, core in params.items()})
    return float(np.linalg.norm(weight))


def check_case(case: Case, rtol: float = RTOL) -> None:
    """Compare weight and gradient with the oracle; dtypes and order of names too."""
    net, params, g = case
    spec = net.to_spec()
    weight, pullback = there(net.vjp)(params)
    gradients = pullback(g)
    share = 1e-2 if rtol == RTOL else 1.0
    size = share * size_of_sums(net, params)
    close(weight, dense_tree.generate(spec, params), rtol, size)
    close(there(net.generate)(params), weight, rtol, size)
    close_all(gradients, dense_tree.vjp(spec, params, g), rtol, share * size_of_terms(case))
    assert weight.dtype == g.dtype
    assert list(gradients) == list(net.core_shapes)
    assert {x.dtype for x in gradients.values()} == {g.dtype}
    assert weight.flags.c_contiguous
    assert all(x.flags.c_contiguous for x in gradients.values())


def normal(net: TreeNetwork, seed: int = 0, dtype: str = "float64") -> Params:
    """Parameters of normal numbers."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in net.core_shapes.items()}


def unit_mixing(shapes: dict[str, tuple[int, ...]]) -> Params:
    """The unit matrix for every mixing core among ``shapes``."""
    return {
        name: np.eye(shape[0] * shape[1]).reshape(shape) for name, shape in shapes.items() if name.startswith("mix")
    }


def program(net: TreeNetwork) -> Program:
    """The program of a tree with the activation on the levels."""
    assert isinstance(net.program, Program)
    return net.program

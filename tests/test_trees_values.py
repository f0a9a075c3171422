"""Weights, gradients and states of the trees against explicit matrices, and what trees must be able to represent."""

from math import prod
from typing import Any

import numpy as np
import pytest
from elsewhere import alike, there
from hypothesis import given, settings
from hypothesis import strategies as st
from network_cases import cases, close
from tree_cases import Case, check_case, normal, program, size_of_sums, unit_mixing

from adntn_ref.networks.attn import ATTN
from adntn_ref.networks.mera import MERA
from adntn_ref.networks.tree import Tree, TreeNetwork, children
from adntn_ref.networks.ttn import TTN
from adntn_ref.validation import dense_tree
from adntn_ref.validation.strategies import trees

MANY = settings(max_examples=4 * settings().max_examples)


@MANY
@given(cases(trees()))
def test_double(case: Case) -> None:
    check_case(case)


@MANY
@given(cases(trees(("identity",)), "complex128"))
def test_complex(case: Case) -> None:
    check_case(case)


@MANY
@given(cases(trees(), "float32"))
def test_single(case: Case) -> None:
    # An entry whose sign rounding flips is itself of the size of rounding, but the slope of relu there is not.
    net, params, _ = case
    if net.activation in ("relu", "leaky_relu"):
        close(there(net.generate)(params), dense_tree.generate(net.to_spec(), params), 2e-5, size_of_sums(net, params))
        return
    check_case(case, 2e-5)


@MANY
@given(cases(trees()))
def test_states(case: Case) -> None:
    net, params, _ = case
    got = there(net.forward_states)(params)
    expected = dense_tree.states(net.to_spec(), params)
    assert list(got) == [package_name(label) for label, _ in expected]
    size = max(float(np.linalg.norm(x)) for _, x in expected)
    dims = {step.name: step.out_dims for step in program(net).all_steps}
    for (name, x), (_, y) in zip(got.items(), expected, strict=True):
        assert x.shape == dims[name]
        close(x.reshape(-1), y, 1e-12, size)
    assert got[list(got)[-1]].shape == net.modes


def package_name(label: str) -> str:
    """Return the package's name of a state of the oracle."""
    if label == "root":
        return "depth1"
    kind = label.rstrip("0123456789")
    return f"depth{label[len(kind) :]}.{kind}"


@MANY
@given(cases(trees()), st.sampled_from(["fortran", "strided", "read-only"]))
def test_inputs_of_any_layout_stay_as_they_are(case: Case, kind: str) -> None:
    net, params, g = case
    before = {name: core.copy() for name, core in params.items()}
    cotangent = g.copy()
    weight, pullback = there(net.vjp)(params)
    gradients = pullback(g)
    other, other_pullback = there(net.vjp)({name: laid_out(core, kind) for name, core in params.items()})
    close(other, weight, 1e-13, size_of_sums(net, params))
    for name, x in other_pullback(laid_out(g, kind)).items():
        close(x, gradients[name], 1e-12, sum(float(np.linalg.norm(y)) for y in gradients.values()))
    for name, core in params.items():
        assert np.array_equal(core, before[name])
        assert not np.shares_memory(weight, core)
        assert not np.shares_memory(gradients[name], g)
    assert np.array_equal(g, cotangent)
    again = pullback(2 * g)
    assert all(np.array_equal(2 * gradients[name], again[name]) for name in gradients)


def laid_out(x: np.ndarray, kind: str) -> np.ndarray:
    if kind == "fortran":
        return np.asfortranarray(x)
    if kind == "strided":
        return np.repeat(x, 2, axis=-1)[..., ::2]
    x = x.copy()
    x.flags.writeable = False
    return x


# ---- Identities between the networks


def entries(net: TreeNetwork) -> dict[str, Any]:
    skipped = ("network", "periodic", "activation_site")
    return {name: entry for name, entry in net.to_spec().items() if name not in skipped}


@MANY
@given(cases(trees(kinds=("mera",))))
def test_with_unit_mixing_all_are_one(case: Case) -> None:
    mera, params, _ = case
    params = {**params, **unit_mixing(mera.core_shapes)}
    attn, ttn = ATTN(**entries(mera)), TTN(**entries(mera))
    whole = there(mera.generate)(params)
    plain = there(ttn.generate)({name: params[name] for name in ttn.core_shapes})
    close(whole, plain, 1e-15)
    assert alike(whole, plain)
    shapes = attn.core_shapes
    assert alike(there(attn.generate)({**unit_mixing(shapes), **{k: params[k] for k in ttn.core_shapes}}), plain)


@MANY
@given(cases(trees(kinds=("mera",))))
def test_a_mera_that_mixes_at_the_last_depth_alone_is_an_attn(case: Case) -> None:
    mera, params, _ = case
    mera = MERA(**entries(mera))
    attn = ATTN(**entries(mera))
    params = {name: params[name] for name in mera.core_shapes}
    above = {name: core for name, core in unit_mixing(mera.core_shapes).items() if name not in attn.core_shapes}
    params.update(above)
    assert alike(there(mera.generate)(params), there(attn.generate)({name: params[name] for name in attn.core_shapes}))


# ---- Written out


def test_a_tree_of_five_modes_by_einsum() -> None:
    """[0, 5) -> [0, 3), [3, 5) -> [0, 2), 2, 3, 4 -> 0, 1, 2, 3, 4."""
    net = TTN((2, 3, 2, 2, 3), chi=4, modes=(2, 3, 2, 2, 3), activation="tanh")
    assert net.core_shapes == {
        "root": (4, 4),
        "node0_3": (4, 2, 4),
        "node3_5": (2, 3, 4),
        "node0_2": (2, 3, 4),
    }
    p = normal(net)
    state = np.einsum("lck,der,kr->lcde", p["node0_3"], p["node3_5"], np.tanh(p["root"]))
    expected = np.einsum("abl,lcde->abcde", p["node0_2"], np.tanh(state))
    close(there(net.generate)(p), expected, 1e-14)


@pytest.mark.parametrize("periodic", [False, True])
def test_a_mera_of_eight_modes_by_einsum(periodic: bool) -> None:
    net = MERA((2,) * 8, chi=3, modes=(2,) * 8, activation="sin", periodic=periodic)
    p = normal(net, 1)
    x = np.einsum("abi,cdj,ij->abcd", p["node0_4"], p["node4_8"], np.sin(p["root"]))
    x = np.einsum("xybc,abcd->axyd", p["mix2.1"], x)
    if periodic:
        x = np.einsum("xyda,abcd->ybcx", p["mix2.3"], x)
    nodes = [p[f"node{i}_{i + 2}"] for i in (0, 2, 4, 6)]
    x = np.einsum("abi,cdj,efk,ghl,ijkl->abcdefgh", *nodes, np.sin(x), optimize=True)
    for q, axes in ((1, "bc"), (3, "de"), (5, "fg")):
        x = np.einsum(f"xy{axes},abcdefgh->{'abcdefgh'.replace(axes, 'xy')}", p[f"mix3.{q}"], x)
    if periodic:
        x = np.einsum("xyha,abcdefgh->ybcdefgx", p["mix3.7"], x)
    close(there(net.generate)(p), x, 1e-14)
    assert set(p) == set(net.core_shapes)
    assert ("mix3.7" in p) == periodic


# ---- What a tree can represent


def frames(tensor: np.ndarray, tree: Tree) -> dict[tuple[int, int], np.ndarray]:
    """Leading left singular vectors of the tensor read as a matrix of (modes under a node) x (the others)."""
    found = {}
    waiting = [*children((0, tensor.ndim))]
    while waiting:
        i, j = waiting.pop()
        if j - i == 1:
            found[i, j] = np.eye(tensor.shape[i])
            continue
        others = [*range(i), *range(j, tensor.ndim)]
        matrix = tensor.transpose([*range(i, j), *others]).reshape(prod(tensor.shape[i:j]), -1)
        found[i, j] = np.linalg.svd(matrix, full_matrices=False)[0][:, : tree.bond((i, j))]
        waiting += children((i, j))
    return found


def hierarchical(tensor: np.ndarray, net: TTN) -> dict[str, np.ndarray]:
    """Cores of the hierarchical singular value decomposition: W = (U_l (x) U_r)^T U, root = (U_l (x) U_r)^T T."""
    found = frames(tensor, net.tree)
    cores = {}
    for i, j in [(0, tensor.ndim), *found]:
        if j - i > 1:
            left, right = children((i, j))
            lift = np.kron(found[left], found[right])
            name = "root" if (i, j) == (0, tensor.ndim) else f"node{i}_{j}"
            own = tensor.reshape(-1, 1) if name == "root" else found[i, j]
            cores[name] = lift.T @ own
    return {name: cores[name].reshape(shape) for name, shape in net.core_shapes.items()}


@pytest.mark.parametrize("modes", [(2, 2), (4, 3, 2), (2,) * 5, (3, 2, 4, 1, 2, 3), (2,) * 8, (2, 7, 2, 2)])
def test_full_bonds_represent_any_tensor(modes: tuple[int, ...]) -> None:
    tensor = np.random.default_rng(0).standard_normal(modes)
    net = TTN(modes, chi=10**6, modes=modes, activation="identity")
    close(there(net.generate)(hierarchical(tensor, net)), tensor, 1e-13)


def test_smaller_bonds_err_as_the_singular_values_say() -> None:
    """At least the worst cut's discarded part, at most the root of the sum over all cuts (Grasedyck 2010)."""
    modes = (2,) * 8
    grid = np.linspace(0, 1, 256)
    tensor = np.reshape(1 / (0.1 + grid) + np.sin(20 * grid**2), modes)
    for chi in (1, 2, 3, 5):
        net = TTN(modes, chi=chi, modes=modes, activation="identity")
        error = float(np.linalg.norm(there(net.generate)(hierarchical(tensor, net)) - tensor))
        lost = []
        for i, j in frames(tensor, net.tree):
            others = [*range(i), *range(j, 8)]
            matrix = tensor.transpose([*range(i, j), *others]).reshape(2 ** (j - i), -1)
            lost.append(float(np.sum(np.linalg.svd(matrix)[1][net.tree.bond((i, j)) :] ** 2)))
        assert np.sqrt(max(lost)) * (1 - 1e-9) <= error + 1e-12
        assert error <= np.sqrt(sum(lost)) * (1 + 1e-9) + 1e-12


def test_oracle_refuses_large_and_unknown() -> None:
    with pytest.raises(ValueError, match="4096"):
        dense_tree.generate({"network": "ttn", "shape": [8192], "chi": 1}, {})
    with pytest.raises(ValueError, match="knows"):
        dense_tree.vjp({"network": "mpo", "shape": [4], "chi": 1}, {}, np.ones(4))
    with pytest.raises(ValueError, match="no states"):
        dense_tree.states({"network": "ttn", "shape": [4], "chi": 1, "activation_site": "node"}, {})

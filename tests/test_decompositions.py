"""Decompositions of a given weight: exact where they can be, within their bounds, and as found by other means."""

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.errors import AdntnError, ArrayError, DTypeError, MemoryLimitError, NonFiniteError
from adntn_ref.program import memory
from adntn_ref.validation.strategies import cotangents, lowranks, mpos, parameters, tensor_trains, tuckers

Decomposed = ar.LowRank | ar.TensorTrain | ar.MPO | ar.Tucker
ANY = st.one_of(lowranks(), tensor_trains(256), mpos(256), tuckers(256))
DTYPES = st.sampled_from(["float64", "complex128"])


def distance(net: ar.Network, params: Any, target: Any) -> float:
    return float(np.linalg.norm(net.generate(params) - target))


@given(ANY, DTYPES, st.data())
def test_within_the_bounds(net: Decomposed, dtype: str, data: st.DataObject) -> None:
    target = data.draw(cotangents(net, dtype))
    size, bound = float(np.linalg.norm(target)), net.error_bound(target)
    found = net.decompose(target)
    assert list(found) == list(net.core_shapes)
    assert net.check_params(found) == dtype
    assert distance(net, found, target) <= bound.upper + 1e-12 * size
    assert bound.lower <= bound.upper + 1e-12 * size
    assert bound.upper <= size * np.sqrt(len(net.placement.modes)) + 1e-12
    if net.placement.generated == net.weights:
        count = 1 if isinstance(net, ar.LowRank) else len(net.core_shapes)
        assert bound.upper <= np.sqrt(count) * bound.lower + 1e-12 * size
    # No parameters come closer than the lower bound: not these, nor any drawn, at their best scale.
    assert distance(net, found, target) >= bound.lower - 1e-10 * size
    drawn = net.generate(data.draw(parameters(net, dtype)))
    scale = np.vdot(drawn, target) / max(float(np.vdot(drawn, drawn).real), 1e-300)
    assert np.linalg.norm(scale * drawn - target) >= bound.lower - 1e-10 * size


@given(ANY, DTYPES, st.data())
def test_what_a_network_made_is_found_again(net: Decomposed, dtype: str, data: st.DataObject) -> None:
    """A weight without padding that the network can make is decomposed without error."""
    if net.placement.generated != net.weights:
        return
    target = net.generate(data.draw(parameters(net, dtype)))
    size = float(np.linalg.norm(target))
    assert distance(net, net.decompose(target), target) <= 1e-10 * size
    assert net.error_bound(target).upper <= 1e-10 * size


@given(st.one_of(tensor_trains(256), mpos(256)), DTYPES, st.data())
def test_full_bonds_represent_any_tensor(drawn: Any, dtype: str, data: st.DataObject) -> None:
    net = type(drawn)(**{**{k: v for k, v in drawn.to_spec().items() if k != "network"}, "chi": 1000})
    target = data.draw(cotangents(net, dtype))
    assert distance(net, net.decompose(target), target) <= 1e-10 * float(np.linalg.norm(target))
    assert net.error_bound(target) == type(net.error_bound(target))(0.0, 0.0)


@given(lowranks(), DTYPES, st.data())
def test_low_rank_is_the_optimum(net: ar.LowRank, dtype: str, data: st.DataObject) -> None:
    """Eckart and Young: the singular values left out are the error, by the eigenvalues of the Gram matrix here."""
    target = data.draw(cotangents(net, dtype))
    matrix = target.reshape(target.shape[0], -1)
    squares = np.sort(np.linalg.eigvalsh(matrix @ matrix.conj().T))[::-1]
    expected = np.sqrt(max(0.0, float(np.sum(squares[net.rank :]))))
    size = float(np.linalg.norm(target))
    assert abs(distance(net, net.decompose(target), target) - expected) <= 1e-7 * size
    bound = net.error_bound(target)
    assert bound.lower == bound.upper
    assert abs(bound.lower - expected) <= 1e-7 * size


def test_more_rank_than_the_matrix_has_stays_trainable() -> None:
    target = np.random.default_rng(0).standard_normal((3, 4))
    net = ar.LowRank((3, 4), 5)
    params = net.decompose(target)
    assert np.allclose(net.generate(params), target, rtol=1e-13)
    gradient = net.vjp(params)[1](np.ones((3, 4)))
    assert (np.abs(gradient["left"]).max(axis=0) > 1e-3).all()


def by_hand(tensor: Any, chi: int) -> Any:
    """TT-SVD by eigenvectors of Gram matrices, projecting the whole tensor cut after cut from the left."""
    whole = tensor
    for k in range(1, tensor.ndim):
        left = prod(tensor.shape[:k])
        matrix = whole.reshape(left, -1)
        _, vectors = np.linalg.eigh(matrix @ matrix.conj().T)
        kept = vectors[:, ::-1][:, : min(chi, left, matrix.shape[1])]
        whole = (kept @ (kept.conj().T @ matrix)).reshape(tensor.shape)
    return whole


@pytest.mark.parametrize("chi", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_tensor_train_as_by_projections(chi: int, dtype: str) -> None:
    rng = np.random.default_rng(chi)
    target = rng.standard_normal((3, 4, 2, 5)).astype(dtype)
    if dtype == "complex128":
        target = target + 1j * rng.standard_normal(target.shape)
    net = ar.TensorTrain(target.shape, chi, modes=target.shape)
    params = net.decompose(target)
    assert np.allclose(net.generate(params), by_hand(target, chi), atol=1e-10)
    for core in list(params.values())[:-1]:
        matrix = core.reshape(-1, core.shape[-1])
        assert np.allclose(matrix.conj().T @ matrix, np.eye(core.shape[-1]), atol=1e-12)


@pytest.mark.parametrize("ranks", [(1, 1, 1), (2, 3, 2), (3, 4, 2), (3, 4, 5)])
def test_tucker_as_by_projections(ranks: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    target = rng.standard_normal((3, 4, 5)) + 1j * rng.standard_normal((3, 4, 5))
    net = ar.Tucker(target.shape, ranks, modes=target.shape)
    params = net.decompose(target)
    expected = target
    for q, rank in enumerate(ranks):
        matrix = np.moveaxis(target, q, 0).reshape(target.shape[q], -1)
        kept = np.linalg.eigh(matrix @ matrix.conj().T)[1][:, ::-1][:, :rank]
        expected = np.moveaxis(np.tensordot(kept @ kept.conj().T, expected, (1, q)), 0, q)
        factor = params[f"factor{q}"]
        assert np.allclose(factor.conj().T @ factor, np.eye(rank), atol=1e-12)
    assert np.allclose(net.generate(params), expected, atol=1e-10)


def test_tucker_with_more_rank_than_the_others_allow() -> None:
    target = np.random.default_rng(0).standard_normal((8, 2))
    net = ar.Tucker((8, 2), (8, 2), modes=(8, 2))
    params = net.decompose(target)
    assert np.allclose(params["factor0"].T @ params["factor0"], np.eye(8), atol=1e-12)
    assert np.allclose(net.generate(params), target, atol=1e-12)


@given(st.one_of(tensor_trains(128), mpos(128), tuckers(128)), st.integers(0, 999))
def test_training_does_not_beat_the_lower_bound(net: Any, seed: int) -> None:
    """Even with padding, that the best cores may fill as they like; the weight here is one the network nearly makes."""
    rng = np.random.default_rng(seed)
    made = net.generate(net.init(rng=rng, std=1.0))
    target = made + 0.05 * rng.standard_normal(made.shape)
    assert net.error_bound(target).lower <= np.linalg.norm(made - target) * (1 + 1e-12)


def test_dtypes_of_the_target() -> None:
    target = np.random.default_rng(0).standard_normal((6, 5)).astype("float32")
    for net in (ar.LowRank((6, 5), 2), ar.TensorTrain((6, 5), 3), ar.MPO((6, 5), 3), ar.Tucker((6, 5), 2)):
        found = net.decompose(target)
        assert {core.dtype for core in found.values()} == {np.dtype("float32")}
        assert all(core.flags.c_contiguous for core in found.values())
        assert distance(net, found, target) <= net.error_bound(target).upper * (1 + 1e-5) + 1e-5


@pytest.mark.parametrize("way", ["decompose", "error_bound"])
@pytest.mark.parametrize(
    "net",
    [ar.LowRank((6, 5), 2), ar.TensorTrain((6, 5), 3), ar.MPO((6, 5), 3), ar.Tucker((6, 5), 2)],
    ids=lambda net: net.to_spec()["network"],
)
def test_bad_targets(net: ar.Network, way: str) -> None:
    run = getattr(net, way)
    good = np.ones((6, 5))
    bad: list[tuple[Any, type[AdntnError], str]] = [
        (good.tolist(), ArrayError, "the target must be a NumPy array, got a list"),
        (good.T, ArrayError, "the target has shape"),
        (good.astype(int), DTypeError, "the target has dtype int64"),
        (good * np.nan, NonFiniteError, "the target holds 30 entries that are not finite"),
    ]
    for target, error, sentence in bad:
        with pytest.raises(error, match=sentence):
            run(target)


def test_memory_is_asked_for_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(memory.LIMIT_VARIABLE, "100MiB")
    target = np.zeros((2048, 2048), "float32")
    for net in (ar.TensorTrain(target.shape, 2), ar.LowRank(target.shape, 2), ar.Tucker(target.shape, 2)):
        with pytest.raises(MemoryLimitError, match="decomposing a tensor of 4194304 entries needs"):
            net.decompose(target)


def test_cp_has_none() -> None:
    assert not hasattr(ar.CP((6, 5), 2), "decompose")

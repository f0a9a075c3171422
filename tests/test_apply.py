"""A layer's outputs without its weight: site by site, for the networks whose modes are rows or columns each."""

from typing import Any

import numpy as np
import pytest
from elsewhere import place, there
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref import ad
from adntn_ref.errors import ArrayError, DTypeError, MemoryLimitError, ParameterError, SpecError
from adntn_ref.networks.sites import operations
from adntn_ref.program import memory
from adntn_ref.validation.checks.gradients import check_gradient
from adntn_ref.validation.strategies import parameters, shallow

W0 = np.cos(np.arange(60.0)).reshape(6, 5, 2)
NETS: dict[str, ar.Network] = {
    "lowrank": ar.LowRank((6, 5), 3),
    "lowrank of a convolution": ar.LowRank((6, 5, 2, 1), 3),
    "lowrank of a vector": ar.LowRank((7,), 2),
    "mpo": ar.MPO((8, 16), 4),
    "mpo, padding": ar.MPO((6, 5), 4),
    "mpo, tall": ar.MPO((40, 3), 3),
    "mpo, a convolution": ar.MPO((6, 5, 3, 3), 3, row_modes=(2, 3), col_modes=(5, 3, 3)),
    "tt, axes": ar.TensorTrain((6, 5), 4, layout="axes"),
    "tt, interleaved": ar.TensorTrain((6, 5), 4, layout="interleaved"),
    "tt, flat": ar.TensorTrain((4, 8), 4),
    "tt, one row": ar.TensorTrain((1, 8), 3),
    "tt, one column": ar.TensorTrain((8,), 3),
    "cp, axes": ar.CP((6, 5), 4, layout="axes"),
    "cp, interleaved": ar.CP((6, 5, 2), 4, layout="interleaved"),
    "cp, one row": ar.CP((1, 8), 4),
    "cp, one column": ar.CP((8,), 4),
    "tucker, interleaved": ar.Tucker((6, 5), 2, layout="interleaved"),
    "tucker, axes": ar.Tucker((30, 12), (2, 3, 4), layout="axes", row_modes=(5, 6), col_modes=(12,)),
    "tucker, one column": ar.Tucker((8,), 2),
    "sum": ar.Sum(ar.LowRank((6, 5), 3), ar.MPO((6, 5), 4)),
    "delta": ar.Delta(W0, ar.MPO(W0.shape, 3), 0.3),
    "delta of a sum": ar.Delta(W0, ar.Sum(ar.MPO(W0.shape, 3), ar.LowRank(W0.shape, 2)), -2.0),
}
EACH = pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))


def matrix(net: ar.Network, weight: Any) -> Any:
    return weight.reshape(net.placement.shape[0], -1)


def inputs(net: ar.Network, batch: int, dtype: str = "float64") -> Any:
    columns = int(np.prod(net.placement.shape[1:]))
    x = np.random.default_rng(batch).standard_normal((batch, columns))
    return x.astype(dtype) if not dtype.startswith("c") else (x + 1j * x[::-1] ** 2).astype(dtype)


@EACH
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 1e-5), ("complex128", 1e-12)])
def test_equals_the_product_with_the_weight(net: ar.Network, dtype: str, rtol: float) -> None:
    params = {name: core.astype(dtype) for name, core in net.init(rng=1).items()}
    for batch in (1, 4):
        x = inputs(net, batch, dtype)
        y = there(net.apply)(params, x)
        expected = x @ matrix(net, there(net.generate)(params)).T
        assert y.dtype == dtype
        assert y.flags.c_contiguous
        assert np.abs(y - expected).max() <= rtol * np.abs(x).max() * np.abs(expected).max() * 10


@given(shallow(), st.integers(1, 5), st.data())
def test_any_shallow_network(net: ar.Network, batch: int, data: st.DataObject) -> None:
    params, x = data.draw(parameters(net)), inputs(net, batch)
    if net.apply_refusal:
        assert net.placement.kind == "flat"
        return
    absolute = {name: np.abs(core) for name, core in params.items()}
    size = np.abs(x) @ matrix(net, np.abs(there(net.generate)(absolute))).T  # the same sums without signs
    assert (
        np.abs(there(net.apply)(params, x) - x @ matrix(net, there(net.generate)(params)).T) <= 1e-12 * size + 1e-200
    ).all()


@EACH
def test_gradients(net: ar.Network) -> None:
    """Those through the weight, for cores and inputs, and differences."""
    params, x = net.init(rng=2), inputs(net, 3)
    g = np.random.default_rng(5).standard_normal((3, net.placement.shape[0]))

    def without(p: Any, z: Any) -> Any:
        return ad.sum(net.apply(p, z) * place(g))

    def through(p: Any, z: Any) -> Any:
        weight = ad.reshape(net.generate(p), shape=(net.placement.shape[0], -1))
        return ad.sum(ad.matmul(z, ad.transpose(weight)) * place(g))

    found, expected = (there(ar.grad(f, argnums=(0, 1)))(params, x) for f in (without, through))
    np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=1e-12 * np.abs(expected[1]).max())
    for name, core in expected[0].items():
        np.testing.assert_allclose(found[0][name], core, rtol=0, atol=1e-12 * max(1.0, np.abs(core).max()))
    if net.parameter_count < 100:
        check_gradient(lambda p: there(without)(p, x), lambda p: there(ar.grad(without))(p, x), params)


def test_either_end_first() -> None:
    """A train of rows, then columns, is contracted from its columns; the mirror image from the other end."""
    rows, columns = [(1, 2, 1, 2), (2, 2, 1, 4)], [(4, 1, 2, 2), (2, 1, 2, 1)]
    right = operations([*rows, *columns], left=False)
    # bond x columns for both values of the other column; 4 x 2 x 2; 2 x 2 x 4; 2 x 2 for both values of the other row
    assert right == 2 * (4 * 2 + 4 * 2 * 2 + 2 * 2 * 4 + 2 * 2 * 2)
    assert right < operations([*rows, *columns], left=True)
    mirrored = [(b, r, c, a) for a, r, c, b in reversed([*rows, *columns])]
    assert operations(mirrored, left=True) == right


def test_both_ends_give_the_same() -> None:
    wide, tall = ar.MPO((4, 64), 3), ar.MPO((64, 4), 3)
    assert operations(wide._sites, left=True) != operations(wide._sites, left=False)
    chosen = {operations(net._sites, left=True) <= operations(net._sites, left=False) for net in (wide, tall)}
    assert chosen == {True, False}
    for net in (wide, tall, ar.TensorTrain((4, 64), 3, layout="axes")):
        params, x = net.init(), inputs(net, 3)
        np.testing.assert_allclose(
            there(net.apply)(params, x), x @ there(net.generate)(params).T, rtol=1e-12, atol=1e-13
        )


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (ar.BrickWall((4, 4), 2), "activations act on the weight's entries"),
        (ar.TTN((4, 4), 2, activation="identity"), "no way from its columns to its rows"),
        (ar.TensorTrain((6, 5), 4), "cross the border between rows and columns; layout='axes'"),
        (ar.CP((6, 5), 4), "cross the border"),
        (ar.Tucker((6, 5), 2), "cross the border"),
        (ar.Split((4, 4), 2, lambda chunk: ar.LowRank(chunk, 1)), "no way from its columns"),
        (ar.Sum(ar.LowRank((4, 4), 2), ar.BrickWall((4, 4), 3)), "activations"),
        (ar.Delta(np.eye(4), ar.BrickWall((4, 4), 3)), "activations"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_networks_that_cannot(net: ar.Network, message: str) -> None:
    assert message in net.apply_refusal
    with pytest.raises(SpecError, match="has no product site by site") as raised:
        there(net.apply)(net.init(), np.ones((2, 4)))
    assert message in str(raised.value)


def test_bad_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    net = ar.MPO((6, 5, 2), 3)
    params = net.init()
    for shape in ((2, 9), (10,), (2, 5, 2), (0, 10)):
        with pytest.raises(ArrayError, match=r"inputs have shape \(batch, 10\)"):
            there(net.apply)(params, np.ones(shape))
    with pytest.raises(ArrayError, match="inputs have shape"):
        there(net.apply)(params, [[1.0] * 10])
    with pytest.raises(DTypeError, match="the inputs have dtype float32, the cores float64"):
        there(net.apply)(params, np.ones((2, 10), "float32"))
    with pytest.raises(ParameterError):
        there(net.apply)({}, np.ones((2, 10)))
    monkeypatch.setenv(memory.LIMIT_VARIABLE, "1KiB")
    with pytest.raises(MemoryLimitError, match="a product site by site with 20 inputs"):
        there(net.apply)(params, np.ones((20, 10)))

"""The tape's variable as an array library of autoray's, and contractions by cotengra and quimb differentiated on it."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import autoray
import numpy as np
import peers
import pytest

import adntn_ref as ar
from adntn_ref import ad
from adntn_ref.ad import neighbours
from adntn_ref.ad.tape import Var

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
Y = np.array([[1.0, -1.0, 0.5], [-2.0, 0.25, 3.0]])
SQUARE = X @ X.T

CALLS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("all", "any", "argmax", "argmin", "argsort", "count_nonzero", "isfinite", "isnan"), (X,)),
    **dict.fromkeys(("floor", "ones_like", "round", "sign", "zeros_like", "array", "asarray", "ravel"), (X,)),
    **dict.fromkeys(("allclose", "array_equal", "equal", "greater", "greater_equal", "isclose", "less"), (X, Y)),
    **dict.fromkeys(("less_equal", "not_equal", "true_divide"), (X, Y)),
    **dict.fromkeys(("log10", "log2"), (np.abs(X),)),
    **dict.fromkeys(("linalg.norm", "linalg.qr"), (X,)),
    "dot": (X, Y.T),
    "expand_dims": (X, -2),
    "linalg.solve": (SQUARE, X),
    "linalg.svd": (SQUARE,),
    "outer": (X[0], Y[1]),
    "squeeze": (X[None, :, :, None],),
    "swapaxes": (X[None], 0, -1),
    "arange": (4,),
    "eye": (2, 3),
    "identity": (2,),
    "linspace": (0.0, 1.0, 3),
    "ones": ((2, 3),),
    "zeros": ((2,),),
}
"""Arguments of every function that stands in ``neighbours`` alone."""

RETURNS_RAW = (*neighbours.WITHOUT_A_DERIVATIVE, "arange", "eye", "identity", "linspace", "ones", "zeros")


def on_tape(call: Callable[..., Any], *arrays: Any) -> Any:
    """Return what ``call`` returns of variables, on the tape still."""
    seen: list[Any] = []
    ad.vjp(lambda *vs: (seen.append(call(*vs)), ad.sum(vs[0]))[1], *arrays)
    return seen[0]


def test_the_list_of_calls_is_complete() -> None:
    assert set(CALLS) == set(neighbours.FUNCTIONS)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_functions_are_numpys(name: str) -> None:
    arrays = [x for x in CALLS[name] if isinstance(x, np.ndarray)]
    others = [x for x in CALLS[name] if not isinstance(x, np.ndarray)]
    got = on_tape(lambda *vs: autoray.do(name, *(vs if arrays else ()), *others, like=vs[0]), *(arrays or [X]))
    expected = autoray.do(name, *CALLS[name], like="numpy")
    pairs = zip(got, expected, strict=True) if isinstance(expected, tuple) else [(got, expected)]
    for ours, theirs in pairs:
        assert isinstance(ours, Var) == (name not in RETURNS_RAW)
        np.testing.assert_allclose(ad.stop_gradient(ours), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(CALLS) - set(RETURNS_RAW) - {"linalg.svd", "linalg.qr"}))
def test_their_gradients(name: str) -> None:
    arrays = [x for x in CALLS[name] if isinstance(x, np.ndarray)]
    others = [x for x in CALLS[name] if not isinstance(x, np.ndarray)]

    def loss(*xs: Any) -> Any:
        return ad.sum(ad.sin(autoray.do(name, *xs, *others)))

    gradients = ar.grad(loss, argnums=tuple(range(len(arrays))))(*arrays)
    rng, h = np.random.default_rng(0), 2.0**-17
    along = [rng.normal(size=x.shape) for x in arrays]
    numeric = (loss(*(x + h * d for x, d in zip(arrays, along, strict=True)))) - loss(
        *(x - h * d for x, d in zip(arrays, along, strict=True))
    )
    found = sum(np.sum(g * d) for g, d in zip(gradients, along, strict=True))
    np.testing.assert_allclose(found, numeric / (2 * h), rtol=1e-7)


def test_dot_of_numbers_and_squeezed_axes() -> None:
    assert ar.grad(lambda x: autoray.do("dot", x, x))(3.0) == 6.0
    for axis in (0, (0, -1), None):
        squeezed = on_tape(lambda v, a=axis: autoray.do("squeeze", v, axis=a), X[None, :, :, None])
        assert squeezed.shape == np.squeeze(X[None, :, :, None], axis=axis).shape


def test_every_function_of_the_tape_is_found() -> None:
    for name in ("tensordot", "einsum", "sin", "reshape", "where", "cumsum", "clip", "trace"):
        assert autoray.get_lib_fn(neighbours.NAME, name) is getattr(ad, name)
    seen = on_tape(lambda v: (autoray.infer_backend(v), autoray.get_dtype_name(v), autoray.shape(v)), X)
    assert seen == (neighbours.NAME, "float64", (2, 3))
    np.testing.assert_array_equal(ar.grad(lambda v: autoray.get_namespace(v).sum(v * v))(X), 2 * X)


@pytest.mark.parametrize("name", ["where", "maximum", "minimum", "power", "add", "tensordot", "linalg.solve"])
def test_a_raw_array_may_come_first(name: str) -> None:
    """autoray asks the first argument; an array of NumPy there must not send a variable to NumPy."""
    first = X > 0 if name == "where" else np.abs(SQUARE) if name == "linalg.solve" else np.abs(X)
    last = (X, Y) if name == "where" else (SQUARE if name == "linalg.solve" else Y.T if name == "tensordot" else Y,)
    more = (1,) if name == "tensordot" else ()
    got = on_tape(lambda *vs: autoray.do(name, first, *vs, *more), *last)
    assert isinstance(got, Var)
    np.testing.assert_allclose(ad.stop_gradient(got), autoray.do(name, first, *last, *more, like="numpy"))
    assert isinstance(autoray.do(name, first, *last, *more), np.ndarray)  # others go where they went


def test_a_variable_does_not_become_an_array() -> None:
    with pytest.raises(ar.errors.TapeError, match="cannot become a NumPy array"):
        on_tape(autoray.to_numpy, X)


# cotengra

RING = (("a", "b", "c"), ("b", "d"), ("d", "a", "e"))
SIZES = ((2, 3, 2), (3, 4), (4, 2, 3))


def drawn(shapes: Any, dtype: str = "float64") -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=s) + (1j * rng.normal(size=s) if dtype == "complex128" else 0.0) for s in shapes]


def squared(contract: Callable[..., Any]) -> Callable[[list[Any]], Any]:
    return lambda arrays: ad.sum(ad.abs(contract(arrays)) ** 2)


def same(ours: list[Any], theirs: list[Any]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_cotengra_contracts_and_is_differentiated(dtype: str) -> None:
    cotengra = peers.need("cotengra")
    arrays = drawn(SIZES, dtype)
    theirs = squared(lambda arrays: cotengra.array_contract(arrays, RING, ("c", "e"), optimize="greedy"))
    ours = squared(lambda arrays: ad.einsum("abc,bd,dae->ce", *arrays))
    np.testing.assert_allclose(theirs(arrays), ours(arrays), rtol=1e-12)
    same(ar.grad(theirs)(arrays), ar.grad(ours)(arrays))
    along = drawn(SIZES, dtype)[::-1]
    along = [np.resize(d, x.shape) for d, x in zip(along, arrays, strict=True)]
    same(ar.hvp(theirs, arrays, along), ar.hvp(ours, arrays, along))


def test_cotengra_strips_exponents_and_slices() -> None:
    cotengra = peers.need("cotengra")
    arrays = drawn(SIZES)
    tree = cotengra.array_contract_tree(RING, ("c", "e"), shapes=SIZES, optimize="greedy")
    sliced = tree.remove_ind("d")
    assert sliced.nslices == 4
    ours = ar.grad(lambda arrays: ad.log(squared(lambda arrays: ad.einsum("abc,bd,dae->ce", *arrays))(arrays)))(arrays)

    def stripped(arrays: list[Any]) -> Any:
        mantissa, exponent = tree.contract(arrays, strip_exponent=True)
        return ad.log(ad.sum(mantissa**2)) + 2 * np.log(10.0) * exponent

    same(ar.grad(stripped)(arrays), ours)
    same(ar.grad(lambda arrays: ad.log(squared(sliced.contract)(arrays)))(arrays), ours)


def test_cotengra_makes_the_weight_of_a_network() -> None:
    """A tensor train of ours, contracted by cotengra: the same weight and the same gradients of its cores."""
    cotengra = peers.need("cotengra")
    net = ar.TensorTrain((4, 6), 3, modes=(2, 2, 2, 3))
    params = net.init(0)
    names = list(params)
    bonds = [(f"b{k}", f"d{k}", f"b{k + 1}") for k in range(4)]
    g = drawn([(4, 6)])[0]

    def theirs(params: Any) -> Any:
        tensor = cotengra.array_contract([params[name] for name in names], bonds, ("b0", "d0", "d1", "d2", "d3", "b4"))
        return ad.sum(ad.reshape(tensor, shape=(4, 6)) * g)

    value, gradients = ar.value_and_grad(theirs)(params)
    weight, pullback = net.vjp(params)
    np.testing.assert_allclose(value, np.sum(weight * g), rtol=1e-12)
    same(list(gradients.values()), [pullback(g)[name] for name in names])


# quimb


def along_a_line(f: Callable[..., Any], params: list[Any], rtol: float = 1e-7) -> None:
    """Compare the gradient with a difference along a random direction.

    The values are those of variables too: on NumPy's arrays quimb would compile its own factorisations first.
    """
    direction = drawn([x.shape for x in params], params[0].dtype.name)
    h = 2.0**-18
    ends = [[x + sign * h * d for x, d in zip(params, direction, strict=True)] for sign in (1, -1)]
    gradients = ar.grad(f)(params)
    found = sum(np.sum(np.conj(g) * d).real for g, d in zip(gradients, direction, strict=True))
    upper, lower = (ad.vjp(f, end)[0] for end in ends)
    np.testing.assert_allclose(found, (upper - lower) / (2 * h), rtol=rtol)


def state(dtype: str) -> tuple[Any, list[Any], Callable[[list[Any]], Any]]:
    """A matrix product state of quimb's, its arrays, and what puts others in their places."""
    quimb = peers.need("quimb.tensor")
    psi = quimb.MPS_rand_state(4, 3, seed=1, dtype=dtype)

    def put(params: list[Any]) -> Any:
        made = psi.copy()
        for tensor, x in zip(made, params, strict=True):
            tensor.modify(data=x)
        return made

    return psi, [tensor.data for tensor in psi], put


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_quimb_gives_an_energy_and_its_gradient(dtype: str) -> None:
    _, params, put = state(dtype)
    quimb = peers.need("quimb.tensor")
    hamiltonian = quimb.MPO_ham_heis(4)

    def energy(params: list[Any]) -> Any:
        p = put(params)
        bra = p.H
        below, middle, above = quimb.tensor_network_align(p, hamiltonian, bra)
        e = (below & middle & above).contract(all, optimize="greedy")
        return ad.real(e / (p.H & p).contract(all, optimize="greedy"))

    assert energy(params) >= -1.6160254037844 - 1e-9  # the ground state's, of 4 sites
    along_a_line(energy, params)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("method", ["left_canonicalize", "compress"])
def test_quimbs_factorisations_are_differentiated(method: str, dtype: str) -> None:
    psi, params, put = state(dtype)
    options = {"max_bond": 2} if method == "compress" else {}

    def overlap(params: list[Any]) -> Any:
        p = put(params)
        getattr(p, method)(**options)
        o = (p.H & psi).contract(all, optimize="greedy")
        return ad.abs(o) ** 2

    along_a_line(overlap, params, 1e-6)


def test_the_example_finds_a_ground_state(capsys: pytest.CaptureFixture[str]) -> None:
    peers.need("quimb.tensor")
    found = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "examples" / "ground_state.py"))
    assert found["exact"] - 1e-9 <= found["found"].fun < found["exact"] + 5e-3
    assert "exact -2.493577" in capsys.readouterr().out

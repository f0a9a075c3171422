"""Columns of cores as windows: against einsum, for any sizes, pairs and gaps."""

from math import prod
from typing import Any

import numpy as np
import pytest
from elsewhere import place, there
from hypothesis import given, settings
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.program.steps import Expand, Factor, Mix, Product
from adntn_ref.program.windows import LARGEST, Block, Window, matrix_flops

Column = tuple[tuple[int, ...], tuple[tuple[int, str], ...]]


@st.composite
def columns(draw: st.DrawFn) -> Column:
    """Draw index sizes and disjoint pairs, with gaps of any length."""
    dims = draw(st.lists(st.sampled_from([1, 2, 2, 2, 3, 4, 5, 7]), min_size=2, max_size=9))
    while prod(dims) > 4000:
        dims.pop()
    pairs = []
    q = draw(st.integers(0, 2))
    while q + 1 < len(dims):
        pairs.append((q, f"a{q}"))
        q += draw(st.sampled_from([2, 2, 2, 3, 4, 5]))
    return tuple(dims), tuple(pairs or [(0, "a0")])


def cores_of(column: Column, rng: np.random.Generator, dtype: str) -> dict[str, Any]:
    dims, pairs = column
    return {name: normal(rng, (dims[q], dims[q + 1]) * 2, dtype) for q, name in pairs}


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if dtype.startswith("complex") else x).astype(dtype)


def applied(dims: tuple[int, ...], q: int, core: np.ndarray, x: np.ndarray) -> np.ndarray:
    """One core at a time, by einsum on the whole tensor."""
    n = len(dims)
    output = [*range(q), n, n + 1, *range(q + 2, n)]
    return np.einsum(core, [n, n + 1, q, q + 1], x.reshape(dims), list(range(n)), output)


def near(got: Any, expected: Any, size: float, rtol: float) -> None:
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max(initial=0.0) <= rtol * max(size, float(np.abs(expected).max(initial=0.0)))


@settings(max_examples=4 * settings().max_examples)
@given(columns(), st.sampled_from(["float64", "complex128", "float32"]), st.integers(0, 99))
def test_column_against_einsum(column: Column, dtype: str, seed: int) -> None:
    dims, pairs = column
    rng = np.random.default_rng(seed)
    cores = cores_of(column, rng, dtype)
    x, g = normal(rng, (prod(dims),), dtype), normal(rng, (prod(dims),), dtype)
    rtol = 1e-4 if dtype == "float32" else 1e-12
    step = Mix("column", dims, pairs)
    y, kept = there(step.forward)(cores, x)
    gx, found = there(step.adjoint)(cores, kept, g)
    passed = x
    for one in step.passes(place(cores)):
        passed = there(one)(passed)
    assert np.array_equal(passed, y)

    expected = x
    for q, name in pairs:
        expected = applied(dims, q, cores[name], expected)
    near(y, expected.reshape(-1), 1.0, rtol)
    pulled = g
    for q, name in pairs:
        pulled = applied(dims, q, cores[name].conj().transpose(2, 3, 0, 1), pulled)
    near(gx, pulled.reshape(-1), 1.0, rtol)
    n = len(dims)
    for q, name in pairs:
        others = x
        for other, core in pairs:
            if core != name:
                others = applied(dims, other, cores[core], others)
        inputs = [n if i == q else n + 1 if i == q + 1 else i for i in range(n)]
        environment = np.einsum(
            g.reshape(dims), list(range(n)), others.reshape(dims).conj(), inputs, [q, q + 1, n, n + 1], optimize=True
        )
        near(found[name], environment, float(np.linalg.norm(g) * np.linalg.norm(others)), rtol)
    assert y.dtype == gx.dtype == np.dtype(dtype)


@given(columns())
def test_windows_cover_the_column(column: Column) -> None:
    dims, pairs = column
    windows = Mix("column", dims, pairs).windows
    names = [block.name for window in reversed(windows) for block in window.blocks if block.name is not None]
    assert names == [name for _, name in pairs]
    assert [window.left for window in windows] == sorted((window.left for window in windows), reverse=True)
    for window in windows:
        size = window.inputs
        assert window.outputs == size == prod(block.inputs for block in window.blocks)
        assert window.left * size * window.right == prod(dims)
        assert window.blocks[0].name is not None
        assert size <= LARGEST or sum(block.name is not None for block in window.blocks) == 1
        assert window.left % window.stage == 0
        assert window.stage**2 <= window.left


def test_windows_of_a_binary_column() -> None:
    pairs = tuple((q, f"a{q}") for q in range(0, 10, 2))
    windows = Mix("column", (2,) * 10, pairs).windows
    assert [(w.left, w.inputs, w.right) for w in windows] == [(64, 16, 1), (4, 16, 16), (1, 4, 256)]
    (behind,) = Mix("column", (2,) * 4, ((0, "a"),)).windows
    assert (behind.left, behind.right) == (1, 1)
    assert behind.blocks == (Block("a", 4, 4), Block(None, 2, 2), Block(None, 2, 2))


@st.composite
def expansions(draw: st.DrawFn) -> Expand:
    """Draw index sizes and which of them are expanded into what."""
    dims = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    chosen = sorted(draw(st.sets(st.integers(0, len(dims) - 1), min_size=1)))
    sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))
    return Expand("expand", tuple(dims), tuple((p, f"w{p}", draw(sizes)) for p in chosen))


@settings(max_examples=2 * settings().max_examples)
@given(expansions(), st.sampled_from(["float64", "complex128"]), st.integers(0, 99))
def test_expansion_against_kronecker(step: Expand, dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    into = {p: pair for p, _, pair in step.at}
    cores = {name: normal(rng, (*into[p], step.dims[p]), dtype) for p, name, _ in step.at}

    def dense(cores: dict[str, np.ndarray]) -> np.ndarray:
        whole = np.ones((1, 1))
        for p, d in enumerate(step.dims):
            whole = np.kron(whole, cores[f"w{p}"].reshape(-1, d) if p in into else np.eye(d))
        return whole

    x, g = normal(rng, (prod(step.dims),), dtype), normal(rng, (prod(step.out_dims),), dtype)
    y, kept = there(step.forward)(cores, x)
    near(y, dense(cores) @ x, 1.0, 1e-12)
    gx, found = there(step.adjoint)(cores, kept, g)
    near(gx, dense(cores).conj().T @ g, 1.0, 1e-12)
    for name, core in cores.items():
        units = np.eye(core.size).reshape(-1, *core.shape)
        expected = [np.vdot(dense({**cores, name: unit}) @ x, g) for unit in units]
        near(found[name], np.reshape(expected, core.shape), float(np.linalg.norm(g)), 1e-11)
    products = sum(2 * w.outputs * w.inputs * w.left * w.right for w in step.windows)
    assert products + sum(matrix_flops(w) for w in step.windows) == step.flops()[0]


@given(st.lists(st.integers(1, 4), min_size=3, max_size=5), st.integers(0, 99))
def test_the_periodic_pair_against_einsum(dims: list[int], seed: int) -> None:
    """The core's left index is the last index of the state, its right index the first."""
    rng = np.random.default_rng(seed)
    n = len(dims)
    core = normal(rng, (dims[-1], dims[0]) * 2, "complex128")
    step = Mix("column", tuple(dims), ((n - 1, "a"),))
    x, g = normal(rng, (2, prod(dims)), "complex128")
    output = [n + 1, *range(1, n - 1), n]
    y, kept = there(step.forward)({"a": core}, x)
    near(y, np.einsum(core, [n, n + 1, n - 1, 0], x.reshape(dims), range(n), output).reshape(-1), 1.0, 1e-12)
    gx, found = there(step.adjoint)({"a": core}, kept, g)
    near(gx, np.einsum(core.conj(), [n - 1, 0, n, n + 1], g.reshape(dims), range(n), output).reshape(-1), 1.0, 1e-12)
    expected = np.einsum(g.reshape(dims), output, x.reshape(dims).conj(), range(n), [n, n + 1, n - 1, 0])
    near(found["a"], expected, float(np.linalg.norm(g) * np.linalg.norm(x)), 1e-12)


def test_cores_on_modes_of_size_one_are_factors() -> None:
    """A 1 x 1 core scales the state; the environments of its neighbours carry it."""
    dims, pairs = (1, 1, 2, 2, 1, 1), ((0, "first"), (2, "middle"), (4, "last"))
    middle = np.arange(16.0).reshape(2, 2, 2, 2)
    cores = {"first": np.full((1, 1, 1, 1), 2.0), "middle": middle, "last": np.full((1, 1, 1, 1), 5.0)}
    step = Mix("column", dims, pairs)
    x, g = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, -1.0, 2.0, 0.5])
    y, kept = there(step.forward)(cores, x)
    gx, found = there(step.adjoint)(cores, kept, g)
    assert np.array_equal(y, 10 * middle.reshape(4, 4) @ x)
    assert np.array_equal(gx, 10 * middle.reshape(4, 4).T @ g)
    assert np.array_equal(found["middle"].reshape(4, 4), 10 * np.outer(g, x))
    assert found["first"].item() == pytest.approx(5 * g @ middle.reshape(4, 4) @ x, rel=1e-15)
    assert found["last"].item() == pytest.approx(2 * g @ middle.reshape(4, 4) @ x, rel=1e-15)


@pytest.mark.parametrize(("left", "size", "right"), [(6, 4, 16), (7, 6, 3), (1, 9, 2), (5, 2, 1), (64, 32, 16)])
def test_both_ways_to_an_environment(left: int, size: int, right: int) -> None:
    window = Window(left, right, (Block("a", size, size),))
    rng = np.random.default_rng(0)
    g, x = rng.standard_normal((2, left * size * right))
    expected = np.einsum("lar,lcr->ac", g.reshape(left, size, right), x.reshape(left, size, right))
    near(there(window.environment)(g, x), expected, 1.0, 1e-13)


def test_single_precision_sums_keep_their_digits() -> None:
    window = Window(2**14, 16, (Block("a", 4, 4),))
    rng = np.random.default_rng(0)
    g, x = rng.uniform(0.5, 1.5, (2, 2**20)).astype("float32")
    exact = window.environment(g.astype("float64"), x.astype("float64"))
    assert np.abs(window.environment(g, x) / exact - 1).max() < 3e-6


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 99), st.booleans())
def test_product_against_kronecker(sizes: list[int], seed: int, complex_too: bool) -> None:
    rng = np.random.default_rng(seed)
    dtype = "complex128" if complex_too else "float64"
    named = [k == 0 or bool(rng.integers(2)) for k in range(len(sizes))]
    factors = tuple(Factor(f"v{k}" if named[k] else None, (n,)) for k, n in enumerate(sizes))
    cores = {f"v{k}": normal(rng, (n,), dtype) for k, n in enumerate(sizes) if named[k]}
    vectors = [cores[f"v{k}"] if named[k] else np.eye(n)[0] for k, n in enumerate(sizes)]
    step = Product("start", factors)
    state, kept = step.forward(cores)
    near(state, whole(vectors), 1.0, 1e-13)
    g = normal(rng, (prod(sizes),), dtype)
    found = step.adjoint(cores, kept, g)
    assert found.keys() == cores.keys()
    for k, n in enumerate(sizes):
        if named[k]:
            units = [whole([*vectors[:k], unit, *vectors[k + 1 :]]) for unit in np.eye(n)]
            near(found[f"v{k}"], [np.vdot(unit, g) for unit in units], float(np.linalg.norm(g)), 1e-12)


def whole(vectors: list[np.ndarray]) -> np.ndarray:
    product = np.ones(1)
    for vector in vectors:
        product = np.kron(product, vector)
    return product


def test_large_bricks_need_little_memory_behind_a_small_mode() -> None:
    """Bricks of 256 x 256 with two entries to their right: no part for each of the 16 on their left."""
    import tracemalloc

    net = ar.BrickWall((8192,), layers=2, modes=(16, 16, 16, 2), activation="tanh")
    weight, pullback = net.vjp(net.init())
    tracemalloc.start()
    pullback(weight)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 8 * net.parameter_count

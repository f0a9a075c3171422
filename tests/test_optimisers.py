"""Optimisers, schedules and packing, against plain implementations array by array."""

import math
from typing import Any

import numpy as np
import peers
import pytest
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.compression import optimisers
from adntn_ref.compression.optimisers import SGD, Adam, Packing, clip_norm, make_optimiser, rate_at
from adntn_ref.errors import AdntnError, DTypeError, ParameterError, SpecError, TapeError

SHAPES = {"a": (3, 2), "b": {"core0": (2, 2, 2), "core1": (4,)}, "c": ()}
RATES = {"a": 0.1, "b": {"core0": 0.01, "core1": 0.02}, "c": 0.5}


def drawn(shapes: Any, rng: np.random.Generator) -> Any:
    if isinstance(shapes, dict):
        return {key: drawn(value, rng) for key, value in shapes.items()}
    return np.asarray(rng.standard_normal(shapes))


def flat(tree: Any) -> list[Any]:
    return [x for value in tree.values() for x in (flat(value) if isinstance(value, dict) else [value])]


def plain(name: str, params: list[Any], gradients: list[list[Any]], rates: list[float], factors: list[float]) -> None:
    """Kingma and Ba's Algorithm 1, and momentum, one array at a time."""
    m, v = [np.zeros_like(x) for x in params], [np.zeros_like(x) for x in params]
    for t, (step, factor) in enumerate(zip(gradients, factors, strict=True), start=1):
        for i, g in enumerate(step):
            if name == "adam":
                m[i] = 0.9 * m[i] + 0.1 * g
                v[i] = 0.999 * v[i] + 0.001 * g**2
                m_hat, v_hat = m[i] / (1 - 0.9**t), v[i] / (1 - 0.999**t)
                params[i] = params[i] - factor * rates[i] * m_hat / (np.sqrt(v_hat) + 1e-8)
            else:
                m[i] = 0.9 * m[i] + g
                params[i] = params[i] - factor * rates[i] * m[i]


@pytest.mark.parametrize("name", ["adam", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_minimise_takes_the_plain_steps(name: str, schedule: str) -> None:
    """The whole loop on a linear function whose gradients are given, with a rate for every leaf."""
    rng = np.random.default_rng(4)
    start, gradients = drawn(SHAPES, rng), [drawn(SHAPES, rng) for _ in range(12)]
    seen: list[Any] = []

    def objective(step: int, params: Any) -> tuple[float, Any]:
        seen.append([x.copy() for x in flat(params)])
        return -float(step), gradients[min(step, 11)]  # ever lower, so that the last is the best

    training = ar.Training(12, 0.7, name, schedule=schedule, warmup=3, evaluate_every=1)
    before = [x.copy() for x in flat(start)]
    result = ar.minimise(objective, start, training, rates=RATES)
    assert all(np.array_equal(x, y) for x, y in zip(flat(start), before, strict=True))  # params are not changed
    wanted = [x.copy() for x in before]
    factors = [0.7 * min(1, (k + 1) / 3) * (0.5 * (1 + math.cos(math.pi * k / 12))) ** (schedule == "cosine")
               for k in range(12)]  # fmt: skip
    plain(name, wanted, [flat(g) for g in gradients], flat(RATES), factors)
    for got, expected in zip(flat(result.params), wanted, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(result.history.rate, factors, rtol=1e-15)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_against_torch(name: str) -> None:
    torch = peers.need("torch")
    rng = np.random.default_rng(5)
    x, gradients = rng.standard_normal(7), rng.standard_normal((20, 7))
    theirs = torch.tensor(x.copy(), requires_grad=True)
    optimiser = torch.optim.Adam([theirs], lr=0.03) if name == "adam" else torch.optim.SGD([theirs], 0.03, momentum=0.9)
    ours, state = make_optimiser(name), make_optimiser(name).start(x)
    for step, g in enumerate(gradients):
        theirs.grad = torch.tensor(g)
        optimiser.step()
        ours.update(x, g, state, step, np.asarray(0.03))
        np.testing.assert_allclose(x, theirs.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_update_keeps_dtype_and_place(name: str, dtype: str) -> None:
    optimiser = make_optimiser(name)
    vector = np.ones(5, dtype)
    state = optimiser.start(vector)
    places = {key: value.ctypes.data for key, value in state.items()}
    kept = vector
    optimiser.update(vector, np.ones(5, dtype), state, 0, 0.1 * np.ones(5, dtype))
    assert kept.dtype == dtype
    assert (kept < 1).all()
    assert {key: value.ctypes.data for key, value in state.items()} == places
    assert {value.dtype.name for value in state.values()} == {dtype}


@pytest.mark.parametrize("rates", ["number", "vector"])
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_an_update_in_pieces_has_the_same_bits(name: str, rates: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    rate = rng.random(101).astype("f4") if rates == "vector" else 0.1
    found = []
    for piece in (7, 1000):
        monkeypatch.setattr(optimisers, "PIECE", piece)
        optimiser, vector = make_optimiser(name), np.ones(101, "f4")
        state = optimiser.start(vector)
        for step in range(3):
            g = np.random.default_rng(step).standard_normal(101).astype("f4")
            optimiser.update(vector, g, state, step, rate, 0.3)
        found.append(b"".join(x.tobytes() for x in (vector, *state.values())))
    assert found[0] == found[1]
    assert len(list(optimisers.pieces(np.ones((2000, 3))))) == 1  # rows of several fits are not split


def test_make_optimiser() -> None:
    assert make_optimiser("adam") == Adam()
    assert make_optimiser("sgd", 0.5) == SGD(0.5)
    with pytest.raises(SpecError, match="no optimiser is called 'lion'; allowed: adam, sgd"):
        make_optimiser("lion")


shapes = st.recursive(
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    lambda inner: st.dictionaries(st.text("abc.", min_size=1, max_size=3), inner, min_size=1, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text("xyz", min_size=1), shapes, min_size=1, max_size=3), st.sampled_from(["f4", "f8"]))
def test_packing_round_trip(tree: Any, dtype: str) -> None:
    rng = np.random.default_rng(0)
    params = drawn(tree, rng)

    def cast(value: Any) -> Any:
        return {k: cast(v) for k, v in value.items()} if isinstance(value, dict) else value.astype(dtype)

    params = cast(params)
    packing = Packing(params)
    vector = packing.pack(params)
    assert vector.shape == (packing.size,)
    assert vector.dtype == dtype
    back = flat(packing.unpack(vector))
    for got, wanted in zip(back, flat(params), strict=True):
        assert got.shape == wanted.shape
        np.testing.assert_array_equal(got, wanted)
        assert got.size == 0 or np.shares_memory(got, vector)


def test_packing_goes_by_name_not_by_order() -> None:
    """Gradients and rates in a dict of another order reach the parameters they belong to."""
    params = {"a": np.zeros(2), "b": np.ones(2)}
    packing = Packing(params)
    np.testing.assert_array_equal(packing.pack({"b": np.ones(2), "a": np.zeros(2)}), [0, 0, 1, 1])
    np.testing.assert_array_equal(packing.spread({"b": 2.0, "a": 1.0}), [1, 1, 2, 2])
    for broken in ({"a": np.zeros(2)}, {"a": np.zeros(2), "c": np.zeros(2)}):
        with pytest.raises(TapeError):
            packing.pack(broken)


def test_packing_refuses() -> None:
    with pytest.raises(ParameterError, match="nothing to train"):
        Packing({})
    with pytest.raises(DTypeError, match="must have one dtype, got float32, float64"):
        Packing({"a": np.zeros(2), "b": np.zeros(2, np.float32)})
    for dtype in ("complex128", "int64"):
        with pytest.raises(DTypeError, match=f"trained in float32 or float64, got {dtype}"):
            Packing({"a": np.zeros(2, dtype)})


def test_schedules() -> None:
    assert [rate_at(k, 5, "constant") for k in range(5)] == [1.0] * 5
    assert rate_at(0, 10, "cosine") == 1.0
    assert rate_at(5, 10, "cosine") == pytest.approx(0.5)
    assert 0 < rate_at(9, 10, "cosine") < 0.03
    assert [rate_at(k, 100, "constant", warmup=4) for k in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    with pytest.raises(SpecError, match="no schedule is called 'linear'; allowed: cosine, constant"):
        rate_at(0, 1, "linear")


@given(st.integers(1, 50), st.integers(0, 60), st.sampled_from(["cosine", "constant"]))
def test_rates_lie_between_0_and_1(steps: int, warmup: int, schedule: str) -> None:
    rates = [rate_at(k, steps, schedule, warmup) for k in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    after = rates[warmup:]
    assert after == sorted(after, reverse=True)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5), st.floats(1e-3, 1e3))
def test_clipping(entries: list[float], limit: float) -> None:
    g = np.array(entries)
    clipped, norm = clip_norm(g, limit)
    assert norm == np.linalg.norm(g)
    assert np.linalg.norm(clipped) <= limit * (1 + 1e-12)
    if norm <= limit:
        assert clipped is g
    else:
        np.testing.assert_allclose(clipped * norm, g * limit, rtol=1e-12, atol=1e-300)
    assert clip_norm(g, None)[0] is g


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be an integer >= 1, got 0"),
        ({"steps": 1.5}, "steps must be an integer"),
        ({"steps": True}, "steps must be an integer"),
        ({"evaluate_every": 0}, "evaluate_every must be"),
        ({"warmup": -1}, "warmup must be an integer >= 0"),
        ({"rate": 0.0}, "rate must be positive and finite"),
        ({"rate": math.nan}, "rate must be positive"),
        ({"rate": math.inf}, "rate must be positive"),
        ({"clip": 0.0}, "clip must be positive"),
        ({"clip": math.nan}, "clip must be positive"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"optimiser": "lion"}, "no optimiser is called 'lion'"),
        ({"schedule": "step"}, "no schedule is called 'step'"),
    ],
)
def test_bad_training(change: dict[str, Any], message: str) -> None:
    with pytest.raises(AdntnError, match=message):
        ar.Training(**{"steps": 3, **change})

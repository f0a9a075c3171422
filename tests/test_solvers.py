"""Other ways to run stage 1: L-BFGS, alternating least squares, restarts, many weights at once."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import same

import adntn_ref as ar
from adntn_ref.compression import lbfgs
from adntn_ref.compression.als import design_matrix
from adntn_ref.compression.objectives import EuclideanLoss
from adntn_ref.compression.training import Tick
from adntn_ref.errors import ArrayError, DivergedError, MemoryLimitError, SpecError, StartError

WALL = ar.BrickWall((4, 4), layers=2)
LINEAR = [
    ar.MPO((6, 8), 3),
    ar.BrickWall((4, 3), 2, activation="identity"),
    ar.BrickWall((4, 4), 1, boundary="trainable"),
    ar.BrickWall((6, 4), 1, layout="interleaved"),
    ar.TTN((4, 4), 3, activation="identity"),
    ar.Sum(ar.MPO((4, 6), 1), ar.MPO((4, 6), 2)),  # linear in each core up to what the other part adds
]


def target(shape: tuple[int, ...] = (4, 4), dtype: str = "float64", seed: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def statistics(n: int) -> ar.OutputStatistics:
    rng = np.random.default_rng(n)
    a = rng.standard_normal((2 * n, 2 * n))
    both = a @ a.T
    c00 = both[n:, n:]
    return ar.OutputStatistics(both[:n, :n], both[:n, n:], rng.standard_normal(n), rng.standard_normal(n), c00)


def options_for(objective: str, n: int) -> dict[str, Any]:
    return {} if objective == "euclidean" else {"objective": objective, "statistics": statistics(n)}


# --- L-BFGS


@pytest.mark.parametrize("net", [WALL, ar.BrickWall((4, 2, 2), 2, activation="tanh"), ar.MPO((4, 6), 2)])
@pytest.mark.parametrize("objective", ["euclidean", "outputs"])
def test_lbfgs_beats_adam(net: ar.Network, objective: str) -> None:
    shape = net.placement.shape
    known = options_for(objective, int(np.prod(shape[1:])))
    wanted = target(shape)
    slow = ar.fit(net, wanted, steps=200, rng=1, **known)
    fast = ar.fit(net, wanted, steps=200, rng=1, optimiser="lbfgs", **known)
    assert fast.restarts[0].loss < slow.restarts[0].loss
    losses = fast.history.loss
    assert losses[0] == slow.history.loss[0]  # the same start
    assert all(b <= a for a, b in pairwise(losses))
    assert len(losses) == len(fast.history.norm) == len(fast.history.rate) <= 200
    assert fast.history.score_steps[-1] == len(losses)
    assert fast.restarts[0].loss == min(fast.history.score) <= losses[-1]


def test_lbfgs_finds_what_adam_cannot() -> None:
    net = ar.MPO((4, 6), 2)
    wanted = net.generate(net.init(3))
    result = ar.fit(net, wanted, optimiser="lbfgs", restarts=4)
    assert result.relative_error < 1e-5
    assert result.stopped_by in ("converged", "steps")


def test_lbfgs_works_in_float64_and_returns_the_dtype() -> None:
    result = ar.fit(WALL, target(dtype="float32"), optimiser="lbfgs", steps=30)
    assert {core.dtype.name for core in result.params.values()} == {"float32"}
    assert result.relative_error == ar.relative_error(result.generate(), target(dtype="float32"))
    again = ar.fit(WALL, target(dtype="float32"), optimiser="lbfgs", steps=30)
    assert same(result.params, again.params)
    assert ar.fit(WALL, target(), optimiser="lbfgs", steps=5).stopped_by == "steps"


def test_lbfgs_callback_and_patience() -> None:
    ticks: list[Tick] = []
    result = ar.fit(WALL, target(), optimiser="lbfgs", callback=lambda t: ticks.append(t) or t.step == 7)
    assert (result.stopped_by, [t.step for t in ticks]) == ("callback", list(range(1, 8)))
    assert [t.loss for t in ticks] == result.history.loss
    flat: Any = lambda step, params: (1.0, {"x": np.full(1, 1e-3)})  # a loss that nothing lowers
    stuck = lbfgs.minimise_lbfgs(flat, {"x": np.zeros(1)}, steps=50)
    assert stuck.stopped_by == "converged"
    quadratic: Any = lambda step, params: (float((params["x"] ** 4).sum()), {"x": 4 * params["x"] ** 3})
    done = lbfgs.minimise_lbfgs(quadratic, {"x": np.array([3.0, -2.0])}, steps=500)
    assert np.abs(done.params["x"]).max() < 1e-3
    result = ar.fit(ar.MPO((4, 4), 4), target(), optimiser="lbfgs", steps=300, patience=1)
    assert result.stopped_by in ("patience", "converged")


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_lbfgs_diverged(what: str) -> None:
    count = [0]

    def objective(step: int, params: Any) -> tuple[float, Any]:
        count[0] += 1
        bad = count[0] == 4
        return (np.nan if bad and what == "loss" else -count[0]), {"x": np.full(2, np.inf if bad else -1.0)}

    with pytest.raises(DivergedError, match=f"^digits: the {what} .* at step") as caught:
        lbfgs.minimise_lbfgs(objective, {"x": np.zeros(2)}, steps=20, label="digits")
    assert np.isfinite(caught.value.best["x"]).all()
    with pytest.raises(DivergedError, match="at step 0"):
        lbfgs.minimise_lbfgs(lambda s, p: (np.nan, p), {"x": np.zeros(2)}, steps=20)


def test_scipy_is_imported_when_used() -> None:
    code = (
        "import sys, numpy, adntn_ref as ar; assert 'scipy' not in sys.modules;"
        "net = ar.MPO((2, 2), 1); t = numpy.eye(2); ar.fit(net, t, steps=2);"
        "ar.fit(net, t, optimiser='als', steps=1); assert 'scipy.optimize' not in sys.modules;"
        "ar.fit(net, t, optimiser='lbfgs', steps=1); assert 'scipy.optimize' in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# --- alternating least squares


@pytest.mark.parametrize("net", LINEAR, ids=repr)
@pytest.mark.parametrize("objective", ["euclidean", "outputs"])
def test_als_never_rises(net: ar.Network, objective: str) -> None:
    shape = net.placement.shape
    known = options_for(objective, int(np.prod(shape[1:])))
    for seed in range(3):
        result = ar.fit(net, target(shape, seed=seed), optimiser="als", steps=15, rng=seed, **known)
        score = result.history.score
        assert all(b <= a for a, b in pairwise(score))
        assert score[-1] < score[0]
        assert result.restarts[0].loss == score[-1]
        assert result.history.loss == score[:-1]
        assert result.relative_error == ar.relative_error(result.generate(), target(shape, seed=seed))


@given(st.integers(0, 999), st.sampled_from(LINEAR))
def test_als_solves_a_core_exactly(seed: int, net: ar.Network) -> None:
    """At the solution of a core the gradient with respect to it vanishes, and the columns make the weight."""
    wanted = target(net.placement.shape, seed=seed)
    loss, cores = EuclideanLoss(wanted), net.init(seed)
    name = list(net.core_shapes)[seed % len(cores)]
    columns, offset = design_matrix(net, loss, cores, name)
    np.testing.assert_allclose(columns @ cores[name].reshape(-1) + offset, loss.half(net.generate(cores)), atol=1e-12)
    solution = np.linalg.lstsq(columns, loss.goal - offset, rcond=None)[0]
    weight, pullback = net.vjp({**cores, name: solution.reshape(cores[name].shape)})
    value, cotangent = loss(weight)
    assert np.abs(pullback(cotangent)[name]).max() < 1e-9 * (1 + np.abs(columns).max())
    assert value <= loss(net.generate(cores))[0] + 1e-12


def test_als_reaches_the_best_low_rank() -> None:
    """An MPO of two cores that split rows from columns is a matrix of rank chi: Eckart and Young tell the optimum."""
    wanted = target((6, 8))
    net = ar.MPO((6, 8), 3, (6, 1), (1, 8))
    result = ar.fit(net, wanted, optimiser="als", steps=200, restarts=2)
    singular = np.linalg.svd(wanted, compute_uv=False)
    assert result.relative_error == pytest.approx(np.linalg.norm(singular[3:]) / np.linalg.norm(singular), rel=1e-6)


def test_als_recovers_a_tensor_of_its_class() -> None:
    net = ar.MPO((8, 8), 2)
    result = ar.fit(net, net.generate(net.init(5)), optimiser="als", restarts=3, steps=300)
    assert result.relative_error < 1e-6
    single = net.generate(net.init(5, "float32"))
    found = ar.fit(net, single, optimiser="als", steps=3)
    assert {core.dtype.name for core in found.params.values()} == {"float32"}


def test_als_stops() -> None:
    net = ar.MPO((4, 4), 2)
    ticks: list[Tick] = []
    result = ar.fit(net, target(), optimiser="als", callback=lambda t: ticks.append(t) or t.step == 2)
    assert (result.stopped_by, len(result.history.loss)) == ("callback", 2)
    assert [t.loss for t in ticks] == result.history.loss
    assert ar.fit(net, target(), optimiser="als", steps=1).stopped_by == "steps"
    whole = ar.MPO((4, 4), 1, (4,), (4,))
    assert ar.fit(whole, target(), optimiser="als").stopped_by == "converged"
    assert ar.fit(whole, target(), optimiser="als", patience=1).stopped_by in ("patience", "converged")


def test_als_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"optimiser='als' needs a weight that is linear in each core, and BrickWall"):
        ar.fit(WALL, target(), optimiser="als")
    net = ar.MPO((4, 4), 2)
    with pytest.raises(SpecError, match="takes no orthogonality; adam and sgd do"):
        ar.fit(net, target(), optimiser="als", orthogonality=0.1)
    for optimiser in ("als", "lbfgs"):
        with pytest.raises(SpecError, match=f"'{optimiser}' takes no rate, warmup, clip, retract"):
            ar.fit(net, target(), optimiser=optimiser, rate=0.1, warmup=3, clip=1.0, retract=True)
        with pytest.raises(SpecError, match=f"'{optimiser}' keeps no checkpoints"):
            ar.fit(net, target(), optimiser=optimiser, checkpoint=tmp_path / "c.npz")
    with pytest.raises(SpecError, match="no optimiser is called 'newton'; allowed: adam, sgd, lbfgs, als"):
        ar.fit(net, target(), optimiser="newton")
    monkeypatch.setenv("ADNTN_REF_MEMORY_LIMIT", "5KiB")
    with pytest.raises(MemoryLimitError, match=r"the least-squares problem of core core0 \(16 x 16, float64\)"):
        ar.fit(ar.MPO((4, 4), 1, (4,), (4,)), target(), optimiser="als")


# --- restarts


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_restarts_keep_the_best(optimiser: str) -> None:
    each = [ar.fit(WALL, target(), steps=40, rng=3 + 1000 * r, optimiser=optimiser) for r in range(4)]
    result = ar.fit(WALL, target(), steps=40, rng=3, restarts=4, optimiser=optimiser)
    assert [one.restarts[0] for one in each] == list(result.restarts)
    best = min(each, key=lambda one: one.restarts[0].loss)
    assert same(result.params, best.params)
    assert (result.seed, result.history) == (best.seed, best.history)
    assert len({one.loss for one in result.restarts}) == 4


def test_restarts_with_checkpoints_and_callback(tmp_path: Path) -> None:
    options: dict[str, Any] = {"steps": 30, "restarts": 2, "checkpoint": tmp_path / "c.npz"}
    first = ar.fit(WALL, target(), **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c-restart1.npz", "c.npz"]
    assert same(ar.fit(WALL, target(), **options).params, first.params)
    stopped = ar.fit(WALL, target(), steps=30, restarts=5, callback=lambda tick: tick.step == 4)
    assert len(stopped.restarts) == 1
    for wrong in (0, 1.5, True):
        with pytest.raises(SpecError, match="restarts must be an integer >= 1"):
            ar.fit(WALL, target(), restarts=wrong)
    with pytest.raises(SpecError, match="either params or restarts"):
        ar.fit(WALL, target(), restarts=2, params=WALL.init(0))


def test_restarts_survive_a_start_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ar.compression.method.Method.start_params

    def failing(self: Any, seed: int, given: Any) -> Any:
        if seed in bad:
            raise StartError("dead") if seed == 0 else DivergedError("nan")
        return real(self, seed, given)

    monkeypatch.setattr("adntn_ref.compression.method.Method.start_params", failing)
    bad = {0, 1000}
    result = ar.fit(WALL, target(), steps=5, restarts=3)
    assert [(r.stopped_by, np.isfinite(r.loss)) for r in result.restarts] == [
        ("dead", False),
        ("diverged", False),
        ("steps", True),
    ]
    bad = {0, 1000, 2000}
    with pytest.raises(DivergedError):
        ar.fit(WALL, target(), steps=5, restarts=3)


# --- many at once


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimiser": "sgd", "rate": 0.05, "warmup": 5},
        {"clip": 0.01, "schedule": "constant", "patience": 1, "rate": 0.3},
        {"orthogonality": 0.01},
        {"retract": True},
        {"objective": "outputs"},
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.3.0", reason="batched products of small matrices add up in another order"
)
def test_many_are_the_single_fits(options: dict[str, Any], dtype: str) -> None:
    targets = [target(dtype=dtype, seed=k) * 10.0**k for k in range(4)]
    outputs = "objective" in options
    more = {"statistics": [statistics(4)] * 4} if outputs else {}
    found = ar.fit_many(WALL, targets, steps=60, rng=5, **options, **more)
    for k, (one, wanted) in enumerate(zip(found, targets, strict=True)):
        single = ar.fit(
            WALL, wanted, steps=60, rng=5 + k, **options, **({"statistics": statistics(4)} if outputs else {})
        )
        assert same(one.params, single.params)
        assert one.history == single.history
        assert (one.seed, one.stopped_by, one.restarts) == (single.seed, single.stopped_by, single.restarts)
        assert (one.relative_error, one.output_error) == (single.relative_error, single.output_error)
        assert one.dead_share == single.dead_share
    if "patience" in options:
        assert len({len(one.history.loss) for one in found}) > 1


def test_many_refuses() -> None:
    stacked = np.stack([target(), target(seed=9)])
    assert len(ar.fit_many(WALL, stacked, steps=2)) == 2
    with pytest.raises(SpecError, match="at least one target"):
        ar.fit_many(WALL, [])
    with pytest.raises(SpecError, match="2 targets need as many statistics, got 1"):
        ar.fit_many(WALL, stacked, statistics=[statistics(4)], objective="outputs")
    with pytest.raises(SpecError, match="takes the optimisers adam and sgd, got 'als'"):
        ar.fit_many(ar.MPO((4, 4), 2), stacked, optimiser="als")
    with pytest.raises(ArrayError, match="one dtype, got float32, float64"):
        ar.fit_many(WALL, [target(), target(dtype="float32")])
    with pytest.raises(TypeError, match="unexpected keyword argument 'speed'"):
        ar.fit_many(WALL, stacked, speed=3)
    targets = [target(), target(seed=9)]
    wild: dict[str, Any] = {"rate": 1e150, "steps": 30, "optimiser": "sgd", "schedule": "constant"}
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match="fit of weight 0: the ") as caught:
        ar.fit_many(WALL, targets, **wild)
    assert len(caught.value.best) == 2
    assert all(np.isfinite(core).all() for best in caught.value.best for core in best.values())

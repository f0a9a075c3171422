"""Stage 1: a network fitted to a weight."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elsewhere import place, there
from small import hide, same

import adntn_ref as ar
from adntn_ref.compression.method import default_rate
from adntn_ref.compression.objectives import euclidean_objective
from adntn_ref.compression.progress import Progress
from adntn_ref.compression.training import Tick
from adntn_ref.errors import (
    ArrayError,
    DTypeError,
    FileFormatError,
    MissingExtra,
    NonFiniteError,
    ParameterError,
    SpecError,
)
from adntn_ref.validation.checks.gradients import check_gradient

NET = ar.BrickWall((4, 4), layers=1)


def target(shape: tuple[int, ...] = (4, 4), dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(8).standard_normal(shape).astype(dtype)


def representable(net: ar.Network) -> np.ndarray:
    return np.asarray(net.generate(net.init(3)))


@pytest.mark.parametrize(
    "net", [ar.BrickWall((4, 4), layers=1), ar.BrickWall((4, 2, 2), 1, activation="tanh"), ar.MPO((4, 6), 2)]
)
def test_representable_target_is_found(net: ar.Network) -> None:
    wanted = representable(net)
    best = min(ar.fit(net, wanted, steps=600, rate=0.03, rng=seed).relative_error for seed in range(3))
    assert best < 0.02
    near = {name: core + 0.01 for name, core in net.init(3).items()}
    assert ar.fit(net, wanted, steps=400, rate=0.01, params=near).relative_error < 1e-3


def test_relative_error_is_its_definition() -> None:
    w, t = target(), target() + 1.0
    assert ar.relative_error(w, t) == pytest.approx(np.sqrt(((w - t) ** 2).sum() / (t**2).sum()), rel=1e-14)
    assert ar.relative_error(t, t) == 0
    assert ar.relative_error(0 * t, t) == 1
    result = ar.fit(NET, t, steps=30)
    assert result.relative_error == ar.relative_error(result.generate(), t)
    assert result.relative_error**2 == pytest.approx(min(result.history.score), rel=1e-12)
    assert (result.network, result.seed, result.stopped_by) == (NET, 0, "steps")


@pytest.mark.parametrize("net", [ar.BrickWall((4, 3), 2, activation="tanh"), ar.MPO((4, 6), 2)])
def test_gradient_of_the_objective(net: ar.Network) -> None:
    objective = euclidean_objective(net, place(target(net.placement.shape)))
    params = {name: core + 0.05 for name, core in net.init(1).items()}
    check_gradient(lambda p: there(objective)(0, p)[0], lambda p: there(objective)(0, p)[1], params, method="central")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_start(dtype: str) -> None:
    """The first weight has a share of the target's standard deviation, whatever the target's mean and scale."""
    seen: list[Any] = []
    for wanted in (target(dtype=dtype), 7 + 100 * target(dtype=dtype), np.full((4, 4), 0.1, dtype)):
        result = ar.fit(NET, wanted, steps=1, schedule="constant", rate=1e-12, rng=4)
        std = np.std(np.asarray(wanted, np.float64))
        expected = 0.1 * (std if std > 1e-9 else 0.1)  # of a constant target the size itself
        assert np.std(result.generate()) == pytest.approx(expected, rel=1e-3)
        assert {core.dtype.name for core in result.params.values()} == {dtype}
        seen.append(result.params)
    assert not same(ar.fit(NET, target(), steps=1, rng=5).params, ar.fit(NET, target(), steps=1, rng=6).params)


def test_start_for_a_constant_target() -> None:
    """Rounding gives equal numbers a standard deviation of 1e-8, which is no scale to start from."""
    constant = np.full((40, 40), 0.1, np.float32)
    assert np.std(constant) > 0
    net = ar.BrickWall((40, 40), 1)
    result = ar.fit(net, constant, steps=1, rate=1e-12)
    assert np.std(result.generate()) == pytest.approx(0.1 / 40, rel=1e-3)


def test_the_start_is_small_enough_to_see_the_target() -> None:
    """From a tenth of its standard deviation this fit first shrinks the weight to nothing, and is there still."""
    wanted = np.random.default_rng(0).standard_normal((256, 256)).astype("float32")
    rows, columns = np.linspace(-1, 1, 256), np.linspace(0, 3, 256)
    wanted += np.outer(np.sin(3 * rows), np.cos(columns)).astype("float32")
    net = ar.BrickWall((256, 256), layers=3, layout="interleaved")
    small = ar.fit(net, wanted, steps=150, rng=0).relative_error
    large = ar.fit(net, wanted, steps=150, rng=0, start_share=0.1).relative_error
    assert small < large - 0.01
    assert np.std(ar.fit(net, wanted, steps=1, rate=1e-12).generate()) == pytest.approx(np.std(wanted) / 256, rel=1e-2)
    for share in (0, -1.0, float("inf"), float("nan"), "a", True):
        with pytest.raises(SpecError, match="start_share must be positive and finite"):
            ar.fit(net, wanted, steps=1, start_share=share)  # type: ignore[arg-type]


def test_default_rate_keeps_deep_networks_alive() -> None:
    """Less for deeper programs; the rate that serves shallow ones lets a deep one collapse to zero."""
    deep = ar.BrickWall((32, 32), 10)
    assert [default_rate(net) for net in (NET, ar.MPO((4, 4), 2), deep)] == [0.01, 0.01, 0.0025]
    wanted = target((32, 32), "float32")
    result = ar.fit(deep, wanted, steps=120)
    assert result.history.rate[0] == 0.0025
    assert result.relative_error < 0.97
    assert min(ar.fit(deep, wanted, steps=120, rate=0.04).history.loss) > result.relative_error**2
    assert ar.fit(deep, wanted, steps=1, rate=0.3).history.rate == [0.3]


def test_given_params_and_other_starts() -> None:
    params = NET.init(9)
    kept = {name: core.copy() for name, core in params.items()}
    result = ar.fit(NET, target(), steps=5, params=params)
    assert result.history.loss[0] == euclidean_objective(NET, target())(0, kept)[0]
    assert same(params, kept)
    turned = dict(reversed(params.items()))
    assert same(dict(sorted(ar.fit(NET, target(), steps=5, params=turned).params.items())),
                dict(sorted(result.params.items())))  # fmt: skip
    assert ar.fit(NET, target(), steps=5, start="normal").relative_error > 0
    with pytest.raises(SpecError, match="parameters given are float32, the target float64"):
        ar.fit(NET, target(), params=NET.init(0, "float32"))
    with pytest.raises(ParameterError):
        ar.fit(NET, target(), params={})
    with pytest.raises(SpecError, match="no start is called 'warm'"):
        ar.fit(NET, target(), start="warm")


def holding(value: float) -> np.ndarray:
    array = target()
    array[2, 1] = value
    return array


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (target((4, 3)), ArrayError, r"the target has shape \(4, 3\), the network makes \(4, 4\)"),
        (target((16,)), ArrayError, "the target has shape"),
        (np.ones((4, 4), int), DTypeError, "the target has dtype int64; allowed: float32, float64"),
        (np.ones((4, 4), np.float16), DTypeError, "dtype float16"),
        (np.ones((4, 4), complex), DTypeError, "dtype complex128"),
        (holding(np.nan), NonFiniteError, r"the target holds 1 entries .* index \(2, 1\)"),
        (holding(-np.inf), NonFiniteError, "not finite"),
        (np.zeros((4, 4)), ArrayError, "zero everywhere"),
        (np.full((4, 4), 1e-200), ArrayError, "sum of squares is 0.0 in float64; rescale"),
        (np.full((4, 4), 1e30, np.float32), ArrayError, "sum of squares is inf in float32; rescale"),
        ([[1.0] * 4] * 4, ArrayError, "must be an array, got a list"),
        (None, ArrayError, "must be an array, got a NoneType"),
    ],
)
def test_bad_target(wrong: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ar.fit(NET, wrong, steps=2)


def test_target_is_no_variable() -> None:
    with pytest.raises(ArrayError, match="got a Var"):
        ar.grad(lambda t: ar.fit(NET, t, steps=1).relative_error)(target())


def test_resume(tmp_path: Path) -> None:
    path = tmp_path / "fit.npz"
    wanted = ar.fit(NET, target(), steps=450, rng=2)

    def strike(tick: Tick) -> None:
        if tick.step == 420:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ar.fit(NET, target(), steps=450, rng=2, checkpoint=path, callback=strike)
    resumed = ar.fit(NET, target(), steps=450, rng=2, checkpoint=path)
    assert same(resumed.params, wanted.params)
    assert (resumed.history, resumed.relative_error) == (wanted.history, wanted.relative_error)


def test_checkpoint_of_another_target_or_seed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fit.npz"
    ar.fit(NET, target(), steps=5, checkpoint=path, params=NET.init(1))
    with pytest.raises(FileFormatError, match="belongs to another training: facts differ"):
        ar.fit(NET, -target(), steps=5, checkpoint=path, params=NET.init(1))
    with pytest.raises(FileFormatError, match="belongs to another training: start differ"):
        ar.fit(NET, target(), steps=5, checkpoint=path, params=NET.init(2))


def test_callback_and_patience() -> None:
    assert len(ar.fit(NET, target(), steps=50, callback=lambda tick: tick.step >= 3).history.loss) == 3
    ticks: list[int] = []
    result = ar.fit(NET, representable(NET), steps=500, rate=0.5, patience=1, callback=lambda t: ticks.append(t.step))
    assert result.stopped_by == "patience"
    assert ticks == list(range(1, len(result.history.loss) + 1))


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    ar.fit(NET, target(), steps=20, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "fitting" in shown.err
    assert "20/20" in shown.err
    assert "loss" in shown.err


def test_progress_elsewhere_is_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    ar.fit(NET, target(), steps=20, progress=True)
    assert capsys.readouterr() == ("", "")


def test_progress_shows_names_as_they_are(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress("a[0][/b]", 2) as bar:
        bar(Tick(2, 2, 0.5, 0.5))
    assert "a[0][/b]" in capsys.readouterr().err


def test_progress_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "rich")
    with pytest.raises(MissingExtra, match=r'needs the package rich; .* "adntn-ref\[demo\]"'):
        ar.fit(NET, target(), steps=20, progress=True)
    assert ar.fit(NET, target(), steps=2).history.loss  # and without a bar it is not needed


def test_broken_package_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'libthing'", name="libthing")

    monkeypatch.setattr("adntn_ref.extras.import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="libthing") as caught:
        Progress("x", 1)
    assert not isinstance(caught.value, MissingExtra)
    assert importlib.import_module("adntn_ref.extras").import_module is broken

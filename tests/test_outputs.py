"""Stage 1 by outputs: the statistics, the objective, and the first stage of whole models."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import blobs, conv_model, dense_model, networks, same, split

import adntn_ref as ar
from adntn_ref.compression import statistics as module
from adntn_ref.compression.compress import corrected_bias
from adntn_ref.compression.objectives import OutputsLoss, outputs_objective
from adntn_ref.compression.statistics import layer_inputs, patches
from adntn_ref.errors import (
    ArrayError,
    DTypeError,
    FileFormatError,
    MemoryLimitError,
    NonFiniteError,
    NothingSelected,
    ParameterError,
    SpecError,
)
from adntn_ref.nn.data import Part
from adntn_ref.validation.checks.gradients import check_gradient

PART = blobs(np.random.default_rng(5), 60, 4, 4, "float64")


def moments(n: int = 6, rows: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, ar.OutputStatistics]:
    """Inputs x and x0 of a layer, and their statistics by NumPy's own covariance."""
    rng = np.random.default_rng(seed)
    x0 = rng.standard_normal((rows, n)) @ rng.standard_normal((n, n)) + 3.0
    x = x0 + 0.5 * rng.standard_normal((rows, n)) - 1.0
    both = np.cov(x.T, x0.T, bias=True)
    return x, x0, ar.OutputStatistics(both[:n, :n], both[:n, n:], x.mean(axis=0), x0.mean(axis=0), both[n:, n:])


def weight(shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def direct_error(w: np.ndarray, t: np.ndarray, x: np.ndarray, x0: np.ndarray) -> float:
    """The mean squared difference of outputs at the best bias over the variance of the dense outputs."""
    y, y0 = x @ w.reshape(len(w), -1).T, x0 @ t.reshape(len(t), -1).T
    difference = y - y0
    difference = difference - difference.mean(axis=0)
    return float((difference**2).sum() / ((y0 - y0.mean(axis=0)) ** 2).sum())


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.integers(0, 99))
def test_patches_make_the_convolution(kernel: int, stride: int, padding: int, dilation: int, seed: int) -> None:
    layer = ar.Conv2d(2, 3, (kernel, 2), (1, stride), (padding, 1), (dilation, 1), bias=False)
    x, w = weight((2, 2, 6, 7), seed), weight((3, 2, kernel, 2), seed + 1)
    wanted = layer({"weight": w}, x)
    rows = patches(x, layer) @ w.reshape(3, -1).T
    got = rows.reshape(2, *wanted.shape[2:], 3).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(got, wanted, atol=1e-12)
    assert patches(x.astype("f4"), layer).dtype == np.float32


@pytest.mark.parametrize("name", ["conv", "fc"])
@pytest.mark.parametrize("batch", [7, 250])
def test_statistics_are_the_covariances(name: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", batch)
    model = conv_model()
    dense = model.init(0, "float64")
    other = {**dense, "conv.weight": dense["conv.weight"] * 1.3 + 0.1}
    found = ar.layer_statistics(model, dense, other, name, PART)
    x, x0 = (layer_inputs(model, p, name, PART.images) for p in (other, dense))
    n = found.inputs
    both = np.cov(x.T, x0.T, bias=True)
    for got, wanted in ((found.cxx, both[:n, :n]), (found.cx0, both[:n, n:]), (found.c00, both[n:, n:])):
        np.testing.assert_allclose(got, wanted, atol=1e-12)
    np.testing.assert_allclose(found.mean_x, x.mean(axis=0), atol=1e-13)
    np.testing.assert_allclose(found.mean_x0, x0.mean(axis=0), atol=1e-13)
    assert np.array_equal(x, x0) == (name == "conv")


def test_statistics_of_a_layer_without_bias_are_not_centred() -> None:
    model = ar.fc2(16, 8, 4)
    found = ar.layer_statistics(model, model.init(0), model.init(0), "fc1", PART)
    x = PART.images.reshape(60, 16)
    np.testing.assert_allclose(found.cxx, x.T @ x / 60, atol=1e-12)
    assert not found.mean_x.any()
    target = model.init(0)["fc1.weight"]
    result = ar.fit(ar.BrickWall((8, 16), 1), target, objective="outputs", statistics=found, steps=3)
    assert not result.bias_shift.any()
    assert corrected_bias("fc1.weight", result, model.init(0)) == {}


def test_statistics_far_from_zero() -> None:
    """Centred sums: a mean ten million times the spread leaves six digits, where raw moments would leave none."""
    images = 1e7 + np.random.default_rng(0).standard_normal((600, 1, 4, 4))
    model, params = dense_model(), dense_model().init(0, "float64")
    found = ar.layer_statistics(model, params, params, "fc1", Part(images, np.zeros(600, np.int64)))
    wanted = np.cov((images - 1e7).reshape(600, 16).T, bias=True)
    np.testing.assert_allclose(found.cxx, wanted, atol=1e-6)


def test_labels_are_not_read() -> None:
    model, params = dense_model(), dense_model().init(0)
    a, b = (
        ar.layer_statistics(model, params, params, "fc2", Part(PART.images, labels))
        for labels in (PART.labels, PART.labels[::-1].copy())
    )
    assert all(same(x, y) for x, y in zip(a.arrays(), b.arrays(), strict=True))


@pytest.mark.parametrize("shape", [(5, 6), (5, 3, 1, 2)])
def test_objective_is_the_difference_of_outputs(shape: tuple[int, ...]) -> None:
    x, x0, known = moments()
    t, w = weight(shape), weight(shape, 2)
    assert ar.output_error(w, t, known) == pytest.approx(direct_error(w, t, x, x0), rel=1e-11)
    assert ar.output_error(w.astype("f4"), t.astype("f4"), known) == pytest.approx(direct_error(w, t, x, x0), rel=1e-5)
    shift = OutputsLoss(t, known).bias_shift(w)
    left = x @ w.reshape(5, 6).T + shift - x0 @ t.reshape(5, 6).T
    np.testing.assert_allclose(left.mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("net", [ar.BrickWall((4, 6), 2, activation="tanh"), ar.MPO((4, 3, 2), 2)])
def test_gradient_of_the_objective(net: ar.Network) -> None:
    objective = outputs_objective(net, weight(net.placement.shape), moments()[2])
    params = {name: core + 0.05 for name, core in net.init(1).items()}
    check_gradient(lambda p: objective(0, p)[0], lambda p: objective(0, p)[1], params, method="central")


@pytest.mark.parametrize("optimiser", ["lbfgs", "als"])
def test_dense_weight_reaches_the_regression(optimiser: str) -> None:
    """An MPO of one core is the whole weight; its best outputs are those of the linear regression of y0 on x."""
    x, x0, known = moments()
    t = weight((5, 6))
    net = ar.MPO((5, 6), 1, (5,), (6,))
    result = ar.fit(net, t, objective="outputs", statistics=known, optimiser=optimiser, steps=400)
    wanted = np.linalg.lstsq(np.c_[x, np.ones(len(x))], x0 @ t.T, rcond=None)[0].T
    np.testing.assert_allclose(result.generate(), wanted[:, :6], atol=1e-6)
    np.testing.assert_allclose(result.bias_shift, wanted[:, 6], atol=1e-5)
    assert result.output_error == pytest.approx(direct_error(wanted[:, :6], t, x, x0), rel=1e-9)
    assert result.relative_error == ar.relative_error(result.generate(), t)


def test_same_inputs_and_whole_weight_leave_nothing() -> None:
    _, _, known = moments()
    known = replace(known, cxx=known.c00, cx0=known.c00, mean_x=known.mean_x0)
    t = weight((5, 6))
    assert ar.output_error(t, t, known) == pytest.approx(0, abs=1e-13)
    assert ar.output_error(0 * t, t, known) == pytest.approx(1)


def test_als_where_inputs_repeat() -> None:
    """A covariance of rank 2 leaves most of the weight free; the part that matters is found."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 2)) @ rng.standard_normal((2, 6))
    both = np.cov(x.T, x.T, bias=True)[:6, :6]
    both = (both + both.T) / 2
    known = ar.OutputStatistics(both, both, x.mean(axis=0), x.mean(axis=0), both)
    net = ar.MPO((5, 6), 1, (5,), (6,))
    result = ar.fit(net, weight((5, 6)), objective="outputs", statistics=known, optimiser="als")
    assert result.output_error == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"cxx": np.eye(5)}, ArrayError, r"cxx of the statistics has shape \(5, 5\), mean_x asks for \(6, 6\)"),
        ({"cx0": np.zeros((6, 5))}, ArrayError, "cx0 of the statistics has shape"),
        ({"mean_x0": np.zeros(5)}, ArrayError, "mean_x0 of the statistics has shape"),
        ({"mean_x": np.zeros((2, 3))}, ArrayError, r"mean_x of the statistics must be an array of shape \(n,\)"),
        ({"mean_x": [0.0] * 6}, ArrayError, "mean_x of the statistics must be an array"),
        ({"c00": [[1.0] * 6] * 6}, ArrayError, "c00 of the statistics must be an array, got a list"),
        ({"cxx": np.eye(6, dtype="f4")}, DTypeError, "cxx of the statistics has dtype float32; allowed: float64"),
        ({"cx0": np.full((6, 6), np.nan)}, NonFiniteError, "cx0 of the statistics holds 36 entries"),
        ({"cxx": np.triu(np.ones((6, 6)))}, ArrayError, "cxx of the statistics is a covariance and must be symmetric"),
    ],
)
def test_bad_statistics(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replace(moments()[2], **change)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"objective": "labels"}, SpecError, "no objective is called 'labels'; allowed: euclidean, outputs"),
        ({"objective": "outputs"}, SpecError, "needs statistics=OutputStatistics .*, got none"),
        ({"objective": "outputs", "statistics": 3}, SpecError, "got a int"),
        ({"statistics": moments()[2]}, SpecError, "statistics go with objective='outputs'"),
        ({"objective": "outputs", "statistics": moments(5)[2]}, ArrayError, r"of 5 inputs, .*\(5, 6\) has 6"),
        (
            {"objective": "outputs", "statistics": replace(moments()[2], c00=np.zeros((6, 6)))},
            ArrayError,
            "outputs have variance 0.0",
        ),
        (
            {"objective": "outputs", "statistics": replace(moments()[2], cxx=np.zeros((6, 6)))},
            ArrayError,
            "do not vary: an earlier layer is dead",
        ),
    ],
)
def test_bad_objective(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ar.fit(ar.BrickWall((5, 6), 1), weight((5, 6)), steps=2, **options)


def test_layers_without_outputs_to_match(monkeypatch: pytest.MonkeyPatch) -> None:
    model, params = dense_model(), dense_model().init(0)
    with pytest.raises(NothingSelected, match="no layer 'fc9'; it has flatten, fc1"):
        ar.layer_statistics(model, params, params, "fc9", PART)
    with pytest.raises(SpecError, match="relu is a Activation: only Linear and Conv2d"):
        ar.layer_statistics(model, params, params, "relu", PART)
    with pytest.raises(ParameterError, match="missing"):
        ar.layer_statistics(model, params, {}, "fc1", PART)
    grouped = ar.Sequential((2, 4, 4), (("conv", ar.Conv2d(2, 4, 2, groups=2)),))
    with pytest.raises(SpecError, match="conv has 2 groups"):
        ar.layer_statistics(grouped, grouped.init(), grouped.init(), "conv", PART)
    monkeypatch.setenv("ADNTN_REF_MEMORY_LIMIT", "4KiB")
    with pytest.raises(MemoryLimitError, match="the covariances of the 16 inputs of fc1"):
        ar.layer_statistics(model, params, params, "fc1", PART)


def test_layer_after_layer() -> None:
    """Each layer from the inputs behind the layers already fitted, biases corrected, whatever the order given."""
    model = conv_model()
    params = {name: value + 0.1 for name, value in model.init(3, "float64").items()}
    nets = networks(model, "fc.weight", "conv.weight")
    fits = ar.fit_layers(model, nets, params, objective="outputs", data=PART, seed=4, steps=20)
    assert list(fits) == ["fc.weight", "conv.weight"]
    current = dict(params)
    for name, seed in (("conv", 5), ("fc", 4)):
        known = ar.layer_statistics(model, params, current, name, PART)
        target = params[f"{name}.weight"]
        one = ar.fit(nets[f"{name}.weight"], target, objective="outputs", statistics=known, rng=seed, steps=20)
        assert same(one.params, fits[f"{name}.weight"].params)
        assert one.output_error == ar.output_error(one.generate(), target, known) < 1
        current[f"{name}.weight"] = one.generate()
        current[f"{name}.bias"] = params[f"{name}.bias"] + one.bias_shift
    gap = model(current, PART.images) - model(params, PART.images)
    np.testing.assert_allclose(gap.mean(axis=0), 0, atol=1e-12)  # the biases' doing
    bad = np.mean(gap**2) / np.mean(np.var(model(params, PART.images), axis=0))
    assert bad == pytest.approx(fits["fc.weight"].output_error, rel=1e-9)


@pytest.mark.parametrize("order", ["together", "layer_by_layer"])
def test_compress_by_outputs(order: str, tmp_path: Path) -> None:
    data, model = split(), dense_model()
    trained = ar.train(model, model.init(), data, epochs=15, batch_size=10, rates=ar.Rates(rest=1e-2)).params
    nets = networks(model, "fc1.weight", "fc2.weight", layers=2)
    options: dict[str, Any] = {"order": order, "objective": "outputs", "stage1_steps": 200, "stage1_rate": 1e-2}
    options.update(epochs=1, epochs_between=1, batch_size=16, rates=ar.Rates(1e-9, 1e-9), seed=2)
    made = ar.compress(model, nets, data, trained, checkpoints=tmp_path, **options)
    assert all(result.objective == "outputs" for result in made.fits.values())
    first = made.fits["fc1.weight"]
    wanted = trained["fc1.bias"] + first.bias_shift
    np.testing.assert_allclose(made.params["fc1.bias"], wanted, atol=1e-5)
    distance = ar.compress(model, nets, data, trained, **{**options, "objective": "euclidean"})
    assert distance.fits["fc1.weight"].bias_shift is None
    known = ar.layer_statistics(model, trained, trained, "fc1", data.train)
    by_distance = ar.output_error(distance.fits["fc1.weight"].generate(), trained["fc1.weight"], known)
    assert first.output_error is not None
    assert first.output_error < by_distance
    assert same(ar.compress(model, nets, data, trained, checkpoints=tmp_path, **options).params, made.params)
    with pytest.raises(FileFormatError, match="facts differ"):
        ar.compress(model, nets, data, trained, checkpoints=tmp_path, **{**options, "objective": "euclidean"})


def test_other_optimisers_in_compress(tmp_path: Path) -> None:
    """Their fits keep no checkpoints; stage 2 does, and the whole resumes to the same bits all the same."""
    data, model = split(), dense_model()
    nets = networks(model, "fc1.weight", "fc2.weight")
    short: dict[str, Any] = {"epochs": 1, "epochs_between": 1, "stage1_steps": 5, "checkpoints": tmp_path}
    for objective in ("euclidean", "outputs"):
        for optimiser in ("lbfgs", "als"):
            options = {**short, "objective": objective, "stage1_options": {"optimiser": optimiser, "restarts": 2}}
            options["checkpoints"] = tmp_path / f"{objective}-{optimiser}"
            made = [ar.compress(model, nets, data, model.init(), **options) for _ in "ab"]
            assert same(made[0].params, made[1].params)
            assert all(len(result.restarts) == 2 for result in made[0].fits.values())
            assert sorted(path.name for path in options["checkpoints"].iterdir()) == [
                "stage2-fc1.weight.npz",
                "stage2-fc2.weight.npz",
            ]


def test_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adntn_ref.compression.compress.fit", lambda *a, **k: pytest.fail("work began"))
    model, data = dense_model(), split()
    params = model.init()
    nets = networks(model, "fc2.weight")
    with pytest.raises(SpecError, match="no objective is called 'labels'"):
        ar.compress(model, nets, data, params, objective="labels")
    with pytest.raises(SpecError, match="needs data"):
        ar.fit_layers(model, nets, params, objective="outputs")
    with pytest.raises(SpecError, match=r"fc2.bias is no weight"):
        ar.compress(model, {"fc2.bias": ar.BrickWall((8,), 1)}, data, params, objective="outputs")
    grouped = ar.Sequential((1, 4, 4), (("conv", ar.Conv2d(1, 4, 2)), ("two", ar.Conv2d(4, 4, 2, groups=2))))
    with pytest.raises(SpecError, match="two has 2 groups"):
        ar.fit_layers(
            grouped, networks(grouped, "conv.weight", "two.weight"), grouped.init(), objective="outputs", data=PART
        )

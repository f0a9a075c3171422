"""Stage 1 by what the logits feel: the metric against Jacobians by hand, the objective, and whole models."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from elsewhere import there
from hypothesis import given
from hypothesis import strategies as st
from small import blobs, conv_model, dense_model, networks, same
from test_outputs import moments, weight

import adntn_ref as ar
from adntn_ref.compression import sensitivity as module
from adntn_ref.compression.objectives import OutputsLoss, make_loss, network_objective
from adntn_ref.compression.sensitivity import output_metric
from adntn_ref.errors import ArrayError, DTypeError, MemoryLimitError, NothingSelected, SpecError
from adntn_ref.nn.data import Part
from adntn_ref.validation.checks.gradients import check_gradient

PART = blobs(np.random.default_rng(5), 24, 4, 4, "float64")


def metric(outputs: int = 5, seed: int = 4) -> np.ndarray:
    root = np.random.default_rng(seed).standard_normal((outputs, outputs))
    return root @ root.T


@pytest.mark.parametrize("batch", [7, 250])
def test_metric_of_linear_layers_by_hand(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """J = (1 - 11^T / classes) W3 D2 W2 D1 for relus that let D1, D2 through."""
    monkeypatch.setattr(module, "BATCH", batch)
    model, params = dense_model(), dense_model().init(2, "float64")
    x = PART.images.reshape(24, 16)
    z1 = x @ params["fc1.weight"].T + params["fc1.bias"]
    z2 = np.maximum(z1, 0) @ params["fc2.weight"].T + params["fc2.bias"]
    centre = np.eye(4) - 0.25
    for name, wanted in (("fc1", 0), ("fc2", 1), ("fc3", 2)):
        total = np.zeros((1, 1))
        for a, b in zip(z1 > 0, z2 > 0, strict=True):
            last = centre @ params["fc3.weight"] * b
            jacobian = (last @ params["fc2.weight"] * a, last, centre)[wanted]
            total = total + jacobian.T @ jacobian
        found = output_metric(model, params, name, PART)
        np.testing.assert_allclose(found, total * (len(total) / np.trace(total)), atol=1e-12)


def test_metric_of_a_convolution_by_differences() -> None:
    """The sum over positions of the squares of what the logits do when one output of one position moves."""
    model, params = conv_model(), conv_model().init(2, "float64")
    part = Part(PART.images[:3], PART.labels[:3])
    layers = dict(model.layers)
    z = layers["conv"]({"weight": params["conv.weight"], "bias": params["conv.bias"]}, part.images)
    rest = ar.Sequential(z.shape[1:], model.layers[1:])
    total = np.zeros((4, 4))
    for position in np.ndindex(z.shape[2:]):
        rows = []
        for k in range(4):
            up, down = z.copy(), z.copy()
            up[(slice(None), k, *position)] += 1e-6
            down[(slice(None), k, *position)] -= 1e-6
            moved = (rest(_of(rest, params), up) - rest(_of(rest, params), down)) / 2e-6
            rows.append(moved - moved.mean(axis=1, keepdims=True))
        jacobian = np.stack(rows, axis=-1)  # (images, logits, outputs)
        total += np.einsum("nli,nlj->ij", jacobian, jacobian)
    found = output_metric(model, params, "conv", part)
    np.testing.assert_allclose(found, total * (4 / np.trace(total)), atol=1e-6)


def _of(model: ar.Sequential, params: dict[str, Any]) -> dict[str, Any]:
    return {name: params[name] for name in model.param_shapes}


def test_labels_are_not_read_and_the_first_images_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    model, params = dense_model(), dense_model().init(0)
    one = there(output_metric)(model, params, "fc1", PART)
    other = there(output_metric)(model, params, "fc1", Part(PART.images, PART.labels[::-1].copy()))
    assert same(one, other)
    monkeypatch.setattr(module, "IMAGES", 10)
    few = output_metric(model, params, "fc1", PART)
    assert same(few, output_metric(model, params, "fc1", Part(PART.images[:10], PART.labels[:10])))


def test_metric_on_a_backend(backend: Any) -> None:
    model, params = conv_model(), conv_model().init(1, "float64")
    here = output_metric(model, params, "conv", PART)
    found = output_metric(model, ar.to_backend(params, backend.name), "conv", PART)
    np.testing.assert_allclose(ar.to_backend(found, "numpy"), here, atol=1e-12)


def weighed(w: np.ndarray, t: np.ndarray, x: np.ndarray, x0: np.ndarray, g: np.ndarray) -> float:
    """The mean of y^T G y for differences of outputs at the best bias, over that of the dense outputs."""
    y, y0 = (a @ b.reshape(len(b), -1).T for a, b in ((x, w), (x0, t)))
    left, whole = y - y0 - (y - y0).mean(axis=0), y0 - y0.mean(axis=0)
    return float(np.einsum("ni,ij,nj->", left, g, left) / np.einsum("ni,ij,nj->", whole, g, whole))


@given(st.integers(0, 50), st.sampled_from([(5, 6), (5, 3, 1, 2)]))
def test_objective_is_the_weighed_difference_of_outputs(seed: int, shape: tuple[int, ...]) -> None:
    x, x0, known = moments(seed=seed)
    t, w, g = weight(shape, seed), weight(shape, seed + 1), metric(seed=seed)
    loss = OutputsLoss(t, replace(known, metric=g))
    assert float(loss(w)[0]) == pytest.approx(weighed(w, t, x, x0, g), rel=1e-9)
    gap = loss.half(w) - loss.goal
    free = loss.half(np.linalg.lstsq(known.cxx, known.cx0 @ t.reshape(5, 6).T, rcond=None)[0].T)
    rest = float(loss(w)[0]) - float(gap @ gap)  # what no weight can make up for
    assert float((free - loss.goal) @ (free - loss.goal)) == pytest.approx(0, abs=1e-9)
    other = weight(shape, seed + 2)
    gap = loss.half(other) - loss.goal
    assert float(loss(other)[0]) == pytest.approx(float(gap @ gap) + rest, rel=1e-9)


def test_a_metric_of_ones_is_no_metric() -> None:
    _, _, known = moments()
    t, w = weight((5, 6)), weight((5, 6), 2)
    plain, ones = OutputsLoss(t, known)(w), OutputsLoss(t, replace(known, metric=3.0 * np.eye(5)))(w)
    np.testing.assert_allclose(plain[0], ones[0], rtol=1e-13)
    np.testing.assert_allclose(plain[1], ones[1], rtol=1e-12)
    assert ar.output_error(w, t, replace(known, metric=metric())) == ar.output_error(w, t, known)
    by_outputs = make_loss("outputs", t, replace(known, metric=metric()))
    assert float(by_outputs(w)[0]) == float(plain[0])


@pytest.mark.parametrize("net", [ar.BrickWall((4, 6), 2, activation="tanh"), ar.MPO((4, 3, 2), 2)])
def test_gradient_of_the_objective(net: ar.Network) -> None:
    known = replace(moments()[2], metric=metric(4))
    objective = network_objective(net, OutputsLoss(weight(net.placement.shape), known))
    params = {name: core + 0.05 for name, core in net.init(1).items()}
    check_gradient(lambda p: objective(0, p)[0], lambda p: objective(0, p)[1], params, method="central")


@pytest.mark.parametrize("optimiser", ["lbfgs", "als"])
def test_low_rank_reaches_the_weighed_regression(optimiser: str) -> None:
    """The best matrix of rank 2: the best rank 2 of R T Cx0^T S^-1 (Eckart and Young), carried back."""
    _, _, known = moments()
    t, g = weight((5, 6)), metric()
    loss = OutputsLoss(t, replace(known, metric=g))
    s = np.linalg.svd(loss.goal.reshape(5, 6), compute_uv=False)
    wanted = float(loss(0 * t)[0]) - float((loss.goal**2).sum()) + float((s[2:] ** 2).sum())
    options: dict[str, Any] = {"objective": "logits", "statistics": replace(known, metric=g), "restarts": 3}
    found = ar.fit(ar.LowRank((5, 6), 2), t, optimiser=optimiser, steps=400, **options)
    assert float(loss(found.generate())[0]) == pytest.approx(wanted, rel=1e-6)
    assert found.objective == "logits"
    assert found.output_error == ar.output_error(found.generate(), t, known)


def test_layer_after_layer_the_logits_fare_better() -> None:
    model = conv_model()
    params = {name: value + 0.1 for name, value in model.init(3, "float64").items()}
    nets = networks(model, "fc.weight", "conv.weight")
    errors = {}
    for objective in ("outputs", "logits"):
        fits = ar.fit_layers(model, nets, params, objective=objective, data=PART, seed=4, steps=60)
        assert list(fits) == ["fc.weight", "conv.weight"]
        current = dict(params)
        for name, fit in fits.items():
            current[name] = fit.generate()
            current[name.replace("weight", "bias")] = params[name.replace("weight", "bias")] + fit.bias_shift
        gap = model(current, PART.images) - model(params, PART.images)
        errors[objective] = float(((gap - gap.mean(axis=1, keepdims=True)) ** 2).sum())
    assert errors["logits"] < errors["outputs"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"metric": np.eye(5)[:4]}, ArrayError, r"metric of the statistics must have shape \(outputs, outputs\)"),
        ({"metric": np.triu(np.ones((5, 5)))}, ArrayError, "metric of the statistics is a covariance and must be"),
        ({"metric": np.eye(5, dtype="f4")}, DTypeError, "metric of the statistics has dtype float32"),
        ({"metric": [[1.0]]}, ArrayError, "metric of the statistics must be an array, got a list"),
    ],
)
def test_bad_metric(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replace(moments()[2], **change)


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    model, params = dense_model(), dense_model().init(0)
    t = weight((5, 6))
    with pytest.raises(SpecError, match="objective='logits' needs statistics with a metric"):
        ar.fit(ar.BrickWall((5, 6), 1), t, objective="logits", statistics=moments()[2])
    with pytest.raises(SpecError, match="objective='logits' needs statistics=OutputStatistics"):
        ar.fit(ar.BrickWall((5, 6), 1), t, objective="logits")
    with pytest.raises(ArrayError, match=r"metric is of 4 outputs, the target of shape \(5, 6\) has 5"):
        ar.fit(ar.BrickWall((5, 6), 1), t, objective="logits", statistics=replace(moments()[2], metric=metric(4)))
    with pytest.raises(SpecError, match="objective='logits' needs data"):
        ar.fit_layers(model, networks(model, "fc1.weight"), params, objective="logits")
    with pytest.raises(NothingSelected, match="no layer 'fc9'"):
        output_metric(model, params, "fc9", PART)
    with pytest.raises(SpecError, match="relu is a Activation"):
        output_metric(model, params, "relu", PART)
    with pytest.raises(ArrayError, match="no logit depends on the outputs of fc1"):
        output_metric(model, {**params, "fc3.weight": 0 * params["fc3.weight"]}, "fc1", PART)
    monkeypatch.setenv("ADNTN_REF_MEMORY_LIMIT", "500B")
    with pytest.raises(MemoryLimitError, match="the metric of the 8 outputs of fc1"):
        output_metric(model, params, "fc1", PART)

"""Both stages on another array backend: the same course as on NumPy, no waiting inside a step, resumed to the bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strict
from small import conv_model, dense_model, same, split

import adntn_ref as ar
from adntn_ref.compression.optimisers import clip_norm
from adntn_ref.errors import DivergedError, SpecError
from adntn_ref.nn.data import Part, Split

RNG = np.random.default_rng(0)
TARGET = RNG.standard_normal((6, 10))
NET = ar.BrickWall((6, 10), 2, activation="tanh")


def generated(model: ar.Sequential, *names: str) -> tuple[ar.Generated, dict[str, Any]]:
    networks = {name: ar.BrickWall(model.param_shapes[name], 2) for name in names}
    params = {**model.init(0), **{name: net.init(1, "float32") for name, net in networks.items()}}
    return ar.Generated(model, tuple(networks.items())), params


def close(got: Any, expected: Any, rtol: float) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=rtol, atol=rtol)


class Watch:
    """A callback that notes, after every step, how many arrays have gone to the host, come from it, or been sorted."""

    def __init__(self) -> None:
        self.out: list[int] = []
        self.back: list[int] = []

    def __call__(self, tick: Any) -> None:
        self.out.append(strict.COUNTS["to_host"])
        self.back.append(strict.COUNTS["from_host"] + strict.COUNTS["argsort"])

    def quiet(self, evaluate_every: int) -> bool:
        """Whether nothing moved in the steps without an evaluation; step k is one if ``evaluate_every`` divides k."""
        steps = [k for k in range(1, len(self.out)) if k % evaluate_every]
        return all(self.out[k] == self.out[k - 1] and self.back[k] == self.back[k - 1] for k in steps)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_fit(backend: Any, optimiser: str) -> None:
    options: dict[str, Any] = {"steps": 45, "optimiser": optimiser, "clip": 1.0, "warmup": 3}
    here, watch = ar.fit(NET, TARGET, **options), Watch()
    there = ar.fit(NET, TARGET, backend=backend.name, callback=watch, **options)
    close(there.history.loss, here.history.loss, 1e-10)
    close(there.history.norm, here.history.norm, 1e-10)
    close(there.history.score, here.history.score, 1e-10)
    assert there.history.score_steps == here.history.score_steps
    close(there.relative_error, here.relative_error, 1e-10)
    weight = ar.to_backend(there.generate(), "numpy")
    close(weight, here.generate(), 1e-8)
    if backend.name == "strict":
        assert watch.quiet(10)
        assert watch.out[20] > watch.out[19]  # where it evaluates it does read, so the count counts


def test_a_fit_starts_bit_equal(backend: Any) -> None:
    for start in ("calibrated_orthogonal", "normal"):
        there = NET.init(3, "float32", start=start, backend=backend.name)
        assert same(ar.to_backend(there, "numpy"), NET.init(3, "float32", start=start))
    model = dense_model()
    assert same(ar.to_backend(model.init(3, backend=backend.name), "numpy"), model.init(3))


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("make", [dense_model, conv_model])
def test_training(backend: Any, make: Any, optimiser: str) -> None:
    model, params = generated(make(), "fc1.weight" if make is dense_model else "conv.weight")
    options: dict[str, Any] = {"epochs": 3, "batch_size": 16, "optimiser": optimiser, "clip": 0.5}
    here, watch = ar.train(model, params, split(), **options), Watch()
    there = ar.train(model, params, split(), backend=backend.name, callback=watch, **options)
    close(there.history.loss, here.history.loss, 1e-4)
    assert there.validation_accuracy == here.validation_accuracy
    if backend.name == "strict":
        assert watch.quiet(4)  # 60 images, 16 a batch


def normalised() -> tuple[ar.Sequential, dict[str, Any]]:
    """A model with running statistics, for augmented images."""
    layers = (
        ("conv", ar.Conv2d(1, 4, 2)),
        ("norm", ar.BatchNorm(4)),
        ("relu", ar.Activation("relu")),
        ("flatten", ar.Flatten()),
        ("fc", ar.Linear(36, 4)),
    )
    model = ar.Sequential((1, 4, 4), layers)
    return model, model.init(0)


def test_running_statistics_and_augmentation(backend: Any, tmp_path: Path) -> None:
    """The same course as on NumPy, nothing moved within an epoch, and resumed to the bit with its buffers."""
    (model, params), data = normalised(), split()
    options: dict[str, Any] = {"batch_size": 16, "augmentation": ar.data.Augmentation(1)}
    here, watch = ar.train(model, params, data, epochs=3, **options), Watch()
    there = ar.train(model, params, data, epochs=3, backend=backend.name, callback=watch, **options)
    close(there.history.loss, here.history.loss, 1e-4)
    for name in model.buffer_shapes:
        close(ar.to_backend(there.params[name], "numpy"), here.params[name], 1e-4)
    if backend.name == "strict":
        assert watch.quiet(4)

    def stop(tick: Any) -> bool:
        return bool(tick.step == 9)

    options |= {"checkpoint": tmp_path / "half.npz", "epochs": 3, "backend": backend.name}
    ar.train(model, params, data, callback=stop, **options)
    resumed = ar.train(model, params, data, **options)
    assert resumed.history.loss == there.history.loss
    assert same(*(ar.to_backend(result.params, "numpy") for result in (resumed, there)))


def test_lenet_with_generated_layers(backend: Any) -> None:
    """One epoch of LeNet-5, three of its layers generated, of steps of which none waits."""
    rng = np.random.default_rng(0)
    parts = [
        Part(rng.standard_normal((n, 1, 28, 28)).astype("float32"), rng.integers(0, 10, n).astype(np.int64))
        for n in (24, 6, 6)
    ]
    data = Split(*parts, name="noise", classes=10, seed=0, mean=0.0, std=1.0)
    model, params = generated(ar.lenet5(), "conv2.weight", "fc1.weight", "fc2.weight")
    here, watch = ar.train(model, params, data, epochs=1, batch_size=8), Watch()
    there = ar.train(model, params, data, epochs=1, batch_size=8, backend=backend.name, callback=watch)
    close(there.history.loss, here.history.loss, 1e-4)
    if backend.name == "strict":
        assert watch.quiet(3)


@pytest.mark.parametrize("objective", ["euclidean", "outputs"])
def test_compress(backend: Any, objective: str, tmp_path: Path) -> None:
    model = conv_model()
    networks = {"conv.weight": ar.BrickWall((4, 1, 2, 2), 1), "fc.weight": ar.MPO((4, 16), 2)}
    options: dict[str, Any] = {"stage1_steps": 15, "epochs": 2, "epochs_between": 1, "objective": objective}
    here = ar.compress(model, networks, split(), model.init(0), **options)
    there = ar.compress(model, networks, split(), model.init(0), backend=backend.name, **options)
    for name in networks:
        close(there.fits[name].history.loss, here.fits[name].history.loss, 1e-3)
    close(there.trainings[-1].history.loss, here.trainings[-1].history.loss, 1e-3)
    assert abs(there.validation_accuracy - here.validation_accuracy) < 0.11
    entries = {name: ar.Entry(net, there.params[name]) for name, net in networks.items()}
    ar.save_compressed(tmp_path / "there.npz", entries, {"b": there.params["fc.bias"]}, seed=0)
    loaded = ar.load_compressed(tmp_path / "there.npz")
    for name, entry in loaded.entries.items():
        assert same(entry.params, ar.to_backend(there.params[name], "numpy"))
    close(loaded.expand(backend=backend.name)["fc.weight"], loaded.expand()["fc.weight"], 1e-5)


def test_penalty_and_retraction(backend: Any) -> None:
    options: dict[str, Any] = {"steps": 12, "orthogonality": 0.1, "retract": True, "start": "isometric"}
    here, there = (ar.fit(NET, TARGET, backend=name, **options) for name in ("numpy", backend.name))
    close(there.history.loss, here.history.loss, 1e-9)


def test_many(backend: Any) -> None:
    targets = np.stack([TARGET, 2 * TARGET])
    for one, other in zip(
        *(ar.fit_many(NET, targets, steps=12, backend=b) for b in ("numpy", backend.name)), strict=True
    ):
        close(other.history.loss, one.history.loss, 1e-10)
        assert one.seed == other.seed


def test_resumed_to_the_same_bits(backend: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"steps": 212, "backend": backend.name, "clip": 1.0}
    whole = ar.fit(NET, TARGET, **options)

    def stop(tick: Any) -> bool:
        return bool(tick.step == 203)

    path = tmp_path / "half.npz"
    ar.fit(NET, TARGET, checkpoint=path, callback=stop, **options)
    resumed = ar.fit(NET, TARGET, checkpoint=path, **options)
    assert resumed.history.loss == whole.history.loss
    assert resumed.history.norm == whole.history.norm
    assert same(*(ar.to_backend(result.params, "numpy") for result in (resumed, whole)))


def test_the_same_bits_twice(backend: Any) -> None:
    model, params = generated(conv_model(), "conv.weight")
    runs = [ar.train(model, params, split(), epochs=2, backend=backend.name) for _ in range(2)]
    assert runs[0].history == runs[1].history
    assert same(*(ar.to_backend(run.params, "numpy") for run in runs))


def test_divergence_is_noticed_where_losses_are_read(backend: Any, tmp_path: Path) -> None:
    """It names the step at which it happened, though that is some steps ago."""
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match=r"at step \d+; the best") as told:
        ar.fit(NET, TARGET, steps=100, rate=1e200, optimiser="sgd", backend=backend.name, checkpoint=tmp_path / "c.npz")
    best = ar.to_backend(told.value.best, "numpy")
    assert all(np.isfinite(core).all() for core in best.values())
    step = int(str(told.value).partition("at step ")[2].partition(";")[0])
    assert step in (1, 2, 3)


@pytest.mark.parametrize("optimiser", ["lbfgs", "als"])
def test_what_runs_on_the_host_alone_says_so(backend: Any, optimiser: str) -> None:
    net = ar.MPO((6, 10), 2)
    with pytest.raises(SpecError, match=f"optimiser='{optimiser}' runs on the host, the target is on {backend.name}"):
        ar.fit(net, TARGET, optimiser=optimiser, backend=backend.name)
    assert ar.fit(net, TARGET, optimiser=optimiser, steps=2, backend="numpy").relative_error < 1


@pytest.mark.parametrize("limit", [None, 0.5, 100.0])
def test_clipping(backend: Any, limit: float | None) -> None:
    g = RNG.standard_normal(7)
    expected, norm = clip_norm(g, limit)
    found, length = clip_norm(ar.to_backend(g, backend.name), limit)
    close(ar.to_backend(found, "numpy"), expected, 1e-15)
    close(ar.to_backend(length, "numpy"), norm, 1e-15)

"""Training models with buffers, dropout and augmentation: kept with the best, from (seed, step), resumed to the bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import networks, same, split

import adntn_ref as ar
from adntn_ref.errors import FileFormatError, SpecError
from adntn_ref.nn.data import Augmentation


def model() -> ar.Sequential:
    layers = (
        ("conv", ar.Conv2d(1, 4, 2)),
        ("norm", ar.BatchNorm(4)),
        ("relu", ar.Activation("relu")),
        ("flatten", ar.Flatten()),
        ("dropout", ar.Dropout(0.3)),
        ("fc", ar.Linear(36, 4)),
    )
    return ar.Sequential((1, 4, 4), layers)


def run(seed: int = 0, **options: Any) -> Any:
    made = options.pop("model", model())
    params = options.pop("params", None) or made.init(1)
    more = {"epochs": 3, "batch_size": 16, "rates": ar.Rates(rest=1e-2), **options}
    return ar.train(made, params, split(), seed=seed, **more)


def test_result_holds_the_buffers_of_its_epoch() -> None:
    data, result = split(), run()
    assert list(result.params) == list(model().state_shapes)
    assert ar.accuracy(model(), result.params, data.validation) == result.validation_accuracy
    assert result.validation_accuracy > 0.6
    assert result.params["norm.num_batches_tracked"] in (1, 5, 9, 12)  # batches behind the best of four evaluations
    assert not same(result.params["norm.running_mean"], model().init(1)["norm.running_mean"])


def test_start_is_not_changed() -> None:
    params = model().init(1)
    before = {k: v.copy() for k, v in params.items()}
    run(params=params)
    assert same(params, before)


def test_running_statistics_follow_the_batches() -> None:
    """One epoch at a rate so small that nothing is trained: the running mean is that of the batches in their order."""
    data, made = split(dtype="float64"), model()
    params = made.init(1, "float64")
    result = ar.train(made, params, data, epochs=1, batch_size=16, rates=ar.Rates(1e-300, 1e-300))
    order = np.random.default_rng([0, 0]).permutation(60)
    state = dict(params)
    for step in range(4):
        images = data.train.images[order[16 * step : 16 * step + 16]]
        state.update(made.in_training(state, images, np.random.default_rng(0))[1])
    assert same(result.params["norm.running_var"], state["norm.running_var"])
    assert same(result.params["norm.running_mean"], state["norm.running_mean"])
    assert result.params["norm.num_batches_tracked"] == 4


def test_same_seed_same_bits_and_dropout_by_seed() -> None:
    assert same(run(seed=3).params, run(seed=3).params)
    plain = {"batch_size": 60, "epochs": 1}  # one batch of all images: their order does not matter, the masks do
    losses = [run(seed=seed, **plain).history.loss[0] for seed in (0, 1)]
    assert losses[0] != losses[1]
    layers = tuple((name, layer) for name, layer in model().layers if name != "dropout")
    without = ar.Sequential((1, 4, 4), layers)
    losses = [run(seed=seed, model=without, **plain).history.loss[0] for seed in (0, 1)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_frozen_buffers_stay() -> None:
    params = {**model().init(1), "norm.running_mean": np.ones(4, "f4")}
    result = run(params=params, frozen=["norm.*"])
    for name in params:
        assert same(result.params[name], params[name]) == name.startswith("norm.")


class Killed(Exception):
    pass


@settings(max_examples=8, deadline=None)
@given(kill=st.integers(1, 11), generated=st.booleans())
def test_resumed_is_uninterrupted(kill: int, generated: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Killed in the middle of an epoch, resumed from the last checkpoint: the same bits, buffers included."""
    path = tmp_path_factory.mktemp("run") / "c.npz"
    dense = model()
    nets = networks(dense, "fc.weight") if generated else {}
    made = ar.Generated(dense, nets) if generated else dense
    params = {**dense.init(1), **{name: net.init(2, dtype="float32") for name, net in nets.items()}}
    options: dict[str, Any] = {"model": made, "params": params, "augmentation": Augmentation(1, mirror=False)}
    wanted = run(**options)

    def strike(tick: Any) -> None:
        if tick.step == kill:
            raise Killed

    try:
        run(checkpoint=path, callback=strike, **options)
    except Killed:
        assert path.exists() == (kill >= 4)
    resumed = run(checkpoint=path, **options)
    assert same(resumed.params, wanted.params)
    assert resumed.history == wanted.history
    assert same(run(checkpoint=path, **options).params, wanted.params)


def test_checkpoint_of_other_buffers_or_augmentation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    run(checkpoint=path)
    with pytest.raises(FileFormatError, match="buffers differ"):
        run(checkpoint=path, params={**model().init(1), "norm.running_mean": np.ones(4, "f4")})
    with pytest.raises(FileFormatError, match="facts differ"):
        run(checkpoint=path, augmentation=Augmentation())


def test_missing_buffers_are_named() -> None:
    params = model().init(1)
    del params["norm.running_var"]
    with pytest.raises(SpecError, match=r"missing \['norm.running_var'\]"):
        run(params=params)


def test_augmentation_changes_what_is_seen() -> None:
    losses = [
        run(epochs=1, augmentation=a).history.loss for a in (None, Augmentation(1), Augmentation(0, mirror=False))
    ]
    assert losses[0] != losses[1]
    assert losses[0] == losses[2]  # nothing to draw from


def test_compressing_a_model_with_buffers() -> None:
    """Both stages run through batch norm: outputs are matched in evaluation, the task is trained in training."""
    made, data = model(), split()
    dense = run(epochs=4)
    nets = {"fc.weight": ar.BrickWall((4, 36), 2), "conv.weight": ar.BrickWall((4, 1, 2, 2), 2)}
    result = ar.compress(
        made, nets, data, dense.params, objective="outputs", stage1_steps=20, epochs=2, epochs_between=1, batch_size=16
    )
    full = result.dense_params()
    assert list(full) == list(made.state_shapes)
    assert ar.accuracy(made, full, data.validation) == result.validation_accuracy

"""Compression of small trained models, both stages, both orders."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import conv_model, dense_model, networks, same, split

import adntn_ref as ar
from adntn_ref.compression import compress as module
from adntn_ref.errors import (
    AdntnError,
    ArrayError,
    DTypeError,
    NonFiniteError,
    NothingSelected,
    OutputError,
    ParameterError,
    SpecError,
)

SHORT: dict[str, Any] = {"stage1_steps": 20, "epochs": 3, "epochs_between": 1, "batch_size": 16}
PLAIN: dict[str, Any] = {**SHORT, "objective": "euclidean"}
LONGER: dict[str, Any] = {"epochs": 25, "batch_size": 6, "rates": ar.Rates(2e-2, 1e-2), "warmup_epochs": 1}


@pytest.fixture(scope="module")
def data() -> ar.data.Split:
    return split()


@pytest.fixture(scope="module")
def trained(data: ar.data.Split) -> dict[str, Any]:
    return dict(
        ar.train(dense_model(), dense_model().init(), data, epochs=15, batch_size=10, rates=ar.Rates(rest=1e-2)).params
    )


def nets(*names: str) -> dict[str, ar.Network]:
    return networks(dense_model(), *(names or ("fc1.weight", "fc2.weight")))


@pytest.mark.parametrize("order", module.ORDERS)
def test_end_to_end(order: str, data: ar.data.Split, trained: dict[str, Any]) -> None:
    frozen = ("fc3.weight", "fc1.b*")
    before = {name: value.copy() for name, value in trained.items()}
    made = ar.compress(dense_model(), nets(), data, trained, order=order, frozen=frozen, **{**SHORT, **LONGER})
    assert same(trained, before)
    assert list(made.fits) == ["fc1.weight", "fc2.weight"]
    assert len(made.trainings) == (2 if order == "layer_by_layer" else 1)
    for name in ("fc3.weight", "fc1.bias"):
        assert same(made.params[name], trained[name])
    for name in ("fc2.bias", "fc3.bias"):
        assert not same(made.params[name], trained[name])
    for name in made.fits:
        assert made.fits[name].relative_error < 1
        assert not same(made.params[name], made.fits[name].params)  # stage 2 went on from stage 1
    dense_model().check_params(made.dense_params())
    got = ar.accuracy(dense_model(), made.dense_params(), data.validation)
    assert got == pytest.approx(made.validation_accuracy)
    assert got > 0.5
    assert made.seconds > 0
    assert made.model.weights == 16 * 8 + 8 * 8
    with pytest.raises(ar.errors.TestPartReopened):  # nobody had opened it
        (data.open_test(again=True), data.open_test())
    data._opened = False


def test_test_part_stays_sealed(trained: dict[str, Any]) -> None:
    data = split()
    ar.compress(dense_model(), nets("fc2.weight"), data, trained, **SHORT)
    assert "opened" not in repr(data)
    data.open_test()


def test_stage_1_is_the_fit(data: ar.data.Split, trained: dict[str, Any]) -> None:
    """Layer by layer, the second layer is fitted as the stage 2 of the first has left it; together, as trained."""
    together = ar.compress(dense_model(), nets(), data, trained, order="together", seed=3, **PLAIN)
    for k, (name, network) in enumerate(nets().items()):
        alone = ar.fit(network, trained[name], steps=20, rng=3 + k)
        assert same(alone.params, together.fits[name].params)
    by_hand = ar.fit_layers(dense_model(), nets(), trained, seed=3, steps=20)
    assert all(same(by_hand[name].params, together.fits[name].params) for name in nets())
    in_turn = ar.compress(dense_model(), nets(), data, trained, seed=3, **PLAIN)
    assert same(in_turn.fits["fc1.weight"].params, together.fits["fc1.weight"].params)
    assert not same(in_turn.fits["fc2.weight"].params, together.fits["fc2.weight"].params)


def test_the_default_of_stage_1(data: ar.data.Split, trained: dict[str, Any]) -> None:
    """By what the logits feel, where every weight is one matrix and no bias of theirs has to stay."""
    made = ar.compress(dense_model(), nets(), data, trained, **{**SHORT, "epochs": 0, "epochs_between": 0})
    assert {fit.objective for fit in made.fits.values()} == {"logits"}
    model = conv_model()
    assert module.default_objective(model, ["conv.weight", "fc.weight"]) == "logits"
    assert module.default_objective(model, ["conv.weight", "fc.bias"]) == "euclidean"
    assert module.default_objective(model, ["conv.weight", "fc.weight"], ["conv.bias"]) == "euclidean"
    assert module.default_objective(model, ["fc.weight"], ["conv.bias"]) == "logits"
    grouped = ar.Sequential((1, 4, 4), (("conv", ar.Conv2d(1, 4, 2)), ("two", ar.Conv2d(4, 4, 2, groups=2))))
    assert module.default_objective(grouped, ["two.weight"]) == "euclidean"


def test_convolution(data: ar.data.Split) -> None:
    model = conv_model()
    dense = ar.train(model, model.init(), data, epochs=5, rates=ar.Rates(rest=1e-2))
    made = ar.compress(model, networks(model, "conv.weight", "fc.weight"), data, dense.params, **SHORT)
    assert made.dense_params()["conv.weight"].shape == (4, 1, 2, 2)
    assert made.dense_params()["conv.weight"].dtype == np.float32


def test_same_seed_same_bits(data: ar.data.Split, trained: dict[str, Any]) -> None:
    runs = [ar.compress(dense_model(), nets(), data, trained, seed=s, **SHORT).params for s in (1, 1, 2)]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


@pytest.mark.parametrize("order", module.ORDERS)
def test_resume(
    order: str, data: ar.data.Split, trained: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at every few steps of either stage and called again, until it is through: the same bits."""
    wanted = ar.compress(dense_model(), nets(), data, trained, order=order, **SHORT)
    steps, real = [0], ar.compression.training.Tick
    again: dict[str, Any] = {"order": order, "checkpoints": tmp_path / "a" / "b", **SHORT}

    def ticking(*args: Any) -> Any:
        steps[0] += 1
        if steps[0] == 13 + 9 * attempts:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr("adntn_ref.compression.training.Tick", ticking)
    monkeypatch.setattr("adntn_ref.compression.compress.fit", lambda *a, **k: ar.fit(*a, callback=lambda t: None, **k))
    train = ar.train
    monkeypatch.setattr("adntn_ref.compression.compress.train", lambda *a, **k: train(*a, callback=lambda t: None, **k))
    attempts = 0
    while True:
        attempts, steps[0] = attempts + 1, 0
        assert attempts < 30
        try:
            got = ar.compress(dense_model(), nets(), data, trained, **again)
            break
        except KeyboardInterrupt:
            continue
    assert attempts > 2
    assert same(got.params, wanted.params)
    assert [t.history for t in got.trainings] == [t.history for t in wanted.trainings]
    finished = ar.compress(dense_model(), nets(), data, trained, **again)
    assert same(finished.params, wanted.params)
    assert finished.seconds == got.seconds  # read, not done again


def test_frozen_may_be_any_iterable(data: ar.data.Split, trained: dict[str, Any]) -> None:
    """An iterator is spent after one reading, and every training freezes."""
    made = ar.compress(dense_model(), nets(), data, trained, frozen=iter(["fc3.*"]), **SHORT)
    assert same(made.params["fc3.weight"], trained["fc3.weight"])


def bad(name: str, value: Any) -> Any:
    return lambda params: {**params, name: value}


@pytest.mark.parametrize(
    ("change", "networks_", "params", "error", "message"),
    [
        ({"order": "backwards"}, None, None, SpecError, "order must be one of layer_by_layer, together"),
        ({"frozen": ["fc9*"]}, None, None, NothingSelected, r"'fc9\*' matches none of: fc1.weight"),
        ({}, {}, None, SpecError, "no networks were given"),
        ({}, {"fc7.weight": ar.BrickWall((8, 8), 1)}, None, NothingSelected, r"no parameter 'fc7.weight'"),
        ({}, {"fc1.weight": ar.BrickWall((8, 8), 1)}, None, SpecError, r"fc1.weight has shape \(8, 16\)"),
        ({}, None, lambda p: {k: v for k, v in p.items() if k != "fc1.bias"}, AdntnError, r"missing \['fc1.bias'\]"),
        ({}, None, bad("fc1.bias", np.zeros(3, np.float32)), ParameterError, r"fc1.bias has shape \(3,\)"),
        ({}, None, bad("fc1.bias", np.zeros(8, int)), DTypeError, r"fc1.bias has dtype int64"),
        ({}, None, bad("fc1.bias", np.full(8, np.nan, np.float32)), NonFiniteError, r"parameter .*fc1.bias"),
    ],
)
def test_refused_before_any_work(
    change: dict[str, Any],
    networks_: Any,
    params: Any,
    error: type[Exception],
    message: str,
    data: ar.data.Split,
    trained: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adntn_ref.compression.compress.fit", lambda *a, **k: pytest.fail("work began"))
    given = trained if params is None else params(trained)
    with pytest.raises(error, match=message):
        ar.compress(dense_model(), nets() if networks_ is None else networks_, data, given, **{**SHORT, **change})


def test_checkpoints_folder_that_cannot_be(data: ar.data.Split, trained: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file.x cannot be made: Not a directory"):
        ar.compress(dense_model(), nets(), data, trained, checkpoints=tmp_path / "file" / "x", **SHORT)


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        (split(side=5), ArrayError, r"the train images have shape \(1, 5, 5\), the model takes \(1, 4, 4\)"),
        ((np.zeros((2, 1, 4, 4)), np.zeros(2)), SpecError, r"data must be a Split of three Parts .*, got a tuple"),
        (split(classes=5), ArrayError, r"the train labels reach 4, the model has classes 0 \.\. 3"),
    ],
)
def test_data_that_do_not_fit(
    other: ar.data.Split, error: type[Exception], message: str, trained: dict[str, Any]
) -> None:
    with pytest.raises(error, match=message):
        ar.train(dense_model(), trained, other, epochs=1)


def test_bad_images(trained: dict[str, Any]) -> None:
    data = split()
    data.validation.images[3, 0, 1, 2] = np.inf
    with pytest.raises(NonFiniteError, match=r"the validation images holds .* \(3, 0, 1, 2\)"):
        ar.train(dense_model(), trained, data, epochs=1)


@pytest.mark.parametrize("change", [{"epochs": 0}, {"epochs": 1.5}, {"batch_size": 0}, {"batch_size": 2.0}])
def test_bad_epochs_and_batches(change: dict[str, Any], data: ar.data.Split, trained: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="epochs and batch_size must be integers >= 1"):
        ar.train(dense_model(), trained, data, **{"epochs": 1, **change})
    with pytest.raises(ParameterError, match="nothing to train"):
        ar.train(dense_model(), trained, data, epochs=1, frozen=["*"])


def test_training_checkpoint_knows_its_settings(data: ar.data.Split, trained: dict[str, Any], tmp_path: Path) -> None:
    path, model = tmp_path / "t.npz", dense_model()

    def run(params: Any = trained, images: Any = data, **change: Any) -> Any:
        options = {"epochs": 1, "batch_size": 40, "frozen": ["fc3*"], **change}
        return ar.train(model, params, images, checkpoint=path, **options)

    run()
    for different, change in (
        ("facts", {"batch_size": 50}),  # as many updates an epoch
        ("facts", {"images": split(counts=(60, 21, 20))}),
        ("facts", {"params": {**trained, "fc3.bias": trained["fc3.bias"] + 1}}),
        ("start", {"params": {**trained, "fc1.bias": trained["fc1.bias"] + 1}}),
        ("rates", {"rates": ar.Rates(rest=0.5)}),
        ("label", {"seed": 1}),
    ):
        with pytest.raises(ar.errors.FileFormatError, match=f"another training: {different} differ"):
            run(**change)


def test_progress_bars(data: ar.data.Split, trained: dict[str, Any], monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    ar.compress(dense_model(), nets("fc2.weight"), data, trained, progress="small", **SHORT)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "small: fc2.weight" in shown.err

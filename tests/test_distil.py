"""Stage 2 from a teacher, from few labels, or left out; stage 1 left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import conv_model, dense_model, networks, same, split

import adntn_ref as ar
from adntn_ref.cli import main
from adntn_ref.compression.train import answered, task_objective
from adntn_ref.errors import DataError, FileFormatError, NonFiniteError, ParameterError, SpecError, TestPartReopened
from adntn_ref.experiments.config import config_of
from adntn_ref.experiments.run import run_experiment
from adntn_ref.nn.data import Part, Split
from adntn_ref.nn.models import accuracy

SHORT: dict[str, Any] = {"stage1_steps": 20, "epochs": 2, "batch_size": 16, "order": "together"}
FAST = ar.Rates(rest=1e-2)


@pytest.fixture(scope="module")
def data() -> Split:
    return split(dtype="float64")


@pytest.fixture(scope="module")
def trained(data: Split) -> dict[str, Any]:
    model = dense_model()
    options: dict[str, Any] = {"epochs": 15, "batch_size": 10, "rates": ar.Rates(rest=1e-2)}
    return dict(ar.train(model, model.init(0, "float64"), data, **options).params)


def other_labels(data: Split) -> Split:
    return data.changed(lambda part: Part(part.images, part.labels[::-1].copy()))


def test_loss_of_a_step_by_hand(data: Split, trained: dict[str, Any]) -> None:
    """-sum_k p_k log q_k over the batch, and its gradient (q - p) / batch carried back by finite differences."""
    model, params = dense_model(), dense_model().init(1, "float64")
    objective = task_objective(model, {}, data.train, 16, 3, teacher=trained)
    value, gradients = objective(0, params)
    rows = np.random.default_rng([3, 0]).permutation(60)[:16]

    def by_hand(p: dict[str, Any]) -> float:
        z, z0 = (model(q, data.train.images[rows]) for q in (p, trained))
        said = np.exp(z0) / np.exp(z0).sum(axis=1, keepdims=True)
        return float(-(said * (z - np.log(np.exp(z).sum(axis=1, keepdims=True)))).sum(axis=1).mean())

    assert float(value) == pytest.approx(by_hand(params), rel=1e-12)
    for name, index in (("fc1.weight", (2, 5)), ("fc3.bias", (1,))):
        moved = [params[name].copy() for _ in "ab"]
        moved[0][index] += 1e-6
        moved[1][index] -= 1e-6
        slope = (by_hand({**params, name: moved[0]}) - by_hand({**params, name: moved[1]})) / 2e-6
        assert float(gradients[name][index]) == pytest.approx(slope, abs=1e-8)


def test_at_the_teacher_nothing_pulls(data: Split, trained: dict[str, Any]) -> None:
    _, gradients = task_objective(dense_model(), {}, data.train, 16, 0, teacher=trained)(0, trained)
    assert max(float(abs(g).max()) for g in gradients.values()) < 1e-15


def test_no_label_is_read(data: Split, trained: dict[str, Any]) -> None:
    model, nets = dense_model(), networks(dense_model(), "fc1.weight", "fc2.weight")
    options: dict[str, Any] = {**SHORT, "loss": "distil", "objective": "logits"}
    for other in (data, other_labels(data)):
        made = ar.compress(model, nets, other, trained, **options)
        assert same(made.params, ar.compress(model, nets, data, trained, **options).params)
        assert made.validation_accuracy == accuracy(model, made.dense_params(), other.validation)


def test_the_epoch_that_agrees_most_is_kept(data: Split, trained: dict[str, Any]) -> None:
    model = dense_model()
    made = ar.train(model, model.init(1, "float64"), data, epochs=8, batch_size=16, rates=FAST, teacher=trained)
    said = answered(model, trained, data.validation)
    assert said.labels.tolist() == model(trained, data.validation.images).argmax(axis=1).tolist()
    assert 1 - min(made.history.score) == accuracy(model, made.params, said)
    assert made.first_accuracy == accuracy(model, model.init(1, "float64"), data.validation)
    assert sum(made.history.loss[-4:]) < 0.8 * sum(made.history.loss[:4])
    plain = ar.train(model, model.init(1, "float64"), data, epochs=1, batch_size=16)
    assert plain.first_accuracy == 1 - plain.history.score[0] == made.first_accuracy


def test_distillation_on_a_backend(backend: Any, data: Split, trained: dict[str, Any]) -> None:
    model, params = dense_model(), dense_model().init(1, "float64")
    options: dict[str, Any] = {"epochs": 2, "batch_size": 16, "teacher": trained}
    here = ar.train(model, params, data, **options)
    found = ar.train(model, params, data, backend=backend.name, **options)
    np.testing.assert_allclose(found.history.loss, here.history.loss, rtol=1e-9)
    assert found.first_accuracy == here.first_accuracy


def test_another_teacher_is_another_training(data: Split, trained: dict[str, Any], tmp_path: Path) -> None:
    model, params = dense_model(), dense_model().init(1, "float64")
    options: dict[str, Any] = {"epochs": 2, "batch_size": 16, "checkpoint": tmp_path / "c.npz"}
    made = [ar.train(model, params, data, teacher=trained, **options) for _ in "ab"]
    assert same(made[0].params, made[1].params)
    for teacher in (None, {**trained, "fc1.bias": trained["fc1.bias"] + 1}):
        with pytest.raises(FileFormatError, match="facts differ"):
            ar.train(model, params, data, teacher=teacher, **options)


def test_bad_teachers(data: Split, trained: dict[str, Any]) -> None:
    model, params = dense_model(), dense_model().init(1, "float64")
    with pytest.raises(ParameterError, match="missing"):
        ar.train(model, params, data, epochs=1, teacher={})
    with pytest.raises(NonFiniteError, match=r"the teacher's parameter \['fc1\.bias'\]"):
        ar.train(model, params, data, epochs=1, teacher={**trained, "fc1.bias": trained["fc1.bias"] * np.nan})
    with pytest.raises(SpecError, match="loss must be one of labels, distil, got 'hinge'"):
        ar.compress(model, networks(model, "fc1.weight"), data, trained, loss="hinge")


@pytest.mark.parametrize("order", ["together", "layer_by_layer"])
def test_no_epochs_leave_stage_1_as_it_is(order: str, data: Split, trained: dict[str, Any], tmp_path: Path) -> None:
    model, nets = dense_model(), networks(dense_model(), "fc1.weight", "fc2.weight")
    options: dict[str, Any] = {**SHORT, "order": order, "epochs": 0, "epochs_between": 0, "checkpoints": tmp_path}
    made = ar.compress(model, nets, data, trained, **options)
    assert [training.stopped_by for training in made.trainings] == ["no epochs"] * len(made.trainings)
    assert all(same(made.params[name], made.fits[name].params) for name in nets)
    assert same(made.params["fc3.weight"], trained["fc3.weight"])
    assert made.validation_accuracy == accuracy(model, made.dense_params(), data.validation)
    assert not list(tmp_path.glob("stage2*"))


def test_no_stage_1(data: Split, trained: dict[str, Any]) -> None:
    """Networks are as they start, at the target's standard deviation; no bias is changed."""
    nets = networks(dense_model(), "fc1.weight", "fc2.weight")
    made = ar.compress(dense_model(), nets, data, trained, objective="none", seed=3, **{**SHORT, "epochs": 0})
    for k, (name, fit) in enumerate(made.fits.items()):
        std = float(np.sqrt(np.mean(np.asarray(trained[name]) ** 2)))
        assert same(fit.params, nets[name].init(3 + k, "float64", std=float(np.std(trained[name]))))
        assert 0.3 * std < float(np.std(fit.generate())) < 3 * std
        assert (fit.objective, fit.stopped_by, fit.history.loss, fit.bias_shift) == ("none", "not fitted", [], None)
        assert same(made.params[name.replace("weight", "bias")], trained[name.replace("weight", "bias")])


def test_few_labels(data: Split, trained: dict[str, Any]) -> None:
    few = data.fewer_labels(2)
    assert np.bincount(few.train.labels).tolist() == [2] * 4
    for image, label in zip(few.train.images, few.train.labels, strict=True):
        rows = np.flatnonzero(data.train.labels == label)[:2]
        assert any((image == data.train.images[row]).all() for row in rows)
    assert few.validation is data.validation
    assert few.test_size == data.test_size
    model, nets = conv_model(), networks(conv_model(), "conv.weight")
    dense = model.init(0, "float64")
    made = ar.compress(model, nets, data, dense, labels_per_class=2, objective="outputs", **SHORT)
    assert len(made.trainings[0].history.loss) == 2  # eight images are one batch
    wanted = ar.fit_layers(model, nets, dense, objective="outputs", data=data.train, steps=20)
    assert same(made.fits["conv.weight"].params, wanted["conv.weight"].params)  # stage 1 has all images
    with pytest.raises(DataError, match=r"got 16 images a class, allowed are 1 to 15"):
        data.fewer_labels(16)
    with pytest.raises(DataError, match="images a class"):
        data.fewer_labels(0)
    data.open_test()
    with pytest.raises(TestPartReopened):
        data.fewer_labels(1).open_test()


@pytest.mark.parametrize("stage1", ["none", "logits"])
def test_an_experiment_without_stages(stage1: str, tmp_path: Path) -> None:
    """It is recorded, tabled and reported like any other."""
    config = config_of(
        {
            "title": "t",
            "model": {"name": "fc2"},
            "data": {"name": "digits", "train": 100, "validation": 20, "test": 20},
            "compress": {"layers": ["fc1.weight"]},
            "network": {"name": "brickwall", "layers": 1},
            "rivals": [],
            "dense": {"epochs": 1},
            "stage1": {"objective": stage1, "steps": 3},
            "stage2": {"epochs": 0, "epochs_between": 0},
        }
    )
    row = run_experiment(config, tmp_path / "e")["rows"][1]
    assert row["stage1_accuracy"] == row["accuracy"]
    assert main(["report", str(tmp_path / "e"), "-o", str(tmp_path / "e.html")]) == 0

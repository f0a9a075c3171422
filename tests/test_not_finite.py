"""Numbers that stop being finite end a training at the step where they appear, named, the last good state kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import dense_model, networks, split

import adntn_ref as ar
from adntn_ref.cli import main
from adntn_ref.compression.als import minimise_als
from adntn_ref.compression.objectives import make_loss
from adntn_ref.compression.training import Training, minimise
from adntn_ref.errors import DivergedError, NonFiniteError
from adntn_ref.experiments.record import read_record
from adntn_ref.nn.data import Part

pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
START = {"x": np.zeros(2), "y": np.zeros(1)}
OVERFLOW = Training(4, rate=1e300, optimiser="sgd", schedule="constant", evaluate_every=1)


def constant(step: int, params: Any) -> tuple[float, Any]:
    """A loss that hides what becomes of the parameters, as a relu hides an infinite bias."""
    return 1.0, {"x": np.zeros(2), "y": np.full(1, 1e10 if step == 1 else 0.0)}


@pytest.mark.parametrize("steps", [4, 2])
def test_a_parameter_that_the_loss_does_not_show(steps: int, tmp_path: Path) -> None:
    plan = Training(steps, **{name: getattr(OVERFLOW, name) for name in ("rate", "optimiser", "schedule")})
    for _ in range(2):  # resumed from its checkpoint it says the same
        with pytest.raises(DivergedError, match=r"^run: the parameter \['y'\] is not finite at step 2") as caught:
            minimise(constant, START, plan, label="run", checkpoint=tmp_path / "c.npz", checkpoint_every=1)
        assert np.isfinite(caught.value.best["y"]).all()  # type: ignore[index]
    with np.load(tmp_path / "c.npz") as archive:
        assert np.isfinite(archive["best"]).all()
        assert len(archive["history.loss"]) == 2


def test_the_last_loss() -> None:
    with pytest.raises(DivergedError, match="the loss is nan at step 3"):
        minimise(lambda step, p: (np.nan if step == 3 else 1.0, {"x": np.ones(1)}), {"x": np.zeros(1)}, Training(3))


def normed() -> ar.Sequential:
    layers = (
        ("conv", ar.Conv2d(1, 4, 2)),
        ("norm", ar.BatchNorm(4)),
        ("flatten", ar.Flatten()),
        ("fc", ar.Linear(36, 4)),
    )
    return ar.Sequential((1, 4, 4), layers)


def test_a_buffer_that_the_loss_does_not_show(tmp_path: Path) -> None:
    """A variance beyond float32 makes batch norm's output zero: the loss does not show it."""
    data, model = split(), normed()
    params = model.init(1)
    bad = data.train.images.copy()
    bad[np.random.default_rng([0, 0]).permutation(60)[20:40]] *= np.float32(1e25)  # the second batch
    wild = split()
    object.__setattr__(wild, "train", Part(bad, data.train.labels))
    path = tmp_path / "c.npz"
    with pytest.raises(DivergedError, match=r"the buffer norm\.running_(mean|var) is not finite at step 1"):
        ar.train(model, params, wild, epochs=2, batch_size=20, checkpoint=path)
    with np.load(path) as archive:
        kept = [archive[name] for name in archive.files if "buffer." in name]
        assert len(kept) == 6
        assert all(np.isfinite(buffer).all() for buffer in kept)
        assert archive["buffer.norm.num_batches_tracked"] == 1


@pytest.mark.parametrize("kind", ["train", "validation"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images(kind: str, value: float) -> None:
    data, model = split(), dense_model()
    getattr(data, kind).images[3, 0, 1, 2] = value
    with pytest.raises(NonFiniteError, match=rf"the {kind} images.*\(3, 0, 1, 2\)"):
        ar.train(model, model.init(0), data, epochs=1)


def test_weights_of_a_model() -> None:
    model = dense_model()
    params = model.init(0)
    params["fc2.weight"][1, 2] = np.nan
    for use in (
        lambda: ar.train(model, params, split(), epochs=1),
        lambda: ar.compress(model, networks(model, "fc1.weight"), split(), params),
    ):
        with pytest.raises(NonFiniteError, match=r"parameter \['fc2\.weight'\] .*\(1, 2\)"):
            use()


TARGETS = np.random.default_rng(0).standard_normal((3, 4, 6))
NET = ar.BrickWall((4, 6), 2)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_stage_1(optimiser: str) -> None:
    with pytest.raises(DivergedError, match=r"^fit of .*brickwall.* at step \d+; the best state"):
        ar.fit(NET, TARGETS[0], rate=1e200, optimiser=optimiser)


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_many_fits_name_the_weight(steps: int) -> None:
    targets = [TARGETS[0], 1e150 * TARGETS[1], TARGETS[2]]
    with pytest.raises(DivergedError, match=r"^fit of weight \d: .* at step \d+") as caught:
        ar.fit_many(NET, targets, steps=steps, rate=1e250, optimiser="sgd", schedule="constant")
    assert len(caught.value.best) == 3  # type: ignore[arg-type]
    assert all(np.isfinite(core).all() for one in caught.value.best for core in one.values())  # type: ignore[attr-defined]


def test_als() -> None:
    net = ar.MPO((4, 6), 2)
    loss = make_loss("euclidean", TARGETS[0], None)
    huge = {name: np.full(shape, 1e200) for name, shape in net.core_shapes.items()}
    with pytest.raises(DivergedError, match=r"the loss is (inf|nan) at step 0"):
        minimise_als(net, loss, huge, steps=3)
    net = ar.MPO((8, 8), 2)
    loss = make_loss("euclidean", np.random.default_rng(0).standard_normal((8, 8)), None)
    lopsided = {name: core * (1e-300 if k == 0 else 1e155) for k, (name, core) in enumerate(net.init(0).items())}
    with pytest.raises(DivergedError, match=r"least-squares problem of core core0 is not finite at step 0") as caught:
        minimise_als(net, loss, lopsided, steps=3)
    assert caught.value.best == lopsided


def test_lbfgs() -> None:
    net = ar.MPO((4, 6), 2)
    huge = {name: np.full(shape, 1e200) for name, shape in net.core_shapes.items()}
    with pytest.raises(DivergedError, match=r"the loss is (inf|nan) at step 0"):
        ar.fit(net, TARGETS[0], params=huge, optimiser="lbfgs")


def test_an_experiment_keeps_what_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row that diverges ends the command with 1; the rows before stay, and the same command says the same again."""
    out = str(tmp_path / "r")
    more = ["--quick", "--set", "dense.epochs=1", "--set", "stage2.epochs=1", "--set", "stage1.rate=1e30", "--quiet"]
    for _ in range(2):
        assert main(["experiment", "run", "digits-fc2-mera", "--out", out, *more]) == 1
        assert "adntn-ref experiment: fit of" in capsys.readouterr().err
        record = read_record(out)
        assert record.done("seed0/frozen_random")
        assert not record.done("seed0/mera")

"""The training loop: what it keeps, when it stops, and that a resumed training is the uninterrupted one."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import same

import adntn_ref as ar
from adntn_ref.compression.checkpoints import load_checkpoint, save_checkpoint
from adntn_ref.compression.training import Tick
from adntn_ref.errors import DivergedError, FileFormatError, OutputError

START = {"a": np.array([3.0, -2.0]), "b": {"core": np.array([[1.0, 0.5]])}}
KILL = """
import sys, time
import numpy as np
sys.path.insert(0, {tests!r})
import test_training as t
import adntn_ref as ar
print("started", flush=True)
wait = lambda tick: time.sleep(0.002 if tick.step < 300 else 1000)  # it is killed before the end
ar.minimise(t.noisy, t.START, t.plan(400), checkpoint={path!r}, checkpoint_every=7, callback=wait)
"""


def noisy(step: int, params: Any) -> tuple[float, Any]:
    """A quadratic whose target moves with the step, as batches make it move."""
    rng = np.random.default_rng(step)
    shift = {"a": rng.standard_normal(2), "b": {"core": rng.standard_normal((1, 2))}}
    gradient = {"a": params["a"] - shift["a"], "b": {"core": params["b"]["core"] - shift["b"]["core"]}}
    return 0.5 * float((gradient["a"] ** 2).sum() + (gradient["b"]["core"] ** 2).sum()), gradient


def distance(params: Any) -> float:
    return float(np.abs(params["a"]).sum() + np.abs(params["b"]["core"]).sum())


def plan(steps: int, **change: Any) -> ar.Training:
    return ar.Training(steps, **{"rate": 0.05, "warmup": 5, "clip": 2.0, "evaluate_every": 6, **change})


def agree(one: Any, other: Any) -> bool:
    """Whether two outcomes hold the same bits, seconds apart."""
    facts = (one.score, one.history, one.stopped_by) == (other.score, other.history, other.stopped_by)
    return facts and same(one.params, other.params)


def scripted(values: list[float]) -> Any:
    """An objective whose losses are given, on parameters that count the updates."""

    def objective(step: int, params: Any) -> tuple[float, Any]:
        return values[min(step, len(values) - 1)], {"x": np.array([-1.0])}

    return objective


def counting(values: list[float], **change: Any) -> Any:
    training = ar.Training(len(values), **{"optimiser": "sgd", "momentum": 0.0, "schedule": "constant", **change})
    return ar.minimise(scripted(values), {"x": np.zeros(1)}, training)


def test_best_is_kept() -> None:
    result = counting([5.0, 3.0, 1.0, 2.0, 4.0], evaluate_every=1)
    assert result.params["x"] == [2.0]  # two updates before the lowest loss
    assert result.score == 1.0
    assert result.history.score == [5.0, 3.0, 1.0, 2.0, 4.0, 4.0]
    assert result.history.score_steps == [0, 1, 2, 3, 4, 5]
    assert result.stopped_by == "steps"


def test_of_equals_the_later_is_kept_and_nan_never() -> None:
    assert counting([1.0, 1.0, 1.0, 2.0], evaluate_every=1).params["x"] == [2.0]
    scores = iter([2.0, float("nan"), 3.0, float("nan")])
    training = ar.Training(3, optimiser="sgd", momentum=0.0, schedule="constant", evaluate_every=1)
    result = ar.minimise(scripted([1.0]), {"x": np.zeros(1)}, training, score=lambda tree: next(scores))
    assert (result.params["x"], result.score) == ([0.0], 2.0)


def test_best_without_evaluation_is_the_end() -> None:
    assert counting([3.0, 2.0, 1.0], evaluate_every=100).history.score_steps == [0, 3]


def test_patience() -> None:
    values = [5.0, 3.0, 4.0, 4.0, 4.0, 1.0]
    result = counting(values, evaluate_every=1, patience=3)
    assert (result.stopped_by, len(result.history.loss), result.score) == ("patience", 5, 3.0)
    assert counting(values, evaluate_every=1, patience=4).stopped_by == "steps"


def test_patience_resumed_is_over(tmp_path: Path) -> None:
    """What was stopped for want of progress stays stopped, whatever the update after the last evaluation found."""
    values = [5.0, 3.0, 4.0, 4.0, 1.0, 0.5, 0.2]
    training = ar.Training(7, optimiser="sgd", evaluate_every=1, patience=2)
    run = [ar.minimise(scripted(values), {"x": np.zeros(1)}, training, checkpoint=tmp_path / "c.npz") for _ in "ab"]
    assert run[0].stopped_by == "patience"
    assert agree(*run)


def test_callback() -> None:
    ticks: list[Tick] = []
    result = ar.minimise(noisy, START, plan(50), callback=lambda tick: ticks.append(tick) or tick.step == 20)
    assert result.stopped_by == "callback"
    assert [tick.step for tick in ticks] == list(range(1, 21))
    assert {tick.steps for tick in ticks} == {50}
    assert [tick.loss for tick in ticks] == result.history.loss
    assert ticks[-1].best_score == min(result.history.score[:4])
    assert result.history.score_steps == [0, 6, 12, 18, 20]


def test_history_is_consistent() -> None:
    result = ar.minimise(noisy, START, plan(25, clip=None), score=distance)
    history = result.history
    assert len(history.loss) == len(history.norm) == len(history.rate) == 25
    assert history.score_steps == [0, 6, 12, 18, 24, 25]
    assert history.score[0] == distance(START)
    assert result.score == min(history.score) == distance(result.params)
    np.testing.assert_allclose(np.square(history.norm), 2 * np.array(history.loss))
    assert history.summary() == {
        "steps": 25,
        "first_loss": history.loss[0],
        "last_loss": history.loss[-1],
        "best_score": result.score,
    }
    assert ar.compression.training.History().summary() == {
        "steps": 0,
        "first_loss": None,
        "last_loss": None,
        "best_score": None,
    }


def test_same_call_same_bits() -> None:
    first = {"a": START["a"].copy(), "b": {"core": START["b"]["core"].copy()}}
    assert agree(ar.minimise(noisy, first, plan(30)), ar.minimise(noisy, START, plan(30)))
    assert same(first, START)


def test_gradients_and_rates_in_another_order() -> None:
    """Names tell which gradient belongs to which parameter, not the order of a dict."""

    def turned(step: int, params: Any) -> Any:
        loss, g = noisy(step, params)
        return loss, {"b": g["b"], "a": g["a"]}

    rates = {"b": {"core": 2.0}, "a": 1.0}
    ordered = {"a": 1.0, "b": {"core": 2.0}}
    wanted = ar.minimise(noisy, START, plan(10), rates=ordered)
    assert agree(wanted, ar.minimise(turned, START, plan(10), rates=rates))


class Killed(Exception):
    pass


@given(st.lists(st.integers(1, 40), max_size=4), st.sampled_from(["adam", "sgd"]), st.sampled_from([None, 3]))
def test_resumed_is_uninterrupted(kills: list[int], optimiser: str, patience: int | None) -> None:
    training = plan(40, optimiser=optimiser, patience=patience)
    wanted = ar.minimise(noisy, START, training, score=distance)
    with_rates = {"a": 1.0, "b": {"core": 1.0}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.npz"
        run = {"score": distance, "checkpoint": path, "checkpoint_every": 4, "rates": with_rates}
        for kill in sorted(kills):

            def strike(tick: Tick, kill: int = kill) -> None:
                if tick.step == kill:
                    raise Killed

            try:
                ar.minimise(noisy, START, training, callback=strike, **run)
            except Killed:
                assert path.exists() == (kill >= 4 or path.exists())
        assert agree(ar.minimise(noisy, START, training, **run), wanted)
        written = path.read_bytes()
        finished = ar.minimise(noisy, START, training, callback=strike if kills else None, **run)
        assert agree(finished, wanted)  # nothing is left to do
        assert len(path.read_bytes()) == len(written)


def test_killed_process_resumes(tmp_path: Path) -> None:
    """SIGKILL in the middle: no clean-up, no warning."""
    path = tmp_path / "checkpoint.npz"
    script = KILL.format(tests=str(Path(__file__).parent), path=str(path))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with np.load(path) as archive:
        reached = json.loads(bytes(archive["__adntn_ref_checkpoint__"]))["numbers"]["step"]
    assert 0 < reached < 400
    resumed = ar.minimise(noisy, START, plan(400), checkpoint=path, checkpoint_every=7)
    assert agree(resumed, ar.minimise(noisy, START, plan(400)))
    assert resumed.seconds > 0


def test_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"

    def run(start: Any = START, training: ar.Training = plan(10), **options: Any) -> Any:  # noqa: B008
        return ar.minimise(noisy, start, training, checkpoint=path, **{"label": "one", "facts": {"seed": 1}, **options})

    run()
    other = {"a": START["a"] + 1, "b": START["b"]}
    single = {"a": START["a"].astype("f4"), "b": {"core": START["b"]["core"].astype("f4")}}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("label", {"label": "two"}),
        ("training", {"training": plan(11)}),
        ("start", {"start": other}),
        ("dtype", {"start": single}),
        ("rates", {"rates": {"a": 1.0, "b": {"core": 2.0}}}),
        ("facts", {"facts": {"seed": 2}}),
        ("names, shapes, start", {"start": {"b": START["b"], "a": START["a"]}}),
    ]
    for different, change in cases:
        with pytest.raises(FileFormatError, match=f"belongs to another training: .*{different}.* differ; remove it"):
            run(**change)
    assert run().stopped_by == "steps"


def test_broken_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    ar.minimise(noisy, START, plan(10), checkpoint=path)
    whole = path.read_bytes()
    for length in (0, 1, 4, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match="no readable npz file"):
            ar.minimise(noisy, START, plan(10), checkpoint=path)
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(FileFormatError, match="no readable npz file"):
        ar.minimise(noisy, START, plan(10), checkpoint=path)
    for content in (b"[]", b"{}", b"\xff", b"7"):
        np.savez(path, __adntn_ref_checkpoint__=np.frombuffer(content, np.uint8))
        with pytest.raises(FileFormatError):
            load_checkpoint(path, {})


def test_newer_checkpoint_and_no_folder(tmp_path: Path) -> None:
    header = np.frombuffer(json.dumps({"version": 2, "identity": {}, "numbers": {}}).encode(), np.uint8)
    np.savez(tmp_path / "c.npz", __adntn_ref_checkpoint__=header)
    with pytest.raises(FileFormatError, match="checkpoint version 2; this release reads 1"):
        load_checkpoint(tmp_path / "c.npz", {})
    with pytest.raises(OutputError, match="cannot be written"):
        save_checkpoint(tmp_path / "none" / "c.npz", {}, {}, {})


@pytest.mark.parametrize(("what", "message"), [("loss", "the loss is nan"), ("gradient", "the gradient has norm inf")])
def test_diverged(what: str, message: str, tmp_path: Path) -> None:
    def objective(step: int, params: Any) -> tuple[float, Any]:
        loss = float("nan") if (step, what) == (7, "loss") else 10.0 - step
        return loss, {"x": np.array([np.inf if (step, what) == (7, "gradient") else -1.0])}

    training = ar.Training(20, optimiser="sgd", momentum=0.0, schedule="constant", evaluate_every=2)
    path = tmp_path / "c.npz"
    with pytest.raises(DivergedError, match=rf"^digits: {message} at step 7; .*score 4\)") as caught:
        ar.minimise(objective, {"x": np.zeros(1)}, training, label="digits", checkpoint=path)
    assert caught.value.best["x"] == [6.0]
    assert caught.value.exit_code == 1
    with np.load(path) as archive:  # kept on disk too
        assert archive["best"] == [6.0]
    with pytest.raises(DivergedError, match="at step 7"):
        ar.minimise(objective, {"x": np.zeros(1)}, training, label="digits", checkpoint=path)
    with pytest.raises(DivergedError, match=r"^training: "):
        ar.minimise(objective, {"x": np.zeros(1)}, training)

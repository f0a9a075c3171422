"""Where work runs: the one rule, moving trees, and what is refused because it would have to be moved."""

from typing import Any

import numpy as np
import pytest
from small import dense_model, same, split

import adntn_ref as ar
from adntn_ref.ad.arrays import backend_of
from adntn_ref.ad.moving import choose_backend, require_together
from adntn_ref.ad.trees import leaves
from adntn_ref.backend import BACKEND_VARIABLE, get_backend
from adntn_ref.cli import main
from adntn_ref.errors import ArrayError, BackendUnavailable, DeviceMemoryError, MemoryLimitError, TapeError
from adntn_ref.networks.fitting import peaks

NET = ar.BrickWall((4, 6), 2)
X = np.arange(3.0)


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)


def where(tree: Any) -> set[str]:
    return {backend_of(x).name for x in leaves(tree)}


# The rule


def test_argument_before_environment_before_arrays(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    there = ar.to_backend(X, backend.name)
    assert choose_backend(None).name == "numpy"
    assert choose_backend(None, [X]).name == "numpy"
    assert choose_backend(None, [there]) is backend
    monkeypatch.setenv(BACKEND_VARIABLE, backend.name)
    assert choose_backend(None, [X]) is backend
    assert choose_backend(None) is backend
    assert choose_backend("numpy", [there]).name == "numpy"
    monkeypatch.setenv(BACKEND_VARIABLE, "numpy")
    assert choose_backend(None, [there]).name == "numpy"
    assert choose_backend(backend.name, [X]) is backend
    monkeypatch.setenv(BACKEND_VARIABLE, "")
    assert choose_backend(None, [there]) is backend


def test_init_fit_and_train_ask_the_rule(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, target = dense_model(), np.random.default_rng(0).standard_normal((4, 6))
    assert where(NET.init()) == where(model.init()) == {"numpy"}
    monkeypatch.setenv(BACKEND_VARIABLE, backend.name)
    assert where(NET.init()) == where(model.init()) == {backend.name}
    assert where(NET.init(backend="numpy")) == where(model.init(backend="numpy")) == {"numpy"}
    assert where(ar.fit(NET, target, steps=2).params) == {backend.name}
    assert where(ar.fit(NET, target, steps=2, backend="numpy").params) == {"numpy"}
    assert where(ar.train(model, model.init(backend="numpy"), split(), epochs=1).params) == {backend.name}
    for net in (ar.CP((4, 6), 2), ar.Sum(NET, NET), ar.Delta(target, NET), ar.LowRank((4, 6), 1)):
        assert where(net.init()) == {backend.name}
        assert where(net.init(backend="numpy")) == {"numpy"}


def test_results_stay_where_the_arrays_are(backend: Any) -> None:
    target = ar.to_backend(np.random.default_rng(0).standard_normal((4, 6)), backend.name)
    result = ar.fit(NET, target, steps=2)
    assert where(result.params) == where(result.generate()) == {backend.name}
    assert where(ar.fit(NET, target, steps=2, params=NET.init()).params) == {backend.name}


def test_arrays_of_two_backends_are_nobodys_choice(backend: Any) -> None:
    with pytest.raises(ArrayError, match=f"of the backends numpy, {backend.name}; say which one to use"):
        choose_backend(None, [X, ar.to_backend(X, backend.name)])


@pytest.mark.parametrize("name", ["nimbus", "", 3])
def test_names_that_are_none(name: Any) -> None:
    calls: list[Any] = [
        lambda: ar.to_backend(X, name),
        lambda: NET.init(backend=name),
        lambda: ar.fit(NET, np.ones((4, 6)), steps=1, backend=name),
        lambda: ar.train(dense_model(), dense_model().init(), split(), epochs=1, backend=name),
    ]
    for call in calls:
        with pytest.raises(BackendUnavailable, match=r"no array backend is called|a backend is given by its name"):
            call()


# Moving


def test_trees_move_there_and_back(backend: Any) -> None:
    tree = {"a": X, "b": [np.float32(2), (np.eye(2, dtype="complex64").T, 3.5, "text", None)]}
    there = ar.to_backend(tree, backend.name)
    assert there["b"][1][1:] == (3.5, "text", None)
    assert where(there["a"]) == {backend.name}
    back = ar.to_backend(there, "numpy")
    assert same(back["a"], X)
    assert back["b"][1][0].dtype == np.complex64
    assert ar.to_backend(there, backend.name)["a"] is there["a"]
    assert ar.to_backend(tree, "numpy")["a"] is X
    moved = ar.to_backend(X, backend.name)
    moved[0] = 7.0
    assert X[0] == 0.0


def test_variables_do_not_move(backend: Any) -> None:
    with pytest.raises(TapeError, match="cannot be moved to another backend, its gradient would be lost"):
        ar.grad(lambda x: ar.to_backend(x, backend.name))(X)


# Mixtures


def test_cores_of_two_backends(backend: Any) -> None:
    params = NET.init()
    last = list(params)[-1]
    mixed = {**params, last: ar.to_backend(params[last], backend.name)}
    for call in (NET.generate, NET.vjp, NET.check_params):
        with pytest.raises(
            ArrayError, match=f"core {last} is an array of the backend {backend.name}, core layer0.brick0"
        ):
            call(mixed)
    with pytest.raises(ArrayError, match="nothing is moved silently"):
        ar.grad(lambda p: ar.ad.sum(NET.generate(p)))(mixed)


def test_cotangents_of_another_backend(backend: Any) -> None:
    params = NET.init()
    g = ar.to_backend(np.ones((4, 6)), backend.name)
    stack = ar.Stack({"a": (4, 6)}, NET)
    for pullback, cotangent in ((NET.vjp(params)[1], g), (stack.vjp(params)[1], {"a": g}), (ar.CP((4, 6), 1), None)):
        if isinstance(pullback, ar.CP):
            pullback, cotangent = pullback.vjp(pullback.init())[1], g
        with pytest.raises(
            ArrayError, match=f"the cotangent is an array of the backend {backend.name}, the weight of numpy"
        ):
            pullback(cotangent)


def test_inputs_and_stacked_cotangents_of_another_backend(backend: Any) -> None:
    low, there = ar.LowRank((4, 6), 2), ar.to_backend(np.ones((3, 6)), backend.name)
    with pytest.raises(
        ArrayError, match=f"the batch of inputs is an array of the backend {backend.name}, the weight of numpy"
    ):
        low.apply(low.init(), there)
    stacked = {name: np.stack([core, core]) for name, core in NET.init().items()}
    with pytest.raises(ArrayError, match=f"the cotangent is an array of the backend {backend.name}"):
        ar.vjp_many(NET, stacked)[1](ar.to_backend(np.ones((2, 4, 6)), backend.name))


def test_decompositions_and_their_like_run_on_numpy(backend: Any) -> None:
    with pytest.raises(ArrayError, match="the target must be a NumPy array"):
        ar.LowRank((4, 6), 1).decompose(ar.to_backend(np.ones((4, 6)), backend.name))


def test_arrays_that_the_backend_cannot_work_on(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def require(x: Any, what: str) -> None:
        raise ArrayError(f"{what} is on CUDA device 1, the current one is 0")

    there = ar.to_backend(NET.init(), backend.name)
    monkeypatch.setattr(backend, "require", require, raising=False)
    with pytest.raises(ArrayError, match=r"core layer0.brick0 is on CUDA device 1"):
        NET.generate(there)
    with pytest.raises(ArrayError, match="x is on CUDA device 1"):
        require_together([("x", there["layer0.brick0"])])


# Memory


def test_the_schedule_is_chosen_by_the_devices_memory(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    net = ar.BrickWall((2**10, 2**10), 8)
    keep, again = (peaks(net, "float32", schedule, backend.name)[1] for schedule in ("keep", "recompute"))
    monkeypatch.setattr(backend, "free_bytes", lambda: int(keep / 0.75) + 8)
    assert net.choose_schedule("float32", backend=backend.name) == "keep"
    monkeypatch.setattr(backend, "free_bytes", lambda: int(again / 0.75) + 8)
    assert net.choose_schedule("float32", backend=backend.name) == "recompute"
    monkeypatch.setattr(backend, "free_bytes", lambda: 2**20)
    there = net.init(dtype="float32", backend=backend.name)
    with pytest.raises(MemoryLimitError, match=r"needs .* GiB, and the limit is 0.000732 GiB"):
        net.vjp(there)
    assert net.choose_schedule("float32") == "keep"  # the host's memory is another matter


def test_a_full_device_is_named_with_what_was_planned(monkeypatch: pytest.MonkeyPatch, request: Any) -> None:
    strict = pytest.importorskip("strict")
    request.getfixturevalue("backend")
    there = {name: strict.STRICT.asarray(core) for name, core in NET.init().items()}
    _, pullback = NET.vjp(there)
    g = strict.STRICT.asarray(np.ones((4, 6)))

    def full(*args: Any, **kwargs: Any) -> Any:
        raise strict.Full("out of memory allocating 512 bytes")

    monkeypatch.setattr(strict.StrictArray, "reshape", full)
    planned = "the device's memory was full while generating the weight and its gradient of shape"
    calls: list[Any] = [lambda: NET.generate(there), lambda: NET.vjp(there), lambda: NET.vjp(there, "recompute")]
    for call in calls:
        with pytest.raises(DeviceMemoryError, match=planned) as told:
            call()
    assert "schedule recompute" in str(told.value)
    assert "GiB, free are 16 GiB" in str(told.value)
    assert told.value.exit_code == 1
    monkeypatch.setattr(strict.StrictArray, "reshape", strict._method("reshape"))
    monkeypatch.setattr(strict.StrictArray, "sum", full)
    monkeypatch.setattr(strict.StrictArray, "transpose", full)
    monkeypatch.setattr(strict.StrictArray, "__matmul__", full)
    with pytest.raises(DeviceMemoryError, match=planned):
        pullback(g)


# The command line


def test_command_line(backend: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "model.npz", tmp_path / "small.npz"
    np.savez(source, w=np.random.default_rng(0).standard_normal((4, 6)))
    arguments = ["compress", str(source), "--layer", "w", "--layers", "1", "--steps", "5", "-o", str(out), "--quiet"]
    assert main([*arguments, "--backend", backend.name]) == 0
    assert main(["expand", str(out), "-o", str(tmp_path / "dense.npz"), "--backend", backend.name, "--quiet"]) == 0
    here, there = ar.load_compressed(out).expand()["w"], np.load(tmp_path / "dense.npz")["w"]
    np.testing.assert_allclose(there, here, rtol=1e-12)
    assert main([*arguments, "--force", "--backend", "nimbus"]) == 2
    assert "no array backend is called 'nimbus'" in capsys.readouterr().err
    assert get_backend("numpy").on_host

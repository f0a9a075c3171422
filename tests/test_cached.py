"""Generated weights in inference: kept until the cores change, or folded into a dense model."""

from typing import Any

import numpy as np
import pytest
from small import dense_model, networks, same, split

import adntn_ref as ar
from adntn_ref import ad
from adntn_ref.errors import DTypeError, ParameterError

NAMES = ("fc1.weight", "fc2.weight")


def generated() -> tuple[ar.Generated, dict[str, Any]]:
    model = dense_model()
    nets = networks(model, *NAMES)
    return ar.Generated(model, nets), {**model.init(1, "float64"), **{k: net.init(2) for k, net in nets.items()}}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shape of every weight that is generated."""
    made: list[tuple[int, ...]] = []
    generate = ar.BrickWall.generate

    def counting(self: ar.BrickWall, given: Any, *args: Any) -> Any:
        made.append(self.shape)
        return generate(self, given, *args)

    monkeypatch.setattr(ar.BrickWall, "generate", counting)
    return made


def copied(params: dict[str, Any]) -> dict[str, Any]:
    return {k: {n: c.copy() for n, c in v.items()} if isinstance(v, dict) else v.copy() for k, v in params.items()}


def test_unchanged_cores_are_not_generated_again(calls: list[Any]) -> None:
    made, params = generated()
    cached, x = ar.CachedWeights(made), split(dtype="float64").train.images[:6]
    expected = made(params, x)
    calls.clear()
    for given in (params, params, copied(params)):  # equal cores in other arrays are unchanged cores
        np.testing.assert_array_equal(cached(given, x), expected)
    assert calls == [(8, 16), (8, 8)]
    params["fc3.bias"] += 1.0  # no generated parameter
    np.testing.assert_array_equal(cached(params, x), made.model(made.expand(params), x))
    assert len(calls) == 2 + 2


@pytest.mark.parametrize("change", ["in place", "sign of zero", "dtype", "another array"])
def test_changed_cores_are_generated_again(change: str, calls: list[Any]) -> None:
    made, params = generated()
    core = params["fc1.weight"]["layer0.brick0"]
    core[0, 0] = 0.0
    cached = ar.CachedWeights(made)
    cached.expand(params)
    calls.clear()
    if change == "in place":
        core[1, 1] += 1e-15 * abs(core[1, 1]) + 1e-300
        core[1, 1] = np.nextafter(core[1, 1], 9.0)
    elif change == "sign of zero":
        core[0, 0] = -0.0
    elif change == "dtype":
        params["fc1.weight"] = {name: c.astype("float32") for name, c in params["fc1.weight"].items()}
    else:
        params["fc1.weight"] = {**params["fc1.weight"], "layer0.brick0": core * 2}
    found = cached.expand(params)
    assert calls == [(8, 16)]
    assert same(found["fc1.weight"], dict(made.networks)["fc1.weight"].generate(params["fc1.weight"]))
    assert same(cached.expand(params)["fc1.weight"], found["fc1.weight"])
    assert len(calls) == 2


def test_a_core_that_is_not_finite_is_no_reason_to_generate_again(calls: list[Any]) -> None:
    made, params = generated()
    params["fc1.weight"]["layer0.brick0"][...] = np.nan
    cached = ar.CachedWeights(made)
    first = cached.expand(params)["fc1.weight"]
    assert cached.expand(params)["fc1.weight"] is first
    assert len(calls) == 2


def test_the_cache_cannot_be_written_to() -> None:
    made, params = generated()
    cached = ar.CachedWeights(made)
    weight = cached.expand(params)["fc1.weight"]
    with pytest.raises(ValueError, match="read-only"):
        weight[0, 0] = 1.0
    params["fc3.bias"][0] = 7.0  # the caller's own stays writeable
    assert cached.expand(params)["fc3.bias"][0] == 7.0


def test_variables_go_past_the_cache(calls: list[Any]) -> None:
    made, params = generated()
    cached, x = ar.CachedWeights(made), split(dtype="float64").train.images[:4]
    cached.expand(params)
    expected = ad.grad(lambda p: ad.sum(made(p, x) ** 2))(params)
    calls.clear()
    found = ad.grad(lambda p: ad.sum(cached(p, x) ** 2))(params)
    assert calls == [(8, 16), (8, 8)]
    for name in NAMES:
        assert all(same(found[name][core], expected[name][core]) for core in expected[name])


def test_put_take_forget(calls: list[Any]) -> None:
    made, params = generated()
    cached = ar.CachedWeights(made)
    dense = made.expand(params)
    calls.clear()
    cached.put(params, dense)
    assert same(cached.take(params)["fc1.weight"], dense["fc1.weight"])
    assert calls == []
    cached.expand(params)
    assert len(calls) == 2
    cached.forget()
    cached.expand(params)
    assert len(calls) == 4
    plain = dense_model()
    given = plain.init(0, "float64")
    x = split(dtype="float64").train.images[:3]
    assert ar.CachedWeights(plain).expand(given) == given
    np.testing.assert_array_equal(ar.CachedWeights(plain)(given, x), plain(given, x))


def test_bad_cores_are_refused_before_the_cache_is_asked() -> None:
    made, params = generated()
    cached = ar.CachedWeights(made)
    cached.expand(params)
    with pytest.raises(ParameterError, match=r"layer0\.brick0 has shape"):
        cached.expand({**params, "fc1.weight": {**params["fc1.weight"], "layer0.brick0": np.ones((3, 3))}})


def test_fold() -> None:
    made, params = generated()
    dense, folded = made.fold(params)
    x = split(dtype="float64").train.images[:6]
    assert dense is made.model
    dense.check_params(folded)
    np.testing.assert_array_equal(dense(folded, x), made(params, x))
    data = split(dtype="float64")
    assert ar.train(dense, folded, data, epochs=1).params.keys() == folded.keys()
    with pytest.raises(ParameterError, match=r"missing \['fc3.bias'\]"):
        made.fold({k: v for k, v in params.items() if k != "fc3.bias"})
    with pytest.raises(ParameterError, match="dict from core name"):
        made.fold({**params, "fc1.weight": np.zeros((8, 16))})
    with pytest.raises(ParameterError, match=r"fc3\.bias must be an array"):
        made.fold({**params, "fc3.bias": [0.0]})
    linear = ar.Generated(ar.Sequential((4,), (("fc", ar.Linear(4, 3, bias=False)),)), {"fc.weight": ar.MPO((3, 4), 2)})
    cores = {name: core.astype("complex128") for name, core in linear.networks[0][1].init().items()}  # type: ignore[attr-defined]
    with pytest.raises(DTypeError, match=r"parameter fc\.weight has dtype complex128"):
        linear.fold({"fc.weight": cores})


def test_an_evaluation_takes_the_weights_of_its_step(calls: list[Any]) -> None:
    """Never twice from the same cores: the weights of the first update of an epoch serve the evaluation as well."""
    made, params = generated()
    data = split(dtype="float64")
    updates = []
    result = ar.train(made, params, data, epochs=3, batch_size=20, callback=lambda tick: updates.append(tick.step))
    assert len(calls) == 2 * (len(updates) + 1)  # each update, and the last evaluation
    assert len(result.history.score) == 4
    final = ar.accuracy(made.model, made.expand(result.params), data.validation)
    assert result.validation_accuracy == pytest.approx(final)

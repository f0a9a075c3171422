"""Which weights of a PyTorch model are generated, by which network, from what start; and what is refused."""

from typing import Any

import numpy as np
import peers
import pytest
import small
from torch_cases import X, mlp, numbers, wall

import adntn_ref as ar
from adntn_ref.errors import BackendUnavailable, DTypeError, NothingSelected, ParameterError, SpecError

torch = peers.need("torch")
nn = torch.nn

from adntn_ref.interop.torch import compress_, fold_, generated, save_compressed  # noqa: E402


def test_start_from_the_weights() -> None:
    model, drawn = mlp(), mlp()
    target = model[0].weight.detach().numpy().copy()
    made = compress_(model, "0", wall, fit={"steps": 60}, rng=2)["0.weight"]
    expected = ar.fit(wall((5, 6)), target, steps=60, rng=2)
    assert small.same(numbers(made), expected.params)
    assert made.info["relative_error"] == expected.relative_error < 1
    compress_(drawn, "0", wall, rng=2, std=0.3, start="calibrated_orthogonal")
    assert abs(drawn[0].weight.detach().std(correction=0).item() - 0.3) < 1e-12


def test_a_decomposition_in_single_precision() -> None:
    layer = nn.Linear(6, 5)
    made = compress_(layer, "weight", ar.LowRank((5, 6), 5), fit={"optimiser": "als"})["weight"]
    assert made.info["relative_error"] < 1e-10
    assert layer.weight.dtype == torch.float32


def test_networks_by_name() -> None:
    model = mlp()
    made = compress_(model, None, {"0.weight": ar.MPO((5, 6), 2), "3*": wall})
    assert [type(weight.network).__name__ for weight in made.values()] == ["MPO", "BrickWall"]
    other = mlp()
    compress_(other, "*", {"3.weight": ar.MPO((3, 5), 2), "*": wall})
    assert isinstance(generated(other)["3.weight"].network, ar.MPO)


@pytest.mark.parametrize("fit", [False, {"steps": 20}])
def test_a_stack_shares_its_cores(fit: Any) -> None:
    model = mlp()
    stack = ar.Stack({"3.weight": (3, 5), "0.weight": (5, 6)}, ar.BrickWall((45,), layers=2))
    made = compress_(model, None, stack, fit=fit)
    assert made["0.weight"].cores is made["3.weight"].cores
    weights = stack.generate(numbers(made["0.weight"]))
    for name, weight in weights.items():
        np.testing.assert_allclose(model.get_submodule(name[0]).weight.detach().numpy(), weight, rtol=0, atol=1e-14)
    assert sum(x.numel() for x in model.parameters()) == stack.parameter_count + 5 + 3 + 10
    model(X).sum().backward()
    assert next(made["0.weight"].parameters()).grad is not None
    with pytest.raises(SpecError, match=r"cores for one weight each; 0.weight, 3.weight share theirs"):
        save_compressed(model, "never.safetensors")


def test_tied_weights_stay_one() -> None:
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
    model["b"].weight = model["a"].weight
    with pytest.raises(SpecError, match=r"a.weight and b.weight are one tensor \(tied\); select both"):
        compress_(model, "a", wall)
    made = compress_(model, "*", wall)
    assert made["a.weight"] is made["b.weight"]
    assert torch.equal(model["a"].weight, model["b"].weight)
    fold_(model)
    shared = nn.Linear(4, 4)
    twice = nn.Sequential(shared, shared)
    assert list(compress_(twice, "*", wall)) == ["0.weight", "1.weight"]
    assert fold_(twice) == ["0.weight", "1.weight"]


def unchanged(model: Any) -> bool:
    return not generated(model)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("nothing*", wall), NothingSelected, r"'nothing\*' names no weight of two axes or more; it matches none of"),
        (("*.bias", wall), NothingSelected, r"it matches vectors alone: 0.bias"),
        (([], wall), NothingSelected, "no pattern was given"),
        ((None, wall), SpecError, "networks are given by name"),
        (("0", ar.BrickWall((6, 5), 2)), SpecError, r"0.weight has shape \(5, 6\), and BrickWall.* makes \(6, 5\)"),
        (("0", lambda shape: "wall"), SpecError, "0.weight needs a network or a function .* got a str"),
        (("0", 3), SpecError, "got a int"),
        (("*", {"0*": wall}), SpecError, r"no network was given for 3.weight; given are those for 0\*"),
        (("0", {"*": wall, "typo": wall}), NothingSelected, r"a network was given for 'typo'; selected are 0.weight"),
        (("0", ar.Stack({"0.weight": (5, 6), "3.weight": (3, 5)}, wall((45,)))), SpecError, r"the stack makes"),
    ],
)
def test_refusals_leave_the_model_alone(arguments: Any, error: type[Exception], message: str) -> None:
    model = mlp()
    with pytest.raises(error, match=message):
        compress_(model, *arguments)
    assert unchanged(model)


def test_more_refusals() -> None:
    model = mlp()
    with pytest.raises(SpecError, match="backward must be one of"):
        compress_(model, "0", wall, backward="mine")
    with pytest.raises(SpecError, match="fit must be True, False or a dict"):
        compress_(model, "0", wall, fit=3)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="no start is called"):
        compress_(model, "0", wall, start="zero")
    with pytest.raises(DTypeError, match=r"torch.bfloat16; allowed: float32, float64"):
        compress_(nn.Linear(6, 5).bfloat16(), "weight", wall)
    with pytest.raises(SpecError, match=r"belongs to a LSTM, which reads its weights past parametrisations"):
        compress_(nn.LSTM(3, 3), "*", wall)
    with pytest.raises(BackendUnavailable, match="on the CPU and on CUDA devices, got meta"):
        compress_(nn.Linear(6, 5, device="meta"), "*", wall)
    mixed = nn.Sequential(nn.Linear(6, 5), nn.Linear(6, 5).double())
    stack = ar.Stack({"0.weight": (5, 6), "1.weight": (5, 6)}, wall((60,)))
    with pytest.raises(SpecError, match="one dtype and device"):
        compress_(mixed, None, stack)
    assert unchanged(model)
    compress_(model, "0", wall)
    with pytest.raises(SpecError, match=r"0.weight is parametrised already; .* fold_"):
        compress_(model, "*", wall)
    with pytest.raises(ParameterError, match="a generated weight cannot be assigned"):
        model[0].weight = torch.ones(5, 6, dtype=torch.float64)
    normed = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 5))
    with pytest.raises(SpecError, match="weight is parametrised already"):
        compress_(normed, "*", wall)


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_a_lazy_weight_is_refused() -> None:
    with pytest.raises(SpecError, match="has no shape before the model has seen an input"):
        compress_(nn.Sequential(nn.LazyLinear(3)), None, {"0.weight": wall})

"""Generated weights inside PyTorch models: placed, trained, saved, loaded, folded."""

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import peers
import pytest
import small

import adntn_ref as ar
from adntn_ref.errors import (
    BackendUnavailable,
    DTypeError,
    FileFormatError,
    MissingExtra,
    NothingSelected,
    OutputError,
    ParameterError,
    SpecError,
)

torch = peers.need("torch")
nn = torch.nn

from torch.nn.utils import parametrize  # noqa: E402

from adntn_ref.interop.torch import (  # noqa: E402
    WAYS,
    GeneratedWeight,
    compress_,
    fold_,
    generated,
    load_compressed_,
    save_compressed,
)


def wall(shape: tuple[int, ...]) -> ar.Network:
    return ar.BrickWall(shape, layers=2)


def mlp() -> Any:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 3)]
    return nn.Sequential(*layers).double()


X = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(4, 6)

MODULES = {
    "linear": (lambda: nn.Linear(6, 5), (4, 6)),
    "bilinear": (lambda: nn.Bilinear(6, 6, 3), (4, 6)),
    "embedding": (lambda: nn.Embedding(7, 4), None),
    "conv1d": (lambda: nn.Conv1d(2, 3, 3), (2, 2, 6)),
    "conv2d": (lambda: nn.Conv2d(2, 4, 3, groups=2), (2, 2, 5, 5)),
    "conv3d": (lambda: nn.Conv3d(1, 2, 2), (1, 1, 3, 3, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 3, 2), (1, 2, 3, 3)),
    "attention": (lambda: nn.MultiheadAttention(4, 2, batch_first=True), (2, 3, 4)),
    "attention of other sizes": (lambda: nn.MultiheadAttention(4, 2, kdim=5, vdim=6, batch_first=True), (2, 3, 4)),
    "encoder": (lambda: nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True), (2, 3, 4)),
}


def call(module: Any, shape: tuple[int, ...] | None) -> Any:
    if shape is None:
        return module(torch.arange(7))
    torch.manual_seed(1)
    x = torch.randn(shape, dtype=torch.float64)
    if isinstance(module, nn.MultiheadAttention):
        keys, values = (x.repeat(1, 1, 2)[..., :n] for n in (module.kdim, module.vdim))
        return module(x, keys, values)[0]
    return module(x, x) if isinstance(module, nn.Bilinear) else module(x)


@pytest.mark.parametrize("name", MODULES)
def test_every_kind_of_module(name: str) -> None:
    """The module computes what the dense one does with the generated weight in its place."""
    make, shape = MODULES[name]
    module, dense = make().double().eval(), make().double().eval()
    made = compress_(module, "*", wall)
    assert made.keys() == {key for key, x in dense.named_parameters() if x.ndim > 1}
    weights = {key: weight.network.generate(numbers(weight)) for key, weight in made.items()}
    rest = {key: x for key, x in module.state_dict().items() if "parametrizations" not in key}
    dense.load_state_dict({**rest, **{key: torch.from_numpy(x) for key, x in weights.items()}})
    torch.testing.assert_close(call(module, shape), call(dense, shape), rtol=1e-12, atol=1e-14)
    with torch.no_grad():  # attention has another path then
        torch.testing.assert_close(call(module, shape), call(dense, shape), rtol=1e-10, atol=1e-12)
    call(module, shape).square().sum().backward()
    assert all(core.grad is not None for weight in made.values() for core in weight.parameters())


def numbers(weight: GeneratedWeight) -> dict[str, np.ndarray]:
    return {name: core.detach().numpy() for name, core in weight.cores.as_dict().items()}


def test_names_and_parameters() -> None:
    model = mlp()
    network = wall((5, 6))
    made = compress_(model, "0", network)["0.weight"]
    under = "0.parametrizations.weight.0.cores."
    assert {name for name in model.state_dict() if name.startswith("0.")} == {
        "0.bias",
        *(under + core for core in network.core_shapes),
    }
    assert sum(x.numel() for x in model[0].parameters()) == network.parameter_count + 5
    assert small.same(numbers(made), network.init(0))
    assert generated(model) == {"0.weight": made}
    assert "BrickWall(shape=(5, 6)" in repr(model)
    assert "backward='closed'" in repr(model)


@pytest.mark.parametrize("way", WAYS)
def test_training_and_a_round_trip_of_the_state(way: str) -> None:
    model, fresh = mlp(), mlp()
    compress_(model, ["0", "3"], wall, backward=way, rng=7)
    compress_(fresh, ["0", "3"], wall, backward=way)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        loss = (model(X) - 1).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(model.eval()(X), fresh.eval()(X))


def test_frozen_stays_frozen_and_cores_freeze_by_name() -> None:
    model = mlp()
    model[0].weight.requires_grad_(False)
    made = compress_(model, "*", wall)
    assert not any(core.requires_grad for core in made["0.weight"].parameters())
    for name, core in made["3.weight"].named_parameters():
        core.requires_grad_("layer1" in name)
    model(X).sum().backward()
    assert all((core.grad is not None) == ("layer1" in n) for n, core in made["3.weight"].named_parameters())


def test_copies_dtypes_and_modes() -> None:
    model = mlp()
    compress_(model, "*", wall)
    before = model.eval()(X)
    twin = copy.deepcopy(model)
    assert torch.equal(twin(X), before)
    with torch.no_grad():
        next(generated(twin)["0.weight"].parameters()).zero_()
    assert torch.equal(model(X), before)
    single = copy.deepcopy(model).float()
    assert single[0].weight.dtype == torch.float32
    torch.testing.assert_close(single(X.float()), before.float(), rtol=1e-4, atol=1e-5)
    assert torch.equal(model.train().eval()(X), before)
    with pytest.raises(DTypeError, match=r"cores have dtype torch.float16"):
        single.half()(X.half())


@pytest.mark.parametrize("way", WAYS)
def test_autocast_leaves_the_generated_weight_alone(way: str) -> None:
    layer = nn.Linear(6, 5)
    compress_(layer, "*", wall, backward=way)
    expected = layer.weight.detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(X.float()).dtype == torch.bfloat16
        assert torch.equal(layer.weight, expected)
        layer(X.float()).float().sum().backward()
    assert all(core.grad.dtype == torch.float32 for core in generated(layer)["weight"].parameters())


def test_made_once_inside_cached() -> None:
    layer = nn.Linear(6, 5)
    compress_(layer, "*", wall)
    with parametrize.cached():
        assert layer.weight is layer.weight
    assert layer.weight is not layer.weight


def test_the_parameter_before_stays_whole() -> None:
    layer = nn.Linear(6, 5)
    weight, before = layer.weight, layer.weight.detach().clone()
    compress_(layer, "*", wall)
    assert torch.equal(weight, before)


def test_fold() -> None:
    model = mlp()
    order = [name for name, _ in model.named_parameters()]
    compress_(model, "*", wall)
    twin = copy.deepcopy(model)
    before = model.eval()(X)
    assert fold_(model, "3.*") == ["3.weight"]
    assert list(generated(model)) == ["0.weight"]
    fold_(model)
    assert torch.equal(model(X), before)
    assert [name for name, _ in model.named_parameters()] == order
    assert isinstance(model[0].weight, nn.Parameter)
    assert model[0].weight.requires_grad
    assert type(model[0]) is nn.Linear
    assert torch.equal(twin.eval()(X), before)  # PyTorch's copies share a class
    with pytest.raises(NothingSelected, match="matches none of"):
        fold_(model)
    compress_(model, "0", wall)
    assert torch.equal(twin(X), before)


def test_a_copy_keeps_its_own_parameters() -> None:
    """A second weight of a module is generated, and the copy made before keeps its dense one."""
    attention = nn.MultiheadAttention(4, 2, kdim=5, vdim=6).double()
    compress_(attention, "q_proj_weight", wall)
    twin = copy.deepcopy(attention)
    compress_(attention, "k_proj_weight", wall)
    assert isinstance(twin.k_proj_weight, nn.Parameter)


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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of dynamo's own
def test_a_model_compiles_in_one_graph() -> None:
    model = mlp()[:2]
    compress_(model, "*", wall)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(X), model(X), rtol=1e-12, atol=1e-14)
    compiled(X).sum().backward()
    assert all(x.grad is not None for x in model.parameters())


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


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_files_there_and_back(tmp_path: Path, suffix: str) -> None:
    model, fresh, path = mlp(), mlp(), tmp_path / f"model{suffix}"
    compress_(model, "0", wall, fit={"steps": 10})
    model(X)  # the running statistics move
    save_compressed(model, path, seed=4)
    read = ar.load_compressed(path)
    assert read.header["seed"] == 4
    assert small.same(read.entries["0.weight"].params, numbers(generated(model)["0.weight"]))
    assert read.entries["0.weight"].info["relative_error"] < 1
    np.testing.assert_allclose(read.expand()["0.weight"], model[0].weight.detach().numpy(), rtol=0, atol=1e-14)
    made = load_compressed_(fresh, path, backward="autograd")
    assert small.same(numbers(made["0.weight"]), numbers(generated(model)["0.weight"]))
    torch.testing.assert_close(fresh.eval()(X), model.eval()(X), rtol=1e-12, atol=1e-14)
    assert fresh.state_dict().keys() == model.state_dict().keys()
    with pytest.raises(OutputError, match="exists"):
        save_compressed(model, path)
    save_compressed(model, path, force=True)


def test_a_file_with_turned_axes(tmp_path: Path) -> None:
    """A kernel from Keras: its axes are (height, width, inputs, outputs)."""
    kernel = nn.Module()
    kernel.register_parameter("weight", nn.Parameter(torch.zeros(3, 2, 4, 5, dtype=torch.float64)))
    network = wall((5, 4, 3, 2))
    entry = ar.Entry(network, network.init(3), axes=(3, 2, 0, 1))
    made = load_compressed_(kernel, ar.CompressedFile({"weight": entry}, {}, {}))
    np.testing.assert_allclose(kernel.weight.detach().numpy(), entry.generate(), rtol=0, atol=1e-14)
    kernel.weight.sum().backward()
    assert next(made["weight"].parameters()).grad is not None
    save_compressed(kernel, tmp_path / "kernel.npz")
    assert ar.load_compressed(tmp_path / "kernel.npz").entries["weight"].axes == (3, 2, 0, 1)


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    model, path = mlp(), tmp_path / "model.npz"
    with pytest.raises(NothingSelected, match="no generated weights"):
        save_compressed(model, path)
    compress_(model, "0", wall)
    save_compressed(model, path)
    other = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3)).double()
    with pytest.raises(ParameterError, match=r"missing 1.weight, 1.bias; unknown 2.weight.*"):
        load_compressed_(other, path)
    wider = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 3)).double()
    with pytest.raises(ParameterError, match=r"0.weight has shape \(5, 6\), the model's \(5, 7\)"):
        load_compressed_(wider, path)
    with pytest.raises(DTypeError, match=r"0.weight has dtype float64 in the file and float32 in the model"):
        load_compressed_(mlp().float(), path)
    read = ar.load_compressed(path)
    cores_only = ar.CompressedFile(read.entries, {}, read.header)
    with pytest.raises(ParameterError, match=r"missing 0.bias"):
        load_compressed_(mlp(), cores_only)
    partly = mlp()
    bias = partly[0].bias.detach().clone()
    load_compressed_(partly, cores_only, strict=False)
    assert torch.equal(partly[0].bias, bias)
    plain = tmp_path / "plain.npz"
    np.savez(plain, x=np.ones(2))
    with pytest.raises(FileFormatError, match="no generated weights"):
        load_compressed_(mlp(), plain)
    rounded = mlp()
    compress_(rounded, "0", wall)
    rounded[3].bfloat16()
    with pytest.raises(DTypeError, match=r"3.weight has dtype torch.bfloat16, which files do not hold"):
        save_compressed(rounded, tmp_path / "rounded.npz")


def test_a_missing_framework_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from adntn_ref.extras import need

    small.hide(monkeypatch, "torch")
    with pytest.raises(MissingExtra, match=r'this needs the package torch; .*"adntn-ref\[peers\]"'):
        need("torch", "peers")

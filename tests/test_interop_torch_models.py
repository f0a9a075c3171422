"""Generated weights inside PyTorch models: placed, trained, copied, folded, compiled."""

import copy
import io
from typing import Any

import peers
import pytest
import small
from torch_cases import X, mlp, numbers, wall

from adntn_ref.errors import DTypeError, MissingExtra, NothingSelected

torch = peers.need("torch")
nn = torch.nn

from torch.nn.utils import parametrize  # noqa: E402

from adntn_ref.interop.torch import WAYS, compress_, fold_, generated  # noqa: E402

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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of dynamo's own
def test_a_model_compiles_in_one_graph() -> None:
    model = mlp()[:2]
    compress_(model, "*", wall)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(X), model(X), rtol=1e-12, atol=1e-14)
    compiled(X).sum().backward()
    assert all(x.grad is not None for x in model.parameters())


def test_a_missing_framework_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from adntn_ref.extras import need

    small.hide(monkeypatch, "torch")
    with pytest.raises(MissingExtra, match=r'this needs the package torch; .*"adntn-ref\[peers\]"'):
        need("torch", "peers")

"""Networks as functions of tensors: the same weights and gradients as the package's own, by every way."""

import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import peers
import pytest
import small
from adapter_cases import close, drawn

import adntn_ref as ar
from adntn_ref.errors import ArrayError, BackendUnavailable, DTypeError, ParameterError, SpecError
from adntn_ref.validation.gpu import cases
from adntn_ref.validation.verify import verify

torch = peers.need("torch")

from adntn_ref.interop.recording import Recorder, record  # noqa: E402
from adntn_ref.interop.torch import WAYS, Generator  # noqa: E402
from adntn_ref.interop.torch import gradients as gradients_module  # noqa: E402
from adntn_ref.interop.torch.operations import functions  # noqa: E402
from adntn_ref.interop.torch.runners import sharing  # noqa: E402
from adntn_ref.validation.adapters.interop_torch import InTorch  # noqa: E402

NETWORKS = cases.networks()
WALL = ar.BrickWall((2, 3), layers=2, activation="tanh")
RTOL = {"float64": 1e-12, "complex128": 1e-12, "float32": 2e-5}


def tensors(network: ar.Network, seed: int = 0, dtype: str = "float64") -> dict[str, Any]:
    return {name: torch.from_numpy(core).requires_grad_() for name, core in network.init(seed, dtype).items()}


def compare(network: ar.Network, way: str, dtype: str) -> None:
    params, g = drawn(network, dtype) if not dtype.startswith("complex") else cases.drawn(network, dtype)
    weight, pullback = network.vjp(params)
    given = {name: torch.from_numpy(core.copy()).requires_grad_() for name, core in params.items()}
    made = Generator(network, way)(given)
    several, shares = (made, g) if isinstance(made, dict) else ({"": made}, {"": g})
    close(
        {name: x.detach().numpy() for name, x in several.items()},
        weight if isinstance(weight, dict) else {"": weight},
        RTOL[dtype],
    )
    torch.autograd.backward(list(several.values()), [torch.from_numpy(shares[name]) for name in several])
    close({name: core.grad.resolve_conj().numpy() for name, core in given.items()}, pullback(g), RTOL[dtype])
    with torch.no_grad():
        again = Generator(network, way)(given)
    several = again if isinstance(again, dict) else {"": again}
    close(
        {name: x.numpy() for name, x in several.items()},
        weight if isinstance(weight, dict) else {"": weight},
        RTOL[dtype],
    )


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("way", WAYS)
def test_every_network(way: str, name: str) -> None:
    compare(NETWORKS[name], way, "float64")


@pytest.mark.parametrize("name", ["brickwall gelu", "mera periodic", "ttn node", "stack", "delta", "tucker"])
@pytest.mark.parametrize("way", WAYS)
def test_single_precision(way: str, name: str) -> None:
    compare(NETWORKS[name], way, "float32")


@pytest.mark.parametrize("name", ["brickwall identity", "cp", "tensor train", "mpo", "low rank", "tucker"])
@pytest.mark.parametrize("way", WAYS)
def test_complex(way: str, name: str) -> None:
    compare(NETWORKS[name], way, "complex128")


@pytest.mark.parametrize("way", WAYS)
def test_the_reference_agrees(way: str) -> None:
    """What ``python -m adntn_ref.validation --against`` does, on a few random cases."""
    report = verify(InTorch(way), cases=[], random=5, time_limit=600)
    assert report.random is not None
    assert (report.exit_code, report.random.judged, report.random.failing) == (0, 5, None)


@pytest.mark.parametrize("network", [WALL, ar.TTN((2, 3), 2, activation_site="node")], ids=["wall", "nodes"])
@pytest.mark.parametrize("way", WAYS)
def test_gradcheck(way: str, network: ar.Network) -> None:
    weight, cores = Generator(network, way), list(tensors(network).values())

    def function(*cores: Any) -> Any:
        return weight(dict(zip(weight.names, cores, strict=True)))

    assert torch.autograd.gradcheck(function, cores)
    assert torch.autograd.gradgradcheck(function, cores, fast_mode=True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("activation", "slope"), [("relu", 0.0), ("leaky_relu", 0.01)])
def test_slope_at_a_kink(way: str, activation: str, slope: float) -> None:
    """All pre-activations are exactly 0: what comes back is what the slope there lets through."""
    network = ar.BrickWall((2, 2), layers=2, boundary="trainable", activation=activation)
    params = {name: torch.ones(shape, dtype=torch.float64) for name, shape in network.core_shapes.items()}
    params["layer0.brick0"] *= 0
    params = {name: core.requires_grad_() for name, core in params.items()}
    Generator(network, way)(params).sum().backward()
    assert params["layer0.brick0"].grad.unique().tolist() == [4 * slope]


@pytest.mark.parametrize("way", WAYS)
def test_transforms_of_torch_func(way: str) -> None:
    weight = Generator(WALL, way)
    params = {name: core.detach() for name, core in tensors(WALL).items()}
    gradient = torch.func.grad(lambda p: weight(p).sin().sum())(params)
    expected = WALL.vjp({k: x.numpy() for k, x in params.items()})
    close({k: x.numpy() for k, x in gradient.items()}, expected[1](np.cos(expected[0])), 1e-12)
    twice = {name: torch.stack([core, 2 * core]) for name, core in params.items()}
    if way == "closed":
        with pytest.raises(BackendUnavailable, match=r"works on the tensors' memory.*closed_torch"):
            torch.func.vmap(weight)(twice)
    else:
        assert torch.allclose(torch.func.vmap(weight)(twice)[0], weight(params), rtol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_only_what_is_asked_for(way: str) -> None:
    params = tensors(WALL)
    params["layer0.brick0"].requires_grad_(False)
    Generator(WALL, way)(params).sum().backward()
    assert params["layer0.brick0"].grad is None
    assert params["layer1.brick0"].grad is not None
    for core in params.values():
        core.requires_grad_(False)
    assert not Generator(WALL, way)(params).requires_grad


@pytest.mark.parametrize("way", ["closed", "closed_torch"])  # PyTorch's own gradient reads copies alone
def test_a_core_changed_before_the_backward_pass_is_noticed(way: str) -> None:
    params = tensors(WALL)
    made = Generator(WALL, way)(params)
    with torch.no_grad():
        params["layer1.brick0"] += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        made.sum().backward()


@pytest.mark.parametrize("way", WAYS)
def test_backward_twice_and_views(way: str) -> None:
    """A kept graph can be run again; cotangents and cores need not lie in C order; nobody's memory is shared."""
    params = tensors(WALL)
    params["layer1.brick0"] = params["layer1.brick0"].detach().permute(3, 2, 1, 0).requires_grad_()
    made = Generator(WALL, way)(params)
    first = torch.autograd.grad(made.sum(), list(params.values()), retain_graph=True)
    second = torch.autograd.grad(made, list(params.values()), torch.ones(3, 2, dtype=torch.float64).T)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    single = ar.MPO((3, 2), chi=2, row_modes=(3,), col_modes=(2,))
    core = tensors(single)["core0"]
    assert Generator(single, way)({"core0": core}).data_ptr() != core.data_ptr()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of dynamo's own
@pytest.mark.parametrize("way", WAYS)
def test_compiled_in_one_graph(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled gradient is ours where it was asked for."""
    backs = 0
    ours = gradients_module.run_back

    def counting(*args: Any) -> Any:
        nonlocal backs
        backs += 1
        return ours(*args)

    monkeypatch.setattr(gradients_module, "run_back", counting)
    weight, params = Generator(WALL, way), tensors(WALL)
    torch._dynamo.reset()
    torch.compile(lambda p: weight(p).sum(), fullgraph=True, backend="aot_eager")(params).backward()
    expected = WALL.vjp({name: core.detach().numpy() for name, core in params.items()})[1](np.ones((2, 3)))
    close({name: core.grad.numpy() for name, core in params.items()}, expected, 1e-12)
    assert (backs > 0) == (way == "closed_torch")


def test_every_recorded_function_is_there() -> None:
    recording = record(WALL, "float64")
    table = functions(recording, torch.float64, torch.device("cpu"))
    assert table.keys() == set(Recorder.FUNCTIONS)
    x = torch.tensor([1.0, -2.0])
    assert table["divide"](x, 4.0).tolist() == [0.25, -0.5]
    assert table["negative"](x).tolist() == [-1.0, 2.0]
    assert table["broadcast_to"](x, shape=(2, 2)).tolist() == [[1.0, -2.0]] * 2
    assert table["real"](x + 1j).tolist() == [1.0, -2.0]
    assert table["conj"](x + 1j).tolist() == [1 - 1j, -2 - 1j]
    assert table["maximum"](torch.tensor([np.nan]), 0).isnan().all()


def refused(network: ar.Network = WALL, **changed: Any) -> Any:
    return Generator(network)(tensors(network) | changed)


@pytest.mark.parametrize("way", WAYS)
def test_an_unknown_dtype(way: str) -> None:
    halves = {name: core.detach().half() for name, core in tensors(WALL).items()}
    with pytest.raises(DTypeError, match=r"torch.float16; allowed: float32, float64. Under autocast"):
        Generator(WALL, way)(halves)
    with pytest.raises(DTypeError, match=r"torch.complex128; allowed: float32, float64"):
        Generator(WALL, way)({name: core + 0j for name, core in tensors(WALL).items()})


def test_refusals() -> None:
    with pytest.raises(SpecError, match="backward must be one of closed, closed_torch, autograd, got 'mine'"):
        Generator(WALL, "mine")
    with pytest.raises(SpecError, match="a generator needs a network, got a str"):
        Generator("wall")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="a dict from core name to tensor, got a list"):
        Generator(WALL)([])  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"missing cores \[\], cores it has not \['other'\]"):
        refused(other=torch.ones(2))
    with pytest.raises(ParameterError, match=r"core layer1.brick0 must be a tensor, got a ndarray"):
        refused(**{"layer1.brick0": np.ones((2, 2, 2, 2))})
    with pytest.raises(ParameterError, match=r"core layer1.brick0 has shape \(2, 2\)"):
        refused(**{"layer1.brick0": torch.ones(2, 2)})
    with pytest.raises(DTypeError, match=r"core layer1.brick0 has dtype torch.float32, those before it torch.float64"):
        refused(**{"layer1.brick0": torch.ones(2, 2, 2, 2)})
    with pytest.raises(ArrayError, match=r"core layer1.brick0 is on meta, those before it on cpu"):
        refused(**{"layer1.brick0": torch.ones(2, 2, 2, 2, dtype=torch.float64, device="meta")})


def test_init_draws_what_the_network_draws() -> None:
    params = Generator(WALL).init(3, "float32", std=0.5)
    assert small.same({k: x.detach().numpy() for k, x in params.items()}, WALL.init(3, "float32", std=0.5))
    assert all(core.requires_grad for core in params.values())


def on(kind: str) -> Any:
    return SimpleNamespace(device=SimpleNamespace(type=kind, index=0))


def test_devices_without_a_runner_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(BackendUnavailable, match=r"runs on the CPU and on CUDA devices.*closed_torch"),
        sharing(on("mps")),
    ):
        pass
    small.hide(monkeypatch, "cupy")
    with pytest.raises(BackendUnavailable, match=r"adntn-ref\[cuda\].*closed_torch"), sharing(on("cuda")):
        pass


def test_cuda_with_numpy_in_cupys_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of CuPy: the tensor's device, PyTorch's stream, and DLPack."""
    fake, asked = ModuleType("cupy"), []
    fake.from_dlpack = np.from_dlpack  # type: ignore[attr-defined]
    fake.cuda = SimpleNamespace(  # type: ignore[attr-defined]
        Device=lambda index: asked.append(("device", index)) or nullcontext(),
        ExternalStream=lambda stream, index: asked.append(("stream", stream, index)) or nullcontext(),
    )
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda index: SimpleNamespace(cuda_stream=77))
    x = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    with sharing(on("cuda")) as share:
        array = share(x.T)
    assert asked == [("device", 0), ("stream", 77, 0)]
    assert array.shape == (3, 2)
    assert array.flags.c_contiguous


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("way", WAYS)
def test_on_a_cuda_device(way: str) -> None:
    peers.need("cupy", optional=True)
    network = ar.BrickWall((16, 16), layers=3)
    params = {name: core.detach().cuda().requires_grad_() for name, core in tensors(network).items()}
    made = Generator(network, way)(params)
    made.sum().backward()
    weight, pullback = network.vjp(network.init(0))
    close({"": made.detach().cpu().numpy()}, {"": weight}, 1e-12)
    close({k: x.grad.cpu().numpy() for k, x in params.items()}, pullback(np.ones((16, 16))), 1e-12)

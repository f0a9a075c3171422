"""Frozen weights of deltas are in files and states: what was saved is what is loaded, whatever model it goes into."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import peers
import pytest
from small import same

import adntn_ref as ar
from adntn_ref.cli import main
from adntn_ref.compression.sources import open_tensors
from adntn_ref.compression.tensorfile import write_tensors
from adntn_ref.errors import FileFormatError, ParameterError, SpecError
from adntn_ref.networks.frozen import frozen_weights, with_frozen

FIXTURES = Path(__file__).parent / "fixtures"
SUFFIXES = [".npz", ".safetensors"]
SHAPE = (5, 6)
LOW = ar.LowRank(SHAPE, 2)
W0, W1 = np.random.default_rng(0).normal(size=(2, *SHAPE))
NETS: dict[str, ar.Network] = {
    "delta": ar.Delta(W0, ar.BrickWall(SHAPE, 2), 0.5),
    "sum": ar.Sum(ar.Delta(W0, LOW), ar.Delta(W1.astype("float32"), ar.Delta(W0, LOW))),
    "split": ar.Split(SHAPE, 1, lambda chunk: ar.Delta(W0, LOW)),
}
EXACT = ar.Delta(np.arange(8.0).reshape(2, 4) / 4, ar.LowRank((2, 4), 1), 0.5)
CORES = {"left": np.array([[0.5], [-1.0]]), "right": np.array([[1.0, 2.0, -0.25, 0.0]])}
MADE = [[0.25, 0.75, 0.4375, 0.75], [0.5, 0.25, 1.625, 1.75]]
"""The weight, worked out by hand."""


def write_fixtures(folder: Path = FIXTURES) -> None:
    """How the fixtures of format 3 were made. Never run again: old files must stay readable."""
    for suffix in SUFFIXES:
        ar.save_compressed(folder / f"format3{suffix}", {"w": ar.Entry(EXACT, CORES)}, {}, seed=7)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_of_format_3_load(suffix: str) -> None:
    old = ar.load_compressed(FIXTURES / f"format3{suffix}")
    assert old.header["format_version"] == 3
    assert (old.entries["w"].network, old.dense) == (EXACT, {})
    assert same(dict(old.entries["w"].params), CORES)
    assert old.expand()["w"].tolist() == MADE


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", NETS)
def test_files_hold_frozen_weights(name: str, suffix: str, tmp_path: Path) -> None:
    net, path = NETS[name], tmp_path / f"c{suffix}"
    params = net.init(1)
    ar.save_compressed(path, {"w": ar.Entry(net, params)}, {"b": W1[0]}, seed=0)
    read = ar.load_compressed(path)
    assert (read.header["format_version"], list(read.dense)) == (3, ["b"])
    assert read.entries["w"].network == net
    np.testing.assert_array_equal(read.expand()["w"], net.generate(params))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_complex_frozen_weights(suffix: str, tmp_path: Path) -> None:
    net, path = ar.Delta(W0 + 1j * W1, LOW), tmp_path / f"c{suffix}"
    params = {name: core * (1 - 2j) for name, core in LOW.init(0).items()}
    ar.save_compressed(path, {"w": ar.Entry(net, params)}, {}, seed=0)
    assert ar.load_compressed(path).entries["w"].network == net


def test_the_command_line_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No ratio, for the file is as large as the dense one."""
    net, path = NETS["delta"], tmp_path / "c.npz"
    ar.save_compressed(path, {"w": ar.Entry(net, net.init(0))}, {}, seed=0)
    assert main(["info", str(path)]) == 0
    shown = capsys.readouterr().out
    assert f"delta, {net.parameter_count} numbers and a frozen weight" in shown
    assert "ratio" not in shown
    assert main(["expand", str(path), "-o", str(tmp_path / "d.npz"), "--quiet"]) == 0
    np.testing.assert_array_equal(open_tensors(tmp_path / "d.npz").load("w"), net.generate(net.init(0)))


def test_files_without_a_delta_stay_readable_by_older_releases(tmp_path: Path) -> None:
    ar.save_compressed(tmp_path / "c.npz", {"w": ar.Entry(LOW, LOW.init(0))}, {}, seed=0)
    assert ar.load_compressed(tmp_path / "c.npz").header["format_version"] == 1


def test_a_frozen_weight_that_is_not_the_one_named(tmp_path: Path) -> None:
    net, path = NETS["delta"], tmp_path / "c.npz"
    ar.save_compressed(path, {"w": ar.Entry(net, net.init(0))}, {}, seed=0)
    file = open_tensors(path)
    tensors = {name: file.load(name) for name in file.names}
    changed = {**tensors, "w::frozen.0": tensors["w::frozen.0"] + 1}
    lacking = {name: x for name, x in tensors.items() if name != "w::frozen.0"}
    for held, message in ((changed, "none of the 1 given is"), (lacking, "none was given")):
        write_tensors(path, held, dict(file.metadata), force=True)
        with pytest.raises(FileFormatError, match=message):
            ar.load_compressed(path)


@pytest.mark.parametrize("name", NETS)
def test_put_in_again(name: str) -> None:
    net = NETS[name]
    held = frozen_weights(net)
    assert with_frozen(net, held) == net
    others = with_frozen(net, [x + 1 for x in held])
    assert others != net
    assert [np.array_equal(x, y + 1) for x, y in zip(frozen_weights(others), held, strict=True)] == [True] * len(held)
    with pytest.raises(SpecError, match="cannot become weights of shapes"):
        with_frozen(net, [x.T for x in held])


def test_networks_without_any() -> None:
    assert frozen_weights(LOW) == []
    assert with_frozen(LOW, []) == LOW


def torch_models(seeds: tuple[int, int]) -> tuple[Any, Any, Any]:
    """Two models with an update of their own weights, which differ, and what makes such a network of a model."""
    torch = peers.need("torch")
    from adntn_ref.interop.torch import compress_

    def make(seed: int) -> Any:
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))

    def updated(seed: int) -> Any:
        model = make(seed)
        compress_(model, "0", ar.Delta(model[0].weight.detach().numpy(), ar.MPO(SHAPE, 2)), rng=seed)
        return model

    return updated(seeds[0]), updated(seeds[1]), make


@pytest.mark.parametrize("way", ["closed", "closed_torch", "autograd"])
def test_a_state_of_torch_holds_them(way: str) -> None:
    """Loaded into a model with other weights it gave that model's weights plus the update: silently other numbers."""
    first, second, _ = torch_models((0, 1))
    torch = peers.need("torch")
    from adntn_ref.interop.torch import Generator, generated

    generated(second)["0.weight"].generator = Generator(generated(second)["0.weight"].network, way)
    x = torch.linspace(-1, 1, 12).reshape(2, 6)
    assert not torch.equal(first(x), second(x))
    held = io.BytesIO()
    torch.save(first.state_dict(), held)
    held.seek(0)
    second.load_state_dict(torch.load(held))
    torch.testing.assert_close(second(x), first(x))
    assert generated(second)["0.weight"].network == generated(first)["0.weight"].network
    assert generated(second)["0.weight"].generator.backward == way
    second(x).sum().backward()
    assert sum(p.numel() for p in generated(second)["0.weight"].parameters()) == ar.MPO(SHAPE, 2).parameter_count


def test_states_of_torch_that_do_not_fit() -> None:
    first, second, _ = torch_models((0, 1))
    torch = peers.need("torch")
    key = "0.parametrizations.weight.0.frozen.0"
    state = first.state_dict()
    before = {name: x.clone() for name, x in second.state_dict().items()}
    lacking = {name: x for name, x in state.items() if name != key}
    with pytest.raises(RuntimeError, match=rf'Missing key\(s\) in state_dict: "{key}"'):
        second.load_state_dict(lacking)
    assert torch.equal(second.state_dict()[key], before[key])
    assert second.load_state_dict(lacking, strict=False).missing_keys == [key]
    for wrong, message in (
        (state[key].T, "cannot become"),
        (state[key].bfloat16(), "frozen"),
        (state[key].half(), "float16"),
    ):
        with pytest.raises(RuntimeError, match=message):
            second.load_state_dict({**state, key: wrong})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_of_torch_hold_them(suffix: str, tmp_path: Path) -> None:
    first, _, make = torch_models((0, 1))
    torch = peers.need("torch")
    from adntn_ref.interop.torch import load_compressed_, save_compressed

    save_compressed(first, tmp_path / f"c{suffix}")
    fresh = make(2)
    load_compressed_(fresh, tmp_path / f"c{suffix}")
    x = torch.linspace(-1, 1, 12).reshape(2, 6)
    assert torch.equal(fresh(x), first(x))
    assert same(
        {name: w.numpy() for name, w in fresh.state_dict().items()},
        {name: w.numpy() for name, w in first.state_dict().items()},
    )
    with pytest.raises(ParameterError, match="the file does not hold this model"):
        load_compressed_(torch.nn.Sequential(torch.nn.Linear(6, 5)), tmp_path / f"c{suffix}")

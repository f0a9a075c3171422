"""Files of PyTorch models with generated weights: there and back, turned axes, and those that do not fit."""

from pathlib import Path

import numpy as np
import peers
import pytest
import small
from torch_cases import X, mlp, numbers, wall

import adntn_ref as ar
from adntn_ref.errors import DTypeError, FileFormatError, NothingSelected, OutputError, ParameterError

torch = peers.need("torch")
nn = torch.nn

from adntn_ref.interop.torch import compress_, generated, load_compressed_, save_compressed  # noqa: E402


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

"""Models on disk with PyTorch's names: there and back, and files of other models."""

from pathlib import Path
from typing import Any

import numpy as np
import peers
import pytest
import torch_models
from small import dense_model, same

import adntn_ref as ar
from adntn_ref.compression.tensorfile import TensorFile, write_tensors
from adntn_ref.errors import DTypeError, FileFormatError, OutputError, ParameterError

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("alexnet", {"size": 32, "channels": 3, "narrow": 16}, {}),
    ("vgg16_bn", {"size": 32, "channels": 3, "narrow": 16}, {"batch_norm": True}),
    ("transformer", {"size": 28, "channels": 1, "width": 12, "heads": 3, "hidden": 10, "depth": 1}, {}),
]


@pytest.mark.parametrize(("name", "options", "more"), CASES, ids=lambda value: str(value))
def test_a_model_trained_by_torch_loads_and_goes_back(
    name: str, options: dict[str, Any], more: dict[str, Any], tmp_path: Path
) -> None:
    torch = peers.need("torch")
    safe = peers.need("safetensors.torch")
    torch.manual_seed(0)
    module = getattr(torch_models, name.removesuffix("_bn"))(torch, **options, **more).double()
    model = ar.nn.model(name, **options)
    x = np.random.default_rng(0).standard_normal((3, *model.in_shape))
    with torch.no_grad():
        module.train()(torch.tensor(x))  # moves running statistics
    path = tmp_path / "model.safetensors"
    safe.save_file(module.state_dict(), path)
    params = ar.load_model(model, path)
    assert list(params) == list(module.state_dict())
    wanted = module.eval()(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(model(params, x), wanted, rtol=0, atol=1e-10)
    params = {k: v * 1.5 if v.dtype.kind == "f" else v for k, v in params.items()}
    ar.save_model(model, params, tmp_path / "back.safetensors")
    module.load_state_dict(safe.load_file(tmp_path / "back.safetensors"), strict=True)
    wanted = module(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(model(params, x), wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_round_trip(suffix: str, tmp_path: Path) -> None:
    model = ar.nn.model("vgg16_bn", narrow=32, size=28)
    params = model.init(2)
    path = tmp_path / f"m{suffix}"
    ar.save_model(model, params, path)
    back = ar.load_model(model, path)
    assert same(back, params)
    assert list(back) == list(params)
    wide = ar.load_model(model, path, dtype="float64")
    assert wide["features.1.num_batches_tracked"].dtype == np.int64
    assert wide["features.0.weight"].dtype == np.float64
    with pytest.raises(OutputError, match="exists"):
        ar.save_model(model, params, path)
    ar.save_model(model, params, path, force=True)


def test_generated_weights_are_saved_expanded(tmp_path: Path) -> None:
    model = dense_model()
    net = ar.BrickWall((8, 16), 1)
    made = ar.Generated(model, {"fc1.weight": net})
    params = {**model.init(0), "fc1.weight": net.init(0, dtype="float32")}
    with pytest.raises(ParameterError, match="got a Generated: save_pretrained keeps the cores"):
        ar.save_model(made, params, tmp_path / "m.npz")  # type: ignore[arg-type]
    ar.save_model(made.model, made.expand(params), tmp_path / "m.npz")
    assert same(ar.load_model(model, tmp_path / "m.npz")["fc1.weight"], net.generate(params["fc1.weight"]))


def test_files_of_other_models(tmp_path: Path) -> None:
    model = dense_model()
    params = model.init(0)
    path = tmp_path / "m.npz"

    def refused(tensors: dict[str, Any], message: str, error: type[Exception] = ParameterError) -> None:
        write_tensors(path, tensors, {}, force=True)
        with pytest.raises(error, match=message):
            ar.load_model(model, path)

    fewer = {k: v for k, v in params.items() if k != "fc1.bias"}
    refused(fewer, r"does not hold this model's parameters: missing fc1.bias$")
    refused({**params, "fc9.bias": np.ones(2)}, "unknown fc9.bias$")
    many = {f"x{i}": np.ones(1) for i in range(7)}
    wrong = {"fc2.weight": np.ones((8, 7), "f4")}
    message = r"missing fc1.bias; unknown x0, x1, x2, x3, x4 and 2 more; fc2.weight has shape \(8, 7\), .* \(8, 8\)$"
    refused({**fewer, **many, **wrong}, message)
    refused({**params, "fc1.bias": np.ones(8, "f2")}, "fc1.bias has dtype float16; allowed: float32", DTypeError)
    assert ar.load_model(model, path, dtype="float32")["fc1.bias"].dtype == np.float32
    with pytest.raises(DTypeError, match="cast to float32 or float64, got 'float16'"):
        ar.load_model(model, path, dtype="float16")
    with pytest.raises(FileFormatError, match="there is no file"):
        ar.load_model(model, tmp_path / "none.safetensors")
    with pytest.raises(ParameterError, match=r"missing \['fc1.bias'\]"):
        ar.save_model(model, fewer, tmp_path / "bad.npz")
    assert not (tmp_path / "bad.npz").exists()


def test_the_file_says_it_is_torchs(tmp_path: Path) -> None:
    """Readers such as transformers' ask for this entry."""
    model = dense_model()
    ar.save_model(model, model.init(), tmp_path / "m.safetensors")
    assert TensorFile(tmp_path / "m.safetensors").metadata == {"format": "pt"}

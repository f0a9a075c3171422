"""ONNX: onnxruntime computes of an exported model what the model computes; weights written into files of others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import peers
import pytest
from small import dense_model, hide

import adntn_ref as ar
from adntn_ref.cli import main
from adntn_ref.compression import onnxfile
from adntn_ref.compression.onnxgraph import NODES
from adntn_ref.errors import (
    ArrayError,
    DTypeError,
    FileFormatError,
    MissingExtra,
    NothingSelected,
    OutputError,
    ParameterError,
    SpecError,
)
from adntn_ref.nn.description import LAYERS

onnx = peers.need("onnx")
runtime = peers.need("onnxruntime")


def moved(model: ar.Sequential, dtype: str = "float32") -> dict[str, Any]:
    """Parameters none of which is where it starts: biases, norms and running statistics too."""
    rng = np.random.default_rng(3)
    params = model.init(0, dtype)
    for name, value in params.items():
        if value.ndim == 1:
            spread = rng.uniform(0.5, 1.5, value.shape) if "var" in name else 0.3 * rng.standard_normal(value.shape)
            params[name] = (spread + (value if "var" not in name else 0.0)).astype(dtype)
    return params


def run(path: Path, x: np.ndarray) -> np.ndarray:
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"input": x})[0])


def check(model: Any, params: Any, path: Path, batch: int = 3, rtol: float = 1e-5) -> None:
    dense = getattr(model, "model", model)
    x = np.random.default_rng(4).standard_normal((batch, *dense.in_shape)).astype(np.float32)
    ar.export_onnx(model, params, path, force=True)
    expected = model(params, x)
    np.testing.assert_allclose(run(path, x), expected, rtol=0, atol=rtol * max(1.0, np.abs(expected).max()))


MODELS: list[tuple[str, dict[str, Any]]] = [
    ("fc2", {"hidden": 16}),
    ("lenet5", {}),
    ("lenet5_mpo", {"size": 32}),
    ("alexnet", {"narrow": 16}),
    ("alexnet", {"narrow": 16, "lrn": True, "size": 28}),
    ("zfnet", {"narrow": 16}),
    ("vgg16_bn", {"narrow": 16}),
    ("transformer", {"width": 16, "hidden": 24, "depth": 2}),
]


@pytest.mark.parametrize(("name", "options"), MODELS, ids=str)
def test_models_compute_the_same(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    model = ar.nn.model(name, **options)
    check(model, moved(model), tmp_path / "m.onnx")


def test_every_layer_has_nodes() -> None:
    assert set(NODES) == set(LAYERS.values())


FLAT: list[tuple[str, Any, tuple[int, ...]]] = [
    ("conv", ar.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2), (4, 7, 6)),
    ("conv without bias", ar.Conv2d(2, 3, 1, bias=False), (2, 3, 3)),
    ("max pool", ar.MaxPool((3, 2), (2, 1), (1, 0)), (2, 6, 5)),
    ("mean pool", ar.AvgPool((3, 2), (2, 1), (1, 1)), (2, 6, 5)),
    ("batch norm of vectors", ar.BatchNorm(5, eps=1e-3), (5,)),
    ("batch norm", ar.BatchNorm(3), (3, 2, 2)),
    ("layer norm", ar.LayerNorm(6, eps=1e-3), (4, 6)),
    ("response norm", ar.LocalResponseNorm(3, 0.5, 0.6, 1.5), (5, 2, 2)),
    ("dropout", ar.Dropout(0.5), (4,)),
    ("block", ar.EncoderLayer(6, 2, 5, "relu", 0.1), (4, 6)),
    ("block, norm first", ar.EncoderLayer(6, 3, 5, "gelu", norm_first=True, eps=1e-3), (4, 6)),
    *((name, ar.Activation(name), (3, 4)) for name in ar.ad.ACTIVATIONS),
]


@pytest.mark.parametrize(("what", "layer", "shape"), FLAT, ids=[what for what, *_ in FLAT])
def test_layers_compute_the_same(what: str, layer: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    model = ar.Sequential(shape, (("one", layer),))
    check(model, moved(model), tmp_path / "m.onnx", rtol=1e-6 if what != "sin" else 1e-5)


def test_any_batch_and_names(tmp_path: Path) -> None:
    model = ar.nn.model("transformer", width=8, hidden=8)
    path = tmp_path / "m.onnx"
    ar.export_onnx(model, model.init(0), path)
    for batch in (1, 7):
        check(model, model.init(0), path, batch)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    names = {tensor.name for tensor in proto.graph.initializer}
    assert set(model.param_shapes) <= names
    assert (proto.producer_name, proto.opset_import[0].version) == ("adntn_ref", 17)
    before = path.read_bytes()
    ar.export_onnx(model, model.init(0), path, force=True)
    assert path.read_bytes() == before


def test_generated_weights_are_folded(tmp_path: Path) -> None:
    net = ar.BrickWall((8, 16), 2)
    model = ar.Generated(dense_model(), {"fc1.weight": net})
    params = {**dense_model().init(0), "fc1.weight": net.init(1, "float32")}
    check(model, params, tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    np.testing.assert_array_equal(held["fc1.weight"], net.generate(params["fc1.weight"]))


def test_double_precision(tmp_path: Path) -> None:
    model = dense_model()
    params = moved(model, "float64")
    x = np.random.default_rng(0).standard_normal((2, 1, 4, 4))
    ar.export_onnx(model, params, tmp_path / "wide.onnx")
    np.testing.assert_allclose(run(tmp_path / "wide.onnx", x), model(params, x), rtol=0, atol=1e-13)
    ar.export_onnx(model, params, tmp_path / "cast.onnx", dtype="float32")
    np.testing.assert_allclose(run(tmp_path / "cast.onnx", x.astype(np.float32)), model(params, x), rtol=0, atol=1e-5)
    mixed = {**params, "fc1.bias": params["fc1.bias"].astype(np.float32)}
    with pytest.raises(DTypeError, match="one dtype, got float32 and float64; say which with dtype="):
        ar.export_onnx(model, mixed, tmp_path / "mixed.onnx")


class OfOurOwn(ar.Linear):
    pass


def test_what_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(layer: Any, shape: tuple[int, ...]) -> None:
        model = ar.Sequential(shape, (("one", layer),))
        ar.export_onnx(model, model.init(0), tmp_path / "m.onnx")

    with pytest.raises(SpecError, match=r"layer one, a OfOurOwn, cannot be exported to ONNX; allowed: Activation, Avg"):
        refused(OfOurOwn(3, 2), (3,))
    with pytest.raises(SpecError, match=r"an odd number of channels, got size 4 and inputs of shape \(5, 2, 2\)"):
        refused(ar.LocalResponseNorm(4), (5, 2, 2))
    with pytest.raises(SpecError, match="paddings below the window alone"):
        refused(ar.AvgPool(2, 1, 2), (2, 4, 4))
    model, params = dense_model(), dense_model().init(0)
    with pytest.raises(FileFormatError, match=r"must end in \.onnx"):
        ar.export_onnx(model, params, tmp_path / "m.pb")
    with pytest.raises(DTypeError, match="cast to float32 or float64, got 'float16'"):
        ar.export_onnx(model, params, tmp_path / "m.onnx", dtype="float16")
    with pytest.raises(ParameterError, match="missing"):
        ar.export_onnx(model, {}, tmp_path / "m.onnx")
    monkeypatch.setattr(onnxfile, "MAX_BYTES", 100)
    with pytest.raises(FileFormatError, match="at most 2 GiB of weights, these are 976 bytes"):
        ar.export_onnx(model, params, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
    hide(monkeypatch, "onnx")
    with pytest.raises(MissingExtra, match=r"adntn-ref\[onnx\]"):
        ar.export_onnx(model, params, tmp_path / "m.onnx")


# Weights written into a file


def test_weights_are_written_by_name(tmp_path: Path) -> None:
    model, params, others = dense_model(), dense_model().init(0), dense_model().init(1)
    ar.export_onnx(model, params, tmp_path / "a.onnx")
    new = {"fc2.weight": others["fc2.weight"], "fc3.bias": others["fc3.bias"] + 1}
    assert ar.update_onnx(tmp_path / "a.onnx", new, tmp_path / "b.onnx") == {"fc2.weight": [8, 8], "fc3.bias": [4]}
    x = np.random.default_rng(0).standard_normal((2, 1, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "b.onnx", x), model({**params, **new}, x), rtol=0, atol=1e-5)
    before = onnx.load(tmp_path / "a.onnx")
    after = onnx.load(tmp_path / "b.onnx")
    del before.graph.initializer[:], after.graph.initializer[:]
    assert before == after
    with pytest.raises(OutputError, match="exists already"):
        ar.update_onnx(tmp_path / "a.onnx", new, tmp_path / "b.onnx")


def test_torchs_own_files(tmp_path: Path) -> None:
    """A file written by hand the way torch's exporter does: a Gemm with transB, weights as float_data."""
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = onnx.helper.make_tensor("fc.weight", onnx.TensorProto.FLOAT, (2, 3), weight.ravel().tolist())
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gemm", ["input", "fc.weight"], ["y"], transB=1)],
        "torch",
        [value("input", onnx.TensorProto.FLOAT, ["n", 3])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 2])],
        [tensor],
    )
    opsets = [onnx.helper.make_opsetid("", 13)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=7), tmp_path / "a.onnx")
    ar.update_onnx(tmp_path / "a.onnx", {"fc.weight": 2 * weight}, tmp_path / "b.onnx")
    np.testing.assert_array_equal(run(tmp_path / "b.onnx", np.eye(3, dtype=np.float32)), 2 * weight.T)


def test_what_does_not_fit(tmp_path: Path) -> None:
    model, params = dense_model(), dense_model().init(0)
    source, out = tmp_path / "a.onnx", tmp_path / "b.onnx"
    ar.export_onnx(model, params, source)
    with pytest.raises(NothingSelected, match=r"has no initializer 'fc9.weight'; it has fc1.weight"):
        ar.update_onnx(source, {"fc9.weight": np.ones(3)}, out)
    with pytest.raises(ArrayError, match=r"fc2.weight of .* has shape \(8, 8\), got \(3,\)"):
        ar.update_onnx(source, {"fc2.weight": np.ones(3, np.float32)}, out)
    with pytest.raises(DTypeError, match="is float32, got float64; cast it first"):
        ar.update_onnx(source, {"fc2.weight": np.ones((8, 8))}, out)
    with pytest.raises(FileFormatError, match="cannot be read: No such file"):
        ar.update_onnx(tmp_path / "none.onnx", {}, out)
    whole = source.read_bytes()
    for broken in (b"\xff" * 30, whole[: len(whole) // 2], b""):
        source.write_bytes(broken)
        with pytest.raises(FileFormatError, match="is no readable ONNX file"):
            ar.update_onnx(source, {}, out)
    source.write_bytes(whole)
    proto = onnx.load(source)
    proto.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    source.write_bytes(proto.SerializeToString())
    with pytest.raises(FileFormatError, match=r"keeps fc1.weight in a file beside it"):
        ar.update_onnx(source, {}, out)
    assert not out.exists()


# From the command line


def test_folders_and_files_are_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ar.nn.model("lenet5")
    params = moved(model)
    x = np.random.default_rng(0).standard_normal((2, 1, 28, 28)).astype(np.float32)
    net = ar.MPO((84, 120), 3)
    generated = ar.Generated(model, {"fc2.weight": net})
    cores = {**params, "fc2.weight": net.init(0, "float32")}
    ar.save_pretrained(generated, cores, tmp_path / "folder")
    ar.save_model(model, params, tmp_path / "dense.npz")
    folder, small, dense = (str(tmp_path / name) for name in ("folder", "folder/model.safetensors", "dense.npz"))
    named = ["--model", "lenet5", "--set", "size=28"]
    for source, more, wanted in ((folder, [], cores), (small, named, cores), (dense, named, params)):
        assert main(["export", source, *more, "-o", str(tmp_path / "m.onnx"), "--force", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["parameters"] == list(params)
        expected = generated(wanted, x) if wanted is cores else model(wanted, x)
        np.testing.assert_allclose(run(tmp_path / "m.onnx", x), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert main(["export", folder, "--into", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "n.onnx"), "--quiet"]) == 0
    expected = generated({**params, "fc2.weight": cores["fc2.weight"]}, x)
    np.testing.assert_allclose(run(tmp_path / "n.onnx", x), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("more", "phrase"),
    [
        ([], "d.npz does not say what the model is: name it with --model, one of "),
        (["--set", "size=28"], "--set goes with --model"),
        (["--model", "resnet"], "no model is called 'resnet'"),
        (["--model", "lenet5", "--set", "size"], "--set takes KEY=VALUE, got 'size'"),
        (["--model", "lenet5", "--set", "depth=3"], "unexpected keyword argument 'depth'"),
        (["--model", "lenet5", "--set", "size=large"], "got 'large'"),
        (["--model", "lenet5", "--set", f"size={'[' * 10**5}"], "pixels a side, got '[[[["),
        (["--model", "lenet5", "--set", f"size={'[' * 200}1{']' * 200}"], "pixels a side, got '[[[["),
        (
            ["--model", "transformer", "--set", "depth=1000000000000"],
            "at most 1,000 blocks, got a depth of 1000000000000",
        ),
        (["--model", "lenet5"], "does not hold this model's parameters"),
        (["--into", "a.onnx", "--model", "lenet5"], "leave --model and --set out"),
        (["--into", "a.onnx"], "holds no generated weights"),
    ],
)
def test_usage(more: list[str], phrase: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ar.save_model(dense_model(), dense_model().init(0), tmp_path / "d.npz")
    assert main(["export", str(tmp_path / "d.npz"), *more, "-o", str(tmp_path / "m.onnx")]) == 2
    assert phrase in capsys.readouterr().err

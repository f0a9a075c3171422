"""Models in folders, config and weights: there and back, dense and generated, and configs that lie."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import dense_model, same
from test_sources import NAMES

import adntn_ref as ar
from adntn_ref.cli import main
from adntn_ref.compression.pretrained import CONFIG
from adntn_ref.compression.sources import INDEX, SINGLE
from adntn_ref.compression.tensorfile import TensorFile, write_tensors
from adntn_ref.errors import AdntnError, DTypeError, FileFormatError, OutputError, ParameterError, SpecError
from adntn_ref.nn.description import LAYERS, describe, model_from
from adntn_ref.nn.zoo import MODELS

NET = ar.BrickWall((8, 16), 2)
GENERATED = ar.Generated(dense_model(), {"fc1.weight": NET})


def cores(dtype: str = "float32") -> dict[str, Any]:
    return {**dense_model().init(0, dtype), "fc1.weight": NET.init(1, dtype)}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_described(name: str) -> None:
    options: dict[str, Any] = {"narrow": 32} if name in ("alexnet", "zfnet", "vgg16", "vgg16_bn") else {}
    model = ar.nn.model(name, **options)
    assert model_from(json.loads(json.dumps(describe(model)))) == model


def test_every_layer_is_described() -> None:
    layers = (
        ("conv", ar.Conv2d(2, 4, (3, 2), (2, 1), 1, 1, 2, False)),
        ("bn", ar.BatchNorm(4, 1e-3, 0.2)),
        ("max", ar.MaxPool(2, 1, 1)),
        ("mean", ar.AvgPool((1, 2))),
        ("lrn", ar.LocalResponseNorm(3, 0.1, 0.5, 2.0)),
        ("drop", ar.Dropout(0.25)),
        ("name", ar.Activation("gelu")),
        ("tokens", LAYERS["Tokens"]()),
        ("norm", ar.LayerNorm(4, 1e-6)),
    )
    model = ar.Sequential((2, 8, 8), layers)
    assert model_from(json.loads(json.dumps(describe(model)))) == model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dense_models_come_back(dtype: str, tmp_path: Path) -> None:
    model = ar.nn.model("vgg16_bn", narrow=32, size=28)
    params = model.init(0, dtype)
    ar.save_pretrained(model, params, tmp_path / "a" / "b")
    back, read = ar.load_pretrained(tmp_path / "a" / "b")
    assert back == model
    assert same(read, params)
    assert list(read) == list(model.state_shapes)
    assert ar.load_pretrained(tmp_path / "a" / "b", "float64")[1]["features.0.weight"].dtype == "float64"
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == [CONFIG, SINGLE]


def test_generated_models_come_back_as_cores(tmp_path: Path) -> None:
    params = cores()
    ar.save_pretrained(GENERATED, params, tmp_path, seed=3)
    back, read = ar.load_pretrained(tmp_path)
    assert back == GENERATED
    assert same(read, params)
    x = np.random.default_rng(0).standard_normal((2, 1, 4, 4)).astype(np.float32)
    assert same(back(read, x), GENERATED(params, x))
    assert ar.load_compressed(tmp_path / SINGLE).header["seed"] == 3
    with pytest.raises(DTypeError, match="holds cores, which stay what they are; got dtype='float64'"):
        ar.load_pretrained(tmp_path, "float64")


def test_shards_in_a_folder_are_read(tmp_path: Path) -> None:
    model, params = dense_model(), dense_model().init(0)
    ar.save_pretrained(model, params, tmp_path)
    where = {name: NAMES[k % 2] for k, name in enumerate(params)}
    for shard in NAMES:
        write_tensors(tmp_path / shard, {k: v for k, v in params.items() if where[k] == shard}, {})
    (tmp_path / SINGLE).unlink()
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": where}))
    back, read = ar.load_pretrained(tmp_path)
    assert back == model
    assert same(read, params)


def test_a_folder_that_is_taken(tmp_path: Path) -> None:
    model, params = dense_model(), dense_model().init(0)
    ar.save_pretrained(model, params, tmp_path)
    before = (tmp_path / SINGLE).read_bytes()
    with pytest.raises(OutputError, match=r"model.safetensors exists already"):
        ar.save_pretrained(model, dense_model().init(1), tmp_path)
    assert (tmp_path / SINGLE).read_bytes() == before
    ar.save_pretrained(model, dense_model().init(1), tmp_path, force=True)
    assert (tmp_path / SINGLE).read_bytes() != before
    (tmp_path / SINGLE).unlink()
    with pytest.raises(OutputError, match=r"config.json exists already"):
        ar.save_pretrained(model, params, tmp_path)
    assert not (tmp_path / SINGLE).exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file cannot be made"):
        ar.save_pretrained(model, params, tmp_path / "file")


class OfOurOwn(ar.Linear):
    pass


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    own = ar.Sequential((3,), (("fc", OfOurOwn(3, 2)),))
    with pytest.raises(SpecError, match="layer fc is a OfOurOwn; a description may hold Linear, Conv2d"):
        ar.save_pretrained(own, own.init(0), tmp_path / "a")
    with pytest.raises(ParameterError, match="missing"):
        ar.save_pretrained(dense_model(), {}, tmp_path / "a")
    with pytest.raises(ParameterError, match="missing"):
        ar.save_pretrained(GENERATED, {}, tmp_path / "a")
    assert not (tmp_path / "a").exists()


# Configs that lie


def config(**facts: Any) -> dict[str, Any]:
    known = {"model_type": "adntn_ref", "format_version": 1, **describe(dense_model())}
    return {key: value for key, value in {**known, **facts}.items() if value is not ...}


def layer(**facts: Any) -> dict[str, Any]:
    return {"layers": [{"name": "fc", **facts}], "in_shape": [3]}


LIES: list[tuple[Any, str]] = [
    (config(model_type="bert"), "a model of type 'bert', which this package cannot run; adntn-ref compress reads"),
    (config(model_type=...), "a model of type None"),
    (config(format_version=2), "format version 2; this release"),
    (config(format_version="1"), "format version '1'"),
    (config(format_version=True), "format version True"),
    (config(format_version=...), "format version None"),
    ([], "is no config: it holds a list"),
    (config(in_shape=...), "in_shape of a model must be a list of integers >= 1, got None"),
    (config(in_shape=[0]), r"integers >= 1, got \[0\]"),
    (config(in_shape=[True]), r"integers >= 1, got \[True\]"),
    (config(layers=...), "layers of a model must be a list"),
    (config(layers=[3]), "layer 0 must be a table with a name and a kind of Linear"),
    (config(**layer(kind="os.system")), "layer 0 must be a table with a name and a kind"),
    (config(**layer(kind="Linear", inputs=3)), r"layer 'fc', Linear: unknown \[\], missing \['outputs'\]"),
    (config(**layer(kind="Linear", inputs=3, outputs=2, x=1)), r"unknown \['x'\]"),
    (config(**layer(kind="Linear", inputs=3, outputs="2")), "outputs must be int, got '2'"),
    (config(**layer(kind="Linear", inputs=3, outputs=True)), "outputs must be int, got True"),
    (config(**layer(kind="Linear", inputs=3, outputs=2, bias=1)), "bias must be bool, got 1"),
    (config(**layer(kind="Dropout", p="much")), "p must be float, got 'much'"),
    (config(**layer(kind="Dropout", p=2)), r"layer 'fc': p of Dropout must be a number in \[0, 1\)"),
    (config(**layer(kind="MaxPool", kernel=[1, 2, 3])), r"kernel must be int \| tuple\[int, int\], got"),
    (config(**layer(kind="Linear", inputs=4, outputs=2)), "takes vectors of 4, got shape"),
    (config(**layer(kind="Activation", activation="softsign")), "no activation is called 'softsign'"),
]


@pytest.mark.parametrize(("text", "phrase"), LIES, ids=[phrase[:40] for _, phrase in LIES])
def test_configs_that_lie(text: Any, phrase: str, tmp_path: Path) -> None:
    ar.save_pretrained(dense_model(), dense_model().init(0), tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps(text))
    with pytest.raises(FileFormatError, match=phrase):
        ar.load_pretrained(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff"])
def test_broken_configs(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileFormatError, match=r"config.json is no readable config: FileNotFoundError"):
        ar.load_pretrained(tmp_path)
    (tmp_path / "weights.npz").touch()
    with pytest.raises(FileFormatError, match=r"weights.npz is a file of weights, .* give a folder with a config.json"):
        ar.load_pretrained(tmp_path / "weights.npz")
    (tmp_path / CONFIG).write_bytes(text.encode("latin1"))
    with pytest.raises(FileFormatError, match=r"config.json is no readable config"):
        ar.load_pretrained(tmp_path)
    monkeypatch.setattr("adntn_ref.compression.pretrained.MAX_CONFIG", -1)
    with pytest.raises(FileFormatError, match="larger than a config may be"):
        ar.load_pretrained(tmp_path)


def test_weights_of_another_model(tmp_path: Path) -> None:
    ar.save_pretrained(dense_model(), dense_model().init(0), tmp_path)
    (tmp_path / CONFIG).write_text(json.dumps(config(**layer(kind="Linear", inputs=3, outputs=2))))
    with pytest.raises(ParameterError, match=r"missing fc.weight, fc.bias; unknown fc1.bias"):
        ar.load_pretrained(tmp_path)
    entry = ar.Entry(ar.BrickWall((16, 8), 1), ar.BrickWall((16, 8), 1).init(0), {}, (1, 0))
    rest = {k: v for k, v in dense_model().init(0).items() if k != "fc1.weight"}
    ar.save_compressed(tmp_path / SINGLE, {"fc1.weight": entry}, rest, seed=0, force=True)
    (tmp_path / CONFIG).write_text(json.dumps(config()))
    with pytest.raises(ParameterError, match=r"fc1.weight has axes in another order"):
        ar.load_pretrained(tmp_path)


def test_a_folder_cut_anywhere_gives_one_error(tmp_path: Path) -> None:
    ar.save_pretrained(GENERATED, cores(), tmp_path)
    assert TensorFile(tmp_path / SINGLE).names
    for name in (CONFIG, SINGLE):
        whole = (tmp_path / name).read_bytes()
        for length in range(0, len(whole) - 1, max(1, len(whole) // 23)):
            (tmp_path / name).write_bytes(whole[:length])
            with pytest.raises(AdntnError):
                ar.load_pretrained(tmp_path)
        (tmp_path / name).write_bytes(whole)


# From the command line


def test_a_folder_is_compressed_into_a_folder(tmp_path: Path) -> None:
    params = dense_model().init(0)
    ar.save_pretrained(dense_model(), params, tmp_path / "big")
    source, small, back = (str(tmp_path / name) for name in ("big", "small", "back"))
    command = ["compress", source, "--layer", "fc1.weight", "--layers", "2", "--steps", "3", "--quiet", "-o", small]
    assert main(command) == 0
    model, cores = ar.load_pretrained(small)
    assert isinstance(model, ar.Generated)
    assert [name for name, _ in model.networks] == ["fc1.weight"]
    assert main(["expand", small, "-o", back, "--quiet"]) == 0
    dense, read = ar.load_pretrained(back)
    assert dense == dense_model()
    assert same(read, model.expand(cores))
    assert main(command) == 2
    assert main([*command, "--force"]) == 0


def test_a_config_of_others_goes_with_the_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "bert"
    source.mkdir()
    write_tensors(source / SINGLE, {"w": np.ones((4, 4), np.float32)}, {"format": "pt"})
    command = ["compress", str(source), "--layer", "w", "--layers", "1", "--steps", "1", "--quiet"]
    assert main([*command, "-o", str(tmp_path / "small")]) == 2
    assert "a folder is for models with a config.json" in capsys.readouterr().err
    (source / CONFIG).write_text('{"model_type": "bert", "hidden_size": 4}')
    assert main([*command, "-o", str(tmp_path / "small")]) == 0
    assert (tmp_path / "small" / CONFIG).read_bytes() == (source / CONFIG).read_bytes()
    assert list(ar.load_compressed(tmp_path / "small").entries) == ["w"]
    assert main(["info", str(tmp_path / "small"), "--quiet"]) == 0
    assert main([*command, "-o", str(tmp_path / "out.bin")]) == 2
    assert "must end in .safetensors or .npz" in capsys.readouterr().err

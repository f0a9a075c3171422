"""Configurations of experiments: what is read, refused, changed, shipped."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import adntn_ref as ar
from adntn_ref.errors import ConfigError
from adntn_ref.experiments.catalogue import DATA, MODELS, check_folder, make_model
from adntn_ref.experiments.choice import choice_of
from adntn_ref.experiments.config import config_of, read_config
from adntn_ref.experiments.plan import make_plan
from adntn_ref.experiments.shipped import find_config, names, overview, shipped_text
from adntn_ref.nn import data as sources

BASE: dict[str, Any] = {
    "title": "t",
    "model": {"name": "fc2"},
    "data": {"name": "digits"},
    "compress": {"layers": ["fc1.weight"]},
    "network": {"name": "brickwall", "layers": 2},
}


def changed(place: str, value: Any) -> dict[str, Any]:
    """BASE with one value, a dotted place; ``...`` takes the key away."""
    facts: dict[str, Any] = {key: dict(v) if isinstance(v, dict) else v for key, v in BASE.items()}
    *tables, key = place.split(".")
    here = facts
    for name in tables:
        here = here.setdefault(name, {})
    if value is ...:
        del here[key]
    else:
        here[key] = value
    return facts


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("title", ..., "the configuration lacks title"),
        ("title", 3, "title must be a text, got 3"),
        ("extra", 1, "the configuration has no extra; allowed: model, data, compress"),
        ("model.name", "resnet", "model.name: no model is called 'resnet'; allowed: fc2, lenet5"),
        ("model.depth", 3, "model has no depth; allowed: name, options"),
        ("model.options", 3, "model.options must be a table, got 3"),
        ("model", "fc2", "model must be a table, got 'fc2'"),
        ("data.name", "imagenet", "data.name: no data set is called 'imagenet'; allowed: digits"),
        ("data.train", 0, "data.train must be an integer >= 1, got 0"),
        ("compress.layers", [], "compress.layers must name at least one weight"),
        ("compress.layers", "fc1.weight", "compress.layers must be a list of names"),
        ("compress.layers", ["a", "a"], "compress.layers has a name twice"),
        ("network.name", "peps", "network.name: no network is called 'peps'; allowed: brickwall, ttn"),
        ("network.chi", 3, "network has no chi; allowed: name, row, parameters, parts, combine, layer, layers"),
        ("network.layers", ..., "network needs layers or parameters"),
        ("network.parameters", 100, "network has both layers and parameters; give one"),
        ("network.parts", 0, "network.parts must be an integer >= 1"),
        ("network.combine", "stack", "no way to combine is called 'stack'; allowed: split, sum"),
        ("network.row", "a/b", "network.row must consist of letters"),
        ("network.row", "mpo", "rows need different names, got mpo, mpo"),
        ("network.row", "dense", "rows need different names"),
        ("network.layer", {"fc1.weight": {"chi": 2}}, "network.layer.fc1.weight has no chi"),
        ("network", {"layers": 2}, "network must be a table with a name, one of brickwall"),
        ("rivals", {"name": "mpo"}, r"rivals must be tables \[\[rivals\]\]"),
        ("seeds", [], "seeds must be a list of integers >= 0, got"),
        ("seeds", [1, 1], "seeds must be different"),
        ("seeds", [True], "seeds must be a list of integers >= 0"),
        ("dtype", "float16", "no dtype is called 'float16'; allowed: float32, float64"),
        ("dense.epochs", 1.5, "dense.epochs must be an integer >= 1, got 1.5"),
        ("dense.rate", -1, "dense.rate must be a positive number, got -1"),
        ("stage1.objective", "hinge", "no objective is called 'hinge'; allowed: euclidean, outputs, logits, none"),
        ("stage1.optimiser", "rmsprop", "no optimiser is called 'rmsprop'; allowed: adam"),
        ("stage2.cores_rates", [], "stage2.cores_rates must be a list of different positive numbers"),
        ("stage2.cores_rates", [0.1, 0.1], "stage2.cores_rates must be a list of different positive numbers"),
        ("stage2.cores_rates", [0.1, float("nan")], r"stage2.cores_rates\[1\] must be a positive number, got nan"),
        ("stage2.warmup_epochs", -1, "stage2.warmup_epochs must be a positive number"),
        ("stage2.epochs", -1, "stage2.epochs must be an integer >= 0, got -1"),
        ("stage2.loss", "hinge", "stage2.loss: no loss is called 'hinge'; allowed: labels, distil"),
        ("stage2.labels_per_class", 0, "stage2.labels_per_class must be an integer >= 1, got 0"),
        ("stage2.order", "random", "no order is called 'random'; allowed: layer_by_layer, together"),
        ("published", {"accuracy": 90}, "published lacks source"),
        ("quick", {"title": "x"}, "quick has no title"),
    ],
)
def test_refused(place: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(changed(place, value))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("compress.layers", ["conv*"], "the model fc2: 'conv\\*' matches none of: fc1.weight, fc2.weight"),
        ("stage2.frozen", ["conv*"], "the model fc2: 'conv\\*' matches none"),
        ("network.layer", {"fc2.weight": {"layers": 1}}, "brickwall.layer: fc2.weight is not compressed"),
        ("network", {"name": "mpo", "chi": 2, "row": "a", "row_modes": [3]}, "a cannot make fc1.weight: "),
        ("network", {"name": "brickwall", "parameters": 5}, "brickwall cannot make fc1.weight: even with layers = 1"),
        ("model.name", "lenet5", "the model lenet5 cannot be made for digits"),
        (
            "data.name",
            "mnist",
            r"there is no folder data.mnist with the data set mnist; say where it is with data\.folder",
        ),
        ("model.options", {"hiden": 3}, "the model fc2 cannot be made for digits: .*hiden"),
        ("model", {"name": "vgg16"}, "the model vgg16 cannot be made for digits"),
        ("data.folder", "/", "digits comes with a package and takes no folder"),
    ],
)
def test_refused_by_the_plan(place: str, value: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sources.FOLDER_VARIABLE, "data")
    with pytest.raises(ConfigError, match=message):
        make_plan(config_of(changed(place, value)))


def test_folder_that_is_not_there() -> None:
    config = config_of(changed("data", {"name": "mnist", "folder": "/no/such"}))
    with pytest.raises(ConfigError, match="there is no folder /no/such with the data set mnist"):
        make_plan(config)
    assert make_plan(config, data_too=False).weights == 784 * 256


@pytest.mark.parametrize("content", ["title = ", "\xff", 'title = "a"\ntitle = "b"'])
def test_no_toml(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(content.encode("latin1"))
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        read_config(tmp_path / "x.toml")
    with pytest.raises(ConfigError, match="No such file"):
        read_config(tmp_path / "y.toml")


@pytest.mark.parametrize("name", names())
def test_shipped(name: str) -> None:
    config = find_config(name)
    assert config_of(config.to_dict()) == config
    assert tomllib.loads(shipped_text(name))["title"] == config.title
    plan = make_plan(config, data_too=False)
    own = plan.parameters(plan.row)
    assert 0 < own < plan.weights
    assert any(rival.name == "mpo" and rival.row == "mpo" for rival in config.rivals)
    for choice in config.rivals:
        if choice.parameters is None and not choice.entries:
            for weight in plan.layers:  # at equal count, weight by weight
                assert plan.networks[choice.row][weight].parameter_count <= (
                    plan.networks[plan.row][weight].parameter_count
                )
    quick = config.quicker()
    assert (quick.seeds, quick.quick, quick.published) == (config.seeds[:1], {}, None)
    assert quick.identity != config.identity
    make_plan(quick, data_too=False)


@pytest.mark.parametrize(
    ("name", "ours", "shallow"),
    [
        ("p1-fc2-mnist", [164, 104], [1024, 736]),
        ("p1-lenet5-mnist", [144, 124], [1792, 944]),
        ("p1-vgg16-cifar10", [200, 224], [1376, 2432]),
    ],
)
def test_papers_counts(name: str, ours: list[int], shallow: list[int]) -> None:
    """One layer of bricks a weight (VGG-16: P1's 424), and the MPOs of Gao et al."""
    plan = make_plan(find_config(name), data_too=False)
    counts = {row: [net.parameter_count for net in networks.values()] for row, networks in plan.networks.items()}
    assert (counts["brickwall"], counts["mpo-gao"]) == (ours, shallow)


def test_overview_names_what_needs_a_folder() -> None:
    found = {row["name"]: row for row in overview()}
    assert not found["digits-fc2-brickwall"]["needs_folder"]
    assert found["p1-fc2-mnist"]["needs_folder"]
    assert found["p1-fc2-mnist"]["ratio"] == 203264 / 268


def test_find_config_says_what_there_is() -> None:
    with pytest.raises(ConfigError, match="no file and no shipped experiment is called 'nope'; shipped: alexnet-"):
        find_config("nope")


def test_identity_is_of_what_decides_the_result() -> None:
    config = config_of(BASE)
    for place, value in (("title", "other"), ("about", "x"), ("published", {"source": "p"}), ("quick", {"seeds": [1]})):
        assert config_of(changed(place, value)).identity == config.identity
    with_folder = config_of(changed("data", {"name": "mnist", "folder": "a"}))
    assert with_folder.identity == config_of(changed("data", {"name": "mnist", "folder": "b"})).identity
    for place, value in (("seeds", [1]), ("stage2.epochs", 4), ("network.layers", 3), ("rivals", []), ("data.test", 9)):
        assert config_of(changed(place, value)).identity != config.identity


def test_changes() -> None:
    config = config_of(changed("network.layout", "interleaved"))
    assert config.with_changes({"network": {"layers": 5}}).network.entries == {"layers": 5, "layout": "interleaved"}
    assert config.with_changes({"network": {"name": "mpo", "chi": 2, "row": "m"}}).network.entries == {"chi": 2}
    assert config.with_changes({"stage2": {"epochs": 2}}).stage2.epochs == 2
    with pytest.raises(ConfigError, match="stage2 has no epoch"):
        config.with_changes({"stage2": {"epoch": 2}})
    quick = config_of(changed("quick", {"dense": {"epochs": 9}, "seeds": [7]})).quicker()
    assert (quick.dense.epochs, quick.seeds, quick.stage2.epochs, quick.data.train) == (9, (7,), 3, 1000)


def test_several_networks_a_weight() -> None:
    for combine, kind in (("split", ar.Split), ("sum", ar.Sum)):
        table = {"name": "brickwall", "layers": 1, "parts": 3, "combine": combine}
        network = choice_of("network", table, True).network("w", (12, 8))
        assert isinstance(network, kind)
        assert network.placement.shape == (12, 8)
        assert len(network._parts) == 3
    limited = choice_of("network", {"name": "mpo", "parts": 2}).network("w", (12, 8), 200)
    assert limited.parameter_count <= 200
    assert choice_of("network", {"name": "mpo", "parts": 2}).label == "mpo at equal count, split of 2"
    with pytest.raises(ConfigError, match="has neither chi nor parameters"):
        choice_of("network", {"name": "mpo"}).network("w", (12, 8))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", DATA)
def test_catalogue(name: str, model: str) -> None:
    """Every model takes the images of every data set, or says that it does not."""
    colours = DATA[name].in_shape[0]
    if (name == "digits" and model not in ("fc2", "transformer")) or (colours == 3 and model == "fc2"):
        with pytest.raises(ConfigError, match=f"the model {model}"):
            make_model(model, name)
    else:
        made = make_model(model, name)
        assert (made.in_shape, made.out_shape) == (DATA[name].in_shape, (DATA[name].classes,))
    assert name in sources.NAMES
    with pytest.raises(ConfigError, match=r"there is no folder|takes no folder"):
        check_folder(name, "/no/such/folder")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(("title", "model", "data", "compress", "network", "rivals", "name", "layers", "seeds")),
                x,
            )
        ),
    )
)
def test_anything_else_is_refused(facts: Any) -> None:
    """No input that is not an experiment gets through, or ends in another error."""
    with pytest.raises(ConfigError):
        config_of(facts)

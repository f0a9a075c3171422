"""What a sweep is made of: its file, its results on disk, its choice of rates."""

from pathlib import Path

import pytest
from sweep_cases import BASE, SWEEP

from adntn_ref.errors import ConfigError, RecordError
from adntn_ref.experiments.results import Results
from adntn_ref.experiments.shipped import shipped_files
from adntn_ref.experiments.sweep import Sweep, read_sweep, summarise_sweep
from adntn_ref.networks.registry import NETWORKS
from adntn_ref.nn import data as sources

pytest_plugins = ["sweep_fixtures"]

COUNTS = {"lenet5": [1584, 2800], "fc2": [1252]}
"""Model -> the counts of its sweeps of all families, those of the brick-walls."""


def test_sweeps_without_end_are_refused_before_their_tasks_are_made(sweep: Sweep) -> None:
    assert len(sweep.tasks()) <= sweep.most_tasks < 100
    large = sweep.with_seeds(range(10**5))
    with pytest.raises(ConfigError, match=f"a sweep has at most 20,000 tasks, this one {large.most_tasks:,}"):
        large.tasks()


def test_rates_are_chosen_on_the_validation_part(sweep: Sweep) -> None:
    (tmp := sweep.with_seeds([0])).tasks()
    both = Sweep(tmp.title, tmp.base, tmp.layers[:1], tmp.networks[:1], tmp.seeds, (0.001, 0.1))
    results = {
        task.key: {"facts": {"validation_accuracy": score, "right": right, "test_images": 10}, "timing": {"seconds": 1}}
        for rate, score, right in ((0.001, 0.5, 9), (0.1, 0.6, 3))
        for task in (both.row_task(both.layers[0], both.networks[0], rate, 0),)
    }
    point = summarise_sweep(both, results)["points"][1]
    assert (point["cores_rate"], point["accuracy"]) == (0.1, 0.3)


@pytest.mark.parametrize("broken", ['{"a": 1}\n', "{\n", "[]\n", '{"key": 1}\n{"key": 1}\n', "\n"])
def test_broken_results(broken: str, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(broken)
    with pytest.raises(RecordError, match=r"line [12] of .* (is no result|a second time)"):
        Results(path)


def test_results(tmp_path: Path) -> None:
    results = Results(tmp_path / "r")
    results.add("a", {"x": 1})
    with pytest.raises(RecordError, match=r"the result of task a is in .* already"):
        results.add("a", {"x": 1})
    with (tmp_path / "r").open("ab") as stream:
        stream.write(b'{"key": "b"')
    size = (tmp_path / "r").stat().st_size
    assert Results(tmp_path / "r", read_only=True).found == {"a": {"key": "a", "x": 1}}
    assert (tmp_path / "r").stat().st_size == size
    assert Results(tmp_path / "r").found == {"a": {"key": "a", "x": 1}}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sizes = [1, 2]", "", r"networks\[0\] needs either sizes or parameters"),
        ("sizes = [1, 2]", "sizes = [1, 2]\nparameters = [3]", r"networks\[0\] needs either sizes or parameters"),
        ("sizes = [1, 2]", "sizes = [1, 0]", r"networks\[0\].sizes must be an integer >= 1, got 0"),
        ("sizes = [1, 2]", "sizes = [1, 1]", "networks: brickwall-1 is there twice"),
        ("sizes = [1, 2]", "sizes = [1]\nchi = 3", r"networks\[0\] has no chi"),
        ('name = "mpo"', 'name = "peps"', r"networks\[1\].name: no network is called 'peps'"),
        ("parameters = [100]", "parameters = [5]", "cannot make fc1.weight: even with chi = 1"),
        ("seeds = [0, 3]", "seeds = [0, 0]", "seeds must be different"),
        ("base.toml", "nope.toml", "no file and no shipped experiment is called 'nope.toml'"),
        ("layers = [[", "layers = []\nrest = [[", "the sweep has no rest"),
        ('layers = [["fc1.weight"], ["fc1.weight", "fc2.weight"]]', "layers = []", "layers must be a list of lists"),
        ("[[networks]]", "[more]", "the sweep has no more"),
        ('"fc2.weight"', '"conv1.weight"', "'conv1.weight' matches none of"),
        ("title", "name", "the sweep has no name"),
    ],
)
def test_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(BASE)
    assert old in SWEEP
    (tmp_path / "sweep.toml").write_text(SWEEP.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        read_sweep(tmp_path / "sweep.toml").tasks()


@pytest.mark.parametrize("networks", ["3", "[]", "[3]", '["mpo"]', "[{sizes = [1]}]", '[{name = "mpo", sizes = 3}]'])
def test_networks_of_other_kinds_are_refused(networks: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(f'title = "t"\nbase = "digits-fc2-ttn"\nnetworks = {networks}\n')
    with pytest.raises(ConfigError, match=r"networks(\[0\])? (must be|needs)"):
        read_sweep(tmp_path / "sweep.toml")


def test_ranks_may_be_lists(tmp_path: Path) -> None:
    table = '{name = "tucker", layout = "axes", row_modes = [16, 16], col_modes = [8, 8], sizes = [2, [2, 3, 2, 2]]}'
    (tmp_path / "sweep.toml").write_text(f'title = "t"\nbase = "digits-fc2-ttn"\nnetworks = [{table}]\n')
    sweep = read_sweep(tmp_path / "sweep.toml")
    assert [choice.row for choice in sweep.networks] == ["tucker-2", "tucker-2-3-2-2"]
    assert len(sweep.tasks()) > 4


def test_unknown_sweep() -> None:
    with pytest.raises(
        ConfigError, match="no file and no shipped sweep is called 'nope'; shipped: digits-fc2, fc2-fas"
    ):
        read_sweep("nope")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of the data sets that are files; a sweep's tasks need no more than that they are there."""
    for name in ("mnist", "fashion-mnist"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv(sources.FOLDER_VARIABLE, str(tmp_path))


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize("name", shipped_files("sweeps"))
def test_shipped_sweeps(name: str) -> None:
    sweep = read_sweep(name)
    assert len(sweep.tasks()) > 5
    assert len(sweep.quicker().tasks()) < len(sweep.tasks())


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize(
    ("name", "counts"),
    [(f"{model}-{data}-families", counts) for model, counts in COUNTS.items() for data in ("mnist", "fashion")],
)
def test_families_at_equal_count(name: str, counts: list[int]) -> None:
    """Every family is there at every count, and no network is above that of the brick-wall it stands beside."""
    found = dict.fromkeys(counts, frozenset[str]())
    for point in summarise_sweep(read_sweep(name), {})["points"]:
        if point["spec"]:
            count = min(count for count in counts if point["parameters"] <= count)
            assert point["parameters"] > 0.65 * count
            found[count] |= {point["network"]}
    assert all(families == set(NETWORKS) for families in found.values())

"""Reports: one page that needs no network, opened in a browser, and its pictures as files."""

import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adntn_ref.cli import main
from adntn_ref.experiments import figures
from adntn_ref.experiments.choice import Choice
from adntn_ref.experiments.config import config_of
from adntn_ref.experiments.engine import run_sweep
from adntn_ref.experiments.plan import make_plan
from adntn_ref.experiments.record import read_record
from adntn_ref.experiments.run import run_experiment
from adntn_ref.experiments.sweep import Sweep

FACTS: dict[str, Any] = {
    "title": "A <small> experiment & its page",
    "seeds": [0, 1],
    "model": {"name": "fc2"},
    "data": {"name": "digits", "train": 200, "validation": 50, "test": 40},
    "compress": {"layers": ["fc1.weight", "fc2.weight"]},
    "network": {"name": "brickwall", "layers": 2},
    "dense": {"epochs": 1},
    "stage1": {"steps": 5},
    "stage2": {"epochs": 1, "epochs_between": 1, "cores_rates": [0.001, 0.01]},
    "published": {"source": "somebody", "accuracy": 91.74},
    "about": "What it is about.",
}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiment") / "run"
    run_experiment(config_of(FACTS), folder)
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "run"
    base = config_of({**FACTS, "seeds": [0]})
    choices = (
        Choice("ttn", "ttn-2", {"chi": 2}),
        Choice("mpo", "mpo-1", {"chi": 1}),
        Choice("mpo", "mpo-2", {"chi": 2}),
    )
    with ThreadPoolExecutor(1) as threads:
        run_sweep(Sweep("A sweep", base, (("fc1.weight",), ("fc2.weight",)), choices, (0,), (0.01,)), folder, threads)
    return folder


class Reader(HTMLParser):
    """Everything a page says, and whatever it would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.images: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attributes}
        self.links += [found[key] for key in ("href", "src", "srcset", "data") if key in found]
        if tag == "img":
            self.images.append((found["alt"], found["src"]))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf8"))
    assert reader.open == []
    return reader


def test_page_of_an_experiment(experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "r.html"
    assert main(["report", str(experiment), "-o", str(page), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"page": [str(page)], "pictures": []}
    found = read(page)
    assert len(found.images) == 9
    assert all(alt and link.startswith("data:image/svg+xml;base64,") for alt, link in found.images)
    assert all(link.startswith("data:") for link in found.links)
    assert not re.search(r"@import|url\(", page.read_text())
    for words in ("A <small> experiment & its page", "What it is about.", "accuracy, %: 91.74", "frozen at random",
                  "chosen on the validation part", '"cores_rates"', "Mflop forward"):  # fmt: skip
        assert words in found.words
    result = read_record(experiment).result
    assert result is not None
    for row in result["rows"]:
        assert row["label"] in found.words
        assert f"{100 * row['accuracy']:.1f}" in found.words
    assert main(["report", str(experiment), "-o", str(page)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_page_of_a_sweep(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--pictures", str(tmp_path / "p"), "--svg", "--json"]
    assert main(["report", str(sweep), "-o", str(tmp_path / "s.html"), *more]) == 0
    written = json.loads(capsys.readouterr().out)["pictures"]
    names = {"pareto-0", "pareto-1", "seconds-0", "seconds-1", "network-ttn", "network-mpo"}
    assert {Path(path).name for path in written} == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert all(Path(path).read_bytes()[:4] in (b"\x89PNG", b"<?xm") for path in written)
    found = read(tmp_path / "s.html")
    assert len(found.images) == 2 * 2 + 2  # accuracy and seconds for both sets of layers, a network of each family
    assert "mpo 2" in found.words
    before = (tmp_path / "s.html").read_bytes()
    assert main(["report", str(sweep), "-o", str(tmp_path / "s.html"), "--force", "--quiet"]) == 0
    assert (tmp_path / "s.html").read_bytes() == before  # the same record gives the same page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
@pytest.mark.parametrize("kind", ["experiment", "sweep"])
def test_opened_in_a_browser(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Every picture is decoded, nothing is fetched, nothing runs over the page's edge, and the console is silent."""
    folder = request.getfixturevalue(kind)
    assert main(["report", str(folder), "-o", str(tmp_path / "r.html"), "--quiet"]) == 0
    probe = """<script>addEventListener("load", () => { const images = [...document.images];
      document.body.dataset.seen = JSON.stringify({
        images: images.length, decoded: images.filter(i => i.complete && i.naturalWidth > 100).length,
        fetched: performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:")).length,
        wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        rows: document.querySelectorAll("tbody tr").length }); });</script></body>"""
    text = (tmp_path / "r.html").read_text(encoding="utf8")
    (tmp_path / "probed.html").write_text(text.replace("</body>", probe), encoding="utf8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
               "--disable-background-networking", "--disable-component-update", "--disable-sync",
               f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,900", "--virtual-time-budget=5000",
               "--enable-logging=stderr", "--dump-dom", f"file://{tmp_path / 'probed.html'}"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    match = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert match
    seen = json.loads(match[1].replace("&quot;", '"'))
    pictures = len(read(tmp_path / "r.html").images)
    assert seen["images"] == seen["decoded"] == pictures >= 6
    assert seen["fetched"] == 0
    assert seen["wider"] == 0
    assert seen["rows"] >= 4


def test_what_figures_show(experiment: Path) -> None:
    record = read_record(experiment)
    plan, result = make_plan(record.config), record.result
    assert result is not None
    rates = result["chosen_cores_rates"]
    weights = figures.draw_weights(plan, record, rates)
    for k in range(2):
        dense, made, difference = (axis.images[0].get_array() for axis in weights.axes[3 * k : 3 * k + 3])
        assert np.array_equal(difference, np.asarray(made) - np.asarray(dense))
    spectra = figures.draw_spectra(plan, record, rates)
    for axis, name in zip(spectra.axes, plan.layers, strict=True):
        assert [line.get_label() for line in axis.lines] == ["original", "brickwall 2", "mpo at equal count"]
        matrix = figures._weights(plan, record, rates)[name][0]
        small = (matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T).astype("float64")
        values = np.sqrt(np.linalg.eigvalsh(small @ small.T))[::-1]
        assert axis.lines[0].get_ydata() == pytest.approx(values / values[0], rel=1e-6)
    dead = figures.draw_dead(plan, record, rates)
    shares = record.read(f"seed0/brickwall-rate{rates['brickwall']:g}")["layers"]["fc1.weight"]
    assert [bar.get_height() for bar in dead.axes[0].patches] == [
        100 * shares[key]["layer0.activation"] for key in ("dead_share_start", "dead_share_stage1", "dead_share_stage2")
    ]
    pareto = figures.draw_pareto([{**row, "network": row["row"]} for row in result["rows"]], plan.weights, "")
    labels = [text.get_text() for text in pareto.axes[0].get_legend().get_texts()]
    assert f"dense: {100 * result['rows'][0]['accuracy']:.1f} %" in labels
    stage2 = figures.draw_stage2(plan, record, rates)
    assert len(stage2.axes[1].lines) == 4 * 2  # rows x seeds
    stage1 = figures.draw_stage1(plan, record, rates)
    loss = record.read(f"seed0/brickwall-rate{rates['brickwall']:g}")["layers"]["fc1.weight"]["stage1"]["loss"]
    assert stage1.axes[0].lines[0].get_ydata() == pytest.approx(np.sqrt(loss))


def test_pareto_front_is_what_nothing_beats() -> None:
    rng = np.random.default_rng(0)
    points = [(int(p), float(a)) for p, a in zip(rng.integers(1, 50, 60), rng.random(60).round(1), strict=True)]
    front = figures.pareto_front(points)
    beaten = [p for p in points if any(q[0] <= p[0] and q[1] >= p[1] and q != p for q in points)]
    assert set(front) == set(points) - set(beaten)


def test_networks_without_activations(tmp_path: Path) -> None:
    linear = config_of({**FACTS, "network": {"name": "tt", "chi": 2}, "rivals": [], "seeds": [0],
                        "stage1": {"steps": 2, "objective": "outputs"}})  # fmt: skip
    run_experiment(linear, tmp_path / "r")
    assert main(["report", str(tmp_path / "r"), "-o", str(tmp_path / "r.html"), "--quiet"]) == 0
    assert "no activation, so there are no dead entries" in read(tmp_path / "r.html").words


def test_refused(
    experiment: Path, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(experiment, "begun")
    (tmp_path / "begun/result.json").unlink()
    shutil.copytree(sweep, "swept")
    (tmp_path / "swept/summary.json").unlink()
    (tmp_path / "file").write_text("")
    for arguments, message in (
        (["."], "holds no experiment and no sweep"),
        (["nowhere"], "there is no folder nowhere"),
        (["begun"], "is not finished; run it again"),
        (["swept"], "has not ended once yet"),
        ([str(experiment), "--pictures", "file"], "file cannot be made"),
        ([str(experiment), "-o", "no/r.html", "--force"], "there is no folder no"),
    ):
        assert main(["report", "--force", *arguments]) == 2
        assert message in capsys.readouterr().err

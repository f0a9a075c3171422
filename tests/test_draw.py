"""Drawings of networks: every core once, bonds of the right sizes, in text and as pictures."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import adntn_ref as ar
from adntn_ref.cli import main
from adntn_ref.compression.files import Entry, save_compressed
from adntn_ref.experiments.scene import Layered, Line, scenes_of
from adntn_ref.experiments.scene_picture import MOST_PARTS, draw_network, network_figure
from adntn_ref.experiments.scene_text import network_text
from adntn_ref.networks.registry import NETWORKS
from adntn_ref.validation.strategies import networks

NETS: dict[str, ar.Network] = {
    "brickwall": ar.BrickWall((16, 16), 2),
    "odd": ar.BrickWall((512, 4096), 1),
    "trainable": ar.BrickWall((8, 16), 2, boundary="trainable", activation_every="column"),
    "ttn": ar.TTN((16, 16), 4),
    "node": ar.TTN((8, 8), 4, activation_site="node"),
    "two modes": ar.TTN((12, 20), 8, modes=(12, 20)),
    "attn": ar.ATTN((16, 16), 4),
    "mera": ar.MERA((12, 20), 8, modes=(3, 4, 5, 4)),
    "periodic": ar.MERA((8, 8), 4, periodic=True),
    "mpo": ar.MPO((784, 256), 4, (4, 7, 7, 4), (4, 4, 4, 4)),
    "one core": ar.MPO((4, 4), 2, (4,), (4,)),
    "tt": ar.TensorTrain((8, 8), 3),
    "lowrank": ar.LowRank((120, 84), 3),
    "cp": ar.CP((8, 8), 4),
    "tucker": ar.Tucker((12, 20), 3, modes=(12, 20)),
    "sum": ar.Sum(ar.MPO((4, 4), 1), ar.BrickWall((4, 4), 1)),
    "split": ar.Split((12, 8), 8, lambda shape: ar.BrickWall(shape, 1)),
    "stack": ar.Stack({"a": (2, 4), "b": (8,)}, ar.TTN((16,), 2)),
    "delta": ar.Delta(np.ones((4, 4)), ar.MPO((4, 4), 1), 0.5),
}


def test_all_networks_are_here() -> None:
    assert set(NETWORKS) <= {net.to_spec()["network"] for net in NETS.values()}


def cores_of(scene: Any) -> list[str]:
    if isinstance(scene, Layered):
        return [box.name for row in scene.rows for box in row.boxes if box.name is not None]
    hub = ["core"] if getattr(scene, "hub", "") == "core" else []
    return [*scene.names, *hub]


@given(networks())
def test_every_core_is_drawn_once(net: ar.Network) -> None:
    """And every index of a program's states stands somewhere, in order, with its size."""
    scenes = scenes_of(net)
    drawn = [core for scene in scenes for core in cores_of(scene)]
    names = [re.sub(r"^(\d+\.)+", "", name) for name in net.core_shapes]
    assert sorted(drawn) == sorted(names)
    for scene in scenes:
        if isinstance(scene, Layered):
            assert tuple(size for _, size in scene.rows[-1].bonds) == scene.modes
            for row in scene.rows:
                places = [x for x, _ in row.bonds]
                assert places == sorted(set(places))
                assert all(0 <= x <= len(scene.modes) - 1 for x in places)
    text = network_text(net)
    assert all(line == line.rstrip() for line in text.splitlines())
    network_text(net, ascii_only=True).encode("ascii")


def test_sizes_of_legs_are_the_cores_shapes() -> None:
    """A box's legs have the sizes that its core's axes have."""
    for net in NETS.values():
        for scene in scenes_of(net):
            if not isinstance(scene, Layered) or scene.note:
                continue
            below: dict[float, int] = {}
            for row in scene.rows:
                above = dict(row.bonds)
                for box in row.boxes:
                    if box.name is None:
                        continue
                    shapes = {re.sub(r"^(\d+\.)+", "", name): shape for name, shape in net.core_shapes.items()}
                    sizes = [above[x] for x in box.above] + [below[x] for x in box.below]
                    assert tuple(sizes) == shapes[box.name]
                below = above
    line = scenes_of(NETS["mpo"])[0]
    assert isinstance(line, Line)
    assert (line.bonds, line.legs) == ((4, 4, 4), ((4, 4), (7, 4), (7, 4), (4, 4)))


def test_text_of_a_brickwall() -> None:
    assert network_text(ar.BrickWall((8, 4), 2)).splitlines() == [
        "brickwall, 8 x 4: 32 weights from 104 numbers (ratio 0.3)",
        "",
        " 2   2   2   2   2   modes",
        " │   ╞═══╡   ╞═══╡   layer1.odd",
        " ╞═══╡   ╞═══╡   │   layer1.even",
        "∿∿∿∿∿∿∿∿∿∿∿∿∿∿∿∿∿∿∿  relu",
        " │   ╞═══╡   ╞═══╡   layer0.odd",
        " 2   2   2   2   2   bonds",
        " ╘═══╛   ╘═══╛   o   layer0.even",
    ]


def test_text_of_trees() -> None:
    assert network_text(ar.MERA((8, 8), 4, periodic=True)).splitlines()[2:] == [
        " 2   2   2   2   2   2   modes",
        " │   │   ╞═══╡   ╞═══╡   depth3.mix",
        " 2   2   2   2   2   2   bonds",
        " └─┬─┘   │   └─┬─┘   │   depth3.expand",
        "  ∿∿∿∿∿∿∿∿∿∿∿∿∿∿∿∿∿∿∿∿∿  tanh",
        "   ╡     ╞═════╡     ╞   depth2.mix (around the ends)",
        "   4     2     4     2   bonds",
        "   └──┬──┘     └──┬──┘   depth2.expand",
        "     ∿∿∿∿∿∿∿∿∿∿∿∿∿∿∿     tanh",
        "      4           4      bonds",
        "      ╘═══════════╛      depth1",
    ]
    assert network_text(NETS["node"]).endswith("tanh acts on the frame of every node, from the leaves down to the root")


def test_text_of_shallow_networks() -> None:
    assert network_text(NETS["tt"]).splitlines()[2:] == [
        " 2     2     2     2     2     2   modes",
        " │     │     │     │     │     │",
        "[0]─2─[1]─3─[2]─3─[3]─3─[4]─2─[5]",
    ]
    assert network_text(NETS["tucker"]).splitlines()[2:] == [
        "  12    20   modes",
        "  │     │",
        " [0]   [1]   factors",
        "  3     3    ranks",
        "  ╘═════╛    core",
    ]
    assert network_text(NETS["cp"]).splitlines()[-1] == "  └─────┴─────┴─────┴─────┴─────┘    sum over 4 terms"
    assert network_text(NETS["lowrank"]).splitlines()[-1] == "[left]─3─[right]"
    assert network_text(NETS["sum"]).startswith("sum, 4 x 4: 16 weights from 32 numbers (ratio 0.5)\n\npart 0: mpo")
    assert "added to a frozen weight W0" in network_text(NETS["delta"])


@pytest.mark.parametrize("name", NETS)
def test_pictures(name: str, tmp_path: Path) -> None:
    net = NETS[name]
    draw_network(net, tmp_path / "a.svg")
    draw_network(net, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    root = ElementTree.fromstring((tmp_path / "a.svg").read_text())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    scenes = scenes_of(net)
    figure = network_figure(net)
    assert len(figure.axes) == min(len(scenes), MOST_PARTS)
    for axis, scene in zip(figure.axes, scenes, strict=False):
        boxes = len(axis.patches) - 2 * ("periodic" in name)  # a core around the ends is two halves
        dots = sum(line.get_marker() == "o" for line in axis.lines)
        if isinstance(scene, Layered):
            activations = sum(row.kind == "activate" for row in scene.rows)
            single = sum(len(box.above) == 1 for row in scene.rows for box in row.boxes)
            wrapped = sum(box.wrapped for row in scene.rows for box in row.boxes)
            assert (boxes - activations + wrapped, dots) == (len(cores_of(scene)) - named_dots(scene), single)
        else:
            assert boxes == len(cores_of(scene))


def named_dots(scene: Layered) -> int:
    return sum(len(box.above) == 1 and box.name is not None for row in scene.rows for box in row.boxes)


def test_png(tmp_path: Path) -> None:
    draw_network(NETS["mera"], tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with pytest.raises(ar.errors.OutputError, match=r"must end in \.png, \.svg, \.pdf"):
        draw_network(NETS["mera"], tmp_path / "a.jpg")


@pytest.mark.parametrize("name", NETWORKS)
def test_command_line(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Its name alone draws a network."""
    assert main(["draw", name]) == 0
    assert capsys.readouterr().out.startswith(f"{name}, 16 x 16: 256 weights from")
    assert main(["draw", name, "-o", str(tmp_path / "x.svg"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["written"] == [str(tmp_path / "x.svg")]
    assert ar.from_spec(facts["networks"][0]["spec"]).placement.shape == (16, 16)


def test_options_and_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["draw", "brickwall", "--shape", "120", "84", "--layers", "3", "--ascii"]) == 0
    shown = capsys.readouterr().out
    assert "540 numbers" in shown
    shown.encode("ascii")
    spec = tmp_path / "net.json"
    spec.write_text(json.dumps(NETS["sum"].to_spec()))
    assert main(["draw", str(spec)]) == 0
    assert capsys.readouterr().out.startswith("sum, 4 x 4")
    entries = {name: Entry(NETS[name], NETS[name].init(0)) for name in ("tt", "mera")}
    save_compressed(tmp_path / "m.npz", entries, {}, seed=0)
    assert main(["draw", str(tmp_path / "m.npz")]) == 0
    assert "mera: mera, 12 x 20" in capsys.readouterr().out
    assert main(["draw", str(tmp_path / "m.npz"), "-o", str(tmp_path / "p.png")]) == 0
    assert f"written: {tmp_path / 'p-mera.png'}, {tmp_path / 'p-tt.png'}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["peps"], "no file and no network is called 'peps'; networks: brickwall"),
        (["bad.json"], "bad.json is no JSON file"),
        (["list.json"], "a specification is a dict, got a list"),
        (["mera", "--layers", "2"], "a mera has no entries layers"),
        (["mera", "-o", "x.jpg"], "x.jpg must end in .png, .svg, .pdf"),
        (["mera", "-o", "bad.json"], "bad.json exists already"),
        (["mera", "-o", "no/x.png"], "there is no folder no"),
    ],
)
def test_refused(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    assert main(["draw", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.json", "list.json"]

"""``adntn-ref compress`` with the other optimisers of stage 1."""

import json
from pathlib import Path

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.cli import main


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "w.npz", a=rng.standard_normal((6, 4)), b=rng.standard_normal((4, 4)).astype("f4"))
    return tmp_path / "w.npz"


def run(weights: Path, *more: str) -> int:
    out = str(weights.parent / "out.npz")
    return main(["compress", str(weights), "--layer", "*", "-o", out, "--force", "--json", "--seed", "3", *more])


def test_compress_is_the_fit(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, options in (
        (("--optimiser", "als", "--network", "mpo", "--chi", "2"), {"optimiser": "als"}),
        (("--optimiser", "lbfgs", "--layers", "2", "--restarts", "3"), {"optimiser": "lbfgs", "restarts": 3}),
        (("--layers", "2"), {"steps": 500}),
        (("--layers", "2", "--steps", "7", "--rate", "0.1"), {"steps": 7, "rate": 0.1}),
        (("--layers", "2", "--steps", "7", "--start-share", "0.5"), {"steps": 7, "start_share": 0.5}),
    ):
        assert run(weights, *more) == 0
        rows = json.loads(capsys.readouterr().out)["layers"]
        for k, (row, target) in enumerate(zip(rows, np.load(weights).values(), strict=True)):
            net = ar.MPO(target.shape, 2) if "mpo" in more else ar.BrickWall(target.shape, 2)
            result = ar.fit(net, target, rng=3 + k, **options)
            assert row["relative_error"] == result.relative_error
            read = ar.load_compressed(weights.parent / "out.npz")
            assert list(read.entries.values())[k].info["seed"] == result.seed


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--optimiser", "als", "--layers", "2"), "optimiser='als' needs a weight that is linear in each core"),
        (("--optimiser", "lbfgs", "--rate", "0.1", "--layers", "2"), "optimiser='lbfgs' takes no rate"),
        (("--restarts", "0", "--layers", "2"), "restarts must be an integer >= 1, got 0"),
    ],
)
def test_refused(more: tuple[str, ...], message: str, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(weights, *more) == 2
    assert message in capsys.readouterr().err
    assert not (weights.parent / "out.npz").exists()

"""The command line: what it prints, what it returns, and what it refuses before any work."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import hide, same

import adntn_ref as ar
from adntn_ref.cli import commands, main
from adntn_ref.cli.output import Output, size
from adntn_ref.compression.tensorfile import TensorFile, write_tensors
from adntn_ref.program.memory import LIMIT_VARIABLE

COMMANDS = ("demo", "compress", "expand", "cost", "info", "data", "sweep", "report", "draw")


def model() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    tensors: dict[str, np.ndarray] = {
        "fc1.weight": rng.standard_normal((6, 8)).astype("f4"),
        "fc2.weight": rng.standard_normal((4, 6)),
        "conv.weight": rng.standard_normal((4, 2, 3, 3)).astype("f4"),
        "fc1.bias": rng.standard_normal(6).astype("f4"),
        "three": np.ones((2, 2, 2)),
        "empty": np.ones((0, 4)),
        "whole": np.ones((4, 4), np.int64),
        "half": np.ones((4, 4), np.float16),
        "steps": np.array(12),
    }
    tensors["nan"] = tensors["fc2.weight"].copy()
    tensors["nan"][1, 2] = np.nan
    tensors["zero"] = np.zeros((4, 4))
    return tensors


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_tensors(path, model(), {"epoch": "3"})
    return path


def compress(source: Path, out: Path, *more: str) -> list[str]:
    return ["compress", str(source), "--layers", "1", "--steps", "15", "-o", str(out), *more]


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_compress_and_expand(suffix: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, dense = tmp_path / f"small.{suffix}", tmp_path / f"dense.{suffix}"
    assert main(compress(source, small, "--layer", "fc*.weight", "--layer", "conv.*", "--seed", "4", "--json")) == 0
    shown = capsys.readouterr()
    facts = json.loads(shown.out)
    assert shown.err == ""
    names = ["fc2.weight", "conv.weight", "fc1.weight"]  # the order of the file: safetensors puts wide dtypes first
    assert [row["name"] for row in facts["layers"]] == names
    assert facts["weights"] == 48 + 24 + 72
    assert facts["parameters"] == sum(row["parameters"] for row in facts["layers"])
    assert facts["compression_ratio"] == facts["weights"] / facts["parameters"]
    read = ar.load_compressed(small)
    assert read.metadata == {"epoch": "3"}
    assert main(["expand", str(small), "-o", str(dense), "--json"]) == 0
    facts_of_expand = json.loads(capsys.readouterr().out)
    assert sorted(facts_of_expand["generated"]) == sorted(names)
    file = TensorFile(dense)
    assert set(file.names) == set(model())
    for k, row in enumerate(facts["layers"]):
        name, original = row["name"], model()[row["name"]]
        weight = file.load(name)
        alone = ar.fit(ar.BrickWall(original.shape, 1), original, steps=15, rng=4 + k)
        assert same(weight, alone.generate())
        assert same(weight, read.entries[name].generate())
        assert row["relative_error"] == ar.relative_error(weight, original)
    for name in set(model()) - set(read.entries):
        assert same(file.load(name), model()[name])


def test_cores_only(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = tmp_path / "small.npz"
    assert main(compress(source, small, "--layer", "fc1.weight", "--cores-only")) == 0
    assert ar.load_compressed(small).dense == {}
    assert capsys.readouterr().err == ""


def test_tables(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = tmp_path / "small.npz"
    network = ["--network", "mpo", "--chi", "2", "--steps", "5"]
    assert main(["compress", str(source), "--layer", "fc1.weight", *network, "-o", str(small)]) == 0
    shown = capsys.readouterr()
    assert "relative error: |W - T| / |T|, 1 is no better than a weight of zeros" in shown.out
    assert f"written to {small}" in shown.out
    assert main(["expand", str(small), "-o", str(tmp_path / "dense.npz")]) == 0
    assert "1 generated and 10 other tensors" in capsys.readouterr().out
    assert main(["info", str(small)]) == 0
    shown = capsys.readouterr()
    assert "6 x 8" in shown.out
    assert "mpo" in shown.out
    assert "cannot be compressed in this dtype" in shown.out
    assert "format 1, written by adntn_ref" in shown.out
    assert main(["cost", "--shape", "4096", "4096", "--layers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "16,777,216 weights from" in shown
    assert "MiB" in shown


def test_names_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """[b] and :smile: in a name are no markup."""
    path = tmp_path / "a[b].npz"
    write_tensors(path, {"[red]w[/red]": np.ones(2), "a[/b]": np.ones(2), "x:smile:": np.ones(2)}, {})
    assert main(["info", str(path)]) == 0
    shown = capsys.readouterr().out
    for name in ("[red]w[/red]", "a[/b]", "x:smile:", "a[b].npz"):
        assert name in shown.replace("\n", "")


def test_info(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(source), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["compressed"] is False
    assert facts["tensors"]["conv.weight"] == {"shape": [4, 2, 3, 3], "dtype": "float32"}
    small = tmp_path / "small.npz"
    main(compress(source, small, "--layer", "conv.weight", "--quiet"))
    assert main(["info", str(small), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["compressed"] is True
    net = ar.BrickWall((4, 2, 3, 3), 1)
    assert facts["generated"]["conv.weight"]["spec"] == net.to_spec()
    assert facts["generated"]["conv.weight"]["parameters"] == net.parameter_count
    assert facts["generated"]["conv.weight"]["relative_error"] < 1.2
    assert set(facts["tensors"]) == set(model()) - {"conv.weight"}


def test_cost(capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--activation", "tanh", "--boundary", "trainable", "--layout", "interleaved", "--dtype", "float64"]
    assert main(["cost", "--shape", "8", "6", "--layers", "2", "--row-modes", "2,4", *more, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert all(step["state_bytes"] == 8 * 64 and "kept_bytes" in step for step in facts["steps"])
    net = ar.from_spec(facts["spec"])
    assert net.row_modes == (2, 4)
    assert facts["flops_forward"] == net.cost("float64").flops_forward
    assert facts["compression_ratio"] == net.compression_ratio


def test_cost_of_a_layer(capsys: pytest.CaptureFixture[str]) -> None:
    network = ["cost", "--shape", "64", "32", "--network", "mpo", "--chi", "3", "--dtype", "float64"]
    assert main([*network, "--batch", "10", "--uses", "7", "--json"]) == 0
    layer = json.loads(capsys.readouterr().out)["layer"]
    expected = ar.layer_cost(ar.MPO((64, 32), 3), 10, "float64", uses=7)
    assert layer == json.loads(json.dumps(expected.to_dict()))
    assert main([*network, "--json"]) == 0
    assert "layer" not in json.loads(capsys.readouterr().out)
    assert main(network) == 0
    assert "slower than a dense one: --batch B says by how much" in capsys.readouterr().out
    assert main([*network, "--batch", "10", "--schedule", "auto"]) == 0
    shown = capsys.readouterr().out
    one = ar.layer_cost(ar.MPO((64, 32), 3), 10, "float64")
    for sentence in one.words:
        assert sentence in shown
    assert "1 product of 10 inputs with a 64 x 32 weight, float64" in shown
    assert f"{one['sites'].flops:,}" in shown
    assert "site by site" in shown
    assert "slower than the dense layer" in shown


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--batch", "0"], "batch must be an integer >= 1"),
        (["--batch", "4", "--uses", "0"], "uses must be an integer >= 1"),
        (["--uses", "4"], "--uses goes with --batch"),
        (["--batch", "4", "--dtype", "complex64", "--activation", "identity"], "layers are of float32 or float64"),
    ],
)
def test_bad_layers(more: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "--shape", "8", "8", "--layers", "2", *more]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert done.value.code == 0
    assert f"  adntn-ref {command}" in shown.partition("example")[2]
    assert "--memory-limit" in shown


def test_quiet(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(compress(source, tmp_path / "s.npz", "--layer", "fc1*t", "--quiet")) == 0
    assert main(["expand", str(tmp_path / "s.npz"), "-o", str(tmp_path / "d.npz"), "--quiet"]) == 0
    assert main(["info", str(source), "--quiet"]) == 0
    assert main(["cost", "--shape", "4", "4", "--layers", "1", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


BAD: list[tuple[list[str], str]] = [
    (["--layer", "fc7*"], "'fc7*' matches none of: steps, whole, "),
    (["--layer", "fc1.weigth"], "; did you mean fc1.weight"),
    (["--layer", "fc1"], "; did you mean fc1.bias, fc1.weight?"),
    (["--layer", "fc1.bias"], "tensor fc1.bias has shape (6,); allowed: 2-D (dense) and 4-D (convolution)"),
    (["--layer", "three"], "tensor three has shape (2, 2, 2)"),
    (["--layer", "steps"], "tensor steps has shape ()"),
    (["--layer", "empty"], "not empty"),
    (["--layer", "whole"], "tensor whole has dtype int64; allowed: float32, float64"),
    (["--layer", "half"], "tensor half has dtype float16"),
    (["--layer", "nan"], "tensor nan holds 1 entries that are not finite; the first is at index (1, 2)"),
    (["--layer", "zero"], "zero everywhere"),
    (["--layer", "fc1.weight", "--layers", "0"], "layers"),
    (["--layer", "fc1.weight", "--network", "tree"], "no network is called 'tree'; allowed: brickwall, ttn"),
    (["--layer", "fc1.weight", "--network", "mpo"], "--network mpo needs --chi"),
    (["--layer", "fc1.weight", "--chi", "3"], "has no entries chi"),
    (["--layer", "fc1.weight", "--activation", "softplus"], "'softplus'"),
    (["--layer", "fc1.weight", "--layout", "snake"], "no layout is called 'snake'"),
    (["--layer", "fc1.weight", "--boundary", "open"], "'open'"),
    (["--layer", "fc1.weight", "--modes", "2,2,2"], "modes (2, 2, 2) make 8 numbers, too few for 48 weights"),
    (["--layer", "fc1.weight", "--steps", "0"], "steps must be an integer >= 1, got 0"),
    (["--layer", "fc1.weight", "--rate", "nan"], "rate must be positive and finite"),
    (["--layer", "fc1.weight", "--memory-limit", "lots"], "cannot read 'lots' as an amount of memory"),
    (["--layer", "fc1.weight", "--memory-limit=-1"], "cannot read '-1'"),
]


@pytest.mark.parametrize(("more", "message"), BAD, ids=[" ".join(more) for more, _ in BAD])
def test_bad_input(
    more: list[str], message: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One clear error, exit code 2, and nothing written."""
    out = tmp_path / "out.npz"
    assert main(compress(source, out, *more)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("adntn-ref compress: ")
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [source]
    assert main([*compress(source, out, *more), "--json"]) == 2
    error = json.loads(capsys.readouterr().out)
    assert message in error["error"]
    assert issubclass(getattr(ar.errors, error["kind"]), ar.AdntnError)


def test_bad_files(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut, taken, file = tmp_path / "cut.safetensors", tmp_path / "taken.npz", tmp_path / "file"
    cut.write_bytes(source.read_bytes()[:-5])
    for path in (taken, file):
        path.write_bytes(b"old")
    small = tmp_path / "small.npz"
    assert main(compress(source, small, "--layer", "fc1.weight", "--quiet")) == 0
    new = tmp_path / "new.npz"
    before = sorted(tmp_path.iterdir())
    one = ["--layer", "fc1.weight"]
    for arguments, message in [
        (compress(tmp_path / "none.npz", new, *one), "there is no file"),
        (compress(cut, new, *one), "is truncated"),
        (compress(file, new, *one), "must end in .safetensors or .npz"),
        (compress(tmp_path / "m.pt", new, *one), "m.pt is a file of torch.save, a pickle, which is never read"),
        (compress(taken, new, *one), "no readable npz file"),
        (compress(source, taken, *one), "exists already; choose another path or pass --force"),
        (compress(source, tmp_path, *one), "must end in"),
        (compress(source, tmp_path / "no" / "new.npz", *one), "there is no folder"),
        (compress(source, file / "new.npz", *one), "there is no folder"),
        (compress(source, tmp_path / "new.pt", *one), "must end in"),
        (compress(small, new, "--layer", "*brick0"), "holds generated weights already"),
        (["expand", str(source), "-o", str(new)], "holds no generated weights"),
        (["expand", str(small), "-o", str(taken)], "exists already"),
        (["expand", str(small), "-o", str(tmp_path / "new.pt")], "must end in"),
        (["expand", str(tmp_path / "none.npz"), "-o", str(new)], "there is no file"),
        (["info", str(cut)], "is truncated"),
        (["cost", "--shape", "4", "4", "--layers", "1", "--dtype", "int8"], "no cost for dtype int8"),
        (["cost", "--shape", "0", "4", "--layers", "1"], "shape must hold integers >= 1"),
        (["cost", "--shape", "4", "4"], "--network brickwall needs --layers"),
    ]:
        assert main(arguments) == 2, arguments
        shown = capsys.readouterr()
        assert shown.out == ""
        assert message in shown.err
        assert shown.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
    assert taken.read_bytes() == b"old"
    assert main(compress(source, taken, *one, "--force", "--quiet")) == 0
    assert main(["expand", str(small), "-o", str(taken), "--force", "--quiet"]) == 0


def test_what_the_output_cannot_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "model.npz"
    write_tensors(source, {"w": np.ones((4, 4)), "text": np.array(["a"])}, {})
    out = tmp_path / "out.safetensors"
    assert main(compress(source, out, "--layer", "w")) == 2
    assert "tensor text is str32, which a safetensors file cannot hold" in capsys.readouterr().err
    assert main(compress(source, out, "--layer", "w", "--cores-only", "--quiet")) == 0


def test_memory_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    big = tmp_path / "big.npz"
    write_tensors(big, {"w": np.ones((1024, 1024), "f4")}, {})
    arguments = compress(big, tmp_path / "out.npz", "--layer", "w", "--memory-limit", "1MB")
    assert main(arguments) == 2
    assert "GiB, and the limit is 0.000931 GiB" in capsys.readouterr().err
    assert LIMIT_VARIABLE not in os.environ  # the caller's surroundings are as before
    monkeypatch.setenv(LIMIT_VARIABLE, "2MB")
    assert main(arguments) == 2
    assert os.environ[LIMIT_VARIABLE] == "2MB"
    assert list(tmp_path.iterdir()) == [big]


@pytest.mark.parametrize("arguments", [[], ["melt"], ["cost", "--shape", "x"], ["cost", "--shape", "4", "--seed=-1"],
                                       ["cost", "--shape", "4", "--modes", "2,x"], ["compress", "x.npz"]])  # fmt: skip
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 2
    assert "usage: adntn-ref" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ar.errors.DivergedError("the loss is nan"), 1, "adntn-ref cost: the loss is nan\n"),
        (ar.errors.SpecError("no"), 2, "adntn-ref cost: no\n"),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, message: str, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*given: Any) -> Any:
        raise error

    monkeypatch.setattr(commands, "network_for", failing)
    assert main(["cost", "--shape", "4", "4", "--layers", "1"]) == code
    assert capsys.readouterr() == ("", message)


def test_without_rich(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    hide(monkeypatch, "rich")
    arguments = ["cost", "--shape", "4", "4", "--layers", "1"]
    assert main(arguments) == 2
    assert 'python -m pip install "adntn-ref[demo]"' in capsys.readouterr().err
    assert main([*arguments, "--json"]) == 0


def test_size() -> None:
    assert [size(n) for n in (0, 1023, 1024, 1536 * 1024, 2**30, 2**50)] == [
        "0 B", "1023 B", "1 KiB", "1.5 MiB", "1 GiB", "1024 TiB"]  # fmt: skip
    assert not Output(quiet=True).talks


@pytest.mark.parametrize("how", ["module", "script"])
def test_from_outside(how: str) -> None:
    script = Path(sysconfig.get_path("scripts")) / "adntn-ref"
    command = [sys.executable, "-m", "adntn_ref"] if how == "module" else [str(script)]
    if how == "script" and not script.exists():
        pytest.skip("adntn_ref is not installed")
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"adntn-ref {ar.__version__}\n"
    assert subprocess.run([*command, "info", "/none.npz"], capture_output=True).returncode == 2


def test_closed_pipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def gone(*given: Any) -> Any:
        raise BrokenPipeError

    monkeypatch.setattr(commands, "network_for", gone)
    with (tmp_path / "out").open("w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["cost", "--shape", "4", "4", "--layers", "1"]) == 1
        stream.write("what is still buffered")
    assert (tmp_path / "out").read_text() == ""


@pytest.mark.parametrize("form", ["--json", "--activation=relu"])
def test_reader_that_leaves(form: str) -> None:
    """``adntn-ref cost ... | head``: no traceback, exit code 1."""
    arguments = ["cost", "--shape", "64", "64", "--layers", "1500", form]
    process = subprocess.Popen([sys.executable, "-m", "adntn_ref", *arguments], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1

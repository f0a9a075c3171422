"""A fit takes no more memory than is planned for it, and one that would not fit is refused before it begins."""

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adntn_ref as ar
from adntn_ref.compression.room import DRAWN_BYTES, START_BYTES, beside
from adntn_ref.errors import MemoryLimitError
from adntn_ref.networks.fitting import peaks
from adntn_ref.program import memory
from adntn_ref.program.memory import LIMIT_VARIABLE, free_bytes

SHAPE = (2**8, 2**9)
NETWORKS: dict[str, Any] = {
    "brickwall": lambda s: ar.BrickWall(s, 2),
    "ttn": lambda s: ar.TTN(s, 4),
    "attn": lambda s: ar.ATTN(s, 4),
    "mera": lambda s: ar.MERA(s, 3),
    "mpo": lambda s: ar.MPO(s, 4),
    "lowrank": lambda s: ar.LowRank(s, 4),
    "cp": lambda s: ar.CP(s, 4),
    "sum": lambda s: ar.Sum(ar.BrickWall(s, 1), ar.BrickWall(s, 2)),
}


def planned(network: ar.Network, dtype: str, optimiser: str) -> int:
    start = max(START_BYTES * network.weights, peaks(network, "float64")[0] + DRAWN_BYTES * network.weights)
    wide = "float64" if optimiser == "lbfgs" else dtype
    return max(start, peaks(network, wide)[1] + beside(network, dtype, "euclidean", optimiser))


@pytest.mark.parametrize(
    ("name", "dtype", "optimiser"),
    [
        *((name, dtype, "adam") for name in NETWORKS for dtype in ("float32", "float64")),
        ("mpo", "float32", "lbfgs"),
        ("brickwall", "float64", "lbfgs"),
    ],
)
def test_no_more_than_planned(name: str, dtype: str, optimiser: str) -> None:
    network = NETWORKS[name](SHAPE)
    target = np.random.default_rng(0).standard_normal(SHAPE).astype(dtype)
    ar.fit(network, target, steps=1, optimiser=optimiser)  # plans and programs are kept for good
    tracemalloc.start()
    try:
        ar.fit(network, target, steps=2, optimiser=optimiser)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken <= 1.02 * planned(network, dtype, optimiser) + 2**16


def test_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    network, target = ar.BrickWall(SHAPE, 2), np.ones(SHAPE, "f4")
    monkeypatch.setenv(LIMIT_VARIABLE, "2MB")
    with pytest.raises(
        MemoryLimitError, match=r"the start of the fit of a weight of shape \(256, 512\) in float32 needs"
    ):
        ar.fit(network, target, steps=1)
    mera = ar.MERA(SHAPE, 4)
    monkeypatch.setenv(LIMIT_VARIABLE, str(peaks(mera, "float32", "checkpoints:0")[1] + 2**16))
    words = r"needs \S+ GiB beside its network, and \S+ GiB of \S+ GiB are left for that: generating"
    with pytest.raises(MemoryLimitError, match=words):
        ar.fit(mera, target, steps=1)


def test_states_that_are_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    network = ar.BrickWall((2**8, 2**9), 8)
    params = network.init(0, "float32")
    monkeypatch.setenv(LIMIT_VARIABLE, str(peaks(network, "float32")[0] + 2**22))
    with pytest.raises(MemoryLimitError, match="keeping every state of BrickWall"):
        network.forward_states(params)
    names = [name for name, _ in network.walk_states(params)]
    assert names == [step.name for step in network.program.all_steps]


LIMITED = """
import json, resource, sys
limit = 2**31
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
import numpy as np
import adntn_ref as ar
from adntn_ref.errors import MemoryLimitError
said = {}
for name, shape in json.loads(sys.argv[1]):
    network = {"mpo": lambda s: ar.MPO(s, 4), "brickwall": lambda s: ar.BrickWall(s, 2)}[name](tuple(shape))
    target = np.ones(shape, "f4")
    target[0] = 2
    try:
        ar.fit(network, target, steps=1)
        said[f"{name} {shape}"] = "done"
    except MemoryLimitError as error:
        said[f"{name} {shape}"] = str(error)
print(json.dumps(said))
"""


def test_a_process_of_two_gibibytes() -> None:
    """With its address space limited it refuses what does not fit, although the machine has more, and does the rest."""
    cases = [
        ["mpo", [2**10, 2**11]],
        ["mpo", [2**13, 2**13]],
        ["brickwall", [2**11, 2**11]],
        ["brickwall", [2**13, 2**14]],
    ]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    environment.pop(LIMIT_VARIABLE, None)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, json.dumps(cases)], capture_output=True, text=True, check=True, env=environment
    )
    said = json.loads(done.stdout)
    assert [text == "done" for text in said.values()] == [True, False, True, False]
    assert all("GiB" in text for text in said.values() if text != "done")


def test_address_space(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda which: (mapped + 2**24, resource.RLIM_INFINITY))
    assert 0 < free_bytes() <= 2**24
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1, 1))
    assert free_bytes() == 0


@pytest.mark.parametrize("version", [1, 2])
def test_the_processs_own_group_and_all_above(version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if version == 2:
        base, names, listed = tmp_path, ("memory.max", "memory.current"), "0::/a/b\n"
    else:
        base, names, listed = (
            tmp_path / "memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
            "4:cpu,memory:/a/b\n",
        )
    (base / "a" / "b").mkdir(parents=True)
    for folder, limit, used in ((base / "a" / "b", "9000", "1000"), (base / "a", "5000", "2000"), (base, "99999", "5")):
        (folder / names[0]).write_text(limit)
        (folder / names[1]).write_text(used)
    real = Path

    def elsewhere(*parts: Any) -> Path:
        text = str(real(*parts))
        if text == "/proc/self/cgroup":
            return tmp_path / "cgroup"
        return real(text.replace("/sys/fs/cgroup", str(tmp_path))) if text.startswith("/sys") else real(text)

    (tmp_path / "cgroup").write_text("9:name=systemd:/\n" + listed)
    monkeypatch.setattr(memory, "Path", elsewhere)
    assert free_bytes() == 3000  # of the group above, which is the tighter one
    kind = "inactive_file" if version == 2 else "total_inactive_file"
    (base / "a" / "memory.stat").write_text(f"anon 5\n{kind} 1500\n")
    assert free_bytes() == 4500
    (base / "a" / names[0]).write_text("max" if version == 2 else str(2**63 - 4096))
    assert free_bytes() == 8000

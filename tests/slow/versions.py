"""The lowest NumPy that is supported beside the newest: ``python tests/slow/versions.py``.

For each version a virtual environment is made in a temporary folder, with that NumPy, a SciPy that goes with it, and
this source. There (1) ``python -m adntn_ref.validation`` compares weights, states and gradients of the shipped vectors
with the bounds of docs/tolerances.md, and (2) the same fits are run from the same seeds. Of the fits the largest
relative difference to the first version is printed. Exits 1 where a bound is broken.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CANDIDATE = ROOT / "tests" / "candidates" / "honest.py"
LOWEST = ("numpy==2.0.0", "scipy==1.13.1")
NEWEST = ("numpy", "scipy")
FITS = """
import sys
import numpy as np
import adntn_ref as ar

found = {}
target = np.random.default_rng(7).standard_normal((16, 20))
nets = {"brickwall": ar.BrickWall((16, 20), 3), "mera": ar.MERA((16, 20), 3), "mpo": ar.MPO((16, 20), 3)}
for name, net in nets.items():
    start = net.init(0)
    weight, pullback = net.vjp(start)
    found[f"{name}/start weight"] = weight
    found.update({f"{name}/start gradient/{core}": g for core, g in pullback(weight - target).items()})
    for steps in (1, 10, 200):
        found[f"{name}/weight after {steps} steps"] = ar.fit(net, target, steps=steps).generate()
np.savez(sys.argv[1], **found)
print(np.__version__)
"""


@dataclass(frozen=True)
class Outcome:
    """What one version gave: its number, what verify said and its exit code, the arrays of the fits."""

    version: str
    said: str
    code: int
    arrays: dict[str, np.ndarray]


def outcome(packages: tuple[str, ...], folder: Path) -> Outcome:
    """Make an environment with ``packages`` and run both parts in it."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, *packages, "autoray", "hypothesis"], check=True)
    subprocess.run([*install, "--no-deps", str(ROOT)], check=True)
    # Elsewhere than in the source, which would be imported in place of what was installed.
    here: dict[str, Any] = {"cwd": folder, "capture_output": True, "text": True}
    done = subprocess.run([python, "-c", FITS, str(folder / "fits.npz")], check=True, **here)
    with np.load(folder / "fits.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    command = [python, "-m", "adntn_ref.validation", "--against", str(CANDIDATE), "--cases", "0"]
    verified = subprocess.run(command, check=False, **here)
    return Outcome(done.stdout.strip(), (verified.stdout or verified.stderr).strip(), verified.returncode, arrays)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference over the largest entry."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", metavar="DIR", help="make the environments here, and keep them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="adntn-versions-") as temporary:
        place = Path(options.keep or temporary)
        found = [outcome(LOWEST, place / "lowest"), outcome(NEWEST, place / "newest")]
    first, second = found
    for one in found:
        print(f"NumPy {one.version}: verify ended with {one.code}: {one.said.splitlines()[-1]}")
    print(f"\nNumPy {second.version} against {first.version}, largest difference over the largest entry:")
    groups = {name.partition("/")[0]: 0.0 for name in first.arrays}
    for name in (n for n in first.arrays if "gradient" not in n):
        print(f"  {name:<36} {difference(second.arrays[name], first.arrays[name]):.1e}")
    for group in groups:
        mine = [n for n in first.arrays if n.startswith(f"{group}/start gradient")]
        worst = max(difference(second.arrays[n], first.arrays[n]) for n in mine)
        print(f"  {group + '/start gradient, worst core':<36} {worst:.1e}")
    return int(any(one.code for one in found))


if __name__ == "__main__":
    sys.exit(main())

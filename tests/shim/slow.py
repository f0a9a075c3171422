"""The slow checks of the CUDA kernels on the CPU: address, undefined-behaviour and thread sanitizers.

Run as ``python tests/shim/slow.py``; needs g++ with its sanitizers. Each sanitizer first has to find a mistake that is
planted into the source; then the kernels' tests run under it. Prints a line a check; exits 1 where one fails.
"""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"


@dataclass(frozen=True)
class Sanitizer:
    """How a library is compiled and Python is started for it, and what is run."""

    name: str
    flags: str
    runtime: str
    options: dict[str, str]
    tests: tuple[str, ...]
    planted: tuple[str, ...]


SANITIZERS = (
    Sanitizer(
        name="addresses and undefined behaviour",
        flags="-O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer",
        runtime="libasan.so",
        options={"ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"},
        tests=("test_kernel_indices.py", "test_kernels.py", "test_kernels_many.py", "-k", "not planted"),
        planted=("a tile read one entry too far", "an index of 32 bits"),
    ),
    Sanitizer(
        name="races",
        flags="-O1 -fsanitize=thread",
        runtime="libtsan.so",
        options={"TSAN_OPTIONS": "halt_on_error=1 exitcode=66 report_signal_unsafe=0"},
        tests=("test_kernels_races.py",),
        planted=("no barrier between rounds", "no barrier before the sums of warps"),
    ),
)
REPORTS = ("AddressSanitizer", "runtime error", "ThreadSanitizer")
MISTAKES = {
    "a tile read one entry too far": (
        "i < 1 << (low + high); i += blockDim.x) {\n        long long p",
        "i <= 1 << (low + high); i += blockDim.x) {\n        long long p",
    ),
    "an index of 32 bits": ("(outer << shift)", "(long long)((int)outer << shift)"),
    "no barrier between rounds": (
        "write_group(target, first, at, v);\n    }\n    __syncthreads();",
        "write_group(target, first, at, v);\n    }",
    ),
    "no barrier before the sums of warps": (
        "write_group(g, first, at, y);\n        }\n    }\n    __syncthreads();",
        "write_group(g, first, at, y);\n        }\n    }",
    ),
}  # fmt: skip


def run_planted(mistake: str) -> None:
    """Run the kernels with a mistake in them; the sanitizer ends the process."""
    sys.path[:0] = [str(TESTS), str(ROOT)]
    from kernel_cases import compare

    import adntn_ref as ar
    from shim.launcher import ShimLauncher, library, text_of

    right, wrong = MISTAKES[mistake]

    def change(source: str) -> str:
        if "tile_forward" in source:
            assert right in source, "the planted mistake fits the source no more"
        return source.replace(right, wrong)

    if mistake == "an index of 32 bits":
        library(text_of("tiles", "float64", change)).shim_place((1 << 12) - 1, 0, 2, 10, 30)
    compare(ar.BrickWall((2**10,), layers=1, activation="tanh"), ShimLauncher(change=change))


def started(sanitizer: Sanitizer, command: list[str]) -> subprocess.CompletedProcess[str]:
    runtime = subprocess.run(
        ["g++", f"-print-file-name={sanitizer.runtime}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {**os.environ, **sanitizer.options, "ADNTN_REF_SHIM_FLAGS": sanitizer.flags, "LD_PRELOAD": runtime}
    environment["OPENBLAS_NUM_THREADS"] = "1"
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment, cwd=ROOT)


def main() -> int:
    """Run all checks."""
    if shutil.which("g++") is None:
        print("nothing was checked: g++ is missing")
        return 1
    failed = 0
    for sanitizer in SANITIZERS:
        for mistake in sanitizer.planted:
            done = started(sanitizer, [__file__, "--planted", mistake])
            found = done.returncode != 0 and any(report in done.stderr for report in REPORTS)
            failed += not found
            print(f"{sanitizer.name}: {mistake}: {'found, as it must be' if found else 'NOT FOUND'}", flush=True)
            if not found:
                print(done.stdout[-2000:], done.stderr[-2000:])
        began = time.monotonic()
        tests = [str(TESTS / test) if test.endswith(".py") else test for test in sanitizer.tests]
        done = started(
            sanitizer,
            ["-m", "pytest", "-q", "-x", "-s", "-p", "no:xdist", "-p", "no:cacheprovider", "--color=no", "-rs", *tests],
        )
        failed += done.returncode != 0
        verdict = "nothing found" if done.returncode == 0 else "FAILED"
        print(f"{sanitizer.name}: {verdict} in {time.monotonic() - began:.0f} s", flush=True)
        if done.returncode:
            print(done.stdout[-6000:], done.stderr[-6000:])
    return int(failed > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--planted"]:
        run_planted(sys.argv[2])
    else:
        sys.exit(main())

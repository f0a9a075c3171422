"""Mutation testing of the rules, the steps and the networks: ``python tests/mutation/run.py --out build/mutation``.

See docs/mutation.md for what is counted and for the survivors. A run that was stopped goes on where it was when it is
called again with the same ``--out``.
"""

import argparse
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import random
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

os.environ.update(
    OPENBLAS_NUM_THREADS="1",
    OMP_NUM_THREADS="1",
    ADNTN_REF_HYPOTHESIS_PROFILE="mutation",
    PYTHONDONTWRITEBYTECODE="1",
)
sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import plugin  # noqa: E402
import pytest  # noqa: E402
from hypothesis import HealthCheck, Phase, settings  # noqa: E402
from mutants import Mutant, mutants_of  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ("adntn_ref/ad/rules.py", "adntn_ref/program/steps.py", "adntn_ref/networks")
TESTS = [
    "primitives",
    "einsum",
    "backward",
    "gradients",
    "transforms",
    "tape",
    "convolution",
    "layers",
    "networks_params",
    "networks_specs",
    "networks_structure",
    "networks_tape",
    "networks_values",
    "trees_node",
    "trees_structure",
    "trees_tape",
    "trees_values",
    "linearised",
    "shallow",
    "combine",
    "combine_specs",
    "cost",
    "decompositions",
    "at_most",
    "memory",
    "windows",
    "misuse",
    "starts",
    "scaling",
]
OPTIONS = ["-q", "--tb=no", "-p", "no:cacheprovider", "--no-header", "-W", "ignore::pytest.PytestWarning"]
# Seconds of pure recording on the tape, or a process of its own that would not see the mutant.
OPTIONS += ["--deselect=tests/test_backward.py::test_a_long_chain_that_is_only_recorded"]
OPTIONS += ["--deselect=tests/test_backward.py::test_a_chain_of_a_hundred_thousand"]
OPTIONS += ["--deselect=tests/test_scaling.py::test_command"]


def main() -> int:
    """Run what is asked for, then print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=TARGETS, help="files or folders to mutate")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--examples", type=int, default=10, help="Hypothesis examples a test")
    parser.add_argument("--sample", type=int, help="at most so many mutants a file, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--budget", type=float, default=60.0, help="seconds of tests a mutant, the likeliest to kill it first"
    )
    parser.add_argument("--first-only", action="store_true", help="leave out what needs a fresh import")
    parser.add_argument("--only", help="only mutants whose name holds this, or that the file @NAME lists")
    parser.add_argument("--tests", nargs="+", help="patterns of the test files, in place of those listed here")
    parser.add_argument("--recheck", type=int, default=0, help="so many fast kills, drawn at random, again and freshly")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)
    settings.register_profile(
        "mutation",
        max_examples=given.examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    paths = [path for target in given.targets for path in files_of(ROOT / target)]
    mutants = [mutant for path in paths for mutant in sampled(mutants_of(path, ROOT), given.sample, given.seed)]
    random.Random(given.seed).shuffle(mutants)  # so that a run that is stopped has run a random sample
    print(f"{len(mutants)} mutants in {len(paths)} files", flush=True)
    if given.only:
        names = Path(given.only[1:]).read_text().split() if given.only.startswith("@") else None
        mutants = [m for m in mutants if (m.name in names if names is not None else given.only in m.name)]
    done = results(given.out)
    left = [mutant for mutant in mutants if mutant.name not in done]
    if left or not (given.out / "tests.json").exists():
        in_fork(lambda: fast(paths, left, given))
    done = results(given.out)
    chosen = unsettled(mutants, done)
    preload(given.out / "libraries.json")
    if not given.first_only:
        fresh(chosen, given)
    if given.recheck:
        killed = [mutant for mutant in mutants if done.get(mutant.name, {}).get("way") == "fast"]
        random.Random(given.seed).shuffle(killed)
        fresh(killed[: given.recheck], given, "recheck")
    print(table(mutants, results(given.out)))
    return 0


def files_of(target: Path) -> list[Path]:
    """Return a file, or the Python files of a folder."""
    return sorted(target.glob("*.py")) if target.is_dir() else [target]


def sampled(mutants: list[Mutant], count: int | None, seed: int) -> list[Mutant]:
    """Return all mutants, or a random sample in the order of the file."""
    if count is None or count >= len(mutants):
        return mutants
    keep = set(random.Random(seed).sample(range(len(mutants)), count))
    return [mutant for k, mutant in enumerate(mutants) if k in keep]


def results(out: Path) -> dict[str, dict[str, str]]:
    """Return what became of each mutant: killed if any run killed it."""
    found: dict[str, dict[str, str]] = {}
    for way in ("fast", "fresh"):
        for path in sorted(out.glob(f"{way}-*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                result = json.loads(line)
                before = found.get(result["mutant"], result)["verdict"]
                if before in (result["verdict"], plugin.SURVIVED):
                    found[result["mutant"]] = {**result, "way": way}
    return found


def unsettled(mutants: Sequence[Mutant], done: dict[str, dict[str, str]]) -> list[Mutant]:
    """Return the mutants that were not run yet, or lived in the fast way: those that need a fresh import."""
    return [
        mutant
        for mutant in mutants
        if mutant.name not in done
        or (done[mutant.name]["way"] == "fast" and done[mutant.name]["verdict"] == plugin.SURVIVED)
    ]


def in_fork(work: object) -> None:
    """Run in a child process, so that this one never imports the package."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = int(work() or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit("the run stopped; see above")


def fast(paths: Sequence[Path], mutants: Sequence[Mutant], given: argparse.Namespace) -> int:
    """Collect the tests once, and fork for each mutant."""
    first = plugin.Fast(paths, mutants, given.out, given.jobs, given.budget)
    return pytest.main([*OPTIONS, *test_files(given.tests)], plugins=[first])


def test_files(patterns: list[str] | None) -> list[str]:
    """Return the tests to run: those listed here, and those written for mutants that lived."""
    if patterns:
        return sorted(str(path) for pattern in patterns for path in Path().glob(pattern))
    return [f"tests/test_{name}.py" for name in TESTS] + sorted(map(str, Path("tests").glob("test_mutants_*.py")))


class Finder(importlib.abc.MetaPathFinder):
    """Import the mutated text in place of one file."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        """Return the specification of the mutated module, and None for any other."""
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.origin is None or not Path(spec.origin).samefile(self.mutant.path):
            return None
        spec.loader = Loader(self.mutant, name)
        return spec


class Loader(importlib.machinery.SourceFileLoader):
    """Compile the mutated text; never read or write bytecode."""

    def __init__(self, mutant: Mutant, name: str) -> None:
        super().__init__(name, mutant.path)
        self.mutant = mutant

    def get_code(self, name: str) -> object:
        """Return the code of the mutated module."""
        return compile(self.mutant.source, self.mutant.path, "exec", dont_inherit=True)


def preload(listed: Path) -> None:
    """Import the libraries that the tests use, so that the processes of single mutants need not."""

    def collect() -> int:
        pytest.main(["--collect-only", "-qq", *OPTIONS, *test_files(None)])
        ours = ("adntn_ref", "conftest", "test_")
        origins = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
        names = [name for name, origin in origins.items() if not origin.startswith(f"{ROOT}/")]
        listed.write_text(json.dumps([name for name in names if not name.startswith(ours)]))
        return 0

    if not listed.exists():
        in_fork(collect)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in json.loads(listed.read_text()):
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def fresh(mutants: Sequence[Mutant], given: argparse.Namespace, label: str = "fresh") -> None:
    """Run each mutant in a process that imports the package anew."""
    out, jobs = given.out, given.jobs
    workers = []
    for k in range(jobs):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                plan = plugin.Plan(out / "tests.json")
                for result in results(out).values():
                    if result["verdict"] == plugin.KILLED and result["by"] in plan.seconds:
                        plan.kills[str(ROOT / result["mutant"].split(":")[0])][result["by"]] += 1
                for mutant in mutants[k::jobs]:
                    verdict, by = plugin.in_child(partial(import_and_run, mutant, plan, given.budget))
                    if verdict == plugin.KILLED:
                        plan.note(mutant, by)
                    plugin.record(out / f"{label}-{k}.jsonl", mutant, verdict, by)
                status = 0
            finally:
                os._exit(status)
        workers.append(pid)
    for pid in workers:
        _, status = os.waitpid(pid, 0)
        if status:
            raise SystemExit("a worker failed")


def import_and_run(mutant: Mutant, plan: plugin.Plan, budget: float) -> str | None:
    """Import the mutant, and run its tests file by file, the files that killed most first."""
    sys.meta_path.insert(0, Finder(mutant))
    # A function may have run at import, before any test: its own tests first, then all others of its file.
    own = plan.tests(mutant, mutant.codes()[0][0])
    chosen = dict.fromkeys([*plugin.within(own, plan.seconds, budget), *plan.tests(mutant, None)])
    by_file: dict[str, list[str]] = {}
    for test in plugin.within(list(chosen), plan.seconds, 2 * budget):
        by_file.setdefault(test.split("::")[0], []).append(test)
    for file, tests in by_file.items():
        runner = plugin.Fresh(tests, plan.seconds)
        status = pytest.main([*OPTIONS, file], plugins=[runner])
        if runner.killer is None and status != pytest.ExitCode.OK:
            return f"collection of {file}"
        if runner.killer is not None:
            return runner.killer
    return None


def table(mutants: Sequence[Mutant], done: dict[str, dict[str, str]]) -> str:
    """Return the counts by file as text, and the survivors."""
    rows = ["file | mutants | killed | timeout | survived | killed %", "--- | ---: | ---: | ---: | ---: | ---:"]
    total: Counter[str] = Counter()
    names = dict.fromkeys(mutant.name.split(":")[0] for mutant in mutants)
    for name in names:
        count = Counter(done[m.name]["verdict"] for m in mutants if m.name.split(":")[0] == name and m.name in done)
        rows.append(row(name, count))
        total.update(count)
    living = [f"{m.name}\n{m.change}" for m in mutants if done.get(m.name, {}).get("verdict") == plugin.SURVIVED]
    return "\n".join([*rows, row("all", total), "", *living])


def row(name: str, count: Counter[str]) -> str:
    """Return one line of the table."""
    killed, late, lived = (count[v] for v in (plugin.KILLED, plugin.TIMEOUT, plugin.SURVIVED))
    share = 100 * (killed + late) / max(1, killed + late + lived)
    return f"{name} | {killed + late + lived} | {killed} | {late} | {lived} | {share:.1f}"


if __name__ == "__main__":
    raise SystemExit(main())

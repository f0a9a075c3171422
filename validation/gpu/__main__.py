"""The command ``python -m adntn_ref.validation.gpu``: checks, then times, then one table."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adntn_ref.errors import AdntnError

from .benchmark import LAYERS, MODES, QUICK_MODES, Limits, Row, benchmark, measure_limits, table
from .checks import Finding, run_checks
from .probe import CupyProbe, Probe
from .rivals import RIVALS

NOTHING = "no GPU: nothing was checked and nothing was measured"
SUITE = "elsewhere.py"
"""In the folder of tests: with it ``pytest --backend`` runs all that can run on another backend and counts the rest."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m adntn_ref.validation.gpu",
        description="Check everything on a GPU against NumPy in float64, then measure; one table last. Without a GPU "
        "nothing is checked, and it says so.",
    )
    parser.add_argument("--quick", action="store_true", help="fewer networks, small sizes, no other frameworks")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--no-benchmark", action="store_true", help="checks only")
    parser.add_argument("--modes", type=int, nargs="+", metavar="Q", help=f"sizes to measure (default {MODES})")
    parser.add_argument("--tests", metavar="DIR", default="tests", help="folder of the test-suite (default ./tests)")
    return parser


def main(arguments: Sequence[str] | None = None, probe: Probe | None = None) -> int:
    """Run the command; ``probe`` stands in for the GPU in tests. Returns 1 where a check failed, else 0."""
    options = build_parser().parse_args(arguments)

    def say(text: str) -> None:
        if not options.json:
            print(text, flush=True)

    try:
        probe = CupyProbe() if probe is None else probe
    except AdntnError as error:
        print(json.dumps({"checked": False, "reason": str(error)}) if options.json else f"{NOTHING} ({error})")
        return 0
    facts = probe.facts()
    say("; ".join(f"{name} {value}" for name, value in facts.items()))
    findings = []
    for finding in run_checks(probe, options.quick):
        findings.append(finding)
        say(_line(finding))
        for wrong in finding.wrong[:5]:
            say(f"     {wrong}")
    findings += _suite(Path(options.tests), probe, say)
    limits: Limits | None = None
    rows: list[Row] = []
    if not options.no_benchmark:
        limits, rows = _measure(probe, options, say)
    failed = [finding.name for finding in findings if not finding.passed]
    if options.json:
        print(json.dumps(_facts(facts, findings, limits, rows)))
    else:
        _show(findings, limits, rows)
    return 1 if failed else 0


def _line(finding: Finding) -> str:
    return f"{'ok  ' if finding.passed else 'FAIL'} {finding.name}: {finding.said}"


def _suite(folder: Path, probe: Probe, say: Any) -> list[Finding]:
    """Run the whole test-suite on the backend, where it is at hand."""
    if probe.backend.name != "cupy" or not (folder / SUITE).is_file():
        say(f"     test-suite: not run, {folder}/ holds no tests that take this backend")
        return []
    command = [sys.executable, "-m", "pytest", "--backend", probe.backend.name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines() or ["no output"]
    counts = [line for line in lines if f" tests ran on {probe.backend.name}" in line]
    wrong = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    finding = Finding("test-suite", done.returncode == 0, (counts or lines)[-1], wrong)
    say(_line(finding))
    return [finding]


def _measure(probe: Probe, options: argparse.Namespace, say: Any) -> tuple[Limits, list[Row]]:
    limits = measure_limits(probe, 2**24, 256) if options.quick else measure_limits(probe)
    others: tuple[str, ...] = () if options.quick else tuple(RIVALS)
    rows = []
    for row in benchmark(probe, limits, tuple(options.modes or (QUICK_MODES if options.quick else MODES)), others):
        rows.append(row)
        say(f"     Q = {row.modes}, {row.who}: {row.note or f'{1e3 * (row.seconds or 0):.3f} ms'}")
    return limits, rows


def _facts(facts: dict[str, str], findings: list[Finding], limits: Limits | None, rows: list[Row]) -> dict[str, Any]:
    return {
        "checked": True,
        "facts": facts,
        "checks": [vars(finding) for finding in findings],
        "limits": None if limits is None else vars(limits),
        "rows": [row.to_dict() for row in rows],
        "passed": all(finding.passed for finding in findings),
    }


def _show(findings: list[Finding], limits: Limits | None, rows: list[Row]) -> None:
    """Print one short table: what was checked, and what was measured."""
    print()
    for finding in findings:
        print(f"{'ok  ' if finding.passed else 'FAIL'} {finding.name}")
    if limits is not None:
        print(f"copy {limits.bandwidth / 1e9:.0f} GB/s, float32 products {limits.arithmetic / 1e12:.2f} TFLOP/s;")
        print(f"weight and gradients of a brick-wall of {LAYERS} layers, float32:")
        print("\n".join(table(rows)))


if __name__ == "__main__":
    raise SystemExit(main())

"""Fuzz the readers: ``python tests/fuzz/run.py [--target NAME] [--seconds S | --runs N]``; needs the extra ``fuzz``.

Each target runs in a process of its own under atheris (libFuzzer), which keeps what reaches new code of
``adntn_ref`` in a folder of its own, from where a later run goes on. What breaks a promise is kept under ``findings``,
once for each place in the source, and the run goes on; a crash or a hang of the process ends it, and is named.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[2])]


def main() -> int:
    options = parser().parse_args()
    from fuzz.targets import TARGETS

    if unknown := [name for name in options.target if name not in TARGETS]:
        print(f"no target is called {', '.join(unknown)}; there are {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    rows = []
    for name in options.target or TARGETS:
        rows.append(fuzz(name, options))
        print(line(rows[-1]), flush=True)
    print(f"\n{table(rows)}\n\n{sum(row['executions'] for row in rows):,} executions in this run,")
    print(f"{sum(row['total']['executions'] for row in rows):,} with those of earlier runs into {options.out}")
    (options.out / "summary.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf8")
    return 1 if any(row["findings"] or row["ended"] for row in rows) else 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--target", nargs="+", default=[], metavar="NAME", help="which readers; default: all")
    made.add_argument("--seconds", type=int, default=20, help="time for each target (default 20)")
    made.add_argument("--runs", type=int, help="executions for each target, instead of a time")
    made.add_argument("--out", type=Path, default=Path("build/fuzz"), help="folder for inputs and findings")
    return made


def fuzz(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Fuzz one target in a process of its own, and return what was found."""
    from fuzz.targets import TARGETS

    where = options.out / name
    for part in ("corpus", "findings"):
        (where / part).mkdir(parents=True, exist_ok=True)
    for k, seed in enumerate(TARGETS[name].seeds()):
        (where / "corpus" / f"seed{k}").write_bytes(seed)
    words = "".join(f'"{word}"\n' for word in (*TARGETS[name].words, "0"))
    (where / "words").write_text(words, encoding="utf8")
    (where / "stats.json").unlink(missing_ok=True)
    limit = [f"-runs={options.runs}"] if options.runs else [f"-max_total_time={options.seconds}"]
    fixed = ["-timeout=30", "-rss_limit_mb=2048", f"-artifact_prefix={where}/findings/", f"-dict={where}/words"]
    command = [
        sys.executable,
        str(HERE.with_name("worker.py")),
        TARGETS[name].one.__module__,
        ",".join(TARGETS[name].covered),
        name,
        str(where),
        str(options.runs or 0),
    ]
    command += [str(where / "corpus"), *limit, *fixed, f"-max_len={TARGETS[name].longest}", "-print_final_stats=1"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    (where / "log.txt").write_text(done.stderr, encoding="utf8")
    return _row(name, where, done)


def _row(name: str, where: Path, done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    stats = json.loads((where / "stats.json").read_text()) if (where / "stats.json").exists() else {}
    cover = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", done.stderr)
    edges, features, corpus = map(int, cover[-1]) if cover else (0, 0, 0)
    ended = "" if done.returncode == 0 else f"exit code {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"
    kept = {"edges": edges, "features": features, "corpus": corpus, "ended": ended}
    now = {"executions": 0, "accepted": 0, "slowest": 0.0, "peak": 0, "findings": {}, **stats}
    before = json.loads((where / "total.json").read_text()) if (where / "total.json").exists() else {}
    total = {key: before.get(key, 0) + now[key] for key in ("executions", "accepted")}
    total |= {key: max(before.get(key, 0), now[key]) for key in ("slowest", "peak")}
    total["findings"] = {**before.get("findings", {}), **now["findings"]}
    (where / "total.json").write_text(json.dumps(total), encoding="utf8")
    return {"target": name, **now, **kept, "total": total}


def line(row: dict[str, Any]) -> str:
    found = "".join(f"\n    {place}: {text}" for place, text in row["findings"].items())
    rate = row["executions"] / max(row.get("cpu", 0), 1e-9)
    ended = f"\n    ended by {row['ended']}" if row["ended"] else ""
    return (
        f"{row['target']:16} {row['executions']:>10,} executions ({rate:,.0f} a CPU second),"
        f" {row['accepted']:,} accepted, {row['edges']} edges, slowest {row['slowest']:.3f} s,"
        f" peak {row['peak'] / 2**20:.2f} MiB, {len(row['findings'])} findings{found}{ended}"
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Return what all runs into the folder have done."""
    lines = ["| target | executions | accepted | edges | slowest, s | peak, MiB | findings |", 7 * "|---" + "|"]
    for row in rows:
        total = row["total"]
        counts = (total["executions"], total["accepted"], row["edges"])
        cells = (row["target"], *(f"{count:,}" for count in counts), f"{total['slowest']:.3f}")
        lines.append(f"| {' | '.join(cells)} | {total['peak'] / 2**20:.2f} | {len(total['findings'])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

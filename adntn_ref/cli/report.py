"""The command ``report``."""

import argparse
from pathlib import Path
from typing import Any

from adntn_ref.cli.output import Output
from adntn_ref.compression.atomic import require_new
from adntn_ref.experiments.report import write_report
from adntn_ref.extras import need

Made = tuple[argparse.ArgumentParser, Any]


def add(subparsers: Any) -> Made:
    """Describe ``report``."""
    parser = subparsers.add_parser(
        "report",
        help="make one HTML page, and pictures, of an experiment or a sweep",
        description="Make a page with tables and pictures in one file that needs no network.",
        epilog="example:\n  adntn-ref report first -o report.html --pictures pictures --svg",
    )
    parser.add_argument("folder", metavar="DIR", help="folder of an experiment or a sweep")
    parser.add_argument("-o", "--output", default="report.html", metavar="FILE", help="page (default report.html)")
    parser.add_argument("--pictures", metavar="FOLDER", help="write every picture to a file of its own too")
    parser.add_argument("--svg", action="store_true", help="write pictures as SVG beside PNG")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    return parser, run


def run(options: argparse.Namespace, output: Output) -> int:
    """Run ``report``."""
    need("matplotlib", "demo")
    require_new(Path(options.output), options.force)
    kinds = ("png", "svg") if options.svg else ("png",)
    written = write_report(options.folder, options.output, options.pictures, kinds)
    output.line("written: " + ", ".join([*written["page"], *written["pictures"]]))
    output.result({**written})
    return 0

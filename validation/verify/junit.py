"""The report as JUnit XML, which CI systems read: a test suite a case family, a test case a quantity."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from .run import Report, environment
from .verdicts import Row, Verdict

# Control characters cannot stand in XML 1.0, not even escaped; a candidate's message may hold them.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(report: Report) -> bytes:
    """Return a report as JUnit XML in UTF-8.

    ``testsuites/testsuite/testcase`` with ``failure`` for numbers that differ and for answers of a wrong form,
    ``error`` where the candidate raised, crashed or hung, and ``skipped`` for what is not supported or was not run.
    """
    families: dict[str, list[Row]] = {}
    for row in report.rows:
        families.setdefault(row.case.partition("/")[0], []).append(row)
    if report.random is not None and report.random.failing is None:
        families["random"] = list(report.random.worst.values())
    counts = _counts([row for rows in families.values() for row in rows])
    del counts["skipped"]  # which the schema of Jenkins has for a suite only
    suites = ET.Element("testsuites", counts)
    suites.set("name", f"adntn_ref against {_clean(report.candidate)}")
    suites.set("time", f"{report.seconds:.3f}")
    for family, rows in families.items():
        suites.append(_suite(family, rows, report))
    ET.indent(suites)
    return bytes(ET.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def _suite(family: str, rows: Sequence[Row], report: Report) -> ET.Element:
    suite = ET.Element("testsuite", {"name": _clean(family), **_counts(rows), "time": "0"})
    properties = ET.SubElement(suite, "properties")
    for name, value in {**environment(), "dtype": report.dtype, "seed": str(report.seed)}.items():
        ET.SubElement(properties, "property", {"name": name, "value": _clean(value)})
    for row in rows:
        names = {"classname": _clean(row.case), "name": _clean(row.quantity), "time": "0"}
        case = ET.SubElement(suite, "testcase", names)
        if (kind := kind_of(row)) == "":
            continue
        message = _clean(f"{row.verdict}: {row.detail}" if row.detail else row.verdict.sentence)
        if kind == "skipped":
            ET.SubElement(case, kind, {"message": message})
            continue
        element = ET.SubElement(case, kind, {"message": message, "type": row.verdict.label})
        element.text = message if row.error is None else f"{message}\nerror {row.error:.6g}, allowed {row.allowed:.6g}"
    return suite


def kind_of(row: Row) -> str:
    """Return the element by which a row is told: ``""``, ``"skipped"``, ``"error"`` or ``"failure"``."""
    if row.verdict is Verdict.AGREES:
        return ""
    if not row.verdict.failed:
        return "skipped"
    return "error" if row.verdict in (Verdict.RAISED, Verdict.CRASHED, Verdict.TIMED_OUT) else "failure"


def _counts(rows: Sequence[Row]) -> dict[str, str]:
    kinds = [kind_of(row) for row in rows]
    names = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    return {"tests": str(len(rows)), **{name: str(kinds.count(kind)) for name, kind in names.items()}}


def _clean(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)

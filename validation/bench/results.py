"""Everything a run found as one JSON-able dict."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from . import machine
from .goals import Verdict
from .plan import Plan
from .report import REMINDER
from .table import Table

FORMAT = 1
"""Raised when a reader of older files would go wrong."""


def to_dict(plan: Plan, tables: Sequence[Table], found: Sequence[Verdict], seconds: float) -> dict[str, Any]:
    """Return the machine, the settings, every figure with its samples, and the goals."""
    settings = {name: getattr(plan, name) for name in ("quick", "layers", "dtype", "rounds", "pause")}
    return {
        "format": FORMAT,
        "machine": machine.facts(),
        "settings": {**settings, "q": list(plan.q)},
        "seconds": seconds,
        "note": REMINDER,
        "tables": [asdict(table) for table in tables],
        "goals": [asdict(verdict) for verdict in found],
    }

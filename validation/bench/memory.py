"""Memory: the most that a fresh process takes, in units of the weight, and what ``net.cost`` counts beforehand."""

from adntn_ref import BrickWall, Cost
from adntn_ref.errors import CandidateError

from . import walls
from .fresh import ask_once
from .plan import Plan
from .table import Row, Table
from .worker import SCHEDULES

PEERS = ("ours, tape", "numpy (L,4,R)", "torch author", "torch rotation", "jax (L,4,R)")
SCHEDULE_NAMES = ("keep", "recompute")


def _size(plan: Plan) -> int:
    return 16 if plan.quick else 20


def memory(plan: Plan) -> Table:
    """Measure the peak of every candidate in a process of its own."""
    q = _size(plan)
    title = f"Peak memory of a fresh process above what it has after imports, {plan.layers} layers, {plan.dtype}"
    table = Table("memory", f"{title}, x output", "x output", "Q")
    row = Row(str(q), {"q": q, "layers": plan.layers, "dtype": plan.dtype})
    output = _cost(q, plan, "keep").weights * _item(plan)
    request = {"task": "peak", "q": q, "layers": plan.layers, "dtype": plan.dtype}
    peers = tuple(candidate for candidate in walls.CANDIDATES if candidate.name in PEERS)
    for candidate in (*SCHEDULES, *peers):
        plan.say(f"memory, {candidate.name}")
        if reason := candidate.missing():
            row.left_out[candidate.name] = reason
            continue
        try:
            row.values[candidate.name] = ask_once({**request, "candidate": candidate.name})["bytes"] / output
        except CandidateError as error:
            row.left_out[candidate.name] = str(error)
    row.numbers |= row.values
    table.rows.append(row)
    table.notes.append("the target, the weight and its cotangent count, and what compiling takes")
    return table


def count(plan: Plan) -> Table:
    """Compare ``net.cost`` with what ``tracemalloc`` sees."""
    q = _size(plan)
    table = Table(
        "count", f"Peak bytes of arrays, counted beforehand and traced, 2^{q} entries, x output", "x output", "schedule"
    )
    table.shown = ["off by"]
    for schedule in SCHEDULE_NAMES:
        plan.say(f"memory counted, {schedule}")
        counted = _cost(q, plan, schedule).peak_bytes_backward
        request = {"task": "traced", "q": q, "layers": plan.layers, "dtype": plan.dtype, "schedule": schedule}
        traced = ask_once(request)["bytes"]
        row = Row(schedule, {"q": q, "layers": plan.layers, "dtype": plan.dtype, "schedule": schedule})
        output = 2**q * _item(plan)
        row.values = {"counted": counted / output, "traced": traced / output}
        row.numbers["off by"] = abs(traced / counted - 1)
        table.rows.append(row)
    return table


def _item(plan: Plan) -> int:
    return 4 if plan.dtype == "float32" else 8


def _cost(q: int, plan: Plan, schedule: str) -> Cost:
    return BrickWall((2**q,), layers=plan.layers).cost(plan.dtype, schedule)

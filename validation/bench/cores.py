"""The second core: the package on one thread and on two, in two processes that take turns."""

from . import machine, walls
from .fresh import Fresh
from .plan import Plan
from .table import Row, Table
from .timing import alternate

ONE, TWO = "one thread", "two threads"


def cores(plan: Plan) -> Table:
    """Measure brick-walls of at least 2^20 entries (2^17 for a quick run) on one thread and on two."""
    title = f"Second core: ours on one thread and on two, {plan.layers} layers, {plan.dtype}, ms"
    table = Table("cores", title, "ms", "Q", shown=["two cores / one"])
    if machine.cores() < 2:
        table.notes.append("left out: this process may run on one core only")
        return table
    for q in (17,) if plan.quick else tuple(q for q in plan.q if q >= 20):
        plan.say(f"one thread and two, 2^{q} entries")
        row = Row(str(q), {"q": q, "layers": plan.layers, "dtype": plan.dtype})
        request = {"task": "prepare", "candidate": walls.OURS.name, **row.facts}
        with Fresh(1) as one, Fresh(2) as two:
            one.ask(request)
            two.ask(request)
            runs = {ONE: lambda one=one: one.ask({"task": "run"}), TWO: lambda two=two: two.ask({"task": "run"})}
            timed = alternate(runs, plan.timing(60.0))
        row.samples = {name: [1e3 * s for s in found] for name, found in timed.samples.items()}
        row.values = {name: 1e3 * seconds for name, seconds in timed.medians.items()}
        row.left_out = timed.left_out
        if TWO in row.values:
            row.numbers["two cores / one"] = row.values[TWO] / row.values[ONE]
        table.rows.append(row)
    if not table.rows:
        table.notes.append("left out: no size of at least 2^20 entries was asked for")
    return table

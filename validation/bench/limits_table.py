"""The machine's limits as a table: large products on one core and on all, and copies."""

from statistics import median
from typing import Any

from . import limits, machine
from .fresh import Fresh
from .plan import Plan
from .table import Row, Table
from .timing import alternate


def machine_limits(plan: Plan) -> Table:
    """Measure large matrix products on one core and on all, and copies of three sizes on one core."""
    plan.say("limits of the machine")
    side = limits.SIDE // 2 if plan.quick else limits.SIDE
    table = Table("limits", f"Limits of this machine, {plan.dtype}", "see row", "limit")
    request: dict[str, Any] = {"task": "gemm", "dtype": plan.dtype, "side": side}
    with Fresh(1) as one:
        flops = one.ask(request)["flops"]
        product, _ = limits.gemm(plan.dtype, side)
        timed = alternate({"one core": lambda: one.ask({"task": "run"}), "all cores": product}, plan.timing(20.0))
    row = Row(f"product of {side} x {side} matrices, Gflop/s", {"cores": machine.cores(), "dtype": plan.dtype})
    row.samples = {name: [flops / s / 1e9 for s in found] for name, found in timed.samples.items()}
    row.values = {name: median(found) for name, found in row.samples.items()}
    table.rows.append(row)
    sizes = (2**16, 2**18) if plan.quick else (2**20, 2**22, 2**24)
    for count, rate in limits.copy_rates(sizes, plan.dtype, plan.timing(20.0)).items():
        label = f"copy of 2^{count.bit_length() - 1} entries, GB/s"
        table.rows.append(Row(label, {"entries": count, "dtype": plan.dtype}, {"one core": rate / 1e9}))
    table.notes.append("copies: bytes read and written")
    return table

"""Trees: TTN and MERA, the package against torch, JAX and HIPS autograd."""

from . import walls
from .candidate import Candidate
from .plan import Plan
from .row import measure
from .table import Row, Table
from .workload import tree

CASES = (("ttn", 16, 4, 2), ("mera", 16, 4, 2), ("ttn", 16, 4, 4))
"""Network, Q, chi, size of a mode."""
QUICK = (("ttn", 12, 4, 2), ("mera", 8, 4, 2))


def candidates() -> tuple[Candidate, ...]:
    """Return those of the brick-walls' candidates that compute any network."""
    names = ("ours", "ours, tape", "torch author", "torch (L,4,R)", "jax (L,4,R)", "autograd (L,4,R)")
    return tuple(candidate for candidate in walls.CANDIDATES if candidate.name in names)


def trees(plan: Plan) -> Table:
    """Measure trees."""
    title = f"Trees, tanh, {plan.dtype}: loss and gradients of all cores, ms (ours / theirs)"
    table = Table("trees", title, "ms", "network", shown=["ours / better of torch and jax"])
    for kind, q, chi, size in QUICK if plan.quick else CASES:
        plan.say(f"{kind}, 2^{q} entries")
        row = Row(f"{kind} chi {chi}, d {size}, 2^{q}", {"network": kind, "q": q, "chi": chi, "size": size})
        row.facts["dtype"] = plan.dtype
        measure(row, tree(kind, q, chi, size, plan.dtype), candidates(), plan.timing(20.0))
        peers = [value for name, value in row.values.items() if name.startswith(("torch", "jax"))]
        if peers:
            row.numbers["ours / better of torch and jax"] = row.values["ours"] / min(peers)
        table.rows.append(row)
    return table

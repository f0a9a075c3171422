"""The brick-wall's loss and gradients: the package, its tape, and everybody else."""

from statistics import median

from . import limits
from .candidate import Candidate, Prepared
from .own_side import closed_form, tape
from .plan import Plan
from .row import measure
from .table import Row, Table
from .workload import Workload, brickwall, gemm_flops

GEMM = "gemm"


def _torch(kind: str) -> Candidate:
    """Return one of the ways in :mod:`adntn_ref.validation.bench.torch_side`, imported when it is used."""

    def prepare(workload: Workload) -> Prepared:
        from . import torch_side

        return torch_side.prepare(workload, getattr(torch_side, kind))

    name, outputs = {
        "Author": ("author", 210),
        "LeftRight": ("(L,4,R)", 260),
        "Rotation": ("rotation", 60),
        "Staircase": ("staircase", 60),
    }[kind]
    return Candidate(f"torch {name}", prepare, ("torch",), 20 if kind == "LeftRight" else None, outputs)


def _jax(workload: Workload) -> Prepared:
    from .numpy_like_side import prepare_jax

    return prepare_jax(workload)


def _autograd(workload: Workload) -> Prepared:
    from .numpy_like_side import prepare_autograd

    return prepare_autograd(workload)


def _numpy(workload: Workload) -> Prepared:
    from .numpy_side import prepare

    return prepare(workload)


OURS, TAPE = Candidate("ours", closed_form), Candidate("ours, tape", tape)
CANDIDATES: tuple[Candidate, ...] = (
    OURS,
    TAPE,
    Candidate("numpy (L,4,R)", _numpy, outputs=80),
    _torch("Author"),
    _torch("LeftRight"),
    _torch("Rotation"),
    _torch("Staircase"),
    Candidate("jax (L,4,R)", _jax, ("jax",), outputs=120),
    Candidate("autograd (L,4,R)", _autograd, ("autograd",), 20, 110),
)


def wall_row(q: int, layers: int, plan: Plan, budget: float, candidates: tuple[Candidate, ...] = CANDIDATES) -> Row:
    """Measure one brick-wall with all candidates, and the limit in the same rounds."""
    plan.say(f"brick-wall, 2^{q} entries, {layers} layers")
    row = Row(str(q), {"q": q, "layers": layers, "dtype": plan.dtype})
    product, flops = limits.gemm(plan.dtype, limits.SIDE // 2 if plan.quick else limits.SIDE)
    measure(row, brickwall(q, layers, plan.dtype), candidates, plan.timing(budget), {GEMM: product})
    if GEMM in row.samples:
        with_limit(row, q, layers, flops / (median(row.samples[GEMM]) / 1e3))
    if TAPE.name in row.values:
        row.numbers["tape / by hand"] = row.values[TAPE.name] / row.values[OURS.name]
    return row


def with_limit(row: Row, q: int, layers: int, rate: float) -> None:
    """Add the limit by the rate of large products (operations a second), and the share of it that ours reaches."""
    limit, strict = (1e3 * gemm_flops(q, layers, first) / rate for first in (True, False))
    row.numbers |= {
        "limit, ms": limit,
        "gemm, Gflop/s": rate / 1e9,
        "share of limit": limit / row.values[OURS.name],
        "share of limit without first column": strict / row.values[OURS.name],
    }


def walls(plan: Plan) -> Table:
    """Measure brick-walls of several sizes."""
    columns = f"{plan.layers} layers of two columns, relu, {plan.dtype}"
    table = Table("walls", f"Brick-wall, {columns}: loss and gradients of all cores, ms (ours / theirs)", "ms", "Q")
    table.shown = ["limit, ms", "share of limit"]
    budgets = {20: 60.0, 22: 90.0}
    for q in plan.q:
        table.rows.append(wall_row(q, plan.layers, plan, budgets.get(q, 120.0 if q > 22 else 30.0)))
    rates = [row.numbers["gemm, Gflop/s"] for row in table.rows if "gemm, Gflop/s" in row.numbers]
    if rates:
        table.notes.append(
            f"limit: 24 flop x {plan.layers}(Q - 1) bricks x 2^Q at the rate of a large matrix product in the same"
            f" rounds ({min(rates):.0f} to {max(rates):.0f} Gflop/s)"
        )
    return table

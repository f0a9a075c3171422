"""The margins of the tolerances, measured: how near honest implementations come, and what planted mistakes show.

``python -m adntn_ref.validation.tolerance --cases 1000 --dtype float32`` prints the table.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adntn_ref.extras import need
from adntn_ref.networks import Network
from adntn_ref.networks.programmed import ProgramNetwork

from ..case import Case, cores_of, reference
from .allowed import allowed_errors
from .honest import WAYS, Way, honest, rounded
from .precision import precision_of
from .tape import Array

MISTAKES = {
    "float64": 2e-12,
    "complex128": 2e-12,
    "float32": 1e-3,
    "complex64": 1e-3,
    "float16": 0.25,
    "bfloat16": 1.0,
}
"""The relative mistake planted by default, by precision."""
HIDING = 1.6
"""A mistake counts as found if it alone is this times the allowed error; honest errors are below about half."""
WIDTH = 100
MATTERS = 0.1
"""A mistake of eps matters if it changes a quantity by more than this times eps of the quantity's largest entry."""

Quantities = dict[str, Array]


@dataclass
class Margin:
    """What one way of computing showed: errors over allowed errors."""

    runs: int = 0
    alarms: int = 0
    worst: float = 0.0
    where: str = ""

    def take(self, ratio: float, where: str) -> None:
        """Count a run."""
        self.runs += 1
        self.alarms += ratio > 1
        if ratio > self.worst:
            self.worst, self.where = ratio, where


@dataclass
class Planted:
    """What planted mistakes showed: those that matter, those of them that were found, and the hardest one.

    ``vague`` counts those in a case of which the precision determines no quantity to a tenth of the mistake.
    ``hidden`` is the largest change, relative to the largest entry of its quantity, that was not found; ``least`` the
    smallest ratio of error to allowed error of those that matter.
    """

    planted: int = 0
    vague: int = 0
    matter: int = 0
    found: int = 0
    least: float = np.inf
    hidden: float = 0.0
    where: str = ""


@dataclass
class Margins:
    """The margins over many cases."""

    dtype: str
    mistake: float
    cases: int = 0
    ways: dict[str, Margin] = field(default_factory=dict)
    groups: dict[str, Margin] = field(default_factory=dict)
    mistakes: dict[str, Planted] = field(default_factory=dict)


def ratio(got: Array, right: Array, allowed: Array) -> float:
    """Return the largest error over allowed error; entries of infinite allowance are left out.

    Examples
    --------
    >>> ratio(np.array([1.0, np.nan]), np.array([1.5, 2.0]), np.array([1.0, np.inf]))
    0.5
    """
    with np.errstate(all="ignore"):
        error = np.abs(got.astype(right.dtype) - right)
        found = np.where(np.isinf(allowed) | (error == 0), 0.0, error / allowed)
    return float(np.max(np.where(np.isnan(found), np.inf, found), initial=0.0))


def rounded_case(case: Case, dtype: str) -> Case:
    """Return a case whose numbers are of a precision, held in double precision; frozen weights keep their own."""
    wide = np.complex128 if precision_of(dtype).complex else np.float64

    def change(array: Array) -> Array:
        return rounded(array, dtype).astype(wide)

    params = {name: x if name.startswith("frozen/") else change(x) for name, x in case.params.items()}
    given = case.cotangent
    cotangent = {name: change(x) for name, x in given.items()} if isinstance(given, dict) else change(given)
    return Case(case.name, case.spec, params, cotangent)


def random_cases(count: int, seed: int, complex_numbers: bool = False) -> list[Case]:
    """Return cases of the hypothesis strategies, all networks.

    Raises
    ------
    MissingExtra
        If hypothesis is not installed.
    """
    hypothesis, ours = need("hypothesis", "test"), need("adntn_ref.validation.strategies", "test")
    found: list[Case] = []
    settings = hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(hypothesis.Phase.generate,),
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    strategy = ours.cases(dtype="complex128" if complex_numbers else "float64")

    def keep(case: Case) -> None:
        found.append(case)

    hypothesis.seed(seed)(settings(hypothesis.given(strategy)(keep)))()
    return found


def measure(case: Case, dtype: str, into: Margins, ways: tuple[Way, ...] = WAYS, seed: int = 0) -> None:
    """Run a case in honest ways and with planted mistakes, and add what they show to the margins."""
    case = rounded_case(case, dtype)
    net, cores, right = case.network, cores_of(case.params), reference(case)
    allowed = allowed_errors(case.spec, case.params, case.cotangent, dtype)
    into.cases += 1
    for way in ways:
        got = honest(net, cores, case.cotangent, dtype, way, seed)
        _compare(into, way.name, case, got, right, allowed)
    if dtype in ("float64", "float32", "complex128", "complex64"):
        _compare(into, "the package", case, package(net, cores, case.cotangent, dtype), right, allowed)
    rng = np.random.default_rng(seed)
    for kind, wrong in mistaken(cores, rng, into.mistake):
        _plant(into, kind, case, wrong, right, allowed)


def _compare(into: Margins, way: str, case: Case, got: Quantities, right: Quantities, allowed: Quantities) -> None:
    net = case.network
    ratios = {name: ratio(x, right[name], allowed[name]) for name, x in got.items()}
    worst = max(ratios, key=lambda name: ratios[name])
    into.ways.setdefault(way, Margin()).take(ratios[worst], f"{worst} of {case.name} {net!r}")
    for name, value in ratios.items():
        into.groups.setdefault(name.split("/")[0], Margin()).take(value, f"{name} of {case.name} {net!r}")


def package(net: Network, cores: Mapping[str, Array], cotangent: Any, dtype: str) -> Quantities:
    """Return the quantities by the package itself, working in a precision of NumPy."""
    params = {name: x.astype(dtype) for name, x in cores.items()}
    stack = isinstance(cotangent, dict)
    g = {name: x.astype(dtype) for name, x in cotangent.items()} if stack else cotangent.astype(dtype)
    weight, pullback = net.vjp(params)
    found: Quantities = {f"weight/{n}": x for n, x in weight.items()} if stack else {"weight": weight}
    found |= {f"gradient/{name}": x for name, x in pullback(g).items()}
    if isinstance(net, ProgramNetwork):
        found |= {f"state/{name}": x for name, x in net.forward_states(params).items()}
        found |= {f"adjoint/{name}": x for name, x in net.adjoint_states(params, g).items()}
    return found


def mistaken(
    cores: Mapping[str, Array], rng: np.random.Generator, mistake: float
) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yield the cores with a relative mistake: in a whole core, and in one entry of it."""
    name = str(rng.choice(list(cores)))
    yield "a core", {**cores, name: cores[name] * (1 + mistake)}
    entry = cores[name].copy()
    entry.flat[rng.integers(entry.size)] *= 1 + mistake
    yield "an entry", {**cores, name: entry}


def _plant(
    margins: Margins, kind: str, case: Case, wrong: dict[str, Array], right: Quantities, allowed: Quantities
) -> None:
    into, least = margins.mistakes.setdefault(kind, Planted()), MATTERS * margins.mistake
    frozen = {name: x for name, x in case.params.items() if name.startswith("frozen/")}
    got = reference(Case(case.name, case.spec, {**wrong, **frozen}, case.cotangent))
    shown = [name for name in right if name.startswith(("weight", "gradient"))]
    sharp = [name for name in shown if np.max(allowed[name]) <= least * np.max(np.abs(right[name]))]
    change = max((_relative_change(got[name], right[name]) for name in sharp), default=0.0)
    most = max(ratio(got[name], right[name], allowed[name]) for name in shown)
    into.planted += 1
    into.vague += not sharp
    # More than once: the implementation's own honest error may hide some of it.
    found = most > HIDING
    if change > least:
        into.matter += 1
        into.found += found
        if most < into.least:
            into.least, into.where = most, repr(case.network)
    if not found:
        into.hidden = max(into.hidden, change)


def _relative_change(got: Array, right: Array) -> float:
    largest = float(np.max(np.abs(right), initial=0.0))
    return float(np.max(np.abs(got - right), initial=0.0)) / largest if largest else 0.0


def table(margins: Margins) -> str:
    """Return the margins as text."""
    lines = [f"{margins.cases} cases in {margins.dtype}", ""]
    lines.append(f"{'error over allowed error':26} {'runs':>6} {'alarms':>7} {'worst':>7}  where")
    for name, margin in {**margins.ways, **margins.groups}.items():
        lines.append(f"{name:26} {margin.runs:6} {margin.alarms:7} {margin.worst:7.3f}  {margin.where[:WIDTH]}")
    head = " ".join(f"{word:>9}" for word in ("planted", "vague", "matter", "found", "least", "hidden"))
    lines += ["", f"{f'mistakes of {margins.mistake:g}':18} {head}  where the ratio is least"]
    for name, found in margins.mistakes.items():
        counts = " ".join(f"{n:9}" for n in (found.planted, found.vague, found.matter, found.found))
        lines.append(f"{name:18} {counts} {found.least:9.1f} {found.hidden:9.1e}  {found.where[:WIDTH]}")
    return "\n".join(lines)


def margins_of(cases: list[Case], dtype: str, each: int | None = None, mistake: float | None = None) -> Margins:
    """Return the margins over cases; ``each`` is the number of ways tried with a case, in turn, default all."""
    found = Margins(dtype, MISTAKES[dtype] if mistake is None else mistake)
    for k, case in enumerate(cases):
        ways = WAYS if each is None else tuple(WAYS[(k * each + i) % len(WAYS)] for i in range(each))
        measure(case, dtype, found, ways, seed=k)
    return found

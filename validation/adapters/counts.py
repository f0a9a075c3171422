"""How often a comparison accuses an honest implementation: random cases, counted.

``python -m adntn_ref.validation.adapters [NAME ...] --cases 2000`` draws cases from the strategies and compares every
quantity of the adapters with the package's closed form, within what ``tolerance`` allows in the dtype. Every adapter is
right, so every alarm would be a false one.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adntn_ref.extras import need

from ..case import Case, reference
from ..tolerance import allowed_errors

Array = NDArray[Any]

READY = ("own", "torch", "jax", "autograd", "cupy")
QUANTITIES = ("weight", "gradient", "state", "adjoint")


@dataclass
class Count:
    """What was counted for one adapter in one dtype.

    Attributes
    ----------
    cases : number of cases that were compared
    unsupported : number of cases for which the adapter raised NotImplementedError
    compared : number of arrays that were compared
    worst : largest error, relative to the allowed one, of any entry
    worst_of : the case and quantity of that entry
    alarms : case, quantity and ratio wherever an error was above the allowed one
    """

    adapter: str
    dtype: str
    cases: int = 0
    unsupported: int = 0
    compared: int = 0
    worst: float = 0.0
    worst_of: str = ""
    alarms: list[str] = field(default_factory=list)

    def add(
        self, case: Case, expected: Mapping[str, Array], allowed: Mapping[str, Array], got: Mapping[str, Any]
    ) -> None:
        """Compare what an adapter returned for one case."""
        self.cases += 1
        for quantity, wanted in expected.items():
            if quantity.partition("/")[0] not in {name.partition("/")[0] for name in got}:
                continue  # the adapter has no states, or was not asked for them
            self.compared += 1
            ratio = excess(got.get(quantity), wanted, allowed[quantity], case.dtype)
            if ratio > self.worst:
                self.worst, self.worst_of = ratio, f"{case.name} {quantity}"
            if not ratio <= 1:
                self.alarms.append(f"{case.name} {quantity}: {ratio:.3g} times the allowed error, spec {case.spec}")

    def line(self) -> str:
        """Return the row of the table."""
        return (
            f"{self.adapter:<10}{self.dtype:<12}{self.cases:>7}{self.unsupported:>15}{self.compared:>10}"
            f"{self.worst:>22.3g}{len(self.alarms):>14}"
        )


HEADER = (
    f"{'adapter':<10}{'dtype':<12}{'cases':>7}{'not supported':>15}{'arrays':>10}"
    f"{'worst error/allowed':>22}{'false alarms':>14}"
)


def excess(got: Any, expected: Array, allowed: Array, dtype: str) -> float:
    """Return the largest error of an entry relative to the allowed one; infinite for a wrong dtype, size or NaN."""
    got = None if got is None else np.asarray(got)
    if got is None or got.size != expected.size or got.dtype != np.dtype(dtype):
        return float("inf")
    errors = np.abs(got.reshape(expected.shape).astype(np.result_type(expected, np.float64)) - expected)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(errors <= 0, 0.0, errors / allowed)
    return float("inf") if np.isnan(errors).any() else float(np.max(ratios, initial=0.0))


def quantities(module: Any, case: Case, asked: tuple[str, ...] = QUANTITIES) -> dict[str, Array]:
    """Return what a candidate's functions give for a case, by quantity.

    Raises
    ------
    NotImplementedError
        Where the candidate does not support the specification.
    """
    found: dict[str, Array] = {}
    if "weight" in asked:
        weight = module.generate(case.spec, case.params)
        named = {f"weight/{name}": w for name, w in weight.items()} if isinstance(weight, dict) else {"weight": weight}
        found |= named
    if "gradient" in asked:
        gradients = module.vjp(case.spec, case.params, case.cotangent)
        found |= {f"gradient/{name}": g for name, g in gradients.items()}
    if "state" in asked:
        found |= {f"state/{name}": x for name, x in module.states(case.spec, case.params).items()}
    if "adjoint" in asked:
        adjoints = module.adjoint_states(case.spec, case.params, case.cotangent)
        found |= {f"adjoint/{name}": x for name, x in adjoints.items()}
    return found


def random_cases(visit: Callable[[Case], None], number: int, seed: int, dtype: str, limit: int) -> None:
    """Call ``visit`` with random cases: the same ones for the same arguments and version of hypothesis."""
    need("hypothesis", "test")
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as from_seed

    from ..strategies import cases

    found: list[Case] = []

    @from_seed(seed)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(dtype=dtype, limit=limit))
    def draw(case: Case) -> None:
        found.append(case)

    draw()
    for case in found[:number]:
        visit(case)


def count(
    names: tuple[str, ...], number: int, dtypes: tuple[str, ...], seed: int, limit: int, asked: tuple[str, ...]
) -> Iterator[Count]:
    """Compare adapters on the same random cases, dtype after dtype, and give the counts of each."""
    modules = {name: import_module(f"{__package__}.{name}_adapter") for name in names}
    for dtype in dtypes:
        counts = {name: Count(name, dtype) for name in names}

        def visit(case: Case, dtype: str = dtype, counts: dict[str, Count] = counts) -> None:
            expected = {q: x for q, x in reference(case).items() if q.partition("/")[0] in asked}
            allowed = allowed_errors(case.spec, case.params, case.cotangent, dtype, tuple(expected))
            for name, module in modules.items():
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("error")
                        got = quantities(module, case, asked)
                except NotImplementedError:
                    counts[name].unsupported += 1
                else:
                    counts[name].add(case, expected, allowed, got)

        random_cases(visit, number, seed, dtype, limit)
        yield from counts.values()

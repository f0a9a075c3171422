"""Making the vectors: every number in 100 digits, compared with the other derivations, and rounded once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import adntn_ref as ar
from adntn_ref.ad import losses as package_losses
from adntn_ref.compression.objectives import EuclideanLoss, OutputsLoss
from adntn_ref.compression.statistics import OutputStatistics
from adntn_ref.program.starts import calibrate, draw_cores
from adntn_ref.program.steps import Program

from ..case import Case, cores_of
from . import exact as ex
from . import fit_case, losses, starts
from .agreement import MEANING, WITHIN, Agreement
from .cases import Entry, entries, made
from .decimals import DIGITS, Array, digits, exact, rounded
from .fit_agreement import check_fit
from .store import FORMAT, VERSION, Index, describe, write

TOLERANCE = 1e-12
"""Advice: a program in double precision may be off by this share of the largest entry of an array."""


EXACT = 500
"""Digits with which nothing is rounded where parameters are integers: 0.01 as a double, to the fifth power, has 295."""


@dataclass(frozen=True, eq=False)
class Built:
    """Index and arrays, and how far the derivations were apart."""

    index: Index
    arrays: dict[str, Array]
    agreement: Agreement


def build(some: Mapping[str, Entry] | None = None) -> Built:
    """Compute every vector, and compare each with its other derivations.

    Raises
    ------
    VectorsDisagree
        If two derivations differ by more than rounding.
    """
    arrays: dict[str, Array] = {}
    agreement = Agreement()
    index: Index = {
        "format": FORMAT,
        "format_version": VERSION,
        "tolerance": {"float64": TOLERANCE, "relative_to": "largest absolute entry of the array"},
        "derivations": {name: {"within": WITHIN[name], "meaning": text} for name, text in MEANING.items()},
    }
    with digits():
        chosen = entries() if some is None else list(some.values())
        index["cases"] = [_case(entry, agreement, arrays) for entry in chosen]
        index["starts"] = [_start(case, agreement, arrays) for case in starts.start_cases()]
        index["losses"] = [_loss(case, agreement, arrays) for case in losses.loss_cases()]
        index["fits"] = [_fit(case, agreement, arrays) for case in fit_case.fit_cases()]
    return Built(index, arrays, agreement)


def generate(folder: str | Path) -> Built:
    """Build the vectors and write both files into a folder."""
    built = build()
    write(folder, built.index, built.arrays)
    return built


def _keep(arrays: dict[str, Array], name: str, own: Mapping[str, Array]) -> dict[str, Any]:
    arrays.update({f"{name}/{key}": array for key, array in own.items()})
    return {key: describe(array) for key, array in own.items()}


def _case(entry: Entry, agreement: Agreement, arrays: dict[str, Array]) -> dict[str, Any]:
    case = made(entry)
    with digits(EXACT if entry.numbers == "integers" else DIGITS):
        cores = {name: exact(core) for name, core in cores_of(case.params).items()}
        decimals = ex.quantities(case.network, cores, _cotangent(case))
    numbers = {name: rounded(x) for name, x in decimals.items()}
    provenance = agreement.check_case(case, decimals, numbers)
    given = {f"params/{name}": array for name, array in case.params.items()}
    if isinstance(case.cotangent, dict):
        given |= {f"cotangent/{name}": array for name, array in case.cotangent.items()}
    else:
        given["cotangent"] = case.cotangent
    facts: dict[str, Any] = {"name": entry.name, "note": entry.note, "spec": case.spec, "dtype": case.dtype}
    facts |= {"seed": entry.seed, "numbers": entry.numbers, "provenance": provenance}
    return facts | {"arrays": _keep(arrays, entry.name, given | numbers)}


def _cotangent(case: Case) -> Any:
    given = case.cotangent
    return {name: exact(part) for name, part in given.items()} if isinstance(given, dict) else exact(given)


class _Given:
    """Hands out given arrays where a generator would draw normal ones."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = iter(arrays.values())

    def standard_normal(self, shape: tuple[int, ...]) -> Array:
        """Return the next array."""
        return next(self.arrays).reshape(shape)


def _start(case: starts.StartCase, agreement: Agreement, arrays: dict[str, Array]) -> dict[str, Any]:
    numbers = {f"start/{name}": rounded(core) for name, core in starts.run(case).items()}
    network, program = case.network, case.network.program
    assert isinstance(program, Program)
    vectors = set(program.start.core_names)
    cores = draw_cores(network.core_shapes, vectors, _Given(case.normal), case.start)  # type: ignore[arg-type]
    if case.std is not None:
        cores = calibrate(program, cores, network.placement, case.std)
    got = {f"start/{name}": core for name, core in cores.items()}
    facts = {"name": case.name, "spec": network.to_spec(), "start": case.start, "std": case.std}
    facts |= {"dtype": "float64", "seed": case.seed}
    facts["provenance"] = agreement.compare(case.name, "package", got, numbers)
    given = {f"normal/{name}": array for name, array in case.normal.items()}
    return facts | {"arrays": _keep(arrays, case.name, given | numbers)}


def _loss(case: losses.LossCase, agreement: Agreement, arrays: dict[str, Array]) -> dict[str, Any]:
    value, pull = losses.LOSSES[case.loss]({k: exact(x) for k, x in case.inputs.items()}, **case.arguments)
    first = next(iter(case.inputs))
    gradient = pull(exact(1.0 if case.cotangent is None else case.cotangent))
    numbers = {"loss": rounded(value), f"gradient/{first}": rounded(gradient)}
    got = dict(zip(numbers, _package_loss(case), strict=True))
    facts: dict[str, Any] = {
        "name": case.name,
        "note": case.note,
        "loss": case.loss,
        "arguments": case.arguments,
        "dtype": "float64",
    }
    facts["seed"] = losses.SEED
    facts["provenance"] = agreement.compare(case.name, "package", got, numbers)
    given = {f"inputs/{name}": array for name, array in case.inputs.items()}
    if case.cotangent is not None:
        given["cotangent"] = case.cotangent
    return facts | {"arrays": _keep(arrays, case.name, given | numbers)}


def _package_loss(case: losses.LossCase) -> tuple[Array, Array]:
    """Return value and gradient by the package."""
    first, *others = case.inputs.values()
    if case.loss == "euclidean":
        return EuclideanLoss(case.inputs["target"])(first)
    if case.loss == "outputs":
        zero = np.zeros(len(case.inputs["cxx"]))
        covariances = {name: case.inputs[name] for name in ("cxx", "cx0", "c00")}
        return OutputsLoss(case.inputs["target"], OutputStatistics(mean_x=zero, mean_x0=zero, **covariances))(first)
    function = getattr(package_losses, case.loss)
    value, pull = ar.vjp(lambda x: function(x, *others, **case.arguments), first)
    return value, pull(1.0 if case.cotangent is None else case.cotangent)[0]


def _fit(case: fit_case.FitCase, agreement: Agreement, arrays: dict[str, Array]) -> dict[str, Any]:
    recorded = fit_case.run(case)
    numbers = {name: rounded(rows) for name, rows in recorded.items()}
    provenance = check_fit(case, recorded, numbers, agreement)
    facts: dict[str, Any] = {"name": case.name, "note": case.note, "spec": case.network.to_spec(), "dtype": "float64"}
    facts["seed"] = fit_case.SEED
    facts |= {"plans": {stage: plan.facts() for stage, plan in case.plans.items()}, "provenance": provenance}
    return facts | {"arrays": _keep(arrays, case.name, case.inputs | numbers)}

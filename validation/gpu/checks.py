"""The checks on a device, each a finding with a sentence; none stops the others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adntn_ref.ad.arrays import backend_of
from adntn_ref.ad.moving import on_host, to_backend
from adntn_ref.ad.trees import leaves, map_leaves
from adntn_ref.networks import BrickWall, Network
from adntn_ref.networks.fitting import peaks

from ..case import with_frozen
from ..tolerance import allowed_errors
from . import training
from .cases import drawn, dtypes_of, networks, schedules_of, ways
from .probe import Probe

MEMORY_SHARE = 1.25
"""Measured bytes over those of the cost model that are still in order, with ``MEMORY_ROOM`` beside."""
MEMORY_ROOM = 2**24
LARGE = {"float32": 2e-4, "float64": 1e-11}
"""Relative error in norm that is allowed for networks too large for the rounding model."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: whether it passed, a sentence, and what did not."""

    name: str
    passed: bool
    said: str
    wrong: list[str] = field(default_factory=list)


def run_checks(probe: Probe, quick: bool = False, only: Sequence[str] = ()) -> Iterator[Finding]:
    """Run every check on a device and yield what it found; an exception is a finding too, and not a pass.

    Parameters
    ----------
    probe : the device
    quick : a quarter of the networks, and a smaller one where memory is measured
    only : names of checks; all if empty
    """
    chosen = networks()
    if quick:
        chosen = {name: chosen[name] for k, name in enumerate(chosen) if k % 4 == 0}
    checks: dict[str, Callable[[], Finding]] = {
        "values": lambda: values(probe, chosen),
        "large": lambda: large(probe, 12 if quick else 18),
        "same bits twice": lambda: repeated(probe, chosen),
        "no waiting": lambda: waiting(probe),
        "memory": lambda: memory(probe, 14 if quick else 20),
        "starts": lambda: starts(probe, chosen),
        "stage 1": lambda: training.stage1(probe, Finding),
        "stage 2": lambda: training.stage2(probe, Finding),
    }
    for name, check in checks.items():
        if only and name not in only:
            continue
        try:
            yield check()
        except Exception as error:
            yield Finding(name, False, f"ended by {type(error).__name__}: {error}", [str(error)])


def values(probe: Probe, chosen: dict[str, Network]) -> Finding:
    """Compare weights and gradients with NumPy's in float64, each entry within what rounding may do."""
    count, wrong, taken = 0, [], set()
    for name, network in chosen.items():
        for dtype in dtypes_of(network):
            params, cotangent = drawn(network, dtype)
            expected = quantities(network, _double(params), _double(cotangent), None)
            allowed = allowed_errors(network.to_spec(), with_frozen(network, params), cotangent, dtype)
            for way in ways(probe.backend):
                there = to_backend((params, cotangent), probe.backend.name)
                for schedule in schedules_of(network):
                    count += 1
                    found = {key: on_host(x) for key, x in quantities(network, there[0], there[1], schedule).items()}
                    taken.add(getattr(probe.backend, "path", way))
                    wrong += [
                        f"{name}, {dtype}, {schedule or 'keep'}, {way}: {key} is off by {off:.3g}"
                        for key, off in _off(found, expected, allowed, dtype)
                    ]
    said = f"{count} runs of {len(chosen)} networks against NumPy in float64, by: {'; '.join(sorted(taken))}"
    return Finding("values", not wrong, said, wrong)


def quantities(network: Network, params: Any, cotangent: Any, schedule: str | None) -> dict[str, Any]:
    """Return weight and gradients by name, where the parameters are."""
    options: Any = {} if schedule is None else {"schedule": schedule}
    weight, pullback = network.vjp(params, **options)
    named = {f"weight/{k}": w for k, w in weight.items()} if isinstance(weight, dict) else {"weight": weight}
    return {**named, **{f"gradient/{k}": g for k, g in pullback(cotangent).items()}}


def _double(tree: Any) -> Any:
    return map_leaves(lambda x: x.astype("complex128" if x.dtype.kind == "c" else "float64"), tree)


def _off(found: Any, expected: Any, allowed: Any, dtype: str) -> Iterator[tuple[str, float]]:
    """Yield the quantities that are further off than allowed, of another dtype or shape, or missing."""
    for key in sorted(expected.keys() | found.keys()):
        got, wanted = found.get(key), expected.get(key)
        if got is None or wanted is None or got.dtype.name != dtype or got.shape != wanted.shape:
            yield key, float("inf")
            continue
        off = np.abs(got - wanted)
        if not bool((off <= allowed[key]).all()):
            yield key, float(off.max())


def large(probe: Probe, modes: int) -> Finding:
    """Compare a brick-wall of many modes, in norm: there kernels take tiles of more than one kind."""
    wrong, worst = [], 0.0
    network = BrickWall((2**modes,), 4)
    for dtype, limit in LARGE.items():
        params, cotangent = drawn(network, dtype)
        expected = quantities(network, _double(params), _double(cotangent), None)
        for way in ways(probe.backend):
            there = to_backend((params, cotangent), probe.backend.name)
            for key, x in quantities(network, there[0], there[1], None).items():
                norm = float(np.linalg.norm(expected[key]))
                off = float(np.linalg.norm(on_host(x) - expected[key])) / (norm or 1.0)
                worst = max(worst, off / limit)
                if not off <= limit:
                    wrong.append(f"{dtype}, {way}: {key} is off by {off:.3g} of its norm")
    return Finding("large", not wrong, f"2^{modes} weights, at worst {worst:.2g} of what is allowed", wrong)


def repeated(probe: Probe, chosen: dict[str, Network]) -> Finding:
    """Run everything twice and ask for the same bits."""
    wrong = []
    for name, network in chosen.items():
        there = to_backend(drawn(network, "float32"), probe.backend.name)
        for way in ways(probe.backend):
            first, second = (to_backend(quantities(network, there[0], there[1], None), "numpy") for _ in range(2))
            wrong += [f"{name}, {way}: {key}" for key in first if first[key].tobytes() != second[key].tobytes()]
    return Finding("same bits twice", not wrong, f"{len(chosen)} networks, float32, each twice", wrong)


def waiting(probe: Probe) -> Finding:
    """Ask whether weight and gradients, and steps of both stages, come back before the device is done."""
    network = BrickWall((2**12,), 3)
    there = to_backend(drawn(network, "float32"), probe.backend.name)
    ways_that_wait = [
        way for way in ways(probe.backend) if probe.waits(lambda: quantities(network, there[0], there[1], "keep"))
    ]
    wrong = [f"weight and gradients, {way}" for way in ways_that_wait]
    wrong += [title for title, step in training.steps(probe).items() if probe.waits(step)]
    return Finding("no waiting", not wrong, "no copy to the host and no synchronisation inside a step", wrong)


def memory(probe: Probe, modes: int) -> Finding:
    """Compare the peak of allocated bytes with the cost model, by schedule."""
    network, wrong, shares = BrickWall((2**modes,), 6), [], []
    there = to_backend(drawn(network, "float32"), probe.backend.name)
    for schedule in ("keep", "recompute", "checkpoints:2"):
        planned = peaks(network, "float32", schedule, probe.backend.name)[1]
        for way in ways(probe.backend):
            measured = probe.peak_bytes(lambda: quantities(network, there[0], there[1], schedule))  # noqa: B023
            shares.append(measured / planned)
            if measured > MEMORY_SHARE * planned + MEMORY_ROOM:
                wrong.append(f"{schedule}, {way}: {measured} bytes, planned {planned}")
    said = f"2^{modes} weights, measured over planned {min(shares):.2f} to {max(shares):.2f}"
    return Finding("memory", not wrong, said, wrong)


def starts(probe: Probe, chosen: dict[str, Network]) -> Finding:
    """Draw parameters on the host and for the device, and ask for the same bits."""
    wrong = []
    for name, network in chosen.items():
        here, there = (network.init(5, "float32", backend=b) for b in ("numpy", probe.backend.name))
        if {backend_of(x).name for x in leaves(there)} != {probe.backend.name}:
            wrong.append(f"{name}: not on the device")
        back = to_backend(there, "numpy")
        wrong += [f"{name}: {key}" for key in here if here[key].tobytes() != back[key].tobytes()]
    return Finding("starts", not wrong, f"{len(chosen)} networks start from the same bits on both", wrong)

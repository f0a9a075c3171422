"""What can be said without a known mistake: where intermediates begin to differ, and what a wrong array looks like."""

from collections.abc import Iterable, Sequence
from itertools import permutations
from math import prod
from typing import Any

import numpy as np

from .evidence import Observation, comparable, differs
from .parts import Array

MOST_MODES = 6
"""Permutations of more modes are not tried."""


def first_difference_of(observations: Sequence[Observation]) -> str | None:
    """Return the sentence on the smallest case whose intermediates differ, None where none are given or differ."""
    cases = sorted(observations, key=lambda o: sum(np.size(x) for x in o.expected.values()))
    for kind in ("state", "adjoint"):
        for observation in cases:
            found = first_difference(observation, kind)
            if found is not None:
                return found
    return None


def first_difference(observation: Observation, kind: str = "state") -> str | None:
    """Return a sentence that names the first step whose intermediate differs from the reference.

    Parameters
    ----------
    observation : with quantities ``state/STEP`` or ``adjoint/STEP``, shaped as the reference or flat
    kind : ``"state"``, in the order of the program, or ``"adjoint"``, from the last step to the first
    """
    steps = [name.partition("/")[2] for name in observation.expected if name.startswith(f"{kind}/")]
    given = [step for step in steps if f"{kind}/{step}" in observation.got]
    if kind == "adjoint":
        steps.reverse()
        given.reverse()
    what = "states" if kind == "state" else "cotangents of the states"
    for before, step in zip([None, *given], given, strict=False):
        name = f"{kind}/{step}"
        if _fits(observation, name) and not differs(observation, name):
            continue
        until = "from the first" if before is None else f"after {before}, which agrees,"
        lacking = steps[0 if before is None else steps.index(before) + 1 : steps.index(step)]
        notes = [] if _fits(observation, name) else ["another number of entries, or not finite"]
        notes += [f"yours lack {', '.join(lacking)}"] if lacking else []
        return f"In case {observation.case.name} the {what} differ {until} at {step}{_bracketed(notes)}."
    return None


def _bracketed(notes: Sequence[str]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""


def _fits(observation: Observation, name: str) -> bool:
    given, right = np.asarray(observation.got[name]), np.asarray(observation.expected[name])
    return given.size == right.size and comparable(given.reshape(right.shape), right)


def hints(observations: Sequence[Observation]) -> str:
    """Return sentences on the smallest wrong case: what its wrong quantities look like beside the reference."""
    for observation in sorted(observations, key=lambda o: sum(np.size(x) for x in o.expected.values())):
        names = [n for n in observation.expected if n.startswith(("weight", "gradient/")) and n in observation.got]
        bad = [n for n in names if not comparable(observation.got[n], observation.expected[n])]
        wrong = [n for n in names if n not in bad and differs(observation, n)]
        if bad or wrong:
            told = [*_unusable(observation, bad), *_seen(observation, names, wrong)]
            return f"In case {observation.case.name}: {'; '.join(told)}."
    return ""


def _unusable(observation: Observation, names: Iterable[str]) -> list[str]:
    told = []
    for name in names:
        given, right = np.asarray(observation.got[name]), np.asarray(observation.expected[name])
        if given.shape == right.shape:
            told.append(f"{name} holds NaN or infinity")
            continue
        also = ", its numbers those of the reference transposed" if _transposed(given, right) else ""
        told.append(f"{name} has shape {given.shape} instead of {right.shape}{also}")
    return told


def _transposed(given: Array, right: Array) -> bool:
    return given.shape == right.shape[::-1] and np.allclose(given, right.T, rtol=1e-4)


def _seen(observation: Observation, names: Sequence[str], wrong: Sequence[str]) -> list[str]:
    """Say what the wrong arrays look like: weights first, one sentence for gradients that all look the same."""
    if not wrong:
        return []
    weights = [n for n in wrong if n.startswith("weight")]
    if weights:
        return [f"{n} {looks(observation.got[n], observation.expected[n], _modes(observation, n))}" for n in weights]
    gradients = [n for n in names if n.startswith("gradient/")]
    which = "every gradient is wrong" if len(wrong) == len(gradients) else f"wrong are {', '.join(wrong)} alone"
    views = {looks(observation.got[n], observation.expected[n]) for n in wrong}
    return [f"the weight agrees, {which}", *([f"each {views.pop()}"] if len(views) == 1 else [])]


def _modes(observation: Observation, name: str) -> tuple[int, ...]:
    spec = observation.case.spec
    modes = tuple(spec.get("modes", ()))
    flat = name == "weight" and spec.get("layout", "flat") == "flat"
    return modes if flat and prod(modes) == np.size(observation.expected[name]) else ()


def looks(given: Any, right: Any, modes: tuple[int, ...] = ()) -> str:
    """Say what a wrong array looks like beside the right one.

    Examples
    --------
    >>> looks(np.array([2.0, 4.0]), np.array([1.0, 2.0]))
    'is 2 times the reference'
    """
    given, right = np.asarray(given), np.asarray(right)
    size = float(np.abs(right).max(initial=0))
    if not np.abs(given).max(initial=0) > 0:
        return "is zero"
    if size == 0:
        return "should be zero"
    near = 1e-4 * size
    ratio = np.vdot(right, given) / np.vdot(right, right)
    if np.abs(given - ratio * right).max() <= near * abs(ratio):
        factor = f"{ratio:.6g}" if np.iscomplexobj(ratio) and abs(ratio.imag) > 1e-6 else f"{ratio.real:.6g}"
        return f"is {factor} times the reference"
    if np.iscomplexobj(given) and np.abs(given - right.conj()).max() <= near:
        return "is the conjugate of the reference"
    moved = _moved(given, right, modes, near)
    if moved:
        return moved
    off = np.abs(given - right) > near
    if off.sum() < off.size:
        first = tuple(int(i) for i in np.argwhere(off)[0])
        where = first[0] if len(first) == 1 else first
        return f"differs in {int(off.sum())} of {off.size} entries, the first at index {where}"
    return "differs in every entry, and is no multiple or reordering of the reference"


def _moved(given: Array, right: Array, modes: tuple[int, ...], near: float) -> str:
    """Say how the entries of the reference were reordered, if that is all that differs."""
    flat, wanted = given.reshape(-1), right.reshape(-1)
    parts = [(np.sort(x.real), np.sort(x.imag)) for x in (flat, wanted)]
    if any(np.abs(a - b).max() > near for a, b in zip(*parts, strict=True)):
        return ""
    if np.abs(flat - wanted[::-1]).max() <= near:
        return "is the reference from its last entry to its first"
    if np.abs(flat - right.reshape(-1, order="F")).max() <= near:
        return "is the reference read in Fortran order"
    if 0 < len(modes) <= MOST_MODES:
        tensor = right.reshape(modes)
        for order in permutations(range(len(modes))):
            if np.abs(flat - tensor.transpose(order).reshape(-1)).max() <= near:
                return f"is the reference with its modes in the order {order}"
    return "holds the reference's numbers in another order"

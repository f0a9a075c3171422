"""A diagnosis in a few sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

from .contrast import contrast, multiples
from .evidence import Evidence, Observation
from .hints import hints
from .separating import telling_apart

STATES = "Return your states and adjoint states (docs/verify.md), and the first step that differs is named."
LISTED = 5
"""At most this many explanations of the same cases are written out."""


@dataclass(frozen=True)
class Explanation:
    """Mistakes that make of every case what the candidate made of it.

    Attributes
    ----------
    mistakes : names
    sentence : what the output equals
    where : where to read about each
    explained : number of wrong cases that they explain
    silent : number of cases on which they cannot be made, as sizes do not fit, and so say nothing
    networks : the networks whose cases alone they explain; empty where they explain all
    weights_only : whether they explain the weights and not the gradients given beside them
    """

    mistakes: tuple[str, ...]
    sentence: str
    where: tuple[str, ...]
    explained: int
    silent: int
    networks: tuple[str, ...] = ()
    weights_only: bool = False


def report(
    observations: Sequence[Observation],
    evidence: Sequence[Evidence],
    found: Sequence[Explanation],
    difference: str | None,
    cut: bool,
) -> str:
    """Return the diagnosis as text: what explains the output, where to read about it, what remains."""
    wrong = sum(bool(one.wrong) for one in evidence)
    parts = []
    for networks in dict.fromkeys(e.networks for e in found):
        parts += _same_cases([e for e in found if e.networks == networks], wrong)
    if not found:
        parts.append("No known mistake, and no two of them, explain the output.")
        parts += [contrast(observations), multiples(observations)]
    told = {network for e in found for network in e.networks}
    if not found or told:
        parts.append(hints([o for o in observations if o.case.spec.get("network") not in told]))
    if not found and difference is None and any(_lacks_states(o) for o in observations):
        parts.append(STATES)
    if cut:
        parts.append("The search for pairs was cut by its limit, so others may explain it too.")
    return joined(" ".join(part for part in parts if part), difference)


def _lacks_states(observation: Observation) -> bool:
    """Return whether there are states to compare, and none was given."""
    stepwise = any(name.startswith("state/") for name in observation.expected)
    return stepwise and not any(name.startswith("state/") for name in observation.got)


def _same_cases(found: Sequence[Explanation], wrong: int) -> list[str]:
    """Return sentences on explanations of the same cases, the best first."""
    best = found[0]
    sentence = f"In the cases of {', '.join(best.networks)}, {best.sentence}" if best.networks else best.sentence
    parts = [f"{sentence[0].upper()}{sentence[1:]}. See {', '.join(best.where)}."]
    if not best.networks:
        parts.append(f"This explains {best.explained} of {wrong} wrong case{'s' * (wrong != 1)}.")
    if best.weights_only:
        parts.append("That is of the weights alone: your gradients are not the derivative of such a weight.")
    if best.silent:
        parts.append(f"In {best.silent} more the sizes do not let this mistake be made.")
    if len(found) > 1:
        others = "; ".join(f"{e.sentence} ({', '.join(e.where)})" for e in found[1:LISTED])
        parts.append(f"Equally possible: {others}{'; and more' if len(found) > LISTED else ''}.")
        parts.append(telling_apart([e.mistakes for e in found[:LISTED]]))
    return parts


def joined(text: str, difference: str | None) -> str:
    """Return both, where there is a difference to tell."""
    return text if difference is None else f"{text} {difference}"

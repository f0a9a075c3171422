"""The search for the mistake, or the two, that explain what a candidate gave."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .catalogue import MISTAKES, sentence_of
from .evidence import CONTRADICTS, EXPLAINS, SILENT, Evidence, Observation, evidence_of
from .hints import first_difference_of, hints
from .report import Explanation, joined, report

RUNS = 6000
"""The search for pairs stops after so many runs of the interpreter, of a millisecond or so each, and says so."""

ASKED = 4
"""So many wrong cases, each of another network, are asked which mistakes change anything on them."""

ORDERED = (
    ("legs-in-out", "inputs-swapped", "outputs-swapped", "legs-reversed"),
    ("children-swapped", "node-bond-first"),
    ("row-column-swapped", "bonds-transposed", "core-mode-first"),
    ("gradient-doubled", "gradient-halved", "gradient-mean", "gradient-clipped"),
)
"""Mistakes that act on the same thing one after another, so that their order may matter."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes
    ----------
    explanations : the simplest first; empty where nothing explains the output, or nothing is wrong
    first_difference : a sentence on the step from which the intermediates differ, None where none were given
    text : all of it in a few sentences
    cut : whether the search for pairs was cut by its limit
    """

    explanations: tuple[Explanation, ...]
    first_difference: str | None
    text: str
    cut: bool = False


class Search:
    """The search over single mistakes and pairs on some evidence."""

    def __init__(self, evidence: Sequence[Evidence], runs: int) -> None:
        # What differs and is small comes first: a wrong guess is dropped at once.
        self.evidence = sorted(evidence, key=lambda e: (not e.wrong, e.size))
        self.runs, self.cut = runs, False

    def holds(self, names: tuple[str, ...]) -> Explanation | None:
        """Return the explanation if these mistakes contradict no case and explain at least one."""
        explained = silent = 0
        for one in self.evidence:
            verdict = one.verdict(names)
            if verdict == CONTRADICTS:
                return None
            explained += verdict == EXPLAINS
            silent += verdict == SILENT
        if not explained:
            return None
        where = tuple(MISTAKES[name].where for name in names)
        return Explanation(names, sentence_of(names), where, explained, silent)

    def singles(self) -> list[Explanation]:
        """Return the single mistakes that explain everything."""
        return _ranked([self.holds((name,)) for name in self._names()])

    def pairs(self) -> list[Explanation]:
        """Return the pairs that explain everything.

        One of the two must change something on every wrong case; the case on which the fewest mistakes do proposes
        it. What it does not explain alone, the other must: each is tried on the smallest such case first.
        """
        names, wrong = self._names(), [one for one in self.evidence if one.wrong]
        found: dict[frozenset[str], Explanation | None] = {}
        for a in self._proposed(names, wrong):
            rest = next((one for one in wrong if one.verdict((a,)) == CONTRADICTS), wrong[0])
            for b in names:
                both = frozenset((a, b))
                if a == b or both in found or not self._may_go_on():
                    continue
                pair = (a, b) if names.index(a) < names.index(b) else (b, a)
                orders = [pair, pair[::-1]] if _ordered(a, b) else [pair]
                fitting = [order for order in orders if rest.verdict(order) == EXPLAINS]
                found[both] = next((e for e in map(self.holds, fitting) if e), None)
        return _ranked(list(found.values()))

    def _proposed(self, names: Sequence[str], wrong: Sequence[Evidence]) -> list[str]:
        """Return the fewest mistakes that change something on one wrong case, of some small ones of other networks."""
        firsts = sorted({one.case.spec["network"]: one for one in reversed(wrong)}.values(), key=lambda one: one.size)
        moving = [[name for name in names if self._may_go_on() and one.effective(name)] for one in firsts[:ASKED]]
        return min((found for found in moving if found), key=len, default=[])

    def _names(self) -> list[str]:
        """Return the mistakes to try: those of the backward pass alone where every weight is right."""
        weights = {q for one in self.evidence for q in one.got if q.startswith("weight")}
        weight_wrong = any(q.startswith("weight") for one in self.evidence for q in one.wrong)
        backward_only = bool(weights) and not weight_wrong
        return [name for name, mistake in MISTAKES.items() if mistake.backward or not backward_only]

    def _may_go_on(self) -> bool:
        self.cut |= sum(len(one.made) for one in self.evidence) > self.runs
        return not self.cut


def _ordered(a: str, b: str) -> bool:
    """Return whether two mistakes may give another result in the other order."""
    return any(a in names and b in names for names in ORDERED)


def _ranked(found: Sequence[Explanation | None]) -> list[Explanation]:
    return sorted((e for e in found if e is not None), key=lambda e: (e.silent, -e.explained))


def diagnose(observations: Sequence[Observation], runs: int = RUNS) -> Diagnosis:
    """Find the known mistakes that explain what a candidate gave.

    Single mistakes are tried first, then all pairs; where neither explains all cases, each network is taken alone.
    A mistake explains where it makes of every case what the candidate made of it, to rounding.

    Parameters
    ----------
    observations : cases with what the candidate gave, the right ones too: they rule mistakes out
    runs : limit of the search for pairs, in runs of the interpreter

    Examples
    --------
    >>> diagnose([]).text
    'Nothing differs from the reference.'
    """
    evidence = [one for one in map(evidence_of, observations) if one is not None]
    difference = first_difference_of(observations)
    if not any(one.wrong for one in evidence):
        text = hints(observations) or "Nothing differs from the reference."
        return Diagnosis((), difference, joined(text, difference))
    search = Search(evidence, runs)
    found = search.singles() or search.pairs()
    cut = search.cut
    if not found:
        found, cut_too = _by_network(evidence, runs)
        cut |= cut_too
    if not found:
        found = _of_weights(evidence, runs)
    return Diagnosis(tuple(found), difference, report(observations, evidence, found, difference, cut), cut)


def _of_weights(evidence: Sequence[Evidence], runs: int) -> list[Explanation]:
    """Explain the weights alone: a backward pass written by hand need not follow a mistake of the forward pass."""
    weights = []
    for one in evidence:
        got = {name: x for name, x in one.got.items() if name.startswith("weight")}
        wrong = tuple(name for name in one.wrong if name in got)
        if got:
            weights.append(replace(one, got=got, wrong=wrong, made={}))
    return [replace(e, weights_only=True) for e in Search(weights, runs).singles()]


def _by_network(evidence: Sequence[Evidence], runs: int) -> tuple[list[Explanation], bool]:
    """Explain the cases of each kind of network alone; kinds with the same explanations are told together."""
    kinds = list(dict.fromkeys(str(one.case.spec["network"]) for one in evidence if one.wrong))
    together: dict[tuple[tuple[str, ...], ...], list[tuple[str, list[Explanation]]]] = {}
    cut = False
    for kind in kinds if len(kinds) > 1 else []:
        search = Search([replace(one, made={}) for one in evidence if one.case.spec["network"] == kind], runs)
        found = search.singles() or search.pairs()
        together.setdefault(tuple(e.mistakes for e in found), []).append((kind, found))
        cut |= search.cut
    merged = []
    for mistakes, groups in together.items():
        networks = tuple(kind for kind, _ in groups)
        for k in range(len(mistakes)):
            same = [found[k] for _, found in groups]
            explained, silent = sum(e.explained for e in same), sum(e.silent for e in same)
            merged.append(replace(same[0], explained=explained, silent=silent, networks=networks))
    return merged, cut

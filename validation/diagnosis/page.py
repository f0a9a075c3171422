"""The catalogue as a page of the documentation; ``python -m adntn_ref.validation.diagnosis --page`` writes it."""

from itertools import groupby

from .catalogue import MISTAKES
from .entry import Mistake

HEAD = """# Known mistakes

What an implementation of these networks gets wrong again and again: {count} mistakes, {forward} of which change the
weight and {backward} the gradient alone. When `python -m adntn_ref.validation` finds a candidate wrong, it makes each
of them on the same cases, then every pair of them, and says which one gives exactly what the candidate gave, to
rounding. The names are those that it prints; each entry has the right definition first, then what goes wrong.

The interpreter that makes the mistakes (`validation/diagnosis/model.py` and its neighbours) is written from the
definitions, in plain NumPy, and shares no code with the package. That the search finds what it should is tested by
planting every mistake in the PyTorch adapter, by other means, and asking for its name:

```console
python tests/planted.py --pairs 40        # counts; needs torch
```

{counts}

This page is made from the catalogue by `python -m adntn_ref.validation.diagnosis --page`.
"""


COUNTS = """Last counted: 82 of 82 single mistakes named in float64, 82 of 82 in float32, 40 of 40 random pairs in
float64 (a mistake that the other one of its pair hides counts as named when that one is). In the honest adapter none is
found."""


def page() -> str:
    """Return the page in Markdown.

    Examples
    --------
    >>> page().startswith("# Known mistakes")
    True
    """
    mistakes = list(MISTAKES.values())
    backward = sum(m.backward for m in mistakes)
    parts = [HEAD.format(count=len(mistakes), forward=len(mistakes) - backward, backward=backward, counts=COUNTS)]
    for group, members in groupby(mistakes, key=lambda m: m.group):
        parts.append(f"## {group}\n")
        parts += [_entry(m) for m in members]
    return "\n".join(parts)


def _entry(mistake: Mistake) -> str:
    """Return the entry of one mistake; its heading is its anchor."""
    what = "Your gradient equals" if mistake.backward else "Your output equals"
    return (
        f"### {mistake.name}\n\n{what} the reference with {mistake.sentence}.\n\n"
        f"- Right: {mistake.right} ([defined here]({mistake.page})).\n- Wrong: {mistake.wrong}\n"
    )

"""Compression scaling: how the number of parameters grows with the number of modes, counted against formulas.

``python -m adntn_ref.validation.scaling [--out DIR] [--most 30]`` prints a table and draws parameters and ratio
against Q for weights of 2^Q entries; no weight is allocated. The formulas are written out here and share no code with
the networks:

- brick-wall, M layers: ``4 floor(Q/2) + 16 (M (Q-1) - floor(Q/2))``: O(M Q);
- tensor train: ``sum_k 2 b_{k-1} b_k``, ``b_k = min(chi, 2^k, 2^(Q-k))``: O(Q chi^2);
- trees: ``sum over nodes chi_left chi_right chi_node``: O(Q chi^3), and for every mixing core ``(m n)^2``: O(Q chi^4).
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adntn_ref import ATTN, MERA, TTN, BrickWall, Network, TensorTrain
from adntn_ref.extras import need


@dataclass(frozen=True)
class Family:
    """A family of networks at one size: its name, how a member for Q binary modes is made, and its formula."""

    name: str
    make: Callable[[int], Network]
    formula: Callable[[int], int]


def weight_shape(count: int) -> tuple[int, int]:
    """Return a matrix of 2^count entries, as square as can be."""
    return 2 ** (count // 2), 2 ** (count - count // 2)


def brickwall_formula(count: int, layers: int) -> int:
    """Parameters of a brick-wall on binary modes with the constant boundary."""
    return 4 * (count // 2) + 16 * (layers * (count - 1) - count // 2)


def train_formula(count: int, chi: int) -> int:
    """Parameters of a tensor train on binary modes."""
    bonds = [min(chi, 2**k, 2 ** (count - k)) for k in range(count + 1)]
    return sum(2 * bonds[k] * bonds[k + 1] for k in range(count))


def tree_formula(count: int, chi: int) -> int:
    """Parameters of a tree on binary modes: every node but the root has one bond more than its children."""

    def bond(size: int) -> int:
        return 2 if size == 1 else min(chi, 2**size, 2 ** (count - size))

    def below(size: int, root: bool) -> int:
        if size == 1:
            return 0
        left = (size + 1) // 2
        mine = bond(left) * bond(size - left) * (1 if root else bond(size))
        return mine + below(left, False) + below(size - left, False)

    return below(count, True)


def mixing_formula(count: int, chi: int, every_depth: bool) -> int:
    """Parameters of the mixing cores of an aTTN or MERA on 2^L binary modes, where pairs are (1, 2), (3, 4), ..."""
    depths = count.bit_length() - 1
    total = 0
    for depth in range(2 if every_depth else depths, depths + 1):
        indices = 2**depth
        under = count // indices
        size = 2 if under == 1 else min(chi, 2**under, 2 ** (count - under))
        total += (indices // 2 - 1) * size**4
    return total


def families(chi: int = 4) -> list[Family]:
    """Return the families that are compared; the formula of mixing cores holds where Q is a power of two."""
    return [
        Family("brickwall M=1", lambda q: BrickWall(weight_shape(q), 1), lambda q: brickwall_formula(q, 1)),
        Family("brickwall M=5", lambda q: BrickWall(weight_shape(q), 5), lambda q: brickwall_formula(q, 5)),
        Family(f"tt chi={chi}", lambda q: TensorTrain(weight_shape(q), chi), lambda q: train_formula(q, chi)),
        Family(f"ttn chi={chi}", lambda q: TTN(weight_shape(q), chi), lambda q: tree_formula(q, chi)),
        Family(
            f"attn chi={chi}",
            lambda q: ATTN(weight_shape(q), chi),
            lambda q: tree_formula(q, chi) + mixing_formula(q, chi, every_depth=False),
        ),
        Family(
            f"mera chi={chi}",
            lambda q: MERA(weight_shape(q), chi),
            lambda q: tree_formula(q, chi) + mixing_formula(q, chi, every_depth=True),
        ),
    ]


def table(least: int = 4, most: int = 30) -> list[dict[str, Any]]:
    """Count every family for every Q; ``formula`` is None where it does not apply (mixing, Q no power of two)."""
    rows = []
    for count in range(least, most + 1):
        for family in families():
            network = family.make(count)
            mixes = isinstance(network, (ATTN, MERA))
            formula = None if mixes and count & (count - 1) else family.formula(count)
            rows.append(
                {
                    "family": family.name,
                    "modes": count,
                    "weights": network.weights,
                    "parameters": network.parameter_count,
                    "formula": formula,
                    "ratio": network.compression_ratio,
                }
            )
    return rows


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw parameters and compression ratio against Q (PNG; needs matplotlib)."""
    figure = need("matplotlib.figure", "demo").Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in dict.fromkeys(row["family"] for row in rows):
        mine = [row for row in rows if row["family"] == name]
        modes = [row["modes"] for row in mine]
        left.plot(modes, [row["parameters"] for row in mine], marker=".", label=name)
        right.semilogy(modes, [row["ratio"] for row in mine], marker=".", label=name)
    left.set(xlabel="Q (weights = 2^Q)", ylabel="parameters", title="linear in Q")
    right.set(xlabel="Q (weights = 2^Q)", ylabel="weights / parameters", title="exponential in Q")
    right.axhline(1, color="0.6", lw=0.8)
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, draw it where asked; exit code 1 if a count differs from its formula."""
    parser = argparse.ArgumentParser(prog="python -m adntn_ref.validation.scaling", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for scaling.png")
    parser.add_argument("--most", type=int, default=30, help="largest Q (default 30)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    rows = table(most=options.most)
    wrong = [row for row in rows if row["formula"] not in (None, row["parameters"])]
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        draw(rows, options.out / "scaling.png")
    if options.json:
        print(json.dumps(rows))
    else:
        print(f"{'family':<16}{'Q':>4}{'parameters':>12}{'formula':>9}{'ratio':>16}")
        for row in rows:
            formula = "-" if row["formula"] is None else row["formula"]
            print(f"{row['family']:<16}{row['modes']:>4}{row['parameters']:>12}{formula:>9}{row['ratio']:>16,.1f}")
        print(f"{len(wrong)} counts differ from their formula")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
